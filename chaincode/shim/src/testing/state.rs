//! The committed state: public values, hashes of private ones, private values, history.

use std::{collections::BTreeMap, ops::Bound};

use aws_lc_rs::digest::{SHA256, digest};

use super::Version;
use crate::stub::KeyModification;

/// Metadata of a key, by name.
pub(super) type Metadata = BTreeMap<String, Vec<u8>>;

/// A value, or the hash of a private value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) value: Vec<u8>,
    pub(super) metadata: Metadata,
    pub(super) version: Version,
}

type Collection = (String, String);

/// Everything that is committed.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) height: u64,
    pub(super) public: BTreeMap<String, BTreeMap<String, Entry>>,
    pub(super) hashed: BTreeMap<Collection, BTreeMap<Vec<u8>, Entry>>,
    pub(super) private: BTreeMap<Collection, BTreeMap<String, Entry>>,
    pub(super) history: BTreeMap<(String, String), Vec<KeyModification>>,
}

impl State {
    /// The state of a channel that has its first block, the configuration.
    pub(super) fn new() -> Self {
        Self {
            height: 1,
            ..Self::default()
        }
    }

    pub(super) fn get(&self, namespace: &str, key: &str) -> Option<&Entry> {
        self.public.get(namespace)?.get(key)
    }

    pub(super) fn get_private(
        &self,
        namespace: &str,
        collection: &str,
        key: &str,
    ) -> Option<&Entry> {
        self.private.get(&place(namespace, collection))?.get(key)
    }

    pub(super) fn get_hash(
        &self,
        namespace: &str,
        collection: &str,
        key_hash: &[u8],
    ) -> Option<&Entry> {
        self.hashed
            .get(&place(namespace, collection))?
            .get(key_hash)
    }

    pub(super) fn remove_private(&mut self, namespace: &str, collection: &str, key: &str) {
        if let Some(values) = self.private.get_mut(&place(namespace, collection)) {
            values.remove(key);
        }
    }

    /// Entries from `start` up to but not including `end`; an empty end is open.
    pub(super) fn range(
        &self,
        namespace: &str,
        start: &str,
        end: &str,
    ) -> impl Iterator<Item = (&String, &Entry)> {
        in_range(self.public.get(namespace), start, end)
    }

    pub(super) fn range_private(
        &self,
        namespace: &str,
        collection: &str,
        start: &str,
        end: &str,
    ) -> impl Iterator<Item = (&String, &Entry)> {
        in_range(self.private.get(&place(namespace, collection)), start, end)
    }
}

fn in_range<'m>(
    map: Option<&'m BTreeMap<String, Entry>>,
    start: &str,
    end: &str,
) -> impl Iterator<Item = (&'m String, &'m Entry)> + use<'m> {
    let upper = if end.is_empty() {
        Bound::Unbounded
    } else {
        Bound::Excluded(end)
    };
    // The map panics on a range that ends before it starts.
    let empty = !end.is_empty() && end <= start;
    map.filter(|_| !empty)
        .map(|map| map.range::<str, _>((Bound::Included(start), upper)))
        .into_iter()
        .flatten()
}

pub(super) fn place(namespace: &str, collection: &str) -> Collection {
    (namespace.to_owned(), collection.to_owned())
}

pub(super) fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA256, bytes).as_ref().to_vec()
}
