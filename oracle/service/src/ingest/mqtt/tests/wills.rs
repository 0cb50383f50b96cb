//! Wills: published after every end but a farewell, in their time, unless the session goes on.

use std::time::Duration;

use super::RETAIN;
use super::status::{AN_HOUR, STATUS, status_of, watcher};
use crate::ingest::mqtt::testing::{Rig, Secure, connect, packet, publish, subscribe, text};

/// Flags of a CONNECT: a will, its QoS 1, retained; a clean session.
const WILL: u8 = 0x04;
const WILL_QOS_1: u8 = 0x08;
const WILL_RETAIN: u8 = 0x20;
const CLEAN: u8 = 0x02;

/// CONNECT with a will.
fn with_will(
    level: u8,
    id: &str,
    flags: u8,
    properties: &[u8],
    delay: u32,
    topic: &str,
) -> Vec<u8> {
    let mut body = text("MQTT");
    body.extend_from_slice(&[level, WILL | flags, 0, 10]);
    if level == 5 {
        body.push(u8::try_from(properties.len()).unwrap());
        body.extend_from_slice(properties);
    }
    body.extend(text(id));
    if level == 5 {
        body.extend_from_slice(&[5, 24]);
        body.extend_from_slice(&delay.to_be_bytes());
    }
    body.extend(text(topic));
    body.extend(text("gone"));
    packet(0x10, &body)
}

async fn device(rig: &Rig, hello: &[u8]) -> Secure {
    let mut client = rig.secure("hr-1").await.unwrap();
    let ack = client.ask(hello).await.unwrap();
    assert_eq!((ack[0], ack[3]), (0x20, 0), "{ack:x?}");
    client
}

/// Whether the next thing the watcher hears is the will, and not the answer to its ping.
async fn hears_will(level: u8, watcher: &mut Secure) -> bool {
    watcher.send(&[0xc0, 0]).await;
    let heard = watcher.packet().await.unwrap();
    if heard == [0xd0, 0] {
        return false;
    }
    assert_eq!(status_of(level, &heard).2, b"gone");
    assert_eq!(watcher.packet().await.unwrap(), [0xd0, 0]);
    true
}

/// Waits for the will.
async fn wait_for_will(level: u8, watcher: &mut Secure) {
    let heard = watcher.packet().await.unwrap();
    assert_eq!(status_of(level, &heard).2, b"gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_will_is_published_when_a_device_is_gone_without_a_word() {
    let rig = Rig::start().await;
    for level in [4, 5] {
        let mut watcher = watcher(&rig, level, "watcher").await;
        let hello = with_will(level, "device", CLEAN | WILL_RETAIN, &[], 0, STATUS);
        // The network fails.
        drop(device(&rig, &hello).await);
        wait_for_will(level, &mut watcher).await;
        // A packet that is none.
        let mut client = device(&rig, &hello).await;
        client.send(&[0xf0, 1, 0]).await;
        wait_for_will(level, &mut watcher).await;
        // Another connection took the session over.
        let first = device(&rig, &hello).await;
        let mut second = device(&rig, &hello).await;
        wait_for_will(level, &mut watcher).await;
        drop(first);
        // A farewell: nothing, however long one waits for the connection to end.
        second.send(&[0xe0, 0]).await;
        assert_eq!(second.packet().await, None);
        assert!(!hears_will(level, &mut watcher).await);
        // It was retained as it said.
        let mut late = super::status::watcher(&rig, level, "late").await;
        let (first, _, payload) = status_of(level, &late.packet().await.unwrap());
        assert_eq!((first, &payload[..]), (0x31, &b"gone"[..]));
        late.send(&publish(level, RETAIN, STATUS, 0, &[], b""))
            .await;
        assert_eq!(status_of(level, &late.packet().await.unwrap()).2, b"");
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_farewell_of_mqtt_5_may_ask_for_the_will() {
    let rig = Rig::start().await;
    let mut watcher = watcher(&rig, 5, "watcher").await;
    let hello = with_will(5, "device", CLEAN | WILL_QOS_1, &[], 0, STATUS);
    for (farewell, published) in [
        (&[0xe0, 1, 0x04][..], true),
        (&[0xe0, 2, 0x04, 0], true),
        (&[0xe0, 1, 0x80], true),
        (&[0xe0, 1, 0x00], false),
        (&[0xe0, 2, 0x00, 0], false),
    ] {
        let mut client = device(&rig, &hello).await;
        client.send(farewell).await;
        assert_eq!(client.packet().await, None);
        match published {
            true => {
                let heard = watcher.packet().await.unwrap();
                let (first, pkid, payload) = status_of(5, &heard);
                assert_eq!((first, &payload[..]), (0x32, &b"gone"[..]));
                let [high, low] = pkid.unwrap();
                watcher.send(&[0x40, 2, high, low]).await;
            }
            false => assert!(!hears_will(5, &mut watcher).await),
        }
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_device_that_fell_silent_is_gone() {
    let rig = Rig::start().await;
    for level in [4, 5] {
        let mut hello = with_will(level, "hr-1", CLEAN, &[], 0, STATUS);
        let mut client = rig.plain().await;
        assert_eq!(client.ask(&hello).await.unwrap()[3], 0);
        // The watcher has no keep alive.
        let mut watcher = rig.secure("hr-1").await.unwrap();
        watcher.ask(&connect(4, "watcher", 2, 0)).await.unwrap();
        watcher.ask(&subscribe(4, 1, &[(STATUS, 1)])).await.unwrap();
        tokio::time::pause();
        let began = tokio::time::Instant::now();
        wait_for_will(4, &mut watcher).await;
        assert!(began.elapsed() >= Duration::from_secs(14));
        tokio::time::resume();
        hello.clear();
    }
    rig.stop().await;
}

/// Will Delay Interval: a device that comes back in time was never gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_will_is_forgotten_when_the_session_goes_on() {
    let rig = Rig::start().await;
    let mut watcher = watcher(&rig, 5, "watcher").await;
    let patient = with_will(5, "device", 0, AN_HOUR, 3000, STATUS);
    for round in 0..3_u8 {
        let mut client = rig.secure("hr-1").await.unwrap();
        let ack = client.ask(&patient).await.unwrap();
        assert_eq!((ack[2], ack[3]), (u8::from(round > 0), 0));
        drop(client);
    }
    // So it is when another connection takes over while the first one stands.
    let mut first = device(&rig, &patient).await;
    let mut second = device(&rig, &patient).await;
    assert_eq!(first.packet().await.unwrap()[2], 0x8e);
    assert_eq!(second.ask(&[0xc0, 0]).await.unwrap(), [0xd0, 0]);
    assert!(!hears_will(5, &mut watcher).await);
    // Its session ends: with a connection that begins another one, or because the last one said so.
    drop(second);
    let clean = with_will(5, "device", CLEAN, AN_HOUR, 3000, STATUS);
    let mut third = device(&rig, &clean).await;
    wait_for_will(5, &mut watcher).await;
    third.send(&[0xe0, 7, 0x04, 5, 17, 0, 0, 0, 0]).await;
    wait_for_will(5, &mut watcher).await;
    rig.stop().await;
}

/// A session of MQTT 5 that was not to be kept cannot be kept at its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_farewell_cannot_make_a_session_last() {
    let rig = Rig::start().await;
    let mut client = device(&rig, &connect(5, "device", 2, 60)).await;
    let bye = client.ask(&[0xe0, 7, 0, 5, 17, 0, 0, 0, 9]).await.unwrap();
    assert_eq!((bye[0], bye[2]), (0xe0, 0x82));
    rig.stop().await;
}

#[tokio::test]
async fn a_delayed_will_is_published_in_its_time() {
    let rig = Rig::start().await;
    // The delay is longer than the session.
    for (expiry, delay, least) in [(AN_HOUR, 40, 40), (&[17, 0, 0, 0, 20][..], 3000, 20)] {
        let hello = with_will(5, "hr-1", 0, expiry, delay, STATUS);
        let mut client = rig.plain().await;
        assert_eq!(client.ask(&hello).await.unwrap()[3], 0);
        let mut watcher = rig.secure("hr-1").await.unwrap();
        watcher.ask(&connect(4, "watcher", 2, 0)).await.unwrap();
        watcher.ask(&subscribe(4, 1, &[(STATUS, 0)])).await.unwrap();
        client.0.set_zero_linger().unwrap();
        drop(client);
        assert!(!hears_will(4, &mut watcher).await);
        tokio::time::pause();
        let began = tokio::time::Instant::now();
        wait_for_will(4, &mut watcher).await;
        let waited = began.elapsed();
        assert!(waited >= Duration::from_secs(least - 1), "{waited:?}");
        tokio::time::resume();
    }
    rig.stop().await;
}

/// When the front stops all sessions end, and with them what waits.
#[tokio::test(flavor = "multi_thread")]
async fn wills_are_retained_when_the_front_stops() {
    let rig = Rig::start().await;
    let waiting = with_will(5, "gone", WILL_RETAIN, AN_HOUR, 3000, STATUS);
    drop(device(&rig, &waiting).await);
    let rig = rig.restart().await;
    let mut late = watcher(&rig, 4, "late").await;
    assert_eq!(status_of(4, &late.packet().await.unwrap()).2, b"gone");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wills_for_other_topics_or_of_many_bytes_are_refused() {
    let rig = Rig::start().await;
    for topic in [
        "v1/devices/hr-2/status",
        "v1/devices/hr-1/observations",
        "v1/devices/hr-1/receipts",
        "v1/devices/+/status",
        "#",
    ] {
        for (level, code) in [(4, 5), (5, 0x87)] {
            let mut client = rig.secure("hr-1").await.unwrap();
            let hello = with_will(level, "device", CLEAN, &[], 0, topic);
            assert_eq!(client.ask(&hello).await.unwrap()[3], code, "{topic}");
            assert_eq!(client.packet().await, None);
        }
    }
    let mut body = text("MQTT");
    body.extend_from_slice(&[4, WILL | CLEAN, 0, 60]);
    body.extend([text("device"), text(STATUS), text(&"x".repeat(9000))].concat());
    let mut client = rig.secure("hr-1").await.unwrap();
    let ack = client.ask(&packet(0x10, &body)).await.unwrap();
    assert_eq!(ack, [0x20, 2, 0, 5]);
    rig.stop().await;
}
