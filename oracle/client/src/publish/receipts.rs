//! Receipts: the oracle's word that readings are on the ledger.

use std::collections::HashSet;

use contract_interface::RecordId;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Message;

/// What a receipt calls a reading.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadingName {
    /// The sequence number that the device gave it.
    Seq(u64),
    /// SHA-256 of its payload, hexadecimal.
    Sha256(String),
}

impl ReadingName {
    /// The name of a message in its receipt.
    #[must_use]
    pub fn of(message: &Message) -> Self {
        match message.seq {
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

/// The messages whose receipts are still to come.
#[derive(Debug)]
pub(super) struct Awaited {
    names: HashSet<ReadingName>,
    arrived: Vec<Receipt>,
}

impl Awaited {
    pub(super) fn new(messages: &[Message]) -> Self {
        Self {
            names: messages.iter().map(ReadingName::of).collect(),
            arrived: Vec::new(),
        }
    }

    /// Takes a payload from the receipts topic. Receipts of other messages are passed over.
    pub(super) fn take(&mut self, payload: &[u8]) {
        let Ok(receipt) = serde_json::from_slice::<Receipt>(payload) else {
            tracing::warn!("a message on the receipts topic is no receipt");
            return;
        };
        let before = self.names.len();
        for name in &receipt.readings {
            self.names.remove(name);
        }
        if self.names.len() < before {
            self.arrived.push(receipt);
        }
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
        let mut awaited = Awaited::new(&messages);
        let receipt = |readings: &str| {
            format!(
                r#"{{"record_id":"{}","transaction_id":"t","block_number":3,"readings":{readings}}}"#,
                "ab".repeat(16)
            )
        };
        awaited.take(receipt(r#"[{"seq":8}]"#).as_bytes());
        awaited.take(b"not json");
        assert_eq!(awaited.missing(), 2);
        // FIPS 180-2's example for "abc".
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        awaited.take(receipt(&format!(r#"[{{"sha256":"{abc}"}}]"#)).as_bytes());
        assert_eq!(awaited.missing(), 1);
        awaited.take(receipt(r#"[{"seq":7}]"#).as_bytes());
        assert_eq!(awaited.missing(), 0);
        assert_eq!(awaited.into_arrived().len(), 2);
    }
}
