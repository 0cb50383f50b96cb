//! What a device is told when its readings are on the ledger.
//!
//! ```json
//! {"record_id":"…","transaction_id":"…","block_number":7,"readings":[{"seq":17},{"sha256":"…"}]}
//! ```
//!
//! A reading that is odd is kept, and its receipt names what is odd about it:
//!
//! ```json
//! {"record_id":"…", …,"readings":[{"seq":17}],"marks":{"unit-not-ucum":[{"seq":17}]}}
//! ```
//!
//! One entry per reading: its sequence number, or the SHA-256 of its payload if it had none. A device that sends a
//! finished reading again gets its receipt again, also from another process than the one that took the reading, as
//! long as the journal recognises the message.
//!
//! When the contract refuses a record, the device is told why each time:
//!
//! ```json
//! {"record_id":"…","refused":"DEVICE_NOT_BOUND","readings":[{"seq":17}]}
//! ```
//!
//! The same without a record when readings cannot become one yet, because their patient has no encryption key
//! (`PATIENT_KEY_MISSING`); also to a device that sends such a reading again.
//!
//! That is not the end: the readings are kept and tried again, and a receipt may follow when the cause is mended.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::journal::{Commitment, Fingerprint, Pending, RecordKey, Settled};
use crate::objects::Finished;

/// Readings in one receipt; more make several, so that a receipt fits a small device's packet limit.
const READINGS_MAX: usize = 500;

/// One receipt, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Receipt<'a> {
    record_id: &'a str,
    transaction_id: &'a str,
    block_number: u64,
    readings: Vec<Line>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    marks: BTreeMap<&'static str, Vec<Line>>,
}

/// Why a record is not on the ledger yet, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Refusal<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    record_id: Option<&'a str>,
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
    readings: &[Arc<Pending>],
) -> Vec<Vec<u8>> {
    let record_id = record.to_hex();
    readings
        .chunks(READINGS_MAX)
        .map(|chunk| to_json(&record_id, commitment, lines(chunk), marks(chunk)))
        .collect()
}

/// What tells a device that its readings are kept and not on the ledger, one message after the other; `record` is
/// what the contract refuses, if they are in one.
pub(super) fn refusals(
    record: Option<RecordKey>,
    refused: &str,
    readings: &[Arc<Pending>],
) -> Vec<Vec<u8>> {
    let record_id = record.map(RecordKey::to_hex);
    let message = |chunk: &[Arc<Pending>]| refusal(record_id.as_deref(), refused, lines(chunk));
    readings.chunks(READINGS_MAX).map(message).collect()
}

/// The same of one reading that is sent again.
pub(super) fn refusal_again(
    refused: &str,
    sequence: Option<u64>,
    fingerprint: &Fingerprint,
) -> Vec<u8> {
    refusal(None, refused, vec![line(sequence, fingerprint)])
}

fn refusal(record_id: Option<&str>, refused: &str, readings: Vec<Line>) -> Vec<u8> {
    let refusal = Refusal {
        record_id,
        refused,
        readings,
    };
    serde_json::to_vec(&refusal).expect("texts and integers are JSON")
}

fn lines(readings: &[Arc<Pending>]) -> Vec<Line> {
    let line = |reading: &Arc<Pending>| line(reading.sequence, &reading.fingerprint);
    readings.iter().map(line).collect()
}

/// Which readings are odd, by what is odd about them.
fn marks(readings: &[Arc<Pending>]) -> BTreeMap<&'static str, Vec<Line>> {
    let mut marked: BTreeMap<_, Vec<Line>> = BTreeMap::new();
    for reading in readings {
        for mark in reading.marks.iter() {
            let line = line(reading.sequence, &reading.fingerprint);
            marked.entry(mark.name()).or_default().push(line);
        }
    }
    marked
}

fn to_json(
    record_id: &str,
    commitment: &Commitment,
    readings: Vec<Line>,
    marks: BTreeMap<&'static str, Vec<Line>>,
) -> Vec<u8> {
    let receipt = Receipt {
        record_id,
        transaction_id: &commitment.transaction_id,
        block_number: commitment.block_number,
        readings,
        marks,
    };
    serde_json::to_vec(&receipt).expect("texts and integers are JSON")
}

/// The receipt of one reading that is on the ledger already.
pub(super) fn again(
    settled: &Settled,
    sequence: Option<u64>,
    fingerprint: &Fingerprint,
) -> Vec<u8> {
    let lines = || vec![line(sequence, fingerprint)];
    let marks = settled.marks.iter().map(|mark| (mark.name(), lines()));
    let record_id = settled.record.to_hex();
    to_json(&record_id, &settled.commitment, lines(), marks.collect())
}

/// The receipt of a large object that is on the ledger already.
pub(crate) fn object_receipt(finished: &Finished) -> Vec<u8> {
    let settled = Settled {
        record: finished.record,
        commitment: Arc::new(finished.commitment.clone()),
        marks: finished.marks,
    };
    again(&settled, finished.sequence, &finished.sha256)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{EntryId, Kind, Labels, Mark};

    fn reading(sequence: Option<u64>) -> Arc<Pending> {
        Arc::new(Pending {
            id: EntryId(1),
            kind: Arc::new(Kind {
                device: "d".to_owned(),
                patient: String::new(),
                code: String::new(),
                content_type: String::new(),
                labels: Labels::default(),
            }),
            sequence,
            fingerprint: [0xab; 32],
            other_identity: None,
            received_ms: 0,
            period: (0, 0),
            payload_bytes: 0,
            alone: false,
            marks: crate::journal::Marks::default(),
            object_id: None,
        })
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
    fn a_receipt_says_what_is_odd_also_when_it_is_asked_for_again() {
        let mut odd = reading(Some(18));
        let marks = &mut Arc::make_mut(&mut odd).marks;
        marks.add(Mark::UnitNotUcum);
        marks.add(Mark::ClockAhead);
        let made = receipts(
            RecordKey([1; 16]),
            &commitment(),
            &[reading(Some(17)), odd.clone()],
        );
        let text = String::from_utf8(made.concat()).unwrap();
        let marks = r#""marks":{"clock-ahead":[{"seq":18}],"unit-not-ucum":[{"seq":18}]}}"#;
        assert!(text.ends_with(marks), "{text}");
        let settled = Settled {
            record: RecordKey([1; 16]),
            commitment: commitment().into(),
            marks: odd.marks,
        };
        let again = again(&settled, Some(18), &odd.fingerprint);
        let [first, second] = [made.concat(), again].map(|json| String::from_utf8(json).unwrap());
        assert_eq!(first.replacen(r#"{"seq":17},"#, "", 1), second);
    }

    #[test]
    fn many_readings_make_several_receipts() {
        let readings: Vec<_> = (0..1201).map(|n| reading(Some(n))).collect();
        let made = receipts(RecordKey([1; 16]), &commitment(), &readings);
        assert_eq!(made.len(), 3);
        assert!(made.iter().all(|json| json.len() < 64 << 10));
    }

    #[test]
    fn a_refusal_names_the_record_if_there_is_one() {
        let made = refusals(Some(RecordKey([1; 16])), "FORBIDDEN", &[reading(Some(17))]);
        let record_id = "01".repeat(16);
        let expected = format!(
            r#"{{"record_id":"{record_id}","refused":"FORBIDDEN","readings":[{{"seq":17}}]}}"#
        );
        assert_eq!(made, [expected.into_bytes()]);
        let again = refusal_again("PATIENT_KEY_MISSING", Some(3), &[0; 32]);
        let expected = br#"{"refused":"PATIENT_KEY_MISSING","readings":[{"seq":3}]}"#;
        assert_eq!(again, expected);
    }
}
