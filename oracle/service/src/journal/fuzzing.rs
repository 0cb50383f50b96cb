//! Fuzz target: the journal's files, as they are and as a fault of a disk leaves them.
//!
//! Of any bytes a reader must neither panic nor take more memory than they are worth. Of a file that was written here
//! under a known key, and then changed in one place, it must give back exactly what lay before the change, or refuse;
//! what it gives back beyond is a finding.

use std::ops::Range;
use std::path::Path;

use super::cipher::JournalKey;
use super::entry::{Commitment, Entry, EntryId, Labels, Reading, RecordKey, Refused, SealedRecord};
use super::error::{Damage, JournalError};
use super::files::{Snapshot, read_segment};
use super::frame::{self, FILE_HEADER_BYTES, FRAME_HEADER_BYTES};
use super::last_values::{self, Change, Values};
use super::marks::Marks;
use super::state::{Location, StageKind, State};
use crate::fuzzing::Input;

/// Frames of a file.
const FRAMES_MAX: usize = 12;
/// Devices of a snapshot, so that it has more than one frame.
const DEVICES_MAX: usize = 600;
/// A file system's block, which a crash leaves unwritten as a whole.
const BLOCK_BYTES: usize = 512;
/// Number of the segment file.
const FILE: u64 = 1;

/// The first byte chooses what is read: 0 any bytes, 1 a segment, 2 a snapshot, 3 last values, 4 one entry, 5 one
/// frame of a snapshot.
pub fn journal(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() {
        0 => any_bytes(input.rest()),
        1 => segment(&mut input),
        2 => snapshot(&mut input),
        3 => last_values(&mut input),
        4 => {
            let body = input.rest();
            if let Some(entry) = Entry::from_bytes(body) {
                assert_eq!(Entry::from_bytes(&entry.to_bytes()), Some(entry));
            }
        }
        _ => {
            let body = input.rest().to_vec();
            let written = Written::of(vec![body], &[]);
            if let Ok(snapshot) = Snapshot::from_bytes(path(), &written.bytes, &key()) {
                snapshot.restore(&mut State::new(usize::MAX));
            }
        }
    }
}

fn key() -> JournalKey {
    JournalKey::fixed()
}

fn path() -> &'static Path {
    Path::new("fuzzed")
}

fn any_bytes(bytes: &[u8]) {
    for newest in [false, true] {
        drop(read_segment(
            path(),
            (FILE, newest),
            bytes,
            &key(),
            |_, _| {},
        ));
    }
    drop(Snapshot::from_bytes(path(), bytes, &key()));
    drop(last_values::read_bytes(path(), bytes, &key()));
    // Its header is not damaged, so that what follows is looked at, too.
    let file = [&frame::file_header(&[1; 32])[..], bytes].concat();
    drop(read_segment(path(), (FILE, true), &file, &key(), |_, _| {}));
}

fn segment(input: &mut Input<'_>) {
    let newest = input.byte() & 1 == 0;
    let fault = Fault::read(input);
    let (bodies, synced) = bodies(input, |input| match input.byte() {
        0 => {
            let length = input.number();
            input.bytes(length).to_vec()
        }
        kind => entry(kind, input).to_bytes(),
    });
    let written = Written::of(bodies, &synced);
    let entries: Vec<_> = written
        .bodies
        .iter()
        .map(|b| Entry::from_bytes(b))
        .collect();
    let (bytes, came) = fault.apply(&written);
    let mut found = Vec::new();
    let mut state = State::new(4);
    let read = read_segment(path(), (FILE, newest), &bytes, &key(), |entry, location| {
        state.apply(entry.clone(), location);
        found.push((Some(entry), location.offset));
    });
    look_at(&state);
    let readable = entries.iter().take_while(|entry| entry.is_some()).count();
    let expected = readable.min(came.whole);
    let unreadable = readable < came.whole;
    let starts = written.starts.iter().map(|start| *start as u64);
    let whole: Vec<_> = entries.into_iter().zip(starts).collect();
    assert_eq!(found, whole[..expected], "not the frames before the fault");
    match read {
        Ok(None) => assert!(newest && bytes.len() <= FILE_HEADER_BYTES),
        Ok(Some(frames)) => {
            let end = written.end_of(expected);
            assert!(!unreadable && frames.count == expected as u64 && frames.bytes == end);
            assert_eq!(frames.torn_at, (end != bytes.len()).then_some(end as u64));
            let torn = newest && written.may_be_torn(expected, &bytes, came.harm);
            assert!(end == bytes.len() || torn, "{:?} was taken", came.harm);
        }
        Err(error) => {
            let cut = newest && came.harm == Harm::Cut;
            assert!(unreadable || (came.harm != Harm::None && !cut), "{error}");
            offset_is(&error, written.end_of(expected), bytes.len());
        }
    }
}

/// What the journal asks of its state, whatever its frames were.
fn look_at(state: &State) {
    let counts = state.counts();
    assert!(counts.received <= state.unsealed().len());
    assert_eq!(
        counts.sealed + counts.pinned + counts.committed,
        state.unfinished().len()
    );
    let none = std::collections::HashSet::new();
    for stage in [StageKind::Sealed, StageKind::Pinned, StageKind::Committed] {
        drop(state.at_stage(stage, 3, &none));
    }
    drop((
        state.oldest_ms(&none),
        state.objects(),
        state.highest_sequence("d0"),
    ));
    let (entries, records) = state.live_in(FILE);
    assert_eq!(
        state.is_dead(FILE),
        entries.is_empty() && records.is_empty()
    );
}

/// Either everything or nothing: it was renamed into its place whole.
fn snapshot(input: &mut Input<'_>) {
    let fault = Fault::read(input);
    let mut state = State::new(4);
    for device in 0..input.number() % DEVICES_MAX {
        let entry = Entry::Received {
            id: EntryId(device as u64),
            reading: Reading {
                device: format!("d{device}"),
                ..reading(input)
            },
        };
        let location = Location {
            file: FILE,
            offset: 0,
            bytes: 1,
        };
        state.apply(entry, location);
    }
    let snapshot = Snapshot::of(&state, 7);
    let bytes = snapshot.to_bytes(&key());
    let written = Written::parsed(bytes.expect("the system gives random bytes"));
    let (bytes, came) = fault.apply(&written);
    match Snapshot::from_bytes(path(), &bytes, &key()) {
        Ok(read) => {
            assert_eq!(came.harm, Harm::None, "a changed snapshot was taken");
            assert!(read == snapshot, "another snapshot");
            let mut again = State::new(4);
            read.restore(&mut again);
            assert_eq!(again.next_entry(), state.next_entry());
        }
        Err(error) => assert_ne!(came.harm, Harm::None, "{error}"),
    }
}

fn last_values(input: &mut Input<'_>) {
    let fault = Fault::read(input);
    let (bodies, synced) = bodies(input, |input| match input.byte() {
        0 => {
            let length = input.number();
            input.bytes(length).to_vec()
        }
        kind => {
            let length = usize::from(input.byte());
            let value = (kind & 1 == 0).then(|| input.bytes(length).to_vec().into());
            let name = format!("d{}", input.byte() % 4);
            minicbor::to_vec(Change { name, value }).expect("encoding into memory cannot fail")
        }
    });
    let written = Written::of(bodies, &synced);
    let (bytes, came) = fault.apply(&written);
    let mut expected = Values::new();
    let mut count = 0;
    for body in &written.bodies[..came.whole] {
        let Ok(change) = minicbor::decode(body) else {
            break;
        };
        last_values::apply(&mut expected, change);
        count += 1;
    }
    let unreadable = count < came.whole;
    let end = written.end_of(count);
    match last_values::read_bytes(path(), &bytes, &key()) {
        Ok((values, frames)) => {
            assert!(!unreadable && values == expected && frames.count == count as u64);
            let torn = written.may_be_torn(count, &bytes, came.harm);
            assert!(end == bytes.len() || torn, "{:?} was taken", came.harm);
        }
        Err(error) => {
            let cut = came.harm == Harm::Cut && bytes.len() >= FILE_HEADER_BYTES;
            assert!(unreadable || (came.harm != Harm::None && !cut), "{error}");
            offset_is(&error, end, bytes.len());
        }
    }
}

fn offset_is(error: &JournalError, expected: usize, length: usize) {
    match error {
        JournalError::Damaged {
            offset: 0, damage, ..
        } => assert_eq!(*damage, Damage::Header),
        JournalError::Damaged { offset, .. } => assert_eq!(*offset, expected as u64, "{error}"),
        JournalError::NewerFormat { .. } => assert!(length >= FILE_HEADER_BYTES),
        other => panic!("{other}"),
    }
}

/// Up to [`FRAMES_MAX`] bodies, and before which of them the file was synced.
fn bodies(
    input: &mut Input<'_>,
    mut one: impl FnMut(&mut Input<'_>) -> Vec<u8>,
) -> (Vec<Vec<u8>>, Vec<bool>) {
    let count = usize::from(input.byte()) % (FRAMES_MAX + 1);
    let each = |_| {
        let synced = input.byte() & 1 != 0;
        (one(input), synced)
    };
    (0..count).map(each).unzip()
}

/// An entry of any kind, of few devices and records, so that they meet.
fn entry(kind: u8, input: &mut Input<'_>) -> Entry {
    let record = |input: &mut Input<'_>| RecordKey([input.byte() % 4; 16]);
    let id = |input: &mut Input<'_>| match input.byte() {
        255 => EntryId(u64::MAX),
        id => EntryId(u64::from(id % 16)),
    };
    let commitment = Commitment {
        transaction_id: "tx".to_owned(),
        block_number: 4,
    };
    match kind % 8 {
        1 => Entry::Received {
            id: id(input),
            reading: reading(input),
        },
        2 => Entry::Sealed(SealedRecord {
            record: record(input),
            entries: (0..input.byte() % 4).map(|_| id(input)).collect(),
            cid: "b".to_owned(),
            object_bytes: 9,
            public: "{}".to_owned(),
            private: "{}".to_owned(),
            wraps: "{}".to_owned(),
            device: "d0".to_owned(),
        }),
        3 => Entry::Pinned(vec![record(input), record(input)]),
        4 => Entry::Committed {
            records: vec![record(input)],
            commitment,
        },
        5 => Entry::Done(vec![record(input), record(input)]),
        6 => Entry::Discarded(vec![record(input)]),
        7 => Entry::Dropped(vec![record(input)]),
        _ => Entry::Refused(Refused {
            device: "d0".to_owned(),
            refused_ms: 1,
            reason: "payload-not-json".to_owned(),
            bytes: 5,
            sha256: [1; 32].into(),
        }),
    }
}

fn reading(input: &mut Input<'_>) -> Reading {
    let device = format!("d{}", input.number() % DEVICES_MAX);
    let sequence = match input.byte() {
        255 => Some(u64::MAX),
        254 => None,
        sequence => Some(u64::from(sequence)),
    };
    let length = usize::from(input.byte());
    Reading {
        device,
        sequence,
        received_ms: 2,
        content_type: "application/json".to_owned(),
        code: "8867-4".to_owned(),
        period_start: 1,
        period_end: 3,
        patient: "00".to_owned(),
        alone: length & 1 != 0,
        payload: input.bytes(length).to_vec().into(),
        time_named: length & 2 != 0,
        labels: Labels::default(),
        marks: Marks::default(),
        object: None,
    }
}

/// A file as the journal writes it.
struct Written {
    bytes: Vec<u8>,
    bodies: Vec<Vec<u8>>,
    starts: Vec<usize>,
    /// Up to where the file was synced when each frame was written.
    durable: Vec<usize>,
}

impl Written {
    /// A file with these bodies. Before those that `synced` says everything before was synced.
    fn of(bodies: Vec<Vec<u8>>, synced: &[bool]) -> Self {
        let salt = [3; 32];
        let key = key().file_key(&salt);
        let mut bytes = frame::file_header(&salt).to_vec();
        let (mut starts, mut durable) = (Vec::new(), Vec::new());
        let mut until = bytes.len();
        for (at, body) in bodies.iter().enumerate() {
            if synced.get(at) == Some(&true) {
                until = bytes.len();
            }
            starts.push(bytes.len());
            durable.push(until);
            let offset = bytes.len() as u64;
            frame::encode(&key, offset, until as u64, body, &mut bytes)
                .expect("a small body fits a frame");
        }
        Self {
            bytes,
            bodies,
            starts,
            durable,
        }
    }

    /// A file that is whole.
    fn parsed(bytes: Vec<u8>) -> Self {
        let mut starts = Vec::new();
        let mut at = FILE_HEADER_BYTES;
        while at < bytes.len() {
            starts.push(at);
            at += frame::parse(&bytes[at..]).expect("the file is whole").bytes;
        }
        Self {
            bodies: vec![Vec::new(); starts.len()],
            durable: vec![0; starts.len()],
            bytes,
            starts,
        }
    }

    /// With two frames in each other's place.
    fn swapped(&self, first: usize, second: usize) -> Vec<u8> {
        let (a, b) = (self.frame(first), self.frame(second));
        let between = &self.bytes[a.end..b.start];
        let parts = [
            &self.bytes[..a.start],
            &self.bytes[b.clone()],
            between,
            &self.bytes[a],
            &self.bytes[b.end..],
        ];
        parts.concat()
    }

    fn frame(&self, index: usize) -> Range<usize> {
        self.starts[index]..self.end_of(index + 1)
    }

    /// Where so many frames end.
    fn end_of(&self, frames: usize) -> usize {
        let next = self.starts.get(frames);
        next.copied().unwrap_or(self.bytes.len())
    }

    /// Whether what follows the first `whole` frames may be taken for a write that a crash cut short: no later frame
    /// proves it durable, and it is short or lacks a block.
    fn may_be_torn(&self, whole: usize, bytes: &[u8], harm: Harm) -> bool {
        let start = self.end_of(whole);
        match harm {
            Harm::None | Harm::Forged => false,
            Harm::Cut | Harm::Zeroed => true,
            Harm::Flipped => {
                let first = (BLOCK_BYTES - start % BLOCK_BYTES).min(bytes.len() - start);
                let (head, blocks) = bytes[start..].split_at(first);
                let zero = |block: &[u8]| block.iter().all(|byte| *byte == 0);
                let lacks = zero(head) || blocks.chunks(BLOCK_BYTES).any(zero);
                let mut behind = self.durable.iter().skip(whole + 1);
                lacks && !behind.any(|durable| *durable > start)
            }
        }
    }
}

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harm {
    None,
    /// Its end is missing.
    Cut,
    /// Its end was never written.
    Zeroed,
    /// A byte is another.
    Flipped,
    /// So is the checksum, or frames are in each other's place.
    Forged,
}

/// How a file is changed.
struct Fault {
    kind: u8,
    at: usize,
    with: u8,
}

/// What a fault came to.
struct Outcome {
    harm: Harm,
    /// Frames before it.
    whole: usize,
}

impl Fault {
    fn read(input: &mut Input<'_>) -> Self {
        Self {
            kind: input.byte(),
            at: input.number() | usize::from(input.byte()) << 16,
            with: input.byte(),
        }
    }

    fn apply(&self, written: &Written) -> (Vec<u8>, Outcome) {
        let mut bytes = written.bytes.clone();
        let count = written.starts.len();
        let at = self.at % bytes.len();
        let before = (0..count).take_while(|index| written.frame(*index).end <= at);
        let whole = before.count();
        let harm = match self.kind % 6 {
            1 => {
                bytes.truncate(at);
                Harm::Cut
            }
            2 => {
                bytes[at] ^= self.with;
                Harm::Flipped
            }
            3 => {
                bytes[at..].fill(0);
                Harm::Zeroed
            }
            4 if at >= FILE_HEADER_BYTES => {
                let frame = &mut bytes[written.frame(whole)];
                let sealed = &mut frame[FRAME_HEADER_BYTES..];
                sealed[at % sealed.len()] ^= self.with;
                mend_checksum(frame);
                Harm::Forged
            }
            5 if count > 1 => {
                let first = self.at % (count - 1);
                let second = first + 1 + usize::from(self.with) % (count - 1 - first);
                let outcome = Outcome {
                    harm: Harm::Forged,
                    whole: first,
                };
                return (written.swapped(first, second), outcome);
            }
            _ => Harm::None,
        };
        match bytes == written.bytes {
            true => (
                bytes,
                Outcome {
                    harm: Harm::None,
                    whole: count,
                },
            ),
            false => (bytes, Outcome { harm, whole }),
        }
    }
}

/// Writes the checksum of a frame anew.
fn mend_checksum(frame: &mut [u8]) {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&frame[..FRAME_HEADER_BYTES - 4]);
    crc.update(&frame[FRAME_HEADER_BYTES..]);
    frame[FRAME_HEADER_BYTES - 4..FRAME_HEADER_BYTES]
        .copy_from_slice(&crc.finalize().to_le_bytes());
}
