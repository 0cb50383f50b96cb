//! How a device gets its certificate: an administrator asks for a one-time token, the device shows the token with a
//! signing request for a key that never leaves it, and is then registered and bound on the ledger.
//!
//! ```text
//! administrator ── POST /v1/enrolments ──▶ token (256 random bits; its SHA-256 is kept)
//! device ── token, PKCS#10 ──▶ checked ─▶ certified ─▶ written down, synced ─▶ registered on the ledger ─▶ certificate
//! device ── its certificate, PKCS#10 ──▶ the same, as a renewal
//! ```
//!
//! A token serves one key. What was certified is written down before the ledger hears of it, so that a device whose
//! answer was lost, or an oracle that was killed in between, asks again with the same key and gets the same
//! certificate; any other key is refused, and so is anybody who comes second.

mod authority;
mod error;
mod kept;
mod pace;
mod request;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contract_interface::{
    Device, DeviceId, DeviceRegistration, Digest, Pseudonym, RegistrationOutcome, Status, UtcTime,
};
use fabric_msp::Certificate;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

pub(crate) use self::authority::Authority;
pub(crate) use self::error::{AuthorityError, EnrolmentError};
use self::kept::{Binding, Certified, Enrolment, Kept, Registered, Renewal};
use self::pace::Pace;
pub(crate) use self::request::REQUEST_BYTES_MAX;
use self::request::Request;
use crate::config::EnrolmentConfig;
use crate::ledger::{Ledger, LedgerError, Receipt, Viewer};

/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;
/// How long the answer to a renewal is given again to who lost it.
const RENEWAL_KEPT_SECONDS: i64 = 30 * 86_400;

/// For whom a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The device.
    pub(crate) device_id: DeviceId,
    /// Whom it measures, from when and until when; the binding that it has, if none.
    pub(crate) binding: Option<(Pseudonym, UtcTime, Option<UtcTime>)>,
    /// How long the token is good.
    pub(crate) lifetime: Duration,
}

/// A token that was just made. It is shown once.
#[derive(Debug)]
pub(crate) struct Token {
    /// What the device shows.
    pub(crate) secret: Zeroizing<String>,
    /// Until when.
    pub(crate) expires_at: UtcTime,
}

/// A certificate that is registered.
#[derive(Debug)]
pub(crate) struct Issued {
    /// Whose.
    pub(crate) device_id: DeviceId,
    /// The certificate (PEM).
    pub(crate) certificate: String,
    /// The CA that issued it (PEM).
    pub(crate) authority: String,
    /// The transaction that registered it.
    pub(crate) transaction_id: String,
    /// The block that holds the transaction.
    pub(crate) block_number: u64,
}

/// Where devices are registered: the ledger, or a table in tests.
#[async_trait::async_trait]
pub(crate) trait Register: std::fmt::Debug + Send + Sync {
    /// A device of the organisation.
    async fn device(&self, id: &DeviceId) -> Result<Option<Device>, LedgerError>;
    /// Registers it, or changes it; equal content is no change.
    async fn register(
        &self,
        registration: &DeviceRegistration,
    ) -> Result<Receipt<RegistrationOutcome>, LedgerError>;
}

#[async_trait::async_trait]
impl Register for Ledger {
    async fn device(&self, id: &DeviceId) -> Result<Option<Device>, LedgerError> {
        Self::device(self, Viewer::Oracle, id).await
    }

    async fn register(
        &self,
        registration: &DeviceRegistration,
    ) -> Result<Receipt<RegistrationOutcome>, LedgerError> {
        self.register_device(registration).await
    }
}

/// The organisation's way for devices to get certificates.
#[derive(Debug)]
pub(crate) struct Enrolments {
    authority: Authority,
    validity: Duration,
    token_lifetime: Duration,
    register: Arc<dyn Register>,
    /// Held while one token or renewal is looked up and written down, so that of two who come at once one is first.
    kept: Mutex<Kept>,
    pace: Pace,
}

impl Enrolments {
    /// Opens what is kept. `authority` has been checked against the devices' MSP.
    ///
    /// # Errors
    ///
    /// [`AuthorityError::Kept`].
    pub(crate) fn open(
        config: &EnrolmentConfig,
        authority: Authority,
        register: Arc<dyn Register>,
    ) -> Result<Self, AuthorityError> {
        let dir: &Path = &config.dir;
        let kept = Kept::open(dir).map_err(|source| AuthorityError::Kept {
            path: dir.to_owned(),
            source,
        })?;
        Ok(Self {
            authority,
            validity: config.validity,
            token_lifetime: config.token_lifetime,
            register,
            kept: Mutex::new(kept),
            pace: Pace::default(),
        })
    }

    /// How long a token is good at most.
    pub(crate) fn token_lifetime(&self) -> Duration {
        self.token_lifetime
    }

    /// Whether somebody at this address may try a token now.
    pub(crate) fn admit(&self, address: IpAddr) -> bool {
        self.pace.admit(address)
    }

    /// Makes a token for a device.
    ///
    /// # Errors
    ///
    /// [`EnrolmentError`]: a device without binding, or too many tokens that are open.
    pub(crate) async fn invite(&self, wanted: Wanted, now: i64) -> Result<Token, EnrolmentError> {
        let device = self.register.device(&wanted.device_id).await?;
        if device
            .as_ref()
            .is_some_and(|device| device.status == Status::Revoked)
        {
            return Err(EnrolmentError::DeviceRevoked);
        }
        let bound = device.is_some_and(|device| !device.bindings.is_empty());
        if wanted.binding.is_none() && !bound {
            return Err(EnrolmentError::NoPatient);
        }
        let mut bytes = Zeroizing::new([0; TOKEN_BYTES]);
        rand::fill(&mut *bytes).map_err(|_| EnrolmentError::NoRandomness)?;
        let secret = Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes));
        let lifetime = i64::try_from(wanted.lifetime.as_secs()).unwrap_or(0);
        let expires = now.saturating_add(lifetime);
        let enrolment = Enrolment {
            device_id: wanted.device_id,
            binding: wanted.binding.map(Into::into),
            expires,
            certified: None,
        };
        self.kept.lock().await.invite(&secret, enrolment, now)?;
        Ok(Token {
            secret,
            expires_at: UtcTime::from_unix_seconds(expires).unwrap_or(UtcTime::MIN),
        })
    }

    /// Certifies the key of a signing request for who shows a token.
    ///
    /// # Errors
    ///
    /// [`EnrolmentError`].
    pub(crate) async fn certify(
        &self,
        secret: &str,
        request: &[u8],
        now: i64,
    ) -> Result<Issued, EnrolmentError> {
        let request = Request::read(request)?;
        let mut kept = self.kept.lock().await;
        let enrolment = kept.enrolment(secret, now)?.clone();
        let device_id = &enrolment.device_id;
        request.check_name(device_id)?;
        let mut certified = match enrolment.certified {
            Some(before) => before.again(request.key())?,
            None => {
                let certified = self.issue(device_id, &request, now)?;
                kept.certified(secret, certified.clone())?;
                certified
            }
        };
        drop(kept);
        if certified.registered.is_none() {
            let device = self.register.device(device_id).await?;
            let binding = match enrolment.binding {
                Some(binding) => binding,
                None => last_binding(device.as_ref())?,
            };
            let registered = self
                .register(device_id, device, binding, &certified)
                .await?;
            certified.registered = Some(registered);
            self.kept
                .lock()
                .await
                .certified(secret, certified.clone())?;
        }
        self.issued(device_id, certified)
    }

    /// Certifies a new key for the holder of a device's certificate, which an MSP has accepted.
    ///
    /// # Errors
    ///
    /// [`EnrolmentError`].
    pub(crate) async fn renew(
        &self,
        old: &Certificate,
        request: &[u8],
        now: i64,
    ) -> Result<Issued, EnrolmentError> {
        if !old.is_issued_by(self.authority.certificate()) {
            return Err(EnrolmentError::NotADevice);
        }
        let device_id: DeviceId = old
            .subject_common_name()
            .and_then(|name| name.parse().ok())
            .ok_or(EnrolmentError::NotADevice)?;
        let request = Request::read(request)?;
        request.check_name(&device_id)?;
        let device = self.register.device(&device_id).await?;
        let device = device.ok_or(EnrolmentError::NotADevice)?;
        let thumbprint = old.thumbprint();
        let mut kept = self.kept.lock().await;
        let mut renewal = match kept.renewal(&thumbprint, now) {
            Some(before) => Renewal {
                expires: before.expires,
                certified: before
                    .certified
                    .clone()
                    .again(request.key())
                    .map_err(|_| EnrolmentError::NotRegistered)?,
            },
            // Without an earlier answer, only who is registered now may be followed by another.
            None if *device.thumbprint.as_bytes() != thumbprint => {
                return Err(EnrolmentError::NotRegistered);
            }
            None if device.status != Status::Active => return Err(EnrolmentError::DeviceInactive),
            None => {
                let renewal = Renewal {
                    expires: now.saturating_add(RENEWAL_KEPT_SECONDS),
                    certified: self.issue(&device_id, &request, now)?,
                };
                kept.renewed(&thumbprint, renewal.clone(), now)?;
                renewal
            }
        };
        drop(kept);
        if renewal.certified.registered.is_none() {
            let binding = last_binding(Some(&device))?;
            let registered = self
                .register(&device_id, Some(device), binding, &renewal.certified)
                .await?;
            renewal.certified.registered = Some(registered);
            let mut kept = self.kept.lock().await;
            kept.renewed(&thumbprint, renewal.clone(), now)?;
        }
        self.issued(&device_id, renewal.certified)
    }

    fn issue(
        &self,
        device_id: &DeviceId,
        request: &Request,
        now: i64,
    ) -> Result<Certified, EnrolmentError> {
        let certificate = self
            .authority
            .issue(device_id, request.key(), now, self.validity)?;
        Ok(Certified {
            key: key_hash(request.key()),
            certificate: certificate.pem(),
            registered: None,
        })
    }

    /// Puts a certificate on the ledger in place of the one before. One that was suspended meanwhile stays so.
    async fn register(
        &self,
        device_id: &DeviceId,
        device: Option<Device>,
        binding: Binding,
        certified: &Certified,
    ) -> Result<Registered, EnrolmentError> {
        if device.is_some_and(|device| device.status != Status::Active) {
            return Err(EnrolmentError::DeviceInactive);
        }
        let certificate = Certificate::from_pem(certified.certificate.as_bytes())
            .map_err(|_| EnrolmentError::Unreadable)?;
        let registration = DeviceRegistration {
            device_id: device_id.clone(),
            thumbprint: Digest::from_bytes(certificate.thumbprint()),
            patient: binding.patient,
            bound_from: binding.bound_from,
            bound_until: binding.bound_until,
            status: Status::Active,
            status_since: None,
        };
        let receipt = self.register.register(&registration).await?;
        tracing::info!(device = %device_id, serial = certificate.serial_hex(), "device enrolled");
        Ok(Registered {
            transaction_id: receipt.transaction_id,
            block_number: receipt.block_number,
        })
    }

    fn issued(&self, device_id: &DeviceId, certified: Certified) -> Result<Issued, EnrolmentError> {
        let registered = certified.registered.ok_or(EnrolmentError::Unreadable)?;
        Ok(Issued {
            device_id: device_id.clone(),
            certificate: certified.certificate,
            authority: self.authority.certificate().pem(),
            transaction_id: registered.transaction_id,
            block_number: registered.block_number,
        })
    }
}

/// The binding that a new certificate leaves as it is.
fn last_binding(device: Option<&Device>) -> Result<Binding, EnrolmentError> {
    let last = device.and_then(|device| device.bindings.last());
    let last = last.ok_or(EnrolmentError::NoPatient)?;
    Ok(Binding {
        patient: last.patient,
        bound_from: last.bound_from,
        bound_until: last.bound_until,
    })
}

/// SHA-256 of a public key, hexadecimal.
fn key_hash(key: &[u8]) -> String {
    hex::encode(digest(&SHA256, key))
}
