//! Blocks that become visible and durable together.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    sync::{Arc, PoisonError, atomic::Ordering},
};

use cid::Cid;

use super::{PinMode, Store, sync_files};
use crate::{
    StoreError,
    block::{self, Digest},
};

/// Blocks written aside until [`Batch::commit`]; dropped without it, they leave no trace.
#[derive(Debug)]
pub(crate) struct Batch {
    store: Arc<Store>,
    staged: BTreeMap<Digest, PathBuf>,
}

impl Batch {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self {
            store,
            staged: BTreeMap::new(),
        }
    }

    /// Number of different blocks so far.
    pub(crate) fn len(&self) -> usize {
        self.staged.len()
    }

    /// Writes a block aside after checking its hash.
    pub(crate) fn put(&mut self, cid: &Cid, bytes: &[u8]) -> Result<(), StoreError> {
        block::verify(cid, bytes)?;
        self.put_hashed(cid, bytes)
    }

    /// Writes a block aside whose CID was just made from its bytes. A block that the store has
    /// already is written again: its file may be damaged, or garbage that is about to go.
    pub(crate) fn put_hashed(&mut self, cid: &Cid, bytes: &[u8]) -> Result<(), StoreError> {
        if block::inline_block(cid).is_some() {
            return Ok(());
        }
        let digest = block::digest_of(cid)?;
        if self.staged.contains_key(&digest) {
            return Ok(());
        }
        let path = self.store.staged_path();
        // Known before it is written, so that dropping the batch removes a half-written file.
        self.staged.insert(digest, path.clone());
        fs::write(&path, bytes).map_err(StoreError::io(path))
    }

    /// Makes the blocks durable and visible, then pins the given roots, whose trees the caller
    /// knows to be complete. When this returns, all of it survives the process and the power.
    pub(crate) fn commit(mut self, pins: &[(Cid, PinMode)]) -> Result<(), StoreError> {
        let store = Arc::clone(&self.store);
        // The lock guards no data of its own, so a panic elsewhere cannot have damaged any.
        let _not_collecting = store.gc.read().unwrap_or_else(PoisonError::into_inner);
        self.publish()?;
        store.write_pins(pins)
    }

    /// Like [`Batch::commit`], then pins each root recursively on its own and reports how that
    /// went: a root's tree may be incomplete.
    pub(crate) fn commit_and_try_roots(
        mut self,
        roots: &[Cid],
    ) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        let store = Arc::clone(&self.store);
        let _not_collecting = store.gc.read().unwrap_or_else(PoisonError::into_inner);
        self.publish()?;
        let checked: Vec<_> = roots.iter().map(|root| store.check_tree(root)).collect();
        let complete = roots
            .iter()
            .zip(&checked)
            .filter(|(_, checked)| checked.is_ok());
        let pins: Vec<_> = complete
            .map(|(root, _)| (*root, PinMode::recursive("")))
            .collect();
        store.write_pins(&pins)?;
        Ok(checked)
    }

    fn publish(&mut self) -> Result<(), StoreError> {
        let staged: Vec<_> = self.staged.values().map(PathBuf::as_path).collect();
        sync_files(&staged)?;
        let mut folders = BTreeSet::new();
        while let Some((digest, staged)) = self.staged.first_key_value() {
            let path = self.store.block_path(digest);
            fs::rename(staged, &path).map_err(StoreError::io(path))?;
            folders.insert(self.store.shard_path(digest));
            self.staged.pop_first();
        }
        let folders: Vec<_> = folders.iter().map(PathBuf::as_path).collect();
        sync_files(&folders)
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        for path in self.staged.values() {
            // What cannot be removed now is removed at the next start.
            if let Err(error) = fs::remove_file(path)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!(path = %path.display(), %error, "staged file stays behind");
            }
        }
    }
}

impl Store {
    pub(super) fn staged_path(&self) -> PathBuf {
        let number = self.next_staged.fetch_add(1, Ordering::Relaxed);
        self.root.join("staged").join(number.to_string())
    }
}
