//! Open tokens and answered renewals, one small file each, so that a restart knows them.
//!
//! ```text
//! DIR/lock                      held while the oracle runs
//! DIR/token-<SHA-256>.json      of the token; the token itself is nowhere
//! DIR/renewal-<SHA-256>.json    of the certificate that was renewed
//! ```
//!
//! Files are of mode 600, written beside their place, synced and renamed. They hold a device's ID, a pseudonym and
//! times; no name, no key.

use std::collections::HashMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use contract_interface::{DeviceId, Pseudonym, UtcTime};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::EnrolmentError;

/// Tokens and renewals that are kept at once.
pub(super) const KEPT_MAX: usize = 10_000;
/// Bytes of one file.
const FILE_BYTES_MAX: u64 = 64 << 10;
const TOKEN: &str = "token-";
const RENEWAL: &str = "renewal-";
const SUFFIX: &str = ".json";

/// Whom a device measures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Binding {
    pub(super) patient: Pseudonym,
    pub(super) bound_from: UtcTime,
    pub(super) bound_until: Option<UtcTime>,
}

impl From<(Pseudonym, UtcTime, Option<UtcTime>)> for Binding {
    fn from((patient, bound_from, bound_until): (Pseudonym, UtcTime, Option<UtcTime>)) -> Self {
        Self {
            patient,
            bound_from,
            bound_until,
        }
    }
}

/// What was certified, to be answered again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Certified {
    /// SHA-256 of the public key, hexadecimal.
    pub(super) key: String,
    /// PEM.
    pub(super) certificate: String,
    /// Where it was registered, once it was. What happened to the device since is not undone by asking again.
    pub(super) registered: Option<Registered>,
}

/// A place on the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Registered {
    pub(super) transaction_id: String,
    pub(super) block_number: u64,
}

impl Certified {
    /// The same answer for the same key.
    ///
    /// # Errors
    ///
    /// [`EnrolmentError::OtherKey`].
    pub(super) fn again(self, key: &[u8]) -> Result<Self, EnrolmentError> {
        if self.key == super::key_hash(key) {
            Ok(self)
        } else {
            Err(EnrolmentError::OtherKey)
        }
    }
}

/// What a token is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Enrolment {
    pub(super) device_id: DeviceId,
    /// The binding that it has on the ledger, if none.
    pub(super) binding: Option<Binding>,
    /// Unix seconds from which it is good for nothing.
    pub(super) expires: i64,
    pub(super) certified: Option<Certified>,
}

/// What followed a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Renewal {
    pub(super) expires: i64,
    pub(super) certified: Certified,
}

/// All that is kept.
#[derive(Debug)]
pub(super) struct Kept {
    dir: PathBuf,
    tokens: HashMap<String, Enrolment>,
    renewals: HashMap<String, Renewal>,
    _lock: File,
}

impl Kept {
    /// Opens or makes the folder and reads what is there.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(dir.join("lock"))?;
        lock.try_lock().map_err(io::Error::other)?;
        let mut kept = Self {
            dir: dir.to_owned(),
            tokens: HashMap::new(),
            renewals: HashMap::new(),
            _lock: lock,
        };
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)) else {
                continue;
            };
            if let Some(hash) = name.strip_prefix(TOKEN) {
                kept.tokens.insert(hash.to_owned(), read(&entry.path())?);
            } else if let Some(hash) = name.strip_prefix(RENEWAL) {
                kept.renewals.insert(hash.to_owned(), read(&entry.path())?);
            }
        }
        Ok(kept)
    }

    /// Keeps a new token. An earlier one of the same device that nobody used serves no more.
    ///
    /// # Errors
    ///
    /// [`EnrolmentError::Full`] or [`EnrolmentError::Kept`].
    pub(super) fn invite(
        &mut self,
        secret: &str,
        enrolment: Enrolment,
        now: i64,
    ) -> Result<(), EnrolmentError> {
        self.tidy(now);
        let device_id = &enrolment.device_id;
        let earlier = self
            .tokens
            .iter()
            .filter(|(_, known)| known.device_id == *device_id && known.certified.is_none());
        let earlier: Vec<String> = earlier.map(|(hash, _)| hash.clone()).collect();
        for hash in earlier {
            self.tokens.remove(&hash);
            self.remove(TOKEN, &hash);
        }
        self.require_room()?;
        let hash = hashed(secret.as_bytes());
        self.write(TOKEN, &hash, &enrolment)?;
        self.tokens.insert(hash, enrolment);
        Ok(())
    }

    /// What a token is for.
    ///
    /// # Errors
    ///
    /// [`EnrolmentError::Token`].
    pub(super) fn enrolment(&self, secret: &str, now: i64) -> Result<&Enrolment, EnrolmentError> {
        let known = self.tokens.get(&hashed(secret.as_bytes()));
        known
            .filter(|known| now < known.expires)
            .ok_or(EnrolmentError::Token)
    }

    /// Notes which key a token served, or where its certificate is registered. When this returns, it is durable.
    ///
    /// # Errors
    ///
    /// [`EnrolmentError::Kept`]; the token has served nobody then.
    pub(super) fn certified(
        &mut self,
        secret: &str,
        certified: Certified,
    ) -> Result<(), EnrolmentError> {
        let hash = hashed(secret.as_bytes());
        let mut enrolment = self
            .tokens
            .get(&hash)
            .cloned()
            .ok_or(EnrolmentError::Token)?;
        enrolment.certified = Some(certified);
        self.write(TOKEN, &hash, &enrolment)?;
        self.tokens.insert(hash, enrolment);
        Ok(())
    }

    /// What followed a certificate, if that is remembered.
    pub(super) fn renewal(&self, thumbprint: &[u8], now: i64) -> Option<&Renewal> {
        let known = self.renewals.get(&hex::encode(thumbprint));
        known.filter(|known| now < known.expires)
    }

    /// Notes what follows a certificate, or where that is registered. When this returns, it is durable.
    ///
    /// # Errors
    ///
    /// [`EnrolmentError::Full`] or [`EnrolmentError::Kept`].
    pub(super) fn renewed(
        &mut self,
        thumbprint: &[u8],
        renewal: Renewal,
        now: i64,
    ) -> Result<(), EnrolmentError> {
        self.tidy(now);
        let hash = hex::encode(thumbprint);
        if !self.renewals.contains_key(&hash) {
            self.require_room()?;
        }
        self.write(RENEWAL, &hash, &renewal)?;
        self.renewals.insert(hash, renewal);
        Ok(())
    }

    fn require_room(&self) -> Result<(), EnrolmentError> {
        if self.tokens.len() + self.renewals.len() < KEPT_MAX {
            Ok(())
        } else {
            Err(EnrolmentError::Full)
        }
    }

    /// Forgets what has expired.
    fn tidy(&mut self, now: i64) {
        let tokens = self.tokens.extract_if(|_, known| known.expires <= now);
        let tokens: Vec<String> = tokens.map(|(hash, _)| hash).collect();
        let renewals = self.renewals.extract_if(|_, known| known.expires <= now);
        let renewals: Vec<String> = renewals.map(|(hash, _)| hash).collect();
        for (kind, hashes) in [(TOKEN, tokens), (RENEWAL, renewals)] {
            for hash in hashes {
                self.remove(kind, &hash);
            }
        }
    }

    fn path(&self, kind: &str, hash: &str) -> PathBuf {
        self.dir.join(format!("{kind}{hash}{SUFFIX}"))
    }

    /// A file that stays is read at the next start and forgotten then.
    fn remove(&self, kind: &str, hash: &str) {
        if let Err(error) = std::fs::remove_file(self.path(kind, hash)) {
            tracing::warn!(%error, "an enrolment that has ended cannot be deleted");
        }
    }

    fn write(&self, kind: &str, hash: &str, value: &impl Serialize) -> Result<(), EnrolmentError> {
        let path = self.path(kind, hash);
        let new = path.with_extension("new");
        let bytes = serde_json::to_vec(value).map_err(|_| EnrolmentError::Unreadable)?;
        let written = || {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&new)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            std::fs::rename(&new, &path)?;
            File::open(&self.dir)?.sync_all()
        };
        written().map_err(EnrolmentError::Kept)
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    let damaged = |why: String| io::Error::other(format!("{}: {why}", path.display()));
    if std::fs::metadata(path)?.len() > FILE_BYTES_MAX {
        return Err(damaged("it is too large".to_owned()));
    }
    let bytes = std::fs::read(path)?;
    serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))
}

fn hashed(secret: &[u8]) -> String {
    hex::encode(digest(&SHA256, secret))
}

#[cfg(test)]
impl Kept {
    /// Tokens of other devices, in memory alone.
    pub(super) fn fill_for_test(&mut self, count: usize, expires: i64) {
        for number in 0..count {
            let enrolment = Enrolment {
                device_id: format!("other-{number}").parse().expect("a device ID"),
                binding: None,
                expires,
                certified: None,
            };
            self.tokens.insert(format!("{number:064x}"), enrolment);
        }
    }
}
