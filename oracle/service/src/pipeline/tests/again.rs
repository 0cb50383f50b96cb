//! What a device is told that sends a durable reading again, also after the oracle has started anew, and what becomes
//! of readings whose patient has no key yet.

use serde_json::{Value, json};

use super::*;
use crate::ingest::mqtt::Listener;

/// Sends a reading again, as the intake does when the journal recognises it.
async fn send_again(life: &Life, reading: Reading) {
    let again = Arrival::Again {
        device: reading.device.clone(),
        sequence: reading.sequence,
        fingerprint: reading.fingerprint(),
        identity: reading.identity(),
    };
    let known = life.journal.receive(reading).await.unwrap();
    assert_eq!(known, Accepted::Duplicate);
    life.readings_tx.send(again).await.unwrap();
}

async fn next(device: &mut Listener) -> Value {
    serde_json::from_slice(&device.next().await).unwrap()
}

/// Readings of all kinds: with numbers, without, and bytes of which the time is said beside them.
fn various() -> Vec<Reading> {
    let mut all: Vec<_> = (0..9)
        .map(|n| reading(n, "8867-4", format!("reading {n}").as_bytes()))
        .collect();
    let mut unnumbered = reading(0, "8480-6", b"without a number");
    unnumbered.sequence = None;
    let mut opaque = reading(0, "image", b"bytes");
    (opaque.sequence, opaque.alone, opaque.time_named) = (None, true, true);
    let mut later = opaque.clone();
    (later.period_start, later.period_end) = (300, 300);
    all.extend([unnumbered, opaque, later]);
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_reading_gets_its_receipt_again_after_any_number_of_starts() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new();
    let life = Life::begin(dir.path(), &world);
    for reading in various() {
        life.receive(reading).await;
    }
    life.finish().await;
    // Nothing of them is left but what recognises them.
    life.journal.tidy().await.unwrap();
    life.crash().await;
    for start in 0..3 {
        let life = Life::begin(dir.path(), &world);
        let mut device = Listener::open(&life.delivery, "hr-1").await;
        // In another order than they came first.
        for (at, reading) in various().into_iter().enumerate().rev() {
            let name = match reading.sequence {
                Some(seq) => json!([{ "seq": seq }]),
                None => json!([{ "sha256": hex::encode(reading.fingerprint()) }]),
            };
            send_again(&life, reading).await;
            let receipt = next(&mut device).await;
            assert_eq!(receipt["readings"], name, "start {start}, reading {at}");
            let record = receipt["record_id"].as_str().unwrap();
            let records = world.records.lock().unwrap();
            assert!(records.contains_key(record), "start {start}: {receipt}");
            let transaction = receipt["transaction_id"].as_str().unwrap();
            assert!(transaction.starts_with("tx-"), "{receipt}");
        }
        if start == 1 {
            life.journal.tidy().await.unwrap();
        }
        life.crash().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_on_its_way_gets_one_receipt_and_a_dropped_one_none() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new();
    world.faults.lock().unwrap()[REGISTER] = Fault::HangBefore(1);
    let life = Life::begin(dir.path(), &world);
    life.receive(reading(0, "8867-4", b"on its way")).await;
    world.hung.notified().await;
    send_again(&life, reading(0, "8867-4", b"on its way")).await;
    life.crash().await;

    world.faults.lock().unwrap()[REGISTER] = Fault::None;
    *world.refused.lock().unwrap() = Some("8480-6".to_owned());
    let life = Life::begin(dir.path(), &world);
    life.finish().await;
    life.receive(reading(1, "8480-6", b"dropped")).await;
    let letter = parked(&life, 1).await.remove(0);
    life.dead_letters.drop_record(letter.record).await.unwrap();
    life.crash().await;

    let life = Life::begin(dir.path(), &world);
    let mut device = Listener::open(&life.delivery, "hr-1").await;
    send_again(&life, reading(1, "8480-6", b"dropped")).await;
    send_again(&life, reading(0, "8867-4", b"on its way")).await;
    let receipt = next(&mut device).await;
    assert_eq!(receipt["readings"], json!([{ "seq": 0 }]));
    life.crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readings_of_a_patient_without_a_key_wait_are_seen_and_go_on_by_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new();
    *world.key_missing.lock().unwrap() = true;
    let life = Life::begin(dir.path(), &world);
    let mut device = Listener::open(&life.delivery, "hr-1").await;
    for sequence in 0..6 {
        life.receive(reading(sequence, "8867-4", b"waits")).await;
    }
    let mut told = Vec::new();
    while told.len() < 6 {
        let refusal = next(&mut device).await;
        assert_eq!(refusal["refused"], "PATIENT_KEY_MISSING");
        assert_eq!(refusal.get("record_id"), None, "it is in no record yet");
        let readings = refusal["readings"].as_array().unwrap();
        told.extend(readings.iter().map(|line| line["seq"].as_u64().unwrap()));
    }
    told.sort_unstable();
    assert_eq!(told, [0, 1, 2, 3, 4, 5]);
    let waiting = life.dead_letters.waiting();
    assert_eq!(waiting.len(), 1);
    assert_eq!(
        (waiting[0].device.as_str(), waiting[0].readings),
        ("hr-1", 6)
    );
    assert_eq!(waiting[0].code, "PATIENT_KEY_MISSING");
    assert!(waiting[0].since_ms > 0);
    send_again(&life, reading(3, "8867-4", b"waits")).await;
    let refusal = next(&mut device).await;
    assert_eq!(
        refusal,
        json!({ "refused": "PATIENT_KEY_MISSING", "readings": [{ "seq": 3 }] })
    );
    life.crash().await;

    // A start finds out anew; then the key is registered.
    let mut life = Life::begin(dir.path(), &world);
    let seen = life.status.wait_for(|status| status.keyless == 6);
    seen.await.unwrap();
    assert_eq!(world.readings(), 0);
    *world.key_missing.lock().unwrap() = false;
    life.finish().await;
    assert!(life.dead_letters.waiting().is_empty());
    assert_eq!(world.readings(), 6);
    life.crash().await;
}
