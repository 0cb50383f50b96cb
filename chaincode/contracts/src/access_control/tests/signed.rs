//! Attacks on signed requests. The same code checks all three kinds; most cases use reads.

use contract_interface::names::{transactions, transient};
use contract_interface::{
    AuthorizeRead, ErrorCode, GrantAccess, Grantee, Nonce, Participant, Purpose, ReadDecision,
    ReadEntry, ReasonCode, RevokeAccess, Rule, Salt, SignedRequest, Status,
};
use fabric_msp::jws;

use crate::testing::Who::*;
use crate::testing::*;

const PURPOSE: Purpose = Purpose::Treat;

fn permit(grantee: Who) -> Rule {
    Rule::permit(Grantee::Participant(grantee.id()), vec![PURPOSE])
}

async fn world_and_request() -> (World, SignedRequest<AuthorizeRead>) {
    let (mut world, record) = World::with_record().await;
    let body = AuthorizeRead {
        record_id: record.record_id,
        purpose: PURPOSE,
        project: None,
    };
    let request = world.request(body);
    (world, request)
}

#[tokio::test]
async fn a_signer_whom_nobody_registered_is_unknown() {
    let (mut world, request) = world_and_request().await;
    for who in [Nobody, Provider1Renewed] {
        let tx = world.signed(who, &request);
        world
            .refused(Oracle1, tx, ErrorCode::UnknownParticipant)
            .await;
    }
}

#[tokio::test]
async fn a_signature_by_another_key_is_refused() {
    let (mut world, request) = world_and_request().await;
    let forged = jws::sign(Provider2.identity(), &json(&request)).unwrap();
    let honest = jws::sign(Provider1.identity(), &json(&request)).unwrap();
    let (header, _) = honest.split_once('.').unwrap();
    let (_, rest) = forged.split_once('.').unwrap();
    let tx = world
        .salted(transactions::AUTHORIZE_READ)
        .transient(transient::REQUEST, format!("{header}.{rest}"));
    world
        .refused(Oracle1, tx, ErrorCode::SignatureInvalid)
        .await;
}

#[tokio::test]
async fn a_payload_changed_after_signing_is_refused() {
    let (mut world, request) = world_and_request().await;
    let other = SignedRequest {
        body: AuthorizeRead {
            purpose: Purpose::Btg,
            ..request.body.clone()
        },
        ..request.clone()
    };
    let honest = jws::sign(Provider1.identity(), &json(&request)).unwrap();
    let other = jws::sign(Provider1.identity(), &json(&other)).unwrap();
    let (first, second): (Vec<_>, Vec<_>) =
        (honest.split('.').collect(), other.split('.').collect());
    let tx = world.salted(transactions::AUTHORIZE_READ).transient(
        transient::REQUEST,
        [first[0], second[1], first[2]].join("."),
    );
    world
        .refused(Oracle1, tx, ErrorCode::SignatureInvalid)
        .await;
}

/// Submits a read and tells with which reason it was recorded.
async fn decided(
    world: &mut World,
    oracle: Who,
    signer: Who,
    request: &SignedRequest<AuthorizeRead>,
) -> ReasonCode {
    let tx = world.signed(signer, request);
    let salt = Salt::from_bytes(world.last_random()).unwrap();
    let decision: ReadDecision = world.get(oracle, tx).await;
    let reason = decision.reason(&salt).unwrap();
    let tx = query_text(transactions::GET_READ, &decision.read_id);
    let entry: ReadEntry = world.get(Oracle1, tx).await;
    assert_eq!((entry.reason, entry.reader), (reason, signer.id()));
    assert_eq!(entry.decision, decision.decision);
    reason
}

#[tokio::test]
async fn a_nonce_serves_once_and_its_second_use_is_recorded() {
    let (mut world, request) = world_and_request().await;
    world.give(Patient, permit(Provider1)).await;
    let reason = decided(&mut world, Oracle1, Provider1, &request).await;
    assert_eq!(reason, ReasonCode::Granted);
    for oracle in [Oracle1, Oracle2] {
        let reason = decided(&mut world, oracle, Provider1, &request).await;
        assert_eq!(reason, ReasonCode::RequestReplayed);
    }
    let other_body = SignedRequest {
        body: AuthorizeRead {
            purpose: Purpose::Btg,
            ..request.body.clone()
        },
        ..request.clone()
    };
    let reason = decided(&mut world, Oracle1, Provider1, &other_body).await;
    assert_eq!(reason, ReasonCode::RequestReplayed);
    let reason = decided(&mut world, Oracle1, Provider2, &request).await;
    assert_eq!(reason, ReasonCode::NoGrant, "another signer's nonce");

    let grant = world.grant(Grantee::Anyone);
    let request = world.request(GrantAccess {
        grant,
        patient: None,
    });
    let tx = world.signed(Patient, &request);
    world.ok(Oracle1, tx).await;
    let tx = world.signed(Patient, &request);
    world.refused(Oracle1, tx, ErrorCode::NonceUsed).await;
}

#[tokio::test]
async fn a_nonce_serves_once_even_inside_one_block() {
    let (mut world, request) = world_and_request().await;
    let first = world.signed(Provider1, &request);
    let second = world.signed(Provider1, &request);
    let results = [
        world.simulate(Oracle1, first).await,
        world.simulate(Oracle2, second).await,
    ];
    assert!(results.iter().all(|result| result.response.is_success()));
    use fabric_shim::testing::ValidationCode::{MvccReadConflict, Valid};
    assert_eq!(world.ledger.commit(&results), [Valid, MvccReadConflict]);
}

#[tokio::test]
async fn a_request_serves_now_here_and_for_its_action() {
    let (mut world, request) = world_and_request().await;
    world.give(Patient, permit(Provider1)).await;
    for (offset, expected) in [
        (-301, ReasonCode::RequestStale),
        (-300, ReasonCode::Granted),
        (300, ReasonCode::Granted),
        (301, ReasonCode::RequestStale),
    ] {
        let request = SignedRequest {
            iat: world.time(offset),
            nonce: Nonce::from_bytes(&world.random()).unwrap(),
            ..request.clone()
        };
        let reason = decided(&mut world, Oracle1, Provider1, &request).await;
        assert_eq!(reason, expected, "{offset}");
    }
    let grant = world.grant(Grantee::Anyone);
    for offset in [-301, 301] {
        let mut request = world.request(GrantAccess {
            grant: grant.clone(),
            patient: None,
        });
        request.iat = world.time(offset);
        let tx = world.signed(Patient, &request);
        world.refused(Oracle1, tx, ErrorCode::RequestExpired).await;
    }
    let elsewhere = SignedRequest {
        channel: "otherchannel".to_owned(),
        ..request.clone()
    };
    let tx = world.signed(Provider1, &elsewhere);
    world.refused(Oracle1, tx, ErrorCode::InvalidArgument).await;

    let other_action = SignedRequest {
        action: transactions::GRANT_ACCESS.to_owned(),
        ..request.clone()
    };
    let tx = world.signed(Provider1, &other_action);
    world.refused(Oracle1, tx, ErrorCode::InvalidArgument).await;

    let honest = jws::sign(Provider1.identity(), &json(&request)).unwrap();
    for action in [transactions::GRANT_ACCESS, transactions::REVOKE_ACCESS] {
        let tx = world
            .salted(action)
            .transient(transient::REQUEST, honest.clone());
        world.refused(Oracle1, tx, ErrorCode::InvalidArgument).await;
    }
}

#[tokio::test]
async fn only_an_oracle_submits() {
    let (mut world, request) = world_and_request().await;
    for who in [Provider1, Patient, Admin1, Auditor1, Nobody] {
        let tx = world.signed(Provider1, &request);
        world.refused(who, tx, ErrorCode::Forbidden).await;
    }
}

#[tokio::test]
async fn what_is_no_jws_is_refused() {
    let (mut world, request) = world_and_request().await;
    let honest = jws::sign(Provider1.identity(), &json(&request)).unwrap();
    let none = honest.replacen("eyJhbGciOiJFUzI1NiI", "eyJhbGciOiJub25lIi", 1);
    let (unsigned, _) = honest.rsplit_once('.').unwrap();
    for bad in [
        String::new(),
        "a.b.c".to_owned(),
        "{}".to_owned(),
        none,
        format!("{honest}.x"),
        format!("{honest}="),
        " ".repeat(70_000),
        jws::sign(Provider1.identity(), b"[]").unwrap(),
        jws::sign(Provider1.identity(), b"\xff").unwrap(),
    ] {
        let tx = world
            .salted(transactions::AUTHORIZE_READ)
            .transient(transient::REQUEST, bad);
        world.refused(Oracle1, tx, ErrorCode::InvalidArgument).await;
    }
    let tx = world
        .salted(transactions::AUTHORIZE_READ)
        .transient(transient::REQUEST, format!("{unsigned}."));
    world
        .refused(Oracle1, tx, ErrorCode::SignatureInvalid)
        .await;
    let tx = world
        .salted(transactions::AUTHORIZE_READ)
        .transient(transient::REQUEST, vec![0xff]);
    world.refused(Oracle1, tx, ErrorCode::InvalidArgument).await;
    let tx = fabric_shim::testing::Tx::submit(transactions::AUTHORIZE_READ)
        .transient(transient::REQUEST, honest);
    let message = world.refused(Oracle1, tx, ErrorCode::InvalidArgument).await;
    assert!(message.contains("salt"), "{message}");
}

#[tokio::test]
async fn patients_and_providers_who_are_not_active_do_not_act() {
    let mut world = World::populated().await;
    let grant = world.grant(Grantee::Participant(Provider1.id()));
    let tx = world.grant_access(Patient, &grant);
    world.ok(Oracle1, tx).await;
    let mut registration = world.registration(Patient, contract_interface::Role::Patient);
    registration.status = Status::Suspended;
    let tx = world.register_participant(registration);
    world.ok(Oracle1, tx).await;
    let other = world.grant(Grantee::Participant(Provider1.id()));
    let request = world.request(GrantAccess {
        grant: other,
        patient: None,
    });
    let tx = world.signed(Patient, &request);
    world.refused(Oracle1, tx, ErrorCode::Forbidden).await;
    let request = world.request(RevokeAccess {
        grant_id: grant.grant_id,
        patient: None,
    });
    let tx = world.signed(Patient, &request);
    world.refused(Oracle1, tx, ErrorCode::Forbidden).await;
    let tx = query_text(transactions::GET_PARTICIPANT, &Patient.id());
    world
        .refused(Patient, tx.clone(), ErrorCode::Forbidden)
        .await;
    let seen: Participant = world.get(Oracle1, tx).await;
    assert_eq!(seen.status, Status::Suspended);
}

#[tokio::test]
async fn a_certificate_outside_its_validity_signs_nothing() {
    let (mut world, record) = World::with_record().await;
    let (from, until) = {
        let certificate = Patient.identity().certificate();
        (certificate.not_before(), certificate.not_after())
    };
    for (now, good) in [
        (from - 1, false),
        (from, true),
        (until, true),
        (until + 1, false),
    ] {
        world.now = now;
        let expected = if good {
            ReasonCode::OwnRecord
        } else {
            ReasonCode::CertificateNotValid
        };
        let reason = world.read(Patient, record.record_id, Purpose::Patrqt).await;
        assert_eq!(reason, expected);
    }
    let grant = world.grant(Grantee::Anyone);
    let tx = world.grant_access(Patient, &grant);
    let message = world
        .refused(Oracle1, tx, ErrorCode::SignatureInvalid)
        .await;
    assert!(message.contains("certificate"), "{message}");
}

#[tokio::test]
async fn a_time_before_the_channels_clocks_is_refused_and_recorded() {
    let (mut world, record) = World::with_record().await;
    let mut grant = world.grant(Grantee::Participant(Provider1.id()));
    grant.valid_until = world.time(60);
    let tx = world.grant_access(Patient, &grant);
    world.ok(Oracle1, tx).await;
    let expired_at = world.now + 60;

    world.now += 3600;
    for oracle in [Oracle1, Oracle2] {
        let time = world.time(0);
        let tx = world.salted(transactions::TICK).argument(time.to_string());
        world.ok(oracle, tx).await;
    }
    // Reader and oracle together date both times back into the grant's life.
    for (now, expected) in [
        (expired_at - 1, ReasonCode::TimeRefused),
        (world.now - 301, ReasonCode::TimeRefused),
        (world.now - 300, ReasonCode::GrantExpired),
        (world.now + 300, ReasonCode::GrantExpired),
    ] {
        world.now = now;
        let reason = world
            .read(Provider1, record.record_id, Purpose::Treat)
            .await;
        assert_eq!(reason, expected);
    }
    world.now = expired_at - 1;
    let grant = world.grant(Grantee::Anyone);
    let tx = world.grant_access(Patient, &grant);
    world.refused(Oracle1, tx, ErrorCode::TimeRefused).await;
}
