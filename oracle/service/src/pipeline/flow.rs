//! How far acknowledgements may run ahead of the ledger. Pure.
//!
//! A device is told that its reading is kept before the reading is on the ledger. As long as records get there, a
//! flood of readings is slowed down to what gets there, or memory would grow with it. When nothing gets there, a
//! store or the ledger is out of reach: then readings are taken as long as the journal has room, which is what it
//! is for.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Readings in records that are not done beyond which no more readings are acknowledged while others get done.
const READINGS_AHEAD_MAX: usize = 100_000;
/// Records get to the ledger if the last one got there this long ago.
const MOVING: Duration = Duration::from_secs(5);
/// Wait until it is looked again.
pub(super) const PAUSE: Duration = Duration::from_millis(20);

/// When records were last done.
#[derive(Debug, Default)]
pub(super) struct Flow(Mutex<Option<Instant>>);

impl Flow {
    /// Records are done.
    pub(super) fn moved(&self, now: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// Whether new readings have to wait, with so many readings in records that are not done.
    pub(super) fn holds(&self, in_records: usize, now: Instant) -> bool {
        let moved = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        in_records > READINGS_AHEAD_MAX
            && moved.is_some_and(|at| now.saturating_duration_since(at) < MOVING)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_waits_while_records_get_done_and_only_then() {
        let flow = Flow::default();
        let now = Instant::now();
        assert!(!flow.holds(usize::MAX, now), "nothing was done yet");
        flow.moved(now);
        assert!(!flow.holds(READINGS_AHEAD_MAX, now));
        assert!(flow.holds(READINGS_AHEAD_MAX + 1, now));
        assert!(!flow.holds(usize::MAX, now + MOVING), "an outage");
        flow.moved(now + MOVING);
        assert!(flow.holds(usize::MAX, now + MOVING));
    }
}
