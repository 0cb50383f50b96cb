//! What a device is told when its readings are on the ledger.
//!
//! ```json
//! {"record_id":"…","transaction_id":"…","block_number":7,"readings":[{"seq":17},{"sha256":"…"}]}
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

use serde::Serialize;

use crate::journal::{Commitment, Fingerprint, Pending, RecordKey, Settled};

/// Readings in one receipt; more make several, so that a receipt fits a small device's packet limit.
const READINGS_MAX: usize = 500;

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
    readings: &[Pending],
) -> Vec<Vec<u8>> {
    let record_id = record.to_hex();
    readings
        .chunks(READINGS_MAX)
        .map(|chunk| to_json(&record_id, commitment, lines(chunk)))
        .collect()
}

/// What tells a device that its readings are kept and not on the ledger, one message after the other; `record` is
/// what the contract refuses, if they are in one.
pub(super) fn refusals(
    record: Option<RecordKey>,
    refused: &str,
    readings: &[Pending],
) -> Vec<Vec<u8>> {
    let record_id = record.map(RecordKey::to_hex);
    let message = |chunk: &[Pending]| refusal(record_id.as_deref(), refused, lines(chunk));
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

/// The receipt of one reading that is on the ledger already.
pub(super) fn again(
    settled: &Settled,
    sequence: Option<u64>,
    fingerprint: &Fingerprint,
) -> Vec<u8> {
    let record_id = settled.record.to_hex();
    to_json(
        &record_id,
        &settled.commitment,
        vec![line(sequence, fingerprint)],
    )
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
            identity: [0xab; 32],
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
    fn a_receipt_that_comes_again_is_about_the_one_reading() {
        let settled = Settled {
            record: RecordKey([1; 16]),
            commitment: commitment().into(),
        };
        let first = receipts(RecordKey([1; 16]), &commitment(), &[reading(None)]).concat();
        assert_eq!(again(&settled, None, &[0xab; 32]), first);
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
