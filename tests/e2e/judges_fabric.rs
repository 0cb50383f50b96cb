//! Fabric's own client programs and chaincode libraries judge the embedded network and our
//! chaincode. What judges the embedded network also runs on real Fabric, so that a judge that
//! says yes to everything would be found out.

mod peer_command;

use std::{
    fs,
    path::{Path, PathBuf},
};

use contract_interface::{ParticipantId, ParticipantRegistration, Role, Status, names};
use salus_tests::{
    binaries,
    consortium::Consortium,
    network::{Deployment, Endpoint, Kind, Network, OrganizationInfo},
    ports,
    process::{Process, Spec, until_listening},
    system::{CHAINCODE, start_contracts},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{has, run};
use peer_command::PeerCommand;

/// What the chaincode in `tests/interop/node/chaincode` is deployed as.
const JUDGE: &str = "judge";

#[tokio::test]
async fn npm_client_and_npm_chaincode_on_the_embedded_network() {
    if npm_is_here("npm_client_and_npm_chaincode_on_the_embedded_network") {
        npm_client_and_chaincode(Kind::Devnet).await;
    }
}

#[tokio::test]
async fn npm_client_and_npm_chaincode_on_real_fabric() {
    const TEST: &str = "npm_client_and_npm_chaincode_on_real_fabric";
    let missing = binaries::missing(&binaries::FABRIC_PROGRAMS);
    if !missing.is_empty() {
        return binaries::report_skipped(TEST, &missing);
    }
    if npm_is_here(TEST) {
        npm_client_and_chaincode(Kind::Fabric).await;
    }
}

/// Every check of `gateway.mjs` holds, and each of the bad requests of `refusals.mjs` is refused
/// in the words that were recorded from Fabric 3.1.5.
async fn npm_client_and_chaincode(kind: Kind) {
    let dir = tempfile::tempdir().unwrap();
    let network = Network::start(kind, dir.path()).await.unwrap();
    let chaincode = start_npm_chaincode(&network, dir.path()).await;
    let described = describe(&network, dir.path());

    let checks = node("gateway.mjs", &[&described, Path::new(JUDGE)]).await;
    for check in &checks {
        assert!(check["ok"] != json!(false), "{check}");
    }
    let last = checks.last().unwrap();
    assert_eq!(last["failed"], 0, "{last}");
    assert_eq!(last["checks"], checks.len() - 1, "{last}");

    let refusals = node("refusals.mjs", &[&described, Path::new(JUDGE)]).await;
    let recorded = fs::read_to_string(interop().join("refusals.fabric-3.1.5.jsonl")).unwrap();
    let recorded: Vec<Value> = recorded
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(refusals.len(), recorded.len());
    for (refusal, recorded) in refusals.iter().zip(&recorded) {
        assert_eq!(refusal, recorded);
    }
    chaincode.stop().await.unwrap();
    network.stop().await.unwrap();
}

#[tokio::test]
async fn npm_client_uses_our_contracts() {
    if !npm_is_here("npm_client_uses_our_contracts") {
        return;
    }
    let contracts = Contracts::start().await;
    let (id, registration) = contracts.provider("dr-wilson");
    let task = contracts.dir.path().join("registration.json");
    fs::write(&task, &registration).unwrap();
    let described = describe(&contracts.network, contracts.dir.path());
    let issuer = contracts.issuer();
    let args = [&described, Path::new(CHAINCODE), &task, &issuer];
    let answers = node("contracts.mjs", &args).await;
    let answer = &answers[0];

    for name in [
        names::transactions::REGISTER_RECORDS,
        names::transactions::LIST_PARTICIPANTS,
    ] {
        let (contract, function) = name.split_once(':').unwrap();
        let listed = answer["metadata"]["contracts"][contract]["transactions"]
            .as_array()
            .unwrap_or_else(|| panic!("no {contract}: {answer}"));
        assert!(listed.iter().any(|t| t["name"] == function), "{listed:?}");
    }
    // The contract's own words, passed on by the gateway.
    let refused = answer["refused"].to_string();
    assert!(
        refused.contains("chaincode response 503, NOT_INITIALIZED"),
        "{refused}"
    );
    assert_eq!(ids(&answer["directory"]), [id.to_string()], "{answer}");
    contracts.stop().await;
}

#[tokio::test]
async fn the_peer_command_queries_and_invokes_on_the_embedded_network() {
    const TEST: &str = "the_peer_command_queries_and_invokes_on_the_embedded_network";
    if !has(TEST, "peer") {
        return;
    }
    let contracts = Contracts::start().await;
    let peer = PeerCommand {
        contracts: &contracts,
    };
    let committed = peer.lifecycle().await;
    assert_eq!(committed["sequence"], 1, "{committed}");
    let both = json!({ "Org1MSP": true, "Org2MSP": true });
    assert_eq!(committed["approvals"], both, "{committed}");

    let error = peer.participants().await.unwrap_err().to_string();
    assert!(error.contains("status:503"), "{error}");
    assert!(error.contains("NOT_INITIALIZED"), "{error}");
    let height = peer.height().await;
    let (id, registration) = contracts.provider("dr-cuddy");
    peer.register(&registration).await;
    assert_eq!(peer.participants().await.unwrap(), [id.to_string()]);
    assert_eq!(peer.height().await, height + 1);
    contracts.stop().await;
}

/// Our contracts on an embedded network, without an oracle.
struct Contracts {
    network: Network,
    process: Process,
    consortium: Consortium,
    dir: TempDir,
}

impl Contracts {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let network = Network::start(Kind::Devnet, dir.path()).await.unwrap();
        let process = start_contracts(&network, dir.path()).await.unwrap();
        let consortium = Consortium::open(network.info(), dir.path()).unwrap();
        Self {
            network,
            process,
            consortium,
            dir,
        }
    }

    /// The registration of a provider of the second organisation.
    fn provider(&self, name: &str) -> (ParticipantId, Vec<u8>) {
        let provider = self
            .consortium
            .enrol(name, 1, &[("salus.role", "provider")])
            .unwrap();
        let participant_id = provider.proven_id().unwrap();
        let key = fs::read(provider.public_key_file()).unwrap();
        let registration = ParticipantRegistration {
            participant_id,
            role: Role::Provider,
            certificate: fs::read_to_string(provider.certificate_file().unwrap()).unwrap(),
            encryption_key: Some(serde_json::from_slice(&key).unwrap()),
            key_proof: Some(fs::read_to_string(provider.key_proof_file()).unwrap()),
            status: Status::Active,
        };
        (participant_id, serde_json::to_vec(&registration).unwrap())
    }

    /// The certificate of the CA that issued the providers' certificates, PEM.
    fn issuer(&self) -> PathBuf {
        let folder = self.network.info().organizations[1].msp_dir.join("cacerts");
        let mut files = fs::read_dir(folder).unwrap();
        files.next().unwrap().unwrap().path()
    }

    async fn stop(self) {
        self.process.stop().await.unwrap();
        self.network.stop().await.unwrap();
    }
}

/// Deploys and starts the chaincode on the official Node libraries.
async fn start_npm_chaincode(network: &Network, dir: &Path) -> Process {
    let chaincode = interop().join("chaincode");
    let [port] = ports::free().unwrap();
    let address = format!("127.0.0.1:{port}");
    let package_id = network
        .deploy(&Deployment {
            name: JUDGE,
            address: &address,
            collections: Some(&chaincode.join("collections.json")),
        })
        .await
        .unwrap();
    let spec = Spec::new("npm-chaincode", &binaries::outside("node").unwrap(), dir)
        .arg(interop().join("node_modules/fabric-shim/cli.js"))
        .arg("server")
        .option("--chaincode-address", &address)
        .option("--chaincode-id", package_id)
        .option("--module-path", chaincode);
    let mut process = Process::start(spec).unwrap();
    until_listening(&mut process, &address).await.unwrap();
    process
}

/// Writes what `fabric-devnet up` prints, of any network.
fn describe(network: &Network, dir: &Path) -> PathBuf {
    let endpoint = |endpoint: &Endpoint| {
        json!({
            "address": endpoint.address,
            "server_name": endpoint.server_name,
            "tls_ca_file": endpoint.tls_ca_file,
        })
    };
    let organization = |organization: &OrganizationInfo| {
        json!({
            "msp_id": organization.msp_id,
            "domain": organization.domain,
            "peer": endpoint(&organization.peer),
            "msp_dir": organization.msp_dir,
            "admin_msp_dir": organization.admin_msp_dir,
        })
    };
    let info = network.info();
    let described = json!({
        "channel": info.channel,
        "orderer": endpoint(&info.orderer),
        "organizations": info.organizations.iter().map(organization).collect::<Vec<_>>(),
        "crypto_dir": info.crypto_dir,
    });
    let file = dir.join("described.json");
    fs::write(&file, described.to_string()).unwrap();
    file
}

/// Runs one of the programs in `tests/interop/node`; returns the JSON lines that it printed.
async fn node(program: &str, args: &[&Path]) -> Vec<Value> {
    let mut all = vec![interop().join(program).display().to_string()];
    all.extend(args.iter().map(|path| path.display().to_string()));
    let ended = run("node", &all).await;
    let lines: Vec<Value> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{ended:?}")))
        .collect();
    assert!(!lines.is_empty(), "{program}: {ended:?}");
    lines
}

fn ids(page: &Value) -> Vec<String> {
    let participants = page["participants"].as_array().unwrap();
    let id = |participant: &Value| participant["participant_id"].as_str().unwrap().to_owned();
    participants.iter().map(id).collect()
}

fn npm_is_here(test: &str) -> bool {
    if !has(test, "node") {
        return false;
    }
    let found = ["fabric-gateway", "fabric-protos"]
        .map(|name| format!("@hyperledger/{name}"))
        .into_iter()
        .chain(["fabric-shim".to_owned()])
        .all(|name| interop().join("node_modules").join(name).is_dir());
    if !found {
        binaries::report_skipped(test, &["npm @hyperledger/fabric-gateway and fabric-shim"]);
    }
    found
}

fn interop() -> PathBuf {
    let folder = binaries::workspace_root().join("tests/interop/node");
    folder.canonicalize().unwrap()
}
