use contract_interface::access::{GrantPeriod, ReadDecided, RuleRef};
use contract_interface::names::{events, transactions};
use contract_interface::{
    Decision, ErrorCode, Grant, Grantee, MspId, Purpose, ReadDecision, ReadEntry, ReadFilter,
    ReadPage, ReasonCode, RecordId, Role, Rule, Salt, Status,
};

use crate::testing::Who::*;
use crate::testing::*;

fn org(n: u8) -> MspId {
    format!("Org{n}MSP").parse().unwrap()
}

async fn all_reads(world: &mut World) -> Vec<ReadEntry> {
    let filter = ReadFilter {
        patient: Some(Patient.pseudonym()),
        ..ReadFilter::default()
    };
    let page: ReadPage = world
        .get(Oracle1, query(transactions::LIST_READS, &filter))
        .await;
    page.reads
}

#[tokio::test]
async fn a_patient_reads_own_records_on_own_request() {
    let (mut world, record) = World::with_record().await;
    let id = record.record_id;
    for (who, purpose, expected) in [
        (Patient, Purpose::Patrqt, ReasonCode::OwnRecord),
        (Patient, Purpose::Treat, ReasonCode::PurposeNotForPatients),
        (OtherPatient, Purpose::Patrqt, ReasonCode::RoleNotAllowed),
        (Oracle1, Purpose::Hoperat, ReasonCode::RoleNotAllowed),
        (Auditor1, Purpose::Hoperat, ReasonCode::RoleNotAllowed),
        (Provider1, Purpose::Treat, ReasonCode::NoGrant),
    ] {
        assert_eq!(
            world.read(who, id, purpose).await,
            expected,
            "{who:?} {purpose}"
        );
    }
    assert_eq!(
        all_reads(&mut world).await.len(),
        6,
        "denials are recorded too"
    );
}

#[tokio::test]
async fn a_permitted_read_is_recorded_with_grant_version_and_evidence() {
    let (mut world, record) = World::with_record().await;
    let grant = world.grant(Grantee::Participant(Provider2.id()));
    let tx = world.grant_access(Patient, &grant);
    world.ok(Oracle1, tx).await;
    let tx = world.authorize_read(Provider2, record.record_id, Purpose::Treat);
    let salt = Salt::from_bytes(world.last_random()).unwrap();
    let result = world.ok(Oracle2, tx).await;
    let decision: ReadDecision = serde_json::from_slice(&result.response.payload).unwrap();
    assert_eq!(decision.decision, Decision::Permit);
    assert_eq!(decision.read_id.to_string(), result.tx_id);
    assert_eq!(decision.reason(&salt), Some(ReasonCode::Granted));
    let event = result.event.unwrap();
    assert_eq!(event.name, events::READ_PERMITTED);
    assert_eq!(
        event.payload,
        json(&ReadDecided {
            read_id: decision.read_id
        })
    );

    let entry = all_reads(&mut world).await.remove(0);
    let jws = fabric_msp::jws::Jws::parse(&entry.request).unwrap();
    jws.verify(Provider2.identity().certificate()).unwrap();
    assert_eq!(
        entry,
        ReadEntry {
            read_id: decision.read_id,
            record_id: record.record_id,
            patient: Patient.pseudonym(),
            patient_msp: org(1),
            registrar: org(1),
            reader: Provider2.id(),
            reader_msp: org(2),
            oracle_msp: org(2),
            purpose: Purpose::Treat,
            decision: Decision::Permit,
            reason: ReasonCode::Granted,
            project: None,
            rule: Some(RuleRef::Grant {
                grant_id: grant.grant_id,
                version: 1,
            }),
            requested_at: world.time(0),
            tx_time: world.time(0),
            request: entry.request.clone(),
            salt,
        }
    );
}

#[tokio::test]
async fn every_condition_of_a_grant_denies_by_itself() {
    let (mut world, record) = World::with_record().await;
    let id = record.record_id;
    let good = world.grant(Grantee::Participant(Provider1.id()));
    let with = |change: &dyn Fn(&mut Grant)| {
        let mut grant = good.clone();
        change(&mut grant);
        grant
    };
    let role = Grantee::Role {
        msp_id: org(1),
        role: Role::Provider,
    };
    let period = GrantPeriod {
        from: Some(record.period.end),
        until: None,
    };
    let (soon, just_over) = (world.time(60), world.time(30));
    let cases = [
        (with(&|_| {}), ReasonCode::Granted),
        (
            with(&|g| g.rule.grantee = Grantee::Organization(org(1))),
            ReasonCode::Granted,
        ),
        (
            with(&|g| g.rule.grantee = role.clone()),
            ReasonCode::Granted,
        ),
        (
            with(&|g| g.rule.grantee = Grantee::Anyone),
            ReasonCode::Granted,
        ),
        (
            with(&|g| g.rule.types = vec!["8867-4".parse().unwrap()]),
            ReasonCode::Granted,
        ),
        (with(&|g| g.rule.records = vec![id]), ReasonCode::Granted),
        (
            with(&|g| g.rule.grantee = Grantee::Participant(Provider2.id())),
            ReasonCode::NoGrant,
        ),
        (
            with(&|g| g.rule.grantee = Grantee::Organization(org(2))),
            ReasonCode::NoGrant,
        ),
        (
            with(&|g| g.rule.types = vec!["8480-6".parse().unwrap()]),
            ReasonCode::NoGrant,
        ),
        (
            with(&|g| {
                g.rule.records = vec![id];
                g.rule.types = vec!["8480-6".parse().unwrap()];
            }),
            ReasonCode::TypeNotCovered,
        ),
        (
            with(&|g| g.rule.data_period = Some(period)),
            ReasonCode::PeriodNotCovered,
        ),
        (
            with(&|g| g.rule.purposes = vec![Purpose::Hresch]),
            ReasonCode::PurposeNotCovered,
        ),
        (
            with(&|g| g.rule.project = Some("study".parse().unwrap())),
            ReasonCode::PurposeNotCovered,
        ),
        (with(&|g| g.valid_from = soon), ReasonCode::GrantNotYetValid),
        (
            with(&|g| g.valid_until = just_over),
            ReasonCode::GrantExpired,
        ),
    ];
    for (grant, expected) in cases {
        let (mut world, _) = World::with_record().await;
        let tx = world.grant_access(Patient, &grant);
        world.ok(Oracle1, tx).await;
        let expires = expected == ReasonCode::GrantExpired;
        world.now += if expires { 30 } else { 0 };
        let reason = world.read(Provider1, id, Purpose::Treat).await;
        assert_eq!(reason, expected, "{grant:?}");
    }
}

#[tokio::test]
async fn a_reader_cannot_date_a_request_back_into_an_expired_grant() {
    let (mut world, record) = World::with_record().await;
    let mut grant = world.grant(Grantee::Participant(Provider1.id()));
    grant.valid_until = world.time(100);
    let tx = world.grant_access(Patient, &grant);
    world.ok(Oracle1, tx).await;
    let mut request = world.request(contract_interface::AuthorizeRead {
        record_id: record.record_id,
        purpose: Purpose::Treat,
        project: None,
    });
    request.iat = world.time(99);
    world.now += 150;
    let tx = world.signed(Provider1, &request);
    assert_eq!(world.decide(tx).await, ReasonCode::GrantExpired);
}

#[tokio::test]
async fn an_oracle_cannot_date_a_transaction_forward_into_a_later_grant() {
    let (mut world, record) = World::with_record().await;
    let mut grant = world.grant(Grantee::Participant(Provider1.id()));
    grant.valid_from = world.time(100);
    let tx = world.grant_access(Patient, &grant);
    world.ok(Oracle1, tx).await;
    let tx = world.authorize_read(Provider1, record.record_id, Purpose::Treat);
    world.now += 150;
    assert_eq!(world.decide(tx).await, ReasonCode::GrantNotYetValid);
}

#[tokio::test]
async fn revocation_works_at_once_and_beats_a_read_endorsed_before_it() {
    let (mut world, record) = World::with_record().await;
    let grant = world.grant(Grantee::Participant(Provider1.id()));
    let tx = world.grant_access(Patient, &grant);
    world.ok(Oracle1, tx).await;
    let read = world.authorize_read(Provider1, record.record_id, Purpose::Treat);
    let revoke = world.revoke_access(Patient, grant.grant_id);
    let read = world.simulate(Oracle1, read).await;
    let revoke = world.simulate(Oracle1, revoke).await;
    use fabric_shim::testing::ValidationCode::{MvccReadConflict, Valid};
    assert_eq!(
        world.ledger.commit(&[revoke, read]),
        [Valid, MvccReadConflict]
    );
    let reason = world
        .read(Provider1, record.record_id, Purpose::Treat)
        .await;
    assert_eq!(reason, ReasonCode::NoGrant);
    assert_eq!(all_reads(&mut world).await.remove(0).rule, None);
}

#[tokio::test]
async fn a_denial_beats_a_read_endorsed_before_it() {
    let (mut world, record) = World::with_record().await;
    world
        .give(Patient, Rule::permit(Grantee::Anyone, vec![Purpose::Treat]))
        .await;
    let read = world.authorize_read(Provider1, record.record_id, Purpose::Treat);
    let denial = world.grant_of(Rule::deny(Grantee::Participant(Provider1.id())));
    let deny = world.grant_access(Patient, &denial);
    let read = world.simulate(Oracle1, read).await;
    let deny = world.simulate(Oracle1, deny).await;
    use fabric_shim::testing::ValidationCode::{MvccReadConflict, Valid};
    // The read asked for the slot into which the denial comes, and found it empty.
    assert_eq!(
        world.ledger.commit(&[deny, read]),
        [Valid, MvccReadConflict]
    );
}

#[tokio::test]
async fn reads_of_different_records_and_readers_never_conflict() {
    let (mut world, record) = World::with_record().await;
    let grant = world.grant(Grantee::Participant(Provider1.id()));
    let tx = world.grant_access(Patient, &grant);
    world.ok(Oracle1, tx).await;
    let mut block = Vec::new();
    for who in [Provider1, Provider1, Provider2, Patient] {
        let tx = world.authorize_read(who, record.record_id, Purpose::Treat);
        block.push(world.simulate(Oracle1, tx).await);
    }
    let other_grant = world.grant(Grantee::Participant(Provider2.id()));
    let tx = world.grant_access(Patient, &other_grant);
    block.push(world.simulate(Oracle2, tx).await);
    let new_record = world.record(2);
    let tx = world.register_records(&[new_record]);
    block.push(world.simulate(Oracle1, tx).await);
    let codes = world.ledger.commit(&block);
    assert!(
        codes
            .iter()
            .all(|code| *code == fabric_shim::testing::ValidationCode::Valid),
        "{codes:?}"
    );
}

#[tokio::test]
async fn what_is_not_a_read_is_refused_and_not_recorded() {
    let (mut world, _) = World::with_record().await;
    let unknown = RecordId::from_bytes([9; 16]);
    let tx = world.authorize_read(Provider1, unknown, Purpose::Treat);
    world.refused(Oracle1, tx, ErrorCode::RecordNotFound).await;
    assert_eq!(all_reads(&mut world).await.len(), 0);
}

#[tokio::test]
async fn a_suspended_or_revoked_reader_is_denied_and_recorded() {
    let (mut world, record) = World::with_record().await;
    world
        .give(
            Patient,
            Rule::permit(Grantee::Participant(Provider1.id()), vec![Purpose::Treat]),
        )
        .await;
    for status in [Status::Suspended, Status::Revoked] {
        let mut registration = world.registration(Provider1, Role::Provider);
        registration.status = status;
        let tx = world.register_participant(registration);
        world.ok(Oracle1, tx).await;
        let reason = world
            .read(Provider1, record.record_id, Purpose::Treat)
            .await;
        assert_eq!(reason, ReasonCode::ReaderNotActive);
    }
    let reasons: Vec<_> = all_reads(&mut world)
        .await
        .iter()
        .map(|read| (read.decision, read.reader))
        .collect();
    assert_eq!(reasons, [(Decision::Deny, Provider1.id()); 2]);
}
