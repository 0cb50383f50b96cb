//! A device's status: retained, passed on with the flags a subscription asks for, and deleted.

use super::{AT_LEAST_ONCE, AT_MOST_ONCE, DUPLICATE, EXACTLY_ONCE, OWN, RETAIN};
use crate::ingest::mqtt::status::STATUS_BYTES_MAX;
use crate::ingest::mqtt::testing::{
    Rig, Secure, connect, connect_with, packet, publish, reading, subscribe, text,
};

pub(super) const STATUS: &str = "v1/devices/hr-1/status";
/// Session Expiry Interval of an hour.
pub(super) const AN_HOUR: &[u8] = &[17, 0, 0, 0x0e, 0x10];

/// A session of the first device, whatever its identifier.
pub(super) async fn session(rig: &Rig, level: u8, id: &str) -> Secure {
    let mut client = rig.secure("hr-1").await.unwrap();
    let ack = client.ask(&connect(level, id, 2, 60)).await.unwrap();
    assert_eq!(ack[3], 0);
    client
}

/// One that has subscribed to the status with QoS 1, and has heard what is retained.
pub(super) async fn watcher(rig: &Rig, level: u8, id: &str) -> Secure {
    let mut client = session(rig, level, id).await;
    let ack = client.ask(&subscribe(level, 1, &[(STATUS, 1)])).await;
    assert_eq!(ack.unwrap()[0], 0x90);
    client
}

/// First byte, payload and identifier of a delivered status.
pub(super) fn status_of(level: u8, packet: &[u8]) -> (u8, Option<[u8; 2]>, Vec<u8>) {
    assert_eq!(packet[0] & 0xf0, 0x30, "{packet:x?}");
    let mut at = 2;
    let topic = 2 + STATUS.len();
    assert_eq!(&packet[at + 2..at + topic], STATUS.as_bytes());
    at += topic;
    let mut pkid = None;
    if packet[0] & 6 != 0 {
        pkid = Some([packet[at], packet[at + 1]]);
        at += 2;
    }
    if level == 5 {
        at += 1 + usize::from(packet[at]);
    }
    (packet[0], pkid, packet[at..].to_vec())
}

/// What a new subscription of this quality hears before the answer to a ping.
async fn retained(rig: &Rig, level: u8, qos: u8) -> Option<(u8, Vec<u8>)> {
    let mut client = session(rig, level, "reader").await;
    client
        .ask(&subscribe(level, 1, &[(STATUS, qos)]))
        .await
        .unwrap();
    let heard = client.ask(&[0xc0, 0]).await.unwrap();
    if heard == [0xd0, 0] {
        return None;
    }
    let (first, _, payload) = status_of(level, &heard);
    Some((first, payload))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_retained_status_meets_every_new_subscription() {
    let rig = Rig::start().await;
    for level in [4, 5] {
        assert_eq!(retained(&rig, level, 1).await, None);
        let mut device = session(&rig, level, "device").await;
        let mut live = watcher(&rig, level, "live").await;
        for (quality, answer, again) in [
            (AT_MOST_ONCE, None, 0x31),
            (AT_LEAST_ONCE, Some(0x40), 0x33),
            (EXACTLY_ONCE, Some(0x50), 0x33),
        ] {
            let payload = [b'a' + quality; 5];
            let message = publish(level, quality | RETAIN, STATUS, 7, &[], &payload);
            device.send(&message).await;
            if let Some(answer) = answer {
                let ack = device.packet().await.unwrap();
                assert_eq!((ack[0], &ack[2..]), (answer, &[0, 7][..]));
            }
            if quality == EXACTLY_ONCE {
                assert_eq!(device.ask(&[0x62, 2, 0, 7]).await.unwrap(), [0x70, 2, 0, 7]);
            }
            // To those who listen already it comes as any other message, and not above the quality it was sent with.
            let (first, pkid, heard) = status_of(level, &live.packet().await.unwrap());
            assert_eq!((first, &heard[..]), (again & !RETAIN, &payload[..]));
            if let Some([high, low]) = pkid {
                live.send(&[0x40, 2, high, low]).await;
            }
            assert_eq!(
                retained(&rig, level, 1).await,
                Some((again, payload.to_vec()))
            );
            assert_eq!(
                retained(&rig, level, 0).await,
                Some((0x31, payload.to_vec()))
            );
        }
        // Not retained: it replaces nothing, not even when it is empty.
        for payload in [&b"passing"[..], b""] {
            let message = publish(level, AT_LEAST_ONCE, STATUS, 8, &[], payload);
            assert_eq!(device.ask(&message).await.unwrap()[0], 0x40);
            let (_, _, heard) = status_of(level, &live.packet().await.unwrap());
            assert_eq!(heard, payload);
        }
        assert_eq!(
            retained(&rig, level, 0).await.unwrap().1,
            [b'a' + EXACTLY_ONCE; 5]
        );
        // Empty and retained: it is gone.
        let message = publish(level, AT_LEAST_ONCE | RETAIN, STATUS, 9, &[], b"");
        assert_eq!(device.ask(&message).await.unwrap()[0], 0x40);
        assert_eq!(retained(&rig, level, 1).await, None);
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_retained_after_a_restart() {
    let rig = Rig::start().await;
    let mut device = session(&rig, 5, "device").await;
    // Content type, a user property, an expiry of an hour.
    let mut properties = vec![2, 0, 0, 0x0e, 0x10, 3];
    properties.extend(text("text/plain"));
    properties.push(38);
    properties.extend([text("battery"), text("80")].concat());
    let message = publish(5, AT_LEAST_ONCE | RETAIN, STATUS, 1, &properties, b"online");
    assert_eq!(device.ask(&message).await.unwrap()[0], 0x40);
    let rig = rig.restart().await;
    assert_eq!(retained(&rig, 4, 1).await, Some((0x33, b"online".to_vec())));
    let mut reader = session(&rig, 5, "reader").await;
    reader.ask(&subscribe(5, 1, &[(STATUS, 1)])).await.unwrap();
    let heard = reader.packet().await.unwrap();
    for expected in [&text("text/plain"), &[text("battery"), text("80")].concat()] {
        let there = heard.windows(expected.len()).any(|w| w == expected);
        assert!(there, "{heard:x?}");
    }
    let mut device = session(&rig, 4, "device").await;
    let message = publish(4, AT_LEAST_ONCE | RETAIN, STATUS, 1, &[], b"");
    assert_eq!(device.ask(&message).await.unwrap()[0], 0x40);
    let rig = rig.restart().await;
    assert_eq!(retained(&rig, 4, 1).await, None);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_of_mqtt_5_chooses_what_it_gets() {
    let rig = Rig::start().await;
    let mut client = session(&rig, 5, "both").await;
    let send = publish(5, AT_LEAST_ONCE | RETAIN, STATUS, 1, &[], b"here");
    assert_eq!(client.ask(&send).await.unwrap()[0], 0x40);
    let ping = [0xc0, 0];
    // Retain Handling: only if it is new, never, always.
    for (options, heard) in [(0x10, true), (0x10, false), (0x20, false), (0x00, true)] {
        let ack = client.ask(&subscribe(5, 1, &[(STATUS, options)])).await;
        assert_eq!(ack.unwrap()[0], 0x90);
        if heard {
            let (first, _, payload) = status_of(5, &client.packet().await.unwrap());
            assert_eq!((first, &payload[..]), (0x31, &b"here"[..]));
        }
        assert_eq!(client.ask(&ping).await.unwrap(), [0xd0, 0], "{options:x}");
    }
    // Retain As Published, on a live message.
    client
        .ask(&subscribe(5, 1, &[(STATUS, 0x28)]))
        .await
        .unwrap();
    client
        .send(&publish(5, RETAIN, STATUS, 0, &[], b"there"))
        .await;
    assert_eq!(status_of(5, &client.packet().await.unwrap()).0, 0x31);
    // No Local: others hear it, the sender does not.
    let mut other = watcher(&rig, 5, "other").await;
    other.packet().await.unwrap();
    client
        .ask(&subscribe(5, 1, &[(STATUS, 0x25)]))
        .await
        .unwrap();
    let ack = client
        .ask(&publish(5, AT_LEAST_ONCE, STATUS, 2, &[], b"own"))
        .await;
    assert_eq!(ack.unwrap()[0], 0x40);
    assert_eq!(status_of(5, &other.packet().await.unwrap()).2, b"own");
    assert_eq!(client.ask(&ping).await.unwrap(), [0xd0, 0]);
    let ack = other
        .ask(&publish(5, AT_LEAST_ONCE, STATUS, 2, &[], b"others"))
        .await;
    // Its own subscription hears it, too, in whatever order.
    let more = other.packet().await.unwrap();
    assert_eq!(ack.unwrap()[0] & 0xf0 ^ more[0] & 0xf0, 0x30 ^ 0x40);
    assert_eq!(status_of(5, &client.packet().await.unwrap()).2, b"others");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retained_status_without_acknowledgement_comes_again_after_reconnecting() {
    let rig = Rig::start().await;
    let mut device = session(&rig, 4, "device").await;
    let send = publish(4, AT_LEAST_ONCE | RETAIN, STATUS, 1, &[], b"on");
    assert_eq!(device.ask(&send).await.unwrap()[0], 0x40);
    for level in [4, 5] {
        let hello = match level {
            5 => connect_with(5, "kept", 0, 60, AN_HOUR),
            _ => connect(4, "kept", 0, 60),
        };
        let end = session(&rig, level, "kept").await;
        drop(end);
        let mut client = rig.secure("hr-1").await.unwrap();
        client.ask(&hello).await.unwrap();
        client
            .ask(&subscribe(level, 1, &[(STATUS, 1)]))
            .await
            .unwrap();
        let (first, pkid, _) = status_of(level, &client.packet().await.unwrap());
        assert_eq!(first, 0x33);
        drop(client);
        let mut client = rig.secure("hr-1").await.unwrap();
        assert_eq!(client.ask(&hello).await.unwrap()[2], 1, "session present");
        let again = status_of(level, &client.packet().await.unwrap());
        assert_eq!(again, (0x33 | DUPLICATE, pkid, b"on".to_vec()));
        let [high, low] = pkid.unwrap();
        client.send(&[0x40, 2, high, low]).await;
        // The session still knows its subscription.
        let send = publish(4, AT_LEAST_ONCE, STATUS, 2, &[], b"live");
        assert_eq!(device.ask(&send).await.unwrap()[0], 0x40);
        let (_, pkid, live) = status_of(level, &client.packet().await.unwrap());
        assert_eq!(live, b"live");
        let [high, low] = pkid.unwrap();
        client.send(&[0x40, 2, high, low]).await;
        let mut body = vec![0, 4];
        if level == 5 {
            body.push(0);
        }
        body.extend(text(STATUS));
        let ack = client.ask(&packet(0xa2, &body)).await.unwrap();
        assert_eq!(
            (ack[0], ack.last()),
            (0xb0, Some(&if level == 5 { 0 } else { 4 }))
        );
        drop(client);
        let mut client = rig.secure("hr-1").await.unwrap();
        client.ask(&hello).await.unwrap();
        assert_eq!(client.ask(&[0xc0, 0]).await.unwrap(), [0xd0, 0]);
    }
    rig.stop().await;
}

/// What is retained waits, too, when the device takes but one message at a time.
#[tokio::test(flavor = "multi_thread")]
async fn a_retained_status_keeps_to_the_receive_maximum() {
    let rig = Rig::start().await;
    let mut client = rig.secure("hr-1").await.unwrap();
    // Receive Maximum 1, Maximum Packet Size 60.
    let hello = connect_with(5, "one", 2, 60, &[33, 0, 1, 39, 0, 0, 0, 60]);
    assert_eq!(client.ask(&hello).await.unwrap()[3], 0);
    let send = publish(5, AT_LEAST_ONCE | RETAIN, STATUS, 1, &[], b"on");
    assert_eq!(client.ask(&send).await.unwrap()[0], 0x40);
    assert_eq!(
        client.ask(&subscribe(5, 1, &[(STATUS, 1)])).await.unwrap()[0],
        0x90
    );
    let (first, pkid, _) = status_of(5, &client.packet().await.unwrap());
    assert_eq!(first, 0x33);
    let all = subscribe(5, 1, &[("v1/devices/hr-1/#", 1)]);
    assert_eq!(client.ask(&all).await.unwrap()[0], 0x90);
    assert_eq!(
        client.ask(&[0xc0, 0]).await.unwrap(),
        [0xd0, 0],
        "the second waits"
    );
    let [high, low] = pkid.unwrap();
    let (_, pkid, _) = status_of(5, &client.ask(&[0x40, 2, high, low]).await.unwrap());
    let [high, low] = pkid.unwrap();
    client.send(&[0x40, 2, high, low]).await;
    client
        .ask(&packet(
            0xa2,
            &[&[0, 4, 0][..], &text("v1/devices/hr-1/#")].concat(),
        ))
        .await
        .unwrap();
    // Too large for this device: passed over, and nothing waits behind it.
    let mut other = session(&rig, 5, "other").await;
    let send = publish(5, AT_LEAST_ONCE | RETAIN, STATUS, 1, &[], &[b'x'; 90]);
    assert_eq!(other.ask(&send).await.unwrap()[0], 0x40);
    client.ask(&subscribe(5, 1, &[(STATUS, 1)])).await.unwrap();
    assert_eq!(client.ask(&[0xc0, 0]).await.unwrap(), [0xd0, 0]);
    let send = publish(5, AT_LEAST_ONCE | RETAIN, STATUS, 1, &[], b"small");
    assert_eq!(other.ask(&send).await.unwrap()[0], 0x40);
    assert_eq!(status_of(5, &client.packet().await.unwrap()).2, b"small");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_own_status_is_retained_and_only_if_it_is_small() {
    let rig = Rig::start().await;
    let large = vec![b'x'; STATUS_BYTES_MAX + 1];
    let other = "v1/devices/hr-2/status";
    let mut client = session(&rig, 5, "device").await;
    for (topic, payload, code, name) in [
        (OWN, &reading(1)[..], 0x87, "retain-not-allowed"),
        (other, b"x", 0x87, "topic-not-allowed"),
        ("v1/devices/hr-1/receipts", b"x", 0x87, "topic-not-allowed"),
        ("v1/devices/hr-1/status/x", b"x", 0x87, "topic-not-allowed"),
        (STATUS, &large, 0x97, "status-too-large"),
    ] {
        for (quality, first) in [(AT_LEAST_ONCE, 0x40), (EXACTLY_ONCE, 0x50)] {
            let message = publish(5, quality | RETAIN, topic, 9, &[], payload);
            let ack = client.ask(&message).await.unwrap();
            assert_eq!((ack[0], ack[4]), (first, code), "{topic} {name}");
            let said = String::from_utf8_lossy(&ack);
            assert!(said.contains(name), "{said}");
        }
    }
    let forged = [&[38][..], &text("\0"), &text("11hr-1:0")].concat();
    let message = publish(5, AT_LEAST_ONCE, STATUS, 9, &forged, b"x");
    let ack = client.ask(&message).await.unwrap();
    assert_eq!((ack[0], ack[4]), (0x40, 0x99), "no string of MQTT");
    let mut client = session(&rig, 5, "device").await;
    let bye = client
        .ask(&publish(5, RETAIN, OWN, 0, &[], &reading(1)))
        .await
        .unwrap();
    assert_eq!((bye[0], bye[2]), (0xe0, 0x87));
    // 3.1.1 cannot be told: what is wrong is closed, and a reading's flag means nothing.
    let mut old = session(&rig, 4, "old").await;
    let message = publish(4, AT_LEAST_ONCE | RETAIN, OWN, 9, &[], &reading(1));
    assert_eq!(old.ask(&message).await.unwrap(), [0x40, 2, 0, 9]);
    let message = publish(4, AT_LEAST_ONCE | RETAIN, STATUS, 9, &[], &large);
    assert_eq!(old.ask(&message).await, None);
    assert_eq!(rig.journal.counts().received, 1);
    assert_eq!(retained(&rig, 4, 1).await, None);
    rig.stop().await;
}
