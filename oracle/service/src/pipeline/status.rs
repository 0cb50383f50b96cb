//! What an operator sees of the pipeline: counts, and how old the oldest unfinished reading is.

use std::sync::Arc;
use std::time::Duration;

use super::{PipelineError, Shared, keyless, now_ms, parked};

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// How far everything is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Status {
    /// Whether the tasks run.
    pub running: bool,
    /// Readings and records that are not done.
    pub waiting: u64,
    /// Readings received and not sealed.
    pub received: u64,
    /// Records sealed and not pinned.
    pub sealed: u64,
    /// Records pinned and not on the ledger.
    pub pinned: u64,
    /// Records on the ledger whose receipts are not out.
    pub committed: u64,
    /// Records that the contract refuses; they are tried again from time to time.
    pub parked: u64,
    /// Readings, of those received, whose patients have no key.
    pub keyless: u64,
    /// Seconds since the oldest unfinished reading was received.
    pub oldest_seconds: u64,
}

/// Looks every second; never ends by itself.
pub(super) async fn watch(shared: Arc<Shared>) -> Result<(), PipelineError> {
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        interval.tick().await;
        let status = look(&shared);
        for (state, count) in [
            ("received", status.received),
            ("sealed", status.sealed),
            ("pinned", status.pinned),
            ("committed", status.committed),
            ("parked", status.parked),
        ] {
            metrics::gauge!("salus_pipeline_waiting", "state" => state).set(count as f64);
        }
        let parked = parked::lot(&shared).keys();
        for (state, age_ms) in shared.journal.ages_ms(&parked, now_ms()) {
            metrics::gauge!("salus_pipeline_oldest_seconds", "state" => state)
                .set(age_ms as f64 / 1000.0);
        }
        metrics::gauge!("salus_pipeline_keyless").set(status.keyless as f64);
        metrics::gauge!("salus_journal_bytes").set(shared.journal.bytes() as f64);
        shared.status.send_if_modified(|last| {
            let changed = *last != status;
            *last = status;
            changed
        });
    }
}

fn look(shared: &Shared) -> Status {
    let counts = shared.journal.counts();
    let (received, sealed) = (counts.received as u64, counts.sealed as u64);
    let (pinned, committed) = (counts.pinned as u64, counts.committed as u64);
    Status {
        running: true,
        waiting: received + sealed + pinned + committed,
        received,
        sealed,
        pinned,
        committed,
        parked: parked::lot(shared).len() as u64,
        keyless: keyless::room(shared).len() as u64,
        oldest_seconds: counts
            .oldest_ms
            .map_or(0, |oldest| now_ms().saturating_sub(oldest) / 1000),
    }
}
