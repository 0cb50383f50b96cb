//! From a durable reading to a record on the ledger and a receipt.
//!
//! Four tasks, one per step: seal, pin, register, tell; the first two have a twin for large objects. Each takes its work from the journal, where every record's
//! stage is, does it, and appends the next stage. A step MUST be safe to run twice, because a crash may come between
//! the doing and the appending: sealing anew makes another record of readings that no record has yet; the same
//! object pinned twice is one object; the same record registered twice is a no-op of the contract; a receipt may
//! come twice. So stopping is the same as crashing, and starting the same as going on.

mod flow;
mod gather;
mod keyless;
mod large;
mod parked;
mod receipts;
mod seal;
mod sealing;
mod spool;
mod stages;
mod status;
mod steps;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use cid::Cid;
use contract_interface::MspId;
use sealed_object::PublicKey;
use thiserror::Error;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::keyless::Waiting;
pub use self::parked::{DeadLetter, DeadLetterError, DeadLetters};
pub(crate) use self::receipts::object_receipt;
pub use self::spool::SpoolError;
pub use self::status::Status;

use crate::config::PipelineConfig;
use crate::ingest::directory::DeviceDirectory;
use crate::ingest::mqtt::Delivery;
use crate::journal::{Fingerprint, Journal, JournalError, Offer, Pending};
use crate::ledger::{Ledger, LedgerError, Registered, RegistrationBatch};
use crate::objects::Objects;
use crate::store::{Kubo, Object, StoreError};
use sealing::Sealing;
use spool::Spool;
use stages::Stages;

/// Readings that may wait to be gathered; the front waits when there are more.
const READINGS_WAITING_MAX: usize = 16 * 1024;
/// First wait before a step is tried again; doubles.
const RETRY_DELAY: Duration = Duration::from_millis(200);
/// Longest wait before a step is tried again.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(20);

/// Where records are registered: the ledger, or a table in tests.
#[async_trait::async_trait]
pub trait Registrar: std::fmt::Debug + Send + Sync {
    /// Registers records; equal ones that are there already are no error.
    async fn register(&self, batch: &RegistrationBatch) -> Result<Registered, LedgerError>;
}

#[async_trait::async_trait]
impl Registrar for Ledger {
    async fn register(&self, batch: &RegistrationBatch) -> Result<Registered, LedgerError> {
        self.register_records(batch).await
    }
}

/// Where objects are kept: Kubo, or memory in tests.
#[async_trait::async_trait]
pub trait ObjectStore: std::fmt::Debug + Send + Sync {
    /// Stores and pins objects, all or none.
    async fn pin(&self, objects: &[Object]) -> Result<(), StoreError>;

    /// Stores and pins one object of `size` bytes from a file, without having it in memory. What the file holds
    /// MUST have this CID.
    async fn pin_file(&self, file: File, cid: Cid, size: u64) -> Result<(), StoreError>;
}

#[async_trait::async_trait]
impl ObjectStore for Kubo {
    async fn pin(&self, objects: &[Object]) -> Result<(), StoreError> {
        self.import(objects).await
    }

    async fn pin_file(&self, file: File, cid: Cid, size: u64) -> Result<(), StoreError> {
        self.import_file(file, cid, size).await
    }
}

/// What the pipeline works with.
#[derive(Debug)]
pub struct Parts {
    /// `[pipeline]` of the configuration.
    pub config: PipelineConfig,
    /// Where readings and stages are.
    pub journal: Journal,
    /// Where patients' keys are looked up.
    pub devices: Arc<DeviceDirectory>,
    /// Where records are registered.
    pub registrar: Arc<dyn Registrar>,
    /// Where objects are kept.
    pub store: Arc<dyn ObjectStore>,
    /// How devices are told.
    pub delivery: Delivery,
    /// The organisation that registers the records.
    pub msp_id: MspId,
    /// The organisation's oracles, for which every data key is wrapped beside the patient; none in
    /// custody of the patient.
    pub oracle_keys: Vec<PublicKey>,
    /// Where the content of large objects is.
    pub objects: Objects,
}

/// Why the pipeline ended. The process MUST end, too; the journal holds everything.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// The journal cannot be read or written.
    #[error("the pipeline cannot use the journal")]
    Journal(#[from] JournalError),
    /// The spool cannot be read or written.
    #[error("the pipeline cannot use the spool")]
    Spool(#[from] SpoolError),
    /// The router that delivers to devices is gone.
    #[error("the pipeline cannot deliver receipts")]
    Delivery(#[from] crate::ingest::mqtt::DeliveryError),
    /// A task panicked.
    #[error("a task of the pipeline panicked")]
    Panicked,
}

/// What the intake tells the pipeline.
#[derive(Debug, Clone)]
pub enum Arrival {
    /// A reading is durable.
    New(Arc<Pending>),
    /// A reading that is durable was sent again.
    Again {
        /// The device.
        device: String,
        /// Its sequence number, if it gave one.
        sequence: Option<u64>,
        /// Fingerprint of the payload.
        fingerprint: Fingerprint,
        /// By what the journal recognises it: [`crate::journal::Reading::identity`].
        identity: Fingerprint,
    },
}

impl Arrival {
    /// A reading that the journal has already.
    pub(crate) fn again(offer: &Offer) -> Self {
        let reading = &offer.reading;
        Self::Again {
            device: reading.device.clone(),
            sequence: reading.sequence,
            fingerprint: offer.fingerprint,
            identity: offer.identity,
        }
    }
}

/// What the tasks share.
#[derive(Debug)]
struct Shared {
    config: PipelineConfig,
    journal: Journal,
    devices: Arc<DeviceDirectory>,
    registrar: Arc<dyn Registrar>,
    store: Arc<dyn ObjectStore>,
    delivery: Delivery,
    msp_id: MspId,
    oracle_keys: Vec<PublicKey>,
    objects: Objects,
    spool: Spool,
    /// Ring when a record reached the stage that the step works on.
    to_pin: Notify,
    to_pin_streamed: Notify,
    to_register: Notify,
    to_tell: Notify,
    /// Large objects to be sealed.
    large_tx: mpsc::UnboundedSender<large::Job>,
    /// Readings of discarded records, to be gathered again.
    again_tx: mpsc::UnboundedSender<Arc<Pending>>,
    /// Records the contract refuses, which are tried again later.
    parked: Mutex<parked::ParkingLot>,
    /// Readings whose patients have no key.
    keyless: Mutex<keyless::WaitingRoom>,
    /// Since when each record has been at its stage.
    stages: Stages,
    flow: flow::Flow,
    status: watch::Sender<Status>,
}

/// A pipeline that does not run yet.
#[derive(Debug)]
pub struct Pipeline {
    shared: Arc<Shared>,
    sealing: Sealing,
    large_rx: mpsc::UnboundedReceiver<large::Job>,
}

impl Pipeline {
    /// Takes up where the journal says. The sender is the intake's.
    ///
    /// # Errors
    ///
    /// [`PipelineError::Spool`] if the spool cannot be used.
    pub fn new(parts: Parts) -> Result<(Self, mpsc::Sender<Arrival>), PipelineError> {
        let Parts {
            config,
            journal,
            devices,
            registrar,
            store,
            delivery,
            msp_id,
            oracle_keys,
            objects,
        } = parts;
        let unfinished = journal.unfinished();
        let known = unfinished.iter().map(|record| record.sealed.record);
        let spool = Spool::open(journal.dir().join("spool"), &known.collect())?;
        let (again_tx, again_rx) = mpsc::unbounded_channel();
        let (large_tx, large_rx) = mpsc::unbounded_channel();
        let (readings_tx, readings_rx) = mpsc::channel(READINGS_WAITING_MAX);
        let mut sealing = Sealing::new(&config, readings_rx, again_rx);
        sealing.take_up(journal.unsealed());
        let shared = Arc::new(Shared {
            config,
            journal,
            devices,
            registrar,
            store,
            delivery,
            msp_id,
            oracle_keys,
            objects,
            spool,
            to_pin: Notify::new(),
            to_pin_streamed: Notify::new(),
            to_register: Notify::new(),
            to_tell: Notify::new(),
            large_tx,
            again_tx,
            parked: Mutex::default(),
            keyless: Mutex::default(),
            stages: Stages::default(),
            flow: flow::Flow::default(),
            status: watch::Sender::new(Status::default()),
        });
        let pipeline = Self {
            shared,
            sealing,
            large_rx,
        };
        Ok((pipeline, readings_tx))
    }

    /// How far everything is.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.shared.status.subscribe()
    }

    /// What the contract refuses, for administrators.
    #[must_use]
    pub fn dead_letters(&self) -> DeadLetters {
        DeadLetters::new(Arc::clone(&self.shared))
    }

    /// Runs until `shutdown` or an error. Stopping at any point is safe.
    ///
    /// # Errors
    ///
    /// [`PipelineError`], after which the process has to end.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), PipelineError> {
        let Self {
            shared,
            sealing,
            large_rx,
        } = self;
        let mut tasks = JoinSet::new();
        tasks.spawn(sealing.run(Arc::clone(&shared)));
        tasks.spawn(large::seal(Arc::clone(&shared), large_rx));
        tasks.spawn(steps::pin(Arc::clone(&shared)));
        tasks.spawn(large::pin(Arc::clone(&shared)));
        tasks.spawn(steps::register(Arc::clone(&shared)));
        tasks.spawn(steps::tell(Arc::clone(&shared)));
        tasks.spawn(status::watch(Arc::clone(&shared)));
        let ended = tokio::select! {
            biased;
            () = shutdown.cancelled() => Ok(()),
            ended = tasks.join_next() => match ended {
                Some(Ok(result)) => result,
                Some(Err(_)) | None => Err(PipelineError::Panicked),
            },
        };
        tasks.shutdown().await;
        shared.status.send_modify(|status| status.running = false);
        ended
    }
}

/// Notes how long one go of a step took.
fn measure(step: &'static str, began: std::time::Instant) {
    let seconds = began.elapsed().as_secs_f64();
    metrics::histogram!("salus_pipeline_step_seconds", "step" => step).record(seconds);
}

/// The wall clock, milliseconds since 1970.
fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
}

/// Waits between tries of one step: longer each time, with jitter, without end.
fn retry_delays() -> impl Iterator<Item = Duration> + Send {
    ExponentialBuilder::default()
        .with_min_delay(RETRY_DELAY)
        .with_max_delay(RETRY_DELAY_MAX)
        .with_jitter()
        .without_max_times()
        .build()
}
