//! The one thread that writes: collects waiting appends, writes them, syncs once, then answers them all.
//!
//! An append MUST NOT be answered before its bytes are synced. When the disk has no room the file is cut back and
//! the appends are refused, readings before steps, and tried again by those who wait. When a write fails otherwise,
//! or a sync or the cut, the state of the disk is unknown, every later append is refused, and the process has to end
//! (an fsync that failed once may succeed later without the bytes being there).

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::cipher::JournalKey;
use super::disk::{Disk, is_out_of_room};
use super::entry::{Entry, EntryId, Fingerprint, Reading, fingerprint};
use super::error::JournalError;
use super::files::{self, Segment, Segments, Snapshot};
use super::frame;
use super::memory::Novelty;
use super::state::{Location, Pending, Stage, State};

/// Appends taken into one sync at most.
pub(super) const BATCH_APPENDS_MAX: usize = 1024;
/// Bytes written before one sync at most.
const BATCH_BYTES_MAX: usize = 16 << 20;
/// Live bytes of the oldest file that are worth writing again to free it: this share of it at most.
const COPY_SHARE: u64 = 2;
/// A disk that refused this long ago may have room again, although nothing was written since.
const REFUSAL_COUNTS: Duration = Duration::from_secs(30);

/// What became of an accepted reading.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every answer is the largest"
)]
pub enum Accepted {
    /// Kept; this is what the pipeline needs to know.
    New(Pending),
    /// The device sent it before; it is kept already.
    Duplicate,
    /// The device used this sequence number for another payload.
    SequenceReused,
    /// The sequence number lies before what is remembered of the device.
    SequenceTooOld,
}

/// A request to the writer.
#[expect(
    clippy::large_enum_variant,
    reason = "a step of a record comes once for many readings"
)]
pub(super) enum Command {
    Receive(
        Box<Reading>,
        oneshot::Sender<Result<Accepted, JournalError>>,
    ),
    Append(Entry, oneshot::Sender<Result<(), JournalError>>),
    /// Frees the disk of everything that is done.
    Tidy(oneshot::Sender<Result<(), JournalError>>),
}

/// What the writer shares with readers.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) dir: PathBuf,
    /// Held for a few lines, never across a write or an await.
    state: Mutex<State>,
    segments: Mutex<Segments>,
    /// Rings when a file was deleted.
    pub(super) space: Notify,
    pub(super) failed: watch::Sender<bool>,
    /// When the disk had no room, unless it has taken something since.
    refused: Mutex<Option<Instant>>,
}

impl Shared {
    pub(super) fn new(dir: PathBuf, state: State, segments: Segments) -> Self {
        Self {
            dir,
            state: Mutex::new(state),
            segments: Mutex::new(segments),
            space: Notify::new(),
            failed: watch::Sender::new(false),
            refused: Mutex::new(None),
        }
    }

    /// Whether the disk had no room a moment ago.
    pub(super) fn is_refused(&self) -> bool {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.is_some_and(|at| at.elapsed() < REFUSAL_COUNTS)
    }

    fn note_refused(&self, source: &std::io::Error) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.replace(Instant::now()).is_none() {
            tracing::warn!(error = %source, "the journal's disk has no room, nothing is taken");
        }
        metrics::counter!("salus_journal_refused_total").increment(1);
    }

    fn note_written(&self) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.take().is_some() {
            tracing::info!("the journal's disk has room again");
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn segments(&self) -> MutexGuard<'_, Segments> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.segments().values().map(|segment| segment.bytes).sum()
    }

    pub(super) fn read(&self, location: Location) -> Result<Entry, JournalError> {
        let segment = self.segments().get(&location.file).cloned();
        let path = files::segment_path(&self.dir, location.file);
        segment
            .ok_or_else(|| JournalError::Gap { path: path.clone() })?
            .read(&path, location)
    }
}

/// Limits of the files.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) file_bytes: u64,
    pub(super) total_bytes: u64,
    pub(super) window: Duration,
}

/// An append waiting for the sync.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every answer is the largest"
)]
enum Waiting {
    Received(oneshot::Sender<Result<Accepted, JournalError>>, Accepted),
    Appended(oneshot::Sender<Result<(), JournalError>>),
}

/// Frames built and not yet durable.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    frames: Vec<(Entry, Location)>,
    waiting: Vec<Waiting>,
    /// Who waits for a tidying after this batch.
    tidying: Vec<oneshot::Sender<Result<(), JournalError>>>,
    /// Readings in this batch, which the state does not know yet.
    sequences: HashMap<(String, u64), Fingerprint>,
    identities: HashMap<(String, Fingerprint), ()>,
}

/// The writing side; owned by the writer's thread.
pub(super) struct Writer {
    shared: Arc<Shared>,
    disk: Arc<dyn Disk>,
    key: JournalKey,
    limits: Limits,
    /// Of the current file, or of the one to be made.
    number: u64,
    /// None as long as the disk has no room for a first one.
    current: Option<Segment>,
    next_entry: u64,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        disk: Arc<dyn Disk>,
        key: JournalKey,
        limits: Limits,
        number: u64,
    ) -> Result<Self, JournalError> {
        let next_entry = shared.state().next_entry();
        let mut writer = Self {
            shared,
            disk,
            key,
            limits,
            number,
            current: None,
            next_entry,
        };
        // Without room it starts all the same: what is in it can be worked on, and room may come.
        writer.begin(number)?;
        Ok(writer)
    }

    /// Runs until every sender is gone or the journal has failed.
    pub(super) fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        while let Some(first) = commands.blocking_recv() {
            let mut batch = Batch::default();
            if self.current.is_none()
                && let Err(error) = self.begin(self.number)
            {
                self.fail(&error, &mut commands);
                return;
            }
            self.take(first, &mut batch);
            if !self.limits.window.is_zero() {
                // A longer window trades latency for fewer syncs; the default is none.
                std::thread::sleep(self.limits.window);
            }
            while batch.bytes.len() < BATCH_BYTES_MAX && batch.waiting.len() < BATCH_APPENDS_MAX {
                match commands.try_recv() {
                    Ok(command) => self.take(command, &mut batch),
                    Err(_) => break,
                }
            }
            if let Err(error) = self.commit(batch) {
                self.fail(&error, &mut commands);
                return;
            }
        }
    }

    /// Judges one request and builds its frame.
    fn take(&mut self, command: Command, batch: &mut Batch) {
        match command {
            Command::Tidy(answer) => batch.tidying.push(answer),
            Command::Append(entry, answer) => match self.build(entry, batch) {
                Ok(()) => batch.waiting.push(Waiting::Appended(answer)),
                Err(error) => drop(answer.send(Err(error))),
            },
            Command::Receive(reading, answer) => match self.receive(*reading, batch) {
                Ok(accepted) => batch.waiting.push(Waiting::Received(answer, accepted)),
                Err(error) => drop(answer.send(Err(error))),
            },
        }
    }

    fn receive(&mut self, reading: Reading, batch: &mut Batch) -> Result<Accepted, JournalError> {
        let identity = reading.identity();
        match self.novelty(&reading, identity, batch) {
            Novelty::New => {}
            Novelty::Duplicate => return Ok(Accepted::Duplicate),
            Novelty::SequenceReused => return Ok(Accepted::SequenceReused),
            Novelty::SequenceTooOld => return Ok(Accepted::SequenceTooOld),
        }
        let frame = frame::frame_bytes(reading.payload.len());
        if self.shared.bytes() + batch.bytes.len() as u64 + frame > self.limits.total_bytes {
            return Err(JournalError::Full);
        }
        let id = EntryId(self.next_entry);
        let pending = pending(id, &reading, fingerprint(&reading.payload));
        let device = reading.device.clone();
        let sequence = reading.sequence;
        self.build(Entry::Received { id, reading }, batch)?;
        self.next_entry += 1;
        match sequence {
            Some(sequence) => drop(batch.sequences.insert((device, sequence), identity)),
            None => drop(batch.identities.insert((device, identity), ())),
        }
        Ok(Accepted::New(pending))
    }

    fn novelty(&self, reading: &Reading, identity: Fingerprint, batch: &Batch) -> Novelty {
        let in_batch = match reading.sequence {
            Some(sequence) => batch
                .sequences
                .get(&(reading.device.clone(), sequence))
                .map(|known| {
                    if *known == identity {
                        Novelty::Duplicate
                    } else {
                        Novelty::SequenceReused
                    }
                }),
            None => batch
                .identities
                .get(&(reading.device.clone(), identity))
                .map(|()| Novelty::Duplicate),
        };
        in_batch.unwrap_or_else(|| {
            self.shared
                .state()
                .judge(&reading.device, reading.sequence, &identity)
        })
    }

    fn build(&self, entry: Entry, batch: &mut Batch) -> Result<(), JournalError> {
        let Some(current) = &self.current else {
            let source = std::io::ErrorKind::StorageFull.into();
            return Err(JournalError::DiskRefused { source });
        };
        let start = batch.bytes.len();
        let offset = current.bytes + start as u64;
        frame::encode(
            &current.key,
            offset,
            current.bytes,
            &entry.to_bytes(),
            &mut batch.bytes,
        )?;
        let location = Location {
            file: self.number,
            offset,
            bytes: (batch.bytes.len() - start) as u64,
        };
        batch.frames.push((entry, location));
        Ok(())
    }

    /// Makes a batch durable, applies and answers it. An error means that the journal has failed.
    fn commit(&mut self, batch: Batch) -> Result<(), JournalError> {
        if !batch.bytes.is_empty() {
            match self.write(&batch.bytes) {
                Ok(()) => {}
                Err(JournalError::DiskRefused { source }) => {
                    return self.commit_steps(batch, &source);
                }
                Err(error) => {
                    refuse_all(batch.waiting);
                    return Err(error);
                }
            }
        }
        let finished = batch.frames.iter().any(|(entry, _)| {
            matches!(
                entry,
                Entry::Done(_) | Entry::Discarded(_) | Entry::Dropped(_)
            )
        });
        {
            let mut state = self.shared.state();
            for (entry, location) in batch.frames {
                state.apply(entry, location);
            }
        }
        for waiting in batch.waiting {
            match waiting {
                Waiting::Received(answer, accepted) => drop(answer.send(Ok(accepted))),
                Waiting::Appended(answer) => drop(answer.send(Ok(()))),
            }
        }
        let bytes = self.current.as_ref().map_or(0, |current| current.bytes);
        let rotated = bytes >= self.limits.file_bytes && self.begin(self.number + 1)?;
        if finished || rotated {
            self.reclaim()?;
        }
        if !batch.tidying.is_empty() {
            let tidied = self.tidy()?;
            for answer in batch.tidying {
                // Who asked may have gone.
                let _ = answer.send(match &tidied {
                    Ok(()) => Ok(()),
                    Err(kind) => Err(JournalError::DiskRefused {
                        source: std::io::Error::from(*kind),
                    }),
                });
            }
        }
        Ok(())
    }

    /// Commits the steps of a batch for which the disk has no room, and refuses its readings: steps are small, and
    /// finishing readings is what makes room.
    fn commit_steps(&mut self, batch: Batch, source: &std::io::Error) -> Result<(), JournalError> {
        let (readings, steps): (Vec<_>, Vec<_>) = batch
            .waiting
            .into_iter()
            .partition(|waiting| matches!(waiting, Waiting::Received(..)));
        let mixed = !readings.is_empty();
        refuse(readings, source);
        if !mixed {
            refuse(steps, source);
            for answer in batch.tidying {
                let source = source.kind().into();
                drop(answer.send(Err(JournalError::DiskRefused { source })));
            }
            return Ok(());
        }
        let mut alone = Batch {
            waiting: steps,
            tidying: batch.tidying,
            ..Batch::default()
        };
        for (entry, _) in batch.frames {
            if !matches!(entry, Entry::Received { .. }) {
                self.build(entry, &mut alone)?;
            }
        }
        self.commit(alone)
    }

    /// Leaves no file with a frame that is done: readings, and keys that were wrapped for their
    /// holders. The inner error is a disk that refuses; everything is as it was then.
    fn tidy(&mut self) -> Result<Result<(), std::io::ErrorKind>, JournalError> {
        let full = std::io::ErrorKind::StorageFull;
        if self.shared.state().has_done(self.number) && !self.begin(self.number + 1)? {
            return Ok(Err(full));
        }
        let files: Vec<u64> = self.shared.segments().keys().copied().collect();
        let last_done = files
            .iter()
            .rposition(|file| self.shared.state().has_done(*file));
        let Some(last_done) = last_done else {
            return Ok(Ok(()));
        };
        // Files are deleted in order, so the older ones go, too.
        for file in &files[..=last_done] {
            let refused = self.refused_in(*file)?;
            if !self.copy(*file, refused)? {
                return Ok(Err(full));
            }
        }
        self.reclaim()?;
        let oldest = self.shared.segments().first_key_value().map(|(n, _)| *n);
        Ok(if oldest > Some(files[last_done]) {
            Ok(())
        } else {
            Err(full)
        })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), JournalError> {
        let Some(current) = &mut self.current else {
            let source = std::io::ErrorKind::StorageFull.into();
            return Err(JournalError::DiskRefused { source });
        };
        let start = current.bytes;
        if let Err(source) = self.disk.write(&current.file, bytes, start) {
            if !is_out_of_room(&source) {
                tracing::error!(error = %source, "journal write failed");
                return Err(JournalError::Failed);
            }
            let undone = self
                .disk
                .cut(&current.file, start)
                .and_then(|()| self.disk.sync(&current.file));
            if let Err(error) = undone {
                tracing::error!(%error, "a refused journal write cannot be undone");
                return Err(JournalError::Failed);
            }
            self.shared.note_refused(&source);
            return Err(JournalError::DiskRefused { source });
        }
        let began = Instant::now();
        if let Err(source) = self.disk.sync(&current.file) {
            tracing::error!(error = %source, "journal sync failed");
            return Err(JournalError::Failed);
        }
        self.shared.note_written();
        current.bytes += bytes.len() as u64;
        if let Some(segment) = self.shared.segments().get_mut(&self.number) {
            segment.bytes = current.bytes;
        }
        metrics::histogram!("salus_journal_sync_bytes").record(bytes.len() as f64);
        metrics::histogram!("salus_journal_sync_seconds").record(began.elapsed().as_secs_f64());
        Ok(())
    }

    /// Starts the file with this number. Whether it could; a disk without room leaves the old one, if there is
    /// one, in use.
    fn begin(&mut self, number: u64) -> Result<bool, JournalError> {
        match files::create_segment(&*self.disk, &self.shared.dir, number, &self.key) {
            Ok(segment) => {
                self.number = number;
                self.shared.segments().insert(number, segment.clone());
                self.current = Some(segment);
                Ok(true)
            }
            Err(JournalError::DiskRefused { source }) => {
                self.shared.note_refused(&source);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Deletes the oldest files as far as everything in them is done, and frees a file that is mostly done.
    fn reclaim(&mut self) -> Result<(), JournalError> {
        loop {
            let oldest = self.shared.segments().first_key_value().map(|(n, _)| *n);
            let Some(oldest) = oldest.filter(|number| *number < self.number) else {
                return Ok(());
            };
            if !self.shared.state().is_dead(oldest) && !self.copy_forward(oldest)? {
                return Ok(());
            }
            let snapshot = Snapshot::of(&self.shared.state(), self.number + 1);
            match snapshot.write(&*self.disk, &self.shared.dir, &self.key) {
                Ok(()) => {}
                Err(JournalError::DiskRefused { source }) => {
                    tracing::warn!(error = %source, "journal snapshot refused, nothing is deleted");
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
            match files::delete_segment(&*self.disk, &self.shared.dir, oldest) {
                Ok(()) => {}
                Err(JournalError::DiskRefused { source }) => {
                    tracing::warn!(error = %source, "a finished journal file cannot be deleted yet");
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
            self.shared.segments().remove(&oldest);
            self.shared.state().deleted(oldest);
            self.shared.space.notify_waiters();
        }
    }

    /// Writes what lives in an old file again, if that is worth it. Whether the file is free now.
    fn copy_forward(&mut self, file: u64) -> Result<bool, JournalError> {
        if self.shared.bytes() < self.limits.total_bytes / COPY_SHARE {
            return Ok(false);
        }
        let file_bytes = self.shared.segments().get(&file).map_or(0, |s| s.bytes);
        if self.shared.state().live_bytes(file) > file_bytes / COPY_SHARE {
            return Ok(false);
        }
        self.copy(file, Vec::new())
    }

    /// The dead letters in a file, which an operator may not have seen yet.
    fn refused_in(&self, file: u64) -> Result<Vec<Entry>, JournalError> {
        let mut refused = Vec::new();
        files::scan(&self.shared.dir, file, false, &self.key, |entry, _| {
            if matches!(entry, Entry::Refused(_)) {
                refused.push(entry);
            }
        })?;
        Ok(refused)
    }

    /// Writes what lives in an old file, and `others`, again at the end. Whether the file is free
    /// now.
    fn copy(&mut self, file: u64, others: Vec<Entry>) -> Result<bool, JournalError> {
        if self.current.is_none() {
            return Ok(false);
        }
        let (entries, records) = self.shared.state().live_in(file);
        let mut batch = Batch::default();
        for entry in others {
            self.build(entry, &mut batch)?;
        }
        for (_, location) in entries {
            let entry = self.shared.read(location)?;
            self.build(entry, &mut batch)?;
        }
        for record in records {
            let key = record.sealed.record;
            self.build(Entry::Sealed(record.sealed), &mut batch)?;
            match record.stage {
                Stage::Sealed => {}
                Stage::Pinned => self.build(Entry::Pinned(vec![key]), &mut batch)?,
                Stage::Committed(commitment) => {
                    let records = vec![key];
                    self.build(
                        Entry::Committed {
                            records,
                            commitment,
                        },
                        &mut batch,
                    )?;
                }
            }
        }
        if batch.bytes.is_empty() {
            return Ok(self.shared.state().is_dead(file));
        }
        match self.write(&batch.bytes) {
            Ok(()) => {}
            Err(JournalError::DiskRefused { .. }) => return Ok(false),
            Err(error) => return Err(error),
        }
        let mut state = self.shared.state();
        for (entry, location) in batch.frames {
            state.apply(entry, location);
        }
        Ok(state.is_dead(file))
    }

    fn fail(&self, error: &JournalError, commands: &mut mpsc::Receiver<Command>) {
        let error: &dyn std::error::Error = error;
        tracing::error!(error, "the journal has failed; the process must end");
        self.shared.failed.send_replace(true);
        commands.close();
        while let Ok(command) = commands.try_recv() {
            match command {
                Command::Receive(_, answer) => drop(answer.send(Err(JournalError::Failed))),
                Command::Append(_, answer) | Command::Tidy(answer) => {
                    drop(answer.send(Err(JournalError::Failed)));
                }
            }
        }
    }
}

fn pending(id: EntryId, reading: &Reading, fingerprint: Fingerprint) -> Pending {
    Pending {
        id,
        device: reading.device.clone(),
        sequence: reading.sequence,
        fingerprint,
        patient: reading.patient.clone(),
        code: reading.code.clone(),
        content_type: reading.content_type.clone(),
        received_ms: reading.received_ms,
        period: (reading.period_start, reading.period_end),
        payload_bytes: reading.payload.len() as u64,
        alone: reading.alone,
        labels: reading.labels.clone(),
    }
}

fn refuse(waiting: Vec<Waiting>, source: &std::io::Error) {
    let refused = || JournalError::DiskRefused {
        source: std::io::Error::from(source.kind()),
    };
    for waiting in waiting {
        match waiting {
            Waiting::Received(answer, _) => drop(answer.send(Err(refused()))),
            Waiting::Appended(answer) => drop(answer.send(Err(refused()))),
        }
    }
}

fn refuse_all(waiting: Vec<Waiting>) {
    for waiting in waiting {
        match waiting {
            Waiting::Received(answer, _) => drop(answer.send(Err(JournalError::Failed))),
            Waiting::Appended(answer) => drop(answer.send(Err(JournalError::Failed))),
        }
    }
}
