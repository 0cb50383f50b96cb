//! The pipeline over a real journal, with a store and a registry in memory that can fail or hang at a chosen call.

mod again;
mod objects;
mod world;

use std::time::Duration;

use contract_interface::{RecordEntry, RecordPrivate, RecordWraps, segment};
use sealed_object::AssociatedData;

use super::*;
use crate::journal::{self, Accepted, Mark, Reading};

use world::*;

#[tokio::test(flavor = "multi_thread")]
async fn readings_end_registered_and_can_be_opened_by_patient_and_oracle() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new();
    let life = Life::begin(dir.path(), &world);
    some_readings(&life, 0, 20).await;
    let image = vec![0xab; 10_000];
    let mut alone = reading(100, "image", &image);
    alone.content_type = "image/png".to_owned();
    alone.alone = true;
    life.receive(alone).await;
    life.finish().await;
    let spool: Vec<_> = std::fs::read_dir(dir.path().join("journal/spool"))
        .unwrap()
        .collect();
    assert!(spool.is_empty());
    life.crash().await;

    assert_eq!(world.readings(), 21);
    for (entry, private, wraps) in world.records() {
        assert_eq!(entry.commitment, private.commitment());
        let thumbprints: Vec<_> = wraps.wraps.iter().map(|wrap| wrap.kid.as_str()).collect();
        assert_eq!(
            thumbprints,
            [
                world.patient.public_key().thumbprint(),
                world.oracle.public_key().thumbprint()
            ]
        );
        assert_eq!(private.size, world.objects.lock().unwrap()[&private.cid]);
        assert_eq!(private.patient.to_string(), PATIENT);
        assert_eq!(private.period.start.unix_seconds(), 100);
    }
    let image_record = world
        .records()
        .into_iter()
        .find(|(_, p, _)| p.record_type.as_str() == "image");
    let (_, private, _) = image_record.unwrap();
    assert_eq!(
        (private.content_type.as_str(), private.plaintext_size),
        ("image/png", 10_000)
    );
}

#[tokio::test]
async fn a_sealed_group_opens_to_its_readings_and_proves_each() {
    let world = World::new();
    let readings: Vec<Reading> = (0..5)
        .map(|n| reading(n, "8867-4", &[u8::try_from(n).unwrap()]))
        .collect();
    let registrar = "Org1MSP".parse().unwrap();
    let group = gather::Group::of("hr-1", PATIENT, "8867-4", 5, (100, 200));
    let keys = [world.patient.public_key(), world.oracle.public_key()];
    let sealed = seal::seal_group(&group, readings.clone(), &registrar, &keys).unwrap();
    let entry: RecordEntry = serde_json::from_str(&sealed.record.public).unwrap();
    let private: RecordPrivate = serde_json::from_str(&sealed.record.private).unwrap();
    let wraps: RecordWraps = serde_json::from_str(&sealed.record.wraps).unwrap();
    assert_eq!(Object::new(&sealed.object).cid().to_string(), private.cid);
    assert_eq!(
        entry.object_sha256,
        contract_interface::Digest::of(&sealed.object)
    );
    let bound = AssociatedData {
        record_id: *entry.record_id.as_bytes(),
        commitment: *entry.commitment.as_bytes(),
    };
    for key in [&world.patient, &world.oracle] {
        let wrap = wraps.for_kid(key.public_key().thumbprint()).unwrap();
        let data_key = key.unwrap(&wrap.jwe).unwrap();
        let opened = sealed_object::open(&data_key, &bound, &sealed.object).unwrap();
        assert_eq!(private.plaintext_size, opened.len() as u64);
        let items: Vec<_> = segment::decode(&opened).collect::<Result<_, _>>().unwrap();
        for (item, reading) in items.iter().zip(&readings) {
            assert_eq!(item.item.payload, *reading.payload);
            assert_eq!(item.item.seq, reading.sequence);
        }
        assert_eq!(items.len(), readings.len());
        assert_eq!(private.merkle_root.as_bytes()[..], rfc6962_root(&items)[..]);
    }
    let other = seal::seal_group(&group, readings, &registrar, &keys).unwrap();
    assert_ne!(
        other.record.cid, sealed.record.cid,
        "a key and an ID of its own"
    );
}

/// RFC 6962, 2.1, written down once more.
fn rfc6962_root(items: &[segment::EncodedItem<'_>]) -> Vec<u8> {
    let hash = |parts: &[&[u8]]| {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &parts.concat());
        digest.as_ref().to_vec()
    };
    match items {
        [one] => hash(&[&[0], one.bytes]),
        more => {
            let split = (more.len() - 1).next_power_of_two().max(2);
            let split = if split >= more.len() {
                split / 2
            } else {
                split
            };
            let (left, right) = more.split_at(split);
            hash(&[&[1], &rfc6962_root(left), &rfc6962_root(right)])
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_call_loses_and_doubles_nothing() {
    for step in [PIN, REGISTER] {
        for fault in [
            Fault::HangBefore(1),
            Fault::HangAfter(1),
            Fault::HangBefore(2),
            Fault::HangAfter(2),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let world = World::new();
            world.faults.lock().unwrap()[step] = fault;
            let life = Life::begin(dir.path(), &world);
            some_readings(&life, 0, 10).await;
            if !matches!(fault, Fault::HangBefore(1) | Fault::HangAfter(1)) {
                while world.readings() == 0 {
                    tokio::task::yield_now().await;
                }
                some_readings(&life, 10, 10).await;
            }
            world.hung.notified().await;
            life.crash().await;
            world.faults.lock().unwrap()[step] = Fault::None;
            let life = Life::begin(dir.path(), &world);
            some_readings(&life, 50, 3).await;
            life.finish().await;
            life.crash().await;
            let expected = match fault {
                Fault::HangBefore(1) | Fault::HangAfter(1) => 13,
                _ => 23,
            };
            assert_eq!(world.readings(), expected, "{step} {fault:?}");
        }
    }
}

/// Ends at random moments, many times: every acknowledged reading is registered exactly once.
#[tokio::test(flavor = "multi_thread")]
async fn crashes_at_random_moments_lose_and_double_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new();
    let mut state = 0x5eed_u64;
    let mut next = 0;
    for _ in 0..25 {
        let life = Life::begin(dir.path(), &world);
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let count = state >> 60;
        some_readings(&life, next, count).await;
        next += count;
        for _ in 0..(state >> 50) & 0x3ff {
            tokio::task::yield_now().await;
        }
        life.crash().await;
    }
    let life = Life::begin(dir.path(), &world);
    life.finish().await;
    life.crash().await;
    assert_eq!(u64::from(world.readings()), next);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_for_a_while_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new();
    *world.faults.lock().unwrap() = [Fault::Fail(1), Fault::Fail(1)];
    let life = Life::begin(dir.path(), &world);
    some_readings(&life, 0, 3).await;
    life.finish().await;
    assert_eq!(world.readings(), 3);
    assert!(world.calls.lock().unwrap().iter().all(|calls| *calls >= 2));
    life.crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_the_contract_refuses_hinders_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new();
    *world.refused.lock().unwrap() = Some("8480-6".to_owned());
    let mut life = Life::begin(dir.path(), &world);
    let mut device = crate::ingest::mqtt::Listener::open(&life.delivery, "hr-1").await;
    some_readings(&life, 0, 12).await;
    while world.readings() < 8 || life.journal.counts().received > 0 {
        tokio::task::yield_now().await;
    }
    let records = life.journal.clone();
    life.status
        .wait_for(|status| status.parked > 0 && status.parked == records.counts().pinned as u64)
        .await
        .unwrap();
    drop(records);
    assert_eq!(world.readings(), 8);
    // The device hears why some have no receipt.
    let refusal = loop {
        let message: serde_json::Value = serde_json::from_slice(&device.next().await).unwrap();
        if message.get("refused").is_some() {
            break message;
        }
    };
    assert_eq!(refusal["refused"], "DEVICE_NOT_BOUND");
    assert!(refusal["readings"][0]["seq"].is_u64());
    life.crash().await;
    // The binding is mended and the oracle started again.
    *world.refused.lock().unwrap() = None;
    let life = Life::begin(dir.path(), &world);
    life.finish().await;
    life.crash().await;
    assert_eq!(world.readings(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spooled_object_that_was_damaged_is_sealed_again() {
    for damage in ["flip", "remove"] {
        let dir = tempfile::tempdir().unwrap();
        let world = World::new();
        world.faults.lock().unwrap()[PIN] = Fault::HangBefore(1);
        let life = Life::begin(dir.path(), &world);
        some_readings(&life, 0, 3).await;
        world.hung.notified().await;
        life.crash().await;
        world.faults.lock().unwrap()[PIN] = Fault::None;
        let spool = dir.path().join("journal/spool");
        let object = std::fs::read_dir(spool)
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
        if damage == "flip" {
            let mut bytes = std::fs::read(&object).unwrap();
            bytes[20] ^= 1;
            std::fs::write(&object, bytes).unwrap();
        } else {
            std::fs::remove_file(&object).unwrap();
        }
        let life = Life::begin(dir.path(), &world);
        life.finish().await;
        life.crash().await;
        assert_eq!(world.readings(), 3, "{damage}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_reach_the_device_and_come_again_on_request() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new();
    let life = Life::begin(dir.path(), &world);
    let mut device = crate::ingest::mqtt::Listener::open(&life.delivery, "hr-1").await;
    let sent = reading(5, "8867-4", b"x");
    let fingerprint = journal::fingerprint(&sent.payload);
    life.receive(sent).await;
    let receipt = device.next().await;
    let value: serde_json::Value = serde_json::from_slice(&receipt).unwrap();
    assert_eq!(value["readings"], serde_json::json!([{ "seq": 5 }]));
    assert_eq!(value["block_number"], 7);
    assert_eq!(value["transaction_id"], "tx-1");
    life.finish().await;
    let again = Arrival::Again {
        device: "hr-1".to_owned(),
        sequence: Some(5),
        fingerprint,
        identity: fingerprint,
    };
    life.readings_tx.send(again).await.unwrap();
    assert_eq!(device.next().await, receipt);
    life.crash().await;
}

/// An oracle of before wrote records down without their registrar, which the contracts now want in the commitment.
#[tokio::test(flavor = "multi_thread")]
async fn records_sealed_by_an_earlier_version_are_sealed_again() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new();
    world.faults.lock().unwrap()[REGISTER] = Fault::HangBefore(1);
    let life = Life::begin(dir.path(), &world);
    some_readings(&life, 0, 3).await;
    world.hung.notified().await;
    life.crash().await;
    world.faults.lock().unwrap()[REGISTER] = Fault::None;

    let journal = open_journal(dir.path());
    let mut rewritten = 0;
    for record in journal.unfinished() {
        let mut sealed = journal::SealedRecord::clone(&record.sealed);
        let mut private: serde_json::Value = serde_json::from_str(&sealed.private).unwrap();
        private
            .as_object_mut()
            .unwrap()
            .remove("registrar")
            .unwrap();
        sealed.private = private.to_string();
        journal
            .append(journal::Entry::Sealed(sealed))
            .await
            .unwrap();
        rewritten += 1;
    }
    assert!(rewritten > 0);
    journal.close().await;

    let life = Life::begin(dir.path(), &world);
    life.finish().await;
    life.crash().await;
    assert_eq!(world.readings(), 3);
    for (entry, private, _) in world.records() {
        assert_eq!(entry.commitment, private.commitment());
        assert_eq!(private.registrar.as_str(), "Org1MSP");
    }
}

/// Waits until so many records are dead letters, and nothing else waits.
async fn parked(life: &Life, count: usize) -> Vec<DeadLetter> {
    loop {
        let letters = life.dead_letters.list();
        let counts = life.journal.counts();
        let waiting = counts.received + counts.sealed + counts.pinned + counts.committed;
        if letters.len() == count && waiting == count {
            return letters;
        }
        assert!(!life.running.is_finished(), "the pipeline has ended");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_with_their_reason_and_tried_again_while_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new();
    *world.refused.lock().unwrap() = Some("8480-6".to_owned());
    let life = Life::begin(dir.path(), &world);
    life.receive(reading(0, "8480-6", b"refused")).await;
    let letter = parked(&life, 1).await.remove(0);
    assert_eq!((letter.device.as_str(), letter.readings), ("hr-1", 1));
    assert_eq!(letter.code, "DEVICE_NOT_BOUND");
    assert_eq!((letter.reason.as_str(), letter.refusals), ("refused", 1));

    life.dead_letters.retry(letter.record).unwrap();
    while life.dead_letters.list()[0].refusals < 2 {
        tokio::task::yield_now().await;
    }
    // Never idle again: what is registered brings the next reading.
    *world.refused.lock().unwrap() = None;
    life.dead_letters.retry(letter.record).unwrap();
    let mut sequence = 1;
    while !life.dead_letters.list().is_empty() {
        life.receive(reading(sequence, "8867-4", b"busy")).await;
        sequence += 1;
    }
    life.finish().await;
    assert_eq!(u64::from(world.readings()), sequence);
    let unknown = life.dead_letters.retry(letter.record);
    assert!(matches!(unknown, Err(DeadLetterError::Unknown)));
    life.crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_dead_letter_is_gone_for_good_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new();
    *world.refused.lock().unwrap() = Some("8480-6".to_owned());
    let life = Life::begin(dir.path(), &world);
    life.receive(reading(0, "8480-6", b"dropped")).await;
    let first = parked(&life, 1).await.remove(0);
    life.receive(reading(1, "8480-6", b"kept")).await;
    parked(&life, 2).await;
    life.dead_letters.drop_record(first.record).await.unwrap();
    let again = life.dead_letters.drop_record(first.record).await;
    assert!(matches!(again, Err(DeadLetterError::Unknown)));
    let left = parked(&life, 1).await;
    assert_ne!(left[0].record, first.record);
    life.crash().await;

    *world.refused.lock().unwrap() = None;
    let life = Life::begin(dir.path(), &world);
    life.finish().await;
    assert!(life.dead_letters.list().is_empty());
    let again = life.journal.receive(reading(0, "8480-6", b"dropped")).await;
    assert_eq!(again.unwrap(), Accepted::Duplicate);
    life.crash().await;
    assert_eq!(world.readings(), 1);
}

/// What cannot be read now may be readable later: sealing it again would leave the first object behind for ever.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_cannot_be_read_now_is_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new();
    world.faults.lock().unwrap()[PIN] = Fault::HangBefore(1);
    let life = Life::begin(dir.path(), &world);
    life.receive(reading(0, "8867-4", b"x")).await;
    world.hung.notified().await;
    let record = life.journal.unfinished().remove(0).sealed;
    life.crash().await;
    world.faults.lock().unwrap()[PIN] = Fault::None;
    // A link to itself in its place: there, and not readable.
    let spool = dir.path().join("journal/spool");
    let object = spool.join(format!("{}.object", record.record.to_hex()));
    let aside = dir.path().join("aside");
    std::fs::rename(&object, &aside).unwrap();
    std::os::unix::fs::symlink(&object, &object).unwrap();
    let life = Life::begin(dir.path(), &world);
    // Objects are read and pinned together, oldest first: when another one is on the ledger, this one was tried.
    life.receive(reading(1, "8480-6", b"y")).await;
    while world.readings() == 0 {
        assert!(!life.running.is_finished(), "the pipeline has ended");
        tokio::task::yield_now().await;
    }
    assert!(life.journal.record(record.record).is_some());
    let unfinished = life.journal.unfinished();
    let kept: Vec<_> = unfinished.iter().map(|record| &record.sealed).collect();
    assert!(kept.contains(&&record), "the same record, not another");
    assert_eq!(
        life.journal.readings_of(record.record).len(),
        1,
        "its reading was not sealed again"
    );
    assert!(!world.objects.lock().unwrap().contains_key(&record.cid));
    // In one step: an object that is missing for a moment is a lost one.
    std::fs::rename(&aside, &object).unwrap();
    life.finish().await;
    life.crash().await;
    assert!(world.objects.lock().unwrap().contains_key(&record.cid));
    assert_eq!(world.readings(), 2);
    assert_eq!(world.objects.lock().unwrap().len(), 2);
}

/// Who reads a record sees what the oracle found odd, as the device did in its receipt.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_says_of_how_many_readings_something_is_odd() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new();
    let life = Life::begin(dir.path(), &world);
    for (sequence, marks) in [
        (0, &[][..]),
        (1, &[Mark::UnitNotUcum, Mark::ClockAhead]),
        (2, &[Mark::UnitNotUcum]),
        (3, &[]),
    ] {
        let mut reading = reading(sequence, "8867-4", b"x");
        for mark in marks {
            reading.marks.add(*mark);
        }
        life.receive(reading).await;
    }
    life.finish().await;
    life.crash().await;
    let mut sums = std::collections::BTreeMap::new();
    for (entry, private, _) in world.records() {
        assert_eq!(entry.commitment, private.commitment());
        for (mark, readings) in private.marks {
            *sums.entry(mark.to_string()).or_insert(0) += readings;
        }
    }
    let expected = [("clock-ahead", 1), ("unit-not-ucum", 2)];
    let expected = expected.map(|(mark, readings)| (mark.to_owned(), readings));
    assert_eq!(sums, expected.into());
}
