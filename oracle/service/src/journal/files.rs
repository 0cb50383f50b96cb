//! The journal's folder: segment files, the snapshot, the lock. Reading and making files; nothing is decided here.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard};

use minicbor::{Decode, Encode};

use super::cipher::{FileKey, JournalKey, random};
use super::disk::{Disk, is_out_of_room};
use super::entry::Entry;
use super::error::{Damage, JournalError};
use super::frame::{self, FILE_HEADER_BYTES, Header, Tail};
use super::memory::DeviceImage;
use super::state::{Location, State};

const SNAPSHOT: &str = "snapshot";
const SNAPSHOT_NEW: &str = "snapshot.new";
const LOCK: &str = "lock";
/// Devices in one frame of the snapshot. A memory has at most about 90 KiB, so they fit a frame by far; while a frame
/// is made the journal's state is locked, so they are few.
const SNAPSHOT_DEVICES_MAX: usize = 8;

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
fn refused_or(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> JournalError {
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

/// What must outlive the segment files: the next number and the devices' memories.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct Snapshot {
    #[n(0)]
    next_entry: u64,
    #[n(1)]
    devices: Vec<DeviceImage>,
    /// Number of the next segment file, should all be deleted.
    #[n(2)]
    next_file: u64,
    /// Devices in all frames together, so that a missing end is noticed; not in snapshots of before.
    #[n(3)]
    #[cbor(default)]
    devices_in_all: Option<u64>,
}

impl Snapshot {
    /// What `state` remembers now, in parts. It is locked for one part at a time: a part that is newer than another
    /// says more of its devices, and what it says twice with a segment file does no harm.
    pub(super) fn parts<'a>(
        state: impl Fn() -> MutexGuard<'a, State>,
        next_file: u64,
    ) -> impl Iterator<Item = Self> {
        let (next_entry, names) = {
            let state = state();
            (state.next_entry(), state.device_names())
        };
        // Devices are never forgotten, so each of them is in its part.
        let in_all = names.len() as u64;
        let parts = names.len().div_ceil(SNAPSHOT_DEVICES_MAX).max(1);
        (0..parts).map(move |part| {
            let from = part * SNAPSHOT_DEVICES_MAX;
            let to = (from + SNAPSHOT_DEVICES_MAX).min(names.len());
            Self {
                next_entry,
                devices: state().device_images(&names[from..to]),
                next_file,
                devices_in_all: Some(in_all),
            }
        })
    }

    /// What `state` remembers now, at once.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn of(state: &State, next_file: u64) -> Self {
        let devices = state.device_images(&state.device_names());
        Self {
            next_entry: state.next_entry(),
            devices_in_all: Some(devices.len() as u64),
            devices,
            next_file,
        }
    }

    pub(super) fn restore(&self, state: &mut State) {
        state.restore(self.next_entry, &self.devices);
    }

    pub(super) fn next_file(&self) -> u64 {
        self.next_file
    }

    /// The bytes of its file, with what it would be written in parts.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn to_bytes(&self, key: &JournalKey) -> Result<Vec<u8>, JournalError> {
        let mut bytes = Vec::new();
        let take = |piece: &[u8], _| {
            bytes.extend_from_slice(piece);
            Ok(())
        };
        let path = Path::new(SNAPSHOT);
        Self::encode(key, self.in_parts(), take).map_err(JournalError::file("encode", path))?;
        Ok(bytes)
    }

    #[cfg(any(test, feature = "fuzzing"))]
    fn in_parts(&self) -> impl Iterator<Item = Self> {
        let parts = self.devices.len().div_ceil(SNAPSHOT_DEVICES_MAX).max(1);
        (0..parts).map(|part| {
            let rest = self.devices.iter().skip(part * SNAPSHOT_DEVICES_MAX);
            Self {
                devices: rest.take(SNAPSHOT_DEVICES_MAX).cloned().collect(),
                ..*self
            }
        })
    }

    /// A file of its own, of a frame for each part, since a frame is bounded and devices are not. Hands over the
    /// bytes piece by piece, with the offset of each, and returns how many there are.
    fn encode(
        key: &JournalKey,
        parts: impl Iterator<Item = Self>,
        mut take: impl FnMut(&[u8], u64) -> std::io::Result<()>,
    ) -> std::io::Result<u64> {
        let salt = random().map_err(std::io::Error::other)?;
        let file_key = key.file_key(&salt);
        let mut end = 0;
        let mut bytes = frame::file_header(&salt).to_vec();
        for part in parts {
            let offset = end + bytes.len() as u64;
            let body = |out: &mut Vec<u8>| super::entry::write(&part, out);
            frame::encode_with(&file_key, offset, 0, body, &mut bytes)
                .map_err(std::io::Error::other)?;
            take(&bytes, end)?;
            end += bytes.len() as u64;
            bytes.clear();
        }
        Ok(end)
    }

    /// Writes the parts beside the old snapshot and renames. Returns the file's bytes.
    ///
    /// # Errors
    ///
    /// [`JournalError::DiskRefused`] when there is no room; the old one is in place then.
    pub(super) fn write(
        disk: &dyn Disk,
        dir: &Path,
        key: &JournalKey,
        parts: impl Iterator<Item = Self>,
    ) -> Result<u64, JournalError> {
        let path = dir.join(SNAPSHOT);
        let new = dir.join(SNAPSHOT_NEW);
        // Of a crash, or of a disk without room.
        if let Err(source) = disk.remove(&new)
            && source.kind() != std::io::ErrorKind::NotFound
        {
            return Err(refused_or("remove", &new)(source));
        }
        let written = disk.create(&new).and_then(|file| {
            let end = Self::encode(key, parts, |bytes, at| disk.write(&file, bytes, at))?;
            disk.sync(&file)?;
            Ok(end)
        });
        let written = written.and_then(|end| disk.rename(&new, &path).map(|()| end));
        let end = written.map_err(|source| {
            drop(disk.remove(&new));
            refused_or("write", &path)(source)
        })?;
        disk.sync_dir(dir)
            .map_err(JournalError::file("sync", dir))?;
        Ok(end)
    }

    /// Reads it; `None` when there is none yet.
    pub(super) fn read(dir: &Path, key: &JournalKey) -> Result<Option<Self>, JournalError> {
        let path = dir.join(SNAPSHOT);
        match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(JournalError::file("read", &path)(error)),
            Ok(bytes) => Self::from_bytes(&path, &bytes, key).map(Some),
        }
    }

    /// Reads the file's bytes.
    pub(super) fn from_bytes(
        path: &Path,
        bytes: &[u8],
        key: &JournalKey,
    ) -> Result<Self, JournalError> {
        let mut whole: Option<Self> = None;
        let frames = read_frames(path, bytes, key, Ending::Whole, |body, _, _| {
            let part: Self = minicbor::decode(body).ok()?;
            match &mut whole {
                Some(whole) => whole.devices.extend(part.devices),
                None => whole = Some(part),
            }
            Some(())
        })?;
        let is_all = |whole: &Self| {
            let devices = whole.devices.len() as u64;
            whole.devices_in_all.is_none_or(|all| all == devices)
        };
        whole.filter(is_all).ok_or_else(|| JournalError::Damaged {
            path: path.to_path_buf(),
            offset: frames.bytes as u64,
            damage: Damage::CutOff,
        })
    }
}

/// The readable segment files by number.
pub(super) type Segments = BTreeMap<u64, Segment>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::disk::SystemDisk;
    use crate::journal::memory::{DeviceMemory, Settled};
    use crate::journal::{Commitment, Marks, RecordKey};

    /// 1,500 busy devices have more memory than one frame holds; the journal failed when it wanted to delete a file.
    #[test]
    fn the_memories_of_many_busy_devices_fit_the_snapshot() {
        let dir = tempfile::tempdir().unwrap();
        let key = JournalKey::load(&dir.path().join("key"), true).unwrap();
        let mut memory = DeviceMemory::default();
        for sequence in 0..1024_u64 {
            let number = Some(u64::MAX - 2 * sequence);
            memory.insert(number, [7; 32], 1024);
            // Each in a record of its own.
            let commitment = Commitment {
                transaction_id: "f".repeat(64),
                block_number: u64::MAX,
            };
            let settled = Settled {
                record: RecordKey(u128::from(sequence).to_be_bytes()),
                commitment: Arc::new(commitment),
                marks: Marks::default(),
            };
            memory.settle(number, [7; 32], settled);
        }
        for count in [0, 1, SNAPSHOT_DEVICES_MAX, 1500] {
            let devices: Vec<_> = (0..count)
                .map(|n| memory.to_image(&format!("device-{n}")))
                .collect();
            let snapshot = Snapshot {
                next_entry: 5,
                devices_in_all: Some(devices.len() as u64),
                devices,
                next_file: 6,
            };
            let bytes = Snapshot::write(&SystemDisk, dir.path(), &key, snapshot.in_parts());
            let written = fs::metadata(dir.path().join(SNAPSHOT)).unwrap();
            assert_eq!(written.len(), bytes.unwrap());
            let back = Snapshot::read(dir.path(), &key).unwrap().unwrap();
            assert!(back.devices == snapshot.devices, "{count} devices");
            assert_eq!((back.next_entry, back.next_file), (5, 6));
        }
    }

    /// A snapshot is renamed into place whole. One that ends with a frame, and not with its last, lost devices.
    #[test]
    fn a_snapshot_without_its_last_frame_is_damaged() {
        let key = JournalKey::fixed();
        let memory = DeviceMemory::default();
        let count = SNAPSHOT_DEVICES_MAX + 1;
        let devices = (0..count).map(|n| memory.to_image(&format!("device-{n}")));
        let mut snapshot = Snapshot {
            next_entry: 5,
            devices: devices.collect(),
            next_file: 6,
            devices_in_all: Some(count as u64),
        };
        let path = Path::new("snapshot");
        for (all, noticed) in [(Some(count as u64), true), (None, false)] {
            snapshot.devices_in_all = all;
            let bytes = snapshot.to_bytes(&key).unwrap();
            let first = frame::parse(&bytes[FILE_HEADER_BYTES..]).unwrap().bytes;
            let cut = &bytes[..FILE_HEADER_BYTES + first];
            let read = Snapshot::from_bytes(path, cut, &key);
            assert_eq!(read.is_err(), noticed, "{all:?}");
            assert!(Snapshot::from_bytes(path, &bytes, &key).unwrap().devices == snapshot.devices);
        }
    }
}
