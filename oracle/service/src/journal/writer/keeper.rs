//! Gives files back in which everything is done, beside the writer: the snapshot that must be there before takes
//! longer than a device may wait for an acknowledgement.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;

use super::super::cipher::JournalKey;
use super::super::disk::Disk;
use super::super::error::JournalError;
use super::super::files;
use super::super::snapshot::Snapshot;
use super::Shared;

/// Deletes finished files.
#[derive(Debug)]
pub(super) struct Keeper {
    shared: Arc<Shared>,
    disk: Arc<dyn Disk>,
    key: Arc<JournalKey>,
    /// Bytes of the last snapshot.
    snapshot_bytes: AtomicU64,
}

impl Keeper {
    pub(super) fn new(shared: Arc<Shared>, disk: Arc<dyn Disk>, key: Arc<JournalKey>) -> Self {
        Self {
            shared,
            disk,
            key,
            snapshot_bytes: AtomicU64::new(0),
        }
    }

    /// Whether deleting is worth its snapshot: with what is written to delete never more than what is deleted, the
    /// disk is written twice at most. A journal that fills up does not wait for that.
    pub(super) fn is_worth_it(&self, current: u64, total_bytes: u64) -> bool {
        let (dead, all) = {
            let state = self.shared.state();
            let segments = self.shared.segments();
            let dead = segments
                .range(..current)
                .take_while(|(number, _)| state.is_dead(**number));
            let dead: u64 = dead.map(|(_, segment)| segment.bytes).sum();
            (
                dead,
                segments.values().map(|segment| segment.bytes).sum::<u64>(),
            )
        };
        let snapshot = self.snapshot_bytes.load(Ordering::Relaxed);
        dead > 0 && (dead >= snapshot || all >= total_bytes / 2)
    }

    /// Deletes the oldest files before `current` as far as everything in them is done. A disk that refuses is tried
    /// again later.
    pub(super) fn delete_dead(&self, current: u64) -> Result<(), JournalError> {
        let deleting = self.shared.deleting.lock();
        let _one_at_a_time = deleting.unwrap_or_else(PoisonError::into_inner);
        let dead: Vec<u64> = {
            let state = self.shared.state();
            let segments = self.shared.segments();
            let oldest = segments.range(..current).map(|(number, _)| *number);
            oldest.take_while(|number| state.is_dead(*number)).collect()
        };
        if dead.is_empty() {
            return Ok(());
        }
        let parts = Snapshot::parts(|| self.shared.state(), current + 1);
        match Snapshot::write(&*self.disk, &self.shared.dir, &self.key, parts) {
            Ok(bytes) => self.snapshot_bytes.store(bytes, Ordering::Relaxed),
            Err(JournalError::DiskRefused { source }) => {
                tracing::warn!(error = %source, "journal snapshot refused, nothing is deleted");
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        for file in dead {
            match files::delete_segment(&*self.disk, &self.shared.dir, file) {
                Ok(()) => {}
                Err(JournalError::DiskRefused { source }) => {
                    tracing::warn!(error = %source, "a finished journal file cannot be deleted yet");
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
            self.shared.segments().remove(&file);
            self.shared.state().deleted(file);
            self.shared.space.notify_waiters();
        }
        Ok(())
    }
}

/// The thread that a [`Keeper`] works on.
#[derive(Debug)]
pub(super) struct KeeperThread {
    /// The number of the current file, when there may be something to delete.
    wake: Option<SyncSender<u64>>,
    thread: Option<JoinHandle<()>>,
}

impl KeeperThread {
    pub(super) fn start(keeper: Arc<Keeper>) -> Result<Self, JournalError> {
        let dir = keeper.shared.dir.clone();
        let (wake, woken) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("journal-keeper".to_owned())
            .spawn(move || run(&keeper, &woken))
            .map_err(JournalError::file("start the keeper of", &dir))?;
        Ok(Self {
            wake: Some(wake),
            thread: Some(thread),
        })
    }

    /// Lets the thread look for something to delete. Never waits.
    pub(super) fn wake(&self, current: u64) {
        let Some(wake) = &self.wake else { return };
        match wake.try_send(current) {
            // One look that is still to come sees everything; a thread that ended has said why.
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }
}

impl Drop for KeeperThread {
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the journal's keeper ended badly");
        }
    }
}

fn run(keeper: &Keeper, woken: &Receiver<u64>) {
    while let Ok(current) = woken.recv() {
        if let Err(error) = keeper.delete_dead(current) {
            let error: &dyn std::error::Error = &error;
            tracing::error!(error, "the journal has failed; the process must end");
            keeper.shared.failed.send_replace(true);
            return;
        }
    }
}
