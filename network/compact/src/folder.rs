//! A data base's folder, locked.

use std::{
    collections::BTreeSet,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use crate::{
    error::{At as _, CompactError, Result},
    files::{CURRENT, LOCK, Listing},
};

/// How far below the given folder data bases are looked for.
const MAX_DEPTH: usize = 6;

/// A data base's folder. While this lives, nothing else opens the data base.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// goleveldb and LevelDB lock this file for as long as they have a data base open.
    _lock: File,
}

impl Folder {
    /// Locks a data base as goleveldb does, and lists its files.
    pub(crate) fn lock(path: &Path) -> Result<Self> {
        let lock_path = path.join(LOCK);
        let mut options = File::options();
        let lock = options.read(true).write(true).create(true).truncate(false);
        let lock = lock.open(&lock_path).at(&lock_path)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(CompactError::InUse {
                    path: path.to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(error).at(&lock_path),
        }
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of all files in it.
    pub(crate) fn bytes(&self) -> Result<u64> {
        let mut bytes = 0;
        for entry in fs::read_dir(&self.path).at(&self.path)? {
            bytes += entry
                .and_then(|entry| entry.metadata())
                .at(&self.path)?
                .len();
        }
        Ok(bytes)
    }

    /// Has its entries on the disk: files that were made, renamed or removed.
    pub(crate) fn sync(&self) -> Result<()> {
        let folder = File::open(&self.path).at(&self.path)?;
        folder.sync_all().at(&self.path)
    }
}

/// Locks every data base in or below a folder, all of them before any is touched: a peer that is
/// started meanwhile finds them locked.
pub(crate) fn lock_all(root: &Path) -> Result<Vec<Folder>> {
    let mut found = BTreeSet::new();
    search(root, MAX_DEPTH, &mut found)?;
    if found.is_empty() {
        return Err(CompactError::NoDatabase {
            path: root.to_owned(),
        });
    }
    found.iter().map(|path| Folder::lock(path)).collect()
}

fn search(folder: &Path, depth: usize, found: &mut BTreeSet<PathBuf>) -> Result<()> {
    let mut is_data_base = folder.join(CURRENT).is_file();
    if !is_data_base && folder.join(LOCK).is_file() {
        // Something was interrupted before its name was settled.
        is_data_base = Listing::of(folder)?.current_manifest(folder).is_ok();
    }
    if is_data_base {
        found.insert(folder.canonicalize().at(folder)?);
        return Ok(());
    }
    if depth == 0 {
        return Ok(());
    }
    for entry in fs::read_dir(folder).at(folder)? {
        let path = entry.at(folder)?.path();
        if path.is_dir() {
            search(&path, depth - 1, found)?;
        }
    }
    Ok(())
}
