//! The journal: what a device was told is kept, is kept here.
//!
//! A reading is appended, encrypted, to a segment file and synced before its PUBACK or PUBREC goes out. It then
//! passes the states received, sealed, pinned, committed, done; each step appends a frame, so that a restart resumes
//! where the last durable frame says. A file is deleted when everything in it is done; what is needed to recognise
//! a repeated message outlives it in the snapshot.
//!
//! ```text
//! DIR/lock                       held while the journal is open
//! DIR/journal.key                32 random bytes, mode 0600 (may be elsewhere)
//! DIR/snapshot                   next entry number, memories of the devices
//! DIR/0000000000000001.journal   segment file; frame.rs draws the format
//! DIR/retained.journal           devices' retained messages; last_values.rs says how
//! ```

pub(crate) mod cipher;
mod config;
pub(crate) mod disk;
mod entry;
mod error;
mod files;
mod frame;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
pub mod inspect;
mod kept_object;
mod last_values;
mod marks;
mod memory;
mod pending;
mod snapshot;
mod state;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::HashSet;
use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

pub use config::Config;
pub use entry::{
    Commitment, Entry, EntryId, Fingerprint, Labels, Offer, Reading, RecordKey, Refused,
    SealedRecord, fingerprint,
};
pub use error::{Damage, JournalError, KeyError};
pub use kept_object::KeptObject;
pub use last_values::{LastValues, RETAINED};
pub use marks::{Mark, Marks};
pub use memory::Settled;
pub use pending::{Kind, Pending};
pub use state::{Counts, Stage, StageKind, UnfinishedRecord};
pub use writer::Accepted;

use cipher::JournalKey;
use disk::{Disk, SystemDisk};
use memory::Novelty;
use snapshot::Snapshot;
use state::State;
use writer::{Command, Limits, Shared, Writer};

/// Appends that may wait for the writer; more callers wait before it.
const COMMANDS_WAITING_MAX: usize = 4096;

/// Names the key that objects' files are encrypted under.
const OBJECTS_LABEL: &[u8] = b"salus object files key v1";

/// An open journal. Cheap to clone; the files are closed when the last clone is gone.
#[derive(Debug, Clone)]
pub struct Journal {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    thread: Arc<Thread>,
    max_bytes: u64,
    /// Of the files of large objects.
    objects_key: Arc<JournalKey>,
}

/// A reading in the writer's queue.
#[derive(Debug)]
pub struct Submitted(oneshot::Receiver<Result<Accepted, JournalError>>);

impl Submitted {
    /// Waits until the reading is durable, or refused.
    ///
    /// # Errors
    ///
    /// As [`Journal::receive`].
    pub async fn outcome(self) -> Result<Accepted, JournalError> {
        self.0.await.map_err(|_| JournalError::Failed)?
    }
}

/// Ends with the journal: joins the writer and gives the lock back.
#[derive(Debug)]
struct Thread {
    writer: Mutex<Option<JoinHandle<()>>>,
    _lock: File,
}

impl Journal {
    /// Opens or makes the journal, cuts a torn tail, and rebuilds its state.
    ///
    /// # Errors
    ///
    /// [`JournalError`]: the folder or key cannot be used, another process has it open, or durable bytes are
    /// damaged, in which case nothing is skipped and the file and offset are named.
    pub fn open(config: &Config) -> Result<Self, JournalError> {
        Self::open_on(Arc::new(SystemDisk), config)
    }

    fn open_on(disk: Arc<dyn Disk>, config: &Config) -> Result<Self, JournalError> {
        let dir = config.dir.as_path();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(JournalError::file("create", dir))?;
        let lock = files::lock(dir)?;
        let numbers = files::list_segments(dir)?;
        let key = JournalKey::load(&config.key_file, files::is_unused(dir)?)?;
        let mut state = State::new(config.remember_per_device);
        let snapshot = Snapshot::read(dir, &key)?;
        let mut next_file = 1;
        if let Some(snapshot) = &snapshot {
            snapshot.restore(&mut state);
            next_file = snapshot.next_file();
        }
        let mut segments = files::Segments::new();
        for number in &numbers {
            let newest = Some(number) == numbers.last();
            let scanned = files::scan(dir, *number, newest, &key, |entry, location| {
                state.apply(entry, location);
            })?;
            if let Some(torn_at) = scanned.torn_at {
                tracing::warn!(
                    file = number,
                    torn_at,
                    "journal ends in a torn write, cut off"
                );
                files::cut(dir, *number, torn_at)?;
            }
            if let Some(segment) = scanned.segment {
                segments.insert(*number, segment);
                next_file = next_file.max(number + 1);
            } else {
                next_file = next_file.max(*number);
            }
        }
        let shared = Arc::new(Shared::new(dir.to_path_buf(), state, segments));
        let objects_key = Arc::new(key.branch(OBJECTS_LABEL));
        let limits = Limits {
            file_bytes: config.file_bytes,
            total_bytes: config.max_bytes,
            window: config.fsync_window,
        };
        // Never the old file again: a new one has a new key, so no nonce can meet its like from before.
        if let Some(last) = shared.segments().last_key_value() {
            next_file = last.0 + 1;
        }
        let writer = Writer::new(Arc::clone(&shared), disk, key, limits, next_file)?;
        let (commands, receiver) = mpsc::channel(COMMANDS_WAITING_MAX);
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run(receiver))
            .map_err(JournalError::file("start the writer of", dir))?;
        Ok(Self {
            max_bytes: config.max_bytes,
            objects_key,
            shared,
            commands,
            thread: Arc::new(Thread {
                writer: Mutex::new(Some(thread)),
                _lock: lock,
            }),
        })
    }

    /// Keeps a reading. When this returns, the answer is durable.
    ///
    /// # Errors
    ///
    /// [`JournalError::Full`] when the size limit is reached, [`JournalError::DiskRefused`] when the disk is full,
    /// [`JournalError::Failed`] when the journal has to be reopened. Nothing was kept then.
    pub async fn receive(&self, reading: impl Into<Offer>) -> Result<Accepted, JournalError> {
        self.submit(reading).await?.outcome().await
    }

    /// Puts a reading in the writer's queue. Readings submitted one after the other are kept in that order.
    ///
    /// # Errors
    ///
    /// [`JournalError::Failed`].
    pub async fn submit(&self, reading: impl Into<Offer>) -> Result<Submitted, JournalError> {
        let (answer, answered) = oneshot::channel();
        self.commands
            .send(Command::Receive(reading.into(), answer))
            .await
            .map_err(|_| JournalError::Failed)?;
        Ok(Submitted(answered))
    }

    /// Returns when readings were finished and room was made. MUST be called before the attempt that found none.
    pub fn room(&self) -> impl Future<Output = ()> + Send + '_ {
        self.shared.space.notified()
    }

    /// Appends a step of a record, or a dead letter. When this returns, it is durable.
    ///
    /// # Errors
    ///
    /// [`JournalError::DiskRefused`] or [`JournalError::Failed`].
    pub async fn append(&self, entry: Entry) -> Result<(), JournalError> {
        let (answer, answered) = oneshot::channel();
        self.commands
            .send(Command::Append(entry, answer))
            .await
            .map_err(|_| JournalError::Failed)?;
        answered.await.map_err(|_| JournalError::Failed)?
    }

    /// Frees the disk of everything that is done: readings, and wrapped keys of records that are on
    /// the ledger. What is not done is written again. Returns when the old files are deleted.
    ///
    /// # Errors
    ///
    /// [`JournalError::DiskRefused`] when something that is done is still there, or
    /// [`JournalError::Failed`].
    pub async fn tidy(&self) -> Result<(), JournalError> {
        let (answer, answered) = oneshot::channel();
        self.commands
            .send(Command::Tidy(answer))
            .await
            .map_err(|_| JournalError::Failed)?;
        answered.await.map_err(|_| JournalError::Failed)?
    }

    /// Reads kept readings back, payloads included, in the order asked for. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// [`JournalError::NoSuchEntry`] when one is done already, or why it cannot be read.
    pub fn read(&self, entries: &[EntryId]) -> Result<Vec<Reading>, JournalError> {
        let first_look = self.shared.state().locations(entries);
        let places = entries.iter().zip(first_look);
        places
            .map(|(id, mut location)| {
                // A frame may be copied to another file while it is read; the second look finds it there.
                for _ in 0..2 {
                    let at = location.ok_or(JournalError::NoSuchEntry { entry: id.0 })?;
                    match self.shared.read(at) {
                        Ok(Entry::Received { reading, .. }) => return Ok(reading),
                        Ok(_) => break,
                        Err(JournalError::Gap { .. }) => {
                            location = self.shared.state().locations(&[*id])[0];
                        }
                        Err(error) => return Err(error),
                    }
                }
                Err(JournalError::NoSuchEntry { entry: id.0 })
            })
            .collect()
    }

    /// Readings that are in no record yet, oldest first.
    #[must_use]
    pub fn unsealed(&self) -> Vec<Arc<Pending>> {
        self.shared.state().unsealed()
    }

    /// Records that are not done, with their stage.
    #[must_use]
    pub fn unfinished(&self) -> Vec<UnfinishedRecord> {
        self.shared.state().unfinished()
    }

    /// Records at one stage, those with the oldest readings first, at most `limit`, without those in `except`.
    #[must_use]
    pub fn at_stage(
        &self,
        stage: StageKind,
        limit: usize,
        except: &HashSet<RecordKey>,
    ) -> Vec<UnfinishedRecord> {
        self.shared.state().at_stage(stage, limit, except)
    }

    /// A record that is not done.
    #[must_use]
    pub fn record(&self, record: RecordKey) -> Option<UnfinishedRecord> {
        self.shared.state().record(record).cloned()
    }

    /// The readings of a record that is not done, without payloads.
    #[must_use]
    pub fn readings_of(&self, record: RecordKey) -> Vec<Arc<Pending>> {
        let state = self.shared.state();
        let Some(unfinished) = state.record(record) else {
            return Vec::new();
        };
        let entries = unfinished.sealed.entries.iter();
        entries
            .filter_map(|id| state.pending(*id).cloned())
            .collect()
    }

    /// Readings that are not done, without payloads.
    #[must_use]
    pub fn pending(&self, entries: &[EntryId]) -> Vec<Arc<Pending>> {
        let state = self.shared.state();
        let pending = entries.iter().filter_map(|id| state.pending(*id));
        pending.cloned().collect()
    }

    /// Readings that are not done and whose content is in a file of its own: device and name.
    #[must_use]
    pub(crate) fn objects(&self) -> HashSet<(String, String)> {
        self.shared.state().objects()
    }

    /// What becomes of a reading if it is given now; none if it is new.
    #[must_use]
    pub(crate) fn known(&self, reading: &Reading) -> Option<Accepted> {
        let (sequence, identity) = (reading.sequence, reading.identity());
        match self
            .shared
            .state()
            .judge(&reading.device, sequence, &identity)
        {
            Novelty::New => None,
            Novelty::Duplicate => Some(Accepted::Duplicate),
            Novelty::SequenceReused => Some(Accepted::SequenceReused),
            Novelty::SequenceTooOld => Some(Accepted::SequenceTooOld),
        }
    }

    /// The key of the files of large objects.
    pub(crate) fn objects_key(&self) -> Arc<JournalKey> {
        Arc::clone(&self.objects_key)
    }

    /// Readings in records that are not done.
    #[must_use]
    pub fn readings_in_records(&self) -> usize {
        self.shared.state().readings_in_records()
    }

    /// How much is in which state.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.state().counts()
    }

    /// Bytes of all segment files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.shared.bytes()
    }

    /// Segment files there are.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.shared.segments().len()
    }

    /// Bytes of segment files at which no more readings are taken.
    #[must_use]
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Age of the oldest unfinished reading in each state, milliseconds; 0 where there is none. Records in `parked`
    /// are a state of their own.
    #[must_use]
    pub fn ages_ms(&self, parked: &HashSet<RecordKey>, now_ms: u64) -> [(&'static str, u64); 5] {
        let oldest = self.shared.state().oldest_ms(parked);
        oldest.map(|(state, oldest)| {
            (
                state,
                oldest.map_or(0, |oldest| now_ms.saturating_sub(oldest)),
            )
        })
    }

    /// Where a message is on the ledger that was recognised as one that came before; `None` when it is not there
    /// yet, was given up, or so much came since that it is forgotten.
    #[must_use]
    pub fn settled(
        &self,
        device: &str,
        sequence: Option<u64>,
        identity: Fingerprint,
    ) -> Option<Settled> {
        let state = self.shared.state();
        state.settled(device, sequence, identity)
    }

    /// Highest sequence number kept of a device.
    #[must_use]
    pub fn highest_sequence(&self, device: &str) -> Option<u64> {
        self.shared.state().highest_sequence(device)
    }

    /// Whether readings are taken: it has not failed, is not full, and its disk had room a moment ago.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        !*self.shared.failed.borrow()
            && !self.shared.is_refused()
            && self.shared.bytes() < self.max_bytes
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &std::path::Path {
        &self.shared.dir
    }

    /// Returns when the journal has failed; the process MUST then end with an error.
    pub async fn failure(&self) {
        let mut failed = self.shared.failed.subscribe();
        // The sender lives in `shared`, which this borrows.
        drop(failed.wait_for(|failed| *failed).await);
    }

    /// Closes the journal: waits until everything appended is durable. Other clones can append no more after it.
    pub async fn close(self) {
        let Self {
            shared,
            commands,
            thread,
            ..
        } = self;
        drop(commands);
        drop(shared);
        let handle = thread
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(handle) = handle {
            let joined = tokio::task::spawn_blocking(move || handle.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("the journal's writer ended badly");
            }
        }
    }
}
