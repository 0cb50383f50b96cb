//! Readings whose patients have no encryption key yet: kept in the journal, in no record, because nobody could be
//! given the record's key. Each such patient is looked up again, at longer and longer intervals; once there is a key
//! the readings go on by themselves.
//!
//! In memory alone: a start gathers the readings anew and so finds out again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Shared;
use super::gather::Group;
use crate::journal::{Fingerprint, Pending};

/// The reason, as devices and administrators read it.
pub(super) const CODE: &str = "PATIENT_KEY_MISSING";
/// The same as a sentence.
const REASON: &str = "the patient whom the device measures has no usable encryption key registered; the readings \
                      are kept and go on when there is one";
/// Wait before a patient is looked up again; doubles each time.
const ASK_FIRST: Duration = Duration::from_millis(500);
/// Longest wait before a patient is looked up again.
const ASK_LAST: Duration = Duration::from_secs(60);

/// Readings of one device that wait for something that an administrator can mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The device.
    pub device: String,
    /// How many.
    pub readings: usize,
    /// What they wait for: `PATIENT_KEY_MISSING`.
    pub code: &'static str,
    /// The same as a sentence.
    pub reason: &'static str,
    /// Since when, milliseconds since 1970; not before the start.
    pub since_ms: u64,
    /// Time until it is looked whether they can go on.
    pub retry_in: Duration,
}

/// By what the journal recognises a reading.
type Message = (String, Option<u64>, Fingerprint);

#[derive(Debug)]
struct Patient {
    groups: Vec<Group>,
    readings: HashSet<Message>,
    since_ms: u64,
    due: Instant,
    wait: Duration,
}

/// Readings of patients without a key. Pure.
#[derive(Debug, Default)]
pub(super) struct WaitingRoom {
    patients: HashMap<String, Patient>,
}

impl WaitingRoom {
    /// Whether a patient is known to have no key.
    pub(super) fn knows(&self, patient: &str) -> bool {
        self.patients.contains_key(patient)
    }

    /// Takes in a group of a patient without a key.
    pub(super) fn take_in(
        &mut self,
        group: Group,
        readings: &[Arc<Pending>],
        now: Instant,
        now_ms: u64,
    ) {
        let new = || Patient {
            groups: Vec::new(),
            readings: HashSet::new(),
            since_ms: now_ms,
            due: now + ASK_FIRST,
            wait: ASK_FIRST,
        };
        let patient = self.patients.entry(group.patient.clone());
        let patient = patient.or_insert_with(new);
        patient
            .readings
            .extend(readings.iter().map(|reading| message(reading)));
        patient.groups.push(group);
    }

    /// Patients to be looked up again now, the longest due first, at most `limit`. Each waits longer from now on.
    pub(super) fn take_due(&mut self, now: Instant, limit: usize) -> Vec<String> {
        let mut due: Vec<_> = self.patients.iter_mut().collect();
        due.retain(|(_, patient)| patient.due <= now);
        due.sort_by_key(|(_, patient)| patient.due);
        due.truncate(limit);
        due.into_iter()
            .map(|(name, patient)| {
                patient.wait = patient.wait.saturating_mul(2).min(ASK_LAST);
                patient.due = now + patient.wait;
                name.clone()
            })
            .collect()
    }

    /// When the next patient is to be looked up.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.patients.values().map(|patient| patient.due).min()
    }

    /// Gives back the groups of a patient who has a key now.
    pub(super) fn release(&mut self, patient: &str) -> Vec<Group> {
        self.patients
            .remove(patient)
            .map_or_else(Vec::new, |patient| patient.groups)
    }

    /// Whether a reading waits here that is sent again. Its patient is then looked up soon, since whoever sends
    /// again may know that the key is there; not more often than at first, however often a device asks.
    pub(super) fn asks_again(
        &mut self,
        device: &str,
        sequence: Option<u64>,
        identity: Fingerprint,
    ) -> bool {
        let message = (device.to_owned(), sequence, identity);
        let mut patients = self.patients.values_mut();
        let Some(patient) = patients.find(|patient| patient.readings.contains(&message)) else {
            return false;
        };
        patient.due -= patient.wait.saturating_sub(ASK_FIRST);
        patient.wait = ASK_FIRST;
        true
    }

    /// Readings that wait.
    pub(super) fn len(&self) -> usize {
        let patients = self.patients.values();
        patients.map(|patient| patient.readings.len()).sum()
    }

    /// What waits, device by device, the longest first.
    pub(super) fn list(&self, now: Instant) -> Vec<Waiting> {
        let mut all = Vec::new();
        for patient in self.patients.values() {
            let mut devices: BTreeMap<&str, usize> = BTreeMap::new();
            for (device, ..) in &patient.readings {
                *devices.entry(device).or_default() += 1;
            }
            all.extend(devices.into_iter().map(|(device, readings)| Waiting {
                device: device.to_owned(),
                readings,
                code: CODE,
                reason: REASON,
                since_ms: patient.since_ms,
                retry_in: patient.due.saturating_duration_since(now),
            }));
        }
        all.sort_by(|a, b| (a.since_ms, &a.device).cmp(&(b.since_ms, &b.device)));
        all
    }
}

fn message(reading: &Pending) -> Message {
    let device = reading.kind.device.clone();
    (device, reading.sequence, reading.identity())
}

pub(super) fn room(shared: &Shared) -> MutexGuard<'_, WaitingRoom> {
    let room = shared.keyless.lock();
    room.unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(device: &str, sequence: u64) -> Arc<Pending> {
        Arc::new(super::super::gather::tests::reading(
            sequence, device, "8867-4", 1,
        ))
    }

    fn group(device: &str, patient: &str) -> Group {
        Group::of(device, patient, "8867-4", 2, (1, 2))
    }

    #[test]
    fn a_patient_is_looked_up_at_longer_and_longer_intervals() {
        let mut room = WaitingRoom::default();
        let mut now = Instant::now();
        room.take_in(group("d", "p"), &[reading("d", 1)], now, 5);
        for wait in [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000] {
            let wait = Duration::from_millis(wait);
            assert_eq!(room.next_due(), Some(now + wait));
            assert!(room.take_due(now + wait / 2, 9).is_empty());
            now += wait;
            assert_eq!(room.take_due(now, 9), ["p"]);
        }
        // A device that sends again has it looked up soon, but not at once each time.
        assert_eq!(room.next_due(), Some(now + ASK_LAST));
        for _ in 0..3 {
            assert!(room.asks_again("d", Some(1), [0; 32]));
            assert_eq!(room.next_due(), Some(now + ASK_FIRST));
        }
        assert_eq!(room.release("p").len(), 1);
        assert_eq!((room.next_due(), room.len()), (None, 0));
        assert!(room.release("p").is_empty());
    }

    #[test]
    fn what_waits_is_listed_by_device_and_known_when_it_comes_again() {
        let mut room = WaitingRoom::default();
        let now = Instant::now();
        room.take_in(group("d", "p"), &[reading("d", 1), reading("d", 2)], now, 5);
        room.take_in(group("e", "p"), &[reading("e", 1)], now, 6);
        room.take_in(group("c", "q"), &[reading("c", 1)], now, 4);
        assert!(room.knows("p") && !room.knows("r"));
        let list = room.list(now);
        let rows: Vec<_> = list
            .iter()
            .map(|row| (row.device.as_str(), row.readings, row.since_ms))
            .collect();
        assert_eq!(rows, [("c", 1, 4), ("d", 2, 5), ("e", 1, 5)]);
        assert!(list.iter().all(|row| row.retry_in == ASK_FIRST));
        let identity = reading("d", 2).identity();
        assert!(room.asks_again("d", Some(2), identity));
        for (device, sequence, identity) in [
            ("d", Some(3), identity),
            ("e", Some(2), identity),
            ("d", Some(2), [9; 32]),
        ] {
            assert!(!room.asks_again(device, sequence, identity));
        }
        assert_eq!(room.take_due(now + ASK_LAST, 1).len(), 1);
        assert_eq!(room.take_due(now + ASK_LAST, 9).len(), 1);
        assert_eq!(room.release("p").len(), 2);
        assert_eq!(room.len(), 1);
    }
}
