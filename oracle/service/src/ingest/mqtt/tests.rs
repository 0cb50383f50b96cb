//! The front on real sockets: what each version answers, and what is in the journal then.

mod certificates;
mod events;
mod rates;
mod sessions;
mod table;
mod websockets;

use std::time::Duration;

use super::Limits;
use super::testing::{Client, Rig, connect, packet, publish, reading, subscribe, text};
use crate::ingest::topic;
use crate::pipeline::Arrival;

const OWN: &str = "v1/devices/hr-1/observations";
const OTHER: &str = "v1/devices/hr-2/observations";
const AT_MOST_ONCE: u8 = 0;
const AT_LEAST_ONCE: u8 = 2;
const EXACTLY_ONCE: u8 = 4;
const DUPLICATE: u8 = 8;
const RETAIN: u8 = 1;

#[tokio::test(flavor = "multi_thread")]
async fn every_quality_is_acknowledged_when_durable_in_both_versions() {
    let mut rig = Rig::start().await;
    for (level, first) in [(4, 0), (5, 10)] {
        let mut client = rig.connected(level, "hr-1").await;
        let ack = client
            .ask(&publish(level, AT_LEAST_ONCE, OWN, 7, &[], &reading(first)))
            .await;
        assert_eq!(ack.unwrap(), [0x40, 2, 0, 7]);
        assert_eq!(rig.journal.highest_sequence("hr-1"), Some(first));

        let twice = publish(level, EXACTLY_ONCE, OWN, 8, &[], &reading(first + 1));
        assert_eq!(client.ask(&twice).await.unwrap(), [0x50, 2, 0, 8]);
        let again = publish(
            level,
            EXACTLY_ONCE | DUPLICATE,
            OWN,
            8,
            &[],
            &reading(first + 1),
        );
        assert_eq!(client.ask(&again).await.unwrap(), [0x50, 2, 0, 8]);
        assert_eq!(client.ask(&[0x62, 2, 0, 8]).await.unwrap(), [0x70, 2, 0, 8]);

        client
            .send(&publish(
                level,
                AT_MOST_ONCE,
                OWN,
                0,
                &[],
                &reading(first + 2),
            ))
            .await;
        assert_eq!(client.ask(&[0xc0, 0]).await.unwrap(), [0xd0, 0]);
        for expected in first..first + 3 {
            let Some(Arrival::New(pending)) = rig.arrivals.recv().await else {
                panic!();
            };
            assert_eq!(pending.sequence, Some(expected));
        }
    }
    assert_eq!(rig.journal.counts().received, 6);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_messages_at_once_are_acknowledged_in_order() {
    let rig = Rig::start().await;
    let mut client = rig.connected(4, "hr-1").await;
    let mut all = Vec::new();
    for number in 1..=400_u16 {
        let payload = reading(u64::from(number));
        all.extend(publish(4, AT_LEAST_ONCE, OWN, number, &[], &payload));
    }
    client.send(&all).await;
    for number in 1..=400_u16 {
        let [high, low] = number.to_be_bytes();
        assert_eq!(client.packet().await.unwrap(), [0x40, 2, high, low]);
    }
    let kept = rig.journal.unsealed();
    let sequences: Vec<_> = kept.iter().filter_map(|p| p.sequence).collect();
    assert_eq!(sequences, (1..=400).collect::<Vec<_>>(), "order is kept");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_message_is_acknowledged_and_kept_once() {
    let mut rig = Rig::start().await;
    let mut client = rig.connected(4, "hr-1").await;
    for _ in 0..3 {
        let message = publish(4, AT_LEAST_ONCE | DUPLICATE, OWN, 1, &[], &reading(5));
        assert_eq!(client.ask(&message).await.unwrap(), [0x40, 2, 0, 1]);
    }
    assert_eq!(rig.journal.counts().received, 1);
    assert!(matches!(rig.arrivals.recv().await, Some(Arrival::New(_))));
    assert!(matches!(
        rig.arrivals.recv().await,
        Some(Arrival::Again {
            sequence: Some(5),
            ..
        })
    ));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn properties_and_property_bag_say_the_same() {
    let mut rig = Rig::start().await;
    let mut old = rig.connected(4, "hr-1").await;
    let bag = format!("{OWN}/?seq=3&content-type=image%2Fpng&type=11524-6");
    let ack = old
        .ask(&publish(4, AT_LEAST_ONCE, &bag, 1, &[], b"\x89PNG"))
        .await;
    assert_eq!(ack.unwrap(), [0x40, 2, 0, 1]);
    let mut new = rig.connected(5, "hr-2").await;
    let mut properties = vec![3];
    properties.extend(text("image/png"));
    for (name, value) in [("seq", "3"), ("type", "11524-6")] {
        properties.push(38);
        properties.extend(text(name));
        properties.extend(text(value));
    }
    let message = publish(5, AT_LEAST_ONCE, OTHER, 1, &properties, b"\x89PNG");
    assert_eq!(new.ask(&message).await.unwrap(), [0x40, 2, 0, 1]);
    for _ in 0..2 {
        let Some(Arrival::New(pending)) = rig.arrivals.recv().await else {
            panic!();
        };
        assert_eq!(pending.sequence, Some(3));
        assert_eq!(
            (pending.content_type.as_str(), pending.code.as_str()),
            ("image/png", "11524-6")
        );
        assert!(pending.alone);
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mqtt_5_hears_why_a_message_is_refused() {
    let rig = Rig::start().await;
    let mut client = rig.connected(5, "hr-1").await;
    let future = br#"{"seq":1,"time":"2125-06-01T10:00:00Z","code":"a","value":true}"#;
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
        (OWN, future, 0x99, "time-in-future"),
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
    let with_will = |level: u8| {
        let mut body = text("MQTT");
        body.extend_from_slice(&[level, 0x06, 0, 60]);
        if level == 5 {
            body.push(0);
        }
        body.extend(text("hr-1"));
        if level == 5 {
            body.push(0);
        }
        body.extend(text(OTHER));
        body.extend(text("gone"));
        packet(0x10, &body)
    };
    for (bytes, code) in [
        (connect(4, "nobody", 2, 60), 5),
        (connect(5, "nobody", 2, 60), 0x87),
        (connect(4, "off", 2, 60), 5),
        (connect(5, "off", 2, 60), 0x87),
        (connect(4, "a/b", 2, 60), 2),
        (connect(5, "", 2, 60), 0x85),
        (with_will(4), 5),
        (with_will(5), 0x87),
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
        &[33, 0, 128][..],
        &[37, 0],
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
            publish(5, AT_LEAST_ONCE | RETAIN, OWN, 1, &[], &reading(1)),
            0x9a,
        ),
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

#[tokio::test(flavor = "multi_thread")]
async fn a_packet_too_large_is_refused_before_it_is_read() {
    let limits = Limits {
        packet_bytes: 4096,
        ..Limits::default()
    };
    let rig = Rig::with(limits, 1 << 30).await;
    let huge = publish(5, AT_LEAST_ONCE, OWN, 1, &[], &vec![b'x'; 10 << 20]);
    let mut client = rig.connected(5, "hr-1").await;
    let (mut reading_half, mut writing_half) = tokio::io::split(client.0);
    let writing = tokio::spawn(async move {
        // The server may stop reading; what it said must still arrive.
        drop(tokio::io::AsyncWriteExt::write_all(&mut writing_half, &huge).await);
        writing_half
    });
    let mut bye = [0; 3];
    tokio::io::AsyncReadExt::read_exact(&mut reading_half, &mut bye)
        .await
        .unwrap();
    assert_eq!((bye[0], bye[2]), (0xe0, 0x95));
    drop(writing.await.unwrap());
    let small = publish(4, AT_LEAST_ONCE, OWN, 1, &[], &vec![b'x'; 5000]);
    client = rig.connected(4, "hr-1").await;
    assert_eq!(client.ask(&small).await, None);
    assert_eq!(rig.journal.counts().received, 0);
    rig.stop().await;
}

/// Places for large packets are held by messages on their way to the disk. Who waits for a place must go on bringing
/// its own messages there, or everyone waits for ever.
#[tokio::test(flavor = "multi_thread")]
async fn more_large_messages_than_places_are_all_acknowledged() {
    let window = Duration::from_millis(300);
    let rig = Rig::with_window(Limits::default(), 1 << 30, window).await;
    let mut client = rig.connected(4, "hr-1").await;
    let count = u16::try_from(Limits::default().large_packets).unwrap() * 2;
    let mut all = Vec::new();
    for number in 1..=count {
        let mut payload = reading(u64::from(number));
        payload.extend(vec![b' '; super::LARGE_PACKET_BYTES]);
        all.extend(publish(4, AT_LEAST_ONCE, OWN, number, &[], &payload));
    }
    let talk = async {
        client.send(&all).await;
        for number in 1..=count {
            let [high, low] = number.to_be_bytes();
            assert_eq!(client.packet().await.unwrap(), [0x40, 2, high, low]);
        }
    };
    tokio::time::timeout(Duration::from_secs(30), talk)
        .await
        .unwrap();
    rig.stop().await;
}

/// A flaky radio: connections that break at once, again and again, under one name.
#[tokio::test(flavor = "multi_thread")]
async fn broken_connections_leave_the_front_alive() {
    let rig = Rig::start().await;
    let own = topic::receipts("hr-1");
    for round in 0..60 {
        let mut client = rig.plain().await;
        client.send(&connect(4 + round % 2, "hr-1", 2, 60)).await;
        if round % 3 == 0 {
            client.packet().await.unwrap();
            client
                .send(&subscribe(4 + round % 2, 1, &[(&own, 1)]))
                .await;
        }
        rig.delivery.publish(own.clone(), vec![round]).unwrap();
        client.0.set_zero_linger().unwrap();
    }
    let mut client = rig.connected(4, "hr-1").await;
    let ack = client
        .ask(&publish(4, AT_LEAST_ONCE, OWN, 1, &[], &reading(1)))
        .await;
    assert_eq!(ack.unwrap(), [0x40, 2, 0, 1]);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_hinder_nobody() {
    let limits = Limits {
        handshakes: 8,
        handshake: Duration::from_millis(300),
        ..Limits::default()
    };
    let rig = Rig::with(limits, 1 << 30).await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(tokio::net::TcpStream::connect(rig.tls).await.unwrap());
    }
    // All places are taken until the handshakes time out; then there is room again.
    loop {
        if let Ok(mut client) = rig.secure("hr-1").await {
            client.send(&connect(4, "any", 2, 60)).await;
            if let Some(ack) = client.packet().await {
                assert_eq!(ack, [0x20, 2, 0, 0]);
                break;
            }
        }
    }
    for stream in &mut silent {
        let mut byte = [0];
        let read = tokio::io::AsyncReadExt::read(stream, &mut byte).await;
        assert!(matches!(read, Ok(0) | Err(_)));
    }
    rig.stop().await;
}

/// Who was refused and does not hang up takes one of the places of unfinished handshakes, not one of its own.
#[tokio::test(flavor = "multi_thread")]
async fn the_refused_who_stay_are_bounded() {
    let limits = Limits {
        handshakes: 4,
        ..Limits::default()
    };
    let rig = Rig::with(limits, 1 << 30).await;
    let mut refused = Vec::new();
    for _ in 0..4 {
        let mut client = rig.plain().await;
        let ack = client.ask(&connect(4, "nobody", 2, 60)).await.unwrap();
        assert_eq!(ack, [0x20, 2, 0, 5]);
        refused.push(client);
    }
    let mut late = rig.plain().await;
    assert_eq!(late.packet().await, None, "no place for another");
    drop(refused);
    loop {
        let mut client = rig.plain().await;
        drop(tokio::io::AsyncWriteExt::write_all(&mut client.0, &connect(4, "hr-1", 2, 60)).await);
        if let Some(ack) = client.packet().await {
            assert_eq!(ack, [0x20, 2, 0, 0]);
            break;
        }
    }
    rig.stop().await;
}

/// Who opens a port and says nothing, or half a CONNECT, is cut off on either port.
#[tokio::test(flavor = "multi_thread")]
async fn a_connect_that_does_not_come_is_not_waited_for() {
    let limits = Limits {
        handshake: Duration::from_millis(200),
        ..Limits::default()
    };
    let rig = Rig::with(limits, 1 << 30).await;
    for bytes in [&b""[..], &connect(5, "hr-1", 2, 60)[..7]] {
        let mut client = rig.plain().await;
        client.send(bytes).await;
        assert_eq!(client.packet().await, None);
        let mut client = rig.secure("hr-1").await.unwrap();
        client.send(bytes).await;
        assert_eq!(client.packet().await, None);
    }
    rig.stop().await;
}

/// One device that keeps all its connections busy with large packets leaves places for others.
#[tokio::test(flavor = "multi_thread")]
async fn unfinished_large_packets_of_one_device_leave_places_for_others() {
    let limits = Limits {
        large_packets: 6,
        ..Limits::default()
    };
    let rig = Rig::with(limits, 1 << 30).await;
    let large = |topic: &str, number: u16| {
        let mut payload = reading(u64::from(number));
        payload.extend(vec![b' '; super::LARGE_PACKET_BYTES]);
        publish(4, AT_LEAST_ONCE, topic, number, &[], &payload)
    };
    let mut greedy = Vec::new();
    for number in 0..8_u16 {
        let mut client = rig.secure("hr-1").await.unwrap();
        let id = format!("greedy-{number}");
        assert_eq!(client.ask(&connect(4, &id, 2, 60)).await.unwrap()[3], 0);
        let message = large(OWN, number + 1);
        client.send(&message[..message.len() - 1]).await;
        greedy.push(client);
    }
    let mut other = rig.connected(4, "hr-2").await;
    for number in 1..=20_u16 {
        let ack = other.ask(&large(OTHER, number)).await.unwrap();
        assert_eq!(ack, [0x40, 2, 0, u8::try_from(number).unwrap()]);
    }
    // Places that were given back serve the device's other connections.
    for client in &mut greedy {
        client.send(b" ").await;
    }
    for (client, number) in greedy.iter_mut().zip(1_u8..) {
        assert_eq!(client.packet().await.unwrap(), [0x40, 2, 0, number]);
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_bounded() {
    let limits = Limits {
        connections: 1,
        ..Limits::default()
    };
    let rig = Rig::with(limits, 1 << 30).await;
    let first = rig.connected(4, "hr-1").await;
    for (level, code) in [(4, 3), (5, 0x89)] {
        let mut second = rig.plain().await;
        let ack = second.ask(&connect(level, "hr-2", 2, 60)).await.unwrap();
        assert_eq!(ack[3], code);
    }
    drop(first);
    loop {
        let mut second = rig.plain().await;
        let ack = second.ask(&connect(4, "hr-2", 2, 60)).await.unwrap();
        if ack[3] == 0 {
            break;
        }
    }
    rig.stop().await;
}

#[tokio::test]
async fn keep_alive_is_enforced_and_zero_allowed() {
    let rig = Rig::start().await;
    let mut none = rig.plain().await;
    none.send(&connect(5, "hr-2", 2, 0)).await;
    assert_eq!(none.packet().await.unwrap()[3], 0);
    let mut client = rig.plain().await;
    client.send(&connect(5, "hr-1", 2, 10)).await;
    assert_eq!(client.packet().await.unwrap()[3], 0);
    tokio::time::pause();
    let started = tokio::time::Instant::now();
    let bye = client.packet().await.unwrap();
    assert_eq!((bye[0], bye[2]), (0xe0, 0x8d));
    assert!(
        started.elapsed() >= Duration::from_secs(14),
        "{:?}",
        started.elapsed()
    );
    tokio::time::resume();
    assert_eq!(none.ask(&[0xc0, 0]).await.unwrap(), [0xd0, 0]);
    rig.stop().await;
}

#[tokio::test]
async fn a_full_journal_delays_and_then_refuses() {
    let rig = Rig::with(Limits::default(), 64 << 10).await;
    let mut client = rig.plain().await;
    client.send(&connect(5, "hr-1", 2, 0)).await;
    assert_eq!(client.packet().await.unwrap()[3], 0);
    let bag = |seq: u16| format!("{OWN}/?seq={seq}&content-type=image%2Fpng");
    let image = vec![1; 8 << 10];
    let mut kept = 0;
    let code = loop {
        tokio::time::pause();
        let ack = client
            .ask(&publish(5, AT_LEAST_ONCE, &bag(kept), 1, &[], &image))
            .await;
        tokio::time::resume();
        let ack = ack.unwrap();
        match ack.get(4) {
            None => kept += 1,
            Some(code) => break *code,
        }
    };
    assert_eq!(code, 0x97);
    assert!(kept >= 6, "{kept}");
    assert_eq!(rig.journal.counts().received, usize::from(kept));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_acknowledges_what_is_kept_and_says_goodbye() {
    let rig = Rig::start().await;
    let mut client = rig.connected(5, "hr-1").await;
    let mut all = Vec::new();
    for number in 1..=50_u16 {
        let payload = reading(u64::from(number));
        all.extend(publish(5, AT_LEAST_ONCE, OWN, number, &[], &payload));
    }
    client.send(&all).await;
    assert!(client.packet().await.is_some());
    rig.stopping().cancel();
    let mut acknowledged = 1;
    let mut goodbye = None;
    while let Some(packet) = client.packet().await {
        match packet[0] {
            0x40 => acknowledged += 1,
            _ => goodbye = Some(packet[2]),
        }
    }
    assert_eq!(goodbye, Some(0x8b));
    let journal = rig.journal.clone();
    rig.stop().await;
    assert_eq!(journal.counts().received, acknowledged);
}

#[tokio::test(flavor = "multi_thread")]
async fn random_bytes_after_the_connect_end_one_connection_only() {
    let rig = Rig::start().await;
    let mut state = 0x0ddb_1a5e_5bad_5eed_u64;
    for _ in 0..150 {
        let mut client: Client<_> = rig
            .connected(if state & 1 == 0 { 4 } else { 5 }, "hr-1")
            .await;
        let mut bytes = Vec::new();
        for _ in 0..40 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.push(state.to_le_bytes()[0]);
        }
        drop(tokio::io::AsyncWriteExt::write_all(&mut client.0, &bytes).await);
    }
    let mut client = rig.connected(5, "hr-2").await;
    let message = publish(5, AT_LEAST_ONCE, OTHER, 1, &[], &reading(1));
    assert_eq!(client.ask(&message).await.unwrap(), [0x40, 2, 0, 1]);
    rig.stop().await;
}
