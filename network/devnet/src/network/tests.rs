//! A whole network in this process: certificates, ports, lifecycle, restart.

use std::path::Path;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::Network;
use crate::config::NetworkConfig;
use crate::deploy::{DeployError, Deployment};
use crate::description::Description;
use crate::error::NetworkError;

struct Running {
    description: Description,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), NetworkError>>,
}

impl Running {
    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }
}

fn config(dir: &Path) -> NetworkConfig {
    let mut config = NetworkConfig::new(dir);
    config.peer_ports = vec![0];
    config.orderer_port = Some(0);
    config
}

async fn start(config: &NetworkConfig) -> Running {
    // Other tests of this process may have installed it already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let network = Network::start(config).await.unwrap();
    let (stop, stopped) = oneshot::channel();
    let description = network.description().clone();
    let task = tokio::spawn(network.run(async { stopped.await.unwrap() }));
    Running {
        description,
        stop,
        task,
    }
}

fn deployment(dir: &Path) -> Deployment {
    Deployment {
        dir: dir.to_owned(),
        name: "cc".to_owned(),
        address: "127.0.0.1:1".to_owned(),
        version: "1.0".to_owned(),
        sequence: None,
        collections: None,
        policy: None,
        init_required: false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deployments_repeat_change_and_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let network = start(&config(dir.path())).await;
    let first = deployment(dir.path()).run().await.unwrap();
    assert_eq!(first.sequence, 1);
    assert_eq!(
        first.package_id,
        deployment(dir.path()).package().unwrap().id
    );
    assert_eq!(deployment(dir.path()).run().await.unwrap(), first);

    let mut other_policy = deployment(dir.path());
    other_policy.policy = Some("OR('Org1MSP.peer','Org2MSP.peer')".to_owned());
    let second = other_policy.run().await.unwrap();
    assert_eq!(
        (second.sequence, &second.package_id),
        (2, &first.package_id)
    );

    let mut moved = other_policy.clone();
    moved.address = "127.0.0.1:2".to_owned();
    let moved = moved.run().await.unwrap();
    assert_eq!(
        moved.sequence, 2,
        "another package needs no other definition"
    );
    assert_ne!(moved.package_id, first.package_id);
    network.stop().await;

    let again = start(&config(dir.path())).await;
    assert_eq!(other_policy.run().await.unwrap(), second);
    let mut skipped = other_policy.clone();
    skipped.version = "2.0".to_owned();
    skipped.sequence = Some(7);
    let refused = skipped.run().await.unwrap_err();
    assert!(matches!(
        refused,
        DeployError::Sequence {
            sequence: 7,
            next: 3
        }
    ));
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_definitions_are_refused_in_the_peers_words() {
    let dir = tempfile::tempdir().unwrap();
    let network = start(&config(dir.path())).await;
    let mut unknown_member = deployment(dir.path());
    unknown_member.collections = Some(
        br#"[{"name":"c","policy":"OR('NoMSP.member')","requiredPeerCount":0,"maxPeerCount":1}]"#
            .to_vec(),
    );
    let refused = unknown_member.run().await.unwrap_err();
    let DeployError::Call { details, .. } = &refused else {
        panic!("{refused:?}");
    };
    assert!(
        details[0].contains("collection member 'NoMSP' is not part of the channel"),
        "{refused}"
    );
    let mut bad_name = deployment(dir.path());
    bad_name.name = "qscc".to_owned();
    let refused = bad_name.run().await.unwrap_err().to_string();
    assert!(
        refused.contains("is the name of a system chaincode"),
        "{refused}"
    );
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_has_one_network_at_a_time_and_keeps_its_shape() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.organizations = Some(3);
    let network = start(&config).await;
    assert_eq!(network.description.organizations.len(), 3);
    assert_eq!(network.description.organizations[2].msp_id, "Org3MSP");
    let second = Network::start(&config).await.unwrap_err();
    assert!(matches!(second, NetworkError::Running { .. }), "{second:?}");
    let addresses = network.description.organizations.clone();
    network.stop().await;

    let mut other = config.clone();
    other.organizations = Some(2);
    let error = Network::start(&other).await.unwrap_err();
    assert!(matches!(
        error,
        NetworkError::OtherOrganizations {
            wanted: 2,
            found: 3
        }
    ));
    let mut other = config.clone();
    other.channel = "another".to_owned();
    let error = Network::start(&other).await.unwrap_err();
    assert!(
        matches!(error, NetworkError::OtherChannel { .. }),
        "{error:?}"
    );

    let mut same_ports = NetworkConfig::new(dir.path());
    same_ports.orderer_port = None;
    let network = start(&same_ports).await;
    assert_eq!(network.description.organizations, addresses);
    network.stop().await;
}
