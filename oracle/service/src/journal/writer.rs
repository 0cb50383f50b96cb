//! The one thread that writes: collects waiting appends, writes them, syncs once, then answers them all.
//!
//! An append MUST NOT be answered before its bytes are synced. When the disk has no room the file is cut back and
//! the appends are refused, readings before steps, and tried again by those who wait. When a write fails otherwise,
//! or a sync or the cut, the state of the disk is unknown, every later append is refused, and the process has to end
//! (an fsync that failed once may succeed later without the bytes being there).

mod keeper;
mod segments;
mod shared;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::cipher::JournalKey;
use super::disk::Disk;
use super::entry::{self, Entry, EntryId, Fingerprint, Offer, Received};
use super::error::JournalError;
use super::files::Segment;
use super::frame;
use super::memory::Novelty;
use super::pending::Pending;
use super::state::{Location, State};

use keeper::{Keeper, KeeperThread};
pub(super) use shared::Shared;

/// Appends taken into one sync at most.
pub(super) const BATCH_APPENDS_MAX: usize = 1024;
/// Bytes written before one sync at most.
const BATCH_BYTES_MAX: usize = 16 << 20;
/// An append waits for others at least this part of the window, and goes when nothing came in such a part.
const LOOKS_A_WINDOW: u32 = 8;

/// What became of an accepted reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// Kept; this is what the pipeline needs to know.
    New(Arc<Pending>),
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
    Receive(Offer, oneshot::Sender<Result<Accepted, JournalError>>),
    Append(Entry, oneshot::Sender<Result<(), JournalError>>),
    /// Frees the disk of everything that is done.
    Tidy(oneshot::Sender<Result<(), JournalError>>),
}

/// Limits of the files.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) file_bytes: u64,
    pub(super) total_bytes: u64,
    pub(super) window: Duration,
}

/// An append waiting for the sync.
enum Waiting {
    Received(oneshot::Sender<Result<Accepted, JournalError>>, Accepted),
    Appended(oneshot::Sender<Result<(), JournalError>>),
}

/// What a frame that is being written says.
#[expect(
    clippy::large_enum_variant,
    reason = "a step of a record comes once for many readings"
)]
enum Framed {
    Received(Arc<Pending>),
    Step(Entry),
}

impl Framed {
    fn apply(self, state: &mut State, location: Location) {
        match self {
            Self::Received(pending) => state.receive(pending, location),
            Self::Step(entry) => state.apply(entry, location),
        }
    }
}

/// Frames built and not yet durable.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    frames: Vec<(Framed, Location)>,
    waiting: Vec<Waiting>,
    /// Who waits for a tidying after this batch.
    tidying: Vec<oneshot::Sender<Result<(), JournalError>>>,
    /// Readings in this batch, which the state does not know yet.
    sequences: HashMap<(String, u64), Fingerprint>,
    identities: HashMap<(String, Fingerprint), ()>,
}

impl Batch {
    /// Whether it has what one sync takes.
    fn is_full(&self) -> bool {
        self.bytes.len() >= BATCH_BYTES_MAX || self.waiting.len() >= BATCH_APPENDS_MAX
    }
}

/// The writing side; owned by the writer's thread.
pub(super) struct Writer {
    shared: Arc<Shared>,
    disk: Arc<dyn Disk>,
    key: Arc<JournalKey>,
    keeper: Arc<Keeper>,
    keeper_thread: KeeperThread,
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
        let key = Arc::new(key);
        let keeper = Keeper::new(Arc::clone(&shared), Arc::clone(&disk), Arc::clone(&key));
        let keeper = Arc::new(keeper);
        let keeper_thread = KeeperThread::start(Arc::clone(&keeper))?;
        let mut writer = Self {
            shared,
            disk,
            key,
            keeper,
            keeper_thread,
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
            if *self.shared.failed.borrow() {
                drop(first);
                self.fail(&JournalError::Failed, &mut commands);
                return;
            }
            if self.current.is_none()
                && let Err(error) = self.begin(self.number)
            {
                self.fail(&error, &mut commands);
                return;
            }
            self.take(first, &mut batch);
            self.gather(&mut commands, &mut batch);
            if let Err(error) = self.commit(batch) {
                self.fail(&error, &mut commands);
                return;
            }
        }
    }

    /// Takes what comes to share a sync, as long as something comes and the window is open. A longer window trades
    /// time to the acknowledgement for fewer syncs.
    fn gather(&mut self, commands: &mut mpsc::Receiver<Command>, batch: &mut Batch) {
        let window = self.limits.window;
        let began = Instant::now();
        loop {
            let left = window.saturating_sub(began.elapsed());
            if !left.is_zero() {
                std::thread::sleep(left.min(window / LOOKS_A_WINDOW));
            }
            let mut came = false;
            while !batch.is_full()
                && let Ok(command) = commands.try_recv()
            {
                self.take(command, batch);
                came = true;
            }
            if !came || batch.is_full() || began.elapsed() >= window {
                return;
            }
        }
    }

    /// Judges one request and builds its frame.
    fn take(&mut self, command: Command, batch: &mut Batch) {
        match command {
            Command::Tidy(answer) => batch.tidying.push(answer),
            Command::Append(entry, answer) => match self.build_step(entry, batch) {
                Ok(()) => batch.waiting.push(Waiting::Appended(answer)),
                Err(error) => drop(answer.send(Err(error))),
            },
            Command::Receive(offer, answer) => match self.receive(&offer, batch) {
                Ok(accepted) => batch.waiting.push(Waiting::Received(answer, accepted)),
                Err(error) => drop(answer.send(Err(error))),
            },
        }
    }

    fn receive(&mut self, offer: &Offer, batch: &mut Batch) -> Result<Accepted, JournalError> {
        match self.novelty(offer, batch) {
            Novelty::New => {}
            Novelty::Duplicate => return Ok(Accepted::Duplicate),
            Novelty::SequenceReused => return Ok(Accepted::SequenceReused),
            Novelty::SequenceTooOld => return Ok(Accepted::SequenceTooOld),
        }
        let reading = &offer.reading;
        let frame = frame::frame_bytes(reading.payload.len());
        if self.shared.bytes() + batch.bytes.len() as u64 + frame > self.limits.total_bytes {
            return Err(JournalError::Full);
        }
        let id = EntryId(self.next_entry);
        let kind = self.shared.state().kind(reading);
        let pending = Arc::new(Pending::of(id, offer, kind));
        let framed = Framed::Received(Arc::clone(&pending));
        let received = Received::Received { id, reading };
        self.build(framed, |out| entry::write(&received, out), batch)?;
        self.next_entry += 1;
        let device = reading.device.clone();
        match reading.sequence {
            Some(sequence) => drop(batch.sequences.insert((device, sequence), offer.identity)),
            None => drop(batch.identities.insert((device, offer.identity), ())),
        }
        Ok(Accepted::New(pending))
    }

    fn novelty(&self, offer: &Offer, batch: &Batch) -> Novelty {
        let Offer {
            reading, identity, ..
        } = offer;
        let in_batch = match reading.sequence {
            Some(sequence) => batch
                .sequences
                .get(&(reading.device.clone(), sequence))
                .map(|known| {
                    if known == identity {
                        Novelty::Duplicate
                    } else {
                        Novelty::SequenceReused
                    }
                }),
            None => batch
                .identities
                .get(&(reading.device.clone(), *identity))
                .map(|()| Novelty::Duplicate),
        };
        in_batch.unwrap_or_else(|| {
            self.shared
                .state()
                .judge(&reading.device, reading.sequence, identity)
        })
    }

    fn build_step(&self, step: Entry, batch: &mut Batch) -> Result<(), JournalError> {
        let mut body = Vec::new();
        entry::write(&step, &mut body);
        let framed = Framed::Step(step);
        self.build(framed, |out| out.extend_from_slice(&body), batch)
    }

    /// Builds the frame of an entry whose plaintext `body` appends.
    fn build(
        &self,
        framed: Framed,
        body: impl FnOnce(&mut Vec<u8>),
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        let Some(current) = &self.current else {
            let source = std::io::ErrorKind::StorageFull.into();
            return Err(JournalError::DiskRefused { source });
        };
        let start = batch.bytes.len();
        let offset = current.bytes + start as u64;
        let durable = current.bytes;
        frame::encode_with(&current.key, offset, durable, body, &mut batch.bytes)?;
        let location = Location {
            file: self.number,
            offset,
            bytes: (batch.bytes.len() - start) as u64,
        };
        batch.frames.push((framed, location));
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
        let finished = batch.frames.iter().any(|(framed, _)| {
            matches!(
                framed,
                Framed::Step(Entry::Done(_) | Entry::Discarded(_) | Entry::Dropped(_))
            )
        });
        {
            let mut state = self.shared.state();
            for (framed, location) in batch.frames {
                framed.apply(&mut state, location);
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
        for (framed, _) in batch.frames {
            if let Framed::Step(step) = framed {
                self.build_step(step, &mut alone)?;
            }
        }
        self.commit(alone)
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
