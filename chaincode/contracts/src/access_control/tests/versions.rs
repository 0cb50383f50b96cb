//! A denial that names a record is for all its versions, a permit for the one that it names.

use contract_interface::names::{collections, transactions};
use contract_interface::record::ErasureBasis;
use contract_interface::{
    EraseRecord, Grantee, MspId, Purpose, ReasonCode, RecordEntry, RecordFilter, RecordId,
    RecordPage, Rule, WithdrawPolicy,
};
use fabric_shim::testing::{Tx, ValidationCode};

use crate::testing::Who::*;
use crate::testing::*;

const GRANTED: ReasonCode = ReasonCode::Granted;
const DENIED: ReasonCode = ReasonCode::GrantDenies;

fn named(who: Who) -> Grantee {
    Grantee::Participant(who.id())
}

/// A transaction that registers record `n` as the version after `previous`.
fn amendment(world: &mut World, n: u32, previous: RecordId) -> Tx {
    let record = world.record(n);
    let entry = RecordEntry {
        version: n,
        previous: Some(previous),
        ..entry(&record)
    };
    register_raw(
        &[entry],
        std::slice::from_ref(&record),
        &[wraps(record.record_id)],
    )
}

/// A record in so many versions, and one that has nothing to do with it.
async fn amended(versions: u32) -> (World, Vec<RecordId>) {
    let mut world = World::populated().await;
    let records = [world.record(1), world.record(100)];
    let tx = world.register_records(&records);
    world.ok(Oracle1, tx).await;
    let mut ids = vec![records[0].record_id];
    for n in 2..=versions {
        amend(&mut world, n, &mut ids).await;
    }
    (world, ids)
}

/// Registers one more version.
async fn amend(world: &mut World, n: u32, ids: &mut Vec<RecordId>) {
    let tx = amendment(world, n, *ids.last().unwrap());
    world.ok(Oracle1, tx).await;
    let id = world.record(n).record_id;
    ids.push(id);
}

async fn reads(world: &mut World, reader: Who, ids: &[RecordId]) -> Vec<ReasonCode> {
    let mut reasons = Vec::new();
    for id in ids {
        world.now += 1;
        reasons.push(world.read(reader, *id, Purpose::Treat).await);
    }
    reasons
}

fn denial(grantee: Grantee, record: RecordId) -> Rule {
    Rule {
        records: vec![record],
        ..Rule::deny(grantee)
    }
}

fn permit(grantee: Grantee) -> Rule {
    Rule::permit(grantee, vec![Purpose::Treat])
}

#[tokio::test]
async fn a_denial_of_one_version_is_for_all_of_them() {
    let org1: MspId = "Org1MSP".parse().unwrap();
    for grantee in [
        named(Provider1),
        Grantee::Organization(org1),
        Grantee::Anyone,
    ] {
        for denied in 0..3 {
            let (mut world, mut ids) = amended(3).await;
            let other = world.record(100).record_id;
            world.give(Patient, permit(Grantee::Anyone)).await;
            assert_eq!(reads(&mut world, Provider1, &ids).await, [GRANTED; 3]);
            let rule = denial(grantee.clone(), ids[denied]);
            let given = world.give(Patient, rule).await;
            assert_eq!(reads(&mut world, Provider1, &ids).await, [DENIED; 3]);
            // What comes later is not opened by coming later.
            amend(&mut world, 4, &mut ids).await;
            assert_eq!(reads(&mut world, Provider1, &ids).await, [DENIED; 4]);
            assert_eq!(reads(&mut world, Provider1, &[other]).await, [GRANTED]);
            let tx = world.revoke_access(Patient, given.grant_id);
            world.ok(Oracle1, tx).await;
            assert_eq!(reads(&mut world, Provider1, &ids).await, [GRANTED; 4]);
        }
    }
}

#[tokio::test]
async fn a_denied_record_is_not_listed_in_any_version() {
    let (mut world, ids) = amended(2).await;
    world.give(Patient, permit(Grantee::Anyone)).await;
    let filter = RecordFilter {
        patient: Patient.pseudonym(),
        record_type: None,
        from: None,
        to: None,
        page: contract_interface::PageRequest::default(),
    };
    let list = for_caller(query(transactions::LIST_RECORDS, &filter), Provider1);
    let page: RecordPage = world.get(Oracle1, list.clone()).await;
    assert_eq!(page.records.len(), 3);
    world.give(Patient, denial(named(Provider1), ids[0])).await;
    let page: RecordPage = world.get(Oracle1, list).await;
    let left: Vec<RecordId> = page.records.iter().map(|r| r.metadata.record_id).collect();
    assert_eq!(left, [world.record(100).record_id]);
}

#[tokio::test]
async fn an_organisations_denial_of_one_version_is_for_all_of_them() {
    let (mut world, ids) = amended(3).await;
    world.give(Patient, permit(Grantee::Anyone)).await;
    let policy = world.policy_of(denial(named(Provider2), ids[1]));
    let tx = world.set_policy(Admin1, &policy);
    world.ok(Oracle1, tx).await;
    let denied = [ReasonCode::PolicyDenies; 3];
    assert_eq!(reads(&mut world, Provider2, &ids).await, denied);
    assert_eq!(reads(&mut world, Provider1, &ids).await, [GRANTED; 3]);
    let policy_id = policy.policy_id;
    let request = world.request(WithdrawPolicy { policy_id });
    let tx = world.signed(Admin1, &request);
    world.ok(Oracle1, tx).await;
    assert_eq!(reads(&mut world, Provider2, &ids).await, [GRANTED; 3]);
}

#[tokio::test]
async fn a_denial_still_asks_for_all_else_that_it_names() {
    let (mut world, ids) = amended(2).await;
    world.give(Patient, permit(Grantee::Anyone)).await;
    let mut rule = denial(named(Provider1), ids[0]);
    rule.purposes = vec![Purpose::Hresch];
    world.give(Patient, rule).await;
    let mut rule = denial(named(Provider1), ids[0]);
    rule.types = vec!["8480-6".parse().unwrap()];
    world.give(Patient, rule).await;
    assert_eq!(reads(&mut world, Provider1, &ids).await, [GRANTED; 2]);
}

#[tokio::test]
async fn a_permit_is_for_the_version_that_it_names() {
    let (mut world, ids) = amended(3).await;
    let mut rule = permit(named(Provider1));
    rule.records = vec![ids[1]];
    world.give(Patient, rule).await;
    let no = ReasonCode::NoGrant;
    assert_eq!(reads(&mut world, Provider1, &ids).await, [no, GRANTED, no]);
}

#[tokio::test]
async fn a_denial_stands_though_the_versions_that_it_names_are_erased() {
    let (mut world, ids) = amended(3).await;
    world.give(Patient, permit(Grantee::Anyone)).await;
    let erase = async |world: &mut World, record_id| {
        let request = world.request(EraseRecord {
            record_id,
            basis: ErasureBasis::PatientRequest,
        });
        let tx = world.signed(Patient, &request);
        world.ok(Oracle1, tx).await;
    };
    // The first version goes before a later one is denied, the denied one after it.
    erase(&mut world, ids[0]).await;
    let given = world.give(Patient, denial(named(Provider1), ids[1])).await;
    erase(&mut world, ids[1]).await;
    assert_eq!(reads(&mut world, Provider1, &ids[2..]).await, [DENIED]);
    // It leaves its slots as it came.
    let tx = world.revoke_access(Patient, given.grant_id);
    world.ok(Oracle1, tx).await;
    assert_eq!(reads(&mut world, Provider1, &ids[2..]).await, [GRANTED]);
    world.give(Patient, denial(named(Provider1), ids[0])).await;
    assert_eq!(reads(&mut world, Provider1, &ids[2..]).await, [DENIED]);
}

#[tokio::test]
async fn several_versions_in_one_denial_are_one_chain() {
    let (mut world, ids) = amended(3).await;
    world.give(Patient, permit(Grantee::Anyone)).await;
    let mut rule = denial(named(Provider1), ids[2]);
    rule.records.push(ids[0]);
    let given = world.give(Patient, rule).await;
    assert_eq!(reads(&mut world, Provider1, &ids).await, [DENIED; 3]);
    let tx = world.revoke_access(Patient, given.grant_id);
    world.ok(Oracle1, tx).await;
    assert_eq!(reads(&mut world, Provider1, &ids).await, [GRANTED; 3]);
    let keys = world.ledger.private_keys(collections::RECORDS);
    for key in keys.iter().filter(|key| key.starts_with("\0slot\0")) {
        let value = world.ledger.private_state(collections::RECORDS, key);
        let value: serde_json::Value = serde_json::from_slice(&value.unwrap()).unwrap();
        let rules = value["value"].as_array().unwrap();
        let gone = given.grant_id.to_string();
        assert!(rules.iter().all(|rule| rule["id"] != gone), "{key:?}");
    }
}

/// A read of one version and a denial of another in one block: the later of the two is invalid.
#[tokio::test]
async fn a_read_endorsed_before_a_denial_of_another_version_is_not_valid_after_it() {
    let (mut world, ids) = amended(2).await;
    world.give(Patient, permit(Grantee::Anyone)).await;
    let grant = world.grant_of(denial(named(Provider1), ids[0]));
    let tx = world.grant_access(Patient, &grant);
    let deny = world.simulate(Oracle1, tx).await;
    let tx = world.authorize_read(Provider1, ids[1], Purpose::Treat);
    let read = world.simulate(Oracle1, tx).await;
    assert_eq!(
        world.ledger.commit(&[deny, read]),
        [ValidationCode::Valid, ValidationCode::MvccReadConflict]
    );
}

/// A version and its denial in one block: a denial that did not see the version is invalid.
#[tokio::test]
async fn a_denial_endorsed_before_its_record_is_registered_is_not_valid_after_it() {
    let (mut world, ids) = amended(1).await;
    let tx = amendment(&mut world, 2, ids[0]);
    let register = world.simulate(Oracle1, tx).await;
    let later = world.record(2).record_id;
    let grant = world.grant_of(denial(named(Provider1), later));
    let tx = world.grant_access(Patient, &grant);
    let deny = world.simulate(Oracle1, tx).await;
    assert_eq!(
        world.ledger.commit(&[register, deny]),
        [ValidationCode::Valid, ValidationCode::MvccReadConflict]
    );
}

/// A block must not tell by the number of keys which version was read, or that there are others.
#[tokio::test]
async fn a_read_asks_for_as_many_keys_whatever_the_version() {
    let (mut world, ids) = amended(3).await;
    let mut counts = Vec::new();
    for id in ids {
        let tx = world.authorize_read(Provider1, id, Purpose::Treat);
        let result = world.simulate(Oracle1, tx).await;
        let keys = hashes(&result);
        counts.push((keys.keys_read.len(), keys.keys_written.len()));
    }
    assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
}
