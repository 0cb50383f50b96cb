//! When readings whose receipts do not come are sent again. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// Time without any receipt after which acknowledged readings are sent again on a connection that lasts, since a
/// receipt may have been lost; doubles, because more often the ledger is away.
const REMIND_FIRST: Duration = Duration::from_secs(60);
/// Longest such time.
const REMIND_LAST: Duration = Duration::from_secs(3600);

/// When readings without receipts are sent again.
#[derive(Debug)]
pub(super) struct Reminder {
    at: Instant,
    after: Duration,
    /// Receipts that had come when this was last looked at.
    receipted: u64,
}

impl Reminder {
    pub(super) fn new(receipted: u64, now: Instant) -> Self {
        Self {
            at: now + REMIND_FIRST,
            after: REMIND_FIRST,
            receipted,
        }
    }

    /// When it is due unless receipts come.
    pub(super) fn at(&self) -> Instant {
        self.at
    }

    /// Whether it is time; then the next time is later.
    pub(super) fn is_due(&mut self, receipted: u64, now: Instant) -> bool {
        if receipted > self.receipted {
            *self = Self::new(receipted, now);
        }
        let due = now >= self.at;
        if due {
            self.after = (self.after * 2).min(REMIND_LAST);
            self.at = now + self.after;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_are_sent_again_when_no_receipt_comes_and_ever_more_seldom() {
        let mut now = Instant::now();
        let mut reminder = Reminder::new(0, now);
        assert!(!reminder.is_due(0, now));
        for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
            let second = Duration::from_secs(1);
            now += Duration::from_secs(60 * minutes);
            assert!(!reminder.is_due(0, now - second), "{minutes}");
            assert!(reminder.is_due(0, now), "{minutes}");
            assert!(!reminder.is_due(0, now), "once");
        }
        // A receipt says that the ledger is there.
        now += Duration::from_secs(3000);
        assert!(!reminder.is_due(1, now));
        assert!(reminder.is_due(1, now + REMIND_FIRST));
    }
}
