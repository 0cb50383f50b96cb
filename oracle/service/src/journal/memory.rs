//! What is remembered of each device, to recognise what it sends again. Pure.
//!
//! Two memories: the set of all sequence numbers ever kept, as intervals (a device that counts up needs one), and
//! the fingerprints of the last messages, with where each is on the ledger once it is. A number in the set whose fingerprint is still known is the same message
//! again or a number used twice. A number in the set whose fingerprint is forgotten cannot be told apart and is
//! refused, never silently acknowledged.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use minicbor::{Decode, Encode};

use super::entry::{Commitment, Fingerprint, Reading, RecordKey};
use super::marks::Marks;
use super::pending::Kind;

/// Intervals of sequence numbers kept per device; beyond, the lowest is given up.
pub(super) const INTERVALS_MAX: usize = 1024;

/// Messages whose place on the ledger is in the snapshot, the last of each device. While the oracle runs it knows
/// that of every message that it recognises.
const SETTLED_IN_IMAGE_MAX: usize = 256;

/// Kinds of readings remembered of a device: a monitor sends a few in turn.
const KINDS_MAX: usize = 8;

/// Where a message is on the ledger: all that its receipt says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The record that it is in.
    pub record: RecordKey,
    /// The transaction that registered the record.
    pub commitment: Arc<Commitment>,
    /// What is odd about the message.
    pub marks: Marks,
}

/// What a message is, compared with what the device sent before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Novelty {
    /// Not seen before.
    New,
    /// The same message again.
    Duplicate,
    /// Another payload under a sequence number already used.
    SequenceReused,
    /// A sequence number from before what is remembered.
    SequenceTooOld,
}

/// The first half of a fingerprint: enough to tell a device's own messages apart, and there are many.
type Short = [u8; 16];

fn short(fingerprint: &Fingerprint) -> Short {
    let mut half = Short::default();
    half.copy_from_slice(&fingerprint[..size_of::<Short>()]);
    half
}

/// The memory of one device.
#[derive(Debug, Clone, Default)]
pub(super) struct DeviceMemory {
    intervals: BTreeMap<u64, u64>,
    /// Numbers below it that are in no interval are too old to judge.
    floor: u64,
    /// The last messages, in the order of their coming.
    recent: VecDeque<Message>,
    /// Messages forgotten, which is the ordinal of the first in `recent`.
    forgotten: u64,
    /// Ordinals of the messages with a sequence number.
    by_sequence: HashMap<u64, u64>,
    /// Ordinals of those without.
    without_sequence: HashMap<Short, u64>,
    /// Kinds of the last readings.
    kinds: VecDeque<Arc<Kind>>,
}

/// A message that is remembered. There are many: small.
#[derive(Debug, Clone)]
struct Message {
    sequence: Option<u64>,
    fingerprint: Short,
    marks: Marks,
    /// Where it is on the ledger, if it is there.
    place: Option<Arc<Place>>,
}

/// Where the messages of one record are on the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) record: RecordKey,
    pub(super) commitment: Arc<Commitment>,
}

impl DeviceMemory {
    /// Compares a message with what is remembered.
    pub(super) fn judge(&self, sequence: Option<u64>, fingerprint: &Fingerprint) -> Novelty {
        let known = self
            .recent(sequence, fingerprint)
            .map(|at| &self.recent[at]);
        match (known, sequence) {
            (Some(known), _) if known.fingerprint == short(fingerprint) => Novelty::Duplicate,
            (Some(_), _) => Novelty::SequenceReused,
            (None, Some(sequence)) if sequence < self.floor || self.contains(sequence) => {
                Novelty::SequenceTooOld
            }
            (None, _) => Novelty::New,
        }
    }

    /// Where in `recent` the message is that has this sequence number or, without one, this fingerprint.
    fn recent(&self, sequence: Option<u64>, fingerprint: &Fingerprint) -> Option<usize> {
        let ordinal = match sequence {
            Some(sequence) => self.by_sequence.get(&sequence),
            None => self.without_sequence.get(&short(fingerprint)),
        };
        usize::try_from(ordinal? - self.forgotten).ok()
    }

    /// Where in `recent` exactly this message is.
    fn exactly(&self, sequence: Option<u64>, fingerprint: &Fingerprint) -> Option<usize> {
        let at = self.recent(sequence, fingerprint)?;
        (self.recent[at].fingerprint == short(fingerprint)).then_some(at)
    }

    /// Remembers a message; the oldest beyond `keep` fingerprints are forgotten. Of a number that is used twice, the
    /// message that used it last is remembered.
    pub(super) fn insert(&mut self, sequence: Option<u64>, fingerprint: Fingerprint, keep: usize) {
        if let Some(sequence) = sequence {
            self.insert_sequence(sequence);
        }
        if let Some(at) = self.recent(sequence, &fingerprint) {
            if self.recent[at].fingerprint != short(&fingerprint) {
                self.recent[at] = Message::new(sequence, short(&fingerprint));
            }
            return;
        }
        self.forget_beyond(keep.saturating_sub(1));
        self.push(Message::new(sequence, short(&fingerprint)));
    }

    fn push(&mut self, message: Message) {
        let ordinal = self.forgotten + self.recent.len() as u64;
        match message.sequence {
            Some(sequence) => drop(self.by_sequence.insert(sequence, ordinal)),
            None => drop(self.without_sequence.insert(message.fingerprint, ordinal)),
        }
        self.recent.push_back(message);
    }

    fn forget_beyond(&mut self, keep: usize) {
        while self.recent.len() > keep {
            let Some(old) = self.recent.pop_front() else {
                break;
            };
            self.forgotten += 1;
            match old.sequence {
                Some(sequence) => drop(self.by_sequence.remove(&sequence)),
                None => drop(self.without_sequence.remove(&old.fingerprint)),
            }
        }
        // It may have been allowed more before there were so many devices.
        if self.recent.capacity() > 2 * (keep + 1) {
            self.recent.shrink_to(keep + 1);
            self.by_sequence.shrink_to(keep + 1);
            self.without_sequence.shrink_to(keep + 1);
        }
    }

    /// The kind of a reading of this device: one of the last, or a new one.
    pub(super) fn kind(&mut self, reading: &Reading) -> Arc<Kind> {
        if let Some(known) = self.kinds.iter().find(|kind| kind.is_of(reading)) {
            return Arc::clone(known);
        }
        let kind = Arc::new(Kind::of(reading));
        self.kinds.truncate(KINDS_MAX - 1);
        self.kinds.push_front(Arc::clone(&kind));
        kind
    }

    /// Notes where a message is on the ledger, if it is one of the last.
    pub(super) fn settle(
        &mut self,
        sequence: Option<u64>,
        fingerprint: Fingerprint,
        place: &Arc<Place>,
        marks: Marks,
    ) {
        if let Some(at) = self.exactly(sequence, &fingerprint) {
            let message = &mut self.recent[at];
            message.place = Some(Arc::clone(place));
            message.marks = marks;
        }
    }

    /// Where a message is on the ledger, if it is there and one of the last.
    pub(super) fn settled(
        &self,
        sequence: Option<u64>,
        fingerprint: Fingerprint,
    ) -> Option<Settled> {
        let message = &self.recent[self.exactly(sequence, &fingerprint)?];
        let place = message.place.as_ref()?;
        Some(Settled {
            record: place.record,
            commitment: Arc::clone(&place.commitment),
            marks: message.marks,
        })
    }

    /// Highest sequence number kept.
    pub(super) fn highest(&self) -> Option<u64> {
        self.intervals.last_key_value().map(|(_, end)| *end)
    }

    fn contains(&self, sequence: u64) -> bool {
        self.intervals
            .range(..=sequence)
            .next_back()
            .is_some_and(|(_, end)| sequence <= *end)
    }

    fn insert_sequence(&mut self, sequence: u64) {
        if self.contains(sequence) {
            return;
        }
        let mut start = sequence;
        let mut end = sequence;
        if let Some((before, before_end)) = self.intervals.range(..sequence).next_back()
            && before_end.checked_add(1) == Some(sequence)
        {
            start = *before;
        }
        if let Some(after) = sequence.checked_add(1)
            && let Some(after_end) = self.intervals.remove(&after)
        {
            end = after_end;
        }
        self.intervals.insert(start, end);
        while self.intervals.len() > INTERVALS_MAX {
            if let Some((_, end)) = self.intervals.pop_first() {
                self.floor = self.floor.max(end.saturating_add(1));
            }
        }
    }

    /// The memory as it is kept in the snapshot.
    pub(super) fn to_image(&self, device: &str) -> DeviceImage {
        DeviceImage {
            device: device.to_owned(),
            floor: self.floor,
            intervals: self.intervals.iter().map(|(a, b)| (*a, *b)).collect(),
            whole: Vec::new(),
            settled: self.settled_image(),
            recent: self
                .recent
                .iter()
                .map(|message| (message.sequence, message.fingerprint.into()))
                .collect(),
        }
    }

    fn settled_image(&self) -> Vec<SettledImage> {
        let mut images: Vec<SettledImage> = Vec::new();
        let mut places: HashMap<RecordKey, usize> = HashMap::new();
        let first = self.recent.len().saturating_sub(SETTLED_IN_IMAGE_MAX);
        for (at, message) in self.recent.iter().enumerate().skip(first) {
            let Some(settled) = &message.place else {
                continue;
            };
            let place = *places.entry(settled.record).or_insert_with(|| {
                images.push(SettledImage {
                    record: settled.record,
                    commitment: Commitment::clone(&settled.commitment),
                    messages: Vec::new(),
                    marks: Vec::new(),
                });
                images.len() - 1
            });
            images[place].messages.push(at as u64);
            if message.marks != Marks::default() {
                images[place].marks.push((at as u64, message.marks));
            }
        }
        images
    }

    /// The memory from the snapshot.
    pub(super) fn from_image(image: &DeviceImage) -> Self {
        let mut memory = Self {
            floor: image.floor,
            intervals: image.intervals.iter().copied().collect(),
            ..Self::default()
        };
        for (sequence, fingerprint) in &image.whole {
            memory.push(Message::new(*sequence, short(fingerprint)));
        }
        for (sequence, fingerprint) in &image.recent {
            memory.push(Message::new(*sequence, **fingerprint));
        }
        for image in &image.settled {
            let place = Arc::new(Place {
                record: image.record,
                commitment: Arc::new(image.commitment.clone()),
            });
            for at in &image.messages {
                let at = usize::try_from(*at).ok();
                if let Some(message) = at.and_then(|at| memory.recent.get_mut(at)) {
                    message.place = Some(Arc::clone(&place));
                }
            }
            for (at, marks) in &image.marks {
                let at = usize::try_from(*at).ok();
                if let Some(message) = at.and_then(|at| memory.recent.get_mut(at)) {
                    message.marks = *marks;
                }
            }
        }
        memory
    }
}

impl Message {
    fn new(sequence: Option<u64>, fingerprint: Short) -> Self {
        Self {
            sequence,
            fingerprint,
            marks: Marks::default(),
            place: None,
        }
    }
}

/// One device in the snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct DeviceImage {
    #[n(0)]
    pub(super) device: String,
    #[n(1)]
    floor: u64,
    #[n(2)]
    intervals: Vec<(u64, u64)>,
    /// Messages with whole fingerprints, in snapshots of before.
    #[n(3)]
    whole: Vec<(Option<u64>, minicbor::bytes::ByteArray<32>)>,
    /// None in snapshots of before.
    #[n(4)]
    #[cbor(default)]
    settled: Vec<SettledImage>,
    #[n(5)]
    #[cbor(default)]
    recent: Vec<(Option<u64>, minicbor::bytes::ByteArray<16>)>,
}

/// Messages of a device that are in one record.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct SettledImage {
    #[n(0)]
    record: RecordKey,
    #[n(1)]
    commitment: Commitment,
    /// Positions among the messages.
    #[n(2)]
    messages: Vec<u64>,
    /// What is odd about those that are.
    #[n(3)]
    #[cbor(default)]
    marks: Vec<(u64, Marks)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Fingerprint = [1; 32];
    const B: Fingerprint = [2; 32];

    #[test]
    fn sequence_numbers_are_told_apart() {
        let mut memory = DeviceMemory::default();
        memory.insert(Some(5), A, 2);
        assert_eq!(memory.judge(Some(5), &A), Novelty::Duplicate);
        assert_eq!(memory.judge(Some(5), &B), Novelty::SequenceReused);
        assert_eq!(memory.judge(Some(4), &A), Novelty::New);
        memory.insert(Some(4), A, 2);
        memory.insert(Some(7), A, 2);
        assert_eq!(memory.judge(Some(5), &A), Novelty::SequenceTooOld);
        assert_eq!(memory.judge(Some(6), &A), Novelty::New);
        assert_eq!(memory.highest(), Some(7));
    }

    #[test]
    fn without_sequence_the_payload_decides() {
        let mut memory = DeviceMemory::default();
        memory.insert(None, A, 1);
        assert_eq!(memory.judge(None, &A), Novelty::Duplicate);
        assert_eq!(memory.judge(None, &B), Novelty::New);
        memory.insert(None, B, 1);
        assert_eq!(memory.judge(None, &A), Novelty::New, "forgotten");
    }

    #[test]
    fn counting_up_needs_one_interval_in_any_order() {
        let mut memory = DeviceMemory::default();
        for sequence in (0..100).rev().chain(100..200).chain([u64::MAX]) {
            memory.insert(Some(sequence), A, 4);
        }
        assert_eq!(memory.intervals.len(), 2);
        assert_eq!(memory.judge(Some(50), &A), Novelty::SequenceTooOld);
    }

    #[test]
    fn gaps_are_bounded_and_what_is_given_up_is_too_old() {
        let mut memory = DeviceMemory::default();
        for sequence in 0..=INTERVALS_MAX as u64 {
            memory.insert(Some(sequence * 2), A, 1);
        }
        assert_eq!(memory.intervals.len(), INTERVALS_MAX);
        assert_eq!(memory.judge(Some(0), &A), Novelty::SequenceTooOld);
        assert_eq!(memory.judge(Some(1), &A), Novelty::New);
        assert_eq!(memory.judge(Some(3), &A), Novelty::New);
    }

    fn place(record: u8) -> Arc<Place> {
        Arc::new(Place {
            record: RecordKey([record; 16]),
            commitment: Arc::new(Commitment {
                transaction_id: format!("tx-{record}"),
                block_number: 7,
            }),
        })
    }

    fn settled(record: u8) -> Settled {
        let place = place(record);
        Settled {
            record: place.record,
            commitment: Arc::clone(&place.commitment),
            marks: Marks::default(),
        }
    }

    fn settle(memory: &mut DeviceMemory, sequence: Option<u64>, of: Fingerprint, record: u8) {
        memory.settle(sequence, of, &place(record), Marks::default());
    }

    #[test]
    fn where_a_message_is_on_the_ledger_is_known_as_long_as_the_message() {
        let mut memory = DeviceMemory::default();
        for (sequence, fingerprint) in [(Some(2), A), (None, B), (Some(1), B)] {
            memory.insert(sequence, fingerprint, 3);
            settle(&mut memory, sequence, fingerprint, 1);
            memory.insert(sequence, fingerprint, 3);
            assert_eq!(memory.settled(sequence, fingerprint), Some(settled(1)));
        }
        assert_eq!(memory.settled(Some(2), B), None, "another message");
        settle(&mut memory, Some(2), B, 2);
        settle(&mut memory, Some(9), A, 2);
        assert_eq!(memory.settled(Some(2), A), Some(settled(1)));
        assert_eq!(memory.settled(Some(9), A), None, "never kept");
        memory.insert(Some(3), A, 3);
        assert_eq!(memory.settled(Some(2), A), None, "forgotten");
        assert_eq!(memory.settled(None, B), Some(settled(1)));
    }

    #[test]
    fn the_image_keeps_where_the_last_messages_are() {
        let mut memory = DeviceMemory::default();
        let count = SETTLED_IN_IMAGE_MAX as u64 + 10;
        // Out of order, three messages a record, and some that are not on the ledger yet.
        for sequence in (0..count).rev() {
            memory.insert(Some(sequence), A, 1024);
            if sequence % 5 != 0 {
                settle(&mut memory, Some(sequence), A, (sequence / 3) as u8);
            }
        }
        let bytes = minicbor::to_vec(memory.to_image("d")).unwrap();
        let back = DeviceMemory::from_image(&minicbor::decode::<DeviceImage>(&bytes).unwrap());
        for sequence in 0..count {
            let expected = (sequence < SETTLED_IN_IMAGE_MAX as u64)
                .then(|| memory.settled(Some(sequence), A))
                .flatten();
            assert_eq!(back.settled(Some(sequence), A), expected, "{sequence}");
        }
    }

    #[test]
    fn an_image_of_before_has_no_places() {
        #[derive(Encode)]
        struct Before {
            #[n(0)]
            device: String,
            #[n(1)]
            floor: u64,
            #[n(2)]
            intervals: Vec<(u64, u64)>,
            #[n(3)]
            recent: Vec<(Option<u64>, minicbor::bytes::ByteArray<32>)>,
        }
        let bytes = minicbor::to_vec(Before {
            device: "d".to_owned(),
            floor: 0,
            intervals: vec![(1, 1)],
            recent: vec![(Some(1), A.into())],
        })
        .unwrap();
        let back = DeviceMemory::from_image(&minicbor::decode::<DeviceImage>(&bytes).unwrap());
        assert_eq!(back.judge(Some(1), &A), Novelty::Duplicate);
        assert_eq!(back.settled(Some(1), A), None);
    }

    #[test]
    fn the_image_keeps_everything() {
        let mut memory = DeviceMemory::default();
        for (sequence, fingerprint) in [(Some(1), A), (None, B), (Some(9), B)] {
            memory.insert(sequence, fingerprint, 8);
        }
        let image = memory.to_image("d");
        let bytes = minicbor::to_vec(&image).unwrap();
        let back = DeviceMemory::from_image(&minicbor::decode::<DeviceImage>(&bytes).unwrap());
        for (sequence, fingerprint) in [
            (Some(1), A),
            (None, B),
            (Some(9), B),
            (Some(9), A),
            (Some(2), A),
        ] {
            assert_eq!(
                memory.judge(sequence, &fingerprint),
                back.judge(sequence, &fingerprint)
            );
        }
    }
}
