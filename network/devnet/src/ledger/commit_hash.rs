//! The commit hash: what a block did to the state, chained from block to block.

use prost::Message;
use prost::encoding::encode_varint;

use super::hash::sha256;
use super::state::UpdateBatch;
use super::version::Version;

/// Fabric's message over the changes of a block; it is hashed and never sent.
#[derive(Clone, PartialEq, Message)]
struct Updates {
    #[prost(message, repeated, tag = "1")]
    writes: Vec<HashedWrite>,
}

#[derive(Clone, PartialEq, Message)]
struct HashedWrite {
    /// Only in the first entry of a namespace.
    #[prost(string, tag = "1")]
    namespace: String,
    /// Only in the first entry of a collection.
    #[prost(string, tag = "2")]
    collection: String,
    #[prost(bytes = "vec", tag = "3")]
    key: Vec<u8>,
    #[prost(bool, tag = "4")]
    is_delete: bool,
    #[prost(bytes = "vec", tag = "5")]
    value: Vec<u8>,
    #[prost(bytes = "vec", tag = "6")]
    version: Vec<u8>,
}

/// The commit hash of a block: of its validation codes, the public and hashed changes it makes,
/// and the commit hash before it. Expiry is no part of it.
pub(crate) fn commit_hash(filter: &[u8], batch: &UpdateBatch, previous: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_varint(filter.len() as u64, &mut bytes);
    bytes.extend_from_slice(filter);
    bytes.extend(update_bytes(batch));
    bytes.extend_from_slice(previous);
    sha256(&bytes)
}

/// The changes in a form that depends on nothing but them: namespaces in order, in each the
/// public keys in order and then the collections. The namespace without name, which holds the
/// channel configuration, is left out.
pub(crate) fn update_bytes(batch: &UpdateBatch) -> Vec<u8> {
    let mut namespaces: Vec<&str> = batch.public.keys().map(String::as_str).collect();
    namespaces.extend(batch.hashed.keys().map(|id| id.namespace.as_str()));
    namespaces.sort_unstable();
    namespaces.dedup();
    let mut updates = Updates::default();
    for namespace in namespaces.into_iter().filter(|name| !name.is_empty()) {
        let first = updates.writes.len();
        for (key, update) in batch.public.get(namespace).into_iter().flatten() {
            let value = update.value.as_ref().map(|value| &value.value);
            updates
                .writes
                .push(hashed_write(key.as_bytes(), value, update.version));
        }
        let collections = batch.hashed.iter();
        for (id, keys) in collections.filter(|(id, _)| id.namespace == namespace) {
            let first = updates.writes.len();
            for (key, update) in keys {
                let value = update.value.as_ref().map(|value| &value.value_hash);
                updates
                    .writes
                    .push(hashed_write(key, value, update.version));
            }
            if let Some(write) = updates.writes.get_mut(first) {
                write.collection.clone_from(&id.collection);
            }
        }
        if let Some(write) = updates.writes.get_mut(first) {
            namespace.clone_into(&mut write.namespace);
        }
    }
    updates.encode_to_vec()
}

fn hashed_write(key: &[u8], value: Option<&Vec<u8>>, version: Version) -> HashedWrite {
    HashedWrite {
        key: key.to_vec(),
        is_delete: value.is_none(),
        value: value.cloned().unwrap_or_default(),
        version: version.ordered_bytes(),
        ..HashedWrite::default()
    }
}
