//! Entries made of a fuzzer's bytes.

use super::super::entry::{
    Commitment, Entry, EntryId, Labels, Reading, RecordKey, Refused, SealedRecord,
};
use super::super::marks::Marks;
use super::DEVICES_MAX;
use crate::fuzzing::Input;

/// An entry of any kind, of few devices and records, so that they meet.
pub(super) fn entry(kind: u8, input: &mut Input<'_>) -> Entry {
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

pub(super) fn reading(input: &mut Input<'_>) -> Reading {
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
