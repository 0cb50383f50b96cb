//! The channel's devices and patients as the way in needs them, remembered for a short time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use contract_interface::{Device, DeviceId, ParticipantId, Pseudonym};
use sealed_object::PublicKey;
use thiserror::Error;
use tokio::sync::broadcast;

use crate::ledger::{Ledger, LedgerError, Viewer};

/// An answer of the ledger is asked for again after this time.
const FRESH: Duration = Duration::from_secs(30);
/// While the ledger cannot be asked, its last answer is used for this time. The contract checks again at the end.
const STALE: Duration = Duration::from_secs(15 * 60);
/// Changed devices that may wait to be looked at; with more, every connection is looked at.
const CHANGES_WAITING_MAX: usize = 256;
/// Answers remembered.
const REMEMBERED_MAX: usize = 100_000;

/// The ledger could not be asked and nothing recent is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the ledger cannot be asked now")]
pub struct LookupError;

/// What the directory asks: the ledger, or a table in tests.
#[async_trait::async_trait]
pub trait Registry: std::fmt::Debug + Send + Sync {
    /// A device of the oracle's organisation.
    async fn device(&self, id: &DeviceId) -> Result<Option<Device>, LedgerError>;
    /// The public key that a patient's data keys are wrapped for.
    async fn patient_key(&self, patient: &Pseudonym) -> Result<Option<String>, LedgerError>;
}

#[async_trait::async_trait]
impl Registry for Ledger {
    async fn device(&self, id: &DeviceId) -> Result<Option<Device>, LedgerError> {
        Self::device(self, Viewer::Oracle, id).await
    }

    async fn patient_key(&self, patient: &Pseudonym) -> Result<Option<String>, LedgerError> {
        let id = ParticipantId::from(*patient);
        let participant = self.participant(Viewer::Oracle, &id).await?;
        let key = participant.and_then(|participant| participant.encryption_key);
        Ok(key.map(|key| serde_json::to_string(&key).expect("a JWK is JSON")))
    }
}

/// Remembers what the registry said.
#[derive(Debug)]
pub struct DeviceDirectory {
    registry: Arc<dyn Registry>,
    devices: Remembered<DeviceId, Arc<Device>>,
    keys: Remembered<Pseudonym, Arc<PublicKey>>,
    /// Devices that were changed, for those who hold their connections.
    changes: broadcast::Sender<DeviceId>,
}

impl DeviceDirectory {
    /// A directory that asks `registry`.
    #[must_use]
    pub fn new(registry: Arc<dyn Registry>) -> Self {
        Self {
            registry,
            devices: Remembered::default(),
            keys: Remembered::default(),
            changes: broadcast::Sender::new(CHANGES_WAITING_MAX),
        }
    }

    /// Tells of each device that is forgotten because it was changed.
    pub fn changes(&self) -> broadcast::Receiver<DeviceId> {
        self.changes.subscribe()
    }

    /// A device, if it is registered.
    ///
    /// # Errors
    ///
    /// [`LookupError`] when the registry cannot be asked and nothing recent is known.
    pub async fn device(&self, id: &DeviceId) -> Result<Option<Arc<Device>>, LookupError> {
        if let Some(known) = self.devices.fresh(id) {
            return Ok(known);
        }
        match self.registry.device(id).await {
            Ok(device) => Ok(self.devices.put(id.clone(), device.map(Arc::new))),
            Err(error) => {
                tracing::warn!(device = %id, %error, "device lookup failed");
                self.devices.stale(id).ok_or(LookupError)
            }
        }
    }

    /// The public key of a patient, if registered.
    ///
    /// # Errors
    ///
    /// [`LookupError`] when the registry cannot be asked and nothing recent is known.
    pub async fn patient_key(
        &self,
        patient: &Pseudonym,
    ) -> Result<Option<Arc<PublicKey>>, LookupError> {
        if let Some(known) = self.keys.fresh(patient) {
            return Ok(known);
        }
        match self.registry.patient_key(patient).await {
            Ok(jwk) => {
                let key = jwk.and_then(|jwk| PublicKey::from_jwk(&jwk).ok());
                Ok(self.keys.put(*patient, key.map(Arc::new)))
            }
            Err(error) => {
                tracing::warn!(%error, "patient key lookup failed");
                self.keys.stale(patient).ok_or(LookupError)
            }
        }
    }

    /// Forgets a device, so that a change just registered is seen at once, also by its connections.
    pub fn forget_device(&self, id: &DeviceId) {
        self.devices.lock().remove(id);
        // Without anybody who listens there is no connection to look at.
        let _ = self.changes.send(id.clone());
    }

    /// Forgets a patient's key, so that a change just registered is seen at once.
    pub fn forget_patient(&self, patient: &Pseudonym) {
        self.keys.lock().remove(patient);
    }
}

/// Answers with their age. The lock is held for a look-up, never across an await.
#[derive(Debug)]
struct Remembered<K, V>(Mutex<HashMap<K, (Instant, Option<V>)>>);

impl<K, V> Default for Remembered<K, V> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<K: Eq + Hash, V: Clone> Remembered<K, V> {
    fn lock(&self) -> MutexGuard<'_, HashMap<K, (Instant, Option<V>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Only a found answer is fresh: who was just registered need not wait.
    fn fresh(&self, key: &K) -> Option<Option<V>> {
        let answers = self.lock();
        let (at, answer) = answers.get(key)?;
        (answer.is_some() && at.elapsed() < FRESH).then(|| answer.clone())
    }

    fn stale(&self, key: &K) -> Option<Option<V>> {
        let answers = self.lock();
        let (at, answer) = answers.get(key)?;
        (at.elapsed() < STALE).then(|| answer.clone())
    }

    fn put(&self, key: K, answer: Option<V>) -> Option<V> {
        let mut answers = self.lock();
        if answers.len() >= REMEMBERED_MAX {
            answers.retain(|_, (at, _)| at.elapsed() < FRESH);
        }
        if answers.len() < REMEMBERED_MAX {
            answers.insert(key, (Instant::now(), answer.clone()));
        }
        answer
    }
}
