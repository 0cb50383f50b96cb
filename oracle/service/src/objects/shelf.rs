//! The objects that are coming in, or wait to become a record: which chunks of each are there, and what is too many.
//! Pure but for the files that the entries hold.

use std::collections::HashMap;

use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};

use super::error::{ObjectError, Whose};
use super::file::ObjectFile;
use super::manifest::{CHUNK_BYTES_MAX, CHUNKS_MAX, OBJECT_BYTES_MAX};
use crate::config::{DEFAULT_OBJECTS_BYTES, DEFAULT_OBJECTS_EXPIRY, JournalConfig};
use crate::journal::Reading;

/// A device and its name for an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ObjectName {
    pub(crate) device: String,
    pub(crate) id: String,
}

/// What was decided when a manifest came; the first frame of an object's file.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Begun {
    /// The reading that the object becomes, as yet without content.
    #[n(0)]
    pub(crate) reading: Reading,
    #[n(1)]
    pub(crate) id: String,
    /// Bytes of the content.
    #[n(2)]
    pub(crate) bytes: u64,
    #[n(3)]
    pub(crate) sha256: ByteArray<32>,
    /// Bytes of every chunk but the last.
    #[n(4)]
    pub(crate) chunk_bytes: u32,
    /// Digest of the manifest.
    #[n(5)]
    pub(crate) manifest: ByteArray<32>,
}

impl Begun {
    pub(crate) fn name(&self) -> ObjectName {
        ObjectName {
            device: self.reading.device.clone(),
            id: self.id.clone(),
        }
    }

    /// Reads a file's first frame; none if it is no such thing, or says what no manifest may.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let begun: Self = minicbor::decode(bytes).ok()?;
        let sound = (1..=OBJECT_BYTES_MAX).contains(&begun.bytes)
            && (1..=CHUNK_BYTES_MAX).contains(&begun.chunk_bytes)
            && begun.chunks() <= CHUNKS_MAX;
        sound.then_some(begun)
    }

    pub(crate) fn chunks(&self) -> u32 {
        let chunks = self.bytes.div_ceil(u64::from(self.chunk_bytes));
        u32::try_from(chunks).unwrap_or(u32::MAX)
    }

    /// Bytes of a chunk; none if there is no such chunk.
    pub(crate) fn chunk_len(&self, number: u32) -> Option<usize> {
        let start = u64::from(number) * u64::from(self.chunk_bytes);
        let rest = self.bytes.checked_sub(start).filter(|rest| *rest > 0)?;
        usize::try_from(rest.min(self.chunk_bytes.into())).ok()
    }
}

/// How far an object has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Chunks are missing.
    Open,
    /// All are there; the content is being checked.
    Checking,
    /// The journal has its reading.
    Kept,
}

/// One object.
#[derive(Debug)]
pub(super) struct Shelved {
    pub(super) begun: Begun,
    pub(super) file: ObjectFile,
    /// Offset of each chunk's frame; 0 if it is missing.
    pub(super) offsets: Vec<u64>,
    pub(super) received: u32,
    /// Where the next frame goes.
    pub(super) end: u64,
    /// Up to where the file is synced.
    pub(super) durable: u64,
    pub(super) phase: Phase,
    /// When something last came, milliseconds since 1970.
    pub(super) touched_ms: u64,
}

impl Shelved {
    pub(super) fn new(begun: Begun, file: ObjectFile, end: u64, touched_ms: u64) -> Self {
        let offsets = vec![0; begun.chunks() as usize];
        Self {
            begun,
            file,
            offsets,
            received: 0,
            end,
            durable: 0,
            phase: Phase::Open,
            touched_ms,
        }
    }

    /// Notes where a chunk is; false if it was there.
    pub(super) fn put(&mut self, number: u32, offset: u64) -> bool {
        match self.offsets.get_mut(number as usize) {
            Some(place) if *place == 0 => {
                *place = offset;
                self.received += 1;
                true
            }
            _ => false,
        }
    }

    /// Forgets a chunk that turned out damaged.
    pub(super) fn forget(&mut self, number: u32) {
        if let Some(place) = self.offsets.get_mut(number as usize)
            && *place != 0
        {
            *place = 0;
            self.received -= 1;
            self.phase = Phase::Open;
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.received as usize == self.offsets.len()
    }

    /// Runs of missing chunks, first and last of each, at most `limit`.
    pub(super) fn missing(&self, limit: usize) -> Vec<[u32; 2]> {
        let mut runs: Vec<[u32; 2]> = Vec::new();
        for (number, _) in (0..).zip(&self.offsets).filter(|(_, offset)| **offset == 0) {
            if let Some([_, last]) = runs.last_mut()
                && *last + 1 == number
            {
                *last = number;
            } else if runs.len() < limit {
                runs.push([number, number]);
            } else {
                break;
            }
        }
        runs
    }
}

/// How many objects there may be, and how large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectLimits {
    /// Unfinished objects of one device.
    pub device_objects: usize,
    /// Bytes of one device's unfinished objects.
    pub device_bytes: u64,
    /// Unfinished objects of all devices.
    pub objects: usize,
    /// Bytes of all devices' unfinished objects.
    pub bytes: u64,
    /// An object to which nothing was added for so long is given up.
    pub expiry: std::time::Duration,
}

impl From<&JournalConfig> for ObjectLimits {
    fn from(section: &JournalConfig) -> Self {
        Self {
            bytes: section.objects_max_bytes,
            expiry: section.objects_expiry,
            ..Self::default()
        }
    }
}

impl Default for ObjectLimits {
    fn default() -> Self {
        Self {
            device_objects: 4,
            device_bytes: 2 << 30,
            objects: 64,
            bytes: DEFAULT_OBJECTS_BYTES,
            expiry: DEFAULT_OBJECTS_EXPIRY,
        }
    }
}

/// All objects.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    pub(super) objects: HashMap<ObjectName, Shelved>,
}

impl Shelf {
    /// Whether there is room for another object.
    pub(super) fn admit(&self, begun: &Begun, limits: &ObjectLimits) -> Result<(), ObjectError> {
        let device = &begun.reading.device;
        let of_all = || {
            self.objects
                .iter()
                .map(|(name, object)| (name, object.begun.bytes))
        };
        let own = || of_all().filter(|(name, _)| name.device == *device);
        let many = |whose, count: usize, limit| match count >= limit {
            true => Err(ObjectError::TooMany { whose, limit }),
            false => Ok(()),
        };
        let large = |whose, bytes: u64, limit| match bytes + begun.bytes > limit {
            true => Err(ObjectError::Quota { whose, limit }),
            false => Ok(()),
        };
        many(Whose::Device, own().count(), limits.device_objects)?;
        many(Whose::Organization, of_all().count(), limits.objects)?;
        let sum = |bytes: u64, (_, more): (&ObjectName, u64)| bytes + more;
        large(Whose::Device, own().fold(0, sum), limits.device_bytes)?;
        large(Whose::Organization, of_all().fold(0, sum), limits.bytes)
    }

    /// Objects to which nothing came since `before_ms`.
    pub(super) fn stale(&self, before_ms: u64) -> Vec<ObjectName> {
        let stale = |object: &Shelved| object.phase == Phase::Open && object.touched_ms < before_ms;
        let names = self.objects.iter().filter(|(_, object)| stale(object));
        names.map(|(name, _)| name.clone()).collect()
    }

    /// Objects at a phase.
    pub(super) fn at(&self, phase: Phase) -> Vec<ObjectName> {
        let names = self
            .objects
            .iter()
            .filter(|(_, object)| object.phase == phase);
        names.map(|(name, _)| name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Labels, Marks};

    /// Whatever a file says: nothing divides by zero, and no list is longer than an object's chunks.
    #[test]
    fn a_beginning_that_no_manifest_makes_is_none() {
        let begun = |bytes, chunk_bytes| Begun {
            reading: Reading {
                device: "d".to_owned(),
                sequence: None,
                received_ms: 0,
                content_type: "image/png".to_owned(),
                code: "image".to_owned(),
                period_start: 0,
                period_end: 0,
                patient: "00".to_owned(),
                alone: true,
                payload: Vec::new().into(),
                time_named: false,
                labels: Labels::default(),
                marks: Marks::default(),
                object: None,
            },
            id: "o".to_owned(),
            bytes,
            sha256: [0; 32].into(),
            chunk_bytes,
            manifest: [0; 32].into(),
        };
        for (bytes, chunk_bytes, sound) in [
            (1, 1, true),
            (1 << 30, 1 << 20, true),
            (16_384, 1, true),
            (16_385, 1, false),
            (1, 0, false),
            (0, 1024, false),
            ((1 << 30) + 1, 1 << 20, false),
            (1, (1 << 20) + 1, false),
            (u64::MAX, u32::MAX, false),
        ] {
            let said = minicbor::to_vec(begun(bytes, chunk_bytes)).unwrap();
            let read = Begun::from_bytes(&said);
            assert_eq!(read.is_some(), sound, "{bytes} in {chunk_bytes}");
        }
    }
}
