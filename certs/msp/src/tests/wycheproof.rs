//! Project Wycheproof's ECDSA vectors (`tests/vectors/wycheproof`), each verified with a
//! certificate issued for the vector's key.
//!
//! Every vector is run and the counts are asserted. In DER a right signature with a high S is a
//! refusal, as in Fabric; ES256 (RFC 7518) has no such rule.

use std::{fs, path::Path};

use rcgen::{CertificateParams, Issuer, KeyPair, SubjectPublicKeyInfo};
use serde::Deserialize;

use crate::{Certificate, SignatureError};

#[derive(Deserialize)]
struct Vectors {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    public_key_der: String,
    tests: Vec<Vector>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vector {
    tc_id: u32,
    result: String,
    msg: String,
    sig: String,
}

type Outcome = Result<(), SignatureError>;

/// Calls `check` with the certificate of each vector's key, the vector's number and result, and
/// what `verify` says.
fn run(
    file: &str,
    verify: impl Fn(&Certificate, &[u8], &[u8]) -> Outcome,
    mut check: impl FnMut(u32, &str, Outcome),
) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/wycheproof");
    let vectors: Vectors = serde_json::from_slice(&fs::read(folder.join(file)).unwrap()).unwrap();
    let issuer = Issuer::new(CertificateParams::default(), KeyPair::generate().unwrap());
    for group in vectors.groups {
        let key = SubjectPublicKeyInfo::from_der(&hex::decode(group.public_key_der).unwrap());
        let issued = CertificateParams::default().signed_by(&key.unwrap(), &issuer);
        let certificate = Certificate::from_der(issued.unwrap().der()).unwrap();
        for vector in group.tests {
            let message = hex::decode(vector.msg).unwrap();
            let signature = hex::decode(vector.sig).unwrap();
            let outcome = verify(&certificate, &message, &signature);
            check(vector.tc_id, &vector.result, outcome);
        }
    }
}

#[test]
fn ecdsa_in_der() {
    let (mut valid, mut high_s, mut refused) = (0, 0, 0);
    run(
        "ecdsa_p256_sha256_der.json",
        Certificate::verify_der,
        |case, result, outcome| match (result, outcome) {
            ("valid", Ok(())) => valid += 1,
            ("valid", Err(SignatureError::HighS)) => high_s += 1,
            ("invalid", Err(_)) => refused += 1,
            other => panic!("{case}: {other:?}"),
        },
    );
    assert_eq!((valid, high_s, refused), (103, 71, 310));
}

#[test]
fn ecdsa_as_es256() {
    let (mut valid, mut refused) = (0, 0);
    run(
        "ecdsa_p256_sha256_p1363.json",
        Certificate::verify_es256,
        |case, result, outcome| match (result, outcome) {
            ("valid", Ok(())) => valid += 1,
            ("invalid", Err(_)) => refused += 1,
            other => panic!("{case}: {other:?}"),
        },
    );
    assert_eq!((valid, refused), (173, 89));
}
