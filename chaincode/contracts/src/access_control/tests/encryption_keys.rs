use contract_interface::names::{collections, transactions};
use contract_interface::{
    ErrorCode, Jwk, Participant, ParticipantFilter, ParticipantPage, RegistrationOutcome, Role,
    RotateKey, Status,
};
use fabric_shim::testing::{Tx, TxResult};

use crate::testing::Who::*;
use crate::testing::*;

fn rotate(world: &mut World, signer: Who, key: &Jwk) -> Tx {
    let request = world.request(RotateKey {
        encryption_key: key.clone(),
        key_proof: signer.proof(key),
    });
    world.signed(signer, &request)
}

fn outcome(result: &TxResult) -> RegistrationOutcome {
    serde_json::from_slice(&result.response.payload).unwrap()
}

async fn participant(world: &mut World, who: Who) -> Participant {
    let tx = query_text(transactions::GET_PARTICIPANT, &who.id());
    world.get(Oracle1, tx).await
}

#[tokio::test]
async fn a_participant_replaces_its_own_key() {
    let mut world = World::populated().await;
    for (who, version) in [(Patient, 2), (Provider2, 2), (Oracle1, 2), (Auditor1, 2)] {
        let tx = rotate(&mut world, who, &who.key());
        let result = world.ok(Oracle1, tx).await;
        assert_eq!(outcome(&result), RegistrationOutcome::Updated);
        let found = participant(&mut world, who).await;
        assert_eq!(found.encryption_key, Some(who.key()), "{who:?}");
        assert_eq!(found.version, version);
        let again = rotate(&mut world, who, &who.key());
        let result = world.ok(Oracle1, again).await;
        assert_eq!(outcome(&result), RegistrationOutcome::Unchanged);
        assert_eq!(participant(&mut world, who).await, found);
    }
    // The public directory follows, and holds no patient.
    let filter = ParticipantFilter::default();
    let tx = query(transactions::LIST_PARTICIPANTS, &filter);
    let page: ParticipantPage = world.get(Oracle2, tx).await;
    let keys = |who: Who| {
        let mut all = page.participants.iter();
        let found = all.find(|found| found.participant_id == who.id());
        found.and_then(|found| found.encryption_key.clone())
    };
    assert_eq!(keys(Provider2), Some(Provider2.key()));
    assert_eq!(keys(Patient), None);
}

#[tokio::test]
async fn a_replaced_key_does_not_come_back() {
    let mut world = World::populated().await;
    for key in [Patient.key(), key("second")] {
        let tx = rotate(&mut world, Patient, &key);
        world.ok(Oracle1, tx).await;
    }
    let tx = rotate(&mut world, Patient, &Patient.key());
    world.refused(Oracle1, tx, ErrorCode::StateConflict).await;
}

#[tokio::test]
async fn a_key_belongs_to_one_participant() {
    let mut world = World::populated().await;
    let tx = rotate(&mut world, Patient, &Patient.key());
    world.ok(Oracle1, tx).await;
    let conflict = ErrorCode::ParticipantConflict;
    for who in [OtherPatient, Provider2, Oracle1] {
        let tx = rotate(&mut world, who, &Patient.key());
        world.refused(Oracle1, tx, conflict).await;
    }
    let registration = world.registration_with(Provider1, Role::Provider, &Patient.key());
    let tx = world.register_participant(registration);
    world.refused(Oracle1, tx, conflict).await;
}

#[tokio::test]
async fn only_the_patient_replaces_a_patients_key() {
    let mut world = World::populated().await;
    // The first key came with the registration.
    let mut registration = world.registration(Patient, Role::Patient);
    let first = registration.encryption_key.clone();
    for creator in [Oracle1, Admin1] {
        let foreign = key("the organisation's");
        registration.key_proof = Some(Patient.proof(&foreign));
        registration.encryption_key = Some(foreign);
        let tx = world.register_participant(registration.clone());
        world
            .refused(creator, tx, ErrorCode::ParticipantConflict)
            .await;
    }
    // A registration that says nothing of it leaves the key as it is.
    registration.encryption_key = None;
    registration.key_proof = None;
    let tx = world.register_participant(registration.clone());
    let result = world.ok(Oracle1, tx).await;
    assert_eq!(outcome(&result), RegistrationOutcome::Unchanged);
    registration.status = Status::Suspended;
    let tx = world.register_participant(registration);
    world.ok(Oracle1, tx).await;
    let found = participant(&mut world, Patient).await;
    assert!(first.is_some());
    assert_eq!(found.encryption_key, first);
}

#[tokio::test]
async fn oracles_of_one_organization_may_share_a_key() {
    let mut world = World::populated().await;
    let tx = rotate(&mut world, Oracle1, &Oracle1.key());
    world.ok(Oracle1, tx).await;
    let second = world.registration_with(PlainOracle, Role::Oracle, &Oracle1.key());
    let tx = world.register_participant(second);
    world.ok(Admin1, tx).await;
    let tx = rotate(&mut world, Oracle2, &Oracle1.key());
    world
        .refused(Oracle2, tx, ErrorCode::ParticipantConflict)
        .await;
}

#[tokio::test]
async fn a_suspended_participant_rotates_nothing() {
    let mut world = World::populated().await;
    let mut registration = world.registration(Provider1, Role::Provider);
    registration.status = Status::Suspended;
    let tx = world.register_participant(registration);
    world.ok(Oracle1, tx).await;
    let tx = rotate(&mut world, Provider1, &Provider1.key());
    world.refused(Oracle1, tx, ErrorCode::Forbidden).await;
}

#[tokio::test]
async fn the_list_of_oracles_holds_the_active_ones() {
    let mut world = World::populated().await;
    let list = |world: &World| -> String {
        let bytes = world.ledger.state("\0oracles\0").unwrap();
        String::from_utf8(bytes).unwrap()
    };
    let (first, second) = (Oracle1.id(), Oracle2.id());
    let both = format!(r#"{{"Org1MSP":["{first}"],"Org2MSP":["{second}"]}}"#);
    assert_eq!(list(&world), both);
    let mut registration = world.registration(Oracle2, Role::Oracle);
    registration.status = Status::Suspended;
    let tx = world.register_participant(registration.clone());
    world.ok(Oracle2, tx).await;
    assert_eq!(list(&world), format!(r#"{{"Org1MSP":["{first}"]}}"#));
    registration.status = Status::Active;
    let tx = world.register_participant(registration);
    world.ok(Admin2, tx).await;
    assert_eq!(list(&world), both);
    let keys = world.ledger.private_keys(collections::RECORDS);
    assert!(!keys.iter().any(|key| key.contains(&first.to_string())));
}
