//! Devices that publish more than they may.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use super::{AT_LEAST_ONCE, OTHER, OWN};
use crate::config::MessageRate;
use crate::ingest::mqtt::Limits;
use crate::ingest::mqtt::testing::{Rig, publish, reading};

fn rate(per_second: u32, burst: u32) -> Option<MessageRate> {
    Some(MessageRate {
        per_second: NonZeroU32::new(per_second).unwrap(),
        burst: NonZeroU32::new(burst).unwrap(),
    })
}

fn messages(level: u8, topic: &str, count: u16) -> Vec<u8> {
    let one = |number: u16| {
        let payload = reading(u64::from(number));
        publish(level, AT_LEAST_ONCE, topic, number, &[], &payload)
    };
    (1..=count).flat_map(one).collect()
}

/// Nothing is refused and nothing lost: what is above the rate is acknowledged later, in order.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_above_its_rate_is_slowed_down_and_others_are_not() {
    let rig = Rig::with_rates(Limits::default(), rate(20, 5), None).await;
    let mut fast = rig.connected(4, "hr-1").await;
    let mut other = rig.connected(4, "hr-2").await;
    let started = Instant::now();
    fast.send(&messages(4, OWN, 25)).await;
    for number in 1..=5_u8 {
        other
            .send(&publish(
                4,
                AT_LEAST_ONCE,
                OTHER,
                number.into(),
                &[],
                &reading(number.into()),
            ))
            .await;
        assert_eq!(other.packet().await.unwrap(), [0x40, 2, 0, number]);
    }
    for number in 1..=25_u8 {
        assert_eq!(fast.packet().await.unwrap(), [0x40, 2, 0, number]);
    }
    // 25 messages, of which 5 go at once: 20 more take a second.
    assert!(started.elapsed() >= Duration::from_millis(900));
    assert_eq!(rig.journal.counts().received, 30);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_devices_share_the_rate_of_the_organization() {
    let rig = Rig::with_rates(Limits::default(), None, rate(20, 4)).await;
    let started = Instant::now();
    let mut clients = [
        rig.connected(4, "hr-1").await,
        rig.connected(5, "hr-2").await,
    ];
    clients[0].send(&messages(4, OWN, 12)).await;
    clients[1].send(&messages(5, OTHER, 12)).await;
    for client in &mut clients {
        for number in 1..=12_u8 {
            assert_eq!(client.packet().await.unwrap(), [0x40, 2, 0, number]);
        }
    }
    assert!(started.elapsed() >= Duration::from_millis(900));
    rig.stop().await;
}

/// A second connection of the same device has no rate of its own, and staying above it ends the connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_stays_above_its_rate_is_sent_away() {
    let limits = Limits {
        above_rate: Duration::from_millis(300),
        ..Limits::default()
    };
    let rig = Rig::with_rates(limits, rate(10, 2), None).await;
    for level in [5, 4] {
        let mut client = rig.connected(level, "hr-1").await;
        client.send(&messages(level, OWN, 60)).await;
        let mut acknowledged = 0;
        let goodbye = loop {
            match client.packet().await {
                Some(packet) if packet[0] == 0x40 => acknowledged += 1,
                other => break other,
            }
        };
        assert!(acknowledged < 60);
        match level {
            5 => assert_eq!(goodbye.map(|bye| (bye[0], bye[2])), Some((0xe0, 0x96))),
            _ => assert_eq!(goodbye, None),
        }
    }
    rig.stop().await;
}
