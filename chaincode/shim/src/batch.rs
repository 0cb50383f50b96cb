//! Writes that are gathered and sent together.

use std::collections::BTreeMap;

use fabric_protos::protos::{WriteBatchState, WriteRecord, write_record};
use prost::Message as _;

/// Bytes of one batch message; far below the 100 MiB that a peer accepts, so that one large
/// record more still fits.
const BATCH_BYTES_MAX: usize = 16 << 20;

/// Value and metadata of a key are written apart, so one does not replace the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Value,
    Metadata,
}

/// The last write to each key, in the order of collections and keys.
#[derive(Debug, Default)]
pub(crate) struct WriteBatch {
    records: BTreeMap<(String, String, Part), WriteRecord>,
}

impl WriteBatch {
    /// Adds a write; an earlier one to the same place is replaced.
    pub(crate) fn add(&mut self, record: WriteRecord) {
        let part = if record.r#type() == write_record::Type::PutStateMetadata {
            Part::Metadata
        } else {
            Part::Value
        };
        let place = (record.collection.clone(), record.key.clone(), part);
        self.records.insert(place, record);
    }

    /// The messages to send, each with at most `records_max` writes.
    pub(crate) fn into_messages(self, records_max: usize) -> Vec<WriteBatchState> {
        let mut messages = vec![];
        let mut current = WriteBatchState::default();
        let mut bytes = 0;
        for record in self.records.into_values() {
            let length = record.encoded_len();
            let full = current.rec.len() >= records_max || bytes + length > BATCH_BYTES_MAX;
            if full && !current.rec.is_empty() {
                messages.push(std::mem::take(&mut current));
                bytes = 0;
            }
            bytes += length;
            current.rec.push(record);
        }
        if !current.rec.is_empty() {
            messages.push(current);
        }
        messages
    }
}

#[cfg(test)]
mod tests {
    use fabric_protos::protos::StateMetadata;

    use super::*;

    fn put(key: &str, value: &[u8]) -> WriteRecord {
        WriteRecord {
            key: key.to_owned(),
            value: value.to_vec(),
            r#type: write_record::Type::PutState.into(),
            ..WriteRecord::default()
        }
    }

    fn of_type(key: &str, kind: write_record::Type) -> WriteRecord {
        WriteRecord {
            key: key.to_owned(),
            r#type: kind.into(),
            ..WriteRecord::default()
        }
    }

    #[test]
    fn the_last_write_to_a_key_wins_and_keys_are_in_order() {
        let mut batch = WriteBatch::default();
        batch.add(put("b", b"1"));
        batch.add(put("a", b"2"));
        batch.add(of_type("b", write_record::Type::DelState));
        let messages = batch.into_messages(1000);
        let expected = vec![put("a", b"2"), of_type("b", write_record::Type::DelState)];
        assert_eq!(messages, vec![WriteBatchState { rec: expected }]);
    }

    #[test]
    fn value_metadata_and_collections_do_not_replace_one_another() {
        let mut batch = WriteBatch::default();
        let metadata = WriteRecord {
            metadata: Some(StateMetadata::default()),
            ..of_type("a", write_record::Type::PutStateMetadata)
        };
        let private = WriteRecord {
            collection: "c".to_owned(),
            ..put("a", b"3")
        };
        for record in [&private, &metadata, &put("a", b"1")] {
            batch.add((*record).clone());
        }
        let messages = batch.into_messages(1000);
        assert_eq!(messages[0].rec, vec![put("a", b"1"), metadata, private]);
    }

    #[test]
    fn messages_hold_no_more_than_the_peer_takes() {
        let mut batch = WriteBatch::default();
        for index in 0..250 {
            batch.add(put(&format!("{index:03}"), b"v"));
        }
        let sizes: Vec<usize> = batch
            .into_messages(100)
            .iter()
            .map(|m| m.rec.len())
            .collect();
        assert_eq!(sizes, vec![100, 100, 50]);
        assert!(WriteBatch::default().into_messages(100).is_empty());
    }

    #[test]
    fn large_records_are_spread_over_messages() {
        let mut batch = WriteBatch::default();
        for key in ["a", "b", "c"] {
            batch.add(put(key, &vec![7; BATCH_BYTES_MAX / 2 + 1]));
        }
        assert_eq!(batch.into_messages(1000).len(), 3);
    }
}
