//! Who may connect over TLS, and who may stay.

use std::time::Duration;

use super::{AT_LEAST_ONCE, OTHER, OWN};
use crate::ingest::mqtt::testing::{Rig, connect, publish, reading};
use crate::ingest::mqtt::{DeviceMsp, Limits};

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_says_who_a_device_is() {
    let rig = Rig::start().await;
    let mut client = rig.secure("hr-1").await.unwrap();
    let ack = client.ask(&connect(5, "", 2, 60)).await.unwrap();
    assert_eq!(ack[3], 0);
    assert!(String::from_utf8_lossy(&ack).contains("assigned-"));
    let message = publish(5, AT_LEAST_ONCE, OTHER, 1, &[], &reading(1));
    assert_eq!(client.ask(&message).await.unwrap()[4], 0x87);
    let message = publish(5, AT_LEAST_ONCE, OWN, 1, &[], &reading(1));
    assert_eq!(client.ask(&message).await.unwrap(), [0x40, 2, 0, 1]);
    // Two connections of one device under different client identifiers live side by side.
    let mut other = rig.secure("hr-1").await.unwrap();
    assert_eq!(
        other.ask(&connect(4, "hr-2", 2, 60)).await.unwrap(),
        [0x20, 2, 0, 0]
    );
    assert_eq!(client.ask(&[0xc0, 0]).await.unwrap(), [0xd0, 0]);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_do_not_fit_are_refused_in_the_handshake_or_the_connect() {
    let rig = Rig::start().await;
    let now = crate::ingest::intake::now().unix_seconds();
    let root = rig.dir.path();
    // Expired.
    let validity = fabric_mspgen::Validity {
        not_before: now - 200,
        not_after: now - 100,
    };
    let expired = rig
        .organization
        .issue_device("hr-1", Some(validity))
        .unwrap();
    // Valid, but not the one that is registered.
    let renewed = rig.organization.issue_device("hr-1", None).unwrap();
    // Revoked.
    let revoked = rig.organization.issue_device("hr-2", None).unwrap();
    rig.organization
        .revoke_certificates(std::slice::from_ref(&revoked.certificate))
        .unwrap();
    // Of another organisation.
    let msp_id = fabric_msp::MspId::parse("Org1MSP").unwrap();
    let stranger_dir = root.join("stranger");
    std::fs::create_dir(&stranger_dir).unwrap();
    let strangers = fabric_mspgen::Organization::create(
        &stranger_dir,
        msp_id,
        "org1.example.com",
        fabric_mspgen::Kind::Peer,
    )
    .unwrap();
    let stranger = strangers.issue_device("hr-1", None).unwrap();
    for (name, issued, alert) in [
        ("expired", Some(expired), "CertificateExpired"),
        ("stranger-hr-1", Some(stranger), "UnknownCA"),
        ("none", None, "CertificateRequired"),
    ] {
        let folder = root.join(name);
        std::fs::create_dir(&folder).unwrap();
        if let Some(issued) = issued {
            issued.write_client(&folder).unwrap();
        }
        std::fs::copy(root.join("hr-1/ca.crt"), folder.join("ca.crt")).unwrap();
        let error = refused(&rig, &folder).await;
        assert!(error.contains(alert), "{name}: {error}");
    }
    let folder = root.join("renewed");
    std::fs::create_dir(&folder).unwrap();
    renewed.write_client(&folder).unwrap();
    let mut client = rig.secure_at(rig.tls, &folder).await.unwrap();
    assert_eq!(
        client.ask(&connect(4, "x", 2, 60)).await.unwrap(),
        [0x20, 2, 0, 5]
    );
    rig.stop().await;
}

/// What TLS 1.3 says after the client has finished its side of the handshake.
async fn refused(rig: &Rig, folder: &std::path::Path) -> String {
    let mut client = match rig.secure_at(rig.tls, folder).await {
        Ok(client) => client,
        Err(error) => return error.to_string(),
    };
    drop(tokio::io::AsyncWriteExt::write_all(&mut client.0, &connect(4, "x", 2, 60)).await);
    let mut byte = [0];
    match tokio::io::AsyncReadExt::read(&mut client.0, &mut byte).await {
        Ok(read) => format!("{read} bytes"),
        Err(error) => error.to_string(),
    }
}

/// Looks often, so that a test needs not wait for a minute.
fn watchful() -> Limits {
    Limits {
        recheck: Duration::from_millis(50),
        msp_reload: Duration::from_millis(50),
        ..Limits::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connected_device_is_sent_away_when_its_certificate_is_revoked() {
    let rig = Rig::with(watchful(), 1 << 30).await;
    let certificate = rig.register("hr-3", None);
    for (level, id) in [(5, "hr-3"), (4, "hr-1")] {
        let mut client = rig.secure(id).await.unwrap();
        assert_eq!(client.ask(&connect(level, "x", 2, 0)).await.unwrap()[3], 0);
        if id == "hr-1" {
            // The other one goes on, however often it is checked.
            assert_eq!(client.ask(&[0xc0, 0]).await.unwrap(), [0xd0, 0]);
            continue;
        }
        rig.organization
            .revoke_certificates(std::slice::from_ref(&certificate))
            .unwrap();
        let bye = client.packet().await.unwrap();
        assert_eq!((bye[0], bye[2]), (0xe0, 0x87));
        assert_eq!(client.packet().await, None);
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connected_device_is_sent_away_when_its_certificate_expires() {
    let rig = Rig::with(watchful(), 1 << 30).await;
    let now = crate::ingest::intake::now().unix_seconds();
    let validity = fabric_mspgen::Validity {
        not_before: now - 100,
        not_after: now + 5,
    };
    rig.register("hr-3", Some(validity));
    let mut client = rig.secure("hr-3").await.unwrap();
    assert_eq!(client.ask(&connect(5, "x", 2, 0)).await.unwrap()[3], 0);
    let bye = client.packet().await.unwrap();
    assert_eq!((bye[0], bye[2]), (0xe0, 0x87));
    assert!(crate::ingest::intake::now().unix_seconds() > now + 4);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_revocation_list_is_in_force_after_reloading() {
    let rig = Rig::start().await;
    let msp_id = fabric_msp::MspId::parse("Org1MSP").unwrap();
    let folder = rig.organization.msp_folder();
    let msp = DeviceMsp::open(msp_id, &folder).unwrap();
    let issued = rig.organization.issue_device("hr-9", None).unwrap();
    let now = crate::ingest::intake::now().unix_seconds();
    msp.check(&issued.certificate, now).unwrap();
    rig.organization
        .revoke_certificates(std::slice::from_ref(&issued.certificate))
        .unwrap();
    msp.reload().unwrap();
    assert!(matches!(
        msp.check(&issued.certificate, now),
        Err(fabric_msp::MspError::Revoked { .. })
    ));
    rig.stop().await;
}
