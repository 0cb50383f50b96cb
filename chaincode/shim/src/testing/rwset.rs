//! What a transaction read and wrote, in the form and order that peers sign.

use std::collections::BTreeMap;

use fabric_protos::{
    kvrwset::{
        HashedRwSet, KvMetadataEntry, KvMetadataWrite, KvMetadataWriteHash, KvRead, KvReadHash,
        KvWrite, KvWriteHash, KvrwSet, RangeQueryInfo,
    },
    rwset::{
        CollectionHashedReadWriteSet, CollectionPvtReadWriteSet, NsPvtReadWriteSet, NsReadWriteSet,
        TxPvtReadWriteSet, TxReadWriteSet, tx_read_write_set::DataModel,
    },
};
use prost::Message as _;

use super::{
    Version,
    state::{Metadata, sha256},
};

/// Collects reads and writes; everything is sorted by name and key.
#[derive(Clone, Debug, Default)]
pub(super) struct RwSetBuilder {
    namespaces: BTreeMap<String, Namespace>,
}

#[derive(Clone, Debug, Default)]
struct Namespace {
    reads: BTreeMap<String, Option<Version>>,
    writes: BTreeMap<String, Vec<u8>>,
    metadata_writes: BTreeMap<String, Metadata>,
    ranges: Vec<RangeQueryInfo>,
    collections: BTreeMap<String, Collection>,
}

#[derive(Clone, Debug, Default)]
struct Collection {
    reads: BTreeMap<String, Option<Version>>,
    writes: BTreeMap<String, PrivateValue>,
    metadata_writes: BTreeMap<String, Metadata>,
}

#[derive(Clone, Debug)]
struct PrivateValue {
    value: Vec<u8>,
    purge: bool,
}

impl RwSetBuilder {
    fn namespace(&mut self, namespace: &str) -> &mut Namespace {
        self.namespaces.entry(namespace.to_owned()).or_default()
    }

    fn collection(&mut self, namespace: &str, collection: &str) -> &mut Collection {
        let collections = &mut self.namespace(namespace).collections;
        collections.entry(collection.to_owned()).or_default()
    }

    pub(super) fn read(&mut self, namespace: &str, key: &str, version: Option<Version>) {
        let reads = &mut self.namespace(namespace).reads;
        reads.insert(key.to_owned(), version);
    }

    pub(super) fn write(&mut self, namespace: &str, key: &str, value: Vec<u8>) {
        let writes = &mut self.namespace(namespace).writes;
        writes.insert(key.to_owned(), value);
    }

    pub(super) fn write_metadata(&mut self, namespace: &str, key: &str, metadata: Metadata) {
        let writes = &mut self.namespace(namespace).metadata_writes;
        writes.insert(key.to_owned(), metadata);
    }

    /// A range that was read before in the same extent is kept once.
    pub(super) fn range(&mut self, namespace: &str, info: RangeQueryInfo) {
        let ranges = &mut self.namespace(namespace).ranges;
        let known = ranges.iter().any(|known| {
            known.start_key == info.start_key
                && known.end_key == info.end_key
                && known.itr_exhausted == info.itr_exhausted
        });
        if !known {
            ranges.push(info);
        }
    }

    pub(super) fn read_private(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
        version: Option<Version>,
    ) {
        let reads = &mut self.collection(namespace, collection).reads;
        reads.insert(key.to_owned(), version);
    }

    pub(super) fn write_private(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
        value: Vec<u8>,
        purge: bool,
    ) {
        let writes = &mut self.collection(namespace, collection).writes;
        writes.insert(key.to_owned(), PrivateValue { value, purge });
    }

    pub(super) fn write_private_metadata(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
        metadata: Metadata,
    ) {
        let writes = &mut self.collection(namespace, collection).metadata_writes;
        writes.insert(key.to_owned(), metadata);
    }

    /// The public set, with hashes for private data, and the private set.
    pub(super) fn build(self) -> (TxReadWriteSet, TxPvtReadWriteSet) {
        let mut public = vec![];
        let mut private = vec![];
        for (name, namespace) in self.namespaces {
            let mut hashed = vec![];
            let mut values = vec![];
            for (collection_name, collection) in namespace.collections {
                let (hashed_set, private_set) = collection.build(collection_name);
                hashed.push(hashed_set);
                values.extend(private_set);
            }
            let set = KvrwSet {
                reads: namespace.reads.into_iter().map(read).collect(),
                range_queries_info: namespace.ranges,
                writes: namespace.writes.into_iter().map(write).collect(),
                metadata_writes: namespace
                    .metadata_writes
                    .into_iter()
                    .map(metadata_write)
                    .collect(),
            };
            if !values.is_empty() {
                private.push(NsPvtReadWriteSet {
                    namespace: name.clone(),
                    collection_pvt_rwset: values,
                });
            }
            public.push(NsReadWriteSet {
                namespace: name,
                rwset: set.encode_to_vec(),
                collection_hashed_rwset: hashed,
            });
        }
        let public = TxReadWriteSet {
            data_model: DataModel::Kv.into(),
            ns_rwset: public,
        };
        let private = TxPvtReadWriteSet {
            data_model: DataModel::Kv.into(),
            ns_pvt_rwset: private,
        };
        (public, private)
    }
}

impl Collection {
    fn build(
        self,
        name: String,
    ) -> (
        CollectionHashedReadWriteSet,
        Option<CollectionPvtReadWriteSet>,
    ) {
        // Peers order hashed entries by the keys, not by the keys' hashes.
        let hashed = HashedRwSet {
            hashed_reads: self.reads.into_iter().map(read_hash).collect(),
            hashed_writes: self.writes.iter().map(write_hash).collect(),
            metadata_writes: self
                .metadata_writes
                .iter()
                .map(metadata_write_hash)
                .collect(),
        };
        let writes = self
            .writes
            .into_iter()
            .map(|(key, private)| write((key, private.value)));
        let set = KvrwSet {
            writes: writes.collect(),
            metadata_writes: self
                .metadata_writes
                .into_keys()
                .map(|key| KvMetadataWrite {
                    key,
                    entries: vec![],
                })
                .collect(),
            ..KvrwSet::default()
        };
        let has_writes = !set.writes.is_empty() || !set.metadata_writes.is_empty();
        let rwset = has_writes.then(|| set.encode_to_vec());
        let hashed = CollectionHashedReadWriteSet {
            collection_name: name.clone(),
            hashed_rwset: hashed.encode_to_vec(),
            pvt_rwset_hash: rwset.as_deref().map(sha256).unwrap_or_default(),
        };
        let private = rwset.map(|rwset| CollectionPvtReadWriteSet {
            collection_name: name,
            rwset,
        });
        (hashed, private)
    }
}

fn read((key, version): (String, Option<Version>)) -> KvRead {
    KvRead {
        key,
        version: version.map(Into::into),
    }
}

fn write((key, value): (String, Vec<u8>)) -> KvWrite {
    KvWrite {
        key,
        is_delete: value.is_empty(),
        value,
    }
}

fn metadata_write((key, metadata): (String, Metadata)) -> KvMetadataWrite {
    KvMetadataWrite {
        key,
        entries: entries(&metadata),
    }
}

fn entries(metadata: &Metadata) -> Vec<KvMetadataEntry> {
    let entry = |(name, value): (&String, &Vec<u8>)| KvMetadataEntry {
        name: name.clone(),
        value: value.clone(),
    };
    metadata.iter().map(entry).collect()
}

fn read_hash((key, version): (String, Option<Version>)) -> KvReadHash {
    KvReadHash {
        key_hash: sha256(key.as_bytes()),
        version: version.map(Into::into),
    }
}

fn write_hash((key, private): (&String, &PrivateValue)) -> KvWriteHash {
    let is_delete = private.value.is_empty();
    KvWriteHash {
        key_hash: sha256(key.as_bytes()),
        is_delete,
        value_hash: if is_delete {
            vec![]
        } else {
            sha256(&private.value)
        },
        is_purge: private.purge,
    }
}

fn metadata_write_hash((key, metadata): (&String, &Metadata)) -> KvMetadataWriteHash {
    KvMetadataWriteHash {
        key_hash: sha256(key.as_bytes()),
        entries: entries(metadata),
    }
}
