//! Which encryption keys the directory takes, and what it keeps to show whose they are.

use contract_interface::access::{Delegation, DelegationBasis, Power};
use contract_interface::names::transactions;
use contract_interface::{
    Delegate, DelegationId, ErrorCode, Jwk, KeyProof, Participant, ParticipantRegistration,
    RegistrationOutcome, Role, RotateKey, Status,
};
use fabric_msp::jws;

use crate::testing::Who::*;
use crate::testing::*;

const INVALID: ErrorCode = ErrorCode::KeyProofInvalid;

async fn outcome(world: &mut World, registration: &ParticipantRegistration) -> RegistrationOutcome {
    let tx = world.register_participant(registration.clone());
    world.get(Oracle1, tx).await
}

async fn participant(world: &mut World, viewer: Who, who: Who) -> Participant {
    let tx = query_text(transactions::GET_PARTICIPANT, &who.id());
    world.get(viewer, tx).await
}

fn other() -> Jwk {
    key("another key")
}

/// Proofs that are none for `Provider3` and `key`, with what is wrong.
fn wrong(world: &mut World, key: &Jwk) -> Vec<(&'static str, Option<String>)> {
    let good = json(&KeyProof::new(Provider3.id(), key));
    let request = world.request(RotateKey {
        encryption_key: key.clone(),
        key_proof: Provider3.proof(key),
    });
    let request = json(&request);
    let text = String::from_utf8(good.clone()).unwrap();
    let later = text.replace(r#""version":1"#, r#""version":2"#);
    let longer = format!("{text}{}", " ".repeat(1024));
    let signed = |media_type: &str, payload: &[u8]| {
        jws::sign_as(Provider3.identity(), media_type, payload).unwrap()
    };
    let some = [
        ("empty", String::new()),
        ("no JWS", "a.b.c".to_owned()),
        ("by another's key", Provider2.proof_as(Provider3.id(), key)),
        (
            "by a colleague's key",
            Provider1.proof_as(Provider3.id(), key),
        ),
        (
            "another's, replayed",
            Provider1.proof_as(Provider1.id(), key),
        ),
        (
            "for another participant",
            Provider3.proof_as(Provider1.id(), key),
        ),
        ("for another key", Provider3.proof(&other())),
        ("of a request's type", signed("JOSE", &good)),
        ("a request", signed("JOSE", &request)),
        (
            "a request of the proof's type",
            signed(KeyProof::TYPE, &request),
        ),
        (
            "of a later version",
            signed(KeyProof::TYPE, later.as_bytes()),
        ),
        ("too long", signed(KeyProof::TYPE, longer.as_bytes())),
    ];
    let some = some.into_iter().map(|(case, proof)| (case, Some(proof)));
    some.chain([("missing", None)]).collect()
}

#[tokio::test]
async fn a_key_without_its_holders_proof_is_refused() {
    let mut world = World::populated().await;
    let own = Provider3.key();
    for (case, proof) in wrong(&mut world, &own) {
        let mut registration = world.registration_with(Provider3, Role::Provider, &own);
        registration.key_proof.clone_from(&proof);
        let tx = world.register_participant(registration);
        let message = world.refused(Oracle1, tx, INVALID).await;
        assert!(message.contains("proof"), "{case}: {message}");
        if let Some(key_proof) = proof {
            let request = world.request(RotateKey {
                encryption_key: own.clone(),
                key_proof,
            });
            let tx = world.signed(Provider3, &request);
            world.refused(Oracle1, tx, INVALID).await;
        }
    }
    let mut keyless = world.registration(Provider3, Role::Provider);
    keyless.key_proof = Some(Provider3.proof(&own));
    let tx = world.register_participant(keyless);
    world.refused(Oracle1, tx, INVALID).await;
    let found = participant(&mut world, Oracle1, Provider3).await;
    assert_eq!((found.encryption_key, found.key_proof), (None, None));
}

#[tokio::test]
async fn every_reader_of_the_directory_gets_the_proof() {
    let mut world = World::populated().await;
    let good = world.registration_with(Provider3, Role::Provider, &Provider3.key());
    let changed = outcome(&mut world, &good).await;
    assert_eq!(changed, RegistrationOutcome::Updated);
    for viewer in [Oracle2, Patient] {
        let shown = participant(&mut world, viewer, Provider3).await;
        assert_eq!(shown.key_proof, good.key_proof, "{viewer:?}");
    }
    let key = format!("\0participant\0{}\0", Provider3.id());
    let public = world.ledger.state(&key).unwrap();
    let public: Participant = serde_json::from_slice(&public).unwrap();
    assert_eq!(public.key_proof, good.key_proof);
}

#[tokio::test]
async fn an_expired_certificate_proves_no_key() {
    let mut world = World::populated().await;
    let registered = world.registration_with(Provider3, Role::Provider, &Provider3.key());
    outcome(&mut world, &registered).await;
    let certificate = Provider3.identity().certificate();
    for now in [certificate.not_before() - 1, certificate.not_after() + 1] {
        world.now = now;
        let registration = world.registration_with(Provider3, Role::Provider, &other());
        let tx = world.register_participant(registration);
        world.refused(Oracle1, tx, INVALID).await;
    }
    // What was proven in time stays, and a dismissal needs no proof.
    let again = world.registration_with(Provider3, Role::Provider, &Provider3.key());
    let same = outcome(&mut world, &again).await;
    assert_eq!(same, RegistrationOutcome::Unchanged);
    let mut dismissed = registered;
    dismissed.status = Status::Revoked;
    dismissed.key_proof = None;
    let changed = outcome(&mut world, &dismissed).await;
    assert_eq!(changed, RegistrationOutcome::Updated);
}

#[tokio::test]
async fn a_proof_holds_for_one_key_and_one_certificate() {
    let mut world = World::populated().await;
    let first = world.registration_with(Provider1, Role::Provider, &Provider1.key());
    outcome(&mut world, &first).await;
    // Signed anew, the same is said: nothing changes, and nothing is written.
    let again = world.registration_with(Provider1, Role::Provider, &Provider1.key());
    assert_ne!(again.key_proof, first.key_proof, "ES256 signatures differ");
    let same = outcome(&mut world, &again).await;
    assert_eq!(same, RegistrationOutcome::Unchanged);

    // The proof there is serves no other key, and no other certificate.
    let mut other_key = first.clone();
    other_key.encryption_key = Some(other());
    let mut renewed = first.clone();
    renewed.certificate = Provider1Renewed.pem();
    let mut silent = renewed.clone();
    silent.key_proof = None;
    for refused in [other_key, renewed.clone(), silent] {
        let tx = world.register_participant(refused);
        world.refused(Oracle1, tx, INVALID).await;
    }
    renewed.key_proof = Some(Provider1Renewed.proof(&Provider1.key()));
    let changed = outcome(&mut world, &renewed).await;
    assert_eq!(changed, RegistrationOutcome::Updated);
    let found = participant(&mut world, Oracle1, Provider1).await;
    assert_eq!(found.key_proof, renewed.key_proof);
}

#[tokio::test]
async fn a_patients_new_certificate_says_again_whose_the_kept_key_is() {
    let mut world = World::populated().await;
    let first = world.registration(Patient, Role::Patient);
    let key = first.encryption_key.clone().unwrap();
    let mut silent = first.clone();
    silent.encryption_key = None;
    silent.key_proof = None;
    let same = outcome(&mut world, &silent).await;
    assert_eq!(same, RegistrationOutcome::Unchanged);

    let mut renewed = silent;
    renewed.certificate = Nobody.pem();
    let tx = world.register_participant(renewed.clone());
    world.refused(Oracle1, tx, INVALID).await;
    renewed.key_proof = Some(Nobody.proof_as(Patient.id(), &key));
    let changed = outcome(&mut world, &renewed).await;
    assert_eq!(changed, RegistrationOutcome::Updated);
    let found = participant(&mut world, Oracle1, Patient).await;
    assert_eq!(found.encryption_key, Some(key));
    assert_eq!(found.key_proof, renewed.key_proof);
}

#[tokio::test]
async fn whom_a_patient_names_as_guardian_it_may_wrap_for() {
    let mut world = World::populated().await;
    let guardian = world.registration(Guardian, Role::Patient);
    let ask = || {
        let tx = query_text(transactions::GET_PARTICIPANT, &Guardian.id());
        for_caller(tx, Patient)
    };
    world
        .refused(Oracle1, ask(), ErrorCode::ParticipantNotFound)
        .await;
    let delegation = Delegation {
        delegation_id: DelegationId::from_bytes(world.random_id()),
        patient: Patient.pseudonym(),
        guardian: Guardian.id(),
        powers: vec![Power::Read],
        basis: DelegationBasis::Patient,
        valid_from: world.time(-60),
        valid_until: world.time(3600),
    };
    let request = world.request(Delegate { delegation });
    let tx = world.signed(Patient, &request);
    world.ok(Oracle1, tx).await;
    let found: Participant = world.get(Oracle1, ask()).await;
    assert_eq!(found.encryption_key, guardian.encryption_key);
    assert!(found.key_proof.is_some());
    assert_eq!(found.certificate, "", "it holds a name");
}
