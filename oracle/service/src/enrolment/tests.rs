//! Tokens, signing requests, certificates and renewals, with a table in place of the ledger.

mod certificates;
mod devices;
mod tokens;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex as StdMutex, PoisonError};

use contract_interface::{DeviceBinding, Salt};
use fabric_msp::{Msp, MspId};
use fabric_mspgen::{Kind, Organization};
use rcgen::{CertificateParams, DnType, KeyPair};
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
