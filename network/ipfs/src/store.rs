//! Blocks and pins on disk.
//!
//! ```text
//! DIR/version        "1\n"; refused when it is another
//! DIR/lock           held by the process that uses the folder
//! DIR/identity       32 random bytes in hex, from which the peer ID comes
//! DIR/blocks/X/HEX   one block, named by its SHA-256 digest; X is the last hex digit
//! DIR/pins/HEX.TYPE  one pin, named by the CID's bytes and "recursive" or "direct"; content: name
//! DIR/staged/N       a file being written; emptied at start
//! ```
//!
//! A file appears under its name only complete and flushed: it is written in `staged`, flushed,
//! renamed, and the folder is flushed before anything is acknowledged. A pin is written after its
//! blocks. So whatever instant the process dies at, names mean whole files. Reads check the hash
//! again.
//!
//! The file names are hex made here from parsed CIDs; no text from outside reaches a path.

mod batch;
mod gc;
mod pins;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, RwLock, atomic::AtomicU64},
};

use cid::Cid;

pub(crate) use batch::Batch;
pub(crate) use gc::DagWalk;
pub(crate) use pins::{Pin, PinMode, PinType};

use crate::{
    StoreError,
    block::{self, Digest},
};

const FORMAT: &str = "1\n";
const IDENTITY_BYTES: usize = 32;
/// Threads that flush the files of one request.
const SYNC_THREADS: usize = 8;

/// The blocks and pins of one folder. Cheap to share behind an `Arc`; every method blocks on the
/// disk.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    /// Held shared while blocks are committed and pinned, exclusively while garbage is collected,
    /// so that nothing is collected between being stored and being pinned.
    gc: RwLock<()>,
    /// All pins; the files are written before this map.
    pins: Mutex<BTreeMap<Cid, Pin>>,
    /// Number of the next staged file.
    next_staged: AtomicU64,
    identity: [u8; IDENTITY_BYTES],
    /// Keeps the folder ours for as long as the store lives.
    _lock: File,
}

impl Store {
    /// Opens the store in a folder, creating both when absent.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] when another process has it open or its format is another;
    /// [`StoreError::Io`] when the disk fails.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(root).map_err(StoreError::io(root))?;
        let lock = lock(root)?;
        for folder in ["blocks", "pins", "staged"] {
            let path = root.join(folder);
            fs::create_dir_all(&path).map_err(StoreError::io(&path))?;
        }
        for shard in 0..16 {
            let path = root.join("blocks").join(format!("{shard:x}"));
            fs::create_dir_all(&path).map_err(StoreError::io(&path))?;
        }
        empty_folder(&root.join("staged"))?;
        check_format(root)?;
        let identity = identity(root)?;
        sync_folder(&root.join("blocks"))?;
        sync_folder(root)?;
        Ok(Self {
            root: root.to_owned(),
            gc: RwLock::new(()),
            pins: Mutex::new(pins::load(&root.join("pins"))?),
            next_staged: AtomicU64::new(0),
            identity,
            _lock: lock,
        })
    }

    /// The bytes of a block, checked against its hash.
    pub(crate) fn get(&self, cid: &Cid) -> Result<Vec<u8>, StoreError> {
        if let Some(inline) = block::inline_block(cid) {
            return Ok(inline.to_vec());
        }
        let path = self.block_path(&block::digest_of(cid)?);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::NotFound(*cid));
            }
            Err(error) => return Err(StoreError::io(path)(error)),
        };
        block::verify(cid, &bytes)?;
        Ok(bytes)
    }

    /// Whether there is a file for the block; its bytes are not read.
    pub(crate) fn contains(&self, cid: &Cid) -> Result<bool, StoreError> {
        if block::inline_block(cid).is_some() {
            return Ok(true);
        }
        let path = self.block_path(&block::digest_of(cid)?);
        path.try_exists().map_err(StoreError::io(path))
    }

    /// The 32 bytes that make this store's peer ID.
    pub(crate) fn identity(&self) -> &[u8; IDENTITY_BYTES] {
        &self.identity
    }

    /// The folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    fn block_path(&self, digest: &Digest) -> PathBuf {
        let name = hex::encode(digest);
        self.shard_path(digest).join(name)
    }

    fn shard_path(&self, digest: &Digest) -> PathBuf {
        let last = digest.last().copied().unwrap_or_default() & 0xf;
        self.root.join("blocks").join(format!("{last:x}"))
    }
}

/// Takes the folder's lock; the operating system releases it however the process ends.
fn lock(root: &Path) -> Result<File, StoreError> {
    let path = root.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(StoreError::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(StoreError::Unusable {
            path: root.to_owned(),
            reason: "another process is using it",
        }),
        Err(fs::TryLockError::Error(error)) => Err(StoreError::io(path)(error)),
    }
}

fn check_format(root: &Path) -> Result<(), StoreError> {
    match read_or_create(root, "version", || Ok(FORMAT.to_owned()))?.as_str() {
        FORMAT => Ok(()),
        _ => Err(StoreError::Unusable {
            path: root.to_owned(),
            reason: "its format is another version",
        }),
    }
}

fn identity(root: &Path) -> Result<[u8; IDENTITY_BYTES], StoreError> {
    let text = read_or_create(root, "identity", || {
        let mut random = [0; IDENTITY_BYTES];
        getrandom::fill(&mut random).map_err(io::Error::from)?;
        Ok(hex::encode(random))
    })?;
    let mut identity = [0; IDENTITY_BYTES];
    hex::decode_to_slice(text.trim_end(), &mut identity).map_err(|_| StoreError::Unusable {
        path: root.to_owned(),
        reason: "its identity file is damaged",
    })?;
    Ok(identity)
}

/// Reads a small file; the first start writes it, complete or not at all.
fn read_or_create(
    root: &Path,
    name: &str,
    content: impl FnOnce() -> io::Result<String>,
) -> Result<String, StoreError> {
    let path = root.join(name);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text = content().map_err(StoreError::io(&path))?;
            let staged = root.join("staged").join(name);
            write_flushed(&staged, text.as_bytes())?;
            fs::rename(&staged, &path).map_err(StoreError::io(&path))?;
            Ok(text)
        }
        Err(error) => Err(StoreError::io(path)(error)),
    }
}

fn write_flushed(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    fs::write(path, bytes).map_err(StoreError::io(path))?;
    sync_file(path)
}

/// Flushes many files. Several threads let the file system write its journal once for many.
fn sync_files(paths: &[&Path]) -> Result<(), StoreError> {
    let share = paths.len().div_ceil(SYNC_THREADS).max(1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = paths
            .chunks(share)
            .map(|paths| scope.spawn(|| paths.iter().try_for_each(|path| sync_file(path))))
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
    })
}

fn sync_file(path: &Path) -> Result<(), StoreError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(StoreError::io(path))
}

/// Makes renames and removals in a folder last.
fn sync_folder(path: &Path) -> Result<(), StoreError> {
    sync_file(path)
}

/// Removes what an earlier process left half written.
fn empty_folder(path: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(path).map_err(StoreError::io(path))? {
        let entry = entry.map_err(StoreError::io(path))?.path();
        fs::remove_file(&entry).map_err(StoreError::io(&entry))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
