//! Read-write sets: collected during simulation, taken apart at validation.
//!
//! Everything is kept in sorted maps, so that endorsers which did the same make the same bytes.

use std::collections::BTreeMap;

use fabric_protos::kvrwset::{
    HashedRwSet, KvMetadataEntry, KvMetadataWrite, KvMetadataWriteHash, KvRead, KvReadHash,
    KvWrite, KvWriteHash, KvrwSet, RangeQueryInfo,
};
use fabric_protos::rwset::{
    CollectionHashedReadWriteSet, CollectionPvtReadWriteSet, NsPvtReadWriteSet, NsReadWriteSet,
    TxPvtReadWriteSet, TxReadWriteSet,
};
use prost::Message;

use super::hash::sha256;
use super::version::Version;

/// Metadata of a key: entry name to value.
pub type Metadata = BTreeMap<String, Vec<u8>>;

/// Collects the read-write set of one transaction.
#[derive(Clone, Debug, Default)]
pub(crate) struct RwSetBuilder {
    namespaces: BTreeMap<String, NamespaceSets>,
}

#[derive(Clone, Debug, Default)]
struct NamespaceSets {
    reads: BTreeMap<String, Option<Version>>,
    writes: BTreeMap<String, Vec<u8>>,
    metadata_writes: BTreeMap<String, Metadata>,
    range_queries: Vec<RangeQueryInfo>,
    collections: BTreeMap<String, CollectionSets>,
}

/// One collection's sets, keyed by plain key: Fabric sorts the hashed sets by it, too.
#[derive(Clone, Debug, Default)]
struct CollectionSets {
    reads: BTreeMap<String, Option<Version>>,
    writes: BTreeMap<String, PrivateWrite>,
    metadata_writes: BTreeMap<String, Metadata>,
}

#[derive(Clone, Debug)]
struct PrivateWrite {
    value: Vec<u8>,
    is_purge: bool,
}

impl RwSetBuilder {
    fn namespace(&mut self, namespace: &str) -> &mut NamespaceSets {
        self.namespaces.entry(namespace.to_owned()).or_default()
    }

    fn collection(&mut self, namespace: &str, collection: &str) -> &mut CollectionSets {
        self.namespace(namespace)
            .collections
            .entry(collection.to_owned())
            .or_default()
    }

    pub(crate) fn read(&mut self, namespace: &str, key: &str, version: Option<Version>) {
        let sets = self.namespace(namespace);
        sets.reads.insert(key.to_owned(), version);
    }

    /// Records a write; an empty value is a deletion.
    pub(crate) fn write(&mut self, namespace: &str, key: &str, value: Vec<u8>) {
        let sets = self.namespace(namespace);
        sets.writes.insert(key.to_owned(), value);
    }

    pub(crate) fn write_metadata(&mut self, namespace: &str, key: &str, metadata: Metadata) {
        let sets = self.namespace(namespace);
        sets.metadata_writes.insert(key.to_owned(), metadata);
    }

    /// Records a range query unless one over the same range is there already.
    pub(crate) fn range_query(&mut self, namespace: &str, query: RangeQueryInfo) {
        let queries = &mut self.namespace(namespace).range_queries;
        let known = queries.iter().any(|known| {
            known.start_key == query.start_key
                && known.end_key == query.end_key
                && known.itr_exhausted == query.itr_exhausted
        });
        if !known {
            queries.push(query);
        }
    }

    pub(crate) fn read_private(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
        version: Option<Version>,
    ) {
        let sets = self.collection(namespace, collection);
        sets.reads.insert(key.to_owned(), version);
    }

    pub(crate) fn write_private(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
        value: Vec<u8>,
    ) {
        let write = PrivateWrite {
            value,
            is_purge: false,
        };
        let sets = self.collection(namespace, collection);
        sets.writes.insert(key.to_owned(), write);
    }

    pub(crate) fn purge_private(&mut self, namespace: &str, collection: &str, key: &str) {
        let write = PrivateWrite {
            value: Vec::new(),
            is_purge: true,
        };
        let sets = self.collection(namespace, collection);
        sets.writes.insert(key.to_owned(), write);
    }

    pub(crate) fn write_private_metadata(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
        metadata: Metadata,
    ) {
        let sets = self.collection(namespace, collection);
        sets.metadata_writes.insert(key.to_owned(), metadata);
    }

    /// The public set, and the private one if anything private was written.
    pub(crate) fn build(self) -> (TxReadWriteSet, Option<TxPvtReadWriteSet>) {
        let mut public = TxReadWriteSet::default();
        let mut private = TxPvtReadWriteSet::default();
        for (namespace, sets) in self.namespaces {
            let mut hashed_sets = Vec::new();
            let mut private_sets = Vec::new();
            for (collection, sets) in sets.collections {
                let private_set = sets.private_set();
                let mut pvt_rwset_hash = Vec::new();
                if let Some(set) = &private_set {
                    let rwset = set.encode_to_vec();
                    pvt_rwset_hash = sha256(&rwset);
                    private_sets.push(CollectionPvtReadWriteSet {
                        collection_name: collection.clone(),
                        rwset,
                    });
                }
                hashed_sets.push(CollectionHashedReadWriteSet {
                    collection_name: collection,
                    hashed_rwset: sets.hashed_set().encode_to_vec(),
                    pvt_rwset_hash,
                });
            }
            let set = KvrwSet {
                reads: reads(sets.reads),
                range_queries_info: sets.range_queries,
                writes: sets.writes.into_iter().map(write).collect(),
                metadata_writes: metadata_writes(sets.metadata_writes),
            };
            if !private_sets.is_empty() {
                private.ns_pvt_rwset.push(NsPvtReadWriteSet {
                    namespace: namespace.clone(),
                    collection_pvt_rwset: private_sets,
                });
            }
            public.ns_rwset.push(NsReadWriteSet {
                namespace,
                rwset: set.encode_to_vec(),
                collection_hashed_rwset: hashed_sets,
            });
        }
        let private = (!private.ns_pvt_rwset.is_empty()).then_some(private);
        (public, private)
    }
}

impl CollectionSets {
    /// What only the members get; `None` when the transaction wrote nothing here. Of metadata
    /// writes it holds the plain keys alone, so that members can raise the version of the value.
    fn private_set(&self) -> Option<KvrwSet> {
        if self.writes.is_empty() && self.metadata_writes.is_empty() {
            return None;
        }
        let values = self.writes.iter();
        Some(KvrwSet {
            writes: values
                .map(|(key, private)| write((key.clone(), private.value.clone())))
                .collect(),
            metadata_writes: self
                .metadata_writes
                .keys()
                .map(|key| KvMetadataWrite {
                    key: key.clone(),
                    entries: Vec::new(),
                })
                .collect(),
            ..KvrwSet::default()
        })
    }

    fn hashed_set(self) -> HashedRwSet {
        HashedRwSet {
            hashed_reads: self
                .reads
                .into_iter()
                .map(|(key, version)| KvReadHash {
                    key_hash: sha256(key.as_bytes()),
                    version: version.map(Version::to_proto),
                })
                .collect(),
            hashed_writes: self.writes.into_iter().map(hashed_write).collect(),
            metadata_writes: self
                .metadata_writes
                .into_iter()
                .map(|(key, metadata)| KvMetadataWriteHash {
                    key_hash: sha256(key.as_bytes()),
                    entries: entries(metadata),
                })
                .collect(),
        }
    }
}

fn hashed_write((key, write): (String, PrivateWrite)) -> KvWriteHash {
    let is_delete = write.value.is_empty();
    KvWriteHash {
        key_hash: sha256(key.as_bytes()),
        is_delete,
        value_hash: if is_delete {
            Vec::new()
        } else {
            sha256(&write.value)
        },
        is_purge: write.is_purge,
    }
}

fn reads(reads: BTreeMap<String, Option<Version>>) -> Vec<KvRead> {
    reads
        .into_iter()
        .map(|(key, version)| KvRead {
            key,
            version: version.map(Version::to_proto),
        })
        .collect()
}

fn write((key, value): (String, Vec<u8>)) -> KvWrite {
    KvWrite {
        key,
        is_delete: value.is_empty(),
        value,
    }
}

fn metadata_writes(writes: BTreeMap<String, Metadata>) -> Vec<KvMetadataWrite> {
    writes
        .into_iter()
        .map(|(key, metadata)| KvMetadataWrite {
            key,
            entries: entries(metadata),
        })
        .collect()
}

fn entries(metadata: Metadata) -> Vec<KvMetadataEntry> {
    metadata
        .into_iter()
        .map(|(name, value)| KvMetadataEntry { name, value })
        .collect()
}

/// A public read-write set taken apart.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TxRwSet {
    pub(crate) namespaces: Vec<NamespaceRwSet>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NamespaceRwSet {
    pub(crate) namespace: String,
    pub(crate) public: KvrwSet,
    pub(crate) collections: Vec<CollectionRwSet>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CollectionRwSet {
    pub(crate) collection: String,
    pub(crate) hashed: HashedRwSet,
    /// SHA-256 of the private set; empty when nothing private was written.
    pub(crate) private_hash: Vec<u8>,
}

impl TxRwSet {
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, prost::DecodeError> {
        let set = TxReadWriteSet::decode(bytes)?;
        let namespaces = set.ns_rwset.into_iter().map(NamespaceRwSet::decode);
        Ok(Self {
            namespaces: namespaces.collect::<Result<_, _>>()?,
        })
    }

    /// The hash under which a collection's private set was promised.
    pub(crate) fn private_hash(&self, namespace: &str, collection: &str) -> Option<&[u8]> {
        self.collection(namespace, collection)
            .map(|set| set.private_hash.as_slice())
            .filter(|hash| !hash.is_empty())
    }

    pub(crate) fn collection(&self, namespace: &str, collection: &str) -> Option<&CollectionRwSet> {
        self.namespaces
            .iter()
            .filter(|set| set.namespace == namespace)
            .flat_map(|set| &set.collections)
            .find(|set| set.collection == collection)
    }

    pub(crate) fn has_private_writes(&self) -> bool {
        let mut collections = self.namespaces.iter().flat_map(|set| &set.collections);
        collections.any(|set| !set.private_hash.is_empty())
    }
}

impl NamespaceRwSet {
    fn decode(set: NsReadWriteSet) -> Result<Self, prost::DecodeError> {
        let collections = set.collection_hashed_rwset.into_iter().map(|set| {
            Ok(CollectionRwSet {
                hashed: HashedRwSet::decode(set.hashed_rwset.as_slice())?,
                collection: set.collection_name,
                private_hash: set.pvt_rwset_hash,
            })
        });
        Ok(Self {
            public: KvrwSet::decode(set.rwset.as_slice())?,
            collections: collections.collect::<Result<_, prost::DecodeError>>()?,
            namespace: set.namespace,
        })
    }

    /// Whether it writes anything, public, private or metadata.
    pub(crate) fn writes(&self) -> bool {
        !self.public.writes.is_empty()
            || !self.public.metadata_writes.is_empty()
            || self.collections.iter().any(|set| {
                !set.hashed.hashed_writes.is_empty() || !set.hashed.metadata_writes.is_empty()
            })
    }
}

/// Whether a public write deletes: flagged so, or empty.
pub(crate) fn is_delete(write: &KvWrite) -> bool {
    write.is_delete || write.value.is_empty()
}

/// Whether a hashed write deletes: flagged so, without hash, or with the hash of nothing.
pub(crate) fn is_hashed_delete(write: &KvWriteHash) -> bool {
    write.is_delete || write.value_hash.is_empty() || write.value_hash == sha256(b"")
}
