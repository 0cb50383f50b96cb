//! Levels, denials, limits and slots, through transactions.

use contract_interface::access::RuleRef;
use contract_interface::limits::RULES_PER_SLOT_MAX;
use contract_interface::names::{collections, transactions};
use contract_interface::{
    AuthorizeRead, Confidentiality, ErrorCode, Grantee, MspId, Purpose, ReadEntry, ReadFilter,
    ReadPage, ReasonCode, RecordId, Rule, WithdrawPolicy,
};

use crate::testing::Who::*;
use crate::testing::*;

fn org(n: u8) -> MspId {
    format!("Org{n}MSP").parse().unwrap()
}

fn named(who: Who) -> Grantee {
    Grantee::Participant(who.id())
}

fn treat(grantee: Grantee) -> Rule {
    Rule::permit(grantee, vec![Purpose::Treat])
}

async fn last_read(world: &mut World) -> ReadEntry {
    let filter = ReadFilter {
        patient: Some(Patient.pseudonym()),
        ..ReadFilter::default()
    };
    let page: ReadPage = world
        .get(Oracle1, query(transactions::LIST_READS, &filter))
        .await;
    page.reads.into_iter().next_back().unwrap()
}

/// Whether each of the readers may treat with the record.
async fn treats<const N: usize>(
    world: &mut World,
    record: RecordId,
    readers: [Who; N],
) -> [ReasonCode; N] {
    let mut reasons = [ReasonCode::NoGrant; N];
    for (reason, who) in reasons.iter_mut().zip(readers) {
        world.now += 1;
        *reason = world.read(who, record, Purpose::Treat).await;
    }
    reasons
}

#[tokio::test]
async fn a_denial_wins_over_every_permit_of_its_level() {
    let (mut world, record) = World::with_record().await;
    let id = record.record_id;
    world.give(Patient, treat(Grantee::Anyone)).await;
    world.give(Patient, treat(named(Provider1))).await;
    let readers = [Provider1, Provider3, Provider2];
    assert_eq!(
        treats(&mut world, id, readers).await,
        [ReasonCode::Granted; 3]
    );
    let denial = world
        .give(Patient, Rule::deny(Grantee::Organization(org(1))))
        .await;
    assert_eq!(
        treats(&mut world, id, readers).await,
        [
            ReasonCode::GrantDenies,
            ReasonCode::GrantDenies,
            ReasonCode::Granted
        ]
    );
    let tx = world.revoke_access(Patient, denial.grant_id);
    world.ok(Oracle1, tx).await;
    let mut narrow = Rule::deny(named(Provider3));
    narrow.types = vec![record.record_type.clone()];
    world.give(Patient, narrow).await;
    let mut other = Rule::deny(named(Provider1));
    other.types = vec!["8480-6".parse().unwrap()];
    world.give(Patient, other).await;
    assert_eq!(
        treats(&mut world, id, readers).await,
        [
            ReasonCode::Granted,
            ReasonCode::GrantDenies,
            ReasonCode::Granted
        ]
    );
}

#[tokio::test]
async fn policies_stand_above_grants_for_what_their_organisation_registered() {
    let (mut world, record) = World::with_record().await;
    let id = record.record_id;
    let readers = [Provider1, Provider2];
    world.give(Patient, treat(named(Provider2))).await;

    let permit = world.policy_of(treat(Grantee::Organization(org(1))));
    let tx = world.set_policy(Admin1, &permit);
    world.ok(Oracle1, tx).await;
    assert_eq!(
        treats(&mut world, id, readers).await,
        [ReasonCode::PolicyPermits, ReasonCode::Granted]
    );
    let expected = RuleRef::Policy {
        policy_id: permit.policy_id,
        msp_id: org(1),
        version: 1,
    };
    world.now += 1;
    world.read(Provider1, id, Purpose::Treat).await;
    assert_eq!(last_read(&mut world).await.rule, Some(expected));

    // Above the patient's denial too: the organisation owes it by law.
    world.give(Patient, Rule::deny(named(Provider1))).await;
    let deny = world.policy_of(Rule::deny(named(Provider2)));
    let tx = world.set_policy(Admin1, &deny);
    world.ok(Oracle1, tx).await;
    // Of an organisation that did not register the record.
    let foreign = world.policy_of(Rule::deny(Grantee::Anyone));
    let tx = world.set_policy(Admin2, &foreign);
    world.ok(Oracle2, tx).await;
    assert_eq!(
        treats(&mut world, id, readers).await,
        [ReasonCode::PolicyPermits, ReasonCode::PolicyDenies]
    );

    for policy in [&permit, &deny] {
        let request = world.request(WithdrawPolicy {
            policy_id: policy.policy_id,
        });
        let tx = world.signed(Admin1, &request);
        world.ok(Oracle1, tx).await;
    }
    assert_eq!(
        treats(&mut world, id, readers).await,
        [ReasonCode::GrantDenies, ReasonCode::Granted]
    );
}

#[tokio::test]
async fn a_limited_grant_serves_as_often_as_it_says() {
    let (mut world, record) = World::with_record().await;
    let id = record.record_id;
    let mut grant = world.grant(named(Provider1));
    grant.max_reads = Some(2);
    let tx = world.grant_access(Patient, &grant);
    world.ok(Oracle1, tx).await;
    assert_eq!(
        world.read(Provider1, id, Purpose::Hresch).await,
        ReasonCode::PurposeNotCovered,
        "a denied read uses nothing up"
    );
    assert_eq!(
        treats(&mut world, id, [Provider1; 4]).await,
        [
            ReasonCode::Granted,
            ReasonCode::Granted,
            ReasonCode::ReadsExhausted,
            ReasonCode::ReadsExhausted
        ]
    );
}

#[tokio::test]
async fn the_last_read_of_a_limited_grant_is_given_once_inside_one_block() {
    let (mut world, record) = World::with_record().await;
    let mut grant = world.grant(named(Provider1));
    grant.max_reads = Some(1);
    let tx = world.grant_access(Patient, &grant);
    world.ok(Oracle1, tx).await;
    let mut block = vec![];
    for _ in 0..2 {
        let tx = world.authorize_read(Provider1, record.record_id, Purpose::Treat);
        block.push(world.simulate(Oracle1, tx).await);
    }
    use fabric_shim::testing::ValidationCode::{MvccReadConflict, Valid};
    assert_eq!(world.ledger.commit(&block), [Valid, MvccReadConflict]);
}

#[tokio::test]
async fn labels_authors_contexts_and_projects_are_asked_for() {
    let mut world = World::populated().await;
    let mut record = world.record(1);
    record.confidentiality = Confidentiality::V;
    record.sensitivity = vec!["PSY".parse().unwrap()];
    record.context = Some("visit-1".parse().unwrap());
    let tx = world.register_records(std::slice::from_ref(&record));
    world.ok(Oracle1, tx).await;
    let id = record.record_id;

    let mut rule = treat(named(Provider1));
    rule.confidentiality = Some(Confidentiality::R);
    world.give(Patient, rule).await;
    let mut rule = treat(named(Provider2));
    rule.contexts = vec!["visit-2".parse().unwrap()];
    world.give(Patient, rule).await;
    let mut rule = treat(named(Provider3));
    rule.contexts = vec!["visit-1".parse().unwrap()];
    rule.project = Some("study".parse().unwrap());
    world.give(Patient, rule).await;
    assert_eq!(
        treats(&mut world, id, [Provider1, Provider2, Provider3]).await,
        [
            ReasonCode::LabelNotCovered,
            ReasonCode::TypeNotCovered,
            ReasonCode::PurposeNotCovered
        ]
    );
    let request = world.request(AuthorizeRead {
        record_id: id,
        purpose: Purpose::Treat,
        project: Some("study".parse().unwrap()),
    });
    let tx = world.signed(Provider3, &request);
    assert_eq!(world.decide(tx).await, ReasonCode::Granted);
}

#[tokio::test]
async fn a_full_slot_takes_no_rule_until_one_leaves() {
    let mut world = World::populated().await;
    let mut last = None;
    for _ in 0..RULES_PER_SLOT_MAX {
        last = Some(world.give(Patient, treat(named(Provider1))).await);
    }
    let more = world.grant(named(Provider1));
    let tx = world.grant_access(Patient, &more);
    world.refused(Oracle1, tx, ErrorCode::TooManyRules).await;
    // Other grantees, types and patients have slots of their own.
    world.give(Patient, treat(named(Provider2))).await;
    let mut typed = treat(named(Provider1));
    typed.types = vec!["8867-4".parse().unwrap()];
    world.give(Patient, typed).await;
    world.give(OtherPatient, treat(named(Provider1))).await;

    let tx = world.revoke_access(Patient, last.unwrap().grant_id);
    world.ok(Oracle1, tx).await;
    let tx = world.grant_access(Patient, &more);
    world.ok(Oracle1, tx).await;

    // All have ended, and so leave when the next one comes.
    world.now += 3600 + 600;
    let slots = |world: &World| {
        let keys = world.ledger.private_keys(collections::RECORDS);
        let slots = keys.iter().filter(|key| key.starts_with("\0slot\0"));
        let lengths = slots.map(|key| {
            let value = world.ledger.private_state(collections::RECORDS, key);
            let value: serde_json::Value = serde_json::from_slice(&value.unwrap()).unwrap();
            value["value"].as_array().unwrap().len()
        });
        lengths.max().unwrap()
    };
    assert_eq!(slots(&world), RULES_PER_SLOT_MAX);
    world.give(Patient, treat(named(Provider1))).await;
    assert_eq!(slots(&world), 1);
}

#[tokio::test]
async fn a_rule_that_names_records_is_found_by_each_of_them() {
    let mut world = World::populated().await;
    let records: Vec<_> = (1..=3).map(|n| world.record(n)).collect();
    let tx = world.register_records(&records);
    world.ok(Oracle1, tx).await;
    let mut rule = treat(named(Provider1));
    rule.records = vec![records[0].record_id, records[2].record_id];
    let grant = world.give(Patient, rule).await;
    let reasons = async |world: &mut World| {
        let mut reasons = vec![];
        for record in &records {
            let id = record.record_id;
            reasons.push(world.read(Provider1, id, Purpose::Treat).await);
        }
        reasons
    };
    let (yes, no) = (ReasonCode::Granted, ReasonCode::NoGrant);
    assert_eq!(reasons(&mut world).await, [yes, no, yes]);
    let tx = world.revoke_access(Patient, grant.grant_id);
    world.ok(Oracle1, tx).await;
    assert_eq!(reasons(&mut world).await, [no, no, no]);
}
