//! How far each job is, for administrators and metrics.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use contract_interface::UtcTime;
use serde::Serialize;
use tokio::sync::watch;

use super::JobError;
use crate::clock;

/// Shows the jobs' progress and wakes them. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Board {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Held for a few lines, never across an await.
    jobs: Mutex<BTreeMap<&'static str, JobStatus>>,
    wakes: watch::Sender<u64>,
}

/// How far one job is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct JobStatus {
    /// Which.
    pub(crate) job: &'static str,
    /// Whether a pass goes on.
    pub(crate) running: bool,
    /// Passes that ended.
    pub(crate) passes: u64,
    /// Items looked at in this pass, or in the last if none goes on.
    pub(crate) seen: u64,
    /// Items of them that were changed.
    pub(crate) changed: u64,
    /// Items of them that wait: for another organisation, for time to pass, for the next try.
    pub(crate) waiting: u64,
    /// When the last pass began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) begun_at: Option<UtcTime>,
    /// When the last pass ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ended_at: Option<UtcTime>,
    /// Why the last pass that ended did not finish.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

impl Board {
    /// How far every job is.
    pub(crate) fn statuses(&self) -> Vec<JobStatus> {
        self.lock().values().cloned().collect()
    }

    /// Lets the jobs look at once whether there is something to do.
    pub(crate) fn wake(&self) {
        self.shared
            .wakes
            .send_modify(|wakes| *wakes = wakes.wrapping_add(1));
    }

    /// A number that rises with each [`Board::wake`].
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.shared.wakes.subscribe()
    }

    /// Where a job writes how far it is.
    pub(super) fn progress(&self, job: &'static str) -> Progress {
        let status = JobStatus {
            job,
            running: false,
            passes: 0,
            seen: 0,
            changed: 0,
            waiting: 0,
            begun_at: None,
            ended_at: None,
            error: None,
        };
        self.lock().insert(job, status);
        Progress {
            board: self.clone(),
            job,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, JobStatus>> {
        self.shared
            .jobs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// One job's place on the board.
#[derive(Debug)]
pub(crate) struct Progress {
    board: Board,
    job: &'static str,
}

impl Progress {
    /// Counts an item that was looked at.
    pub(super) fn seen(&self) {
        self.update(|status| status.seen += 1);
    }

    /// Counts items that were changed.
    pub(super) fn changed(&self, items: u64) {
        self.update(|status| status.changed += items);
        metrics::counter!("salus_job_changed_total", "job" => self.job).increment(items);
    }

    /// Counts an item that waits.
    pub(super) fn waiting(&self) {
        self.update(|status| status.waiting += 1);
    }

    pub(super) fn begin(&self) {
        self.update(|status| {
            status.running = true;
            (status.seen, status.changed, status.waiting) = (0, 0, 0);
            status.begun_at = Some(clock::now());
        });
    }

    pub(super) fn end(&self, error: Option<&JobError>) {
        let mut changed = 0;
        self.update(|status| {
            status.running = false;
            status.passes += 1;
            status.ended_at = Some(clock::now());
            status.error = error.map(ToString::to_string);
            changed = status.changed;
        });
        let failed = u64::from(error.is_some());
        metrics::counter!("salus_job_failures_total", "job" => self.job).increment(failed);
        if changed > 0 {
            tracing::info!(job = self.job, changed, "a job's pass ended");
        }
    }

    fn update(&self, change: impl FnOnce(&mut JobStatus)) {
        let mut jobs = self.board.lock();
        if let Some(status) = jobs.get_mut(self.job) {
            change(status);
            metrics::gauge!("salus_job_seen", "job" => self.job).set(status.seen as f64);
            metrics::gauge!("salus_job_waiting", "job" => self.job).set(status.waiting as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_is_counted_and_its_error_shown_until_the_next() {
        let board = Board::default();
        let progress = board.progress("test");
        progress.begin();
        progress.seen();
        progress.changed(3);
        progress.waiting();
        let running = board.statuses().remove(0);
        assert!(running.running && running.begun_at.is_some() && running.ended_at.is_none());
        assert_eq!((running.seen, running.changed, running.waiting), (1, 3, 1));
        progress.end(Some(&JobError::Left { items: 1 }));
        let ended = board.statuses().remove(0);
        assert!(!ended.running && ended.error.is_some());
        progress.begin();
        progress.end(None);
        let again = board.statuses().remove(0);
        assert_eq!((again.passes, again.seen, again.error), (2, 0, None));
    }

    #[tokio::test]
    async fn a_wake_during_a_pass_is_not_missed() {
        let board = Board::default();
        let mut wakes = board.watch();
        assert!(!wakes.has_changed().unwrap());
        board.wake();
        wakes.changed().await.unwrap();
    }
}
