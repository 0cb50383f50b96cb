//! How long private values stay: where their bytes are, when they expire, what to erase.

use std::collections::{BTreeMap, BTreeSet};

use super::hash::sha256;
use super::private::ErasedKey;
use super::rwset::TxRwSet;
use super::state::{CollectionId, PrivateValue, State, Update, UpdateBatch};
use super::version::Version;

/// Bookkeeping over the private keys of a channel.
#[derive(Debug, Default)]
pub(crate) struct Retention {
    /// Plain names of private keys by hash: purge and expiry know hashes only.
    names: BTreeMap<ErasedKey, String>,
    /// Places in the log that hold something of the key.
    holders: BTreeMap<ErasedKey, BTreeSet<Version>>,
    /// Block at whose commit a value expires, with key and place of the value.
    expiring: BTreeMap<u64, Vec<(ErasedKey, Version)>>,
    /// Places to be erased.
    pending: BTreeSet<(ErasedKey, Version)>,
}

impl Retention {
    /// Notes a private key and its place.
    pub(crate) fn hold(&mut self, id: &CollectionId, key: &str, place: Version) {
        let erased = ErasedKey {
            id: id.clone(),
            key_hash: sha256(key.as_bytes()),
        };
        self.names.insert(erased.clone(), key.to_owned());
        self.holders.entry(erased).or_default().insert(place);
    }

    /// Notes the place of a key that has been erased there, or was being erased, and whose name
    /// is therefore not known.
    pub(crate) fn held_once(&mut self, erased: &ErasedKey, place: Version) {
        self.holders
            .entry(erased.clone())
            .or_default()
            .insert(place);
    }

    /// Notes when what a transaction wrote expires; `blocks_to_live` says for a collection.
    pub(crate) fn schedule(
        &mut self,
        rwset: &TxRwSet,
        place: Version,
        blocks_to_live: impl Fn(&CollectionId) -> u64,
    ) {
        for set in &rwset.namespaces {
            for collection in &set.collections {
                let id = CollectionId::new(&set.namespace, &collection.collection);
                let writes = collection.hashed.hashed_writes.iter();
                let writes = writes.map(|write| &write.key_hash);
                let metadata = collection.hashed.metadata_writes.iter();
                let mut written = writes
                    .chain(metadata.map(|write| &write.key_hash))
                    .peekable();
                if written.peek().is_none() {
                    continue;
                }
                let blocks = blocks_to_live(&id);
                let Some(last) = place.block.checked_add(blocks).filter(|_| blocks > 0) else {
                    continue;
                };
                let expiring = self.expiring.entry(last.saturating_add(1)).or_default();
                expiring.extend(written.map(|key_hash| {
                    let erased = ErasedKey {
                        id: id.clone(),
                        key_hash: key_hash.clone(),
                    };
                    (erased, place)
                }));
            }
        }
    }

    /// Turns the purges of a valid transaction into deletions and erasures.
    pub(crate) fn purge(&mut self, rwset: &TxRwSet, place: Version, batch: &mut UpdateBatch) {
        for set in &rwset.namespaces {
            for collection in &set.collections {
                let id = CollectionId::new(&set.namespace, &collection.collection);
                let writes = collection.hashed.hashed_writes.iter();
                for write in writes.filter(|write| write.is_purge) {
                    let erased = ErasedKey {
                        id: id.clone(),
                        key_hash: write.key_hash.clone(),
                    };
                    self.delete_value(&erased, place, batch);
                    let holders = self.holders.get(&erased).into_iter().flatten();
                    let earlier = holders.filter(|holder| **holder < place);
                    self.pending
                        .extend(earlier.map(|holder| (erased.clone(), *holder)));
                }
            }
        }
    }

    /// Deletes the private value of a key unless this block writes it anew after `place`.
    fn delete_value(&self, erased: &ErasedKey, place: Version, batch: &mut UpdateBatch) {
        let Some(name) = self.names.get(erased) else {
            return;
        };
        let keys = batch.private.entry(erased.id.clone()).or_default();
        let later = keys.get(name).is_some_and(|update| update.version > place);
        if !later {
            let deletion = Update {
                value: None,
                version: place,
            };
            keys.insert(name.clone(), deletion);
        }
    }

    /// Adds to the changes of block `number` what expires with it, and notes the erasures. Keys
    /// written since, or by this block, live on; their old values do not.
    pub(crate) fn expire(&mut self, number: u64, state: &State, batch: &mut UpdateBatch) {
        for (erased, place) in self.expiring.remove(&number).unwrap_or_default() {
            self.pending.insert((erased.clone(), place));
            let written = batch.hashed(&erased.id, &erased.key_hash).is_some();
            let current = state.hashed(&erased.id, &erased.key_hash, number);
            if written || current.is_none_or(|hash| hash.version != place) {
                continue;
            }
            let end = Version::new(number, u64::MAX);
            let hashed = batch.hashed.entry(erased.id.clone()).or_default();
            hashed.insert(
                erased.key_hash.clone(),
                Update {
                    value: None,
                    version: end,
                },
            );
            self.delete_value(&erased, end, batch);
        }
    }

    /// The places to be erased for which `may` holds; the rest waits.
    pub(crate) fn take_pending(
        &mut self,
        may: impl Fn(Version) -> bool,
    ) -> Vec<(ErasedKey, Version)> {
        let pending = std::mem::take(&mut self.pending);
        let (ready, waiting) = pending.into_iter().partition(|(_, place)| may(*place));
        self.pending = waiting;
        ready
            .into_iter()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }

    /// Whether the key at the place is to be erased.
    pub(crate) fn is_pending(&self, erased: &ErasedKey, place: Version) -> bool {
        self.pending.contains(&(erased.clone(), place))
    }

    /// Forgets that the place holds the key.
    pub(crate) fn erased(&mut self, erased: &ErasedKey, place: Version) {
        if let Some(holders) = self.holders.get_mut(erased) {
            holders.remove(&place);
            if holders.is_empty() {
                self.holders.remove(erased);
                self.names.remove(erased);
            }
        }
    }
}

/// Raises the version of private values whose metadata alone the block changed, so that they go
/// on matching their hashes.
pub(crate) fn follow_metadata(
    keys: impl Iterator<Item = (CollectionId, String)>,
    number: u64,
    state: &State,
    batch: &mut UpdateBatch,
) {
    for (id, key) in keys {
        let hash = batch.hashed(&id, &sha256(key.as_bytes()));
        let Some(hash) = hash.and_then(|update| update.value.clone()) else {
            continue;
        };
        let written = batch.private.get(&id).and_then(|keys| keys.get(&key));
        let current = match written {
            Some(update) => update.value.as_ref(),
            None => state.private(&id, &key, number),
        };
        let Some(current) = current.cloned() else {
            continue;
        };
        if current.version == hash.version || sha256(&current.value) != hash.value_hash {
            continue;
        }
        let value = PrivateValue {
            value: current.value,
            version: hash.version,
        };
        let update = Update {
            value: Some(value),
            version: hash.version,
        };
        batch.private.entry(id).or_default().insert(key, update);
    }
}
