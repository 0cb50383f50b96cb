//! Records that the contract refuses: why, since when, when each is tried again, and what an administrator does
//! about them.
//!
//! A parked record stays in the journal. It is tried again by itself, later each time, also while others keep the
//! pipeline busy; who is parked and why is in memory alone, because a start tries everything anew and so finds out.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;

use super::Shared;
use super::keyless::{self, Waiting};
use crate::journal::{Entry, JournalError, RecordKey, SealedRecord};
use crate::ledger::LedgerError;

/// Wait before a refused record is tried again; doubles with each refusal.
const RETRY_FIRST: Duration = Duration::from_secs(60);
/// Longest wait before a refused record is tried again.
const RETRY_LAST: Duration = Duration::from_secs(3600);

/// A record that the contract refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The record.
    pub record: RecordKey,
    /// The device its readings came from.
    pub device: String,
    /// Readings in it.
    pub readings: usize,
    /// The contract's code, such as `DEVICE_NOT_BOUND`; `UNREADABLE` if what was sealed or answered cannot be read.
    pub code: String,
    /// The contract's sentence.
    pub reason: String,
    /// How often it was refused since the start.
    pub refusals: u32,
    /// When it was first refused since the start, milliseconds since 1970.
    pub since_ms: u64,
    /// Time until it is tried again; zero while it is tried.
    pub retry_in: Duration,
}

/// Why nothing was done about a record.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DeadLetterError {
    /// No such record is parked.
    #[error("no dead letter has this ID")]
    Unknown,
    /// It is just being tried or dropped.
    #[error("the dead letter is being worked on")]
    InHand,
    /// The journal did not take it.
    #[error("the journal did not take the change")]
    Journal(#[from] JournalError),
    /// The task that does it has died.
    #[error("dropping a dead letter broke")]
    Broke,
}

#[derive(Debug)]
struct Parked {
    letter: DeadLetter,
    due: Instant,
    /// Being registered, or dropped: nothing else may be done with it.
    in_hand: bool,
}

/// The parked records. Pure.
#[derive(Debug, Default)]
pub(super) struct ParkingLot {
    records: HashMap<RecordKey, Parked>,
}

impl ParkingLot {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Every parked record, which therefore is no ordinary work.
    pub(super) fn keys(&self) -> HashSet<RecordKey> {
        self.records.keys().copied().collect()
    }

    /// Notes a refusal.
    pub(super) fn park(
        &mut self,
        record: &SealedRecord,
        (code, reason): (String, String),
        now: Instant,
        now_ms: u64,
    ) {
        let before = self.records.get(&record.record);
        let refusals = before.map_or(0, |parked| parked.letter.refusals);
        let since_ms = before.map_or(now_ms, |parked| parked.letter.since_ms);
        let wait = RETRY_FIRST
            .saturating_mul(2_u32.saturating_pow(refusals))
            .min(RETRY_LAST);
        let letter = DeadLetter {
            record: record.record,
            device: record.device.clone(),
            readings: record.entries.len(),
            code,
            reason,
            refusals: refusals.saturating_add(1),
            since_ms,
            retry_in: Duration::ZERO,
        };
        let parked = Parked {
            letter,
            due: now + wait,
            in_hand: false,
        };
        self.records.insert(record.record, parked);
    }

    /// Takes records in hand whose time has come, the longest waiting first, at most `limit`.
    pub(super) fn take_due(&mut self, now: Instant, limit: usize) -> Vec<RecordKey> {
        let due = |parked: &&mut Parked| !parked.in_hand && parked.due <= now;
        let mut taken: Vec<_> = self.records.values_mut().filter(due).collect();
        taken.sort_by_key(|parked| (parked.due, parked.letter.record));
        taken.truncate(limit);
        taken
            .into_iter()
            .map(|parked| {
                parked.in_hand = true;
                parked.letter.record
            })
            .collect()
    }

    /// When the next record is to be tried.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let waiting = self.records.values().filter(|parked| !parked.in_hand);
        waiting.map(|parked| parked.due).min()
    }

    /// Forgets records that are registered, sealed anew, or dropped.
    pub(super) fn forget<'a>(&mut self, records: impl IntoIterator<Item = &'a RecordKey>) {
        for record in records {
            self.records.remove(record);
        }
    }

    /// What is parked, the longest first.
    fn list(&self, now: Instant) -> Vec<DeadLetter> {
        let letter = |parked: &Parked| DeadLetter {
            retry_in: if parked.in_hand {
                Duration::ZERO
            } else {
                parked.due.saturating_duration_since(now)
            },
            ..parked.letter.clone()
        };
        let mut letters: Vec<_> = self.records.values().map(letter).collect();
        letters.sort_by_key(|letter| (letter.since_ms, letter.record));
        letters
    }

    fn idle(&mut self, record: RecordKey) -> Result<&mut Parked, DeadLetterError> {
        let parked = self.records.get_mut(&record);
        let parked = parked.ok_or(DeadLetterError::Unknown)?;
        if parked.in_hand {
            return Err(DeadLetterError::InHand);
        }
        Ok(parked)
    }
}

/// Code and sentence of a refusal.
pub(super) fn reason_of(error: &LedgerError) -> (String, String) {
    match error {
        LedgerError::Contract {
            code,
            status,
            message,
        } => {
            let code = code.map_or_else(|| format!("STATUS_{status}"), |code| code.to_string());
            (code, message.clone())
        }
        other => ("UNREADABLE".to_owned(), other.to_string()),
    }
}

/// What an administrator sees and does of dead letters; cheap to clone.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    shared: Arc<Shared>,
}

impl DeadLetters {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// What is parked, the longest first.
    #[must_use]
    pub fn list(&self) -> Vec<DeadLetter> {
        lot(&self.shared).list(Instant::now())
    }

    /// Readings that can be no record yet, the longest waiting first.
    #[must_use]
    pub fn waiting(&self) -> Vec<Waiting> {
        keyless::room(&self.shared).list(std::time::Instant::now())
    }

    /// Has a record tried again now.
    ///
    /// # Errors
    ///
    /// [`DeadLetterError::Unknown`] or [`DeadLetterError::InHand`].
    pub fn retry(&self, record: RecordKey) -> Result<(), DeadLetterError> {
        lot(&self.shared).idle(record)?.due = Instant::now();
        self.shared.to_register.notify_one();
        Ok(())
    }

    /// Gives a record and its readings up for good. The devices were told that the readings are kept; what was
    /// lost with them is for whoever asks for this to know.
    ///
    /// # Errors
    ///
    /// [`DeadLetterError`]; the record is parked as before then.
    pub async fn drop_record(&self, record: RecordKey) -> Result<(), DeadLetterError> {
        lot(&self.shared).idle(record)?.in_hand = true;
        let shared = Arc::clone(&self.shared);
        // A task, so that a caller who goes away does not leave the record in hand.
        let dropping = tokio::spawn(async move {
            let appended = shared.journal.append(Entry::Dropped(vec![record])).await;
            let mut lot = lot(&shared);
            match appended {
                Ok(()) => {
                    lot.forget([&record]);
                    shared.stages.forget([&record]);
                    metrics::counter!("salus_pipeline_dropped_total").increment(1);
                    Ok(())
                }
                Err(error) => {
                    if let Some(parked) = lot.records.get_mut(&record) {
                        parked.in_hand = false;
                    }
                    Err(DeadLetterError::Journal(error))
                }
            }
        });
        dropping.await.map_err(|_| DeadLetterError::Broke)?
    }
}

pub(super) fn lot(shared: &Shared) -> MutexGuard<'_, ParkingLot> {
    shared.parked.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: u8) -> SealedRecord {
        SealedRecord {
            record: RecordKey([key; 16]),
            entries: vec![crate::journal::EntryId(0), crate::journal::EntryId(1)],
            cid: String::new(),
            object_bytes: 0,
            public: String::new(),
            private: String::new(),
            wraps: String::new(),
            device: "d".to_owned(),
        }
    }

    fn refused() -> (String, String) {
        ("DEVICE_NOT_BOUND".to_owned(), "not bound".to_owned())
    }

    #[test]
    fn a_refused_record_is_tried_later_each_time_and_once_at_a_time() {
        let start = Instant::now();
        let mut lot = ParkingLot::default();
        let mut now = start;
        for expected in [60, 120, 240, 480, 960, 1920, 3600, 3600] {
            lot.park(&record(1), refused(), now, 5);
            let wait = Duration::from_secs(expected);
            assert_eq!(lot.next_due(), Some(now + wait));
            assert!(lot.take_due(now + wait / 2, 9).is_empty());
            now += wait;
            assert_eq!(lot.take_due(now, 9), [RecordKey([1; 16])]);
            assert!(lot.take_due(now, 9).is_empty(), "it is in hand");
            assert_eq!(lot.next_due(), None);
            assert!(matches!(
                lot.idle(RecordKey([1; 16])),
                Err(DeadLetterError::InHand)
            ));
        }
        let letter = lot.list(now).remove(0);
        assert_eq!((letter.refusals, letter.since_ms), (8, 5));
        assert_eq!((letter.readings, letter.retry_in), (2, Duration::ZERO));
        lot.forget([&RecordKey([1; 16])]);
        assert_eq!(lot.len(), 0);
    }

    #[test]
    fn the_longest_waiting_are_tried_first_and_no_more_than_asked_for() {
        let now = Instant::now();
        let mut lot = ParkingLot::default();
        for (key, later) in [(1, 3), (2, 1), (3, 2)] {
            let at = now + Duration::from_secs(later);
            lot.park(&record(key), refused(), at, later);
        }
        let much_later = now + Duration::from_secs(600);
        let keys = [2, 3].map(|key| RecordKey([key; 16]));
        assert_eq!(lot.take_due(much_later, 2), keys);
        assert_eq!(lot.take_due(much_later, 2), [RecordKey([1; 16])]);
    }
}
