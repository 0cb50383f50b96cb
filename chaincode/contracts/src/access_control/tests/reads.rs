use contract_interface::access::{GrantPeriod, ReadDecided};
use contract_interface::names::{events, transactions, transient};
use contract_interface::{
    Decision, ErrorCode, Grant, Grantee, MspId, Purpose, ReadDecision, ReadEntry, ReadFilter,
    ReadPage, ReasonCode, RecordId, Role, Salt, Status,
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
            world.read(who, id, purpose, None).await,
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
    let tx = world.authorize_read(
        Provider2,
        record.record_id,
        Purpose::Treat,
        Some(grant.grant_id),
    );
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
            reader: Provider2.id(),
            reader_msp: org(2),
            oracle_msp: org(2),
            purpose: Purpose::Treat,
            decision: Decision::Permit,
            reason: ReasonCode::Granted,
            grant_id: Some(grant.grant_id),
            grant_version: Some(1),
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
    let good = world.grant(Grantee::Participant(Provider1.id()));
    let with = |change: &dyn Fn(&mut Grant)| {
        let mut grant = good.clone();
        change(&mut grant);
        grant
    };
    let (soon, just_over) = (world.time(60), world.time(30));
    let cases = [
        (with(&|_| {}), ReasonCode::Granted),
        (
            with(&|g| g.grantee = Grantee::Organization(org(1))),
            ReasonCode::Granted,
        ),
        (
            with(&|g| {
                g.grantee = Grantee::Role {
                    msp_id: org(1),
                    role: Role::Provider,
                }
            }),
            ReasonCode::Granted,
        ),
        (
            with(&|g| g.types = vec!["8867-4".parse().unwrap()]),
            ReasonCode::Granted,
        ),
        (
            with(&|g| g.grantee = Grantee::Participant(Provider2.id())),
            ReasonCode::GranteeMismatch,
        ),
        (
            with(&|g| g.grantee = Grantee::Organization(org(2))),
            ReasonCode::GranteeMismatch,
        ),
        (
            with(&|g| g.types = vec!["8480-6".parse().unwrap()]),
            ReasonCode::TypeNotCovered,
        ),
        (
            with(&|g| {
                let from = Some(record.period.end);
                g.data_period = Some(GrantPeriod { from, until: None });
            }),
            ReasonCode::PeriodNotCovered,
        ),
        (
            with(&|g| g.purposes = vec![Purpose::Hresch]),
            ReasonCode::PurposeNotCovered,
        ),
        (with(&|g| g.valid_from = soon), ReasonCode::GrantNotYetValid),
        (
            with(&|g| g.valid_until = just_over),
            ReasonCode::GrantExpired,
        ),
    ];
    for (mut grant, expected) in cases {
        grant.grant_id = world.grant(grant.grantee.clone()).grant_id;
        let tx = world.grant_access(Patient, &grant);
        world.ok(Oracle1, tx).await;
        let expires = expected == ReasonCode::GrantExpired;
        world.now += if expires { 30 } else { 0 };
        let reason = world
            .read(
                Provider1,
                record.record_id,
                Purpose::Treat,
                Some(grant.grant_id),
            )
            .await;
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
    let body = contract_interface::AuthorizeRead {
        record_id: record.record_id,
        purpose: Purpose::Treat,
    };
    let mut request = world.request(body);
    request.iat = world.time(99);
    world.now += 150;
    let tx = world
        .signed(Provider1, &request)
        .transient(transient::GRANT_HINT, grant.grant_id.to_string());
    let salt = Salt::from_bytes(world.last_random()).unwrap();
    let decision: ReadDecision = world.get(Oracle1, tx).await;
    assert_eq!(decision.reason(&salt), Some(ReasonCode::GrantExpired));
}

#[tokio::test]
async fn revocation_works_at_once_and_beats_a_read_endorsed_before_it() {
    let (mut world, record) = World::with_record().await;
    let grant = world.grant(Grantee::Participant(Provider1.id()));
    let tx = world.grant_access(Patient, &grant);
    world.ok(Oracle1, tx).await;
    let hint = Some(grant.grant_id);
    let read = world.authorize_read(Provider1, record.record_id, Purpose::Treat, hint);
    let revoke = world.revoke_access(Patient, grant.grant_id);
    let read = world.simulate(Oracle1, read).await;
    let revoke = world.simulate(Oracle1, revoke).await;
    use fabric_shim::testing::ValidationCode::{MvccReadConflict, Valid};
    assert_eq!(
        world.ledger.commit(&[revoke, read]),
        [Valid, MvccReadConflict]
    );
    let reason = world
        .read(Provider1, record.record_id, Purpose::Treat, hint)
        .await;
    assert_eq!(reason, ReasonCode::GrantRevoked);
    let entry = all_reads(&mut world).await.remove(0);
    assert_eq!(entry.grant_version, Some(2));
}

#[tokio::test]
async fn reads_of_different_records_and_readers_never_conflict() {
    let (mut world, record) = World::with_record().await;
    let grant = world.grant(Grantee::Participant(Provider1.id()));
    let tx = world.grant_access(Patient, &grant);
    world.ok(Oracle1, tx).await;
    let mut block = Vec::new();
    for who in [Provider1, Provider1, Provider2, Patient] {
        let tx = world.authorize_read(who, record.record_id, Purpose::Treat, Some(grant.grant_id));
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
    let (mut world, record) = World::with_record().await;
    let unknown = RecordId::from_bytes([9; 16]);
    let tx = world.authorize_read(Provider1, unknown, Purpose::Treat, None);
    world.refused(Oracle1, tx, ErrorCode::RecordNotFound).await;
    for hint in ["x", "00112233445566778899AABBCCDDEEFF"] {
        let tx = world
            .authorize_read(Provider1, record.record_id, Purpose::Treat, None)
            .transient(transient::GRANT_HINT, hint);
        world.refused(Oracle1, tx, ErrorCode::InvalidArgument).await;
    }
    let tx = world
        .authorize_read(Provider1, record.record_id, Purpose::Treat, None)
        .transient(transient::GRANT_HINT, "");
    world.ok(Oracle1, tx).await;
    assert_eq!(all_reads(&mut world).await.len(), 1);
}

#[tokio::test]
async fn a_suspended_reader_is_denied() {
    let (mut world, record) = World::with_record().await;
    let grant = world.grant(Grantee::Participant(Provider1.id()));
    let tx = world.grant_access(Patient, &grant);
    world.ok(Oracle1, tx).await;
    let mut registration = world.registration(Provider1, Role::Provider);
    registration.status = Status::Suspended;
    let tx = world.register_participant(registration);
    world.ok(Oracle1, tx).await;
    let hint = Some(grant.grant_id);
    let reason = world
        .read(Provider1, record.record_id, Purpose::Treat, hint)
        .await;
    assert_eq!(reason, ReasonCode::ReaderNotActive);
}
