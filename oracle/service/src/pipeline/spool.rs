//! Sealed objects on disk between sealing and pinning, so that a retry uploads the same bytes and has the same CID.
//!
//! Objects that are sealed in one go are in one file, a pack: making and removing a file for each costs more than
//! sealing it. A large object, or one that comes alone, is in a file of its own.
//!
//! ```text
//! RECORD.object  one object
//! RECORD.pack    objects, each: record key (16) | bytes u32 | object; named by the first record
//! ```
//!
//! An object is written before its record is in the journal, and removed after the journal says that it is pinned;
//! a pack when that is so of all in it. Only a large object is synced. Of others a power failure may leave something
//! short, empty or nothing, which the CID tells, and the readings, which the journal has until then, are sealed again.
//! That costs less than a sync for every object, for which the journal's own syncs would have to wait. If the object
//! was already on IPFS, that copy stays there, and nobody has its key. Only ciphertext is here.

mod pack;

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;

use crate::journal::RecordKey;
use crate::journal::disk::is_out_of_room;

use pack::{Packs, Place, Removed};

const SUFFIX: &str = ".object";
const PACK_SUFFIX: &str = ".pack";

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

    /// Whether the object does not exist or is cut short, rather than being unreadable now.
    pub(super) fn is_missing(&self) -> bool {
        matches!(
            self.source.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof
        )
    }

    /// Whether the disk is full rather than broken.
    pub(super) fn is_full(&self) -> bool {
        is_out_of_room(&self.source)
    }
}

/// The folder of sealed objects.
#[derive(Debug, Clone)]
pub(super) struct Spool {
    dir: PathBuf,
    packs: Arc<Mutex<Packs>>,
}

impl Spool {
    /// Opens or makes the folder and removes what belongs to no record in `known`.
    pub(super) fn open(dir: PathBuf, known: &HashSet<RecordKey>) -> Result<Self, SpoolError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)
            .map_err(SpoolError::at("create", &dir))?;
        let spool = Self {
            dir,
            packs: Arc::default(),
        };
        let listed = SpoolError::at("list", &spool.dir);
        let items = fs::read_dir(&spool.dir).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        for item in items.map_err(listed)? {
            let path = item.path();
            let name = item.file_name();
            let name = name.to_string_lossy();
            if let Some(record) = record_of(&name, SUFFIX) {
                if !known.contains(&record) {
                    fs::remove_file(&path).map_err(SpoolError::at("remove", &path))?;
                }
            } else if let Some(pack) = record_of(&name, PACK_SUFFIX) {
                spool.take_up(pack, known)?;
            }
        }
        Ok(spool)
    }

    /// Notes which objects that are wanted a pack has; one without any is removed.
    fn take_up(&self, pack: RecordKey, known: &HashSet<RecordKey>) -> Result<(), SpoolError> {
        let path = self.pack_path(pack);
        match pack::scan(&path, pack, known) {
            Ok(places) if places.is_empty() => {
                fs::remove_file(&path).map_err(SpoolError::at("remove", &path))
            }
            Ok(places) => {
                self.packs().add(places);
                Ok(())
            }
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(path = %path.display(), error, "sealed objects cannot be read");
                self.packs().unread(pack, known);
                Ok(())
            }
        }
    }

    /// No code that holds the lock panics half way.
    fn packs(&self) -> MutexGuard<'_, Packs> {
        self.packs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, record: RecordKey) -> PathBuf {
        self.dir.join(format!("{}{SUFFIX}", record.to_hex()))
    }

    fn pack_path(&self, pack: RecordKey) -> PathBuf {
        self.dir.join(format!("{}{PACK_SUFFIX}", pack.to_hex()))
    }

    /// Writes objects, all or none: several as one pack, with one write, since each is work in the file system's
    /// journal, for which the syncs of others wait.
    pub(super) fn write(&self, objects: &[(RecordKey, Vec<u8>)]) -> Result<(), SpoolError> {
        match objects {
            [] => Ok(()),
            [(record, object)] => write_file(&self.path(*record), object),
            [(name, _), ..] => {
                let path = self.pack_path(*name);
                let built = pack::build(*name, objects);
                let (pack, places) = built.map_err(SpoolError::at("write", &path))?;
                write_file(&path, &pack)?;
                self.packs().add(places);
                Ok(())
            }
        }
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
        Ok((record, create_file(&self.path(record))?))
    }

    /// Opens an object for reading.
    pub(super) fn file(&self, record: RecordKey) -> Result<File, SpoolError> {
        let path = self.path(record);
        File::open(&path).map_err(SpoolError::at("open", &path))
    }

    pub(super) fn read(&self, record: RecordKey) -> Result<Vec<u8>, SpoolError> {
        if let Some(place) = self.place(record)? {
            let path = self.pack_path(place.pack);
            return place.read(&path).map_err(SpoolError::at("read", &path));
        }
        let path = self.path(record);
        fs::read(&path).map_err(SpoolError::at("read", &path))
    }

    /// Where a record's object is, if it is in a pack. Packs that could not be read are tried again first: what is in
    /// them is not lost.
    fn place(&self, record: RecordKey) -> Result<Option<Place>, SpoolError> {
        let mut packs = self.packs();
        if let Some(place) = packs.place(record) {
            return Ok(Some(place));
        }
        packs.read_again(|pack, known| {
            let path = self.pack_path(pack);
            pack::scan(&path, pack, known).map_err(SpoolError::at("read", &path))
        })?;
        Ok(packs.place(record))
    }

    /// Removes an object that is pinned. One that is gone already was removed before a crash.
    pub(super) fn remove(&self, record: RecordKey) {
        let removed = self.packs().remove(record);
        match removed {
            Removed::Last { pack } => remove_file(&self.pack_path(pack)),
            Removed::OthersLeft => {}
            Removed::Unknown => remove_file(&self.path(record)),
        }
    }
}

fn create_file(path: &Path) -> Result<File, SpoolError> {
    let mut options = OpenOptions::new();
    options.create_new(true).read(true).write(true).mode(0o600);
    options.open(path).map_err(SpoolError::at("create", path))
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), SpoolError> {
    create_file(path)?.write_all(bytes).map_err(|source| {
        // Nothing names it yet; what cannot be removed now is removed at the next start.
        drop(fs::remove_file(path));
        SpoolError::at("write", path)(source)
    })
}

fn remove_file(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "what is pinned cannot be removed from the spool");
    }
}

/// The record that a file is named by.
fn record_of(name: &str, suffix: &str) -> Option<RecordKey> {
    let mut key = [0; 16];
    hex::decode_to_slice(name.strip_suffix(suffix)?, &mut key).ok()?;
    Some(RecordKey(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: RecordKey = RecordKey([1; 16]);
    const ORPHAN: RecordKey = RecordKey([2; 16]);
    const LARGE: RecordKey = RecordKey([3; 16]);

    fn files(dir: &Path) -> usize {
        fs::read_dir(dir).unwrap().count()
    }

    #[test]
    fn objects_last_until_removed_and_strangers_go_at_opening() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("spool");
        let spool = Spool::open(at.clone(), &HashSet::new()).unwrap();
        for record in [KEPT, ORPHAN] {
            spool.write(&[(record, record.0.to_vec())]).unwrap();
        }
        spool.sync().unwrap();
        assert!(spool.write(&[(KEPT, b"twice".to_vec())]).is_err());
        fs::write(at.join("note.txt"), "not ours").unwrap();
        let spool = Spool::open(at.clone(), &HashSet::from([KEPT])).unwrap();
        assert_eq!(files(&at), 2);
        assert_eq!(spool.read(KEPT).unwrap(), KEPT.0);
        spool.remove(KEPT);
        spool.remove(KEPT);
        assert!(spool.read(KEPT).unwrap_err().is_missing());
        assert_eq!(files(&at), 1);
    }

    #[test]
    fn a_pack_goes_with_the_last_object_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path().to_owned(), &HashSet::new()).unwrap();
        let objects = [(KEPT, "first"), (ORPHAN, "second"), (LARGE, "third")];
        let objects = objects.map(|(record, object)| (record, object.into()));
        spool.write(&objects).unwrap();
        spool.remove(KEPT);
        assert_eq!(files(dir.path()), 1);
        assert_eq!(spool.read(ORPHAN).unwrap(), b"second");
        let known = HashSet::from([LARGE]);
        let spool = Spool::open(dir.path().to_owned(), &known).unwrap();
        assert!(spool.read(ORPHAN).unwrap_err().is_missing(), "not wanted");
        assert_eq!(spool.read(LARGE).unwrap(), b"third");
        spool.remove(LARGE);
        assert_eq!(files(dir.path()), 0);
    }

    #[test]
    fn a_pack_that_cannot_be_read_now_is_read_later() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path().to_owned(), &HashSet::new()).unwrap();
        let objects = [(KEPT, b"first".to_vec()), (ORPHAN, b"second".to_vec())];
        spool.write(&objects).unwrap();
        let (pack, aside) = (spool.pack_path(KEPT), dir.path().join("aside"));
        fs::rename(&pack, &aside).unwrap();
        // A link to itself: there, and not readable.
        std::os::unix::fs::symlink(&pack, &pack).unwrap();
        let spool = Spool::open(dir.path().to_owned(), &HashSet::from([ORPHAN])).unwrap();
        assert!(!spool.read(ORPHAN).unwrap_err().is_missing());
        fs::rename(&aside, &pack).unwrap();
        assert_eq!(spool.read(ORPHAN).unwrap(), b"second");
        assert!(spool.read(KEPT).unwrap_err().is_missing(), "not wanted");
        spool.remove(ORPHAN);
        assert_eq!(files(dir.path()), 0);
    }

    #[test]
    fn nothing_sealed_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path().to_owned(), &HashSet::new()).unwrap();
        spool.write(&[]).unwrap();
        assert_eq!(files(dir.path()), 0);
    }

    /// A power failure may leave any of it.
    #[test]
    fn of_a_pack_cut_short_what_is_whole_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path().to_owned(), &HashSet::new()).unwrap();
        let objects = [(KEPT, b"first".to_vec()), (ORPHAN, b"second".to_vec())];
        spool.write(&objects).unwrap();
        let path = spool.pack_path(KEPT);
        let whole = fs::read(&path).unwrap();
        let known = HashSet::from([KEPT, ORPHAN]);
        for length in 0..=whole.len() {
            for zeros in [0, 100] {
                let mut left = whole[..length].to_vec();
                left.resize(length + zeros, 0);
                fs::write(&path, &left).unwrap();
                let spool = Spool::open(dir.path().to_owned(), &known).unwrap();
                let first = spool.read(KEPT);
                if length >= whole.len() / 2 {
                    assert_eq!(first.unwrap(), b"first", "{length}");
                }
                let second = spool.read(ORPHAN);
                if length == whole.len() {
                    assert_eq!(second.unwrap(), b"second");
                }
            }
        }
    }
}
