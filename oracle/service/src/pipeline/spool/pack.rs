//! Packs: files with the objects of one go of sealing.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::SpoolError;
use crate::journal::RecordKey;

const KEY_BYTES: usize = 16;
const HEADER_BYTES: usize = KEY_BYTES + size_of::<u32>();

/// Where an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The record that its pack is named by.
    pub(super) pack: RecordKey,
    offset: u64,
    bytes: u32,
}

impl Place {
    pub(super) fn read(self, path: &Path) -> io::Result<Vec<u8>> {
        let mut object = vec![0; usize::try_from(self.bytes).map_err(io::Error::other)?];
        File::open(path)?.read_exact_at(&mut object, self.offset)?;
        Ok(object)
    }
}

/// Where the objects of records are.
pub(super) type Places = Vec<(RecordKey, Place)>;

/// What is in the packs.
#[derive(Debug, Default)]
pub(super) struct Packs {
    places: HashMap<RecordKey, Place>,
    /// How many objects each pack still has.
    left: HashMap<RecordKey, usize>,
    /// Packs that could not be read.
    unread: Vec<RecordKey>,
    /// The records whose objects those may have.
    wanted: HashSet<RecordKey>,
}

impl Packs {
    pub(super) fn place(&self, record: RecordKey) -> Option<Place> {
        self.places.get(&record).copied()
    }

    pub(super) fn add(&mut self, places: Places) {
        for (record, place) in places {
            if self.places.insert(record, place).is_none() {
                *self.left.entry(place.pack).or_default() += 1;
            }
        }
    }

    /// Notes a pack that cannot be read now and may have objects of these records.
    pub(super) fn unread(&mut self, pack: RecordKey, known: &HashSet<RecordKey>) {
        self.unread.push(pack);
        self.wanted.extend(known);
    }

    /// Reads the packs that could not be read, if there are any.
    pub(super) fn read_again(
        &mut self,
        scan: impl Fn(RecordKey, &HashSet<RecordKey>) -> Result<Places, SpoolError>,
    ) -> Result<(), SpoolError> {
        while let Some(pack) = self.unread.last().copied() {
            let places = match scan(pack, &self.wanted) {
                // Removed meanwhile: what was in it is lost.
                Err(error) if error.is_missing() => Vec::new(),
                places => places?,
            };
            self.add(places);
            self.unread.pop();
        }
        self.wanted.clear();
        Ok(())
    }

    /// Forgets an object.
    pub(super) fn remove(&mut self, record: RecordKey) -> Removed {
        let Some(Place { pack, .. }) = self.places.remove(&record) else {
            return Removed::Unknown;
        };
        let Some(left) = self.left.get_mut(&pack) else {
            return Removed::OthersLeft;
        };
        *left -= 1;
        if *left > 0 {
            return Removed::OthersLeft;
        }
        self.left.remove(&pack);
        Removed::Last { pack }
    }
}

/// What a pack has after an object in it was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Removed {
    /// The object was in no pack.
    Unknown,
    /// Others.
    OthersLeft,
    /// Nothing: its file may go.
    Last { pack: RecordKey },
}

/// A pack's bytes, and where each object is in them.
///
/// # Errors
///
/// An object has more bytes than a pack can say.
pub(super) fn build(
    name: RecordKey,
    objects: &[(RecordKey, Vec<u8>)],
) -> io::Result<(Vec<u8>, Places)> {
    let sizes = objects
        .iter()
        .map(|(_, object)| HEADER_BYTES + object.len());
    let mut pack = Vec::with_capacity(sizes.sum());
    let mut places = Vec::with_capacity(objects.len());
    for (record, object) in objects {
        let bytes = u32::try_from(object.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        pack.extend_from_slice(&record.0);
        pack.extend_from_slice(&bytes.to_be_bytes());
        let place = Place {
            pack: name,
            offset: pack.len() as u64,
            bytes,
        };
        places.push((*record, place));
        pack.extend_from_slice(object);
    }
    Ok((pack, places))
}

/// The objects of wanted records in a pack, as far as it goes.
pub(super) fn scan(
    path: &Path,
    pack: RecordKey,
    wanted: &HashSet<RecordKey>,
) -> io::Result<Places> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut places = Vec::new();
    let mut at = 0;
    while at + (HEADER_BYTES as u64) < length {
        let mut header = [0; HEADER_BYTES];
        file.read_exact_at(&mut header, at)?;
        let [key @ .., a, b, c, d] = header;
        let bytes = u32::from_be_bytes([a, b, c, d]);
        let record = RecordKey(key);
        let offset = at + HEADER_BYTES as u64;
        // No object is empty: this was never written.
        if bytes == 0 || offset + u64::from(bytes) > length {
            break;
        }
        if wanted.contains(&record) {
            let place = Place {
                pack,
                offset,
                bytes,
            };
            places.push((record, place));
        }
        at = offset + u64::from(bytes);
    }
    Ok(places)
}
