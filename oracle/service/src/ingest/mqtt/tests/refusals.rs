//! What is refused, and with which words in which version.

use super::{AT_LEAST_ONCE, AT_MOST_ONCE, EXACTLY_ONCE, OTHER, OWN};
use crate::ingest::mqtt::testing::{Rig, connect, packet, publish, reading, text};

#[tokio::test(flavor = "multi_thread")]
async fn mqtt_5_hears_why_a_message_is_refused() {
    let rig = Rig::start().await;
    let mut client = rig.connected(5, "hr-1").await;
    let before = br#"{"seq":1,"time":"2015-06-01T10:00:00Z","code":"a","value":true}"#;
    for (topic, payload, code, name) in [
        (OTHER, &reading(1)[..], 0x87, "topic-not-allowed"),
        (
            "v1/devices/hr-1/receipts",
            &reading(1),
            0x87,
            "topic-not-allowed",
        ),
        (
            "v1/devices/+/observations",
            &reading(1),
            0x90,
            "topic-malformed",
        ),
        (OWN, b"not JSON", 0x99, "payload-not-json"),
        (
            OWN,
            br#"{"seq":1,"code":"a","value":1,"unit":7}"#,
            0x99,
            "payload-member-type",
        ),
        (OWN, before, 0x87, "device-not-bound"),
    ] {
        for (quality, first) in [(AT_LEAST_ONCE, 0x40), (EXACTLY_ONCE, 0x50)] {
            let ack = client
                .ask(&publish(5, quality, topic, 9, &[], payload))
                .await;
            let ack = ack.unwrap();
            assert_eq!(
                (ack[0], &ack[2..4], ack[4]),
                (first, &[0, 9][..], code),
                "{name}"
            );
            let said = String::from_utf8_lossy(&ack);
            assert!(said.contains(name), "{said}");
        }
    }
    let ack = client
        .ask(&publish(5, AT_LEAST_ONCE, OWN, 1, &[], &reading(1)))
        .await;
    assert_eq!(ack.unwrap(), [0x40, 2, 0, 1], "the connection lives");
    let reused = br#"{"seq":1,"time":"2025-06-01T10:00:00Z","code":"a","value":true}"#;
    let ack = client
        .ask(&publish(5, AT_LEAST_ONCE, OWN, 2, &[], reused))
        .await;
    assert_eq!(ack.unwrap()[4], 0x83);
    let bye = client
        .ask(&publish(5, AT_MOST_ONCE, OWN, 0, &[], b"not JSON"))
        .await;
    let bye = bye.unwrap();
    assert_eq!((bye[0], bye[2]), (0xe0, 0x99));
    assert_eq!(client.packet().await, None);
    assert_eq!(rig.journal.counts().received, 1);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mqtt_3_is_closed_and_leaves_a_dead_letter() {
    let rig = Rig::start().await;
    for (topic, payload) in [(OTHER, &reading(1)[..]), (OWN, b"not JSON")] {
        for quality in [AT_MOST_ONCE, AT_LEAST_ONCE, EXACTLY_ONCE] {
            let mut client = rig.connected(4, "hr-1").await;
            let answer = client
                .ask(&publish(4, quality, topic, 9, &[], payload))
                .await;
            assert_eq!(answer, None);
        }
    }
    let (dir, key) = (
        rig.dir.path().join("journal"),
        rig.dir.path().join("journal.key"),
    );
    let journal = rig.journal.clone();
    let folder = rig.stop_keeping_files().await;
    journal.close().await;
    let report = crate::journal::inspect::inspect(&dir, &key).unwrap();
    let reasons: Vec<_> = report.refused.iter().map(|r| r.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [["topic-not-allowed"; 3], ["payload-not-json"; 3]].concat()
    );
    assert_eq!(report.refused[3].bytes, 8);
    drop(folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn connects_are_refused_with_the_right_code() {
    let rig = Rig::start().await;
    for (bytes, code) in [
        (connect(4, "nobody", 2, 60), 5),
        (connect(5, "nobody", 2, 60), 0x87),
        (connect(4, "off", 2, 60), 5),
        (connect(5, "off", 2, 60), 0x87),
        (connect(4, "a/b", 2, 60), 2),
        (connect(5, "", 2, 60), 0x85),
        (connect(3, "hr-1", 2, 60), 1),
        (connect(6, "hr-1", 2, 60), 1),
    ] {
        let mut client = rig.plain().await;
        let ack = client.ask(&bytes).await.unwrap();
        assert_eq!((ack[0], ack[3]), (0x20, code), "{bytes:x?}");
        assert_eq!(client.packet().await, None);
    }
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0x30, 2, 0, 0],
        &[0x10, 0xff, 0xff, 0xff, 0x7f],
    ] {
        let mut client = rig.plain().await;
        assert_eq!(client.ask(garbage).await, None);
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_does_not_do_is_said() {
    let rig = Rig::start().await;
    let mut client = rig.plain().await;
    let ack = client.ask(&connect(5, "hr-1", 2, 0)).await.unwrap();
    let properties = &ack[5..];
    for expected in [
        &[33, 0, 224][..],
        &[42, 0],
        &[41, 0],
        &[34, 0, 0],
        &[39, 0, 0x80, 0, 0],
    ] {
        assert!(
            properties.windows(expected.len()).any(|w| w == expected),
            "{expected:?} in {properties:?}"
        );
    }
    for (message, code) in [
        (
            publish(5, AT_LEAST_ONCE, OWN, 1, &[35, 0, 1], &reading(1)),
            0x94,
        ),
        (
            packet(
                0x82,
                &[
                    &[0, 1, 2, 11, 1][..],
                    &text("v1/devices/hr-1/receipts"),
                    &[0],
                ]
                .concat(),
            ),
            0xa1,
        ),
        (vec![0xf0, 2, 0x18, 0], 0x82),
        (vec![0x32, 2, 0, 1], 0x81),
    ] {
        let mut client = rig.connected(5, "hr-1").await;
        let bye = client.ask(&message).await.unwrap();
        assert_eq!((bye[0], bye[2]), (0xe0, code), "{message:x?}");
        assert_eq!(client.packet().await, None);
    }
    rig.stop().await;
}
