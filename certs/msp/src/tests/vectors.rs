//! MSP folders and signatures that OpenSSL and Fabric's cryptogen made (`tests/vectors/msp`).

use std::fs;
use std::path::{Path, PathBuf};

use super::msp_id;
use crate::jws::Jws;
use crate::{Certificate, Msp, MspError, NodeOu, SignatureError, SigningIdentity};

/// A moment at which every certificate of the vectors is valid: 2027-01-01.
const NOW: i64 = 1_798_761_600;

fn vectors(folder: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/msp");
    root.join(folder)
}

fn certificate(path: &Path) -> Certificate {
    Certificate::from_pem(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn cryptogens_folder_is_an_msp_and_its_people_have_their_roles() {
    let folder = vectors("cryptogen");
    let msp = Msp::from_dir(msp_id(), &folder).unwrap();
    assert_eq!(msp.tls_ca_certificates().len(), 1);
    for (name, role) in [
        ("Admin@org1.example.com", NodeOu::Admin),
        ("User1@org1.example.com", NodeOu::Client),
        ("peer0.org1.example.com", NodeOu::Peer),
    ] {
        let certificate = certificate(&folder.join(format!("signers/{name}-cert.pem")));
        assert_eq!(certificate.subject_common_name(), Some(name));
        assert_eq!(msp.validate(&certificate).unwrap().node_ou, Some(role));
        assert_eq!(
            msp.validate_at(&certificate, NOW).unwrap().node_ou,
            Some(role)
        );
        let subject = format!("CN={name},OU={role},L=San Francisco,ST=California,C=US");
        assert_eq!(certificate.subject(), subject);
    }
}

#[test]
fn what_a_folder_says_survives_a_channels_configuration() {
    let msp = Msp::from_dir(msp_id(), &vectors("cryptogen")).unwrap();
    let again = Msp::from_config(&msp.to_config()).unwrap();
    assert_eq!(again.to_config(), msp.to_config());
    let config = msp.to_config();
    assert_eq!(config.name, "Org1MSP");
    assert_eq!(config.crypto_config.unwrap().signature_hash_family, "SHA2");
    assert!(
        config
            .fabric_node_ous
            .unwrap()
            .orderer_ou_identifier
            .is_some()
    );
}

#[test]
fn openssls_folder_is_an_msp_with_attributes_and_a_revocation_list() {
    let folder = vectors("openssl");
    let msp = Msp::from_dir(msp_id(), &folder).unwrap();
    let doctor = certificate(&folder.join("signcerts/doctor.pem"));
    assert_eq!(
        doctor.subject(),
        "CN=doctor #1,OU=client+OU=ward 3,O=Clinic\\, North,C=CH"
    );
    assert_eq!(doctor.issuer(), "CN=ca,O=Clinic\\, North,ST=Zürich,C=CH");
    assert_eq!(doctor.serial_hex(), "ab01");
    assert_eq!(doctor.attribute("salus.role"), Some("provider"));
    assert_eq!(
        msp.validate_at(&doctor, NOW).unwrap().node_ou,
        Some(NodeOu::Client)
    );
    let former = certificate(&folder.join("revoked/former.pem"));
    assert_eq!(former.serial_hex(), "ff02");
    assert!(matches!(
        msp.validate(&former),
        Err(MspError::Revoked { .. })
    ));
}

#[test]
fn names_are_printed_as_go_prints_them() {
    let names = certificate(&vectors("openssl/names/names.pem"));
    // Printed by Go 1.26: `Subject.ToRDNSequence().String()`.
    let expected = concat!(
        r#"SERIALNUMBER=7,CN=\#2 \<x\>\;\"\\\ ,OU=client+OU=\ ward,O=Clinic\, North,"#,
        "POSTALCODE=8400,STREET=Weg 1,L=Winterthur,ST=Zürich,C=CH+C=DE"
    );
    assert_eq!(names.subject(), expected);
    assert_eq!(names.subject_common_name(), Some(r#"#2 <x>;"\ "#));
}

#[test]
fn openssls_signatures_hold_when_their_s_is_low() {
    let folder = vectors("openssl");
    let doctor = certificate(&folder.join("signcerts/doctor.pem"));
    let (mut low, mut high) = (0, 0);
    let signatures = fs::read_to_string(folder.join("signatures.txt")).unwrap();
    for (number, line) in signatures.lines().enumerate() {
        let signature = hex::decode(line).unwrap();
        let message = format!("message {number}");
        match doctor.verify_der(message.as_bytes(), &signature) {
            Ok(()) => low += 1,
            Err(SignatureError::HighS) => high += 1,
            Err(other) => panic!("{line}: {other}"),
        }
    }
    // Both kinds are among them, checked by hand when they were made.
    assert_eq!((low, high), LOW_AND_HIGH);
}

/// How many of the signatures have a low and a high S.
const LOW_AND_HIGH: (usize, usize) = (6, 2);

#[test]
fn a_request_signed_by_node_is_verified() {
    let folder = vectors("openssl");
    let compact = fs::read_to_string(folder.join("request.jws")).unwrap();
    let jws = Jws::parse(compact.trim_end()).unwrap();
    let doctor = certificate(&folder.join("signcerts/doctor.pem"));
    assert_eq!(jws.verify(&doctor), Ok(()));
    let payload = r#"{"action":"access-control:GrantAccess","note":"grün"}"#;
    assert_eq!(jws.payload, payload.as_bytes());
    let former = certificate(&folder.join("revoked/former.pem"));
    assert!(jws.verify(&former).is_err());
}

#[test]
fn a_key_of_openssl_signs_for_its_certificate() {
    let identity = SigningIdentity::from_msp_dir(msp_id(), &vectors("openssl")).unwrap();
    let signature = identity.sign(b"message").unwrap();
    assert_eq!(
        identity.certificate().verify_der(b"message", &signature),
        Ok(())
    );
    let foreign = vectors("cryptogen");
    assert!(SigningIdentity::from_msp_dir(msp_id(), &foreign).is_err());
}
