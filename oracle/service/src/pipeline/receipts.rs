//! What a device is told when its readings are on the ledger.
//!
//! ```json
//! {"record_id":"…","transaction_id":"…","block_number":7,"readings":[{"seq":17},{"sha256":"…"}]}
//! ```
//!
//! One entry per reading: its sequence number, or the SHA-256 of its payload if it had none. A device that sends a
//! finished reading again gets its receipt again, as long as it is remembered.
//!
//! When the contract refuses a record, the device is told why each time:
//!
//! ```json
//! {"record_id":"…","refused":"DEVICE_NOT_BOUND","readings":[{"seq":17}]}
//! ```
//!
//! That is not the end: the readings are kept and tried again, and a receipt may follow when the cause is mended.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde::Serialize;

use crate::journal::{Commitment, Fingerprint, Pending, RecordKey};

/// Readings in one receipt; more make several, so that a receipt fits a small device's packet limit.
const READINGS_MAX: usize = 500;
/// Finished readings remembered for a repeated receipt.
const REMEMBERED_MAX: usize = 50_000;

/// One receipt, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Receipt<'a> {
    record_id: &'a str,
    transaction_id: &'a str,
    block_number: u64,
    readings: Vec<Line>,
}

/// Why a record is not on the ledger yet, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Refusal<'a> {
    record_id: &'a str,
    refused: &'a str,
    readings: Vec<Line>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum Line {
    Sequence { seq: u64 },
    Digest { sha256: String },
}

fn line(sequence: Option<u64>, fingerprint: &Fingerprint) -> Line {
    match sequence {
        Some(seq) => Line::Sequence { seq },
        None => Line::Digest {
            sha256: hex::encode(fingerprint),
        },
    }
}

/// The receipts of a record, one after the other.
pub(super) fn receipts(
    record: RecordKey,
    commitment: &Commitment,
    readings: &[Pending],
) -> Vec<Vec<u8>> {
    let record_id = record.to_hex();
    readings
        .chunks(READINGS_MAX)
        .map(|chunk| to_json(&record_id, commitment, lines(chunk)))
        .collect()
}

/// What tells a device that the contract refuses its readings, one message after the other.
pub(super) fn refusals(record: RecordKey, refused: &str, readings: &[Pending]) -> Vec<Vec<u8>> {
    let record_id = record.to_hex();
    let message = |chunk: &[Pending]| {
        let refusal = Refusal {
            record_id: &record_id,
            refused,
            readings: lines(chunk),
        };
        serde_json::to_vec(&refusal).expect("texts and integers are JSON")
    };
    readings.chunks(READINGS_MAX).map(message).collect()
}

fn lines(readings: &[Pending]) -> Vec<Line> {
    let line = |reading: &Pending| line(reading.sequence, &reading.fingerprint);
    readings.iter().map(line).collect()
}

fn to_json(record_id: &str, commitment: &Commitment, readings: Vec<Line>) -> Vec<u8> {
    let receipt = Receipt {
        record_id,
        transaction_id: &commitment.transaction_id,
        block_number: commitment.block_number,
        readings,
    };
    serde_json::to_vec(&receipt).expect("texts and integers are JSON")
}

type Key = (String, Option<u64>, Fingerprint);

/// Remembers finished readings, the last so many.
#[derive(Debug, Default)]
pub(super) struct Book {
    known: HashMap<Key, Arc<(RecordKey, Commitment)>>,
    order: VecDeque<Key>,
}

impl Book {
    /// Writes down the readings of a finished record.
    pub(super) fn insert(
        &mut self,
        record: RecordKey,
        commitment: &Commitment,
        readings: &[Pending],
    ) {
        let shared = Arc::new((record, commitment.clone()));
        for reading in readings {
            let key = (
                reading.device.clone(),
                reading.sequence,
                reading.fingerprint,
            );
            if self
                .known
                .insert(key.clone(), Arc::clone(&shared))
                .is_none()
            {
                self.order.push_back(key);
            }
        }
        while self.order.len() > REMEMBERED_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }

    /// The receipt of one finished reading.
    pub(super) fn again(
        &self,
        device: &str,
        sequence: Option<u64>,
        fingerprint: Fingerprint,
    ) -> Option<Vec<u8>> {
        let key = (device.to_owned(), sequence, fingerprint);
        let (record, commitment) = &**self.known.get(&key)?;
        let lines = vec![line(sequence, &fingerprint)];
        Some(to_json(&record.to_hex(), commitment, lines))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::EntryId;

    fn reading(sequence: Option<u64>) -> Pending {
        Pending {
            id: EntryId(1),
            device: "d".to_owned(),
            sequence,
            fingerprint: [0xab; 32],
            patient: String::new(),
            code: String::new(),
            content_type: String::new(),
            received_ms: 0,
            period: (0, 0),
            payload_bytes: 0,
            alone: false,
            labels: crate::journal::Labels::default(),
        }
    }

    fn commitment() -> Commitment {
        Commitment {
            transaction_id: "tx".to_owned(),
            block_number: 7,
        }
    }

    #[test]
    fn a_receipt_names_every_reading() {
        let readings = [reading(Some(17)), reading(None)];
        let made = receipts(RecordKey([1; 16]), &commitment(), &readings);
        let expected = format!(
            r#"{{"record_id":"{}","transaction_id":"tx","block_number":7,"readings":[{{"seq":17}},{{"sha256":"{}"}}]}}"#,
            "01".repeat(16),
            "ab".repeat(32)
        );
        assert_eq!(made, [expected.into_bytes()]);
    }

    #[test]
    fn many_readings_make_several_receipts() {
        let readings: Vec<_> = (0..1201).map(|n| reading(Some(n))).collect();
        let made = receipts(RecordKey([1; 16]), &commitment(), &readings);
        assert_eq!(made.len(), 3);
        assert!(made.iter().all(|json| json.len() < 64 << 10));
    }

    #[test]
    fn a_repeated_reading_gets_its_receipt_again() {
        let mut book = Book::default();
        book.insert(RecordKey([1; 16]), &commitment(), &[reading(Some(3))]);
        let again = book.again("d", Some(3), [0xab; 32]).unwrap();
        assert!(String::from_utf8(again).unwrap().contains(r#"[{"seq":3}]"#));
        assert!(book.again("d", Some(4), [0xab; 32]).is_none());
        assert!(book.again("e", Some(3), [0xab; 32]).is_none());
        assert!(book.again("d", None, [0xab; 32]).is_none());
    }

    #[test]
    fn the_book_is_bounded() {
        let mut book = Book::default();
        for n in 0..u64::try_from(REMEMBERED_MAX).unwrap() + 10 {
            book.insert(RecordKey([1; 16]), &commitment(), &[reading(Some(n))]);
        }
        assert_eq!(book.known.len(), REMEMBERED_MAX);
        assert!(book.again("d", Some(0), [0xab; 32]).is_none());
    }
}
