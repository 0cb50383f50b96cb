//! The channel's devices and patients as the way in needs them, remembered for a short time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use contract_interface::{Device, DeviceId, ParticipantId, Pseudonym};
use sealed_object::PublicKey;
use thiserror::Error;
use tokio::sync::{Semaphore, broadcast};

use crate::ledger::{Ledger, LedgerError, Viewer};

/// An answer of the ledger is asked for again after this time.
const FRESH: Duration = Duration::from_secs(30);
/// An answer in use is asked for again before that, while it is still given: a device that sends all the time need
/// not wait.
const RENEWED: Duration = Duration::from_secs(20);
/// While the ledger cannot be asked, its last answer is used for this time. The contract checks again at the end.
const STALE: Duration = Duration::from_secs(15 * 60);
/// Changed devices that may wait to be looked at; with more, every connection is looked at.
const CHANGES_WAITING_MAX: usize = 256;
/// Devices looked up at once. When thousands connect together, the others wait instead of being more than a peer
/// answers.
const LOOKUPS_AT_ONCE: usize = 64;
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
    devices: Arc<Remembered<DeviceId, Arc<Device>>>,
    lookups: Arc<Semaphore>,
    keys: Arc<Remembered<Pseudonym, Arc<PublicKey>>>,
    /// Devices that were changed, for those who hold their connections.
    changes: broadcast::Sender<DeviceId>,
}

impl DeviceDirectory {
    /// A directory that asks `registry`.
    #[must_use]
    pub fn new(registry: Arc<dyn Registry>) -> Self {
        Self {
            registry,
            devices: Arc::default(),
            lookups: Arc::new(Semaphore::new(LOOKUPS_AT_ONCE)),
            keys: Arc::default(),
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
        if let Some((known, due)) = self.devices.fresh(id) {
            if due {
                let (registry, id) = (Arc::clone(&self.registry), id.clone());
                self.renew(&self.devices, id.clone(), async move {
                    Some(registry.device(&id).await.ok()?.map(Arc::new))
                });
            }
            return Ok(known);
        }
        // It is never closed.
        let _place = self.lookups.acquire().await.map_err(|_| LookupError)?;
        // Several messages of one device wait together; the first asks for all.
        if let Some((known, _)) = self.devices.fresh(id) {
            return Ok(known);
        }
        match self.registry.device(id).await {
            Ok(device) => Ok(self.devices.put(id.clone(), device.map(Arc::new))),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(device = %id, error, "device lookup failed");
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
        if let Some((known, due)) = self.keys.fresh(patient) {
            if due {
                let (registry, patient) = (Arc::clone(&self.registry), *patient);
                self.renew(&self.keys, patient, async move {
                    Some(usable(registry.patient_key(&patient).await.ok()?))
                });
            }
            return Ok(known);
        }
        match self.registry.patient_key(patient).await {
            Ok(jwk) => Ok(self.keys.put(*patient, usable(jwk))),
            Err(error) => {
                tracing::warn!(%error, "patient key lookup failed");
                self.keys.stale(patient).ok_or(LookupError)
            }
        }
    }

    /// Asks again for an answer that is still given meanwhile.
    fn renew<K, V>(
        &self,
        answers: &Arc<Remembered<K, V>>,
        key: K,
        asking: impl Future<Output = Option<Option<V>>> + Send + 'static,
    ) where
        K: Eq + Hash + Send + 'static,
        V: Clone + Send + 'static,
    {
        let (answers, lookups) = (Arc::clone(answers), Arc::clone(&self.lookups));
        tokio::spawn(async move {
            let _place = lookups.acquire().await;
            // When it fails, whoever asks once the answer is old tells of it.
            if let Some(answer) = asking.await {
                answers.renewed(&key, answer);
            }
        });
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

fn usable(jwk: Option<String>) -> Option<Arc<PublicKey>> {
    let key = jwk.and_then(|jwk| PublicKey::from_jwk(&jwk).ok());
    key.map(Arc::new)
}

/// What the registry said, and when.
#[derive(Debug)]
struct Answer<V> {
    value: Option<V>,
    at: Instant,
    /// Whether somebody asks for it again.
    renewing: bool,
}

impl<V> Answer<V> {
    fn of(value: Option<V>) -> Self {
        Self {
            value,
            at: Instant::now(),
            renewing: false,
        }
    }
}

/// Answers with their age. The lock is held for a look-up, never across an await.
#[derive(Debug)]
struct Remembered<K, V>(Mutex<HashMap<K, Answer<V>>>);

impl<K, V> Default for Remembered<K, V> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<K: Eq + Hash, V: Clone> Remembered<K, V> {
    fn lock(&self) -> MutexGuard<'_, HashMap<K, Answer<V>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An answer that need not be asked for, and whether the caller has to ask for it again beside that. Only a
    /// found answer is fresh: who was just registered need not wait.
    fn fresh(&self, key: &K) -> Option<(Option<V>, bool)> {
        let mut answers = self.lock();
        let answer = answers.get_mut(key)?;
        let age = answer.at.elapsed();
        if answer.value.is_none() || age >= FRESH {
            return None;
        }
        let due = age >= RENEWED && !std::mem::replace(&mut answer.renewing, true);
        Some((answer.value.clone(), due))
    }

    fn stale(&self, key: &K) -> Option<Option<V>> {
        let answers = self.lock();
        let answer = answers.get(key)?;
        (answer.at.elapsed() < STALE).then(|| answer.value.clone())
    }

    fn put(&self, key: K, value: Option<V>) -> Option<V> {
        let mut answers = self.lock();
        if answers.len() >= REMEMBERED_MAX {
            answers.retain(|_, answer| answer.at.elapsed() < FRESH);
        }
        if answers.len() < REMEMBERED_MAX {
            answers.insert(key, Answer::of(value.clone()));
        }
        value
    }

    /// Takes in an answer that was asked for again, unless it was forgotten meanwhile: it may be from before the
    /// change that made it so.
    fn renewed(&self, key: &K, value: Option<V>) {
        if let Some(answer) = self.lock().get_mut(key)
            && answer.renewing
        {
            *answer = Answer::of(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use contract_interface::{Digest, Salt, Status};

    use super::*;

    /// Counts who asks, and answers only when everybody else had a turn.
    #[derive(Debug, Default)]
    struct Slow {
        asking: AtomicUsize,
        most: AtomicUsize,
        asked: AtomicUsize,
    }

    #[async_trait::async_trait]
    impl Registry for Slow {
        async fn device(&self, id: &DeviceId) -> Result<Option<Device>, LedgerError> {
            let asking = self.asking.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(asking, Ordering::SeqCst);
            self.asked.fetch_add(1, Ordering::SeqCst);
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            self.asking.fetch_sub(1, Ordering::SeqCst);
            Ok(Some(Device {
                device_id: id.clone(),
                msp_id: "Org1MSP".parse().unwrap(),
                thumbprint: Digest::from_bytes([1; 32]),
                status: Status::Active,
                status_since: None,
                bindings: Vec::new(),
                salt: Salt::from_bytes(std::array::from_fn(|at| u8::try_from(at).unwrap()))
                    .unwrap(),
            }))
        }

        async fn patient_key(&self, _: &Pseudonym) -> Result<Option<String>, LedgerError> {
            Ok(None)
        }
    }

    async fn all_asked(devices: impl Iterator<Item = usize>) -> (usize, usize) {
        let slow = Arc::new(Slow::default());
        let directory = DeviceDirectory::new(Arc::clone(&slow) as Arc<dyn Registry>);
        let asking = devices.map(|number| {
            let id = format!("device-{number}").parse::<DeviceId>().unwrap();
            let directory = &directory;
            async move { directory.device(&id).await.unwrap().unwrap() }
        });
        futures::future::join_all(asking).await;
        let (most, asked) = (&slow.most, &slow.asked);
        (most.load(Ordering::SeqCst), asked.load(Ordering::SeqCst))
    }

    #[tokio::test]
    async fn when_thousands_connect_the_ledger_is_asked_by_a_few_at_a_time() {
        assert_eq!(all_asked(0..1_000).await, (LOOKUPS_AT_ONCE, 1_000));
    }

    #[tokio::test]
    async fn what_is_in_use_is_asked_for_again_before_it_is_old() {
        let slow = Arc::new(Slow::default());
        let directory = DeviceDirectory::new(Arc::clone(&slow) as Arc<dyn Registry>);
        let id: DeviceId = "device-1".parse().unwrap();
        let asked = || slow.asked.load(Ordering::SeqCst);
        let age = |age| {
            directory.devices.lock().get_mut(&id).unwrap().at = Instant::now() - age;
        };
        let settle = async || {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        };
        directory.device(&id).await.unwrap().unwrap();
        age(RENEWED);
        for _ in 0..3 {
            directory.device(&id).await.unwrap().unwrap();
            assert_eq!(asked(), 1, "nobody waits");
        }
        settle().await;
        assert_eq!(asked(), 2, "one asked for all");
        directory.device(&id).await.unwrap().unwrap();
        settle().await;
        assert_eq!(asked(), 2, "it is fresh");

        age(RENEWED);
        directory.device(&id).await.unwrap().unwrap();
        directory.forget_device(&id);
        settle().await;
        assert_eq!(asked(), 3);
        assert!(
            directory.devices.fresh(&id).is_none(),
            "it was forgotten meanwhile"
        );
    }

    #[tokio::test]
    async fn who_waited_for_a_device_that_another_asked_for_does_not_ask_again() {
        let (_, asked) = all_asked((0..LOOKUPS_AT_ONCE * 10).map(|n| n % LOOKUPS_AT_ONCE)).await;
        assert!(asked <= LOOKUPS_AT_ONCE, "{asked}");
    }
}
