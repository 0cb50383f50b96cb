//! Fuzz target: the journal's files, as they are and as a fault of a disk leaves them.
//!
//! Of any bytes a reader must neither panic nor take more memory than they are worth. Of a file that was written here
//! under a known key, and then changed in one place, it must give back exactly what lay before the change, or refuse;
//! what it gives back beyond is a finding.

mod entries;
mod written;

use std::path::Path;

use super::cipher::JournalKey;
use super::entry::{Entry, EntryId, Reading};
use super::error::{Damage, JournalError};
use super::files::read_segment;
use super::frame::{self, FILE_HEADER_BYTES};
use super::last_values::{self, Change, Values};
use super::snapshot::Snapshot;
use super::state::{Location, StageKind, State};
use crate::fuzzing::Input;
use entries::{entry, reading};
use written::{Fault, Harm, Written};

/// Frames of a file.
const FRAMES_MAX: usize = 12;
/// Devices of a snapshot, so that it has more than one frame.
const DEVICES_MAX: usize = 300;
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
    look_at(&mut state);
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
fn look_at(state: &mut State) {
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
