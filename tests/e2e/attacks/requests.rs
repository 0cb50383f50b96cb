//! Attacks on what people sign.

use contract_interface::{
    AuthorizeRead, Delegate, DelegationId, ErrorCode, GrantAccess, Grantee, ParticipantId,
    ParticipantRegistration, Purpose, ReasonCode, RevokeAccess, RevokeDelegation, Role, Status,
    access::{Delegation, DelegationBasis, Power},
    names::{transactions, transient},
};
use fabric_mspgen::Validity;
use salus::signing;
use salus_tests::{consortium::Person, ledger::Ledger, system::Platform};

use super::{Scene, alter, carrying, permit, read_of, seconds_from_now, sign_as};
use crate::rogue::Rogue;

/// Malformed is what a request is that says more than its type knows.
const MALFORMED: &[&str] = &["MALFORMED_REQUEST", "MALFORMED_JWS", "INVALID_ARGUMENT"];
const BAD_SIGNATURE: &[&str] = &["SIGNATURE_INVALID"];

pub(super) async fn attack(platform: Platform) {
    let mut scene = Scene::start(platform).await;
    provider_by_argument(&scene).await;
    signature_by_another_key(&scene).await;
    altered_after_signing(&scene).await;
    replayed(&scene).await;
    for_another_record(&scene).await;
    expired_certificate(&scene).await;
    revoked_participant(&scene).await;
    grant_by_the_grantee(&scene).await;
    another_patients_pseudonym(&scene).await;
    guardian_after_revocation(&scene).await;
    weak_encryption_keys(&scene).await;
    revoked_certificate(&mut scene).await;
    scene.running.system.stop().await.unwrap();
}

/// The reader is who signed, whoever an argument, a header or a transient field may name.
async fn provider_by_argument(scene: &Scene) {
    let intruder = scene.intruder.signing_identity().unwrap();
    let provider_id = scene.running.cast.provider_id.to_string();
    let certificate = std::fs::read(scene.running.cast.provider.certificate_file().unwrap());
    let now = seconds_from_now(0);
    let until = seconds_from_now(600);
    let grantee = Grantee::Participant(scene.running.cast.provider_id);
    scene.give(0, &permit(grantee, now, until)).await;

    let jws = scene.oracle.sign(&intruder, scene.read_request());
    let call = carrying(transactions::AUTHORIZE_READ, &jws)
        .transient(transient::CALLER, certificate.unwrap());
    let outcome = scene.oracle.submit(call).await;
    let entry = scene
        .denied("named in a transient field", outcome, ReasonCode::NoGrant)
        .await;
    assert_eq!(entry.reader, scene.intruder_id);

    // A member that names somebody is refused before the signature matters.
    let payload = scene.oracle.payload(now, scene.read_request());
    let mut payload: serde_json::Value = serde_json::from_slice(&payload).unwrap();
    payload["body"]["reader"] = provider_id.clone().into();
    let jws = fabric_msp::jws::sign(&intruder, payload.to_string().as_bytes()).unwrap();
    scene
        .refused_unproven(
            "named in the signed request",
            &scene.intruder,
            &scene.record,
            &jws,
            ErrorCode::InvalidArgument,
            MALFORMED,
        )
        .await;

    let before = scene.reads().await;
    let jws = scene.oracle.sign(&intruder, scene.read_request());
    let path = format!("/v1/records/{}/content?reader={provider_id}", scene.record);
    let header = ["-H".to_owned(), format!("Salus-Read-Request: {jws}")];
    let answer = scene.running.curl(&scene.intruder, &path, &header).await;
    // Refused for the parameter, or decided for the one who signed.
    assert!([400, 403].contains(&answer.status), "{answer:?}");
    if answer.status == 403 {
        assert_eq!(answer.code(), "READ_DENIED", "{answer:?}");
        assert_eq!(scene.reads().await, before + 1);
    }
}

async fn signature_by_another_key(scene: &Scene) {
    let intruder = scene.intruder.signing_identity().unwrap();
    let jws = sign_as(
        &scene.oracle,
        &intruder,
        &scene.provider(),
        scene.read_request(),
    );
    let provider = scene.running.cast.provider.clone();
    let case = "signed by another key";
    scene
        .refused_unproven(
            case,
            &provider,
            &scene.record,
            &jws,
            ErrorCode::SignatureInvalid,
            BAD_SIGNATURE,
        )
        .await;

    // A right signature, brought by somebody else.
    let jws = scene.oracle.sign(&scene.provider(), scene.read_request());
    let before = scene.reads().await;
    scene
        .refused_at_rest(
            "brought by another",
            &scene.intruder,
            &scene.record,
            &jws,
            &["SIGNER_MISMATCH"],
        )
        .await;
    assert_eq!(scene.reads().await, before);

    // A certificate of the organisation that nobody registered.
    let consortium = &scene.running.system.consortium;
    let stranger = consortium
        .enrol("stranger", 1, &[("salus.role", "provider")])
        .unwrap();
    let jws = scene
        .oracle
        .sign(&stranger.signing_identity().unwrap(), scene.read_request());
    scene
        .refused_unproven(
            "signed by nobody who is registered",
            &stranger,
            &scene.record,
            &jws,
            ErrorCode::UnknownParticipant,
            &["UNKNOWN_PARTICIPANT"],
        )
        .await;
}

async fn altered_after_signing(scene: &Scene) {
    let provider = scene.running.cast.provider.clone();
    let other_record = scene.other_record.to_string();
    type Change<'a> = (&'a str, &'a str, serde_json::Value);
    let changes: [Change<'_>; 4] = [
        ("another record", "record_id", other_record.into()),
        ("another purpose", "purpose", "HRESCH".into()),
        (
            "another time",
            "iat",
            seconds_from_now(30).to_string().into(),
        ),
        ("another channel", "channel", "otherchannel".into()),
    ];
    for (case, member, value) in changes {
        let jws = scene.oracle.sign(&scene.provider(), scene.read_request());
        let altered = alter(&jws, |payload| match member {
            "record_id" | "purpose" => payload["body"][member] = value.clone(),
            _ => payload[member] = value.clone(),
        });
        let refusal = scene.carry(transactions::AUTHORIZE_READ, &altered).await;
        let refusal = refusal.expect_err(case);
        assert!(
            matches!(
                refusal.code,
                Some(ErrorCode::SignatureInvalid | ErrorCode::InvalidArgument)
            ),
            "{case}: {}",
            refusal.text
        );
        let codes = [BAD_SIGNATURE, MALFORMED].concat();
        scene
            .refused_at_rest(case, &provider, &scene.record, &altered, &codes)
            .await;
    }
}

async fn replayed(scene: &Scene) {
    let provider = scene.running.cast.provider.clone();
    let jws = scene.oracle.sign(&scene.provider(), scene.read_request());
    let first = scene.carry(transactions::AUTHORIZE_READ, &jws).await;
    let first = scene.recorded("the first time", first).await;
    assert_eq!(first.reason, ReasonCode::Granted);
    let again = scene.carry(transactions::AUTHORIZE_READ, &jws).await;
    let case = "replayed by the oracle";
    scene.denied(case, again, ReasonCode::RequestReplayed).await;

    let before = scene.reads().await;
    let answer = scene.ask(&provider, &scene.record, &jws).await;
    assert!([403, 409].contains(&answer.status), "{answer:?}");
    assert_eq!(scene.reads().await, before + 1, "the replay over REST");
}

/// A request for one record shown where another is asked for.
async fn for_another_record(scene: &Scene) {
    let provider = scene.running.cast.provider.clone();
    let before = scene.reads().await;
    let jws = scene.oracle.sign(&scene.provider(), scene.read_request());
    let codes = [MALFORMED, &["RECORD_MISMATCH", "REQUEST_MISMATCH"]].concat();
    scene
        .refused_at_rest(
            "for another record",
            &provider,
            &scene.other_record,
            &jws,
            &codes,
        )
        .await;
    assert_eq!(scene.reads().await, before);

    // Signed for another record: decided for that one, of whose patient there is no grant.
    let jws = scene
        .oracle
        .sign(&scene.provider(), read_of(scene.other_record));
    let outcome = scene.carry(transactions::AUTHORIZE_READ, &jws).await;
    let case = "a record of another patient";
    scene.denied(case, outcome, ReasonCode::NoGrant).await;

    // Signed for another purpose than the grant's.
    let body = AuthorizeRead {
        purpose: Purpose::Hresch,
        ..scene.read_request()
    };
    let jws = scene.oracle.sign(&scene.provider(), body);
    let outcome = scene.carry(transactions::AUTHORIZE_READ, &jws).await;
    let case = "another purpose than the grant's";
    scene
        .denied(case, outcome, ReasonCode::PurposeNotCovered)
        .await;

    // Signed for another transaction.
    let body = RevokeAccess {
        grant_id: permit(Grantee::Anyone, seconds_from_now(0), seconds_from_now(60)).grant_id,
        patient: None,
    };
    let jws = scene.oracle.sign(&scene.provider(), body);
    scene
        .refused_unproven(
            "signed for another transaction",
            &provider,
            &scene.record,
            &jws,
            ErrorCode::InvalidArgument,
            MALFORMED,
        )
        .await;
}

/// A certificate that was valid when it was registered and is not when the request is signed.
async fn expired_certificate(scene: &Scene) {
    let now = signing::now().unwrap().unix_seconds();
    let consortium = &scene.running.system.consortium;
    let validity = Validity {
        not_before: now - 600,
        not_after: now + 240,
    };
    let role = [("salus.role", "provider")];
    let leaving = consortium
        .enrol_for("leaving", 1, &role, Some(validity))
        .unwrap();
    let ledger = Ledger::connect(scene.running.system.network.info(), 1).unwrap();
    let id = ledger.register_provider(&leaving, None).await.unwrap();
    let until = seconds_from_now(3000);
    let grant = permit(Grantee::Participant(id), seconds_from_now(-60), until);
    scene.give(0, &grant).await;
    let identity = leaving.signing_identity().unwrap();
    let late = seconds_from_now(420);
    let jws = scene.oracle.sign_at(&identity, late, scene.read_request());
    let outcome = scene
        .oracle
        .submit_at(
            carrying(transactions::AUTHORIZE_READ, &jws),
            Some(late.unix_seconds()),
        )
        .await;
    let case = "by an expired certificate";
    scene
        .denied(case, outcome, ReasonCode::CertificateNotValid)
        .await;

    let validity = Validity {
        not_before: now - 600,
        not_after: now - 1,
    };
    let gone = consortium
        .enrol_for("gone", 1, &role, Some(validity))
        .unwrap();
    let jws = scene
        .oracle
        .sign(&gone.signing_identity().unwrap(), scene.read_request());
    scene
        .refused_at_rest(
            "an expired certificate at the door",
            &gone,
            &scene.record,
            &jws,
            &["CERTIFICATE_EXPIRED"],
        )
        .await;
}

async fn revoked_participant(scene: &Scene) {
    let (person, id) = provider_with_a_grant(scene, "dismissed").await;
    let identity = person.signing_identity().unwrap();
    let jws = scene.oracle.sign(&identity, scene.read_request());
    let outcome = scene.carry(transactions::AUTHORIZE_READ, &jws).await;
    let entry = scene.recorded("before the dismissal", outcome).await;
    assert_eq!(entry.reason, ReasonCode::Granted);

    let registration = ParticipantRegistration {
        participant_id: id,
        role: Role::Provider,
        certificate: std::fs::read_to_string(person.certificate_file().unwrap()).unwrap(),
        encryption_key: None,
        key_proof: None,
        status: Status::Revoked,
    };
    let ledger = Ledger::connect(scene.running.system.network.info(), 1).unwrap();
    let issuer = person.issuer_file().unwrap();
    ledger
        .submit_registration(&registration, &issuer)
        .await
        .unwrap();
    let jws = scene.oracle.sign(&identity, scene.read_request());
    let outcome = scene.carry(transactions::AUTHORIZE_READ, &jws).await;
    let case = "by someone whose registration was revoked";
    scene
        .denied(case, outcome, ReasonCode::ReaderNotActive)
        .await;
}

/// A certificate on its organisation's revocation list; the last case, since the list is read
/// again from time to time only.
async fn revoked_certificate(scene: &mut Scene) {
    let (person, _) = provider_with_a_grant(scene, "revoked").await;
    let organization = scene.running.system.consortium.organization(1).unwrap();
    let identity = person.signing_identity().unwrap();
    organization
        .revoke_certificates(&[identity.certificate().clone()])
        .unwrap();
    scene
        .running
        .system
        .oracle
        .kill_and_restart()
        .await
        .unwrap();
    let jws = scene.oracle.sign(&identity, scene.read_request());
    let before = scene.reads().await;
    scene
        .refused_at_rest(
            "by a revoked certificate",
            &person,
            &scene.record,
            &jws,
            &["CERTIFICATE_REVOKED"],
        )
        .await;
    assert_eq!(scene.reads().await, before);
}

async fn provider_with_a_grant(scene: &Scene, name: &str) -> (Person, ParticipantId) {
    let consortium = &scene.running.system.consortium;
    let person = consortium
        .enrol(name, 1, &[("salus.role", "provider")])
        .unwrap();
    let ledger = Ledger::connect(scene.running.system.network.info(), 1).unwrap();
    let id = ledger.register_provider(&person, None).await.unwrap();
    let grantee = Grantee::Participant(id);
    let grant = permit(grantee, seconds_from_now(-60), seconds_from_now(3000));
    scene.give(0, &grant).await;
    (person, id)
}

async fn grant_by_the_grantee(scene: &Scene) {
    let intruder = scene.intruder.signing_identity().unwrap();
    let victim = scene.running.cast.patients[0].pseudonym;
    for patient in [None, Some(victim)] {
        let grantee = Grantee::Participant(scene.intruder_id);
        let body = GrantAccess {
            grant: permit(grantee, seconds_from_now(0), seconds_from_now(600)),
            patient,
        };
        let jws = scene.oracle.sign(&intruder, body);
        let refusal = scene.carry(transactions::GRANT_ACCESS, &jws).await;
        let refusal = refusal.expect_err("a grant by its grantee");
        assert_eq!(refusal.code, Some(ErrorCode::Forbidden), "{}", refusal.text);
        posted_and_logged(scene, &scene.intruder, "/v1/grants", &jws).await;
    }
    let jws = scene.oracle.sign(&intruder, scene.read_request());
    let outcome = scene.carry(transactions::AUTHORIZE_READ, &jws).await;
    let case = "after a grant by its grantee";
    scene.denied(case, outcome, ReasonCode::NoGrant).await;
}

async fn another_patients_pseudonym(scene: &Scene) {
    let grantee = Grantee::Participant(scene.intruder_id);
    let grant = permit(grantee, seconds_from_now(0), seconds_from_now(600));
    let second = scene.running.cast.patients[1].clone();
    let body = GrantAccess {
        grant: grant.clone(),
        patient: Some(scene.running.cast.patients[0].pseudonym),
    };
    let jws = scene.oracle.sign(&scene.patient(1), body);
    let refusal = scene.carry(transactions::GRANT_ACCESS, &jws).await;
    let refusal = refusal.expect_err("a grant of another's data");
    assert_eq!(refusal.code, Some(ErrorCode::Forbidden), "{}", refusal.text);
    posted_and_logged(scene, &second.person, "/v1/grants", &jws).await;

    // The end of another's grant.
    let grantee = Grantee::Organization("Org2MSP".parse().unwrap());
    let standing = permit(grantee, seconds_from_now(600), seconds_from_now(660));
    let grant_id = scene.give(0, &standing).await;
    for patient in [None, Some(scene.running.cast.patients[0].pseudonym)] {
        let body = RevokeAccess { grant_id, patient };
        let jws = scene.oracle.sign(&scene.patient(1), body);
        let refusal = scene.carry(transactions::REVOKE_ACCESS, &jws).await;
        let refusal = refusal.expect_err("the end of another's grant");
        assert!(
            matches!(
                refusal.code,
                Some(ErrorCode::Forbidden | ErrorCode::GrantNotFound)
            ),
            "{}",
            refusal.text
        );
    }

    // A read of another's record, as one's own.
    let body = AuthorizeRead {
        purpose: Purpose::Patrqt,
        ..scene.read_request()
    };
    let jws = scene.oracle.sign(&scene.patient(1), body);
    let outcome = scene.carry(transactions::AUTHORIZE_READ, &jws).await;
    let case = "another patient's record";
    let entry = scene
        .denied(case, outcome, ReasonCode::RoleNotAllowed)
        .await;
    assert_eq!(entry.reader, ParticipantId::from(second.pseudonym));
}

async fn guardian_after_revocation(scene: &Scene) {
    let ward = scene.running.cast.patients[0].pseudonym;
    let guardian = ParticipantId::from(scene.running.cast.patients[1].pseudonym);
    let delegation = Delegation {
        delegation_id: DelegationId::from_bytes(signing::random().unwrap()),
        patient: ward,
        guardian,
        powers: vec![Power::Read, Power::Grant],
        basis: DelegationBasis::Patient,
        valid_from: seconds_from_now(-60),
        valid_until: seconds_from_now(3000),
    };
    let delegation_id = delegation.delegation_id;
    let jws = scene
        .oracle
        .sign(&scene.patient(0), Delegate { delegation });
    scene.carry(transactions::DELEGATE, &jws).await.unwrap();
    let body = AuthorizeRead {
        purpose: Purpose::Patrqt,
        ..scene.read_request()
    };
    let jws = scene.oracle.sign(&scene.patient(1), body.clone());
    let outcome = scene.carry(transactions::AUTHORIZE_READ, &jws).await;
    let entry = scene.recorded("a guardian", outcome).await;
    assert_eq!(entry.reason, ReasonCode::Guardian);

    let end = RevokeDelegation {
        delegation_id,
        patient: ward,
        guardian,
        end_grants: false,
    };
    let jws = scene.oracle.sign(&scene.patient(0), end);
    scene
        .carry(transactions::REVOKE_DELEGATION, &jws)
        .await
        .unwrap();
    let jws = scene.oracle.sign(&scene.patient(1), body);
    let outcome = scene.carry(transactions::AUTHORIZE_READ, &jws).await;
    let case = "a guardian after the revocation";
    scene
        .denied(case, outcome, ReasonCode::GuardianNotAllowed)
        .await;
    let grantee = Grantee::Participant(scene.intruder_id);
    let body = GrantAccess {
        grant: permit(grantee, seconds_from_now(0), seconds_from_now(600)),
        patient: Some(ward),
    };
    let jws = scene.oracle.sign(&scene.patient(1), body);
    let refusal = scene.carry(transactions::GRANT_ACCESS, &jws).await;
    let refusal = refusal.expect_err("a grant by a former guardian");
    assert_eq!(refusal.code, Some(ErrorCode::Forbidden), "{}", refusal.text);
    let person = scene.running.cast.patients[1].person.clone();
    posted_and_logged(scene, &person, "/v1/grants", &jws).await;
}

/// Checks that a signed body is refused over REST, and that the oracle keeps a line.
async fn posted_and_logged(scene: &Scene, who: &Person, path: &str, jws: &str) {
    let logged = scene.refusals().len();
    let answer = scene.running.post_jws(who, path, jws).await;
    assert!((400..500).contains(&answer.status), "{answer:?}");
    assert!(
        scene.refusals().len() > logged,
        "no line in the log of refusals: {answer:?}"
    );
}

/// Keys that would not keep what is wrapped for them.
async fn weak_encryption_keys(scene: &Scene) {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let modulus = |bytes: usize, last: u8| {
        let mut modulus = vec![0xc5; bytes];
        modulus[bytes - 1] = last;
        URL_SAFE_NO_PAD.encode(modulus)
    };
    let rsa = |n: &str, e: &str| serde_json::json!({ "kty": "RSA", "n": n, "e": e });
    let keys = [
        ("1024 bits", rsa(&modulus(128, 1), "AQAB")),
        ("2048 bits", rsa(&modulus(256, 1), "AQAB")),
        ("even", rsa(&modulus(384, 2), "AQAB")),
        ("exponent 3", rsa(&modulus(384, 1), "Aw")),
        ("exponent 1", rsa(&modulus(384, 1), "AQ")),
        ("no base64", rsa("n!", "AQAB")),
        ("empty", rsa("", "AQAB")),
        ("16384 bits", rsa(&modulus(2048, 1), "AQAB")),
        (
            "an elliptic curve",
            serde_json::json!({ "kty": "EC", "crv": "P-256", "x": "AQ", "y": "AQ" }),
        ),
        (
            "with a private member",
            serde_json::json!({ "kty": "RSA", "n": modulus(384, 1), "e": "AQAB", "d": "AQ" }),
        ),
    ];
    let info = scene.running.system.network.info();
    let consortium = &scene.running.system.consortium;
    let administrator = scene.running.cast.administrator.clone();
    let rogue = Rogue::at(info, 0, &administrator);
    let newcomer = consortium
        .enrol("newcomer", 0, &[("salus.role", "provider")])
        .unwrap();
    let certificate = std::fs::read_to_string(newcomer.certificate_file().unwrap()).unwrap();
    let issuer = std::fs::read(newcomer.issuer_file().unwrap()).unwrap();
    for (case, key) in keys {
        let registration = serde_json::json!({
            "participant_id": hex::encode(signing::random::<16>().unwrap()),
            "role": "provider",
            "certificate": certificate,
            "encryption_key": key,
            "key_proof": std::fs::read_to_string(newcomer.key_proof_file()).unwrap(),
        })
        .to_string();
        let call = fabric_gateway::Call::new(transactions::REGISTER_PARTICIPANT)
            .transient(transient::PARTICIPANT, registration.clone())
            .transient(transient::ISSUER, issuer.clone());
        let refusal = rogue.submit(call).await.expect_err(case);
        assert_eq!(
            refusal.code,
            Some(ErrorCode::InvalidArgument),
            "{case}: {}",
            refusal.text
        );
        let logged = scene.refusals().len();
        let answer = scene
            .running
            .post(
                &administrator,
                "/v1/participants",
                "application/json",
                &registration,
            )
            .await;
        assert_eq!(answer.status, 400, "{case}: {answer:?}");
        assert!(
            scene.refusals().len() > logged,
            "{case}: no line in the log of refusals"
        );

        // The same as a rotation of one's own key.
        let request = serde_json::json!({
            "action": transactions::ROTATE_KEY,
            "channel": scene.oracle.channel(),
            "iat": seconds_from_now(0).to_string(),
            "nonce": URL_SAFE_NO_PAD.encode(signing::random::<16>().unwrap()),
            "body": { "encryption_key": key, "key_proof": "h.p.s" },
        });
        let jws = fabric_msp::jws::sign(&scene.provider(), request.to_string().as_bytes());
        let refusal = scene
            .carry(transactions::ROTATE_KEY, &jws.unwrap())
            .await
            .expect_err(case);
        assert_eq!(
            refusal.code,
            Some(ErrorCode::InvalidArgument),
            "{case}: {}",
            refusal.text
        );
    }
}
