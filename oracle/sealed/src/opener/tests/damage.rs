//! Every way in which an object can be damaged or taken for another: all are refused alike.

use super::*;

/// Two full segments and a third that is cut short by the end.
const LEN: usize = FIRST + OTHER + 5_000 - 8;

/// A three-segment object without padding, so that every byte is payload, tag or header.
fn three_segments(key: &DataKey, associated_data: &AssociatedData, nonce: u8) -> Vec<u8> {
    let frame = [&(LEN as u64).to_be_bytes()[..], &bytes(LEN)].concat();
    seal_raw(key, associated_data, &[nonce; 39], &frame)
}

fn segments(sealed: &[u8]) -> [&[u8]; 3] {
    let (first, rest) = sealed.split_at(SEGMENT_BYTES);
    let (second, third) = rest.split_at(SEGMENT_BYTES);
    [first, second, third]
}

#[test]
fn any_flipped_bit_is_refused() {
    let key = DataKey::generate();
    let sealed = seal(&key, &associated_data(), b"reading");
    for index in 0..sealed.len() {
        for bit in 0..8 {
            let mut changed = sealed.clone();
            changed[index] ^= 1 << bit;
            refused(&key, &associated_data(), &changed);
        }
    }
}

#[test]
fn any_truncation_is_refused() {
    let key = DataKey::generate();
    let sealed = seal(&key, &associated_data(), b"reading");
    for len in 0..sealed.len() {
        refused(&key, &associated_data(), &sealed[..len]);
    }
}

/// Around every border there is: in the header, at segments' ends, in their tags, at the end.
#[test]
fn truncation_around_every_border_is_refused() {
    let key = DataKey::generate();
    let sealed = three_segments(&key, &associated_data(), 1);
    assert!(open(&key, &associated_data(), &sealed).is_ok());
    let borders = [
        0,
        1,
        33,
        HEADER_LEN,
        HEADER_LEN + TAG_LEN,
        SEGMENT_BYTES - TAG_LEN,
        SEGMENT_BYTES,
        SEGMENT_BYTES + TAG_LEN,
        2 * SEGMENT_BYTES - TAG_LEN,
        2 * SEGMENT_BYTES,
        2 * SEGMENT_BYTES + TAG_LEN,
        sealed.len() - TAG_LEN,
        sealed.len(),
    ];
    for border in borders {
        for len in border.saturating_sub(2)..=border + 2 {
            if len < sealed.len() {
                refused(&key, &associated_data(), &sealed[..len]);
            }
        }
    }
}

#[test]
fn flipped_bits_in_every_region_are_refused() {
    let key = DataKey::generate();
    let sealed = three_segments(&key, &associated_data(), 1);
    for (region, start, end) in [
        ("header length", 0, 1),
        ("salt", 1, 33),
        ("nonce prefix", 33, HEADER_LEN),
        ("frame length", HEADER_LEN, HEADER_LEN + 8),
        ("first segment", HEADER_LEN + 8, SEGMENT_BYTES - TAG_LEN),
        ("first tag", SEGMENT_BYTES - TAG_LEN, SEGMENT_BYTES),
        ("second segment", SEGMENT_BYTES, 2 * SEGMENT_BYTES - TAG_LEN),
        ("second tag", 2 * SEGMENT_BYTES - TAG_LEN, 2 * SEGMENT_BYTES),
        ("last segment", 2 * SEGMENT_BYTES, sealed.len() - TAG_LEN),
        ("last tag", sealed.len() - TAG_LEN, sealed.len()),
    ] {
        for index in [start, usize::midpoint(start, end), end - 1] {
            let mut changed = sealed.clone();
            changed[index] ^= 0x10;
            let opened = open(&key, &associated_data(), &changed);
            assert!(matches!(opened, Err(OpenError::Refused)), "{region}");
        }
    }
}

#[test]
fn left_out_moved_doubled_and_added_segments_are_refused() {
    let key = DataKey::generate();
    let sealed = three_segments(&key, &associated_data(), 1);
    let [first, second, third] = segments(&sealed);
    for parts in [
        vec![],
        vec![first],
        vec![second],
        vec![third],
        vec![first, second],
        vec![first, third],
        vec![second, third],
        vec![second, first, third],
        vec![first, third, second],
        vec![third, second, first],
        vec![first, first, second, third],
        vec![first, second, second, third],
        vec![first, second, third, third],
        vec![first, second, third, second],
        vec![first, second, third, &sealed],
        vec![first, second, third, &[0]],
        vec![first, second, &third[..third.len() - 1]],
        vec![&first[..HEADER_LEN], second, third],
    ] {
        refused(&key, &associated_data(), &parts.concat());
    }
}

/// Any mixture of segments of two objects, even under one key and for one record.
#[test]
fn segments_of_two_objects_do_not_mix() {
    let key = DataKey::generate();
    let other_key = DataKey::generate();
    let right = associated_data();
    let other_record = AssociatedData {
        record_id: [3; 16],
        ..right
    };
    let mine = three_segments(&key, &right, 1);
    for (difference, theirs) in [
        ("randomness", three_segments(&key, &right, 2)),
        ("record", three_segments(&key, &other_record, 1)),
        ("key", three_segments(&other_key, &right, 1)),
    ] {
        let both = [segments(&mine), segments(&theirs)];
        // Which object each of the three segments is from; 0 is mine alone, 7 theirs alone.
        for choice in 1..7_usize {
            let mixed = [0, 1, 2].map(|n| both[choice >> n & 1][n]).concat();
            let opened = open(&key, &right, &mixed);
            assert!(
                matches!(opened, Err(OpenError::Refused)),
                "{difference} {choice}"
            );
        }
        let header_exchanged = [&theirs[..HEADER_LEN], &mine[HEADER_LEN..]].concat();
        if difference == "randomness" {
            refused(&key, &right, &header_exchanged);
        } else {
            // The same random part by construction: it is the object as it was.
            assert!(header_exchanged == mine);
        }
    }
}

#[test]
fn another_key_record_or_commitment_is_refused() {
    let key = DataKey::generate();
    let right = associated_data();
    for sealed in [
        seal(&key, &right, b"reading"),
        three_segments(&key, &right, 1),
    ] {
        refused(&DataKey::generate(), &right, &sealed);
        for index in 0..16 {
            let mut wrong = right;
            wrong.record_id[index] ^= 1;
            refused(&key, &wrong, &sealed);
        }
        for index in 0..32 {
            let mut wrong = right;
            wrong.commitment[index] ^= 0x80;
            refused(&key, &wrong, &sealed);
        }
    }
}

/// The longest prefix of segments is authentic, but its reader is told before the end.
#[test]
fn truncated_stream_ends_in_an_error_after_its_authentic_part() {
    let key = DataKey::generate();
    let sealed = three_segments(&key, &associated_data(), 1);
    for (cut, authentic) in [
        (SEGMENT_BYTES, 0),
        (SEGMENT_BYTES + 1, FIRST - 8),
        (2 * SEGMENT_BYTES, FIRST - 8),
        (2 * SEGMENT_BYTES + 1, FIRST + OTHER - 8),
        (sealed.len() - 1, FIRST + OTHER - 8),
    ] {
        let mut opener = Opener::new(&sealed[..cut], &key, &associated_data()).unwrap();
        let mut received = Vec::new();
        let error = OpenError::from(opener.read_to_end(&mut received).unwrap_err());
        assert!(matches!(error, OpenError::Refused), "{cut}");
        assert!(received == bytes(LEN)[..authentic], "{cut}");
    }
}
