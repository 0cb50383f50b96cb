//! The last objects that are on the ledger, so that one sent again gets its receipt again, also after a restart.
//!
//! One file with a frame for each, in the format of `file.rs`; written anew when it has twice as many as are
//! remembered. What is forgotten is recognised by the journal, or becomes a second record of the same reading at
//! worst when that has forgotten it too.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};

use super::error::FolderError;
use super::file::{FILE_HEADER_BYTES, Kind, ObjectFile, Unusable};
use super::shelf::ObjectName;
use crate::journal::cipher::JournalKey;
use crate::journal::disk::Disk;
use crate::journal::{Commitment, Marks, RecordKey};

/// Objects remembered.
const REMEMBERED_MAX: usize = 20_000;

const FILE: &str = "finished";

/// An object on the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Finished {
    #[n(0)]
    pub(crate) device: String,
    #[n(1)]
    pub(crate) id: String,
    /// Digest of the manifest.
    #[n(2)]
    pub(crate) manifest: ByteArray<32>,
    #[n(3)]
    pub(crate) sha256: ByteArray<32>,
    #[n(4)]
    pub(crate) sequence: Option<u64>,
    #[n(5)]
    pub(crate) marks: Marks,
    #[n(6)]
    pub(crate) record: RecordKey,
    #[n(7)]
    pub(crate) commitment: Commitment,
}

impl Finished {
    pub(crate) fn name(&self) -> ObjectName {
        ObjectName {
            device: self.device.clone(),
            id: self.id.clone(),
        }
    }
}

/// Objects on the ledger, to look at from elsewhere. The lock is held for a look-up.
#[derive(Debug, Clone, Default)]
pub(super) struct Known(Arc<Mutex<HashMap<ObjectName, Finished>>>);

impl Known {
    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectName, Finished>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has(&self, name: &ObjectName) -> bool {
        self.lock().contains_key(name)
    }
}

/// What is remembered, and where.
#[derive(Debug)]
pub(super) struct FinishedBook {
    dir: PathBuf,
    file: ObjectFile,
    end: u64,
    durable: u64,
    /// Frames in the file.
    frames: usize,
    known: Known,
    order: VecDeque<ObjectName>,
    keep: usize,
}

impl FinishedBook {
    /// Opens or makes the book.
    pub(super) fn open(disk: &dyn Disk, dir: &Path, key: &JournalKey) -> Result<Self, FolderError> {
        Self::keeping(disk, dir, key, REMEMBERED_MAX)
    }

    fn keeping(
        disk: &dyn Disk,
        dir: &Path,
        key: &JournalKey,
        keep: usize,
    ) -> Result<Self, FolderError> {
        let path = dir.join(FILE);
        let failed = |action| FolderError::at(action, &path);
        let (file, new) = match ObjectFile::open(&path, key) {
            Ok(file) => (file, false),
            Err(Unusable::Io(error)) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("open")(error));
            }
            Err(unusable) => {
                if let Unusable::Foreign = unusable {
                    tracing::error!(path = %path.display(), "no book of finished objects, begun anew");
                }
                if path.exists() {
                    disk.remove(&path).map_err(failed("remove"))?;
                }
                let file = ObjectFile::create(disk, &path, key).map_err(failed("create"))?;
                (file, true)
            }
        };
        let mut book = Self {
            dir: dir.to_path_buf(),
            file,
            end: FILE_HEADER_BYTES as u64,
            durable: 0,
            frames: 0,
            known: Known::default(),
            order: VecDeque::new(),
            keep,
        };
        if !new {
            book.load(disk).map_err(failed("read"))?;
        }
        Ok(book)
    }

    fn load(&mut self, disk: &dyn Disk) -> io::Result<()> {
        let (frames, end) = self.file.scan()?;
        for frame in &frames {
            let content = self
                .file
                .read(frame.offset, (frame.kind, frame.number), frame.bytes)?;
            let finished = content.and_then(|bytes| minicbor::decode::<Finished>(&bytes).ok());
            match finished {
                Some(finished) => self.remember(finished),
                None => tracing::error!(
                    offset = frame.offset,
                    "a finished object is forgotten: its line is damaged"
                ),
            }
        }
        self.frames = frames.len();
        self.file.cut(disk, end)?;
        self.end = end;
        self.durable = end;
        Ok(())
    }

    pub(super) fn known(&self) -> Known {
        self.known.clone()
    }

    pub(super) fn get(&self, name: &ObjectName) -> Option<Finished> {
        self.known.lock().get(name).cloned()
    }

    /// Writes an object down; durable after a sync. Without room the file is as before.
    pub(super) fn write(&mut self, disk: &dyn Disk, finished: &Finished) -> io::Result<()> {
        let bytes = minicbor::to_vec(finished).expect("encoding into memory cannot fail");
        let at = (self.end, self.durable);
        match self.file.write(disk, at, (Kind::Finished, 0), &bytes) {
            Ok(end) => {
                self.end = end;
                self.frames += 1;
                Ok(())
            }
            Err(error) => {
                self.file.cut(disk, self.end)?;
                Err(error)
            }
        }
    }

    pub(super) fn sync(&mut self, disk: &dyn Disk) -> io::Result<()> {
        self.file.sync(disk)?;
        self.durable = self.end;
        Ok(())
    }

    /// Takes in an object that is durable; the oldest beyond the limit are forgotten.
    pub(super) fn remember(&mut self, finished: Finished) {
        let name = finished.name();
        let mut known = self.known.lock();
        if known.insert(name.clone(), finished).is_none() {
            self.order.push_back(name);
        }
        while self.order.len() > self.keep {
            if let Some(oldest) = self.order.pop_front() {
                known.remove(&oldest);
            }
        }
    }

    /// Writes the file anew when most of it is forgotten.
    pub(super) fn tidy(&mut self, disk: &dyn Disk, key: &JournalKey) -> io::Result<()> {
        if self.frames < self.keep * 2 {
            return Ok(());
        }
        let beside = self.dir.join("finished.new");
        if beside.exists() {
            disk.remove(&beside)?;
        }
        let file = ObjectFile::create(disk, &beside, key)?;
        let mut end = FILE_HEADER_BYTES as u64;
        for finished in self.order.iter().filter_map(|name| self.get(name)) {
            let bytes = minicbor::to_vec(&finished).expect("encoding into memory cannot fail");
            end = file.write(disk, (end, 0), (Kind::Finished, 0), &bytes)?;
        }
        file.sync(disk)?;
        disk.rename(&beside, &self.dir.join(FILE))?;
        disk.sync_dir(&self.dir)?;
        self.file = file;
        self.end = end;
        self.durable = end;
        self.frames = self.order.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::disk::SystemDisk;

    fn finished(id: usize) -> Finished {
        Finished {
            device: "d".to_owned(),
            id: id.to_string(),
            manifest: [1; 32].into(),
            sha256: [2; 32].into(),
            sequence: Some(3),
            marks: Marks::default(),
            record: RecordKey([4; 16]),
            commitment: Commitment {
                transaction_id: "tx".to_owned(),
                block_number: 5,
            },
        }
    }

    #[test]
    fn the_last_so_many_are_remembered_across_restarts_in_a_bounded_file() {
        let dir = tempfile::tempdir().unwrap();
        let key = JournalKey::load(&dir.path().join("k"), true).unwrap();
        let open = || FinishedBook::keeping(&SystemDisk, dir.path(), &key, 10).unwrap();
        let mut book = open();
        for id in 0..35 {
            book.write(&SystemDisk, &finished(id)).unwrap();
            book.sync(&SystemDisk).unwrap();
            book.remember(finished(id));
            book.tidy(&SystemDisk, &key).unwrap();
            assert!(book.frames < 20, "{}", book.frames);
        }
        for book in [book, open()] {
            assert_eq!(book.get(&finished(24).name()), None);
            for id in 25..35 {
                assert_eq!(book.get(&finished(id).name()), Some(finished(id)));
            }
        }
        let mut torn = std::fs::read(dir.path().join(FILE)).unwrap();
        torn.truncate(torn.len() - 1);
        std::fs::write(dir.path().join(FILE), &torn).unwrap();
        let mut book = open();
        assert_eq!(book.get(&finished(34).name()), None);
        book.write(&SystemDisk, &finished(34)).unwrap();
        book.sync(&SystemDisk).unwrap();
        assert_eq!(open().get(&finished(34).name()), Some(finished(34)));
    }
}
