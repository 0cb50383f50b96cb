use contract_interface::access::{Considered, Explanation, RuleRef, Verdict};
use contract_interface::names::transactions;
use contract_interface::{
    Decision, ErrorCode, Grantee, Purpose, ReasonCode, RecordId, Role, Rule, UtcTime,
};
use fabric_shim::testing::Tx;

use crate::testing::Who::*;
use crate::testing::*;

fn explain(record: RecordId, reader: Who, purpose: Purpose, project: &str, at: UtcTime) -> Tx {
    query_text(transactions::EXPLAIN_READ, &record)
        .argument(reader.id().to_string())
        .argument(purpose.to_string())
        .argument(project)
        .argument(at.to_string())
}

#[tokio::test]
async fn every_rule_that_has_a_say_is_told_with_what_it_lacks() {
    let (mut world, record) = World::with_record().await;
    let id = record.record_id;
    let now = world.time(0);
    let named = Grantee::Participant(Provider1.id());
    let mut research = Rule::permit(Grantee::Anyone, vec![Purpose::Hresch]);
    research.project = Some("study".parse().unwrap());
    let research = world.give(Patient, research).await;
    let denial = world.give(Patient, Rule::deny(named.clone())).await;
    let other = Rule::permit(Grantee::Participant(Provider2.id()), vec![Purpose::Treat]);
    world.give(Patient, other).await;
    let policy = world.policy_of(Rule::permit(named, vec![Purpose::Hpaymt]));
    let tx = world.set_policy(Admin1, &policy);
    world.ok(Oracle1, tx).await;

    let tx = explain(id, Provider1, Purpose::Hresch, "study", now);
    let told: Explanation = world.get(Oracle2, tx).await;
    let grant = |grant_id| RuleRef::Grant {
        grant_id,
        version: 1,
    };
    assert_eq!(
        told.verdict,
        Verdict {
            reason: ReasonCode::GrantDenies,
            rule: Some(grant(denial.grant_id)),
        }
    );
    assert_eq!(told.registrar.as_str(), "Org1MSP");
    assert_eq!(told.patient_msp.as_str(), "Org1MSP");
    let considered = |rule, decision, misses| Considered {
        rule,
        decision,
        misses,
    };
    let mut expected = vec![
        considered(grant(research.grant_id), Decision::Permit, None),
        considered(grant(denial.grant_id), Decision::Deny, None),
    ];
    expected.sort_by_key(|rule| match &rule.rule {
        RuleRef::Grant { grant_id, .. } => *grant_id,
        _ => unreachable!("grants only"),
    });
    expected.insert(
        0,
        considered(
            RuleRef::Policy {
                policy_id: policy.policy_id,
                msp_id: "Org1MSP".parse().unwrap(),
                version: 1,
            },
            Decision::Permit,
            Some(ReasonCode::PurposeNotCovered),
        ),
    );
    assert_eq!(told.considered, expected);
}

#[tokio::test]
async fn what_is_explained_is_what_is_decided() {
    let (mut world, record) = World::with_record().await;
    let id = record.record_id;
    let mut short = world.grant(Grantee::Participant(Provider1.id()));
    short.valid_until = world.time(60);
    let tx = world.grant_access(Patient, &short);
    world.ok(Oracle1, tx).await;
    world
        .give(Patient, Rule::deny(Grantee::Participant(Provider3.id())))
        .await;
    for later in [0, 60] {
        world.now += later;
        for reader in [
            Provider1,
            Provider2,
            Provider3,
            Patient,
            OtherPatient,
            Auditor1,
        ] {
            for purpose in Purpose::ALL {
                let tx = explain(id, reader, purpose, "", world.time(0));
                let told: Explanation = world.get(Oracle1, tx).await;
                let decided = world.read(reader, id, purpose).await;
                assert_eq!(told.verdict.reason, decided, "{reader:?} {purpose} {later}");
            }
        }
    }
}

#[tokio::test]
async fn reader_and_patient_ask_and_nobody_else() {
    let (mut world, record) = World::with_record().await;
    let now = world.time(0);
    let tx = explain(record.record_id, Provider1, Purpose::Treat, "", now);
    for who in [Patient, Provider1] {
        let told: Explanation = world.get(Oracle1, for_caller(tx.clone(), who)).await;
        assert_eq!(told.verdict.reason, ReasonCode::NoGrant);
    }
    for who in [OtherPatient, Guardian, Provider2, Auditor1, Admin1] {
        world
            .refused(Oracle1, for_caller(tx.clone(), who), ErrorCode::Forbidden)
            .await;
    }
    world
        .refused(Nobody, tx, ErrorCode::UnknownParticipant)
        .await;
    let unknown = RecordId::from_bytes([0; 16]);
    for (tx, code) in [
        (
            explain(unknown, Provider1, Purpose::Treat, "", now),
            ErrorCode::RecordNotFound,
        ),
        (
            explain(record.record_id, Nobody, Purpose::Treat, "", now),
            ErrorCode::ParticipantNotFound,
        ),
        (
            explain(record.record_id, Provider1, Purpose::Treat, "a b", now),
            ErrorCode::InvalidArgument,
        ),
    ] {
        world.refused(Oracle1, tx, code).await;
    }
}

#[tokio::test]
async fn a_suspended_reader_is_told_so() {
    let (mut world, record) = World::with_record().await;
    let mut registration = world.registration(Provider1, Role::Provider);
    registration.status = contract_interface::Status::Suspended;
    let tx = world.register_participant(registration);
    world.ok(Oracle1, tx).await;
    let now = world.time(0);
    let tx = explain(record.record_id, Provider1, Purpose::Treat, "", now);
    let told: Explanation = world.get(Oracle1, tx).await;
    assert_eq!(told.verdict.reason, ReasonCode::ReaderNotActive);
}
