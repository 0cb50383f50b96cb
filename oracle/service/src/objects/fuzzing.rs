//! Fuzz target: manifests, and the files of large objects, as they are and as a fault of a disk leaves them.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use contract_interface::UtcTime;
use rustix::fs::{MemfdFlags, memfd_create};

use super::file::{FILE_HEADER_BYTES, Kind, ObjectFile};
use super::finished::Finished;
use super::manifest::{CHUNK_BYTES_MAX, Manifest, OBJECT_BYTES_MAX};
use super::reader::ObjectReader;
use super::shelf::Begun;
use super::taken_up;
use crate::fuzzing::Input;
use crate::ingest::decode;
use crate::journal::cipher::JournalKey;
use crate::journal::{Labels, Marks, Reading};

/// Chunks of an object, and bytes of each but the last.
const CHUNKS_MAX: u8 = 8;
const CHUNK_BYTES: u32 = 16;

/// The first byte chooses what is read: 0 a manifest, 1 any bytes as a file, 2 a file with a fault, 3 an object's
/// beginning, 4 a line of the book of finished objects.
pub fn object(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() {
        0 => manifest(input.rest()),
        1 => any_bytes(input.rest()),
        2 => with_a_fault(&mut input),
        3 => {
            if let Some(begun) = Begun::from_bytes(input.rest()) {
                drop((0..begun.chunks().min(3)).map(|number| begun.chunk_len(number)));
                let last = begun.chunk_len(begun.chunks() - 1);
                assert!(last.is_some() && begun.chunk_len(begun.chunks()).is_none());
                let file = in_memory(&file_of(&begun, 0, 0).0);
                drop(taken_up(file, Path::new("fuzzed"), |_| true));
            }
        }
        _ => {
            if let Ok(finished) = minicbor::decode::<Finished>(input.rest()) {
                let again = minicbor::to_vec(&finished).expect("encoding into memory cannot fail");
                assert!(minicbor::decode::<Finished>(&again).is_ok_and(|again| again == finished));
            }
        }
    }
}

fn manifest(payload: &[u8]) {
    let Ok(manifest) = Manifest::read(payload) else {
        return;
    };
    assert!((1..=OBJECT_BYTES_MAX).contains(&manifest.bytes));
    assert!((1024..=CHUNK_BYTES_MAX).contains(&manifest.chunk_bytes));
    assert!(manifest.bytes.div_ceil(manifest.chunk_bytes.into()) <= 16_384);
    // Written in another way it is the same.
    let value: serde_json::Value = serde_json::from_slice(payload).expect("it was read");
    let again = serde_json::to_vec_pretty(&value).expect("a value can be written");
    if again.len() <= super::MANIFEST_BYTES_MAX {
        let again = Manifest::read(&again).map(|again| Manifest {
            // Of a member that is there twice the last counts, and the signature is not kept.
            signature: manifest.signature,
            ..again
        });
        assert_eq!(again.ok(), Some(manifest.clone()));
    }
    let received = UtcTime::from_unix_seconds(1_780_000_000).expect("the constant is a time");
    drop(decode::describe(&manifest.hints, received));
}

fn key() -> JournalKey {
    JournalKey::fixed()
}

/// A file of these bytes that is on no disk.
fn memory_file(bytes: &[u8]) -> File {
    let file = memfd_create("object", MemfdFlags::CLOEXEC).expect("the system has memory");
    let file = File::from(file);
    file.write_all_at(bytes, 0).expect("the system has memory");
    file
}

fn in_memory(bytes: &[u8]) -> ObjectFile {
    ObjectFile::of(memory_file(bytes), &key()).expect("the header is one")
}

fn any_bytes(bytes: &[u8]) {
    let header = header();
    for bytes in [bytes, &[&header[..], bytes].concat()] {
        if let Ok(file) = ObjectFile::of(memory_file(bytes), &key()) {
            let (frames, end) = file.scan().expect("the system reads memory");
            assert!(end as usize <= bytes.len() && frames.len() <= bytes.len());
            drop(taken_up(file, Path::new("fuzzed"), |_| true));
        }
    }
}

fn header() -> [u8; FILE_HEADER_BYTES] {
    let mut header = [7; FILE_HEADER_BYTES];
    header[..16].copy_from_slice(b"SALOBJT\0\x01\0\0\0\0\0\0\0");
    header
}

fn begun(chunks: u8, last: u32) -> Begun {
    let bytes = u64::from(chunks.saturating_sub(1)) * u64::from(CHUNK_BYTES) + u64::from(last);
    Begun {
        reading: Reading {
            device: "hr-1".to_owned(),
            sequence: Some(1),
            received_ms: 2,
            content_type: "application/dicom".to_owned(),
            code: "dicom".to_owned(),
            period_start: 1,
            period_end: 3,
            patient: "00".to_owned(),
            alone: true,
            payload: Vec::new().into(),
            time_named: false,
            labels: Labels::default(),
            marks: Marks::default(),
            object: None,
        },
        id: "scan-1".to_owned(),
        bytes,
        sha256: [1; 32].into(),
        chunk_bytes: CHUNK_BYTES,
        manifest: [2; 32].into(),
    }
}

/// Content of the chunk with this number.
fn content(begun: &Begun, number: u32) -> Vec<u8> {
    let bytes = begun.chunk_len(number).unwrap_or(0);
    vec![number.to_le_bytes()[0] ^ 0x35; bytes]
}

/// A file with the first chunks of an object, each synced before the next if its bit in `synced` says so; and where
/// its frames begin.
fn file_of(begun: &Begun, chunks: u32, synced: u8) -> (Vec<u8>, Vec<u64>) {
    let mut bytes = header().to_vec();
    let file = in_memory(&bytes);
    let mut starts = Vec::new();
    let mut durable = bytes.len() as u64;
    let said = minicbor::to_vec(begun).expect("encoding into memory cannot fail");
    let chunks = (0..chunks).map(|number| ((Kind::Chunk, number), content(begun, number)));
    let frames = std::iter::once(((Kind::Begun, 0), said)).chain(chunks);
    for (at, (name, content)) in frames.enumerate() {
        let offset = bytes.len() as u64;
        if synced >> (at % 8) & 1 != 0 {
            durable = offset;
        }
        starts.push(offset);
        let frame = file.frame((offset, durable), name, &content);
        bytes.extend(frame.expect("the system gives random bytes"));
    }
    (bytes, starts)
}

/// What is found is what was written, where it was written; what lies before a fault is all found.
fn with_a_fault(input: &mut Input<'_>) {
    let (kind, with) = (input.byte(), input.byte());
    let at = input.number();
    let chunks = input.byte() % CHUNKS_MAX;
    let begun = begun(chunks, 1 + u32::from(input.byte()) % CHUNK_BYTES);
    let (original, starts) = file_of(&begun, begun.chunks(), input.byte());
    let mut bytes = original.clone();
    let at = at % bytes.len();
    match kind % 4 {
        1 => bytes.truncate(at),
        2 => bytes[at] ^= with,
        3 => bytes[at..].fill(0),
        _ => {}
    }
    let ends = starts[1..].iter().copied().chain([original.len() as u64]);
    let before = ends.filter(|end| *end <= at as u64).count();
    let changed = bytes != original;
    let whole = if changed { before } else { starts.len() };
    let Ok(file) = ObjectFile::of(memory_file(&bytes), &key()) else {
        assert!(changed && at < FILE_HEADER_BYTES);
        return;
    };
    let (frames, end) = file.scan().expect("the system reads memory");
    assert!(end as usize <= bytes.len());
    if at >= FILE_HEADER_BYTES || !changed {
        assert!(frames.len() >= whole, "a frame before the fault is lost");
    }
    for frame in &frames {
        let read = file.read(frame.offset, (frame.kind, frame.number), frame.bytes);
        let Some(read) = read.expect("the system reads memory") else {
            continue;
        };
        let place = starts.iter().position(|start| *start == frame.offset);
        let place = place.expect("a frame that was never written");
        let written = match (place, frame.kind) {
            (0, Kind::Begun) => minicbor::to_vec(&begun).expect("memory takes all"),
            (_, Kind::Chunk) if frame.number as usize + 1 == place => content(&begun, frame.number),
            other => panic!("{other:?} is not what was written"),
        };
        assert_eq!(read, written, "another content");
    }
    let object = taken_up(file, Path::new("fuzzed"), |_| true);
    let object = object.expect("the system reads memory");
    assert!(whole == 0 || at < FILE_HEADER_BYTES || object.is_some());
    if let Some(object) = object {
        let reader = ObjectReader::new(&object);
        for number in 0..begun.chunks() {
            let read = reader.chunk(number).expect("the system reads memory");
            assert!(read.is_none_or(|read| read == content(&begun, number)));
        }
    }
}
