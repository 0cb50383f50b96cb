//! What the writer shares with those who read: the state, the files, and whether the disk takes anything.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::super::entry::Entry;
use super::super::error::JournalError;
use super::super::files::{self, Segments};
use super::super::state::{Location, State};

/// A disk that refused this long ago may have room again, although nothing was written since.
const REFUSAL_COUNTS: Duration = Duration::from_secs(30);

/// What the writer shares with readers.
#[derive(Debug)]
pub(in crate::journal) struct Shared {
    pub(in crate::journal) dir: PathBuf,
    /// Held for a few lines, never across a write or an await.
    state: Mutex<State>,
    segments: Mutex<Segments>,
    /// Held by the one who deletes files.
    pub(in crate::journal) deleting: Mutex<()>,
    /// Rings when a file was deleted.
    pub(in crate::journal) space: Notify,
    pub(in crate::journal) failed: watch::Sender<bool>,
    /// When the disk had no room, unless it has taken something since.
    refused: Mutex<Option<Instant>>,
}

impl Shared {
    pub(in crate::journal) fn new(dir: PathBuf, state: State, segments: Segments) -> Self {
        Self {
            dir,
            state: Mutex::new(state),
            segments: Mutex::new(segments),
            deleting: Mutex::default(),
            space: Notify::new(),
            failed: watch::Sender::new(false),
            refused: Mutex::new(None),
        }
    }

    /// Whether the disk had no room a moment ago.
    pub(in crate::journal) fn is_refused(&self) -> bool {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.is_some_and(|at| at.elapsed() < REFUSAL_COUNTS)
    }

    pub(super) fn note_refused(&self, source: &std::io::Error) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.replace(Instant::now()).is_none() {
            tracing::warn!(error = %source, "the journal's disk has no room, nothing is taken");
        }
        metrics::counter!("salus_journal_refused_total").increment(1);
    }

    pub(super) fn note_written(&self) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.take().is_some() {
            tracing::info!("the journal's disk has room again");
        }
    }

    pub(in crate::journal) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::journal) fn segments(&self) -> MutexGuard<'_, Segments> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::journal) fn bytes(&self) -> u64 {
        self.segments().values().map(|segment| segment.bytes).sum()
    }

    pub(in crate::journal) fn read(&self, location: Location) -> Result<Entry, JournalError> {
        let segment = self.segments().get(&location.file).cloned();
        let path = files::segment_path(&self.dir, location.file);
        segment
            .ok_or_else(|| JournalError::Gap { path: path.clone() })?
            .read(&path, location)
    }
}
