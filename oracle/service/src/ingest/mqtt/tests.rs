//! The front on real sockets: what each version answers, and what is in the journal then.

mod bounds;
mod certificates;
mod events;
mod memory;
mod rates;
mod refusals;
mod sessions;
mod standing;
mod status;
mod table;
mod websockets;
mod wills;

use std::time::Duration;

use super::Limits;
use super::testing::{Rig, connect, publish, reading, text};
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
            (
                pending.kind.content_type.as_str(),
                pending.kind.code.as_str()
            ),
            ("image/png", "11524-6")
        );
        assert!(pending.alone);
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
