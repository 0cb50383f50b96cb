//! Which keys are believed, and which lies are found out.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use contract_interface::Digest;
use fabric_msp::SigningIdentity;
use fabric_mspgen::{Kind, Organization, UserProfile, Validity};
use sealed_object::PrivateKey;

use super::*;
use crate::{profile::Custody, signing};

const DOCTOR: [u8; 16] = [1; 16];
const COLLEAGUE: [u8; 16] = [2; 16];

/// Two organisations, and a third that calls itself like the second.
struct Consortium {
    _dir: tempfile::TempDir,
    folders: [PathBuf; 3],
    organizations: [Organization; 3],
    keys: [PrivateKey; 2],
}

static CONSORTIUM: LazyLock<Consortium> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let make = |name: &str, msp_id: &str, domain: &str| {
        let home = dir.path().join(name);
        let msp_id = msp_id.parse().unwrap();
        Organization::create(&home, msp_id, domain, Kind::Peer).unwrap()
    };
    let organizations = [
        make("one", "Org1MSP", "org1.example.com"),
        make("two", "Org2MSP", "org2.example.com"),
        make("three", "Org2MSP", "org2.example.com"),
    ];
    let folder = |name: &str, domain: &str| {
        let home = dir.path().join(name);
        home.join(format!("peerOrganizations/{domain}/msp"))
    };
    Consortium {
        folders: [
            folder("one", "org1.example.com"),
            folder("two", "org2.example.com"),
            folder("three", "org2.example.com"),
        ],
        organizations,
        keys: [(); 2].map(|()| PrivateKey::generate(3072).unwrap()),
        _dir: dir,
    }
});

fn person(
    organization: usize,
    name: &str,
    attributes: &[(&str, String)],
    validity: Option<Validity>,
) -> SigningIdentity {
    let organization = &CONSORTIUM.organizations[organization];
    let attributes: BTreeMap<String, String> = attributes
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect();
    let profile = UserProfile {
        attributes,
        validity,
        ..UserProfile::default()
    };
    let home = organization.issue_user(name, &profile).unwrap();
    SigningIdentity::from_msp_dir(organization.msp_id().clone(), &home.join("msp")).unwrap()
}

fn role(role: Role) -> (&'static str, String) {
    (attributes::ROLE, role.to_string())
}

fn jwk(number: usize) -> Jwk {
    let key = CONSORTIUM.keys[number].public_key();
    serde_json::from_str(&key.to_jwk()).unwrap()
}

/// An entry of the directory as it should be, of the second organisation.
fn entry(identity: &SigningIdentity, id: [u8; 16], key: usize) -> Participant {
    let participant_id = ParticipantId::from_bytes(id);
    Participant {
        participant_id,
        msp_id: "Org2MSP".parse().unwrap(),
        role: Role::Provider,
        certificate: identity.certificate().pem(),
        thumbprint: Digest::from_bytes(identity.certificate().thumbprint()),
        key_proof: Some(key_proof::sign(identity, participant_id, &jwk(key)).unwrap()),
        encryption_key: Some(jwk(key)),
        status: Status::Active,
        version: 1,
        salt: None,
    }
}

fn pinned(paths: &[(&str, &Path)]) -> Trust {
    let mut trust = Trust::default();
    for (name, path) in paths {
        trust.pin(&format!("{name}={}", path.display())).unwrap();
    }
    trust
}

fn trust() -> Trust {
    pinned(&[
        ("Org1MSP", &CONSORTIUM.folders[0]),
        ("Org2MSP", &CONSORTIUM.folders[1]),
    ])
}

fn now() -> UtcTime {
    signing::now().unwrap()
}

#[test]
fn a_key_that_is_proven_is_believed() {
    let doctor = person(1, "doctor", &[role(Role::Provider)], None);
    let shown = entry(&doctor, DOCTOR, 0);
    let recipient = trust().recipient(shown.clone(), None, now()).unwrap();
    assert_eq!(recipient.key().thumbprint(), jwk(0).thumbprint());
    assert_eq!(recipient.name(), "doctor@org2.example.com");
    assert!(!recipient.is_id_attested, "the CA says nothing of the ID");

    // One CA certificate serves as well as a folder, and the person's own file makes sure.
    let mut cas = std::fs::read_dir(CONSORTIUM.folders[1].join("cacerts")).unwrap();
    let ca = cas.next().unwrap().unwrap().path();
    let given = doctor.certificate();
    let by_file = pinned(&[("Org2MSP", &ca)]);
    assert!(by_file.recipient(shown.clone(), Some(given), now()).is_ok());
    assert_eq!(by_file.roots().count(), 1);

    // Where the directory shows no certificate, the person's own file serves.
    let hidden = Participant {
        certificate: String::new(),
        ..shown
    };
    assert!(
        trust()
            .recipient(hidden.clone(), Some(given), now())
            .is_ok()
    );
    assert!(matches!(
        trust().recipient(hidden, None, now()),
        Err(TrustError::NoCertificate { .. })
    ));
}

#[test]
fn a_substituted_key_is_refused() {
    let doctor = person(1, "swapped", &[role(Role::Provider)], None);
    let honest = entry(&doctor, DOCTOR, 0);
    let participant_id = honest.participant_id;
    let rogue = person(0, "oracle", &[role(Role::Oracle)], None);
    let with = |key_proof: Option<String>| Participant {
        encryption_key: Some(jwk(1)),
        key_proof,
        ..honest.clone()
    };
    let refused = |shown: Participant| trust().recipient(shown, None, now()).unwrap_err();

    // The oracle's own key, with the doctor's proof, with its own word, with none.
    let proof = honest.key_proof.clone();
    assert!(matches!(
        refused(with(proof)),
        TrustError::Proof {
            problem: KeyProofError::Key,
            ..
        }
    ));
    let own_word = key_proof::sign(&rogue, participant_id, &jwk(1)).unwrap();
    assert!(matches!(
        refused(with(Some(own_word))),
        TrustError::Proof {
            problem: KeyProofError::Signature,
            ..
        }
    ));
    assert!(matches!(refused(with(None)), TrustError::NoProof { .. }));
    assert!(matches!(
        refused(with(Some("a.b.c".to_owned()))),
        TrustError::Proof {
            problem: KeyProofError::Malformed,
            ..
        }
    ));
    // A request of the doctor's is no proof, whatever key it names.
    let request = fabric_msp::jws::sign(&doctor, b"{}").unwrap();
    assert!(matches!(
        refused(with(Some(request))),
        TrustError::Proof {
            problem: KeyProofError::Malformed,
            ..
        }
    ));
}

#[test]
fn a_substituted_person_is_refused() {
    let doctor = person(1, "meant", &[role(Role::Provider)], None);
    let honest = entry(&doctor, DOCTOR, 0);
    let refused = |shown: Participant, given: Option<&Certificate>| {
        trust().recipient(shown, given, now()).unwrap_err()
    };

    // Someone else's genuine entry under the doctor's ID: the proof names its own.
    let colleague = person(1, "colleague", &[role(Role::Provider)], None);
    let mut swapped = entry(&colleague, COLLEAGUE, 1);
    swapped.participant_id = honest.participant_id;
    assert!(matches!(
        refused(swapped, None),
        TrustError::Proof {
            problem: KeyProofError::Participant,
            ..
        }
    ));
    // One who plays along and signs for the doctor's ID has still another name and certificate.
    let accomplice = entry(&colleague, DOCTOR, 1);
    let shown = trust().recipient(accomplice.clone(), None, now()).unwrap();
    assert_eq!(shown.name(), "colleague@org2.example.com");
    assert!(matches!(
        refused(accomplice, Some(doctor.certificate())),
        TrustError::Certificate { .. }
    ));
    // Where the CA vouches for IDs, not even that is left.
    let id = ParticipantId::from_bytes(DOCTOR).to_string();
    let attested = [role(Role::Provider), (attributes::PARTICIPANT, id)];
    let attested = person(1, "attested", &attested, None);
    let shown = trust().recipient(entry(&attested, DOCTOR, 0), None, now());
    assert!(shown.unwrap().is_id_attested);
    assert!(matches!(
        refused(entry(&attested, COLLEAGUE, 0), None),
        TrustError::Certificate { .. }
    ));
}

#[test]
fn a_certificate_that_the_organisation_did_not_issue_is_refused() {
    let refused = |identity: &SigningIdentity, trust: &Trust| {
        let shown = entry(identity, DOCTOR, 0);
        trust.recipient(shown, None, now()).unwrap_err()
    };
    // Of another organisation, and of a CA that only calls itself like the pinned one.
    for organization in [0, 2] {
        let foreign = person(organization, "foreign", &[role(Role::Provider)], None);
        assert!(matches!(
            refused(&foreign, &trust()),
            TrustError::Chain { .. }
        ));
    }
    let now = now().unix_seconds();
    for (name, not_before, not_after) in [
        ("expired", now - 200, now - 100),
        ("early", now + 3600, now + 7200),
    ] {
        let validity = Validity {
            not_before,
            not_after,
        };
        let late = person(1, name, &[role(Role::Provider)], Some(validity));
        assert!(matches!(refused(&late, &trust()), TrustError::Chain { .. }));
    }
    // A node of the organisation is not the provider that the oracle makes of it.
    let node = person(1, "node", &[role(Role::Oracle)], None);
    assert!(matches!(
        refused(&node, &trust()),
        TrustError::Certificate { .. }
    ));
    // Nothing pinned, nothing believed.
    let doctor = person(1, "unpinned", &[role(Role::Provider)], None);
    for trust in [
        Trust::default(),
        pinned(&[("Org1MSP", &CONSORTIUM.folders[0])]),
    ] {
        let error = refused(&doctor, &trust);
        assert!(matches!(error, TrustError::Unpinned { .. }));
        assert!(error.to_string().contains("anchors ="), "{error}");
    }
}

#[test]
fn who_is_not_active_or_has_no_key_gets_nothing() {
    let doctor = person(1, "leaving", &[role(Role::Provider)], None);
    let honest = entry(&doctor, DOCTOR, 0);
    let suspended = Participant {
        status: Status::Suspended,
        ..honest.clone()
    };
    let keyless = Participant {
        encryption_key: None,
        ..honest
    };
    for shown in [suspended, keyless] {
        assert!(matches!(
            trust().recipient(shown, None, now()),
            Err(TrustError::NoKey { .. })
        ));
    }
}

#[test]
fn a_gate_is_a_proven_key_of_an_oracle_of_the_registrar() {
    let registrar: MspId = "Org2MSP".parse().unwrap();
    let server = person(1, "server", &[role(Role::Oracle)], None);
    let oracle = Participant {
        role: Role::Oracle,
        ..entry(&server, DOCTOR, 0)
    };
    let check = |gate: usize, oracles: &[Participant]| {
        trust().check_gate(&jwk(gate), &registrar, oracles, now())
    };
    assert!(check(0, std::slice::from_ref(&oracle)).is_ok());
    let unproven = Participant {
        encryption_key: Some(jwk(1)),
        ..oracle.clone()
    };
    let doctor = entry(&person(1, "gatekeeper", &[], None), DOCTOR, 1);
    for oracles in [vec![], vec![oracle], vec![unproven], vec![doctor]] {
        assert!(matches!(check(1, &oracles), Err(TrustError::Gate { .. })));
    }
    let other = "Org3MSP".parse().unwrap();
    assert!(matches!(
        trust().check_gate(&jwk(0), &other, &[], now()),
        Err(TrustError::Unpinned { .. })
    ));
}

#[test]
fn a_profile_pins_its_own_organisation_and_those_it_names() {
    let own = person(0, "patient", &[role(Role::Patient)], None);
    let home = CONSORTIUM.folders[0].parent().unwrap();
    let mut profile = Profile {
        oracle_url: String::new(),
        oracle_ca_file: PathBuf::new(),
        msp_id: own.msp_id().to_string(),
        msp_dir: home.join("users/patient@org1.example.com/msp"),
        encryption_key_file: None,
        channel: String::new(),
        custody: Custody::Patient,
        anchors: vec![],
    };
    let names = |profile: &Profile| -> Vec<String> {
        let trust = Trust::of(profile).unwrap();
        trust.roots().map(|(id, _)| id.to_string()).collect()
    };
    assert_eq!(names(&profile), ["Org1MSP"]);
    profile.anchors = vec![format!("Org2MSP={}", CONSORTIUM.folders[1].display())];
    assert_eq!(names(&profile), ["Org2MSP", "Org1MSP"]);
    for wrong in ["=ca.pem", "no such file", "Org2MSP=/no/such/file"] {
        profile.anchors = vec![wrong.to_owned()];
        assert!(Trust::of(&profile).is_err(), "{wrong}");
    }
}
