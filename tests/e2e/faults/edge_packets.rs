//! Packets that no honest device sends, and topics that are not the sender's.

use salus_tests::{story::Patient, system::Platform};

use super::edge_wire::{
    self, AT_LEAST_ONCE, CLEAN, CONNACK, Client, DISCONNECT, NOT_AUTHORIZED, RETAIN, Secure, V3,
    V5, connect_with_will, hold, length, own, packet, publish, reading, reason, with_plain_port,
};
use crate::support::Running;

/// Most bytes that the oracle's memory may grow by while it refuses thousands of packets that announce 256 MiB each.
const GROWTH_MAX: u64 = 24 << 20;
/// Reason codes of MQTT 5.
const MALFORMED: u8 = 0x81;
const TOPIC_NAME: u8 = 0x90;
const TOPIC_ALIAS: u8 = 0x94;
const PACKET_TOO_LARGE: u8 = 0x95;
const PROTOCOL_ERROR: u8 = 0x82;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_that_no_device_sends_are_refused_before_they_take_memory() {
    let mut running = Running::start(Platform::EMBEDDED, 2).await;
    with_plain_port(&mut running).await;
    let [first, second] = [0, 1].map(|number| running.cast.patients[number].clone());
    let mut published = vec![reading(&first.device.id, 0)];
    let mut good = device(&running, &first).await;
    let topic = own(&first.device.id);
    assert_eq!(good.publish(&topic, published[0].as_bytes()).await, Some(0));

    // The first round takes what is allocated once.
    oversized(&running, 64).await;
    let before = running.system.oracle.process.resident_bytes().unwrap();
    oversized(&running, 600).await;
    for _ in 0..6 {
        misshapen(&running, &second).await;
    }
    let after = running.system.oracle.process.resident_bytes().unwrap();
    assert!(
        after < before + GROWTH_MAX,
        "the oracle's memory grew from {before} to {after} bytes"
    );

    // Who behaves is not disturbed.
    published.push(reading(&first.device.id, 1));
    assert_eq!(good.publish(&topic, published[1].as_bytes()).await, Some(0));
    drop(good);
    hold(running, &[published, vec![]]).await;
}

/// Connections that announce more than may be sent, before and after they are let in, each with the first bytes of
/// it; more of them than would fit into memory.
async fn oversized(running: &Running, count: usize) {
    let plain = running
        .system
        .oracle
        .addresses
        .mqtt_insecure
        .clone()
        .unwrap();
    let device = &running.cast.patients[1].device.id;
    let mut open = Vec::new();
    for number in 0..count {
        let mut client = Client::plain(&plain).await;
        let announced = [&[0x32][..], &length(268_435_455), &[b'x'; 512]].concat();
        if number % 2 == 0 {
            // A CONNECT of 256 MiB, from whoever comes.
            let connect = [&[0x10][..], &announced[1..]].concat();
            assert_eq!(client.ask(&connect).await, None);
        } else {
            client.enter(device).await;
            let bye = client.ask(&announced).await.unwrap();
            assert_eq!((bye[0], reason(&bye)), (DISCONNECT, PACKET_TOO_LARGE));
        }
        if number % 16 == 0 {
            // Some do not hang up.
            open.push(client);
        }
    }
}

/// Packets of a permitted size that mean nothing good; each ends with its reason, and only its own connection.
async fn misshapen(running: &Running, patient: &Patient) {
    let topic = own(&patient.device.id);
    let payload = reading(&patient.device.id, 9);
    let payload = payload.as_bytes();
    let long = "x".repeat(usize::from(u16::MAX));
    let with_nul = topic.replace("observations", "obser\0vations");
    let alias = |number: u16| [&[35][..], &number.to_be_bytes()].concat();
    let message =
        |topic: &str, properties: &[u8]| publish(V5, AT_LEAST_ONCE, topic, 1, properties, payload);
    let cases: [(&str, Vec<u8>, &[u8]); 14] = [
        (
            "a topic of 65,535 bytes",
            message(&long, &[]),
            &[NOT_AUTHORIZED, TOPIC_NAME],
        ),
        (
            "NUL in a topic",
            message(&with_nul, &[]),
            &[TOPIC_NAME, MALFORMED],
        ),
        ("no UTF-8", invalid_utf8(), &[MALFORMED, TOPIC_NAME]),
        (
            "$SYS",
            message("$SYS/broker/uptime", &[]),
            &[NOT_AUTHORIZED, TOPIC_NAME],
        ),
        (
            "$share",
            message(&format!("$share/g/{topic}"), &[]),
            &[NOT_AUTHORIZED, TOPIC_NAME],
        ),
        (
            "+",
            message("v1/devices/+/observations", &[]),
            &[TOPIC_NAME],
        ),
        ("#", message("v1/devices/#", &[]), &[TOPIC_NAME]),
        (
            "no topic",
            message("", &[]),
            &[TOPIC_NAME, PROTOCOL_ERROR, MALFORMED],
        ),
        ("alias 1", message(&topic, &alias(1)), &[TOPIC_ALIAS]),
        (
            "alias 0",
            message(&topic, &alias(0)),
            &[TOPIC_ALIAS, MALFORMED],
        ),
        (
            "alias 65,535",
            message(&topic, &alias(u16::MAX)),
            &[TOPIC_ALIAS],
        ),
        (
            "an alias without topic",
            message("", &alias(1)),
            &[TOPIC_ALIAS, PROTOCOL_ERROR],
        ),
        (
            "two aliases",
            message(&topic, &[alias(1), alias(2)].concat()),
            &[MALFORMED, PROTOCOL_ERROR, TOPIC_ALIAS],
        ),
        (
            "QoS 3",
            publish(V5, 6, &topic, 1, &[], payload),
            &[MALFORMED, PROTOCOL_ERROR],
        ),
    ];
    for (name, bytes, expected) in cases {
        let mut client = device(running, patient).await;
        let answer = client
            .ask(&bytes)
            .await
            .unwrap_or_else(|| panic!("{name}: no answer"));
        let code = reason(&answer);
        assert!(expected.contains(&code), "{name}: {answer:x?}");
        if answer[0] == DISCONNECT {
            assert_eq!(client.packet().await, None, "{name}");
        } else {
            assert!(client.is_alive().await, "{name}");
        }
    }
}

/// A PUBLISH whose topic is no UTF-8.
fn invalid_utf8() -> Vec<u8> {
    packet(
        0x32,
        &[&[0, 4, 0xc3, 0x28, 0xff, 0xfe][..], &[0, 1, 0], b"{}"].concat(),
    )
}

/// The identity is the certificate's, whatever a topic, a client identifier, a will or a payload says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_speaks_and_hears_for_itself_alone() {
    let running = Running::start(Platform::EMBEDDED, 2).await;
    let [thief, victim] = [0, 1].map(|number| running.cast.patients[number].clone());
    let (own_id, other_id) = (thief.device.id.as_str(), victim.device.id.as_str());
    let mut listening = device(&running, &victim).await;
    for topic in ["status", "receipts"] {
        let topic = format!("v1/devices/{other_id}/{topic}");
        assert_eq!(listening.subscribe(&topic, 1).await, 1);
    }

    let mut client = device(&running, &thief).await;
    publish_elsewhere(&mut client, own_id, other_id).await;
    listen_elsewhere(&mut client, other_id).await;
    wills_elsewhere(&running, &thief, other_id).await;

    // Under the victim's name as client identifier it is still the thief, and the victim's session goes on.
    let mut named = edge_wire::secure(&running.system.oracle, &thief.device.home)
        .await
        .unwrap();
    named.enter(other_id).await;
    let payload = reading(other_id, 1);
    assert_eq!(
        named.publish(&own(other_id), payload.as_bytes()).await,
        Some(NOT_AUTHORIZED)
    );

    // A payload that says that it is another device's, of another patient, is the sender's own reading.
    let lie = reading(own_id, 2).replace(
        "\"resourceType\"",
        &format!(
            "\"device\":{{\"identifier\":{{\"value\":\"{other_id}\"}}}},\"subject\":{{\"reference\":\"Patient/{}\"}},\
             \"resourceType\"",
            victim.pseudonym
        ),
    );
    assert_eq!(client.publish(&own(own_id), lie.as_bytes()).await, Some(0));

    // The victim heard nothing but what is its own.
    let honest = reading(other_id, 3);
    assert_eq!(
        listening.publish(&own(other_id), honest.as_bytes()).await,
        Some(0)
    );
    let receipt = listening.packet().await.unwrap();
    let heard = String::from_utf8_lossy(&receipt).into_owned();
    assert!(heard.contains("record_id"), "{heard}");
    drop((client, listening, named));
    hold(running, &[vec![lie], vec![honest]]).await;
}

/// Readings, receipts, statuses and objects under another's name; retained or not.
async fn publish_elsewhere(client: &mut Secure, own_id: &str, other_id: &str) {
    let payload = reading(other_id, 0);
    let elsewhere = [
        "observations",
        "observations/?seq=1",
        "status",
        "receipts",
        "objects/a/manifest",
        "objects/a/chunks/0",
        "objects/a/status",
    ];
    let mut topics: Vec<String> = elsewhere
        .iter()
        .map(|last| format!("v1/devices/{other_id}/{last}"))
        .collect();
    // The same name in another spelling, and what the oracle says itself.
    topics.push(format!("v1/devices/{own_id}/../{other_id}/observations"));
    topics.push(format!("v1/devices//{other_id}/observations"));
    topics.push(format!("/v1/devices/{own_id}/observations"));
    topics.push(format!("v1/devices/{own_id}/observations/"));
    topics.push(format!("v1/devices/{}/observations", own_id.to_uppercase()));
    topics.push(format!("v1/devices/{own_id}/receipts"));
    topics.push(format!("v1/devices/{own_id}/objects/a/status"));
    for topic in topics {
        for retain in [0, RETAIN] {
            let message = publish(
                V5,
                AT_LEAST_ONCE | retain,
                &topic,
                1,
                &[],
                payload.as_bytes(),
            );
            let answer = client
                .ask(&message)
                .await
                .unwrap_or_else(|| panic!("{topic}"));
            let code = reason(&answer);
            assert!(
                [NOT_AUTHORIZED, TOPIC_NAME].contains(&code),
                "{topic}: {code:x}"
            );
        }
    }
    // A reading is never retained, on the own topic neither.
    let retained = publish(
        V5,
        AT_LEAST_ONCE | RETAIN,
        &own(own_id),
        1,
        &[],
        payload.as_bytes(),
    );
    let answer = client.ask(&retained).await.unwrap();
    assert_eq!(reason(&answer), NOT_AUTHORIZED);
}

/// Filters that match what is another's.
async fn listen_elsewhere(client: &mut Secure, other_id: &str) {
    for filter in [
        "#".to_owned(),
        "+/#".to_owned(),
        "v1/#".to_owned(),
        "v1/devices/#".to_owned(),
        "v1/devices/+/observations".to_owned(),
        "v1/devices/+/receipts".to_owned(),
        format!("v1/devices/{other_id}/#"),
        format!("v1/devices/{other_id}/status"),
        format!("$share/group/v1/devices/{other_id}/receipts"),
        "$SYS/#".to_owned(),
    ] {
        let code = client.subscribe(&filter, 1).await;
        assert!([NOT_AUTHORIZED, 0x9e].contains(&code), "{filter}: {code:x}");
    }
}

/// Wills that would be published under another's name, or as a reading.
async fn wills_elsewhere(running: &Running, thief: &Patient, other_id: &str) {
    let own_id = &thief.device.id;
    for topic in [
        format!("v1/devices/{other_id}/status"),
        own(other_id),
        own(own_id),
        format!("v1/devices/{own_id}/receipts"),
        "$SYS/gone".to_owned(),
        "v1/devices/+/status".to_owned(),
    ] {
        for (level, code) in [(V3, 5), (V5, NOT_AUTHORIZED)] {
            // Will, QoS 1, retained.
            let flags = CLEAN | 0x04 | 0x08 | 0x20;
            let hello = connect_with_will(level, "w", flags, 0, Some((&topic, b"gone")));
            let mut client = edge_wire::secure(&running.system.oracle, &thief.device.home)
                .await
                .unwrap();
            let answer = client
                .ask(&hello)
                .await
                .unwrap_or_else(|| panic!("{topic}"));
            assert_eq!(answer[0], CONNACK);
            assert!(
                [code, TOPIC_NAME].contains(&answer[3]),
                "{topic}: {answer:x?}"
            );
        }
    }
}

/// A patient's device, let in with its certificate under an identifier of its own.
async fn device(running: &Running, patient: &Patient) -> Secure {
    let mut client = edge_wire::secure(&running.system.oracle, &patient.device.home)
        .await
        .unwrap();
    client.enter("edge").await;
    client
}
