//! What the journal holds, in memory: readings and records that are not done, and what is remembered of devices.
//! Pure: the same function applies a frame on replay and after it was written.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::entry::{
    Commitment, Entry, EntryId, Fingerprint, Offer, Reading, RecordKey, SealedRecord,
};
use super::memory::{DeviceImage, DeviceMemory, Novelty, Place, Settled};
use super::pending::{Kind, Pending};
use crate::ingest::mqtt::RECEIVE_MAXIMUM;

/// Messages remembered of all devices together, about 70 bytes each. Where there are many devices, of each fewer.
const REMEMBERED_MAX: usize = 256 * 1024;
/// Messages of a device that are remembered however many devices there are: all that it may send again after its
/// connection broke.
const SHARE_MIN: usize = RECEIVE_MAXIMUM as usize;

/// Where a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Location {
    /// Number of the segment file.
    pub(super) file: u64,
    /// Offset of the frame, bytes.
    pub(super) offset: u64,
    /// Bytes of the whole frame.
    pub(super) bytes: u64,
}

/// How far a record has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Its object is in the spool.
    Sealed,
    /// Its object is pinned on IPFS.
    Pinned,
    /// It is on the ledger.
    Committed(Commitment),
}

/// A stage, without what is known at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StageKind {
    /// See [`Stage::Sealed`].
    Sealed,
    /// See [`Stage::Pinned`].
    Pinned,
    /// See [`Stage::Committed`].
    Committed,
}

impl Stage {
    /// Which stage this is.
    #[must_use]
    pub fn kind(&self) -> StageKind {
        match self {
            Self::Sealed => StageKind::Sealed,
            Self::Pinned => StageKind::Pinned,
            Self::Committed(_) => StageKind::Committed,
        }
    }
}

/// A record that is not yet done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfinishedRecord {
    /// What was sealed.
    pub sealed: Arc<SealedRecord>,
    /// How far it has come.
    pub stage: Stage,
}

#[derive(Debug)]
struct Held<T> {
    value: T,
    location: Location,
}

/// A reading that is not done.
#[derive(Debug)]
struct Kept {
    pending: Arc<Pending>,
    location: Location,
    /// The record that it is in.
    record: Option<RecordKey>,
}

/// How many readings and records are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Readings received and not sealed.
    pub received: usize,
    /// Records sealed and not pinned.
    pub sealed: usize,
    /// Records pinned and not committed.
    pub pinned: usize,
    /// Records committed whose receipts are not out.
    pub committed: usize,
    /// Received time of the oldest reading that is not done, milliseconds since 1970.
    pub oldest_ms: Option<u64>,
}

/// Messages that one of so many devices has remembered, of at most `keep`.
fn share(keep: usize, devices: usize) -> usize {
    let least = SHARE_MIN.min(keep);
    (REMEMBERED_MAX / devices.max(1)).clamp(least, keep)
}

/// The journal's content.
#[derive(Debug, Default)]
pub(super) struct State {
    next_entry: u64,
    devices: HashMap<String, DeviceMemory>,
    entries: BTreeMap<EntryId, Kept>,
    records: BTreeMap<RecordKey, Held<UnfinishedRecord>>,
    /// Readings in records, of those in `entries`.
    in_records: usize,
    /// Records of readings that come later: a reading that is written again is further on than its record.
    early: HashMap<EntryId, RecordKey>,
    /// No reading before this one is in no record: where the search for the oldest begins.
    unsealed_from: EntryId,
    /// Frames not done, by file.
    live: BTreeMap<u64, u64>,
    /// Files with frames that are done.
    done: BTreeSet<u64>,
    keep: usize,
}

impl State {
    pub(super) fn new(keep: usize) -> Self {
        Self {
            keep,
            ..Self::default()
        }
    }

    pub(super) fn next_entry(&self) -> u64 {
        self.next_entry
    }

    pub(super) fn judge(
        &self,
        device: &str,
        sequence: Option<u64>,
        fingerprint: &Fingerprint,
    ) -> Novelty {
        self.devices
            .get(device)
            .map_or(Novelty::New, |memory| memory.judge(sequence, fingerprint))
    }

    /// The kind of a reading, the same as that of the device's last if it is equal.
    pub(super) fn kind(&mut self, reading: &Reading) -> Arc<Kind> {
        match self.devices.get_mut(&reading.device) {
            Some(device) => device.kind(reading),
            None => Arc::new(Kind::of(reading)),
        }
    }

    /// Takes in a frame that is durable. MUST be safe to run twice for the same frame or a copy of it.
    pub(super) fn apply(&mut self, entry: Entry, location: Location) {
        match entry {
            Entry::Received { id, reading } => {
                let kind = self.kind(&reading);
                let pending = Pending::of(id, &Offer::from(reading), kind);
                self.receive(Arc::new(pending), location);
            }
            Entry::Sealed(sealed) => self.apply_sealed(sealed, location),
            Entry::Pinned(records) => self.advance(&records, |stage| match stage {
                Stage::Sealed => Stage::Pinned,
                other => other,
            }),
            Entry::Committed {
                records,
                commitment,
            } => {
                self.advance(&records, |stage| match stage {
                    Stage::Sealed | Stage::Pinned => Stage::Committed(commitment.clone()),
                    other => other,
                });
                let commitment = Arc::new(commitment);
                for record in records {
                    self.settle(record, &commitment);
                }
            }
            Entry::Done(records) | Entry::Dropped(records) => {
                for record in records {
                    self.finish(record);
                }
            }
            Entry::Discarded(records) => {
                for record in records {
                    self.discard(record);
                }
            }
            Entry::Refused(_) => {}
        }
    }

    /// Takes in a reading whose frame is durable. MUST be safe to run twice, as [`State::apply`] is.
    pub(super) fn receive(&mut self, reading: Arc<Pending>, location: Location) {
        let id = reading.id;
        self.next_entry = self.next_entry.max(id.0.saturating_add(1));
        self.unsealed_from = self.unsealed_from.min(id);
        let (sequence, identity) = (reading.sequence, reading.identity());
        let keep = share(self.keep, self.devices.len());
        if let Some(device) = self.devices.get_mut(&reading.kind.device) {
            device.insert(sequence, identity, keep);
        } else {
            let device = self.devices.entry(reading.kind.device.clone()).or_default();
            device.insert(sequence, identity, keep);
        }
        *self.live.entry(location.file).or_default() += 1;
        if let Some(kept) = self.entries.get_mut(&id) {
            kept.pending = reading;
            let old = std::mem::replace(&mut kept.location, location);
            self.release(old.file, 1);
            return;
        }
        let record = self.early.remove(&id);
        self.in_records += usize::from(record.is_some());
        let kept = Kept {
            pending: reading,
            location,
            record,
        };
        self.entries.insert(id, kept);
    }

    fn apply_sealed(&mut self, sealed: SealedRecord, location: Location) {
        for entry in &sealed.entries {
            match self.entries.get_mut(entry) {
                Some(kept) => {
                    let before = kept.record.replace(sealed.record);
                    self.in_records += usize::from(before.is_none());
                }
                None => drop(self.early.insert(*entry, sealed.record)),
            }
        }
        *self.live.entry(location.file).or_default() += 1;
        let key = sealed.record;
        let stage = self
            .records
            .get(&key)
            .map_or(Stage::Sealed, |held| held.value.stage.clone());
        let held = Held {
            value: UnfinishedRecord {
                sealed: Arc::new(sealed),
                stage,
            },
            location,
        };
        if let Some(old) = self.records.insert(key, held) {
            self.release(old.location.file, 1);
        }
    }

    fn advance(&mut self, records: &[RecordKey], step: impl Fn(Stage) -> Stage) {
        for record in records {
            if let Some(held) = self.records.get_mut(record) {
                held.value.stage = step(held.value.stage.clone());
            }
        }
    }

    /// Notes of each reading of a record where it is on the ledger, for when the device sends it again.
    fn settle(&mut self, record: RecordKey, commitment: &Arc<Commitment>) {
        let Some(held) = self.records.get(&record) else {
            return;
        };
        let place = Arc::new(Place {
            record,
            commitment: Arc::clone(commitment),
        });
        // All are one device's.
        let Some(device) = self.devices.get_mut(&held.value.sealed.device) else {
            return;
        };
        for entry in &held.value.sealed.entries {
            if let Some(Kept { pending, .. }) = self.entries.get(entry) {
                device.settle(pending.sequence, pending.identity(), &place, pending.marks);
            }
        }
    }

    fn finish(&mut self, record: RecordKey) {
        let Some(held) = self.records.remove(&record) else {
            return;
        };
        self.release(held.location.file, 1);
        let mut done = (held.location.file, 0);
        for entry in &held.value.sealed.entries {
            let Some(kept) = self.entries.remove(entry) else {
                self.early.remove(entry);
                continue;
            };
            self.in_records -= usize::from(kept.record.is_some());
            if kept.location.file != done.0 {
                self.release(done.0, done.1);
                done = (kept.location.file, 0);
            }
            done.1 += 1;
        }
        self.release(done.0, done.1);
    }

    fn discard(&mut self, record: RecordKey) {
        let Some(held) = self.records.remove(&record) else {
            return;
        };
        self.release(held.location.file, 1);
        for entry in &held.value.sealed.entries {
            if let Some(kept) = self.entries.get_mut(entry) {
                if kept.record == Some(record) {
                    kept.record = None;
                    self.in_records -= 1;
                    self.unsealed_from = self.unsealed_from.min(*entry);
                }
            } else if self.early.get(entry) == Some(&record) {
                self.early.remove(entry);
            }
        }
    }

    /// So many frames of a file are done.
    fn release(&mut self, file: u64, frames: u64) {
        if frames == 0 {
            return;
        }
        self.done.insert(file);
        if let Some(count) = self.live.get_mut(&file) {
            *count -= frames;
            if *count == 0 {
                self.live.remove(&file);
            }
        }
    }

    /// Whether nothing unfinished is in this file.
    pub(super) fn is_dead(&self, file: u64) -> bool {
        !self.live.contains_key(&file)
    }

    /// Whether something in this file is done: a reading, or a record with its wrapped keys.
    pub(super) fn has_done(&self, file: u64) -> bool {
        self.done.contains(&file)
    }

    /// Forgets a file that was deleted.
    pub(super) fn deleted(&mut self, file: u64) {
        self.done.remove(&file);
    }

    /// Bytes of unfinished frames in this file.
    pub(super) fn live_bytes(&self, file: u64) -> u64 {
        let entries = self.entries.values().map(|kept| kept.location);
        let records = self.records.values().map(|held| held.location);
        entries
            .chain(records)
            .filter(|location| location.file == file)
            .map(|location| location.bytes)
            .sum()
    }

    /// What of this file must be written again before it may be deleted, readings first.
    pub(super) fn live_in(&self, file: u64) -> (Vec<(EntryId, Location)>, Vec<UnfinishedRecord>) {
        let entries = self
            .entries
            .values()
            .filter(|kept| kept.location.file == file)
            .map(|kept| (kept.pending.id, kept.location))
            .collect();
        let records = self
            .records
            .values()
            .filter(|held| held.location.file == file)
            .map(|held| held.value.clone())
            .collect();
        (entries, records)
    }

    /// Where readings are; none for one that is done.
    pub(super) fn locations(&self, entries: &[EntryId]) -> Vec<Option<Location>> {
        let of = |entry| self.entries.get(entry).map(|kept| kept.location);
        entries.iter().map(of).collect()
    }

    pub(super) fn pending(&self, entry: EntryId) -> Option<&Arc<Pending>> {
        self.entries.get(&entry).map(|kept| &kept.pending)
    }

    /// Readings that are in no record, oldest first.
    pub(super) fn unsealed(&self) -> Vec<Arc<Pending>> {
        self.entries
            .values()
            .filter(|kept| kept.record.is_none())
            .map(|kept| Arc::clone(&kept.pending))
            .collect()
    }

    /// Readings that are not done and whose content is in a file of its own: device and name.
    pub(super) fn objects(&self) -> HashSet<(String, String)> {
        let pending = self.entries.values().map(|kept| &kept.pending);
        let named = pending.filter_map(|pending| {
            let id = pending.object_id.as_deref()?;
            Some((pending.kind.device.clone(), id.to_owned()))
        });
        named.collect()
    }

    pub(super) fn record(&self, record: RecordKey) -> Option<&UnfinishedRecord> {
        self.records.get(&record).map(|held| &held.value)
    }

    pub(super) fn unfinished(&self) -> Vec<UnfinishedRecord> {
        self.records
            .values()
            .map(|held| held.value.clone())
            .collect()
    }

    pub(super) fn at_stage(
        &self,
        stage: StageKind,
        limit: usize,
        except: &HashSet<RecordKey>,
    ) -> Vec<UnfinishedRecord> {
        let mut found: Vec<_> = self
            .records
            .values()
            .map(|held| &held.value)
            .filter(|record| record.stage.kind() == stage)
            .filter(|record| !except.contains(&record.sealed.record))
            .collect();
        found.sort_unstable_by_key(|record| record.sealed.entries.first().copied());
        found.into_iter().take(limit).cloned().collect()
    }

    pub(super) fn readings_in_records(&self) -> usize {
        self.in_records
    }

    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts {
            received: self.entries.len().saturating_sub(self.in_records),
            oldest_ms: self
                .entries
                .first_key_value()
                .map(|(_, kept)| kept.pending.received_ms),
            ..Counts::default()
        };
        for held in self.records.values() {
            match held.value.stage {
                Stage::Sealed => counts.sealed += 1,
                Stage::Pinned => counts.pinned += 1,
                Stage::Committed(_) => counts.committed += 1,
            }
        }
        counts
    }

    /// When the oldest reading in each state was received; records in `parked` are a state of their own.
    pub(super) fn oldest_ms(
        &mut self,
        parked: &HashSet<RecordKey>,
    ) -> [(&'static str, Option<u64>); 5] {
        let mut oldest = ["received", "sealed", "pinned", "committed", "parked"]
            .map(|state| (state, None::<u64>));
        let mut note = |at: usize, received_ms: u64| {
            let known = &mut oldest[at].1;
            *known = Some(known.map_or(received_ms, |known| known.min(received_ms)));
        };
        // In the order of their numbers, so of their coming.
        let mut from_here = self.entries.range(self.unsealed_from..);
        match from_here.find(|(_, kept)| kept.record.is_none()) {
            Some((id, first)) => {
                self.unsealed_from = *id;
                note(0, first.pending.received_ms);
            }
            None => self.unsealed_from = EntryId(self.next_entry),
        }
        for (key, held) in &self.records {
            let first = held.value.sealed.entries.first();
            let Some(reading) = first.and_then(|id| self.pending(*id)) else {
                continue;
            };
            let at = match held.value.stage.kind() {
                _ if parked.contains(key) => 4,
                StageKind::Sealed => 1,
                StageKind::Pinned => 2,
                StageKind::Committed => 3,
            };
            note(at, reading.received_ms);
        }
        oldest
    }

    pub(super) fn highest_sequence(&self, device: &str) -> Option<u64> {
        self.devices.get(device).and_then(DeviceMemory::highest)
    }

    /// Where a message that came before is on the ledger, if it is there and one of the device's last.
    pub(super) fn settled(
        &self,
        device: &str,
        sequence: Option<u64>,
        identity: Fingerprint,
    ) -> Option<Settled> {
        self.devices.get(device)?.settled(sequence, identity)
    }

    pub(super) fn device_names(&self) -> Vec<String> {
        self.devices.keys().cloned().collect()
    }

    pub(super) fn device_images(&self, names: &[String]) -> Vec<DeviceImage> {
        let known = names
            .iter()
            .filter_map(|name| self.devices.get_key_value(name));
        known
            .map(|(device, memory)| memory.to_image(device))
            .collect()
    }

    /// Starts from a snapshot.
    pub(super) fn restore(&mut self, next_entry: u64, devices: &[DeviceImage]) {
        self.next_entry = self.next_entry.max(next_entry);
        for image in devices {
            self.devices
                .insert(image.device.clone(), DeviceMemory::from_image(image));
        }
    }
}
