//! Networks issued into a temporary folder and judged by fabric-msp.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use fabric_msp::{Certificate, Msp, MspError, MspId, NodeOu, SigningIdentity};
use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use crate::{IssueError, Organization, SanName, UserProfile, Validity, cryptogen};

struct Network {
    dir: TempDir,
}

impl Network {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        cryptogen(dir.path(), 2).unwrap();
        Self { dir }
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("peerOrganizations/org1.example.com")
    }

    fn organization(&self) -> Organization {
        Organization::open(&self.folder()).unwrap()
    }
}

fn msp_id() -> MspId {
    MspId::parse("Org1MSP").unwrap()
}

fn msp(organization: &Organization) -> Msp {
    Msp::from_dir(msp_id(), &organization.msp_folder()).unwrap()
}

fn certificate(path: &Path) -> Certificate {
    Certificate::from_pem(&fs::read(path).unwrap()).unwrap()
}

/// All files below a folder as sorted lines, with a star for those that only the owner reads.
fn listing(root: &Path) -> String {
    let mut lines = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
                continue;
            }
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            let private = match mode {
                0o600 => " *",
                0o644 => "",
                other => panic!("mode {other:o} of {:?}", entry.path()),
            };
            let path = entry.path();
            let path = path.strip_prefix(root).unwrap().display();
            lines.push(format!("{path}{private}\n"));
        }
    }
    lines.sort();
    lines.concat()
}

#[test]
fn the_folders_are_those_of_cryptogen() {
    let dir = tempfile::tempdir().unwrap();
    cryptogen(dir.path(), 1).unwrap();
    let expected = include_str!("../../../tests/golden/msp/cryptogen.txt");
    assert_eq!(listing(dir.path()), expected);
}

#[test]
fn nothing_is_ever_overwritten() {
    let network = Network::new();
    let before = listing(network.dir.path());
    let again = cryptogen(network.dir.path(), 2).unwrap_err();
    assert!(
        matches!(
            again,
            IssueError::File {
                action: "create",
                ..
            }
        ),
        "{again}"
    );
    let again = network
        .organization()
        .issue_user("Admin", &UserProfile::default())
        .unwrap_err();
    assert!(
        matches!(
            again,
            IssueError::File {
                action: "create",
                ..
            }
        ),
        "{again}"
    );
    assert_eq!(listing(network.dir.path()), before);
}

#[test]
fn every_identity_has_its_role_in_its_msp_and_none_elsewhere() {
    let network = Network::new();
    let organization = network.organization();
    let other = network
        .dir
        .path()
        .join("peerOrganizations/org2.example.com/msp");
    let other = Msp::from_dir(MspId::parse("Org2MSP").unwrap(), &other).unwrap();
    for (folder, role) in [
        ("peers/peer0.org1.example.com", NodeOu::Peer),
        ("users/Admin@org1.example.com", NodeOu::Admin),
        ("users/User1@org1.example.com", NodeOu::Client),
    ] {
        let folder = network.folder().join(folder).join("msp");
        let identity = SigningIdentity::from_msp_dir(msp_id(), &folder).unwrap();
        let valid = msp(&organization).validate(identity.certificate()).unwrap();
        assert_eq!(valid.node_ou, Some(role));
        // The folder of a signer describes the same MSP.
        Msp::from_dir(msp_id(), &folder)
            .unwrap()
            .validate(identity.certificate())
            .unwrap();
        assert!(other.validate(identity.certificate()).is_err());
        let signature = identity.sign(b"message").unwrap();
        valid.verify(b"message", &signature).unwrap();
    }
    let orderer = network.dir.path().join("ordererOrganizations/example.com");
    let folder = orderer.join("orderers/orderer.example.com/msp");
    let id = MspId::parse("OrdererMSP").unwrap();
    let identity = SigningIdentity::from_msp_dir(id.clone(), &folder).unwrap();
    let valid = Msp::from_dir(id, &orderer.join("msp"))
        .unwrap()
        .validate(identity.certificate());
    assert_eq!(valid.unwrap().node_ou, Some(NodeOu::Orderer));
}

#[test]
fn every_signature_of_a_ca_has_low_s() {
    let network = Network::new();
    let organization = network.organization();
    let ca = organization.signing_ca().certificate();
    for number in 0..16 {
        let user = organization.issue_user(&format!("u{number}"), &UserProfile::default());
        let path = user
            .unwrap()
            .join(format!("msp/signcerts/u{number}@org1.example.com-cert.pem"));
        let issued = certificate(&path);
        assert_eq!(issued.in_low_s_form(ca), issued);
    }
}

#[test]
fn servers_carry_the_names_they_are_reached_by() {
    let network = Network::new();
    let server = certificate(
        &network
            .folder()
            .join("peers/peer0.org1.example.com/tls/server.crt"),
    );
    assert_eq!(
        server.dns_names(),
        ["peer0.org1.example.com", "peer0", "localhost"]
    );
    let addresses: Vec<_> = server
        .ip_addresses()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(addresses, ["127.0.0.1", "::1"]);
    let names = ["oracle.example", "10.0.0.7"].map(SanName::parse);
    let issued = network
        .organization()
        .issue_tls_server("oracle", &names)
        .unwrap();
    assert_eq!(issued.certificate.dns_names(), ["oracle.example"]);
    assert_eq!(issued.certificate.subject_common_name(), Some("oracle"));
    let bad = [SanName::Dns("büro".to_owned())];
    let refused = network
        .organization()
        .issue_tls_server("oracle", &bad)
        .unwrap_err();
    assert!(matches!(refused, IssueError::DnsName { .. }), "{refused}");
}

#[test]
fn users_have_the_attributes_asked_for() {
    let network = Network::new();
    let attributes: BTreeMap<_, _> = [("salus.role", "provider"), ("salus.emergency", "true")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let profile = UserProfile {
        attributes: attributes.clone(),
        ..UserProfile::default()
    };
    let folder = network
        .organization()
        .issue_user("doctor", &profile)
        .unwrap();
    let identity = SigningIdentity::from_msp_dir(msp_id(), &folder.join("msp")).unwrap();
    assert_eq!(identity.certificate().attributes(), &attributes);
    let subject = "CN=doctor@org1.example.com,OU=client,O=org1.example.com";
    assert_eq!(identity.certificate().subject(), subject);
}

#[test]
fn expired_users_are_refused_at_the_door() {
    let network = Network::new();
    let organization = network.organization();
    let start = organization.signing_ca().certificate().not_before();
    let profile = UserProfile {
        validity: Some(Validity {
            not_before: start,
            not_after: start + 60,
        }),
        ..UserProfile::default()
    };
    let folder = organization.issue_user("former", &profile).unwrap();
    let identity = SigningIdentity::from_msp_dir(msp_id(), &folder.join("msp")).unwrap();
    let msp = msp(&organization);
    msp.validate_at(identity.certificate(), start + 60).unwrap();
    let refused = msp
        .validate_at(identity.certificate(), start + 61)
        .unwrap_err();
    assert!(
        matches!(refused, MspError::OutsideValidity { .. }),
        "{refused}"
    );
    // Fabric itself looks at chains only.
    msp.validate(identity.certificate()).unwrap();
}

#[test]
fn a_device_connects_but_is_no_channel_identity_and_can_be_revoked() {
    let network = Network::new();
    let organization = network.organization();
    let device = organization.issue_device("ecg-0017", None).unwrap();
    assert_eq!(device.certificate.subject_common_name(), Some("ecg-0017"));
    let now = device.certificate.not_before() + 600;
    let valid = msp(&organization)
        .validate_at(&device.certificate, now)
        .unwrap();
    assert_eq!(valid.node_ou, Some(NodeOu::Client));
    assert!(msp(&organization).validate(&device.certificate).is_err());
    let folder = network.dir.path().join("device");
    device.write_client(&folder).unwrap();
    assert_eq!(listing(&folder), "ca.crt\nclient.crt\nclient.key *\n");

    let other = organization.issue_device("ecg-0018", None).unwrap();
    organization
        .revoke_certificates(std::slice::from_ref(&device.certificate))
        .unwrap();
    let refused = msp(&organization)
        .validate_at(&device.certificate, now)
        .unwrap_err();
    assert!(matches!(refused, MspError::Revoked { .. }), "{refused}");
    msp(&organization)
        .validate_at(&other.certificate, now)
        .unwrap();
    // A second list keeps what the first said.
    organization
        .revoke(&[other.certificate.serial_hex()])
        .unwrap();
    for device in [&device, &other] {
        let refused = msp(&organization)
            .validate_at(&device.certificate, now)
            .unwrap_err();
        assert!(matches!(refused, MspError::Revoked { .. }), "{refused}");
    }
}

#[test]
fn a_request_gives_its_key_and_nothing_else() {
    let network = Network::new();
    let organization = network.organization();
    let key = KeyPair::generate().unwrap();
    let mut wishes = CertificateParams::new(vec!["admin.example".to_owned()]).unwrap();
    wishes
        .distinguished_name
        .push(rcgen::DnType::OrganizationalUnitName, "admin");
    wishes.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let request = wishes.serialize_request(&key).unwrap().pem().unwrap();
    let profile = UserProfile::default();
    let issued = organization.sign_csr(&request, "nurse", &profile).unwrap();
    assert!(!issued.is_ca());
    assert_eq!(issued.subject(), "CN=nurse,OU=client,O=org1.example.com");
    assert!(issued.dns_names().is_empty());
    msp(&organization).validate(&issued).unwrap();
    let pem = issued.pem();
    SigningIdentity::from_pem(msp_id(), pem.as_bytes(), key.serialize_pem().as_bytes()).unwrap();

    // The request of somebody who does not hold the key.
    let at = request.len() - 60;
    let other = if request.as_bytes()[at] == b'A' {
        "B"
    } else {
        "A"
    };
    let mut forged = request;
    forged.replace_range(at..=at, other);
    let refused = organization
        .sign_csr(&forged, "nurse", &profile)
        .unwrap_err();
    assert!(matches!(refused, IssueError::Request { .. }), "{refused}");
    let curve = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let params = CertificateParams::new(Vec::new()).unwrap();
    let request = params.serialize_request(&curve).unwrap().pem().unwrap();
    let refused = organization
        .sign_csr(&request, "nurse", &profile)
        .unwrap_err();
    assert!(matches!(refused, IssueError::Request { .. }), "{refused}");
}

#[test]
fn renewal_changes_dates_and_serial_number_only() {
    let network = Network::new();
    let organization = network.organization();
    let folder = network.folder().join("peers/peer0.org1.example.com");
    let signing = folder.join("msp/signcerts/peer0.org1.example.com-cert.pem");
    let tls = folder.join("tls/server.crt");
    let (old_signing, old_tls) = (certificate(&signing), certificate(&tls));
    let validity = Validity {
        not_before: old_tls.not_before(),
        not_after: old_tls.not_after() + 1000,
    };
    let renewed = organization.renew(&folder, Some(validity)).unwrap();
    assert_eq!(renewed, [signing.clone(), tls.clone()]);
    for (old, new) in [
        (old_signing, certificate(&signing)),
        (old_tls, certificate(&tls)),
    ] {
        assert_ne!(new.serial_hex(), old.serial_hex());
        assert_eq!(new.not_after(), old.not_after() + 1000);
        assert_eq!(new.subject(), old.subject());
        assert_eq!(new.subject_key_id(), old.subject_key_id());
        assert_eq!(new.dns_names(), old.dns_names());
        assert_eq!(new.ip_addresses(), old.ip_addresses());
    }
    let identity = SigningIdentity::from_msp_dir(msp_id(), &folder.join("msp")).unwrap();
    msp(&organization).validate(identity.certificate()).unwrap();

    let stranger = network
        .dir
        .path()
        .join("peerOrganizations/org2.example.com");
    let stranger = Organization::open(&stranger).unwrap();
    let refused = stranger.renew(&folder, None).unwrap_err();
    assert!(
        matches!(refused, IssueError::NotIssuedHere { .. }),
        "{refused}"
    );
}

#[test]
fn names_that_are_no_names_are_refused() {
    let network = Network::new();
    let organization = network.organization();
    for name in ["../evil", "a/b", "", ".", &"n".repeat(60)] {
        let refused = organization
            .issue_user(name, &UserProfile::default())
            .unwrap_err();
        assert!(
            matches!(refused, IssueError::Name { .. }),
            "{name}: {refused}"
        );
    }
    assert!(organization.issue_device("../evil", None).is_err());
}

#[test]
fn folders_without_an_organization_are_refused() {
    let network = Network::new();
    let refused = Organization::open(network.dir.path()).unwrap_err();
    assert!(
        matches!(refused, IssueError::NoOrganization { .. }),
        "{refused}"
    );
    fs::remove_file(network.folder().join("msp_id")).unwrap();
    assert!(Organization::open(&network.folder()).is_err());
    let opened = Organization::open_as(&network.folder(), msp_id()).unwrap();
    assert_eq!(opened.domain(), "org1.example.com");
}
