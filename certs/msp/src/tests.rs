//! The parts of this crate together, on certificates issued for the purpose.

mod vectors;
mod wycheproof;

use fabric_protos::common::msp_principal::Classification;
use fabric_protos::common::msp_role::MspRoleType;
use fabric_protos::common::{MspPrincipal, MspRole, OrganizationUnit};
use fabric_protos::msp::SerializedIdentity;
use prost::Message as _;
use rcgen::ExtendedKeyUsagePurpose;

use crate::testing::{Ca, LATER, NOW, Wanted, msp_id};
use crate::{
    Certificate, CertificateError, Msp, MspError, MspId, MspManager, NodeOu, SignatureError,
    parse_serialized_identity, serialized_identity,
};

/// Order of P-256 minus one, as DER content: the highest s there is, and surely high.
fn with_high_s(der: &[u8]) -> Vec<u8> {
    use crate::low_s::{Curve, from_der, is_low, mirrored, to_der};
    let mut fixed = from_der(Curve::P256, der).unwrap();
    let (_, s) = fixed.split_at_mut(32);
    if is_low(Curve::P256, s) {
        let high = mirrored(Curve::P256, s);
        s.copy_from_slice(&high);
    }
    to_der(Curve::P256, &fixed).unwrap()
}

#[test]
fn a_signature_has_low_s_and_its_mirror_is_refused() {
    let identity = Ca::root("ca").client();
    let certificate = identity.certificate();
    for message in [&b"a"[..], b"b", b"c", b"d", b"e", b"f", b"g", b"h"] {
        let signature = identity.sign(message).unwrap();
        assert_eq!(certificate.verify_der(message, &signature), Ok(()));
        let high = with_high_s(&signature);
        assert_eq!(
            certificate.verify_der(message, &high),
            Err(SignatureError::HighS)
        );
        let other = certificate.verify_der(b"other", &signature);
        assert_eq!(other, Err(SignatureError::Mismatch));
        let fixed = identity.sign_es256(message).unwrap();
        assert_eq!(certificate.verify_es256(message, &fixed), Ok(()));
        assert_eq!(
            certificate.verify_es256(message, &fixed[1..]),
            Err(SignatureError::Malformed)
        );
    }
}

#[test]
fn a_member_is_valid_at_its_time_and_for_fabric_for_ever() {
    let ca = Ca::root("ca");
    let (msp, user) = (ca.msp(), ca.client());
    let valid = msp.validate_at(user.certificate(), NOW).unwrap();
    assert_eq!(valid.node_ou, Some(NodeOu::Client));
    assert!(!valid.is_admin());
    for moment in [LATER, NOW - 400 * 24 * 60 * 60, -1] {
        let refused = msp.validate_at(user.certificate(), moment).unwrap_err();
        assert!(
            matches!(refused, MspError::OutsideValidity { .. }),
            "{refused}"
        );
    }
    msp.validate(user.certificate()).unwrap();
}

#[test]
fn certificates_of_another_ca_are_refused_even_with_its_name() {
    let (ca, twin) = (Ca::root("ca"), Ca::root("ca"));
    assert_eq!(ca.certificate.subject(), twin.certificate.subject());
    let stranger = twin.client();
    let refused = ca.msp().validate(stranger.certificate()).unwrap_err();
    assert!(matches!(refused, MspError::Untrusted { .. }), "{refused}");
    assert!(!ca.msp().issued(stranger.certificate()));
}

#[test]
fn a_changed_certificate_is_refused() {
    let ca = Ca::root("ca");
    let der = ca.client().certificate().der().to_vec();
    let position = der.windows(6).position(|part| part == b"client").unwrap();
    let mut changed = der;
    changed[position..position + 6].copy_from_slice(b"orders");
    let changed = Certificate::from_der(&changed).unwrap();
    assert!(matches!(
        ca.msp().validate(&changed),
        Err(MspError::Untrusted { .. })
    ));
}

#[test]
fn roles_come_from_exactly_one_unit() {
    let ca = Ca::root("ca");
    let check = |unit: Option<&str>, expected: Option<NodeOu>| {
        let user = ca.issue(&Wanted {
            unit,
            ..Wanted::default()
        });
        match (ca.msp().validate(user.certificate()), expected) {
            (Ok(valid), Some(role)) => assert_eq!(valid.node_ou, Some(role)),
            (Err(MspError::OrganizationalUnits { .. }), None) => {}
            (other, _) => panic!("{unit:?}: {other:?}"),
        }
    };
    check(Some("client"), Some(NodeOu::Client));
    check(Some("peer"), Some(NodeOu::Peer));
    check(Some("admin"), Some(NodeOu::Admin));
    check(Some("orderer"), Some(NodeOu::Orderer));
    check(Some("Client"), None);
    check(None, None);
}

#[test]
fn ca_certificates_are_no_identities_and_identities_no_cas() {
    let ca = Ca::root("ca");
    let refused = ca.msp().validate(&ca.certificate).unwrap_err();
    assert!(
        matches!(refused, MspError::CaAsIdentity { .. }),
        "{refused}"
    );
    let mut config = ca.config();
    config.root_certs = vec![ca.client().certificate().pem().into_bytes()];
    let refused = Msp::from_config(&config).unwrap_err();
    assert!(matches!(refused, MspError::NotCa { .. }), "{refused}");
}

#[test]
fn a_tls_client_certificate_connects_but_signs_nothing() {
    let ca = Ca::root("ca");
    let purpose = Some(ExtendedKeyUsagePurpose::ClientAuth);
    let device = ca.issue(&Wanted {
        purpose,
        ..Wanted::default()
    });
    ca.msp().validate_at(device.certificate(), NOW).unwrap();
    let refused = ca.msp().validate(device.certificate()).unwrap_err();
    assert!(matches!(refused, MspError::Untrusted { .. }), "{refused}");
    let purpose = Some(ExtendedKeyUsagePurpose::CodeSigning);
    let neither = ca.issue(&Wanted {
        purpose,
        ..Wanted::default()
    });
    assert!(ca.msp().validate_at(neither.certificate(), NOW).is_err());
}

#[test]
fn intermediates_issue_and_their_root_no_more() {
    let root = Ca::root("root");
    let intermediate = root.intermediate("intermediate");
    let mut config = root.config();
    config.intermediate_certs = vec![intermediate.certificate.pem().into_bytes()];
    let msp = Msp::from_config(&config).unwrap();
    msp.validate(intermediate.client().certificate()).unwrap();
    // Fabric: whoever has an intermediate below does not issue identities.
    assert!(matches!(
        msp.validate(root.client().certificate()),
        Err(MspError::Untrusted { .. })
    ));
    let foreign = Ca::root("else").intermediate("intermediate");
    config.intermediate_certs = vec![foreign.certificate.pem().into_bytes()];
    assert!(matches!(
        Msp::from_config(&config),
        Err(MspError::Untrusted { .. })
    ));
}

#[test]
fn revoked_certificates_are_refused_whatever_the_lists_dates() {
    let ca = Ca::root("ca");
    let (user, other) = (ca.client(), ca.client());
    let mut config = ca.config();
    config.revocation_list = vec![ca.revoke(&[user.certificate()])];
    let msp = Msp::from_config(&config).unwrap();
    for refused in [
        msp.validate(user.certificate()),
        msp.validate_at(user.certificate(), NOW),
    ] {
        assert!(
            matches!(refused, Err(MspError::Revoked { .. })),
            "{refused:?}"
        );
    }
    msp.validate(other.certificate()).unwrap();
}

#[test]
fn lists_that_would_do_nothing_are_refused() {
    let ca = Ca::root("ca");
    let mut forged = ca.revoke(&[]);
    let at = forged.len() - 40;
    forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
    for list in [
        Ca::root("ca").revoke(&[]),
        forged,
        b"no list".to_vec(),
        Vec::new(),
    ] {
        let mut config = ca.config();
        config.revocation_list = vec![list];
        let refused = Msp::from_config(&config).unwrap_err();
        assert!(matches!(refused, MspError::Crl { .. }), "{refused}");
    }
}

#[test]
fn a_reload_takes_effect_and_a_bad_list_leaves_the_old_in_force() {
    let ca = Ca::root("ca");
    let user = ca.client();
    let folder = tempfile::tempdir().unwrap();
    let mut msp = ca.msp();
    msp.reload_crls(folder.path()).unwrap();
    msp.validate(user.certificate()).unwrap();
    let crls = folder.path().join("crls");
    std::fs::create_dir(&crls).unwrap();
    std::fs::write(crls.join("crl.pem"), ca.revoke(&[user.certificate()])).unwrap();
    msp.reload_crls(folder.path()).unwrap();
    assert!(matches!(
        msp.validate(user.certificate()),
        Err(MspError::Revoked { .. })
    ));
    std::fs::write(crls.join("crl.pem"), "damaged").unwrap();
    assert!(msp.reload_crls(folder.path()).is_err());
    assert!(matches!(
        msp.validate(user.certificate()),
        Err(MspError::Revoked { .. })
    ));
}

#[test]
fn one_certificate_written_in_two_ways_is_one_identity() {
    let ca = Ca::root("ca");
    let mut forms = std::collections::BTreeSet::new();
    let user = ca.client();
    let original = user.certificate();
    // The issuer's signature is the last element: replace it by its mirror image.
    for signature in [with_low_s(original), with_high_s(original.signature())] {
        let twin = original.with_signature(&signature).unwrap();
        let valid = ca.msp().validate(&twin).unwrap();
        forms.insert(valid.certificate.thumbprint());
        assert_eq!(valid.certificate, twin.in_low_s_form(&ca.certificate));
    }
    assert_eq!(forms.len(), 1);
}

fn with_low_s(certificate: &Certificate) -> Vec<u8> {
    use crate::low_s::{Curve, from_der, normalize, to_der};
    let mut fixed = from_der(Curve::P256, certificate.signature()).unwrap();
    normalize(Curve::P256, &mut fixed);
    to_der(Curve::P256, &fixed).unwrap()
}

#[test]
fn admins_are_listed_or_have_the_unit() {
    let ca = Ca::root("ca");
    let listed = ca.client();
    let mut config = ca.config();
    config.admins = vec![listed.certificate().pem().into_bytes()];
    let msp = Msp::from_config(&config).unwrap();
    assert!(msp.validate(listed.certificate()).unwrap().is_admin());
    assert!(!msp.validate(ca.client().certificate()).unwrap().is_admin());

    let peer = ca.issue(&Wanted {
        unit: Some("peer"),
        ..Wanted::default()
    });
    config.admins = vec![peer.certificate().pem().into_bytes()];
    assert!(matches!(
        Msp::from_config(&config),
        Err(MspError::InvalidAdmin { .. })
    ));
    config.admins = Vec::new();
    config.fabric_node_ous = None;
    assert!(matches!(Msp::from_config(&config), Err(MspError::NoAdmin)));
}

fn role(msp_id: &str, role: MspRoleType) -> MspPrincipal {
    let role = MspRole {
        msp_identifier: msp_id.to_owned(),
        role: role.into(),
    };
    MspPrincipal {
        principal_classification: Classification::Role.into(),
        principal: role.encode_to_vec(),
    }
}

#[test]
fn principals_mean_whom_they_say() {
    let ca = Ca::root("ca");
    let valid = |unit| {
        let user = ca.issue(&Wanted {
            unit: Some(unit),
            ..Wanted::default()
        });
        ca.msp().validate(user.certificate()).unwrap()
    };
    let (client, peer, admin) = (valid("client"), valid("peer"), valid("admin"));
    for (who, kind, expected) in [
        (&client, MspRoleType::Member, true),
        (&client, MspRoleType::Client, true),
        (&client, MspRoleType::Admin, false),
        (&client, MspRoleType::Peer, false),
        (&peer, MspRoleType::Peer, true),
        (&peer, MspRoleType::Orderer, false),
        (&admin, MspRoleType::Admin, true),
        (&admin, MspRoleType::Client, false),
    ] {
        assert_eq!(who.satisfies(&role("Org1MSP", kind)), expected, "{kind:?}");
        assert!(!who.satisfies(&role("Org2MSP", kind)));
    }
    let identity = |bytes| MspPrincipal {
        principal_classification: Classification::Identity.into(),
        principal: bytes,
    };
    assert!(client.satisfies(&identity(client.serialized())));
    assert!(!client.satisfies(&identity(peer.serialized())));
    assert!(!client.satisfies(&identity(b"\xff".to_vec())));
    let unit = |unit: &str, certifiers: Vec<u8>| MspPrincipal {
        principal_classification: Classification::OrganizationUnit.into(),
        principal: OrganizationUnit {
            msp_identifier: "Org1MSP".to_owned(),
            organizational_unit_identifier: unit.to_owned(),
            certifiers_identifier: certifiers,
        }
        .encode_to_vec(),
    };
    let certifier = client.certifier.to_vec();
    assert!(client.satisfies(&unit("client", certifier.clone())));
    assert!(!client.satisfies(&unit("peer", certifier)));
    assert!(!client.satisfies(&unit("client", vec![0; 32])));
    for classification in [3, 4, 99] {
        let principal = MspPrincipal {
            principal_classification: classification,
            ..MspPrincipal::default()
        };
        assert!(!client.satisfies(&principal));
    }
}

#[test]
fn a_creator_is_judged_by_the_msp_it_names() {
    let ca = Ca::root("ca");
    let user = ca.client();
    let manager = MspManager::new(vec![ca.msp()]);
    assert_eq!(manager.identity(&user.serialized()).unwrap().certificate, {
        user.certificate().in_low_s_form(&ca.certificate)
    });
    let elsewhere = serialized_identity(&MspId::parse("Org9MSP").unwrap(), user.certificate());
    assert!(matches!(
        manager.identity(&elsewhere),
        Err(MspError::UnknownMsp { .. })
    ));
    assert_eq!(
        manager.find_for(user.certificate()).map(Msp::msp_id),
        Some(&msp_id())
    );
    assert!(
        manager
            .find_for(Ca::root("ca").client().certificate())
            .is_none()
    );
}

#[test]
fn malformed_creators_are_refused() {
    let encode = |mspid: &str, id_bytes: &[u8]| {
        SerializedIdentity {
            mspid: mspid.to_owned(),
            id_bytes: id_bytes.to_vec(),
        }
        .encode_to_vec()
    };
    let pem = Ca::root("ca").client().certificate().pem();
    assert!(parse_serialized_identity(&encode("Org1MSP", pem.as_bytes())).is_ok());
    for (what, bytes) in [
        ("no protobuf", vec![0xff; 9]),
        ("empty", Vec::new()),
        ("no MSP ID", encode("", pem.as_bytes())),
        ("no certificate", encode("Org1MSP", b"")),
        ("truncated PEM", encode("Org1MSP", &pem.as_bytes()[..200])),
        ("too long", encode("Org1MSP", &vec![b'x'; 200_000])),
    ] {
        assert!(parse_serialized_identity(&bytes).is_err(), "{what}");
    }
}

#[test]
fn malformed_certificates_are_refused_and_never_panic() {
    let der = Ca::root("ca").client().certificate().der().to_vec();
    for end in 0..der.len() {
        let cut = Certificate::from_der(&der[..end]);
        assert_eq!(cut, Err(CertificateError::Malformed), "cut at {end}");
    }
    let mut longer = der.clone();
    longer.push(0);
    assert_eq!(
        Certificate::from_der(&longer),
        Err(CertificateError::Malformed)
    );
    for at in 0..der.len() {
        let mut flipped = der.clone();
        flipped[at] ^= 0xff;
        // Whatever it says, it must not panic, and an MSP must not take it for the original.
        let _ = Certificate::from_der(&flipped);
    }
    assert_eq!(
        Certificate::from_pem(b"hello"),
        Err(CertificateError::NotPem)
    );
    let long = vec![0x30; crate::MAX_CERTIFICATE_BYTES + 1];
    assert!(matches!(
        Certificate::from_der(&long),
        Err(CertificateError::TooLong { .. })
    ));
}

#[test]
fn attributes_are_read_and_malformed_ones_refused() {
    let ca = Ca::root("ca");
    let read = |json| {
        let wanted = Wanted {
            attributes: Some(json),
            ..Wanted::default()
        };
        ca.issue(&wanted).certificate().clone()
    };
    let certificate = read(r#"{"attrs":{"salus.role":"oracle","empty":""}}"#);
    assert_eq!(certificate.attribute("salus.role"), Some("oracle"));
    assert_eq!(certificate.attribute("empty"), Some(""));
    assert_eq!(certificate.attribute("other"), None);
    assert!(read("{}").attributes().is_empty());
    let json = br#"{"attrs":{"a":"b"}}"#;
    let mut der = read(r#"{"attrs":{"a":"b"}}"#).der().to_vec();
    let at = der
        .windows(json.len())
        .position(|part| part == json)
        .unwrap();
    der[at] = b'[';
    let oid = "1.2.3.4.5.6.7.8.1".to_owned();
    assert_eq!(
        Certificate::from_der(&der),
        Err(CertificateError::Extension { oid })
    );
    assert!(ca.client().certificate().attributes().is_empty());
}

#[test]
fn a_certificate_keeps_its_bytes_through_pem() {
    let certificate = Ca::root("ca").client().certificate().clone();
    let again = Certificate::from_pem(certificate.pem().as_bytes()).unwrap();
    assert_eq!(again, certificate);
    assert_eq!(again.thumbprint(), certificate.thumbprint());
    assert!(certificate.pem().lines().all(|line| line.len() <= 64));
    let subject = "CN=User1@org1.example.com,OU=client,O=org1.example.com";
    assert_eq!(certificate.subject(), subject);
    assert_eq!(certificate.issuer(), "CN=ca,O=org1.example.com");
}
