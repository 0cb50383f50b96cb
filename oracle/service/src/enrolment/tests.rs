//! Tokens, signing requests, certificates and renewals, with a table in place of the ledger.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex as StdMutex, PoisonError};

use contract_interface::{DeviceBinding, Salt};
use fabric_msp::{Msp, MspId};
use fabric_mspgen::{Kind, Organization};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, SanType};
use tempfile::TempDir;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::*;

const NOW: i64 = 1_800_000_000;
const DAY: i64 = 86_400;

/// What a ledger would hold, and how often it was asked to change it.
#[derive(Debug, Default)]
struct Table {
    devices: StdMutex<HashMap<DeviceId, Device>>,
    changes: StdMutex<Vec<DeviceRegistration>>,
    /// Whether it cannot be reached.
    away: StdMutex<bool>,
}

fn lock<T>(mutex: &StdMutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait::async_trait]
impl Register for Table {
    async fn device(&self, id: &DeviceId) -> Result<Option<Device>, LedgerError> {
        Ok(lock(&self.devices).get(id).cloned())
    }

    async fn register(
        &self,
        registration: &DeviceRegistration,
    ) -> Result<Receipt<RegistrationOutcome>, LedgerError> {
        if *lock(&self.away) {
            return Err(LedgerError::BlocksEnded);
        }
        lock(&self.changes).push(registration.clone());
        let device = Device {
            device_id: registration.device_id.clone(),
            msp_id: "Org1MSP".parse().unwrap(),
            thumbprint: registration.thumbprint,
            status: registration.status,
            status_since: None,
            bindings: vec![DeviceBinding {
                patient: registration.patient,
                bound_from: registration.bound_from,
                bound_until: registration.bound_until,
            }],
            salt: Salt::from_bytes(std::array::from_fn(|i| i as u8)).unwrap(),
        };
        lock(&self.devices).insert(registration.device_id.clone(), device);
        Ok(Receipt {
            transaction_id: "ab".repeat(32),
            block_number: lock(&self.changes).len() as u64,
            result: RegistrationOutcome::Registered,
        })
    }
}

impl Table {
    fn set_status(&self, status: Status) {
        let mut devices = lock(&self.devices);
        devices
            .values_mut()
            .for_each(|device| device.status = status);
    }

    fn changes(&self) -> usize {
        lock(&self.changes).len()
    }
}

/// An organisation with a device CA, which is its signing CA.
struct World {
    folder: TempDir,
    organization: Organization,
    table: Arc<Table>,
    enrolments: Enrolments,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let msp_id: MspId = "Org1MSP".parse().unwrap();
        let root = folder.path().join("org");
        let organization =
            Organization::create(&root, msp_id, "org1.example.com", Kind::Peer).unwrap();
        let table = Arc::new(Table::default());
        let enrolments = open(folder.path(), &organization, &table);
        Self {
            folder,
            organization,
            table,
            enrolments,
        }
    }

    /// As after a crash.
    fn restart(self) -> Self {
        let Self {
            folder,
            organization,
            table,
            enrolments,
        } = self;
        drop(enrolments);
        let enrolments = open(folder.path(), &organization, &table);
        Self {
            folder,
            organization,
            table,
            enrolments,
        }
    }

    async fn token(&self) -> Zeroizing<String> {
        let token = self.enrolments.invite(wanted("hr-1"), NOW).await.unwrap();
        token.secret
    }

    async fn certify(&self, token: &str, request: &[u8]) -> Result<Issued, EnrolmentError> {
        self.enrolments.certify(token, request, NOW).await
    }

    /// A device that is enrolled, and its key.
    async fn enrolled(&self) -> (KeyPair, Certificate) {
        let key = KeyPair::generate().unwrap();
        let token = self.token().await;
        let issued = self.certify(&token, &request(&key, "hr-1")).await.unwrap();
        let certificate = Certificate::from_pem(issued.certificate.as_bytes()).unwrap();
        (key, certificate)
    }
}

fn ca_files(organization: &Organization) -> (PathBuf, PathBuf) {
    let ca = organization.folder().join("ca");
    (ca.join("ca.org1.example.com-cert.pem"), ca.join("priv_sk"))
}

fn msp(organization: &Organization) -> Msp {
    Msp::from_dir(organization.msp_id().clone(), &organization.msp_folder()).unwrap()
}

fn now() -> i64 {
    crate::clock::now().unix_seconds()
}

fn open(folder: &Path, organization: &Organization, table: &Arc<Table>) -> Enrolments {
    let (certificate, key) = ca_files(organization);
    let config = EnrolmentConfig {
        ca_certificate_file: certificate.clone(),
        ca_key_file: key.clone(),
        dir: folder.join("enrolments"),
        validity: Duration::from_secs(90 * 86_400),
        token_lifetime: Duration::from_secs(3600),
    };
    let authority = Authority::load(&certificate, &key, &msp(organization), now()).unwrap();
    Enrolments::open(&config, authority, Arc::<Table>::clone(table)).unwrap()
}

fn time(text: &str) -> UtcTime {
    text.parse().unwrap()
}

fn wanted(device: &str) -> Wanted {
    let from = time("2026-01-01T00:00:00Z");
    Wanted {
        device_id: device.parse().unwrap(),
        binding: Some((Pseudonym::from_bytes([7; 16]), from, None)),
        lifetime: Duration::from_secs(3600),
    }
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn request(key: &KeyPair, name: &str) -> Vec<u8> {
    params(name).serialize_request(key).unwrap().der().to_vec()
}

#[tokio::test]
async fn a_token_becomes_a_registered_certificate_for_the_devices_own_key() {
    let world = World::new();
    let key = KeyPair::generate().unwrap();
    let token = world.token().await;
    assert_eq!(token.len(), 43);
    let pem = params("hr-1")
        .serialize_request(&key)
        .unwrap()
        .pem()
        .unwrap();
    let issued = world.certify(&token, pem.as_bytes()).await.unwrap();
    let certificate = Certificate::from_pem(issued.certificate.as_bytes()).unwrap();
    assert_eq!(certificate.subject_common_name(), Some("hr-1"));
    assert_eq!(certificate.not_after(), NOW + 90 * DAY);
    msp(&world.organization)
        .validate_at(&certificate, NOW)
        .unwrap();
    let (_, parsed) = X509Certificate::from_der(certificate.der()).unwrap();
    assert_eq!(
        parsed.public_key().subject_public_key.data.as_ref(),
        key.public_key_raw()
    );
    let registered = lock(&world.table.changes)[0].clone();
    assert_eq!(registered.thumbprint.as_bytes(), &certificate.thumbprint());
    assert_eq!(registered.patient, Pseudonym::from_bytes([7; 16]));
    assert_eq!(registered.bound_from, time("2026-01-01T00:00:00Z"));
    assert_eq!(issued.block_number, 1);
}

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

#[tokio::test]
async fn of_two_who_show_a_token_at_once_one_is_served() {
    let world = World::new();
    let token = world.token().await;
    let keys: Vec<_> = (0..8).map(|_| KeyPair::generate().unwrap()).collect();
    let requests: Vec<_> = keys.iter().map(|key| request(key, "hr-1")).collect();
    let tries = requests
        .iter()
        .map(|request| world.certify(&token, request));
    let outcomes = futures::future::join_all(tries).await;
    let served = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(served, 1);
    for refused in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        assert!(matches!(refused, EnrolmentError::OtherKey), "{refused}");
    }
    assert_eq!(world.table.changes(), 1);
}

#[tokio::test]
async fn a_token_survives_a_restart_and_so_does_its_being_used() {
    let world = World::new();
    let token = world.token().await;
    let world = world.restart();
    let key = KeyPair::generate().unwrap();
    let first = world.certify(&token, &request(&key, "hr-1")).await.unwrap();
    let world = world.restart();
    // The answer was lost: the same key gets the same certificate, and the ledger is left alone.
    let again = world.certify(&token, &request(&key, "hr-1")).await.unwrap();
    assert_eq!(again.certificate, first.certificate);
    assert_eq!(world.table.changes(), 1);
    let other = KeyPair::generate().unwrap();
    let refused = world.certify(&token, &request(&other, "hr-1")).await;
    assert!(matches!(refused, Err(EnrolmentError::OtherKey)));
    for wrong in ["", "x", &token[1..]] {
        let refused = world.certify(wrong, &request(&key, "hr-1")).await;
        assert!(matches!(refused, Err(EnrolmentError::Token)), "{wrong}");
    }
}

#[tokio::test]
async fn a_ledger_that_is_away_costs_no_token_and_no_second_certificate() {
    let world = World::new();
    let token = world.token().await;
    let key = KeyPair::generate().unwrap();
    *lock(&world.table.away) = true;
    let failed = world.certify(&token, &request(&key, "hr-1")).await;
    assert!(matches!(failed, Err(EnrolmentError::Ledger(_))));
    // Meanwhile nobody else gets in, and a crash changes nothing.
    let world = world.restart();
    let other = KeyPair::generate().unwrap();
    let refused = world.certify(&token, &request(&other, "hr-1")).await;
    assert!(matches!(refused, Err(EnrolmentError::OtherKey)));
    *lock(&world.table.away) = false;
    let issued = world.certify(&token, &request(&key, "hr-1")).await.unwrap();
    let certificate = Certificate::from_pem(issued.certificate.as_bytes()).unwrap();
    let changes = lock(&world.table.changes);
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].thumbprint.as_bytes(), &certificate.thumbprint());
}

#[tokio::test]
async fn tokens_expire_and_a_new_one_replaces_one_that_was_not_used() {
    let world = World::new();
    let key = KeyPair::generate().unwrap();
    let csr = request(&key, "hr-1");
    let first = world.token().await;
    let second = world.token().await;
    let refused = world.certify(&first, &csr).await;
    assert!(matches!(refused, Err(EnrolmentError::Token)));
    let late = world.enrolments.certify(&second, &csr, NOW + 3600).await;
    assert!(matches!(late, Err(EnrolmentError::Token)));
    world
        .enrolments
        .certify(&second, &csr, NOW + 3599)
        .await
        .unwrap();
    // Nothing of what has expired stays on the disk.
    let lifetime = Duration::from_secs(60);
    let next = Wanted {
        lifetime,
        ..wanted("hr-2")
    };
    world.enrolments.invite(next, NOW + 3600).await.unwrap();
    let names = std::fs::read_dir(world.folder.path().join("enrolments")).unwrap();
    let tokens = names.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_str().unwrap().starts_with("token-")
    });
    assert_eq!(tokens.count(), 1);
}

#[tokio::test]
async fn the_folder_holds_no_token_and_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let world = World::new();
    let token = world.token().await;
    let folder = world.folder.path().join("enrolments");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains(&**token), "{}", path.display());
        assert!(!path.to_str().unwrap().contains(&**token));
    }
    let config = EnrolmentConfig {
        ca_certificate_file: PathBuf::new(),
        ca_key_file: PathBuf::new(),
        dir: folder.clone(),
        validity: Duration::ZERO,
        token_lifetime: Duration::ZERO,
    };
    let (certificate, key) = ca_files(&world.organization);
    let authority = Authority::load(&certificate, &key, &msp(&world.organization), now()).unwrap();
    let second = Enrolments::open(&config, authority, world.table.clone());
    assert!(
        matches!(second, Err(AuthorityError::Kept { .. })),
        "one at a time"
    );
}

#[tokio::test]
async fn asking_again_does_not_bring_a_suspended_device_back() {
    let world = World::new();
    let token = world.token().await;
    let key = KeyPair::generate().unwrap();
    let csr = request(&key, "hr-1");
    world.certify(&token, &csr).await.unwrap();
    world.table.set_status(Status::Suspended);
    // The token still answers with the certificate, which is no secret, and changes nothing.
    world.certify(&token, &csr).await.unwrap();
    assert_eq!(world.table.changes(), 1);
    // A new token does not end a suspension either.
    let fresh = world.token().await;
    let refused = world.certify(&fresh, &request(&key, "hr-1")).await;
    assert!(matches!(refused, Err(EnrolmentError::DeviceInactive)));
    world.table.set_status(Status::Revoked);
    let refused = world.enrolments.invite(wanted("hr-1"), NOW).await;
    assert!(matches!(refused, Err(EnrolmentError::DeviceRevoked)));
}

#[tokio::test]
async fn a_device_that_is_registered_keeps_its_binding_with_a_new_key() {
    let world = World::new();
    let unbound = || Wanted {
        binding: None,
        ..wanted("hr-1")
    };
    let refused = world.enrolments.invite(unbound(), NOW).await;
    assert!(matches!(refused, Err(EnrolmentError::NoPatient)));
    world.enrolled().await;
    let token = world
        .enrolments
        .invite(unbound(), NOW)
        .await
        .unwrap()
        .secret;
    let key = KeyPair::generate().unwrap();
    world.certify(&token, &request(&key, "hr-1")).await.unwrap();
    let changes = lock(&world.table.changes);
    assert_eq!(changes.len(), 2);
    assert_eq!(changes[1].patient, changes[0].patient);
    assert_eq!(changes[1].bound_from, changes[0].bound_from);
    assert_ne!(changes[1].thumbprint, changes[0].thumbprint);
}

#[tokio::test]
async fn a_device_renews_with_its_certificate_once_for_one_key() {
    let world = World::new();
    let (_, old) = world.enrolled().await;
    let key = KeyPair::generate().unwrap();
    let csr = request(&key, "hr-1");
    let renewed = world.enrolments.renew(&old, &csr, NOW + DAY).await.unwrap();
    let new = Certificate::from_pem(renewed.certificate.as_bytes()).unwrap();
    assert_eq!(new.not_after(), NOW + 91 * DAY);
    let world = world.restart();
    // The answer was lost: the old certificate is no longer registered, and still gets this answer.
    let again = world.enrolments.renew(&old, &csr, NOW + DAY).await.unwrap();
    assert_eq!(again.certificate, renewed.certificate);
    assert_eq!(world.table.changes(), 2);
    let other = KeyPair::generate().unwrap();
    let refused = world
        .enrolments
        .renew(&old, &request(&other, "hr-1"), NOW + DAY)
        .await;
    assert!(matches!(refused, Err(EnrolmentError::NotRegistered)));
    let late = world.enrolments.renew(&old, &csr, NOW + 40 * DAY).await;
    assert!(matches!(late, Err(EnrolmentError::NotRegistered)));
    let name = world
        .enrolments
        .renew(&new, &request(&key, "hr-2"), NOW)
        .await;
    assert!(matches!(name, Err(EnrolmentError::Request { .. })));
    let next = world
        .enrolments
        .renew(&new, &request(&other, "hr-1"), NOW + 2 * DAY)
        .await;
    next.unwrap();
}

#[tokio::test]
async fn only_a_device_of_this_ca_that_is_active_renews() {
    let world = World::new();
    let (_, registered) = world.enrolled().await;
    let key = KeyPair::generate().unwrap();
    let renew = async |certificate: &Certificate| {
        let csr = request(&key, certificate.subject_common_name().unwrap());
        world.enrolments.renew(certificate, &csr, NOW).await
    };
    let stranger_folder = tempfile::tempdir().unwrap();
    let stranger = Organization::create(
        stranger_folder.path(),
        "Org2MSP".parse().unwrap(),
        "org2.example.com",
        Kind::Peer,
    )
    .unwrap();
    let foreign = stranger.issue_device("hr-1", None).unwrap().certificate;
    assert!(matches!(
        renew(&foreign).await,
        Err(EnrolmentError::NotADevice)
    ));
    let unknown = world.organization.issue_device("hr-9", None).unwrap();
    let unknown = renew(&unknown.certificate).await;
    assert!(matches!(unknown, Err(EnrolmentError::NotADevice)));
    let twin = world.organization.issue_device("hr-1", None).unwrap();
    let twin = renew(&twin.certificate).await;
    assert!(matches!(twin, Err(EnrolmentError::NotRegistered)));
    world.table.set_status(Status::Suspended);
    let suspended = renew(&registered).await;
    assert!(matches!(suspended, Err(EnrolmentError::DeviceInactive)));
    assert_eq!(world.table.changes(), 1);
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

#[tokio::test]
async fn what_is_kept_is_bounded() {
    let world = World::new();
    let mut kept = world.enrolments.kept.lock().await;
    let enrolment = |device: usize| Enrolment {
        device_id: format!("hr-{device}").parse().unwrap(),
        binding: None,
        expires: NOW + 60,
        certified: None,
    };
    kept.fill_for_test(kept::KEPT_MAX - 1, NOW + 60);
    kept.invite("a", enrolment(1), NOW).unwrap();
    let full = kept.invite("b", enrolment(2), NOW).unwrap_err();
    assert!(matches!(full, EnrolmentError::Full));
    kept.invite("c", enrolment(2), NOW + 60).unwrap();
}
