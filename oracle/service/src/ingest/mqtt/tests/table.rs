//! What devices expect of a broker, and how a broker was seen to break: each row once, with raw packets.
//!
//! R1 and R3 are in `bounds`, retained messages in `status`, wills in `wills`.

use tokio::io::AsyncWriteExt;

use super::{AT_LEAST_ONCE, DUPLICATE, EXACTLY_ONCE, OTHER, OWN};
use crate::ingest::mqtt::testing::{
    Rig, connect, connect_with, packet, publish, reading, subscribe, text,
};
use crate::ingest::mqtt::{FrontError, Limits};
use crate::ingest::topic;
use crate::pipeline::Arrival;

const CLEAN: u8 = 2;
const KEPT: u8 = 0;
/// Session Expiry Interval of an hour.
const AN_HOUR: &[u8] = &[17, 0, 0, 0x0e, 0x10];

/// CONNECT that asks for a session to be kept.
fn connect_kept(level: u8, id: &str) -> Vec<u8> {
    match level {
        5 => connect_with(5, id, KEPT, 60, AN_HOUR),
        _ => connect(4, id, KEPT, 60),
    }
}

/// A QoS 2 message whose release is cut off by the network is kept once, however often it comes again.
#[tokio::test(flavor = "multi_thread")]
async fn a_qos_2_message_survives_a_broken_connection_and_is_kept_once() {
    let rig = Rig::start().await;
    for (level, first) in [(4, 1), (5, 10)] {
        let mut client = rig.plain().await;
        client
            .ask(&connect(level, "hr-1", CLEAN, 60))
            .await
            .unwrap();
        client.send(&[0xe0, 0]).await;
        assert_eq!(client.packet().await, None);
        let mut client = rig.plain().await;
        client.ask(&connect_kept(level, "hr-1")).await.unwrap();
        let message = publish(level, EXACTLY_ONCE, OWN, 9, &[], &reading(first));
        assert_eq!(client.ask(&message).await.unwrap(), [0x50, 2, 0, 9]);
        client.0.set_zero_linger().unwrap();
        drop(client);
        let mut client = rig.plain().await;
        let ack = client.ask(&connect_kept(level, "hr-1")).await.unwrap();
        assert_eq!((ack[2], ack[3]), (1, 0), "session present");
        let again = EXACTLY_ONCE | DUPLICATE;
        for _ in 0..2 {
            let message = publish(level, again, OWN, 9, &[], &reading(first));
            assert_eq!(client.ask(&message).await.unwrap(), [0x50, 2, 0, 9]);
        }
        for _ in 0..2 {
            let done = client.ask(&[0x62, 2, 0, 9]).await.unwrap();
            assert_eq!((done[0], &done[2..4]), (0x70, &[0, 9][..]));
        }
        // The identifier is free again, for another message.
        let next = publish(level, EXACTLY_ONCE, OWN, 9, &[], &reading(first + 1));
        assert_eq!(client.ask(&next).await.unwrap(), [0x50, 2, 0, 9]);
    }
    assert_eq!(rig.journal.counts().received, 4);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_without_acknowledgement_comes_again_after_reconnecting() {
    let rig = Rig::start().await;
    let own = topic::receipts("hr-1");
    for level in [4, 5] {
        let mut client = rig.plain().await;
        client
            .ask(&connect(level, "hr-1", CLEAN, 60))
            .await
            .unwrap();
        drop(client);
        let mut client = rig.plain().await;
        client.ask(&connect_kept(level, "hr-1")).await.unwrap();
        client
            .ask(&subscribe(level, 1, &[(&own, 1)]))
            .await
            .unwrap();
        rig.delivery.publish(own.clone(), vec![7]).unwrap();
        assert_eq!(client.packet().await.unwrap().last(), Some(&7));
        client.0.set_zero_linger().unwrap();
        drop(client);
        let mut client = rig.plain().await;
        client.ask(&connect_kept(level, "hr-1")).await.unwrap();
        let message = client.packet().await.unwrap();
        assert_eq!(message.last(), Some(&7));
        let at = 4 + own.len();
        client.send(&[0x40, 2, message[at], message[at + 1]]).await;
        client.send(&[0xe0, 0]).await;
        assert_eq!(client.packet().await, None);
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_gets_no_more_than_its_receive_maximum_and_packet_size() {
    let rig = Rig::start().await;
    let own = topic::receipts("hr-1");
    let mut client = rig.plain().await;
    // Receive Maximum 2, Maximum Packet Size 100.
    let properties = [33, 0, 2, 39, 0, 0, 0, 100];
    let hello = connect_with(5, "hr-1", CLEAN, 60, &properties);
    assert_eq!(client.ask(&hello).await.unwrap()[3], 0);
    client.ask(&subscribe(5, 1, &[(&own, 1)])).await.unwrap();
    for size in [1, 200, 2, 3, 300, 4] {
        rig.delivery.publish(own.clone(), vec![9; size]).unwrap();
    }
    let at = 4 + own.len();
    let mut waiting = Vec::new();
    for size in [1, 2] {
        let message = client.packet().await.unwrap();
        assert_eq!(message.len() - at - 3, size);
        waiting.push([message[at], message[at + 1]]);
    }
    // Two are on their way: the next thing to come is the answer to a ping.
    assert_eq!(client.ask(&[0xc0, 0]).await.unwrap(), [0xd0, 0]);
    for [high, low] in waiting {
        client.send(&[0x40, 2, high, low]).await;
    }
    for size in [3, 4] {
        let message = client.packet().await.unwrap();
        assert_eq!(message.len() - at - 3, size);
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_mqtt_5_session_ends_when_its_time_is_over() {
    let rig = Rig::start().await;
    for (properties, present) in [(&[17, 0, 0, 0, 0][..], 0), (AN_HOUR, 1)] {
        let hello = connect_with(5, "hr-1", KEPT, 60, properties);
        for expected in [0, present] {
            let mut client = rig.plain().await;
            let ack = client.ask(&hello).await.unwrap();
            assert_eq!((ack[2], ack[3]), (expected, 0));
            client.send(&[0xe0, 0]).await;
            assert_eq!(client.packet().await, None);
        }
    }
    rig.stop().await;
}

/// R2: such identifiers killed a listener. Here they name nothing: the certificate says who it is.
#[tokio::test(flavor = "multi_thread")]
async fn client_identifiers_of_any_characters_are_only_names() {
    let rig = Rig::start().await;
    for id in ["a+b", "$SYS/x", "#", "hr-2", "../..", "\u{1f493}", "hr-1:0"] {
        for level in [4, 5] {
            let mut first = rig.secure("hr-1").await.unwrap();
            assert_eq!(first.ask(&connect(level, id, 2, 60)).await.unwrap()[3], 0);
            let mut second = rig.secure("hr-1").await.unwrap();
            assert_eq!(second.ask(&connect(level, id, 2, 60)).await.unwrap()[3], 0);
            assert_eq!(second.ask(&[0xc0, 0]).await.unwrap(), [0xd0, 0], "{id}");
            second.send(&[0xe0, 0]).await;
            assert_eq!(second.packet().await, None);
        }
    }
    for id in ["a+b", "#", "$share/g", "a/b"] {
        for _ in 0..2 {
            let mut client = rig.plain().await;
            assert_eq!(client.ask(&connect(4, id, 2, 60)).await.unwrap()[3], 2);
        }
    }
    let mut client = rig.connected(4, "hr-1").await;
    assert_eq!(client.ask(&[0xc0, 0]).await.unwrap(), [0xd0, 0]);
    rig.stop().await;
}

/// R4: the last member of a shared subscription that left with a message unacknowledged killed the router.
#[tokio::test(flavor = "multi_thread")]
async fn shared_subscriptions_are_refused_and_kill_nothing() {
    let rig = Rig::start().await;
    let own = topic::receipts("hr-1");
    let shared = format!("$share/g/{own}");
    for level in [4, 5] {
        let mut client = rig.plain().await;
        client.ask(&connect_kept(level, "hr-1")).await.unwrap();
        let ack = client
            .ask(&subscribe(level, 1, &[(&shared, 1), (&own, 1)]))
            .await;
        let ack = ack.unwrap();
        let refused = if level == 4 { 0x80 } else { 0x9e };
        assert_eq!(ack[ack.len() - 2..], [refused, 1]);
        rig.delivery.publish(own.clone(), vec![1]).unwrap();
        client.packet().await.unwrap();
        client.0.set_zero_linger().unwrap();
        drop(client);
        let mut client = rig.plain().await;
        client
            .ask(&connect(level, "hr-1", CLEAN, 60))
            .await
            .unwrap();
        client
            .ask(&subscribe(level, 1, &[(&own, 0)]))
            .await
            .unwrap();
        rig.delivery.publish(own.clone(), vec![2]).unwrap();
        assert_eq!(client.packet().await.unwrap().last(), Some(&2));
    }
    rig.stop().await;
}

/// R5: one silent connection kept everyone out.
#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_block_nobody() {
    let rig = Rig::start().await;
    let mut silent = Vec::new();
    for address in [rig.tls, rig.plain, rig.websocket] {
        for bytes in [&b""[..], b"\x16\x03\x01", b"\x10"] {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            stream.write_all(bytes).await.unwrap();
            silent.push(stream);
        }
    }
    let limit = Limits::default().handshake / 2;
    let others = async {
        let mut client = rig.secure("hr-1").await.unwrap();
        client.ask(&connect(4, "x", 2, 60)).await.unwrap();
        let message = publish(4, AT_LEAST_ONCE, OWN, 1, &[], &reading(1));
        assert_eq!(client.ask(&message).await.unwrap(), [0x40, 2, 0, 1]);
        drop(rig.connected(5, "hr-2").await);
    };
    tokio::time::timeout(limit, others).await.unwrap();
    drop(silent);
    rig.stop().await;
}

/// R6: a client that took the name of the server's own link threw it out, and its messages were lost.
#[tokio::test(flavor = "multi_thread")]
async fn the_servers_own_link_cannot_be_taken() {
    let rig = Rig::start().await;
    let own = topic::receipts("hr-1");
    let mut clients = Vec::new();
    for id in ["oracle", "hr-1:1", "hr-1:2"] {
        let mut client = rig.secure("hr-1").await.unwrap();
        client.ask(&connect(4, id, 2, 60)).await.unwrap();
        client.ask(&subscribe(4, 1, &[(&own, 1)])).await.unwrap();
        clients.push(client);
    }
    for count in 0..50_u8 {
        rig.delivery.publish(own.clone(), vec![count]).unwrap();
    }
    for client in &mut clients {
        for count in 0..50_u8 {
            assert_eq!(client.packet().await.unwrap().last(), Some(&count));
        }
    }
    rig.stop().await;
}

/// R7: delivery stopped for good after some 200 messages. R8: the word that makes it go on killed the router when it
/// came once too often, or after the link was gone.
#[tokio::test(flavor = "multi_thread")]
async fn floods_and_takeovers_neither_stop_delivery_nor_kill_the_router() {
    let rig = Rig::start().await;
    let own = topic::receipts("hr-1");
    let flood = |count: u16| {
        for number in 0..count {
            let payload = number.to_be_bytes().to_vec();
            rig.delivery.publish(own.clone(), payload).unwrap();
        }
    };
    for level in [4, 5] {
        let mut client = rig.connected(level, "hr-1").await;
        client
            .ask(&subscribe(level, 1, &[(&own, 0)]))
            .await
            .unwrap();
        flood(1000);
        for number in 0..1000_u16 {
            let message = client.packet().await.unwrap();
            assert!(message.ends_with(&number.to_be_bytes()));
        }
        // Now the links go in the middle of it, in every way there is.
        let mut taken_over = Vec::new();
        for round in 0..18_u8 {
            let mut client = rig.connected(level, "hr-1").await;
            let filter = [(own.as_str(), round % 2)];
            client.ask(&subscribe(level, 1, &filter)).await.unwrap();
            flood(400);
            for _ in 0..round * 5 {
                client.packet().await.unwrap();
            }
            match round % 3 {
                0 => taken_over.push(client),
                1 => client.0.set_zero_linger().unwrap(),
                _ => {
                    let mut body = vec![0, 4];
                    if level == 5 {
                        body.push(0);
                    }
                    body.extend(text(&own));
                    client.send(&packet(0xa2, &body)).await;
                    client.send(&[0xe0, 0]).await;
                }
            }
        }
        let mut last = rig.connected(level, "hr-1").await;
        last.ask(&subscribe(level, 1, &[(&own, 0)])).await.unwrap();
        flood(500);
        for number in 0..500_u16 {
            let message = last.packet().await.unwrap();
            assert!(message.ends_with(&number.to_be_bytes()));
        }
        last.send(&[0xe0, 0]).await;
        assert_eq!(last.packet().await, None);
    }
    rig.stop().await;
}

/// R9: messages were acknowledged and then dropped because their consumer was slow.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_consumer_loses_no_acknowledged_message() {
    let mut rig = Rig::start().await;
    let client = rig.connected(4, "hr-1").await;
    let count = 2000_u16;
    let mut all = Vec::new();
    for number in 1..=count {
        let payload = reading(u64::from(number));
        all.extend(publish(4, AT_LEAST_ONCE, OWN, number, &[], &payload));
    }
    let (mut from_server, mut to_server) = tokio::io::split(client.0);
    let writing = tokio::spawn(async move {
        to_server.write_all(&all).await.unwrap();
        to_server
    });
    // Nobody takes a message until half of what the way behind holds is acknowledged.
    let mut acks = vec![0; 500 * 4];
    tokio::io::AsyncReadExt::read_exact(&mut from_server, &mut acks)
        .await
        .unwrap();
    let consumed = async {
        let mut sequences = Vec::new();
        for _ in 0..count {
            let Some(Arrival::New(pending)) = rig.arrivals.recv().await else {
                panic!("a message came twice");
            };
            sequences.extend(pending.sequence);
        }
        // Messages that one sync made durable may come in any order.
        sequences.sort_unstable();
        sequences
    };
    let mut rest = vec![0; usize::from(count - 500) * 4];
    let acknowledged = tokio::io::AsyncReadExt::read_exact(&mut from_server, &mut rest);
    let (sequences, acknowledged) = tokio::join!(consumed, acknowledged);
    acknowledged.unwrap();
    assert_eq!(sequences, (1..=u64::from(count)).collect::<Vec<_>>());
    assert!(rest.ends_with(&[0x40, 2, 0x07, 0xd0]));
    assert_eq!(rig.journal.counts().received, usize::from(count));
    drop(writing.await.unwrap());
    rig.stop().await;
}

/// R10: a port that was taken was logged and the broker went on without it.
#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_an_error() {
    let rig = Rig::start().await;
    for which in 0..3 {
        let mut config = rig.config.clone();
        let port = match which {
            0 => &mut config.listen,
            1 => config.websocket_listen.as_mut().unwrap(),
            _ => config.insecure_listen.as_mut().unwrap(),
        };
        *port = rig.tls;
        let error = rig.second_front(&config).await.unwrap_err();
        assert!(matches!(error, FrontError::Listen { address, .. } if address == rig.tls));
    }
    rig.stop().await;
}

/// R11: a filter that nobody allowed is not in force. Nor is one that a message's topic names.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_devices_own_filters_are_taken() {
    let rig = Rig::start().await;
    let mut client = rig.connected(5, "hr-1").await;
    for (filter, code) in [
        ("#", 0x87),
        ("+", 0x87),
        ("v1/devices/+/receipts", 0x87),
        ("v1/devices/hr-2/receipts", 0x87),
        ("v1/devices/hr-1", 0x87),
        ("v1/devices/hr-11/receipts", 0x87),
        ("$SYS/#", 0x87),
        ("v1/devices/hr-1/#", 1),
        ("v1/devices/hr-1/receipts", 1),
    ] {
        let ack = client.ask(&subscribe(5, 1, &[(filter, 1)])).await.unwrap();
        assert_eq!(ack.last(), Some(&code), "{filter}");
    }
    let message = publish(5, AT_LEAST_ONCE, OTHER, 1, &[], &reading(1));
    assert_eq!(client.ask(&message).await.unwrap()[4], 0x87);
    rig.delivery
        .publish(topic::receipts("hr-2"), vec![1])
        .unwrap();
    assert_eq!(client.ask(&[0xc0, 0]).await.unwrap(), [0xd0, 0]);
    rig.stop().await;
}

/// A session belongs to the certificate that opened it, also against the port without certificates.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_not_taken_over_under_another_certificate() {
    let rig = Rig::start().await;
    let mut holder = rig.secure("hr-1").await.unwrap();
    holder.ask(&connect(4, "hr-1", 2, 60)).await.unwrap();
    for (level, code) in [(4, 5), (5, 0x87)] {
        let mut thief = rig.plain().await;
        let ack = thief.ask(&connect(level, "hr-1", 2, 60)).await.unwrap();
        assert_eq!(ack[3], code);
        assert_eq!(thief.packet().await, None);
    }
    assert_eq!(holder.ask(&[0xc0, 0]).await.unwrap(), [0xd0, 0]);
    // Another device may use the same identifier: it is another session.
    let mut other = rig.secure("hr-2").await.unwrap();
    let ack = other.ask(&connect(4, "hr-1", 2, 60)).await.unwrap();
    assert_eq!(ack, [0x20, 2, 0, 0]);
    assert_eq!(holder.ask(&[0xc0, 0]).await.unwrap(), [0xd0, 0]);
    rig.stop().await;
}

/// A second CONNECT and packets only a server sends end the connection.
#[tokio::test(flavor = "multi_thread")]
async fn packets_out_of_place_end_the_connection() {
    let rig = Rig::start().await;
    for bytes in [
        connect(5, "hr-1", 2, 60),
        vec![0x20, 3, 0, 0, 0],
        vec![0x90, 4, 0, 1, 0, 0],
        vec![0xb0, 4, 0, 1, 0, 0],
        vec![0xd0, 0],
        packet(0x80, &[&[0, 1, 0][..], &text("a"), &[0]].concat()),
        packet(0x82, &[&[0, 0, 0][..], &text("a"), &[0]].concat()),
    ] {
        let mut client = rig.connected(5, "hr-1").await;
        let bye = client.ask(&bytes).await.unwrap();
        assert!(
            bye[0] == 0xe0 && (0x81..=0x82).contains(&bye[2]),
            "{bye:x?}"
        );
        assert_eq!(client.packet().await, None);
    }
    rig.stop().await;
}
