//! Erasure, its two halves, and who may have it done.

use contract_interface::access::{
    Delegation, DelegationBasis, Happening, NoticeFilter, NoticePage, Power,
};
use contract_interface::names::{collections, events, transactions, transient};
use contract_interface::record::{
    ErasingPage, ErasingRecord, Erasure, ErasureBasis, ErasureChanged, RegisteredPage,
};
use contract_interface::{
    CompleteErasure, Delegate, DelegationId, EraseRecord, ErrorCode, PageRequest, Purpose,
    RecordEntry, RecordFilter, RecordId, RecordPage, RecordPrivate, RecordStatus,
    RegisterRecordsResult,
};
use fabric_protos::{kvrwset::HashedRwSet, rwset::TxReadWriteSet};
use fabric_shim::testing::{Tx, TxResult};
use prost::Message as _;

use crate::testing::Who::*;
use crate::testing::*;

fn erase(world: &mut World, signer: Who, id: RecordId, basis: ErasureBasis) -> Tx {
    let request = world.request(EraseRecord {
        record_id: id,
        basis,
    });
    world.signed(signer, &request)
}

/// A channel with one record, which its patient has had erased.
async fn erased() -> (World, RecordPrivate, TxResult) {
    let (mut world, record) = World::with_record().await;
    let id = record.record_id;
    let tx = erase(&mut world, Patient, id, ErasureBasis::PatientRequest);
    let result = world.ok(Oracle1, tx).await;
    (world, record, result)
}

fn confirm(world: &mut World, id: RecordId) -> Tx {
    world
        .salted(transactions::CONFIRM_REMOVAL)
        .transient(transient::RECORD_ID, id.to_string())
}

fn complete(world: &mut World, id: RecordId, force: &str) -> Tx {
    world
        .salted(transactions::COMPLETE_ERASURE)
        .argument(force)
        .transient(transient::RECORD_ID, id.to_string())
}

/// Completion on the word of `signer`, given for the record `signed_for`.
fn forced(world: &mut World, id: RecordId, signer: Who, signed_for: RecordId) -> Tx {
    let request = world.request(CompleteErasure {
        record_id: signed_for,
    });
    world
        .signed(signer, &request)
        .argument("force")
        .transient(transient::RECORD_ID, id.to_string())
}

async fn pending(world: &mut World, who: Who) -> Vec<ErasingRecord> {
    let tx = query(transactions::LIST_ERASURES, &PageRequest::default());
    let page: ErasingPage = world.get(who, tx).await;
    page.records
}

async fn tombstone(world: &mut World, who: Who, id: RecordId) -> Erasure {
    world
        .get(who, query_text(transactions::GET_ERASURE, &id))
        .await
}

async fn status(world: &mut World, id: RecordId) -> RecordStatus {
    let tx = query_text(transactions::LIST_VERSIONS, &id);
    let page: RegisteredPage = world.get(Oracle1, tx).await;
    page.records.last().unwrap().state.status
}

fn keys_of(world: &World, collection: &str, object_type: &str) -> Vec<String> {
    let mut keys = world.ledger.private_keys(collection);
    keys.retain(|key| key.starts_with(&format!("\0{object_type}\0")));
    keys
}

/// How many private values the transaction purges, in state and history.
fn purged(result: &TxResult) -> usize {
    let rwset = TxReadWriteSet::decode(result.rwset.as_slice()).unwrap();
    let collections = rwset
        .ns_rwset
        .iter()
        .flat_map(|ns| &ns.collection_hashed_rwset);
    collections
        .map(|collection| HashedRwSet::decode(collection.hashed_rwset.as_slice()).unwrap())
        .map(|set| set.hashed_writes.iter().filter(|w| w.is_purge).count())
        .sum()
}

#[tokio::test]
async fn nothing_private_is_left_of_an_erased_record() {
    let (mut world, record, result) = erased().await;
    let id = record.record_id;
    let event = result.event.as_ref().unwrap();
    assert_eq!(event.name, events::RECORD_ERASED);
    assert_eq!(event.payload, json(&ErasureChanged { record_id: id }));
    assert_eq!(
        purged(&result),
        5,
        "keys, metadata, two index entries and whose the object is"
    );
    assert_eq!(world.ledger.private_keys(collections::KEYS).len(), 0);
    for object_type in ["record", "record~patient", "record~type", "object"] {
        let left = keys_of(&world, collections::RECORDS, object_type);
        assert_eq!(left, [] as [String; 0], "{object_type}");
    }

    let gone = ErrorCode::RecordNotFound;
    for name in [transactions::GET_RECORD, transactions::GET_WRAPS] {
        world.refused(Oracle1, query_text(name, &id), gone).await;
    }
    let tx = world.authorize_read(Patient, id, Purpose::Patrqt);
    world.refused(Oracle1, tx, gone).await;
    let filter = RecordFilter {
        patient: Patient.pseudonym(),
        record_type: None,
        from: None,
        to: None,
        page: PageRequest::default(),
    };
    let tx = query(transactions::LIST_RECORDS, &filter);
    let page: RecordPage = world.get(Oracle1, tx).await;
    assert_eq!(page.records, []);
    assert_eq!(status(&mut world, id).await, RecordStatus::Erased);
    let tx = query(transactions::LIST_NOTICES, &NoticeFilter::default());
    let notices: NoticePage = world.get(Oracle1, for_caller(tx, Patient)).await;
    let told = Happening::RecordErased { record_id: id };
    assert_eq!(notices.notices[0].happening, told);

    let tx = erase(&mut world, Patient, id, ErasureBasis::PatientRequest);
    world.refused(Oracle1, tx, gone).await;
}

#[tokio::test]
async fn registering_again_restores_nothing() {
    let (mut world, record, _) = erased().await;
    let tx = world.register_records(std::slice::from_ref(&record));
    let again: RegisterRecordsResult = world.get(Oracle1, tx).await;
    assert_eq!((again.registered, again.unchanged), (0, 1));
    assert_eq!(world.ledger.private_keys(collections::KEYS).len(), 0);
    let left = keys_of(&world, collections::RECORDS, "record");
    assert_eq!(left, [] as [String; 0]);
    let id = record.record_id;
    assert_eq!(status(&mut world, id).await, RecordStatus::Erased);

    // Nor does an amendment.
    let next = world.record(2);
    let amending = RecordEntry {
        version: 2,
        previous: Some(id),
        ..entry(&next)
    };
    let wraps = [wraps(next.record_id)];
    let tx = register_raw(&[amending], &[next], &wraps);
    world.refused(Oracle1, tx, ErrorCode::RecordConflict).await;
}

#[tokio::test]
async fn the_basis_says_who_has_a_record_erased() {
    let (mut world, record) = World::with_record().await;
    let id = record.record_id;
    use ErasureBasis::{PatientRequest, RegisteredInError, RetentionEnded};
    for (basis, signer) in [
        (PatientRequest, OtherPatient),
        (PatientRequest, Guardian),
        (PatientRequest, Provider1),
        (PatientRequest, Admin1),
        (RetentionEnded, Patient),
        (RetentionEnded, Admin2),
        (RetentionEnded, Auditor1),
        (RegisteredInError, Provider1),
        (RegisteredInError, Admin2),
        (RegisteredInError, Oracle1),
    ] {
        let tx = erase(&mut world, signer, id, basis);
        world.refused(Oracle1, tx, ErrorCode::Forbidden).await;
    }
    let unknown = RecordId::from_bytes([9; 16]);
    let tx = erase(&mut world, Patient, unknown, PatientRequest);
    world.refused(Oracle1, tx, ErrorCode::RecordNotFound).await;

    for (n, basis, signer) in [(2, RetentionEnded, Admin1), (3, RegisteredInError, Admin1)] {
        let record = world.record(n);
        let tx = world.register_records(std::slice::from_ref(&record));
        world.ok(Oracle1, tx).await;
        let tx = erase(&mut world, signer, record.record_id, basis);
        world.ok(Oracle1, tx).await;
    }
    // The patient may take another organisation's oracle.
    let tx = erase(&mut world, Patient, id, PatientRequest);
    world.ok(Oracle2, tx).await;
}

#[tokio::test]
async fn a_guardian_needs_the_power_to_erase() {
    let (mut world, record) = World::with_record().await;
    let id = record.record_id;
    for (powers, good) in [
        (vec![Power::Read, Power::Grant], false),
        (vec![Power::Erase], true),
    ] {
        let delegation = Delegation {
            delegation_id: DelegationId::from_bytes(world.random_id()),
            patient: Patient.pseudonym(),
            guardian: Guardian.id(),
            powers,
            basis: DelegationBasis::Patient,
            valid_from: world.time(0),
            valid_until: world.time(60),
        };
        let request = world.request(Delegate { delegation });
        let tx = world.signed(Patient, &request);
        world.ok(Oracle1, tx).await;
        let tx = erase(&mut world, Guardian, id, ErasureBasis::PatientRequest);
        if good {
            world.ok(Oracle1, tx).await;
        } else {
            world.refused(Oracle1, tx, ErrorCode::Forbidden).await;
        }
        world.now += 1;
    }
}

#[tokio::test]
async fn an_erasure_is_complete_when_every_organization_has_said_so() {
    let (mut world, record, first) = erased().await;
    let id = record.record_id;
    for who in [Oracle1, Oracle2] {
        let found = pending(&mut world, who).await;
        assert_eq!(found.len(), 1, "{who:?}");
        assert_eq!(found[0].cid, record.cid);
        assert_eq!(found[0].registrar.as_str(), "Org1MSP");
    }
    let conflict = ErrorCode::StateConflict;
    let tx = complete(&mut world, id, "");
    world.refused(Oracle1, tx, conflict).await;
    let tx = confirm(&mut world, id);
    let second = world.ok(Oracle2, tx).await;
    let tx = confirm(&mut world, id);
    let again = world.ok(Oracle2, tx).await;
    assert!(again.writes.is_empty());
    assert_eq!(pending(&mut world, Oracle2).await, []);
    let tx = complete(&mut world, id, "");
    world.refused(Oracle1, tx, conflict).await;
    let tx = confirm(&mut world, id);
    let third = world.ok(Oracle1, tx).await;
    // The registrar has still to complete.
    assert_eq!(pending(&mut world, Oracle1).await.len(), 1);
    let tx = complete(&mut world, id, "");
    world.refused(Oracle2, tx, ErrorCode::Forbidden).await;
    let tx = complete(&mut world, id, "");
    let last = world.ok(Oracle1, tx).await;
    assert_eq!(last.event.as_ref().unwrap().name, events::ERASURE_COMPLETED);
    assert_eq!(purged(&last), 1);
    assert_eq!(pending(&mut world, Oracle1).await, []);
    let left = keys_of(&world, collections::RECORDS, "erasing");
    assert_eq!(left, [] as [String; 0]);

    let erasure = tombstone(&mut world, Provider2, id).await;
    assert_eq!(erasure.registered_tx_id.len(), 64);
    assert_eq!(erasure.erased_tx_id, first.tx_id);
    assert_eq!(erasure.completed_tx_id, Some(last.tx_id));
    assert_eq!(erasure.missing, []);
    let words: Vec<_> = erasure
        .removals
        .iter()
        .map(|word| (word.msp_id.as_str(), word.tx_id.as_str()))
        .collect();
    let expected = [
        ("Org1MSP", third.tx_id.as_str()),
        ("Org2MSP", second.tx_id.as_str()),
    ];
    assert_eq!(words, expected);
    let tx = complete(&mut world, id, "");
    let again = world.ok(Oracle1, tx).await;
    assert!(again.writes.is_empty() && again.event.is_none());
}

#[tokio::test]
async fn an_administrator_may_insist_and_the_tombstone_names_who_is_missing() {
    let (mut world, record, _) = erased().await;
    let id = record.record_id;
    let tx = confirm(&mut world, id);
    world.ok(Oracle1, tx).await;
    let other = RecordId::from_bytes([9; 16]);
    let unsigned = complete(&mut world, id, "force");
    let invalid = ErrorCode::InvalidArgument;
    world.refused(Oracle1, unsigned, invalid).await;
    let odd = complete(&mut world, id, "yes");
    world.refused(Oracle1, odd, invalid).await;
    for signer in [Admin2, Auditor1, Patient, Provider1, Oracle1] {
        let tx = forced(&mut world, id, signer, id);
        world.refused(Oracle1, tx, ErrorCode::Forbidden).await;
    }
    let tx = forced(&mut world, id, Admin1, other);
    world.refused(Oracle1, tx, invalid).await;
    let tx = forced(&mut world, id, Admin1, id);
    world.ok(Oracle1, tx).await;
    let erasure = tombstone(&mut world, Oracle2, id).await;
    let missing: Vec<_> = erasure.missing.iter().map(ToString::to_string).collect();
    assert_eq!(missing, ["Org2MSP"]);

    // Who comes late is heard.
    let tx = confirm(&mut world, id);
    world.ok(Oracle2, tx).await;
    let erasure = tombstone(&mut world, Oracle2, id).await;
    assert_eq!(erasure.removals.len(), 2);
    assert_eq!(erasure.missing.len(), 1);
}

#[tokio::test]
async fn who_has_no_part_in_an_erasure_is_refused() {
    let (mut world, record, _) = erased().await;
    let id = record.record_id;
    for who in [Admin1, Auditor1, Patient, Provider1] {
        let tx = confirm(&mut world, id);
        world.refused(who, tx, ErrorCode::Forbidden).await;
        let tx = complete(&mut world, id, "");
        world.refused(who, tx, ErrorCode::Forbidden).await;
        let tx = query(transactions::LIST_ERASURES, &PageRequest::default());
        world.refused(who, tx.clone(), ErrorCode::Forbidden).await;
        let tx = for_caller(tx, who);
        world.refused(Oracle1, tx, ErrorCode::Forbidden).await;
    }
    let gone = ErrorCode::RecordNotFound;
    let alive = world.record(2);
    let tx = world.register_records(std::slice::from_ref(&alive));
    world.ok(Oracle1, tx).await;
    for id in [alive.record_id, RecordId::from_bytes([9; 16])] {
        let tx = confirm(&mut world, id);
        world.refused(Oracle1, tx, gone).await;
        let tx = complete(&mut world, id, "");
        world.refused(Oracle1, tx, gone).await;
        let tx = query_text(transactions::GET_ERASURE, &id);
        world.refused(Oracle1, tx, gone).await;
    }
    let none = world.salted(transactions::CONFIRM_REMOVAL);
    world
        .refused(Oracle1, none, ErrorCode::InvalidArgument)
        .await;
    let tx = query_text(transactions::GET_ERASURE, &id);
    world
        .refused(Nobody, tx, ErrorCode::UnknownParticipant)
        .await;
}

#[tokio::test]
async fn what_an_erasure_makes_public_names_no_one() {
    let (mut world, record, first) = erased().await;
    let id = record.record_id;
    let mut results = vec![first];
    for who in [Oracle1, Oracle2] {
        let tx = confirm(&mut world, id);
        results.push(world.ok(who, tx).await);
    }
    let tx = complete(&mut world, id, "");
    results.push(world.ok(Oracle1, tx).await);
    let secrets = [
        Patient.pseudonym().to_string(),
        record.cid.clone(),
        record.record_type.to_string(),
        record.salt.to_string(),
        DEVICE.to_owned(),
    ];
    for result in &results {
        let mut public = String::from_utf8_lossy(&result.response.payload).into_owned();
        public.push_str(&String::from_utf8_lossy(&result.rwset));
        if let Some(event) = &result.event {
            public.push_str(&String::from_utf8_lossy(&event.payload));
        }
        for secret in &secrets {
            assert!(!public.contains(secret), "{secret}");
        }
    }
}
