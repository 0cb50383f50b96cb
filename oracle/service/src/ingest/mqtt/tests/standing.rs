//! Devices whose registration is changed while they are connected.

use contract_interface::{Digest, Status, UtcTime};

use super::{AT_LEAST_ONCE, OWN};
use crate::ingest::mqtt::testing::{Rig, connect, publish, reading};

/// DISCONNECT of MQTT 5 with "not authorized".
const SENT_AWAY: (u8, u8) = (0xe0, 0x87);

/// The look once a minute is too late for a device that was stolen: a change over REST is felt at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_suspended_or_revoked_is_sent_away_at_once_and_not_let_in_again() {
    let rig = Rig::start().await;
    for status in [Status::Suspended, Status::Revoked] {
        let mut client = rig.secure("hr-1").await.unwrap();
        assert_eq!(client.ask(&connect(5, "x", 2, 0)).await.unwrap()[3], 0);
        let mut other = rig.secure("hr-2").await.unwrap();
        assert_eq!(other.ask(&connect(5, "x", 2, 0)).await.unwrap()[3], 0);
        rig.change("hr-1", |device| {
            device.status = status;
            device.status_since = Some(UtcTime::MIN);
        });
        let bye = client.packet().await.unwrap();
        assert_eq!((bye[0], bye[2]), SENT_AWAY, "{status:?}");
        assert_eq!(client.packet().await, None);
        // Its readings do not come in by another connection, either.
        let mut client = rig.secure("hr-1").await.unwrap();
        let ack = client.ask(&connect(5, "x", 2, 0)).await.unwrap();
        assert_eq!((ack[0], ack[3]), (0x20, 0x87));
        let kept = rig.journal.counts().received;
        // Nobody else is disturbed.
        assert_eq!(other.ask(&[0xc0, 0]).await.unwrap(), [0xd0, 0]);
        assert_eq!(rig.journal.counts().received, kept);
        rig.change("hr-1", |device| {
            device.status = Status::Active;
            device.status_since = None;
        });
    }
    let mut client = rig.secure("hr-1").await.unwrap();
    assert_eq!(client.ask(&connect(5, "x", 2, 0)).await.unwrap()[3], 0);
    let message = publish(5, AT_LEAST_ONCE, OWN, 1, &[], &reading(1));
    assert_eq!(client.ask(&message).await.unwrap()[0], 0x40, "taken again");
    drop(client);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_was_replaced_serves_no_more() {
    let rig = Rig::start().await;
    let mut client = rig.secure("hr-1").await.unwrap();
    assert_eq!(client.ask(&connect(5, "x", 2, 0)).await.unwrap()[3], 0);
    rig.change("hr-1", |device| {
        device.thumbprint = Digest::from_bytes([9; 32])
    });
    let bye = client.packet().await.unwrap();
    assert_eq!((bye[0], bye[2]), SENT_AWAY);
    rig.stop().await;
}

/// Moved to another patient it stays connected, and what it measured of the first is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_moves_to_another_patient_stays_connected() {
    let mut rig = Rig::start().await;
    let mut client = rig.secure("hr-1").await.unwrap();
    assert_eq!(client.ask(&connect(5, "x", 2, 0)).await.unwrap()[3], 0);
    let moved: UtcTime = "2024-01-01T00:00:00Z".parse().unwrap();
    let second = "ffeeddccbbaa99887766554433221100".parse().unwrap();
    rig.change("hr-1", |device| {
        device.bindings[0].bound_until = Some(moved);
        device.bindings.push(contract_interface::DeviceBinding {
            patient: second,
            bound_from: moved,
            bound_until: None,
        });
    });
    let message = publish(5, AT_LEAST_ONCE, OWN, 1, &[], &reading(1));
    assert_eq!(client.ask(&message).await.unwrap()[0], 0x40);
    let crate::pipeline::Arrival::New(pending) = rig.arrivals.recv().await.unwrap() else {
        panic!("a new reading");
    };
    assert_eq!(
        pending.kind.patient,
        second.to_string(),
        "the reading is of today"
    );
    drop(client);
    rig.stop().await;
}
