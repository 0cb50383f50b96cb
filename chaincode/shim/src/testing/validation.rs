//! What the committer does with a transaction: check that nothing it read has changed, then
//! apply its writes.

use std::collections::{BTreeSet, VecDeque};

use fabric_protos::{
    kvrwset::{HashedRwSet, KvMetadataEntry, KvrwSet, RangeQueryInfo},
    rwset::{
        CollectionHashedReadWriteSet, CollectionPvtReadWriteSet, TxPvtReadWriteSet, TxReadWriteSet,
    },
};
use prost::Message;

use super::{
    TxResult, ValidationCode, Version,
    cursor::{Cursor, Found, RangeRead, Source},
    state::{Entry, Metadata, State, place},
};
use crate::{Timestamp, stub::KeyModification};

/// Validates one transaction against the state that earlier ones left, and applies it.
pub(super) fn commit(
    state: &mut State,
    committed: &mut BTreeSet<String>,
    result: &TxResult,
    version: Version,
) -> ValidationCode {
    if !result.response.is_success() {
        return ValidationCode::EndorsementPolicyFailure;
    }
    if !committed.insert(result.tx_id.clone()) {
        return ValidationCode::DuplicateTxId;
    }
    let public: TxReadWriteSet = decode(&result.rwset);
    let private: TxPvtReadWriteSet = decode(&result.private_rwset);
    if let Some(code) = conflict(state, &public) {
        return code;
    }
    let write = Commit {
        tx_id: &result.tx_id,
        timestamp: result.timestamp,
        version,
    };
    for namespace in &public.ns_rwset {
        let set: KvrwSet = decode(&namespace.rwset);
        write.apply_public(state, &namespace.namespace, set);
        for collection in &namespace.collection_hashed_rwset {
            write.apply_hashed(state, &namespace.namespace, collection);
        }
    }
    for namespace in &private.ns_pvt_rwset {
        for collection in &namespace.collection_pvt_rwset {
            write.apply_private(state, &namespace.namespace, collection);
        }
    }
    ValidationCode::Valid
}

fn conflict(state: &State, public: &TxReadWriteSet) -> Option<ValidationCode> {
    for namespace in &public.ns_rwset {
        let set: KvrwSet = decode(&namespace.rwset);
        let name = &namespace.namespace;
        for read in &set.reads {
            let current = state.get(name, &read.key).map(|entry| entry.version);
            if current != read.version.map(Version::from) {
                return Some(ValidationCode::MvccReadConflict);
            }
        }
        for range in &set.range_queries_info {
            if range_now(state, name, range) != *range {
                return Some(ValidationCode::PhantomReadConflict);
            }
        }
        for collection in &namespace.collection_hashed_rwset {
            let hashed: HashedRwSet = decode(&collection.hashed_rwset);
            for read in &hashed.hashed_reads {
                let entry = state.get_hash(name, &collection.collection_name, &read.key_hash);
                let current = entry.map(|entry| entry.version);
                if current != read.version.map(Version::from) {
                    return Some(ValidationCode::MvccReadConflict);
                }
            }
        }
    }
    None
}

/// What reading the same extent gives now. When the range had not been read to its end, its last
/// key is part of it.
fn range_now(state: &State, namespace: &str, range: &RangeQueryInfo) -> RangeQueryInfo {
    let (start, end) = (range.start_key.as_str(), range.end_key.as_str());
    let found = |(key, entry): (&String, &Entry)| Found {
        key: key.clone(),
        version: Some(entry.version),
        record: vec![],
    };
    let mut entries: VecDeque<Found> = state.range(namespace, start, end).map(found).collect();
    if range.itr_exhausted {
        let mut now = RangeRead::new(namespace, start, end);
        read_all(state, entries, &mut now);
        return now.into_info();
    }
    let last = state.get(namespace, end).map(|entry| Found {
        key: end.to_owned(),
        version: Some(entry.version),
        record: vec![],
    });
    entries.extend(last);
    let mut now = RangeRead::new(namespace, start, end);
    let count = entries.len();
    read_page(state, entries, count, &mut now);
    now.into_info()
}

fn read_all(state: &State, entries: VecDeque<Found>, range: &mut RangeRead) {
    let mut cursor = Cursor::new(String::new(), Source::Known(entries), None, None);
    while cursor.portion(state, Some(range)).has_more {}
}

fn read_page(state: &State, entries: VecDeque<Found>, count: usize, range: &mut RangeRead) {
    let known = Source::Known(entries);
    Cursor::new(String::new(), known, Some(count), None).portion(state, Some(range));
}

/// The transaction whose writes are applied.
struct Commit<'t> {
    tx_id: &'t str,
    timestamp: Timestamp,
    version: Version,
}

impl Commit<'_> {
    fn apply_public(&self, state: &mut State, namespace: &str, set: KvrwSet) {
        for write in set.writes {
            let place = (namespace.to_owned(), write.key.clone());
            state
                .history
                .entry(place)
                .or_default()
                .push(KeyModification {
                    tx_id: self.tx_id.to_owned(),
                    value: write.value.clone(),
                    timestamp: self.timestamp,
                    is_delete: write.is_delete,
                });
            let values = state.public.entry(namespace.to_owned()).or_default();
            if write.is_delete {
                values.remove(&write.key);
                continue;
            }
            let metadata = values.get(&write.key).map(|entry| entry.metadata.clone());
            let entry = Entry {
                value: write.value,
                metadata: metadata.unwrap_or_default(),
                version: self.version,
            };
            values.insert(write.key, entry);
        }
        for write in set.metadata_writes {
            let values = state.public.entry(namespace.to_owned()).or_default();
            // Metadata of a key that does not exist are ignored.
            if let Some(entry) = values.get_mut(&write.key) {
                entry.metadata = metadata(write.entries);
                entry.version = self.version;
            }
        }
    }

    fn apply_hashed(
        &self,
        state: &mut State,
        namespace: &str,
        collection: &CollectionHashedReadWriteSet,
    ) {
        let set: HashedRwSet = decode(&collection.hashed_rwset);
        let place = place(namespace, &collection.collection_name);
        let hashes = state.hashed.entry(place).or_default();
        for write in set.hashed_writes {
            if write.is_delete {
                hashes.remove(&write.key_hash);
                continue;
            }
            let metadata = hashes
                .get(&write.key_hash)
                .map(|entry| entry.metadata.clone());
            let entry = Entry {
                value: write.value_hash,
                metadata: metadata.unwrap_or_default(),
                version: self.version,
            };
            hashes.insert(write.key_hash, entry);
        }
        for write in set.metadata_writes {
            if let Some(entry) = hashes.get_mut(&write.key_hash) {
                entry.metadata = metadata(write.entries);
                entry.version = self.version;
            }
        }
    }

    fn apply_private(
        &self,
        state: &mut State,
        namespace: &str,
        collection: &CollectionPvtReadWriteSet,
    ) {
        let set: KvrwSet = decode(&collection.rwset);
        let place = place(namespace, &collection.collection_name);
        let values = state.private.entry(place).or_default();
        for write in set.writes {
            if write.is_delete {
                values.remove(&write.key);
                continue;
            }
            let entry = Entry {
                value: write.value,
                metadata: Metadata::new(),
                version: self.version,
            };
            values.insert(write.key, entry);
        }
        for write in set.metadata_writes {
            if let Some(entry) = values.get_mut(&write.key) {
                entry.version = self.version;
            }
        }
    }
}

fn metadata(entries: Vec<KvMetadataEntry>) -> Metadata {
    let entries = entries.into_iter();
    entries.map(|entry| (entry.name, entry.value)).collect()
}

fn decode<M: Message + Default>(bytes: &[u8]) -> M {
    M::decode(bytes).expect("the ledger has encoded this set itself")
}
