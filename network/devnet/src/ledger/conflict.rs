//! Whether what a transaction read is still true, and what its writes make of the state.
//!
//! Transactions are judged in block order against the committed state and the writes of the
//! valid ones before them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;

use fabric_protos::kvrwset::range_query_info::ReadsInfo;
use fabric_protos::kvrwset::{KvMetadataEntry, KvMetadataWrite, KvRead, RangeQueryInfo};
use fabric_protos::protos::TxValidationCode;
use prost::Message;

use super::endorsement::show_key;
use super::range_reads::{CollectedReads, RangeReads};
use super::rwset::{NamespaceRwSet, TxRwSet, is_delete, is_hashed_delete};
use super::state::{CollectionId, HashedValue, PublicValue, State, Update, UpdateBatch};
use super::transaction::{Rejection, reject};
use super::version::{DisplayVersion, Version};

/// Gathers the changes of one block.
#[derive(Debug)]
pub(crate) struct BlockUpdates<'s> {
    state: &'s State,
    height: u64,
    pub(crate) batch: UpdateBatch,
}

impl<'s> BlockUpdates<'s> {
    /// Starts with the state at `height`.
    pub(crate) fn new(state: &'s State, height: u64) -> Self {
        Self {
            state,
            height,
            batch: UpdateBatch::default(),
        }
    }

    /// Checks that everything the transaction read is as it read it.
    pub(crate) fn check_reads(&self, rwset: &TxRwSet) -> Result<(), Rejection> {
        for set in &rwset.namespaces {
            for read in &set.public.reads {
                self.check_read(&set.namespace, read)?;
            }
            for query in &set.public.range_queries_info {
                self.check_range(&set.namespace, query)?;
            }
            self.check_hashed_reads(set)?;
        }
        Ok(())
    }

    fn check_read(&self, namespace: &str, read: &KvRead) -> Result<(), Rejection> {
        let earlier = self.batch.public(namespace, &read.key);
        let committed = self.state.public(namespace, &read.key, self.height);
        compare(
            read.version.map(Version::from_proto),
            committed.map(|value| value.version),
            earlier.map(|update| update.version),
            || show_key(namespace, "", read.key.as_bytes()),
        )
    }

    fn check_hashed_reads(&self, set: &NamespaceRwSet) -> Result<(), Rejection> {
        for collection in &set.collections {
            let id = CollectionId::new(&set.namespace, &collection.collection);
            for read in &collection.hashed.hashed_reads {
                let earlier = self.batch.hashed(&id, &read.key_hash);
                let committed = self.state.hashed(&id, &read.key_hash, self.height);
                compare(
                    read.version.map(Version::from_proto),
                    committed.map(|value| value.version),
                    earlier.map(|update| update.version),
                    || show_key(&set.namespace, &collection.collection, &read.key_hash),
                )?;
            }
        }
        Ok(())
    }

    /// Runs the range query again over the state and the earlier writes of the block. A scan
    /// that was not read to its end covers up to and including the last key it returned.
    fn check_range(&self, namespace: &str, query: &RangeQueryInfo) -> Result<(), Rejection> {
        let mut seen = self.range(namespace, query);
        let changed = |key: Option<&str>| {
            let key = key.map_or_else(
                || "the end of the range".to_owned(),
                |key| show_key(namespace, "", key.as_bytes()),
            );
            reject(
                TxValidationCode::PhantomReadConflict,
                format!(
                    "range from {:?} to {:?} of chaincode {namespace} changed at {key}",
                    query.start_key, query.end_key
                ),
            )
        };
        match &query.reads_info {
            Some(ReadsInfo::ReadsMerkleHashes(summary)) => {
                let mut reads = RangeReads::new(summary.max_degree);
                for read in seen {
                    reads.add(read);
                    // Whatever the rest holds, a longer or higher tree than the one simulated
                    // cannot become equal to it again.
                    let so_far = reads.summary();
                    if so_far.max_level > summary.max_level {
                        return Err(changed(None));
                    }
                }
                if reads.finish() == CollectedReads::Summary(summary.clone()) {
                    Ok(())
                } else {
                    Err(changed(None))
                }
            }
            Some(ReadsInfo::RawReads(reads)) => {
                for expected in &reads.kv_reads {
                    let found = seen.next();
                    if found.as_ref() != Some(expected) {
                        return Err(changed(Some(&expected.key)));
                    }
                }
                seen.next()
                    .map_or(Ok(()), |extra| Err(changed(Some(&extra.key))))
            }
            None => seen
                .next()
                .map_or(Ok(()), |extra| Err(changed(Some(&extra.key)))),
        }
    }

    fn range<'a>(
        &'a self,
        namespace: &'a str,
        query: &'a RangeQueryInfo,
    ) -> impl Iterator<Item = KvRead> + 'a {
        let (start, end) = (query.start_key.as_str(), query.end_key.as_str());
        let includes_end = !query.itr_exhausted;
        let inside = move |key: &str| {
            let below = if includes_end { key <= end } else { key < end };
            key >= start && (end.is_empty() || below)
        };
        let committed = self
            .state
            .public_range(namespace, Bound::Included(start), "", self.height)
            .take_while(move |(key, _)| inside(key))
            .map(|(key, value)| (key.as_str(), Some(value.version)));
        let written = self.batch.public.get(namespace);
        let written = written
            .into_iter()
            .flat_map(move |keys| keys.range::<str, _>((Bound::Included(start), Bound::Unbounded)))
            .take_while(move |(key, _)| inside(key))
            .map(|(key, update)| {
                let version = update.value.as_ref().map(|_| update.version);
                (key.as_str(), version)
            });
        Merged {
            committed: committed.peekable(),
            written: written.peekable(),
        }
        .filter_map(|(key, version)| {
            Some(KvRead {
                key: key.to_owned(),
                version: Some(version?.to_proto()),
            })
        })
    }

    /// Adds the writes of a valid transaction.
    pub(crate) fn apply(&mut self, rwset: &TxRwSet, version: Version) {
        for set in &rwset.namespaces {
            self.apply_public(set, version);
            self.apply_hashed(set, version);
        }
    }

    fn apply_public(&mut self, set: &NamespaceRwSet, version: Version) {
        let namespace = &set.namespace;
        let mut changes: BTreeMap<&str, Change> = BTreeMap::new();
        for write in &set.public.writes {
            let change = changes.entry(&write.key).or_default();
            change.value = Some((!is_delete(write)).then(|| write.value.clone()));
            let place = (namespace.clone(), write.key.clone(), version);
            self.batch.history.push(place);
        }
        for write in &set.public.metadata_writes {
            let change = changes.entry(&write.key).or_default();
            change.metadata = Some(encode_metadata(&write.entries));
        }
        for (key, change) in changes {
            let earlier = self.batch.public(namespace, key);
            let current = match earlier {
                Some(update) => update.value.as_ref(),
                None => self.state.public(namespace, key, self.height),
            };
            let current = current.map(|value| (value.value.clone(), value.metadata.clone()));
            let Some(value) = change.resolve(current) else {
                continue;
            };
            let value = value.map(|(value, metadata)| PublicValue {
                value,
                metadata,
                version,
            });
            let keys = self.batch.public.entry(namespace.clone()).or_default();
            keys.insert(key.to_owned(), Update { value, version });
        }
    }

    fn apply_hashed(&mut self, set: &NamespaceRwSet, version: Version) {
        for collection in &set.collections {
            let id = CollectionId::new(&set.namespace, &collection.collection);
            let mut changes: BTreeMap<&[u8], Change> = BTreeMap::new();
            for write in &collection.hashed.hashed_writes {
                let change = changes.entry(&write.key_hash).or_default();
                change.value = Some((!is_hashed_delete(write)).then(|| write.value_hash.clone()));
            }
            for write in &collection.hashed.metadata_writes {
                let change = changes.entry(&write.key_hash).or_default();
                change.metadata = Some(encode_metadata(&write.entries));
            }
            for (key, change) in changes {
                let current = match self.batch.hashed(&id, key) {
                    Some(update) => update.value.as_ref(),
                    None => self.state.hashed(&id, key, self.height),
                };
                let current = current.map(|hash| (hash.value_hash.clone(), hash.metadata.clone()));
                let Some(value) = change.resolve(current) else {
                    continue;
                };
                let value = value.map(|(value_hash, metadata)| HashedValue {
                    value_hash,
                    metadata,
                    version,
                });
                let keys = self.batch.hashed.entry(id.clone());
                let keys = match keys {
                    Entry::Vacant(vacant) => vacant.insert(BTreeMap::new()),
                    Entry::Occupied(occupied) => occupied.into_mut(),
                };
                keys.insert(key.to_vec(), Update { value, version });
            }
        }
    }
}

/// What one transaction does to one key: outer `None` leaves it, inner `None` removes it.
#[derive(Default)]
struct Change {
    value: Option<Option<Vec<u8>>>,
    metadata: Option<Option<Vec<u8>>>,
}

/// A value with its marshalled metadata.
type Stored = (Vec<u8>, Option<Vec<u8>>);

impl Change {
    /// The new value with its metadata, `Some(None)` for a deletion, `None` for no change.
    /// A new value keeps the metadata, new metadata keeps the value, and metadata of a key that
    /// does not exist comes to nothing.
    fn resolve(self, current: Option<Stored>) -> Option<Option<Stored>> {
        match (self.value, self.metadata) {
            (Some(None), _) => Some(None),
            (Some(Some(value)), Some(metadata)) => Some(Some((value, metadata))),
            (Some(Some(value)), None) => {
                let metadata = current.and_then(|(_, metadata)| metadata);
                Some(Some((value, metadata)))
            }
            (None, Some(metadata)) => current.map(|(value, _)| Some((value, metadata))),
            (None, None) => None,
        }
    }
}

/// Metadata as the state keeps it; no entries remove it.
fn encode_metadata(entries: &[KvMetadataEntry]) -> Option<Vec<u8>> {
    if entries.is_empty() {
        return None;
    }
    let write = KvMetadataWrite {
        key: String::new(),
        entries: entries.to_vec(),
    };
    Some(write.encode_to_vec())
}

fn compare(
    read: Option<Version>,
    committed: Option<Version>,
    earlier: Option<Version>,
    key: impl Fn() -> String,
) -> Result<(), Rejection> {
    let conflict = |detail| reject(TxValidationCode::MvccReadConflict, detail);
    if let Some(earlier) = earlier {
        return Err(conflict(format!(
            "{} was changed by transaction {} of the same block",
            key(),
            earlier.tx
        )));
    }
    if read != committed {
        return Err(conflict(format!(
            "{} was read at version {}, its version is {}",
            key(),
            DisplayVersion(read),
            DisplayVersion(committed)
        )));
    }
    Ok(())
}

/// Two sorted runs as one; where both have a key the written one counts.
struct Merged<C: Iterator, W: Iterator> {
    committed: std::iter::Peekable<C>,
    written: std::iter::Peekable<W>,
}

impl<'k, C, W> Iterator for Merged<C, W>
where
    C: Iterator<Item = (&'k str, Option<Version>)>,
    W: Iterator<Item = (&'k str, Option<Version>)>,
{
    type Item = (&'k str, Option<Version>);

    fn next(&mut self) -> Option<Self::Item> {
        match (self.committed.peek(), self.written.peek()) {
            (Some((committed, _)), Some((written, _))) => {
                if committed < written {
                    return self.committed.next();
                }
                if committed == written {
                    self.committed.next();
                }
                self.written.next()
            }
            (Some(_), None) => self.committed.next(),
            (None, _) => self.written.next(),
        }
    }
}
