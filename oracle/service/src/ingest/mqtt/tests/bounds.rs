//! What one device, or a crowd of strangers, can take from the others: nothing beyond the limits.

use std::time::Duration;

use super::{AT_LEAST_ONCE, OTHER, OWN};
use crate::ingest::mqtt::testing::{Client, Rig, connect, publish, reading, subscribe};
use crate::ingest::mqtt::{LARGE_PACKET_BYTES, Limits};
use crate::ingest::topic;

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
        payload.extend(vec![b' '; LARGE_PACKET_BYTES]);
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

/// R1. A flaky radio: connections that break at once, again and again, under one name.
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
    let message = publish(4, AT_LEAST_ONCE, OWN, 1, &[], &reading(1));
    // A broken one may be read after a whole one and take its session.
    let ack = loop {
        let mut client = rig.plain().await;
        client.send(&connect(4, "hr-1", 2, 60)).await;
        if client.packet().await.is_some()
            && let Some(ack) = client.ask(&message).await
        {
            break ack;
        }
    };
    assert_eq!(ack, [0x40, 2, 0, 1]);
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
        payload.extend(vec![b' '; LARGE_PACKET_BYTES]);
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

/// R3: who came when all places were taken, twice under one name, closed the port for good.
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
