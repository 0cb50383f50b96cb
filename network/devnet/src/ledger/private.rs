//! Private writes in the block log: what members keep of a block, and erasing from it.
//!
//! The private part of a record is a `PrivatePart` message: for each transaction index the
//! `TxPvtReadWriteSet` its endorsers produced. Erasing a key overwrites name and value with
//! zeros of the same length, so that nothing else in the file moves.

use std::collections::{BTreeMap, BTreeSet};

use fabric_protos::kvrwset::KvrwSet;
use fabric_protos::rwset::TxPvtReadWriteSet;
use prost::Message;

use super::hash::sha256;
use super::rwset::{CollectionRwSet, TxRwSet, is_hashed_delete};
use super::state::CollectionId;

/// The private part of one record.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PrivatePart {
    #[prost(message, repeated, tag = "1")]
    pub(crate) transactions: Vec<PrivateTransaction>,
}

/// The private writes of one transaction.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PrivateTransaction {
    /// Index in the block.
    #[prost(uint64, tag = "1")]
    pub(crate) index: u64,
    #[prost(message, optional, tag = "2")]
    pub(crate) sets: Option<TxPvtReadWriteSet>,
}

/// A key, or what was one, in the private part.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ErasedKey {
    pub(crate) id: CollectionId,
    pub(crate) key_hash: Vec<u8>,
}

/// Keeps of the transient sets what the public set promises: collections whose hash matches.
/// Anything else an endorser may have put aside is not this transaction's.
pub(crate) fn promised(sets: TxPvtReadWriteSet, public: &TxRwSet) -> Option<TxPvtReadWriteSet> {
    let mut kept = sets;
    for namespace in &mut kept.ns_pvt_rwset {
        let name = &namespace.namespace;
        namespace.collection_pvt_rwset.retain(|set| {
            let promised = public.private_hash(name, &set.collection_name);
            promised.is_some_and(|hash| hash == sha256(&set.rwset))
        });
    }
    kept.ns_pvt_rwset
        .retain(|namespace| !namespace.collection_pvt_rwset.is_empty());
    (!kept.ns_pvt_rwset.is_empty()).then_some(kept)
}

/// Whether a key in the private part has been erased.
pub(crate) fn is_erased(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte == 0)
}

/// The sets without what has been erased; `None` when nothing is left.
pub(crate) fn without_erased(mut sets: TxPvtReadWriteSet) -> Option<TxPvtReadWriteSet> {
    for namespace in &mut sets.ns_pvt_rwset {
        namespace.collection_pvt_rwset.retain_mut(|collection| {
            let Ok(mut set) = KvrwSet::decode(collection.rwset.as_slice()) else {
                return false;
            };
            let before = set.writes.len() + set.metadata_writes.len();
            set.writes.retain(|write| !is_erased(&write.key));
            set.metadata_writes.retain(|write| !is_erased(&write.key));
            let after = set.writes.len() + set.metadata_writes.len();
            if after < before {
                collection.rwset = set.encode_to_vec();
            }
            after > 0
        });
    }
    sets.ns_pvt_rwset
        .retain(|namespace| !namespace.collection_pvt_rwset.is_empty());
    (!sets.ns_pvt_rwset.is_empty()).then_some(sets)
}

/// Zeroes the key and its value in the private part, in the transaction with the index. Says
/// whether anything changed.
pub(crate) fn erase(part: &mut PrivatePart, index: u64, erased: &ErasedKey) -> bool {
    let mut changed = false;
    let transactions = part.transactions.iter_mut();
    for transaction in transactions.filter(|transaction| transaction.index == index) {
        let Some(sets) = &mut transaction.sets else {
            continue;
        };
        let namespaces = sets.ns_pvt_rwset.iter_mut();
        let collections = namespaces
            .filter(|set| set.namespace == erased.id.namespace)
            .flat_map(|set| &mut set.collection_pvt_rwset)
            .filter(|set| set.collection_name == erased.id.collection);
        for collection in collections {
            let Ok(mut set) = KvrwSet::decode(collection.rwset.as_slice()) else {
                continue;
            };
            for write in &mut set.writes {
                if sha256(write.key.as_bytes()) == erased.key_hash {
                    write.key = "\0".repeat(write.key.len());
                    write.value.fill(0);
                    changed = true;
                }
            }
            for write in &mut set.metadata_writes {
                if sha256(write.key.as_bytes()) == erased.key_hash {
                    write.key = "\0".repeat(write.key.len());
                    changed = true;
                }
            }
            if changed {
                collection.rwset = set.encode_to_vec();
            }
        }
    }
    changed
}

/// The keys of the collection in the private part that neither are as the block promises nor
/// erased whole. Empty when the part is fine; these must turn out to be erased by a later block.
pub(crate) fn unaccounted(
    sets: &TxPvtReadWriteSet,
    public: &TxRwSet,
) -> Result<BTreeSet<ErasedKey>, &'static str> {
    let mut missing = BTreeSet::new();
    for namespace in &sets.ns_pvt_rwset {
        for collection in &namespace.collection_pvt_rwset {
            let name = &collection.collection_name;
            let Some(promised) = public.collection(&namespace.namespace, name) else {
                return Err("private part holds a collection the block does not");
            };
            if sha256(&collection.rwset) == promised.private_hash {
                continue;
            }
            let id = CollectionId::new(&namespace.namespace, name);
            missing.extend(
                unaccounted_keys(&collection.rwset, promised).map(|key_hash| ErasedKey {
                    id: id.clone(),
                    key_hash,
                }),
            );
        }
    }
    Ok(missing)
}

/// Hashes of the keys the block promises and the set does not hold with the right value.
fn unaccounted_keys(rwset: &[u8], promised: &CollectionRwSet) -> impl Iterator<Item = Vec<u8>> {
    let set = KvrwSet::decode(rwset).unwrap_or_default();
    let held: BTreeMap<Vec<u8>, Vec<u8>> = set
        .writes
        .iter()
        .filter(|write| !is_erased(&write.key))
        .map(|write| (sha256(write.key.as_bytes()), sha256(&write.value)))
        .collect();
    let writes = promised.hashed.hashed_writes.clone().into_iter();
    writes
        .filter(move |write| match held.get(&write.key_hash) {
            Some(value_hash) => !is_hashed_delete(write) && *value_hash != write.value_hash,
            None => true,
        })
        .map(|write| write.key_hash)
}

#[cfg(test)]
mod tests {
    use super::super::rwset::RwSetBuilder;
    use super::*;

    fn sets() -> (TxRwSet, TxPvtReadWriteSet) {
        let mut builder = RwSetBuilder::default();
        builder.write_private("cc", "c", "k1", b"secret one".to_vec());
        builder.write_private("cc", "c", "k2", b"secret two".to_vec());
        builder.write_private("cc", "d", "k1", b"elsewhere".to_vec());
        let (public, private) = builder.build();
        let public = TxRwSet::decode(&public.encode_to_vec()).unwrap();
        (public, private.unwrap())
    }

    fn key(collection: &str, key: &str) -> ErasedKey {
        ErasedKey {
            id: CollectionId::new("cc", collection),
            key_hash: sha256(key.as_bytes()),
        }
    }

    fn part(sets: TxPvtReadWriteSet) -> PrivatePart {
        PrivatePart {
            transactions: vec![PrivateTransaction {
                index: 3,
                sets: Some(sets),
            }],
        }
    }

    fn contains(bytes: &[u8], text: &str) -> bool {
        bytes
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    }

    #[test]
    fn erasing_leaves_the_length_and_everything_else() {
        let (public, private) = sets();
        let mut part = part(private);
        let before = part.encode_to_vec();
        assert!(erase(&mut part, 3, &key("c", "k1")));
        let after = part.encode_to_vec();
        assert_eq!(after.len(), before.len());
        assert!(contains(&before, "secret one") && !contains(&after, "secret one"));
        assert!(contains(&after, "secret two") && contains(&after, "elsewhere"));
        let sets = part.transactions[0].sets.as_ref().unwrap();
        let missing = unaccounted(sets, &public).unwrap();
        assert_eq!(missing, BTreeSet::from([key("c", "k1")]));
    }

    #[test]
    fn erasing_needs_the_right_transaction_and_key() {
        let (_, private) = sets();
        let mut part = part(private);
        assert!(!erase(&mut part, 2, &key("c", "k1")));
        assert!(!erase(&mut part, 3, &key("c", "k3")));
        assert!(!erase(&mut part, 3, &key("e", "k1")));
    }

    #[test]
    fn only_what_the_block_promises_is_kept() {
        let (public, private) = sets();
        assert_eq!(promised(private.clone(), &public), Some(private.clone()));
        let mut forged = private;
        forged.ns_pvt_rwset[0].collection_pvt_rwset[0].rwset.push(0);
        let kept = promised(forged, &public).unwrap();
        let collections = &kept.ns_pvt_rwset[0].collection_pvt_rwset;
        assert_eq!(collections.len(), 1);
        assert_eq!(collections[0].collection_name, "d");
        assert_eq!(promised(kept, &TxRwSet::default()), None);
    }
}
