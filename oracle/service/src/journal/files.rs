//! The journal's folder: segment files, the snapshot, the lock. Reading and making files; nothing is decided here.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cipher::{FileKey, JournalKey, random};
use super::disk::{Disk, is_out_of_room};
use super::entry::Entry;
use super::error::{Damage, JournalError};
use super::frame::{self, FILE_HEADER_BYTES, Header, Tail};
use super::snapshot::SNAPSHOT;
use super::state::Location;

const LOCK: &str = "lock";

/// Path of the segment file with this number.
pub(super) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016}.journal"))
}

/// Numbers of the segment files in the folder, in order.
pub(super) fn list_segments(dir: &Path) -> Result<Vec<u64>, JournalError> {
    let mut numbers = Vec::new();
    for item in fs::read_dir(dir).map_err(JournalError::file("list", dir))? {
        let item = item.map_err(JournalError::file("list", dir))?;
        let name = item.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_suffix(".journal"))
            .filter(|stem| stem.len() == 16)
            .and_then(|stem| stem.parse::<u64>().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    for pair in numbers.windows(2) {
        if pair[1] != pair[0] + 1 {
            return Err(JournalError::Gap {
                path: segment_path(dir, pair[0] + 1),
            });
        }
    }
    Ok(numbers)
}

/// Whether no journal was ever kept in this folder: no segment file under any name, no snapshot, nothing in a folder
/// beneath it, such as the spool. A key that is made where there is something could not open it, and would hide
/// that the right one is missing.
pub(super) fn is_unused(dir: &Path) -> Result<bool, JournalError> {
    for item in fs::read_dir(dir).map_err(JournalError::file("list", dir))? {
        let item = item.map_err(JournalError::file("list", dir))?;
        let name = item.file_name();
        let name = name.to_string_lossy();
        let is_folder = item.file_type().is_ok_and(|kind| kind.is_dir());
        // A folder that cannot be listed, such as a file system's own, is none of ours.
        let used = if is_folder {
            fs::read_dir(item.path()).is_ok_and(|mut items| items.next().is_some())
        } else {
            name.contains(".journal") || name.starts_with(SNAPSHOT)
        };
        if used {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Makes a folder's entries durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), JournalError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(JournalError::file("sync", dir))
}

/// Takes the folder's lock; held while the file lives.
pub(super) fn lock(dir: &Path) -> Result<File, JournalError> {
    let path = dir.join(LOCK);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(JournalError::file("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(JournalError::InUse { path }),
        Err(fs::TryLockError::Error(source)) => Err(JournalError::File {
            action: "lock",
            path,
            source,
        }),
    }
}

/// A segment file that can be read.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) file: Arc<File>,
    pub(super) key: Arc<FileKey>,
    pub(super) bytes: u64,
}

/// Makes a new, empty, durable segment file.
///
/// # Errors
///
/// [`JournalError::DiskRefused`] when there is no room; there is no new file then.
pub(super) fn create_segment(
    disk: &dyn Disk,
    dir: &Path,
    number: u64,
    key: &JournalKey,
) -> Result<Segment, JournalError> {
    let path = segment_path(dir, number);
    let salt = random()?;
    let file = disk.create(&path).map_err(refused_or("create", &path))?;
    let made = disk
        .write(&file, &frame::file_header(&salt), 0)
        .and_then(|()| disk.sync(&file));
    if let Err(source) = made {
        // An empty file would be taken for a crash while making it, which is harmless.
        drop(disk.remove(&path));
        return Err(refused_or("write", &path)(source));
    }
    disk.sync_dir(dir)
        .map_err(JournalError::file("sync", dir))?;
    Ok(Segment {
        file: Arc::new(file),
        key: Arc::new(key.file_key(&salt)),
        bytes: FILE_HEADER_BYTES as u64,
    })
}

/// The error of a change that left everything as it was: the disk has no room, or is broken.
pub(super) fn refused_or(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(std::io::Error) -> JournalError {
    move |source| {
        if is_out_of_room(&source) {
            JournalError::DiskRefused { source }
        } else {
            JournalError::file(action, path)(source)
        }
    }
}

impl Segment {
    /// Reads and decrypts one frame.
    pub(super) fn read(&self, path: &Path, location: Location) -> Result<Entry, JournalError> {
        let damaged = |damage| JournalError::Damaged {
            path: path.to_path_buf(),
            offset: location.offset,
            damage,
        };
        let length = usize::try_from(location.bytes).map_err(|_| damaged(Damage::Length))?;
        let mut bytes = vec![0; length];
        self.file
            .read_exact_at(&mut bytes, location.offset)
            .map_err(JournalError::file("read", path))?;
        let frame = frame::parse(&bytes).map_err(damaged)?;
        let body = self
            .key
            .open(location.offset, frame.sealed)
            .ok_or_else(|| damaged(Damage::Decryption))?;
        Entry::from_bytes(&body).ok_or_else(|| damaged(Damage::Entry))
    }
}

/// How a file of frames may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// With a whole frame: all of it was synced before anything else was done.
    Whole,
    /// Also in a frame that a crash cut short while it was written.
    Torn,
}

/// What reading a file's frames gave.
#[derive(Debug)]
pub(super) struct Frames {
    /// The file's key.
    pub(super) key: FileKey,
    /// Bytes up to the end of the last whole frame.
    pub(super) bytes: usize,
    /// Whole frames.
    pub(super) count: u64,
    /// Offset at which a torn tail begins, if there is one.
    pub(super) torn_at: Option<u64>,
}

/// Reads the frames of a whole file, `bytes`, which lies at `path`. `visit` gets each frame's plaintext, offset and
/// bytes, and answers none if the plaintext is not what it must be.
///
/// # Errors
///
/// [`JournalError::Damaged`] with the offset of what is not as it was written; [`JournalError::NewerFormat`].
pub(super) fn read_frames(
    path: &Path,
    bytes: &[u8],
    key: &JournalKey,
    ending: Ending,
    mut visit: impl FnMut(&[u8], u64, u64) -> Option<()>,
) -> Result<Frames, JournalError> {
    let damaged = |offset: usize, damage| JournalError::Damaged {
        path: path.to_path_buf(),
        offset: offset as u64,
        damage,
    };
    let salt = match frame::parse_header(bytes) {
        Header::Known(salt) => salt,
        Header::Newer(version) => {
            return Err(JournalError::NewerFormat {
                path: path.to_path_buf(),
                version,
                known: frame::FORMAT_VERSION,
            });
        }
        Header::Unfinished | Header::Foreign => return Err(damaged(0, Damage::Header)),
    };
    let mut frames = Frames {
        key: key.file_key(&salt),
        bytes: FILE_HEADER_BYTES,
        count: 0,
        torn_at: None,
    };
    while frames.bytes < bytes.len() {
        let at = frames.bytes;
        let rest = &bytes[at..];
        let frame = match frame::parse(rest) {
            Ok(frame) => frame,
            Err(damage) if ending == Ending::Torn => {
                match frame::judge_tail(rest, at as u64, damage) {
                    Tail::Torn => {
                        frames.torn_at = Some(at as u64);
                        break;
                    }
                    Tail::Damaged(damage) => return Err(damaged(at, damage)),
                }
            }
            Err(damage) => return Err(damaged(at, damage)),
        };
        let body = frames.key.open(at as u64, frame.sealed);
        let body = body.ok_or_else(|| damaged(at, Damage::Decryption))?;
        visit(&body, at as u64, frame.bytes as u64).ok_or_else(|| damaged(at, Damage::Entry))?;
        frames.bytes += frame.bytes;
        frames.count += 1;
    }
    Ok(frames)
}

/// What reading one segment file gave.
#[derive(Debug)]
pub(super) struct Scanned {
    /// The file, unless it was never finished.
    pub(super) segment: Option<Segment>,
    /// Offset at which a torn tail begins, if there is one.
    pub(super) torn_at: Option<u64>,
    /// Whole frames.
    pub(super) frames: u64,
}

/// Reads a whole segment file; `visit` gets each entry. Only the newest file may end in a torn frame.
pub(super) fn scan(
    dir: &Path,
    number: u64,
    newest: bool,
    key: &JournalKey,
    visit: impl FnMut(Entry, Location),
) -> Result<Scanned, JournalError> {
    let path = segment_path(dir, number);
    let bytes = fs::read(&path).map_err(JournalError::file("read", &path))?;
    let Some(frames) = read_segment(&path, (number, newest), &bytes, key, visit)? else {
        return Ok(Scanned {
            segment: None,
            torn_at: Some(0),
            frames: 0,
        });
    };
    let file = File::open(&path).map_err(JournalError::file("open", &path))?;
    Ok(Scanned {
        torn_at: frames.torn_at,
        frames: frames.count,
        segment: Some(Segment {
            file: Arc::new(file),
            key: Arc::new(frames.key),
            bytes: frames.bytes as u64,
        }),
    })
}

/// Reads the bytes of the segment file with this number, which is the newest or not; none if the file was never
/// finished.
pub(super) fn read_segment(
    path: &Path,
    (number, newest): (u64, bool),
    bytes: &[u8],
    key: &JournalKey,
    mut visit: impl FnMut(Entry, Location),
) -> Result<Option<Frames>, JournalError> {
    // Frames follow a header only after it was synced, so nothing is lost with an unfinished one.
    let is_short = newest && bytes.len() <= FILE_HEADER_BYTES;
    if is_short && frame::parse_header(bytes) == Header::Unfinished {
        return Ok(None);
    }
    let ending = if newest { Ending::Torn } else { Ending::Whole };
    let frames = read_frames(path, bytes, key, ending, |body, offset, bytes| {
        let location = Location {
            file: number,
            offset,
            bytes,
        };
        visit(Entry::from_bytes(body)?, location);
        Some(())
    });
    frames.map(Some)
}

/// Removes a torn tail, or the whole file if it was never finished.
pub(super) fn cut(dir: &Path, number: u64, torn_at: u64) -> Result<(), JournalError> {
    let path = segment_path(dir, number);
    if torn_at == 0 {
        fs::remove_file(&path).map_err(JournalError::file("remove", &path))?;
        return sync_dir(dir);
    }
    OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|file| {
            file.set_len(torn_at)?;
            file.sync_all()
        })
        .map_err(JournalError::file("cut", &path))
}

/// Deletes a segment file whose frames are all done.
///
/// # Errors
///
/// [`JournalError::DiskRefused`] when even that needs room; the file is there then.
pub(super) fn delete_segment(disk: &dyn Disk, dir: &Path, number: u64) -> Result<(), JournalError> {
    let path = segment_path(dir, number);
    disk.remove(&path).map_err(refused_or("remove", &path))?;
    disk.sync_dir(dir).map_err(JournalError::file("sync", dir))
}

/// The readable segment files by number.
pub(super) type Segments = BTreeMap<u64, Segment>;
