//! The world state: public values, hashes of private values, private values, history.
//!
//! All virtual peers of the process share it. It is held in memory and rebuilt from the block
//! log at start. Simulations read it at the height at which they began while commits go on.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use super::version::Version;
use super::versioned_map::VersionedMap;

/// A committed public value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublicValue {
    pub(crate) value: Vec<u8>,
    /// Marshalled `KVMetadataWrite` without key, as Fabric stores metadata.
    pub(crate) metadata: Option<Vec<u8>>,
    pub(crate) version: Version,
}

/// A committed hash of a private value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HashedValue {
    pub(crate) value_hash: Vec<u8>,
    pub(crate) metadata: Option<Vec<u8>>,
    pub(crate) version: Version,
}

/// A committed private value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PrivateValue {
    pub(crate) value: Vec<u8>,
    pub(crate) version: Version,
}

/// What a block makes of one key: a new value or, with `None`, its deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Update<V> {
    pub(crate) value: Option<V>,
    pub(crate) version: Version,
}

/// Namespace and collection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CollectionId {
    pub(crate) namespace: String,
    pub(crate) collection: String,
}

impl CollectionId {
    pub(crate) fn new(namespace: impl Into<String>, collection: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            collection: collection.into(),
        }
    }
}

/// Changes to hashed keys, by key hash.
pub(crate) type HashedUpdates = BTreeMap<Vec<u8>, Update<HashedValue>>;

/// Everything one block changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UpdateBatch {
    pub(crate) public: BTreeMap<String, BTreeMap<String, Update<PublicValue>>>,
    pub(crate) hashed: BTreeMap<CollectionId, HashedUpdates>,
    pub(crate) private: BTreeMap<CollectionId, BTreeMap<String, Update<PrivateValue>>>,
    /// Public writes of valid transactions in block order: namespace, key, place.
    pub(crate) history: Vec<(String, String, Version)>,
}

impl UpdateBatch {
    pub(crate) fn public(&self, namespace: &str, key: &str) -> Option<&Update<PublicValue>> {
        self.public.get(namespace)?.get(key)
    }

    pub(crate) fn hashed(&self, id: &CollectionId, key: &[u8]) -> Option<&Update<HashedValue>> {
        self.hashed.get(id)?.get(key)
    }
}

#[derive(Debug, Default)]
struct Collection {
    hashed: VersionedMap<Vec<u8>, HashedValue>,
    private: VersionedMap<String, PrivateValue>,
}

/// A key some older value of which waits for its last reader.
#[derive(Debug)]
enum Stale {
    Public(String, String),
    Hashed(CollectionId, Vec<u8>),
    Private(CollectionId, String),
}

/// The world state; see the module.
#[derive(Debug, Default)]
pub(crate) struct State {
    public: BTreeMap<String, VersionedMap<String, PublicValue>>,
    collections: BTreeMap<CollectionId, Collection>,
    history: BTreeMap<String, BTreeMap<String, Vec<Version>>>,
    stale: VecDeque<(u64, Stale)>,
}

impl State {
    pub(crate) fn public(&self, namespace: &str, key: &str, height: u64) -> Option<&PublicValue> {
        self.public.get(namespace)?.get(key, height)
    }

    pub(crate) fn hashed(
        &self,
        id: &CollectionId,
        key_hash: &[u8],
        height: u64,
    ) -> Option<&HashedValue> {
        self.collections.get(id)?.hashed.get(key_hash, height)
    }

    pub(crate) fn private(
        &self,
        id: &CollectionId,
        key: &str,
        height: u64,
    ) -> Option<&PrivateValue> {
        self.collections.get(id)?.private.get(key, height)
    }

    /// Public keys in order from `start` up to but without `end` (an empty `end` is none).
    pub(crate) fn public_range<'a>(
        &'a self,
        namespace: &str,
        start: Bound<&'a str>,
        end: &'a str,
        height: u64,
    ) -> impl Iterator<Item = (&'a String, &'a PublicValue)> + use<'a> {
        let bounds = bounds(start, end);
        self.public
            .get(namespace)
            .zip(bounds)
            .into_iter()
            .flat_map(move |(map, bounds)| map.range::<str>(bounds, height))
    }

    /// Private keys in order from `start` up to but without `end` (an empty `end` is none).
    pub(crate) fn private_range<'a>(
        &'a self,
        id: &CollectionId,
        start: Bound<&'a str>,
        end: &'a str,
        height: u64,
    ) -> impl Iterator<Item = (&'a String, &'a PrivateValue)> + use<'a> {
        let bounds = bounds(start, end);
        self.collections
            .get(id)
            .zip(bounds)
            .into_iter()
            .flat_map(move |(collection, bounds)| collection.private.range::<str>(bounds, height))
    }

    /// Places of the valid transactions below `height` that wrote the key, oldest first.
    pub(crate) fn history(&self, namespace: &str, key: &str, height: u64) -> Vec<Version> {
        let places = self
            .history
            .get(namespace)
            .and_then(|keys| keys.get(key))
            .map(Vec::as_slice)
            .unwrap_or_default();
        let end = places.partition_point(|place| place.block < height);
        places[..end].to_vec()
    }

    /// Takes over the changes of `block`. No reader below `oldest_height` exists any more.
    pub(crate) fn apply(&mut self, block: u64, batch: UpdateBatch, oldest_height: u64) {
        for (namespace, keys) in batch.public {
            let map = self.public.entry(namespace.clone()).or_default();
            for (key, update) in keys {
                map.put(key.clone(), block, update.value);
                let stale = Stale::Public(namespace.clone(), key);
                self.stale.push_back((block, stale));
            }
        }
        for (id, keys) in batch.hashed {
            let map = &mut self.collections.entry(id.clone()).or_default().hashed;
            for (key, update) in keys {
                map.put(key.clone(), block, update.value);
                self.stale
                    .push_back((block, Stale::Hashed(id.clone(), key)));
            }
        }
        for (id, keys) in batch.private {
            let map = &mut self.collections.entry(id.clone()).or_default().private;
            for (key, update) in keys {
                map.put(key.clone(), block, update.value);
                self.stale
                    .push_back((block, Stale::Private(id.clone(), key)));
            }
        }
        for (namespace, key, place) in batch.history {
            let keys = self.history.entry(namespace).or_default();
            keys.entry(key).or_default().push(place);
        }
        self.prune(oldest_height);
    }

    fn prune(&mut self, oldest_height: u64) {
        while let Some((block, _)) = self.stale.front()
            && *block < oldest_height
            && let Some((_, stale)) = self.stale.pop_front()
        {
            match stale {
                Stale::Public(namespace, key) => {
                    if let Some(map) = self.public.get_mut(&namespace) {
                        map.prune(key.as_str(), oldest_height);
                    }
                }
                Stale::Hashed(id, key) => {
                    if let Some(collection) = self.collections.get_mut(&id) {
                        collection.hashed.prune(key.as_slice(), oldest_height);
                    }
                }
                Stale::Private(id, key) => {
                    if let Some(collection) = self.collections.get_mut(&id) {
                        collection.private.prune(key.as_str(), oldest_height);
                    }
                }
            }
        }
    }

    /// Everything a reader at `height` sees, as lines; equal states give equal lines.
    #[cfg(test)]
    pub(crate) fn dump(&self, height: u64) -> Vec<String> {
        let mut lines = Vec::new();
        for (namespace, map) in &self.public {
            for (key, value) in map.range::<str>((Bound::Unbounded, Bound::Unbounded), height) {
                lines.push(format!("public {namespace} {key:?} {value:?}"));
            }
        }
        for (id, collection) in &self.collections {
            let all = (Bound::Unbounded, Bound::Unbounded);
            for (key, value) in collection.hashed.range::<[u8]>(all, height) {
                lines.push(format!("hashed {id:?} {key:?} {value:?}"));
            }
            let all = (Bound::Unbounded, Bound::Unbounded);
            for (key, value) in collection.private.range::<str>(all, height) {
                lines.push(format!("private {id:?} {key:?} {value:?}"));
            }
        }
        for (namespace, keys) in &self.history {
            for (key, places) in keys {
                lines.push(format!("history {namespace} {key:?} {places:?}"));
            }
        }
        lines
    }
}

/// The bounds of a scan, or `None` when it is empty by its bounds alone.
fn bounds<'k>(start: Bound<&'k str>, end: &'k str) -> Option<(Bound<&'k str>, Bound<&'k str>)> {
    if end.is_empty() {
        return Some((start, Bound::Unbounded));
    }
    let empty = match start {
        Bound::Included(start) | Bound::Excluded(start) => start >= end,
        Bound::Unbounded => false,
    };
    (!empty).then_some((start, Bound::Excluded(end)))
}
