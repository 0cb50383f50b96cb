//! Receipts: the oracle's word that readings are on the ledger.

use std::collections::HashSet;

use contract_interface::{RecordId, reading};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Message;

/// What a receipt calls a reading.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadingName {
    /// The sequence number that the device gave it, beside the payload or in a compact reading.
    Seq(u64),
    /// SHA-256 of its payload, hexadecimal, if it has no number.
    Sha256(String),
}

impl ReadingName {
    /// The name of a message of some media type in its receipt.
    #[must_use]
    pub fn of(content_type: &str, message: &Message) -> Self {
        let own = || reading::sequence(content_type, &message.payload);
        match message.seq.or_else(own) {
            Some(seq) => Self::Seq(seq),
            None => Self::Sha256(
                Sha256::digest(&message.payload)
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect(),
            ),
        }
    }
}

/// A message on `v1/devices/{device ID}/receipts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The record that the readings are part of.
    pub record_id: RecordId,
    /// The transaction that registered it.
    pub transaction_id: String,
    /// The block that holds the transaction.
    pub block_number: u64,
    /// The readings of this device in the record.
    pub readings: Vec<ReadingName>,
}

/// The other message on that topic: the ledger's contract refuses the record, or the readings can be
/// no record yet. The oracle keeps them and tries again.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Refusal {
    /// Absent if the readings are in no record yet.
    pub(super) record_id: Option<RecordId>,
    /// The contract's code.
    pub(super) refused: String,
    readings: Vec<ReadingName>,
}

/// A message on the receipts topic.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Answer {
    Receipt(Receipt),
    Refusal(Refusal),
}

/// Reads a message on the receipts topic; nothing if it is none.
pub(super) fn read_answer(payload: &[u8]) -> Option<Answer> {
    serde_json::from_slice(payload).ok()
}

/// The messages whose receipts are still to come.
#[derive(Debug)]
pub(super) struct Awaited {
    names: HashSet<ReadingName>,
    arrived: Vec<Receipt>,
}

impl Awaited {
    pub(super) fn new(content_type: &str, messages: &[Message]) -> Self {
        let name = |message| ReadingName::of(content_type, message);
        Self {
            names: messages.iter().map(name).collect(),
            arrived: Vec::new(),
        }
    }

    /// One message, whose name is known.
    pub(super) fn of(name: ReadingName) -> Self {
        Self {
            names: HashSet::from([name]),
            arrived: Vec::new(),
        }
    }

    /// The receipts that came.
    pub(super) fn arrived(&self) -> &[Receipt] {
        &self.arrived
    }

    /// Takes a payload from the receipts topic, and says whether it is a receipt that was waited
    /// for. Those of other messages are passed over.
    ///
    /// # Errors
    /// A refusal of messages that are waited for.
    pub(super) fn take(&mut self, payload: &[u8]) -> Result<bool, Refusal> {
        let receipt = match serde_json::from_slice(payload) {
            Ok(Answer::Receipt(receipt)) => receipt,
            Ok(Answer::Refusal(refusal)) => {
                let awaited = refusal
                    .readings
                    .iter()
                    .any(|name| self.names.contains(name));
                return if awaited { Err(refusal) } else { Ok(false) };
            }
            Err(_) => {
                tracing::warn!("a message on the receipts topic is no receipt");
                return Ok(false);
            }
        };
        let before = self.names.len();
        for name in &receipt.readings {
            self.names.remove(name);
        }
        let awaited = self.names.len() < before;
        if awaited {
            self.arrived.push(receipt);
        }
        Ok(awaited)
    }

    pub(super) fn missing(&self) -> usize {
        self.names.len()
    }

    pub(super) fn into_arrived(self) -> Vec<Receipt> {
        self.arrived
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_are_matched_by_number_and_by_content() {
        let messages = [
            Message {
                seq: Some(7),
                payload: "a".into(),
            },
            Message {
                seq: None,
                payload: "abc".into(),
            },
        ];
        let mut awaited = Awaited::new("application/json", &messages);
        let receipt = |readings: &str| {
            format!(
                r#"{{"record_id":"{}","transaction_id":"t","block_number":3,"readings":{readings}}}"#,
                "ab".repeat(16)
            )
        };
        assert_eq!(
            awaited.take(receipt(r#"[{"seq":8}]"#).as_bytes()),
            Ok(false)
        );
        assert_eq!(awaited.take(b"not json"), Ok(false));
        assert_eq!(awaited.missing(), 2);
        // FIPS 180-2's example for "abc".
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let by_content = receipt(&format!(r#"[{{"sha256":"{abc}"}}]"#));
        assert_eq!(awaited.take(by_content.as_bytes()), Ok(true));
        assert_eq!(awaited.missing(), 1);
        let refusal = |seq: u64| {
            let record_id = "ab".repeat(16);
            format!(
                r#"{{"record_id":"{record_id}","refused":"DEVICE_NOT_BOUND","readings":[{{"seq":{seq}}}]}}"#
            )
        };
        assert_eq!(awaited.take(refusal(8).as_bytes()), Ok(false));
        let refused = awaited.take(refusal(7).as_bytes()).unwrap_err();
        assert_eq!(refused.refused, "DEVICE_NOT_BOUND");
        let keyless = br#"{"refused":"PATIENT_KEY_MISSING","readings":[{"seq":7}]}"#;
        assert_eq!(awaited.take(keyless).unwrap_err().record_id, None);
        assert_eq!(awaited.take(receipt(r#"[{"seq":7}]"#).as_bytes()), Ok(true));
        assert_eq!(awaited.missing(), 0);
        assert_eq!(awaited.into_arrived().len(), 2);
    }

    #[test]
    fn a_compact_reading_is_named_by_its_own_number() {
        let message = Message {
            seq: None,
            payload: r#"{"code":"8867-4","seq":901,"unit":"/min","value":72}"#.into(),
        };
        let json = ReadingName::of("application/json", &message);
        assert_eq!(json, ReadingName::Seq(901));
        let fhir = ReadingName::of("application/fhir+json", &message);
        assert!(matches!(fhir, ReadingName::Sha256(_)));
    }
}
