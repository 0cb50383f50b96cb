//! Walking trees, and removing what no pin reaches.

use std::{collections::HashSet, fs, path::Path, sync::PoisonError};

use cid::Cid;

use super::{PinType, Store};
use crate::{
    StoreError,
    block::{self, Digest},
};

/// A walk over a tree, parents first and children in order, each block once.
#[derive(Debug)]
pub(crate) struct DagWalk {
    pending: Vec<Cid>,
    seen: HashSet<Cid>,
}

impl DagWalk {
    pub(crate) fn new(root: Cid) -> Self {
        Self {
            pending: vec![root],
            seen: HashSet::new(),
        }
    }

    /// The next block, or `None` at the end.
    pub(crate) fn next(&mut self, store: &Store) -> Result<Option<(Cid, Vec<u8>)>, StoreError> {
        let Some(cid) = self.next_unseen() else {
            return Ok(None);
        };
        let bytes = store.get(&cid)?;
        let links = block::links(&cid, &bytes)?;
        self.pending.extend(links.into_iter().rev());
        Ok(Some((cid, bytes)))
    }

    /// The next CID without reading leaves, which have nothing below them.
    pub(crate) fn next_cid(&mut self, store: &Store) -> Result<Option<Cid>, StoreError> {
        let Some(cid) = self.next_unseen() else {
            return Ok(None);
        };
        if cid.codec() == block::RAW {
            if !store.contains(&cid)? {
                return Err(StoreError::NotFound(cid));
            }
        } else {
            let links = block::links(&cid, &store.get(&cid)?)?;
            self.pending.extend(links.into_iter().rev());
        }
        Ok(Some(cid))
    }

    /// Goes to the end; fails when a block is missing.
    pub(crate) fn complete(mut self, store: &Store) -> Result<(), StoreError> {
        while self.next_cid(store)?.is_some() {}
        Ok(())
    }

    /// Adds another root to the same walk.
    pub(crate) fn add_root(&mut self, root: Cid) {
        self.pending.push(root);
    }

    fn next_unseen(&mut self) -> Option<Cid> {
        while let Some(cid) = self.pending.pop() {
            if self.seen.insert(cid) {
                return Some(cid);
            }
        }
        None
    }
}

/// Size of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RepoStat {
    /// Bytes in block files.
    pub(crate) bytes: u64,
    /// Number of block files.
    pub(crate) blocks: u64,
}

impl Store {
    /// Removes every block that no pin keeps and returns their CIDs. Removes nothing when a pinned
    /// tree cannot be walked to its end: what hangs below a damaged block is not garbage.
    pub(crate) fn collect_garbage(&self) -> Result<Vec<Cid>, StoreError> {
        let _alone = self.gc.write().unwrap_or_else(PoisonError::into_inner);
        let kept = self.reachable()?;
        let mut removed = Vec::new();
        self.for_each_block(|digest, path, _| {
            if kept.contains(&digest) {
                return Ok(());
            }
            fs::remove_file(path).map_err(StoreError::io(path))?;
            removed.push(block::raw_cid(&digest));
            Ok(())
        })?;
        Ok(removed)
    }

    /// Removes blocks that no pin keeps. Those that stay come with the reason.
    pub(crate) fn remove_blocks(
        &self,
        cids: &[Cid],
    ) -> Result<Vec<(Cid, Option<StoreError>)>, StoreError> {
        let _alone = self.gc.write().unwrap_or_else(PoisonError::into_inner);
        let pins = self.pins();
        let kept = self.reachable()?;
        let remove = |cid: &Cid| {
            let digest = block::digest_of(cid)?;
            if let Some(pin) = pins.get(cid) {
                return Err(StoreError::Pinned(pin.pin_type.as_str()));
            }
            if kept.contains(&digest) {
                return Err(StoreError::Pinned("indirect"));
            }
            let path = self.block_path(&digest);
            match fs::remove_file(&path) {
                Ok(()) => Ok(()),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    Err(StoreError::NotFound(*cid))
                }
                Err(error) => Err(StoreError::io(path)(error)),
            }
        };
        let removed = cids.iter().map(|cid| (*cid, remove(cid).err()));
        Ok(removed.collect())
    }

    /// Counts blocks and their bytes.
    pub(crate) fn stat(&self) -> Result<RepoStat, StoreError> {
        let mut stat = RepoStat {
            bytes: 0,
            blocks: 0,
        };
        self.for_each_block(|_, _, len| {
            stat.bytes += len;
            stat.blocks += 1;
            Ok(())
        })?;
        Ok(stat)
    }

    fn reachable(&self) -> Result<HashSet<Digest>, StoreError> {
        let mut kept = HashSet::new();
        let mut walk: Option<DagWalk> = None;
        for (cid, pin) in self.pins() {
            match pin.pin_type {
                PinType::Direct => {
                    kept.extend(block::digest_of(&cid).ok());
                }
                PinType::Recursive => match &mut walk {
                    Some(walk) => walk.add_root(cid),
                    None => walk = Some(DagWalk::new(cid)),
                },
            }
        }
        if let Some(mut walk) = walk {
            while let Some(cid) = walk.next_cid(self)? {
                // A block inside its CID has no file to keep.
                kept.extend(block::digest_of(&cid).ok());
            }
        }
        Ok(kept)
    }

    fn for_each_block(
        &self,
        mut visit: impl FnMut(Digest, &Path, u64) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        for shard in 0..16 {
            let folder = self.root.join("blocks").join(format!("{shard:x}"));
            for entry in fs::read_dir(&folder).map_err(StoreError::io(&folder))? {
                let entry = entry.map_err(StoreError::io(&folder))?;
                let path = entry.path();
                let len = entry.metadata().map_err(StoreError::io(&path))?.len();
                let mut digest = Digest::default();
                let name = entry.file_name();
                if hex::decode_to_slice(name.as_encoded_bytes(), &mut digest).is_ok() {
                    visit(digest, &path, len)?;
                }
            }
        }
        Ok(())
    }
}
