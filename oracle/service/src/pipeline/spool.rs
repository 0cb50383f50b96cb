//! Sealed objects on disk between sealing and pinning, so that a retry uploads the same bytes and has the same CID.
//!
//! An object is written before its record is in the journal, and removed after the journal says that it is pinned.
//! Only a large one is synced. Of others a power failure may leave something short, empty or nothing,
//! which the CID tells, and the readings, which the journal has until then, are sealed again. That costs less than a
//! sync for every object, for which the journal's own syncs would have to wait. If the object was already on IPFS,
//! that copy stays there, and nobody has its key. Only ciphertext is here.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::journal::RecordKey;

const SUFFIX: &str = ".object";

/// A file of the spool could not be used.
#[derive(Debug, Error)]
#[error("cannot {action} {}", path.display())]
pub struct SpoolError {
    action: &'static str,
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

impl SpoolError {
    fn at(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self {
            action,
            path,
            source,
        }
    }

    /// What the operating system said.
    pub(super) fn into_io(self) -> io::Error {
        self.source
    }

    /// Whether the file does not exist, rather than being unreadable now.
    pub(super) fn is_missing(&self) -> bool {
        self.source.kind() == std::io::ErrorKind::NotFound
    }

    /// Whether the disk is full rather than broken.
    pub(super) fn is_full(&self) -> bool {
        matches!(
            self.source.kind(),
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
        )
    }
}

/// The folder of sealed objects.
#[derive(Debug, Clone)]
pub(super) struct Spool {
    dir: PathBuf,
}

impl Spool {
    /// Opens or makes the folder and removes what belongs to no record in `known`.
    pub(super) fn open(dir: PathBuf, known: &HashSet<RecordKey>) -> Result<Self, SpoolError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)
            .map_err(SpoolError::at("create", &dir))?;
        let spool = Self { dir };
        let wanted: HashSet<PathBuf> = known.iter().map(|record| spool.path(*record)).collect();
        let items = fs::read_dir(&spool.dir).map_err(SpoolError::at("list", &spool.dir))?;
        for item in items {
            let path = item.map_err(SpoolError::at("list", &spool.dir))?.path();
            let ours = path.to_string_lossy().ends_with(SUFFIX);
            if ours && !wanted.contains(&path) {
                fs::remove_file(&path).map_err(SpoolError::at("remove", &path))?;
            }
        }
        Ok(spool)
    }

    fn path(&self, record: RecordKey) -> PathBuf {
        self.dir.join(format!("{}{SUFFIX}", record.to_hex()))
    }

    /// Writes an object.
    pub(super) fn write(&self, record: RecordKey, object: &[u8]) -> Result<(), SpoolError> {
        let path = self.path(record);
        let mut file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(SpoolError::at("create", &path))?;
        if let Err(source) = file.write_all(object) {
            // Nothing names it yet; what cannot be removed now is removed at the next start.
            drop(fs::remove_file(&path));
            return Err(SpoolError::at("write", &path)(source));
        }
        Ok(())
    }

    /// Makes the names of large objects durable.
    pub(super) fn sync(&self) -> Result<(), SpoolError> {
        File::open(&self.dir)
            .and_then(|dir| dir.sync_all())
            .map_err(SpoolError::at("sync", &self.dir))
    }

    /// Makes the file of an object that is written in pieces, under a fresh name; [`Spool::sync`] makes it durable.
    pub(super) fn create(&self) -> Result<(RecordKey, File), SpoolError> {
        let random = crate::draft::random();
        let random =
            random.map_err(|error| SpoolError::at("name", &self.dir)(io::Error::other(error)))?;
        let record = RecordKey(random);
        let path = self.path(record);
        let mut options = OpenOptions::new();
        options.create_new(true).read(true).write(true).mode(0o600);
        let file = options
            .open(&path)
            .map_err(SpoolError::at("create", &path))?;
        Ok((record, file))
    }

    /// Opens an object for reading.
    pub(super) fn file(&self, record: RecordKey) -> Result<File, SpoolError> {
        let path = self.path(record);
        File::open(&path).map_err(SpoolError::at("open", &path))
    }

    pub(super) fn read(&self, record: RecordKey) -> Result<Vec<u8>, SpoolError> {
        let path = self.path(record);
        fs::read(&path).map_err(SpoolError::at("read", &path))
    }

    /// Removes an object that is pinned. One that is gone already was removed before a crash.
    pub(super) fn remove(&self, record: RecordKey) {
        let path = self.path(record);
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "a pinned object cannot be removed from the spool");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_last_until_removed_and_strangers_go_at_opening() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("spool");
        let spool = Spool::open(at.clone(), &HashSet::new()).unwrap();
        let (kept, orphan) = (RecordKey([1; 16]), RecordKey([2; 16]));
        spool.write(kept, b"kept").unwrap();
        spool.write(orphan, b"orphan").unwrap();
        spool.sync().unwrap();
        assert!(spool.write(kept, b"twice").is_err());
        fs::write(at.join("note.txt"), "not ours").unwrap();
        let spool = Spool::open(at.clone(), &HashSet::from([kept])).unwrap();
        assert_eq!(fs::read_dir(&at).unwrap().count(), 2);
        spool.remove(kept);
        spool.remove(kept);
        assert!(spool.read(kept).is_err());
    }
}
