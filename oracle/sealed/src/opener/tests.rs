//! Sealing then opening, and frames that lie. Damaged objects are in `tests/damage.rs`.

use std::io::{self, Read, Write};

use super::*;
use crate::{MAX_PLAINTEXT_BYTES, SEGMENT_BYTES, Sealer, aead::TAG_LEN, seal, sealed_len};

mod damage;

const FIRST: usize = SEGMENT_BYTES - HEADER_LEN - 16;
const OTHER: usize = SEGMENT_BYTES - 16;

fn associated_data() -> AssociatedData {
    AssociatedData {
        record_id: [1; 16],
        commitment: [2; 32],
    }
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 % 251) as u8 + 1).collect()
}

/// Exactly `frame_len` bytes of raw stream, so that segment boundaries are hit without padding.
fn seal_raw_frame(key: &DataKey, frame: &[u8]) -> Vec<u8> {
    seal_raw(key, &associated_data(), &[3; 39], frame)
}

fn seal_raw(
    key: &DataKey,
    associated_data: &AssociatedData,
    random: &[u8; 39],
    frame: &[u8],
) -> Vec<u8> {
    let header = crate::segment::header(random);
    let mut cipher = SegmentCipher::new(key, associated_data, &header).unwrap();
    let mut sealed = header.to_vec();
    let mut rest = frame;
    loop {
        let full = cipher.full_plaintext_len();
        let (now, later) = rest.split_at(full.min(rest.len()));
        let position = if later.is_empty() {
            Position::Last
        } else {
            Position::Inner
        };
        let mut buffer = [now, &[0; TAG_LEN]].concat();
        cipher.seal(&mut buffer, position).unwrap();
        sealed.extend_from_slice(&buffer);
        if later.is_empty() {
            return sealed;
        }
        rest = later;
    }
}

fn refused(key: &DataKey, associated_data: &AssociatedData, sealed: &[u8]) {
    assert!(matches!(
        open(key, associated_data, sealed),
        Err(OpenError::Refused)
    ));
}

#[test]
fn what_was_sealed_opens_at_every_size() {
    for len in [
        0,
        1,
        247,
        248,
        249,
        65_528,
        65_529,
        FIRST - 8,
        FIRST,
        FIRST + OTHER,
        3_500_000,
    ] {
        let key = DataKey::generate();
        let plaintext = bytes(len);
        let sealed = seal(&key, &associated_data(), &plaintext);
        assert_eq!(sealed.len() as u64, sealed_len(len as u64), "{len}");
        assert!(
            open(&key, &associated_data(), &sealed).unwrap() == plaintext,
            "{len}"
        );
    }
}

#[test]
fn frames_that_end_on_a_segment_boundary_open() {
    let key = DataKey::generate();
    for frame_len in [FIRST, FIRST + 1, FIRST + OTHER, FIRST + OTHER + 1] {
        let data = bytes(frame_len - 8);
        let frame = [&(data.len() as u64).to_be_bytes()[..], &data].concat();
        let sealed = seal_raw_frame(&key, &frame);
        assert!(
            open(&key, &associated_data(), &sealed).unwrap() == data,
            "{frame_len}"
        );
    }
}

#[test]
fn payloads_of_one_class_have_one_length() {
    let key = DataKey::generate();
    let lengths = [0, 1, 100, 248].map(|len| seal(&key, &associated_data(), &bytes(len)).len());
    assert_eq!(lengths, [312; 4]);
}

#[test]
fn streams_in_odd_pieces_give_the_same_bytes() {
    let key = DataKey::generate();
    let plaintext = bytes(2_300_000);
    let mut sealer =
        Sealer::new(Vec::new(), &key, &associated_data(), plaintext.len() as u64).unwrap();
    for piece in plaintext.chunks(70_001) {
        sealer.write_all(piece).unwrap();
    }
    let sealed = sealer.finish().unwrap();
    let mut opener = Opener::new(Dribble(&sealed), &key, &associated_data()).unwrap();
    let mut opened = Vec::new();
    let mut piece = [0; 9_973];
    loop {
        match opener.read(&mut piece).unwrap() {
            0 => break,
            count => opened.extend_from_slice(&piece[..count]),
        }
    }
    assert!(opened == plaintext);
    assert!(opener.buffer.len() <= SEGMENT_BYTES + 1);
}

/// Gives few bytes at a time and is interrupted in between.
struct Dribble<'a>(&'a [u8]);

impl Read for Dribble<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.0.len() % 5 == 4 {
            let (skipped, rest) = self.0.split_at(1);
            self.0 = rest;
            out[0] = skipped[0];
            return Ok(1);
        }
        let count = out.len().min(4_093).min(self.0.len());
        self.0.read(&mut out[..count])
    }
}

#[test]
fn authentic_frames_that_lie_are_refused() {
    let key = DataKey::generate();
    for frame in [
        vec![],
        vec![0; 7],
        [&9_u64.to_be_bytes()[..], b"12345678"].concat(),
        [&7_u64.to_be_bytes()[..], b"12345678"].concat(),
        (MAX_PLAINTEXT_BYTES + 1).to_be_bytes().to_vec(),
    ] {
        refused(&key, &associated_data(), &seal_raw_frame(&key, &frame));
    }
}

#[test]
fn refused_stream_stays_refused() {
    let key = DataKey::generate();
    let mut sealed = seal(&key, &associated_data(), &bytes(FIRST + OTHER));
    let end = sealed.len() - 1;
    sealed[end] ^= 1;
    let mut opener = Opener::new(&sealed[..], &key, &associated_data()).unwrap();
    let mut sink = Vec::new();
    for _ in 0..2 {
        let error = opener.read_to_end(&mut sink).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(matches!(OpenError::from(error), OpenError::Refused));
    }
}

#[test]
fn failing_source_is_not_a_refusal() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("disk"))
        }
    }
    let key = DataKey::generate();
    assert!(matches!(
        Opener::new(Failing, &key, &associated_data()),
        Err(OpenError::Io(_))
    ));
    let sealed = seal(&key, &associated_data(), b"reading");
    let source = sealed[..HEADER_LEN].chain(Failing);
    let mut opener = Opener::new(source, &key, &associated_data()).unwrap();
    let error = OpenError::from(opener.read(&mut [0; 8]).unwrap_err());
    assert!(matches!(error, OpenError::Io(_)));
}

#[test]
fn sealer_holds_the_writer_to_the_declared_length() {
    let key = DataKey::generate();
    let mut sealer = Sealer::new(Vec::new(), &key, &associated_data(), 4).unwrap();
    assert!(sealer.write(b"12345").is_err());
    sealer.write_all(b"123").unwrap();
    assert!(sealer.finish().is_err());
    let too_long = MAX_PLAINTEXT_BYTES + 1;
    assert!(Sealer::new(Vec::new(), &key, &associated_data(), too_long).is_err());
}
