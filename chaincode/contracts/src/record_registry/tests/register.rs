use contract_interface::limits::{BATCH_RECORDS_MAX, RECORD_VERSIONS_MAX};
use contract_interface::names::{collections, events, transactions, transient};
use contract_interface::record::RecordsRegistered;
use contract_interface::{
    DeviceRegistration, Digest, ErrorCode, GrantId, Period, Purpose, Record, RecordEntry, RecordId,
    RecordPrivate, RecordStatus, RecordWraps, RegisterRecords, RegisterRecordsResult, Role, Source,
    Status, UtcTime,
};
use fabric_shim::testing::{Tx, TxResult, ValidationCode};

use super::sources::submitted;
use crate::testing::Who::*;
use crate::testing::*;

fn result_of(result: &TxResult) -> (u32, u32) {
    let RegisterRecordsResult {
        registered,
        unchanged,
    } = serde_json::from_slice(&result.response.payload).unwrap();
    (registered, unchanged)
}

async fn state(world: &mut World, id: RecordId) -> Record {
    world
        .get(Oracle1, query_text(transactions::GET_RECORD, &id))
        .await
}

fn time(seconds: i64) -> UtcTime {
    UtcTime::from_unix_seconds(seconds).unwrap()
}

/// The same record, said to be registered by the other organisation.
fn of_org2(record: &RecordPrivate) -> RecordPrivate {
    RecordPrivate {
        registrar: "Org2MSP".parse().unwrap(),
        ..record.clone()
    }
}

#[tokio::test]
async fn a_batch_is_registered_once() {
    let mut world = World::populated().await;
    let records: Vec<_> = (1..=3).map(|n| world.record(n)).collect();
    let tx = world.register_records(&records[..2]);
    let first = world.ok(Oracle1, tx).await;
    assert_eq!(result_of(&first), (2, 0));
    let ids = records[..2].iter().map(|record| record.record_id).collect();
    let event = first.event.unwrap();
    assert_eq!(event.name, events::RECORDS_REGISTERED);
    assert_eq!(event.payload, json(&RecordsRegistered { record_ids: ids }));

    let tx = world.register_records(&records);
    let second = world.ok(Oracle1, tx).await;
    assert_eq!(result_of(&second), (1, 2));
    let ids = vec![records[2].record_id];
    assert_eq!(
        second.event.unwrap().payload,
        json(&RecordsRegistered { record_ids: ids })
    );

    let tx = world.register_records(&records);
    let third = world.ok(Oracle1, tx).await;
    assert_eq!(result_of(&third), (0, 3));
    assert!(third.writes.is_empty() && third.private_writes.is_empty() && third.event.is_none());

    let record = state(&mut world, records[0].record_id).await;
    assert_eq!(record.metadata, records[0]);
    assert_eq!(record.state.tx_id, first.tx_id);
    assert_eq!(record.state.commitment, records[0].commitment());
    assert_eq!(record.state.msp_id.as_str(), "Org1MSP");
    assert_eq!(record.state.status, RecordStatus::Active);
    let wraps: RecordWraps = world
        .get(
            Oracle2,
            query_text(transactions::GET_WRAPS, &records[0].record_id),
        )
        .await;
    assert_eq!(wraps, crate::testing::wraps(records[0].record_id));
}

#[tokio::test]
async fn a_full_batch_is_taken_and_one_more_is_not() {
    let mut world = World::populated().await;
    let max = u32::try_from(BATCH_RECORDS_MAX).unwrap();
    let records: Vec<_> = (0..=max).map(|n| world.record(n)).collect();
    let tx = world.register_records(&records);
    world.refused(Oracle1, tx, ErrorCode::LimitExceeded).await;
    let tx = world.register_records(&records[1..]);
    let result = world.ok(Oracle1, tx).await;
    assert_eq!(result_of(&result), (max, 0));
    assert_eq!(
        world.ledger.private_keys(collections::KEYS).len(),
        BATCH_RECORDS_MAX
    );
}

#[tokio::test]
async fn a_retry_may_wrap_anew_but_other_content_conflicts() {
    let (mut world, record) = World::with_record().await;
    let mut wraps = vec![wraps(record.record_id)];
    wraps[0].wraps[0].jwe = "other.h.k.i.t".to_owned();
    let tx = register_raw(&[entry(&record)], std::slice::from_ref(&record), &wraps);
    let again = world.ok(Oracle1, tx).await;
    assert_eq!(result_of(&again), (0, 1));

    let mut object = entry(&record);
    object.object_sha256 = Digest::of(b"another object");
    let tx = register_raw(&[object], std::slice::from_ref(&record), &wraps);
    world.refused(Oracle1, tx, ErrorCode::RecordConflict).await;
    let mut metadata = record.clone();
    metadata.readings += 1;
    let tx = world.register_records(&[metadata]);
    world.refused(Oracle1, tx, ErrorCode::RecordConflict).await;
    let tx = world.register_records(&[of_org2(&record)]);
    world.refused(Oracle2, tx, ErrorCode::RecordConflict).await;
}

#[tokio::test]
async fn the_same_record_twice_in_a_block_is_registered_once() {
    let mut world = World::populated().await;
    let record = world.record(1);
    let first = world.register_records(std::slice::from_ref(&record));
    let second = first.clone();
    let block = [
        world.simulate(Oracle1, first).await,
        world.simulate(Oracle1, second).await,
    ];
    let codes = world.ledger.commit(&block);
    assert_eq!(
        codes,
        [ValidationCode::Valid, ValidationCode::MvccReadConflict]
    );
}

#[tokio::test]
async fn only_oracles_register() {
    let mut world = World::populated().await;
    let record = world.record(1);
    for who in [Admin1, Auditor1, Patient, Provider1, Nobody, PlainOracle] {
        let tx = world.register_records(std::slice::from_ref(&record));
        world.refused(who, tx, ErrorCode::Forbidden).await;
    }
}

#[tokio::test]
async fn the_device_must_have_measured_the_patient_then() {
    let mut world = World::populated().await;
    let moved = time(1_767_225_600 + 7200);
    let device = DeviceRegistration {
        patient: OtherPatient.pseudonym(),
        bound_from: moved,
        ..world.device()
    };
    let tx = world.register_device(&device);
    world.ok(Oracle1, tx).await;

    // Ends an hour before the move: late, but right.
    let before = world.record(1);
    let tx = world.register_records(&[before]);
    world.ok(Oracle1, tx).await;
    let mut after = world.record(3);
    let tx = world.register_records(&[after.clone()]);
    world.refused(Oracle1, tx, ErrorCode::DeviceNotBound).await;
    after.patient = OtherPatient.pseudonym();
    let tx = world.register_records(&[after.clone()]);
    world.ok(Oracle1, tx).await;
    let mut across = world.record(4);
    across.period.start = time(1_767_225_600);
    for patient in [Patient, OtherPatient] {
        across.patient = patient.pseudonym();
        let tx = world.register_records(&[across.clone()]);
        world.refused(Oracle1, tx, ErrorCode::DeviceNotBound).await;
    }
    let mut too_early = world.record(5);
    too_early.period.start = "2019-12-31T23:59:59Z".parse().unwrap();
    let tx = world.register_records(&[too_early]);
    world.refused(Oracle1, tx, ErrorCode::DeviceNotBound).await;
}

#[tokio::test]
async fn a_revoked_device_keeps_what_it_measured_before() {
    let mut world = World::populated().await;
    let device = DeviceRegistration {
        status: Status::Revoked,
        status_since: Some(time(1_767_225_600 + 2 * 3600)),
        ..world.device()
    };
    let tx = world.register_device(&device);
    world.ok(Oracle1, tx).await;
    let before = world.record(1);
    let tx = world.register_records(&[before]);
    world.ok(Oracle1, tx).await;
    let at = world.record(2);
    let tx = world.register_records(&[at]);
    world.refused(Oracle1, tx, ErrorCode::DeviceNotActive).await;
}

#[tokio::test]
async fn a_device_of_another_organization_or_nobodys_is_refused() {
    let mut world = World::populated().await;
    let record = world.record(1);
    let tx = world.register_records(&[of_org2(&record)]);
    let message = world.refused(Oracle2, tx, ErrorCode::DeviceNotFound).await;
    assert!(!message.contains(DEVICE), "{message}");
    let unknown = RecordPrivate {
        source: Source::DeviceId("hr-9".parse().unwrap()),
        ..record
    };
    let tx = world.register_records(&[unknown]);
    world.refused(Oracle1, tx, ErrorCode::DeviceNotFound).await;
}

#[tokio::test]
async fn one_wrong_record_refuses_the_whole_batch() {
    let mut world = World::populated().await;
    let good = [world.record(1), world.record(2)];
    let mut entries: Vec<RecordEntry> = good.iter().map(entry).collect();
    let all_wraps: Vec<_> = good.iter().map(|record| wraps(record.record_id)).collect();
    entries[1].commitment = Digest::of(b"something else");
    let tx = register_raw(&entries, &good, &all_wraps);
    world
        .refused(Oracle1, tx, ErrorCode::CommitmentMismatch)
        .await;
    let entries: Vec<RecordEntry> = good.iter().map(entry).collect();
    let tx = register_raw(&entries, &good, &all_wraps);
    assert_eq!(result_of(&world.ok(Oracle1, tx).await), (2, 0));
}

#[tokio::test]
async fn lists_that_do_not_fit_together_are_refused() {
    let mut world = World::populated().await;
    let good = [world.record(1), world.record(2)];
    let entries: Vec<RecordEntry> = good.iter().map(entry).collect();
    let all_wraps: Vec<_> = good.iter().map(|record| wraps(record.record_id)).collect();
    let swapped = [good[1].clone(), good[0].clone()];
    let swapped_wraps = [all_wraps[1].clone(), all_wraps[0].clone()];
    let same_salt = [
        good[0].clone(),
        RecordPrivate {
            salt: good[0].salt,
            ..good[1].clone()
        },
    ];
    let same_id = [
        good[0].clone(),
        RecordPrivate {
            salt: good[1].salt,
            ..good[0].clone()
        },
    ];
    let of = |records: &[RecordPrivate]| records.iter().map(entry).collect::<Vec<_>>();
    let mut versions = Vec::new();
    for (version, previous) in [(0, None), (2, None), (1, Some(good[1].record_id))] {
        versions.push(RecordEntry {
            version,
            previous,
            ..entries[0].clone()
        });
    }
    let mut cases = vec![
        register_raw(&[], &[], &[]),
        register_raw(&entries, &good[..1], &all_wraps),
        register_raw(&entries, &good, &all_wraps[..1]),
        register_raw(&entries[..1], &good, &all_wraps),
        register_raw(&entries, &swapped, &all_wraps),
        register_raw(&entries, &good, &swapped_wraps),
        register_raw(&of(&same_salt), &same_salt, &all_wraps),
        register_raw(
            &of(&same_id),
            &same_id,
            &[all_wraps[0].clone(), all_wraps[0].clone()],
        ),
    ];
    for version in versions {
        cases.push(register_raw(&[version], &good[..1], &all_wraps[..1]));
    }
    let argument = json(&RegisterRecords {
        records: entries.clone(),
    });
    let name = transactions::REGISTER_RECORDS;
    cases.push(Tx::submit(name).argument(argument.clone()));
    cases.push(
        Tx::submit(name)
            .argument(argument.clone())
            .transient(transient::RECORDS, json(&good)),
    );
    cases.push(
        Tx::submit(name)
            .argument(r#"{"records":[],"more":1}"#)
            .transient(transient::RECORDS, "[]")
            .transient(transient::WRAPS, "[]"),
    );
    for (number, tx) in cases.into_iter().enumerate() {
        let message = world.refused(Oracle1, tx, ErrorCode::InvalidArgument).await;
        assert!(
            !message.contains(&Patient.pseudonym().to_string()),
            "case {number}: {message}"
        );
    }
}

#[tokio::test]
async fn values_out_of_range_are_refused() {
    let mut world = World::populated().await;
    let good = world.record(1);
    let Period { start, end } = good.period;
    for record in [
        RecordPrivate {
            readings: 0,
            ..good.clone()
        },
        RecordPrivate {
            period: Period {
                start: end,
                end: start,
            },
            ..good.clone()
        },
        RecordPrivate {
            size: 1 << 53,
            ..good.clone()
        },
        RecordPrivate {
            content_type: "text".to_owned(),
            ..good.clone()
        },
        RecordPrivate {
            cid: "b/../c".to_owned(),
            ..good.clone()
        },
    ] {
        let tx = world.register_records(&[record]);
        world.refused(Oracle1, tx, ErrorCode::InvalidArgument).await;
    }
    let mut none = wraps(good.record_id);
    none.wraps.clear();
    let tx = register_raw(&[entry(&good)], std::slice::from_ref(&good), &[none]);
    world.refused(Oracle1, tx, ErrorCode::InvalidArgument).await;

    let tx = Tx::submit(transactions::REGISTER_RECORDS).argument(vec![b' '; 600 * 1024]);
    world.refused(Oracle1, tx, ErrorCode::LimitExceeded).await;
    let tx = Tx::submit(transactions::REGISTER_RECORDS)
        .argument(json(&RegisterRecords {
            records: vec![entry(&good)],
        }))
        .transient(transient::RECORDS, vec![b' '; (8 << 20) + 1]);
    world.refused(Oracle1, tx, ErrorCode::LimitExceeded).await;
}

fn amending(record: &RecordPrivate, previous: &RecordPrivate, version: u32) -> Tx {
    let entry = RecordEntry {
        version,
        previous: Some(previous.record_id),
        ..entry(record)
    };
    register_raw(
        &[entry],
        std::slice::from_ref(record),
        &[wraps(record.record_id)],
    )
}

#[tokio::test]
async fn a_later_version_amends_its_predecessor_once() {
    let (mut world, first) = World::with_record().await;
    let second = world.record(2);
    world.ok(Oracle1, amending(&second, &first, 2)).await;
    let old = state(&mut world, first.record_id).await;
    assert_eq!(old.state.status, RecordStatus::Amended);
    let new = state(&mut world, second.record_id).await;
    assert_eq!(
        (new.state.version, new.state.previous),
        (2, Some(first.record_id))
    );
    assert_eq!(
        result_of(&world.ok(Oracle1, amending(&second, &first, 2)).await),
        (0, 1)
    );

    let third = world.record(3);
    let conflict = ErrorCode::RecordConflict;
    world
        .refused(Oracle1, amending(&third, &first, 2), conflict)
        .await;
    world
        .refused(Oracle1, amending(&third, &second, 2), conflict)
        .await;
    world
        .refused(Oracle1, amending(&third, &second, 4), conflict)
        .await;
    let unknown = world.record(9);
    world
        .refused(Oracle1, amending(&third, &unknown, 2), conflict)
        .await;
    let mut others = third.clone();
    others.patient = OtherPatient.pseudonym();
    let others = submitted(&mut world, &others, OtherPatient, Some(second.record_id));
    world
        .refused(Oracle1, amending(&others, &second, 3), conflict)
        .await;
    let tx = world.register_device(&world.device());
    world.ok(Oracle2, tx).await;
    world
        .refused(Oracle2, amending(&of_org2(&third), &second, 3), conflict)
        .await;
    world.ok(Oracle1, amending(&third, &second, 3)).await;
}

#[tokio::test]
async fn a_chain_of_versions_has_an_end() {
    let (mut world, first) = World::with_record().await;
    let next = world.record(2);
    let version = RECORD_VERSIONS_MAX + 1;
    let tx = amending(&next, &first, version);
    world.refused(Oracle1, tx, ErrorCode::LimitExceeded).await;
}

#[tokio::test]
async fn the_registrar_is_who_registers_and_wraps_for_itself_and_the_patient() {
    let mut world = World::populated().await;
    let invalid = ErrorCode::InvalidArgument;
    let record = world.record(1);
    let tx = world.register_records(&[of_org2(&record)]);
    world.refused(Oracle1, tx, invalid).await;
    let mut gated = wraps(record.record_id);
    gated.wraps[0].gate = Some(Oracle1.key().thumbprint());
    let mut granted = wraps(record.record_id);
    granted.wraps[0].grant_id = Some(GrantId::from_bytes([1; 16]));
    for wraps in [gated, granted] {
        let tx = register_raw(&[entry(&record)], std::slice::from_ref(&record), &[wraps]);
        world.refused(Oracle1, tx, invalid).await;
    }
}

/// Else who erased its record had the other organisation's object destroyed.
#[tokio::test]
async fn an_object_belongs_to_the_organization_that_registered_it_first() {
    let (mut world, first) = World::with_record().await;
    let tx = world.register_device(&world.device());
    world.ok(Oracle2, tx).await;
    let alias = RecordPrivate {
        cid: first.cid.clone(),
        ..of_org2(&world.record(2))
    };
    // The same blocks under another codec, and two records of one batch.
    let node = RecordPrivate {
        cid: first.cid.replacen("bafkrei", "bafybei", 1),
        ..alias.clone()
    };
    let innocent = of_org2(&world.record(3));
    for batch in [vec![alias.clone()], vec![innocent, node]] {
        let tx = world.register_records(&batch);
        world.refused(Oracle2, tx, ErrorCode::RecordConflict).await;
    }
    let other_text = RecordPrivate {
        cid: first.cid.to_uppercase(),
        ..alias.clone()
    };
    let tx = world.register_records(&[other_text]);
    world.refused(Oracle2, tx, ErrorCode::InvalidArgument).await;
    let own = RecordPrivate {
        registrar: first.registrar.clone(),
        ..alias
    };
    let tx = world.register_records(&[own]);
    world.ok(Oracle1, tx).await;
}

#[tokio::test]
async fn a_peer_that_lacks_the_private_value_asks_to_try_again() {
    let (mut world, record) = World::with_record().await;
    for key in world.ledger.private_keys(collections::RECORDS) {
        if key.starts_with("\0record\0") {
            world.ledger.lose_private_value(collections::RECORDS, &key);
        }
    }
    let tx = query_text(transactions::GET_RECORD, &record.record_id);
    world
        .refused(Oracle1, tx, ErrorCode::LedgerUnavailable)
        .await;
    let tx = world.authorize_read(Patient, record.record_id, Purpose::Patrqt);
    world
        .refused(Oracle1, tx, ErrorCode::LedgerUnavailable)
        .await;
}

#[tokio::test]
async fn a_patient_without_a_key_has_no_records_until_it_has_one() {
    let mut world = World::populated().await;
    let mut registration = world.registration(Nobody, Role::Patient);
    let key = registration.encryption_key.take();
    let proof = registration.key_proof.take();
    let tx = world.register_participant(registration.clone());
    world.ok(Oracle1, tx).await;
    let mut device = world.device();
    device.device_id = "hr-0043".parse().unwrap();
    device.patient = Nobody.pseudonym();
    let tx = world.register_device(&device);
    world.ok(Oracle1, tx).await;
    let others = world.record(1);
    let keyless = RecordPrivate {
        patient: Nobody.pseudonym(),
        source: Source::DeviceId(device.device_id),
        ..world.record(2)
    };
    let both = [others.clone(), keyless.clone()];
    let tx = world.register_records(&both);
    let missing = ErrorCode::PatientKeyMissing;
    let message = world.refused(Oracle1, tx, missing).await;
    assert!(
        message.contains(&keyless.record_id.to_string()),
        "{message}"
    );
    assert!(!message.contains(&Nobody.pseudonym().to_string()));
    assert!(!missing.is_retryable());

    registration.encryption_key = key;
    registration.key_proof = proof;
    let tx = world.register_participant(registration);
    world.ok(Oracle1, tx).await;
    let tx = world.register_records(&both);
    assert_eq!(result_of(&world.ok(Oracle1, tx).await), (2, 0));
}
