//! What is certified, and by which CA.

use rcgen::{BasicConstraints, IsCa, SanType};

use super::*;

/// Extensions by OID, with whether they are critical; key identifiers differ with the keys.
fn extensions(certificate: &Certificate) -> Vec<(String, bool, Vec<u8>)> {
    const SUBJECT_KEY_ID: &str = "2.5.29.14";
    let (_, parsed) = X509Certificate::from_der(certificate.der()).unwrap();
    let extensions = parsed.extensions().iter().map(|extension| {
        let oid = extension.oid.to_id_string();
        let value = match oid.as_str() {
            SUBJECT_KEY_ID => Vec::new(),
            _ => extension.value.to_vec(),
        };
        (oid, extension.critical, value)
    });
    extensions.collect()
}

/// A request may ask for whatever it likes; the certificate is the one that mspgen would make.
#[tokio::test]
async fn a_certificate_says_what_the_consortiums_own_tool_writes_and_nothing_of_the_request() {
    let world = World::new();
    let key = KeyPair::generate().unwrap();
    let mut greedy = params("hr-1");
    greedy
        .distinguished_name
        .push(DnType::OrganizationalUnitName, "admin");
    greedy.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    greedy.subject_alt_names = vec![SanType::DnsName(
        "oracle.org1.example.com".try_into().unwrap(),
    )];
    let request = greedy.serialize_request(&key).unwrap().der().to_vec();
    let issued = world.certify(&world.token().await, &request).await.unwrap();
    let issued = Certificate::from_pem(issued.certificate.as_bytes()).unwrap();
    let theirs = world.organization.issue_device("hr-1", None).unwrap();
    let theirs = theirs.certificate;
    assert_eq!(issued.subject(), theirs.subject());
    assert_eq!(issued.issuer(), theirs.issuer());
    assert_eq!(extensions(&issued), extensions(&theirs));
    assert!(!issued.is_ca() && issued.dns_names().is_empty());
    assert_eq!(issued.organizational_units(), ["client"]);
    let key_id = digest(&SHA256, key.public_key_raw());
    assert_eq!(issued.subject_key_id(), Some(key_id.as_ref()));
    assert_eq!(
        issued.in_low_s_form(world.enrolments.authority.certificate()),
        issued
    );
}

#[tokio::test]
async fn signing_requests_without_proof_or_of_another_kind_are_refused() {
    let world = World::new();
    let token = world.token().await;
    let key = KeyPair::generate().unwrap();
    let good = request(&key, "hr-1");
    let mut forged = good.clone();
    // The last byte is the signature's.
    *forged.last_mut().unwrap() ^= 1;
    let mut long = good.clone();
    long.push(0);
    let other_key = KeyPair::generate().unwrap();
    let mut swapped = good.clone();
    let at = good
        .windows(65)
        .position(|window| window == key.public_key_raw())
        .unwrap();
    swapped[at..at + 65].copy_from_slice(other_key.public_key_raw());
    let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let mut nameless = params("x");
    nameless.distinguished_name = rcgen::DistinguishedName::new();
    let nameless = nameless.serialize_request(&key).unwrap().der().to_vec();
    for (bytes, why) in [
        (forged, "signature"),
        (long, "PKCS#10"),
        (swapped, "signature"),
        (request(&p384, "hr-1"), "ES256"),
        (request(&ed25519, "hr-1"), "ES256"),
        (request(&key, "hr-2"), "common name"),
        (nameless, "common name"),
        (b"no request".to_vec(), "PKCS#10"),
        (Vec::new(), "PKCS#10"),
        (
            b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"
                .to_vec(),
            "PKCS#10",
        ),
    ] {
        let refused = world.certify(&token, &bytes).await.unwrap_err();
        assert!(
            matches!(&refused, EnrolmentError::Request { reason } if reason.contains(why)),
            "{why}: {refused}"
        );
    }
    // None of them used the token up.
    world.certify(&token, &good).await.unwrap();
}

/// A key on another curve under P-256's signature algorithm, which some parsers let pass.
#[test]
fn a_request_with_sha_256_over_another_curve_is_refused() {
    let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let mut bytes = request(&p384, "hr-1");
    // ecdsa-with-SHA384 and ecdsa-with-SHA256 differ in the last byte of the OID.
    let sha384 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3];
    let at = bytes
        .windows(8)
        .position(|window| window == sha384)
        .unwrap();
    bytes[at + 7] = 2;
    let refused = Request::read(&bytes).unwrap_err();
    assert!(refused.to_string().contains("P-256"), "{refused}");
}

#[test]
fn a_ca_that_could_not_serve_is_refused_at_the_start() {
    use std::os::unix::fs::PermissionsExt as _;

    let world = World::new();
    let (certificate, key) = ca_files(&world.organization);
    let load = |certificate: &Path, key: &Path, now: i64| {
        Authority::load(certificate, key, &msp(&world.organization), now).unwrap_err()
    };
    let tls = world.organization.folder().join("tlsca");
    let tls_certificate = tls.join("tlsca.org1.example.com-cert.pem");
    let mismatch = load(&tls_certificate, &key, now());
    assert!(
        matches!(mismatch, AuthorityError::Mismatch { .. }),
        "{mismatch}"
    );
    let foreign = load(&tls_certificate, &tls.join("priv_sk"), now());
    assert!(matches!(foreign, AuthorityError::NotInMsp(_)), "{foreign}");
    let no_ca = world.organization.issue_device("hr-1", None).unwrap();
    let path = world.folder.path().join("device.pem");
    std::fs::write(&path, no_ca.certificate_pem).unwrap();
    let content = load(&path, &key, now());
    assert!(
        matches!(content, AuthorityError::Content { .. }),
        "{content}"
    );
    let ended = load(&certificate, &key, now() + 4000 * DAY);
    assert!(matches!(ended, AuthorityError::Content { .. }), "{ended}");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
    let exposed = load(&certificate, &key, now());
    assert!(
        matches!(exposed, AuthorityError::Exposed { mode: 0o640, .. }),
        "{exposed}"
    );
}
