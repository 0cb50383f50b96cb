use contract_interface::names::{transactions, transient};
use contract_interface::{
    ErrorCode, Jwk, MspId, PageRequest, Participant, ParticipantFilter, ParticipantPage,
    RegistrationOutcome, Role, Status,
};
use fabric_shim::testing::Tx;

use crate::testing::Who::*;
use crate::testing::*;

const GET: &str = transactions::GET_PARTICIPANT;
const GET_BY_THUMBPRINT: &str = transactions::GET_PARTICIPANT_BY_THUMBPRINT;
const LIST: &str = transactions::LIST_PARTICIPANTS;

fn key() -> Jwk {
    let mut modulus = "_".repeat(512);
    modulus.replace_range(511.., "9");
    Jwk::rsa(&modulus, "AQAB").unwrap()
}

#[tokio::test]
async fn nothing_works_before_the_first_registration() {
    let mut world = World::empty();
    let device = world.device();
    let tx = world.register_device(&device);
    world.refused(Oracle1, tx, ErrorCode::NotInitialized).await;
    let record = world.record(1);
    let tx = world.register_records(std::slice::from_ref(&record));
    world.refused(Oracle1, tx, ErrorCode::NotInitialized).await;
    let tx = query_text(transactions::GET_RECORD, &record.record_id);
    world.refused(Oracle1, tx, ErrorCode::NotInitialized).await;
}

#[tokio::test]
async fn only_whom_a_ca_attests_as_oracle_or_admin_makes_the_first_registration() {
    for (who, good) in [
        (Oracle1, true),
        (Admin1, true),
        (Auditor1, false),
        (Patient, false),
        (Provider1, false),
        (Nobody, false),
    ] {
        let mut world = World::empty();
        let registration = world.registration(Oracle1, Role::Oracle);
        let tx = world.register_participant(registration);
        if good {
            let outcome: RegistrationOutcome = world.get(who, tx).await;
            assert_eq!(outcome, RegistrationOutcome::Registered);
        } else {
            world.refused(who, tx, ErrorCode::Forbidden).await;
        }
    }
}

#[tokio::test]
async fn two_first_registrations_in_one_block_leave_one_blinding_key() {
    let mut world = World::empty();
    let first = world.registration(Oracle1, Role::Oracle);
    let first = world.register_participant(first);
    let second = world.registration(Oracle2, Role::Oracle);
    let second = world.register_participant(second);
    let results = [
        world.simulate(Oracle1, first).await,
        world.simulate(Oracle2, second).await,
    ];
    use fabric_shim::testing::ValidationCode::{MvccReadConflict, Valid};
    assert_eq!(world.ledger.commit(&results), [Valid, MvccReadConflict]);
}

#[tokio::test]
async fn registering_again_changes_nothing_and_renewal_changes_the_certificate() {
    let mut world = World::populated().await;
    let mut registration = world.registration(Provider1, Role::Provider);
    let tx = world.register_participant(registration.clone());
    let again = world.ok(Oracle1, tx).await;
    assert_eq!(again.response.payload, br#""unchanged""#);
    assert!(again.writes.is_empty() && again.private_writes.is_empty());

    registration.certificate = Provider1Renewed.pem();
    registration.encryption_key = Some(key());
    registration.key_proof = Some(Provider1Renewed.proof(&key()));
    let tx = world.register_participant(registration);
    let outcome: RegistrationOutcome = world.get(Admin1, tx).await;
    assert_eq!(outcome, RegistrationOutcome::Updated);
    let tx = query_text(GET_BY_THUMBPRINT, &Provider1Renewed.thumbprint());
    let found: Participant = world.get(Oracle2, tx).await;
    assert_eq!(found.participant_id, Provider1.id());
    assert_eq!(found.version, 2);
    assert_eq!(found.encryption_key, Some(key()));
    let tx = query_text(GET_BY_THUMBPRINT, &Provider1.thumbprint());
    world
        .refused(Oracle2, tx, ErrorCode::ParticipantNotFound)
        .await;
}

#[tokio::test]
async fn a_registration_that_belongs_to_someone_else_is_refused() {
    let mut world = World::populated().await;
    let conflict = ErrorCode::ParticipantConflict;
    let mine = world.registration(Provider1, Role::Provider);
    let mut taken_over = mine.clone();
    taken_over.certificate = Provider2.pem();
    let tx = world.register_participant(taken_over);
    world.refused(Oracle2, tx, conflict).await;

    let mut other_role = mine.clone();
    other_role.role = Role::Auditor;
    other_role.certificate = Nobody.pem();
    let tx = world.register_participant(other_role);
    world.refused(Oracle1, tx, conflict).await;

    let mut other_id = mine.clone();
    other_id.participant_id = Nobody.id();
    let tx = world.register_participant(other_id);
    world.refused(Oracle1, tx, conflict).await;

    let mut pseudonym_taken = world.registration(Nobody, Role::Provider);
    pseudonym_taken.participant_id = Patient.id();
    let tx = world.register_participant(pseudonym_taken);
    world.refused(Oracle1, tx, conflict).await;

    let mut revoked = mine;
    revoked.status = Status::Revoked;
    let tx = world.register_participant(revoked.clone());
    world.ok(Oracle1, tx).await;
    revoked.status = Status::Active;
    let tx = world.register_participant(revoked);
    world.refused(Oracle1, tx, conflict).await;
}

#[tokio::test]
async fn creators_without_a_role_are_refused() {
    let mut world = World::populated().await;
    for who in [Auditor1, Patient, Provider1, Nobody, PlainOracle] {
        let registration = world.registration(Nobody, Role::Provider);
        let tx = world.register_participant(registration);
        world.refused(who, tx, ErrorCode::Forbidden).await;
    }
}

#[tokio::test]
async fn only_people_of_the_creators_own_authority_are_registered() {
    let mut world = World::populated().await;
    let foreign = ErrorCode::CertificateForeign;
    // Another organisation's person, with either authority.
    let registration = world.registration(Nobody, Role::Provider);
    let tx = world.register_participant(registration);
    world.refused(Oracle2, tx.clone(), foreign).await;
    let with = |issuer: String| tx.clone().transient(transient::ISSUER, issuer);
    let theirs = with(Oracle2.issuer_pem().to_owned());
    world.refused(Oracle2, theirs.clone(), foreign).await;
    world.refused(Oracle1, theirs, foreign).await;

    let invalid = ErrorCode::InvalidArgument;
    for issuer in [String::new(), "PEM".to_owned(), Admin1.pem()] {
        world.refused(Oracle1, with(issuer), invalid).await;
    }
    world.ok(Oracle1, tx).await;

    // So for a renewal.
    let mut renewal = world.registration(Provider1, Role::Provider);
    renewal.certificate = Provider2.pem();
    let tx = world.register_participant(renewal);
    world.refused(Oracle1, tx, foreign).await;
}

#[tokio::test]
async fn a_registered_oracle_needs_no_attribute() {
    let mut world = World::populated().await;
    let mut registration = world.registration(PlainOracle, Role::Oracle);
    let tx = world.register_participant(registration.clone());
    world.ok(Admin1, tx).await;
    let nobody = world.registration(Nobody, Role::Provider);
    let tx = world.register_participant(nobody.clone());
    world.ok(PlainOracle, tx).await;

    registration.status = Status::Suspended;
    let tx = world.register_participant(registration);
    world.ok(Admin1, tx).await;
    let tx = world.register_participant(nobody);
    world.refused(PlainOracle, tx, ErrorCode::Forbidden).await;
}

#[tokio::test]
async fn malformed_registrations_are_refused_with_a_reason() {
    let mut world = World::populated().await;
    let invalid = ErrorCode::InvalidArgument;
    let name = transactions::REGISTER_PARTICIPANT;
    let good = world.registration(Nobody, Role::Provider);
    let text = String::from_utf8(json(&good)).unwrap();

    let tx = world.salted(name);
    world.refused(Oracle1, tx, invalid).await;
    for (from, to) in [
        (r#""role":"provider""#, r#""role":"doctor""#),
        (r#""role":"provider""#, r#""name":"Ada","role":"provider""#),
        (
            r#""role":"provider""#,
            r#""role":"provider","role":"patient""#,
        ),
        (
            r#""role":"provider""#,
            r#""encryption_key":{"kty":"RSA","n":"AQAB","e":"AQAB"},"role":"provider""#,
        ),
        ("-----BEGIN CERTIFICATE-----", "-----BEGIN NOTHING-----"),
        ("{", "["),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text);
        let tx = world
            .salted(name)
            .transient(transient::PARTICIPANT, changed.clone());
        let message = world.refused(Oracle1, tx, invalid).await;
        assert!(
            !message.contains("Ada") && !message.contains("doctor"),
            "{message}"
        );
    }

    let tx = Tx::submit(name)
        .transient(transient::PARTICIPANT, json(&good))
        .transient(transient::ISSUER, Nobody.issuer_pem());
    world.refused(Oracle1, tx.clone(), invalid).await;
    for salt in [vec![1; 31], vec![1; 33], vec![0; 32], vec![7; 32]] {
        world
            .refused(
                Oracle1,
                tx.clone().transient(transient::SALT, salt),
                invalid,
            )
            .await;
    }

    let mut attested = world.registration(Auditor1, Role::Admin);
    let tx = world.register_participant(attested.clone());
    let message = world.refused(Oracle1, tx, invalid).await;
    assert!(message.contains("salus.role"), "{message}");
    attested.certificate = format!("{}{}", " ".repeat(20_000), attested.certificate);
    let tx = world.register_participant(attested);
    world.refused(Oracle1, tx, ErrorCode::LimitExceeded).await;
}

#[tokio::test]
async fn patients_are_seen_by_those_who_need_to() {
    let mut world = World::populated().await;
    let tx = query_text(GET, &Patient.id());
    for who in [Oracle1, Oracle2, Auditor1, Admin1, Patient] {
        let found: Participant = world.get(who, tx.clone()).await;
        assert_eq!(
            (found.participant_id, found.salt),
            (Patient.id(), None),
            "{who:?}"
        );
    }
    for who in [Auditor2, OtherPatient] {
        world
            .refused(who, tx.clone(), ErrorCode::ParticipantNotFound)
            .await;
        let asked = for_caller(tx.clone(), who);
        world
            .refused(Oracle1, asked, ErrorCode::ParticipantNotFound)
            .await;
    }
    // Who knows the pseudonym and treats may seal for the patient, but sees no certificate, and
    // does not get from a certificate to the pseudonym.
    let asked = for_caller(tx.clone(), Provider2);
    let found: Participant = world.get(Oracle1, asked).await;
    assert_eq!(found.msp_id.as_str(), "Org1MSP");
    assert_eq!(found.certificate, "");
    let by_thumbprint = query_text(GET_BY_THUMBPRINT, &Patient.thumbprint());
    let asked = for_caller(by_thumbprint, Provider2);
    world
        .refused(Oracle1, asked, ErrorCode::ParticipantNotFound)
        .await;
    world
        .refused(Nobody, tx, ErrorCode::UnknownParticipant)
        .await;

    let tx = query_text(GET, &Provider2.id());
    for who in [Oracle1, Patient, Provider1, Auditor1] {
        let found: Participant = world.get(who, tx.clone()).await;
        assert_eq!(found.participant_id, Provider2.id());
    }
    world
        .refused(Oracle1, query_text(GET, &"x"), ErrorCode::InvalidArgument)
        .await;
    world
        .refused(
            Oracle1,
            query_text(GET, &Nobody.id()),
            ErrorCode::ParticipantNotFound,
        )
        .await;
}

async fn listed(world: &mut World, who: Who, mut filter: ParticipantFilter) -> Vec<Who> {
    let mut ids = Vec::new();
    loop {
        let page: ParticipantPage = world.get(who, query(LIST, &filter)).await;
        ids.extend(page.participants.iter().map(|participant| {
            assert_eq!(participant.salt, None);
            [
                Oracle1,
                Oracle2,
                Auditor1,
                Auditor2,
                Patient,
                OtherPatient,
                Provider1,
                Provider2,
                Guardian,
                Provider3,
                Admin1,
                Admin2,
            ]
            .into_iter()
            .find(|who| who.id() == participant.participant_id)
            .unwrap()
        }));
        match page.next_page_token {
            Some(token) => filter.page.page_token = Some(token),
            None => break,
        }
    }
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn participants_are_listed_by_role_organization_and_page() {
    let mut world = World::populated().await;
    for page_size in [1, 2, 200] {
        let page = PageRequest {
            page_size: Some(page_size),
            page_token: None,
        };
        let filter = |role, msp: Option<&str>| ParticipantFilter {
            role,
            msp_id: msp.map(|msp| msp.parse::<MspId>().unwrap()),
            page: page.clone(),
        };
        let all = filter(None, None);
        let everyone = [
            Oracle1, Oracle2, Admin1, Auditor1, Auditor2, Provider1, Provider2, Provider3, Admin2,
        ];
        assert_eq!(listed(&mut world, Provider1, all).await, everyone);
        let providers = filter(Some(Role::Provider), Some("Org2MSP"));
        assert_eq!(listed(&mut world, Patient, providers).await, [Provider2]);
        let patients = filter(Some(Role::Patient), None);
        assert_eq!(
            listed(&mut world, Oracle1, patients.clone()).await,
            [Patient, OtherPatient, Guardian]
        );
        assert_eq!(listed(&mut world, Oracle2, patients.clone()).await, []);
        let tx = query(LIST, &patients);
        world
            .refused(Provider1, tx.clone(), ErrorCode::Forbidden)
            .await;
        world
            .refused(Oracle1, for_caller(tx, Patient), ErrorCode::Forbidden)
            .await;
        let foreign = query(LIST, &filter(Some(Role::Patient), Some("Org1MSP")));
        world.refused(Oracle2, foreign, ErrorCode::Forbidden).await;
    }
    for size in [0, 201] {
        let page = PageRequest {
            page_size: Some(size),
            page_token: None,
        };
        let tx = query(
            LIST,
            &ParticipantFilter {
                page,
                ..ParticipantFilter::default()
            },
        );
        world.refused(Oracle1, tx, ErrorCode::InvalidArgument).await;
    }
}
