//! What must outlive the segment files: a file that is written anew before one of them is deleted.

use std::fs;
use std::path::Path;
use std::sync::MutexGuard;

use minicbor::{Decode, Encode};

use super::cipher::{JournalKey, random};
use super::disk::Disk;
use super::error::{Damage, JournalError};
use super::files::{Ending, read_frames, refused_or};
use super::frame;
use super::memory::DeviceImage;
use super::state::State;

/// Its name in the journal's folder.
pub(super) const SNAPSHOT: &str = "snapshot";
const SNAPSHOT_NEW: &str = "snapshot.new";
/// Devices in one frame of the snapshot. A memory has at most about 90 KiB, so they fit a frame by far; while a frame
/// is made the journal's state is locked, so they are few.
const SNAPSHOT_DEVICES_MAX: usize = 8;

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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::journal::disk::SystemDisk;
    use crate::journal::frame::FILE_HEADER_BYTES;
    use crate::journal::memory::{DeviceMemory, Place};
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
            let place = Place {
                record: RecordKey(u128::from(sequence).to_be_bytes()),
                commitment: Arc::new(commitment),
            };
            memory.settle(number, [7; 32], &Arc::new(place), Marks::default());
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
