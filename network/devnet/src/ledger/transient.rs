//! Private writes of endorsed transactions that are not in a block yet.
//!
//! They are kept in memory and in a file that is written but not synced: it survives the end of
//! the process, not that of the machine, as Fabric's store of this name. A client may submit
//! after a restart what was endorsed before it.
//!
//! ```text
//! file   = magic "FDEVTRN1", entry*
//! entry  = length u32 | CRC u32 | entry message
//! ```
//!
//! Once a transaction is in a block, or forgotten, CRC and message are overwritten with zeros: what
//! is purged from the block log later must not lie here. An entry whose CRC is 0 is passed over.
//! The file is rewritten with the live entries at start and when most of it is dead.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use fabric_protos::rwset::TxPvtReadWriteSet;
use prost::Message;

use super::error::LedgerError;
use super::log::failed;

const FILE_MAGIC: [u8; 8] = *b"FDEVTRN1";
/// Bytes of live entries that are kept at most.
pub(crate) const LIVE_BYTES_MAX: u64 = 256 << 20;
/// Bytes of an entry's length, in front of what is overwritten when the entry is done with.
const LENGTH_BYTES: u64 = 4;
/// Blocks after which a transaction that was never ordered is forgotten.
const RETENTION_BLOCKS: u64 = 1000;
/// Bytes of dead entries beyond which the file is rewritten if they are the larger part.
const DEAD_BYTES_MAX: u64 = 16 << 20;

#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(string, tag = "1")]
    tx_id: String,
    /// Height of the channel when it was endorsed.
    #[prost(uint64, tag = "2")]
    height: u64,
    #[prost(message, optional, tag = "3")]
    sets: Option<TxPvtReadWriteSet>,
}

/// The store; see the module.
#[derive(Debug)]
pub(crate) struct TransientStore {
    path: PathBuf,
    file: File,
    live: HashMap<String, Live>,
    live_bytes: u64,
    /// Where the file ends, and the next entry begins.
    end: u64,
}

#[derive(Debug)]
struct Live {
    entry: Entry,
    /// Where it begins in the file.
    offset: u64,
    bytes: u64,
}

impl TransientStore {
    /// Opens the store, or makes it. `wanted` says of a transaction ID whether it may still be
    /// ordered. An entry that was being written when the process ended is dropped.
    pub(crate) fn open(
        path: &Path,
        height: u64,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Self, LedgerError> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed("read", path)(error)),
        };
        let mut live = HashMap::new();
        for entry in entries(&bytes) {
            if wanted(&entry.tx_id) && height < entry.height.saturating_add(RETENTION_BLOCKS) {
                let unplaced = Live {
                    entry,
                    offset: 0,
                    bytes: 0,
                };
                live.insert(unplaced.entry.tx_id.clone(), unplaced);
            }
        }
        let (file, end) = rewrite(path, &mut live)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            live_bytes: live.values().map(|live| live.bytes).sum(),
            live,
            end,
        })
    }

    /// Keeps the private writes of an endorsed transaction. The first endorsement counts: all
    /// that can be ordered promise the same hashes.
    pub(crate) fn put(
        &mut self,
        tx_id: &str,
        height: u64,
        sets: &TxPvtReadWriteSet,
    ) -> Result<(), LedgerError> {
        if let Some(live) = self.live.get(tx_id)
            && live.entry.sets.as_ref() == Some(sets)
        {
            return Ok(());
        }
        let entry = Entry {
            tx_id: tx_id.to_owned(),
            height,
            sets: Some(sets.clone()),
        };
        let framed = frame(&entry);
        let bytes = framed.len() as u64;
        if self.live_bytes + bytes > LIVE_BYTES_MAX {
            return Err(LedgerError::TransientStoreFull {
                bytes_max: LIVE_BYTES_MAX,
            });
        }
        self.file
            .write_all_at(&framed, self.end)
            .map_err(failed("append to", &self.path))?;
        let live = Live {
            entry,
            offset: self.end,
            bytes,
        };
        self.end += bytes;
        self.live_bytes += bytes;
        match self.live.insert(tx_id.to_owned(), live) {
            Some(replaced) => self.overwrite(&replaced),
            None => Ok(()),
        }
    }

    /// Puts zeros where a dead entry lies.
    fn overwrite(&mut self, dead: &Live) -> Result<(), LedgerError> {
        self.live_bytes -= dead.bytes;
        let zeros = vec![0; usize::try_from(dead.bytes - LENGTH_BYTES).unwrap_or_default()];
        self.file
            .write_all_at(&zeros, dead.offset + LENGTH_BYTES)
            .map_err(failed("overwrite a part of", &self.path))
    }

    /// The private writes of a transaction.
    pub(crate) fn get(&self, tx_id: &str) -> Option<&TxPvtReadWriteSet> {
        self.live.get(tx_id)?.entry.sets.as_ref()
    }

    /// Forgets transactions that are in a block now and those nobody ordered for long.
    pub(crate) fn forget<'t>(
        &mut self,
        ordered: impl Iterator<Item = &'t str>,
        height: u64,
    ) -> Result<(), LedgerError> {
        for tx_id in ordered {
            if let Some(dead) = self.live.remove(tx_id) {
                self.overwrite(&dead)?;
            }
        }
        if height.is_multiple_of(RETENTION_BLOCKS) {
            let expired =
                |live: &Live| height >= live.entry.height.saturating_add(RETENTION_BLOCKS);
            let dead: Vec<Live> = self
                .live
                .extract_if(|_, live| expired(live))
                .map(|(_, live)| live)
                .collect();
            for dead in &dead {
                self.overwrite(dead)?;
            }
        }
        let dead = self.end.saturating_sub(self.live_bytes);
        if dead > DEAD_BYTES_MAX && dead > self.live_bytes {
            (self.file, self.end) = rewrite(&self.path, &mut self.live)?;
        }
        Ok(())
    }
}

fn frame(entry: &Entry) -> Vec<u8> {
    let body = entry.encode_to_vec();
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    [
        &length.to_le_bytes(),
        &checksum(&body).to_le_bytes(),
        body.as_slice(),
    ]
    .concat()
}

/// CRC-32, and never the 0 that marks a dead entry.
fn checksum(body: &[u8]) -> u32 {
    crc32fast::hash(body).max(1)
}

/// The entries of a file up to the first that is not whole, without the dead ones.
fn entries(bytes: &[u8]) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut rest = bytes.strip_prefix(&FILE_MAGIC).unwrap_or_default();
    while let Some((length, after)) = rest.split_first_chunk::<4>()
        && let Some((crc, after)) = after.split_first_chunk::<4>()
        && let Some((body, after)) = after.split_at_checked(u32::from_le_bytes(*length) as usize)
    {
        rest = after;
        if *crc == [0; 4] {
            continue;
        }
        if checksum(body) != u32::from_le_bytes(*crc) {
            break;
        }
        let Ok(entry) = Entry::decode(body) else {
            break;
        };
        entries.push(entry);
    }
    entries
}

/// Writes the live entries to a new file that replaces the old one, and says where it ends.
fn rewrite(path: &Path, live: &mut HashMap<String, Live>) -> Result<(File, u64), LedgerError> {
    let fresh = path.with_extension("new");
    let mut bytes = FILE_MAGIC.to_vec();
    for live in live.values_mut() {
        let framed = frame(&live.entry);
        live.offset = bytes.len() as u64;
        live.bytes = framed.len() as u64;
        bytes.extend(framed);
    }
    fs::write(&fresh, &bytes).map_err(failed("write", &fresh))?;
    fs::rename(&fresh, path).map_err(failed("replace", path))?;
    let file = OpenOptions::new()
        .write(true)
        .open(path)
        .map_err(failed("open", path))?;
    Ok((file, bytes.len() as u64))
}

#[cfg(test)]
mod tests {
    use fabric_protos::rwset::NsPvtReadWriteSet;

    use super::*;

    fn sets(namespace: &str) -> TxPvtReadWriteSet {
        TxPvtReadWriteSet {
            ns_pvt_rwset: vec![NsPvtReadWriteSet {
                namespace: namespace.to_owned(),
                ..NsPvtReadWriteSet::default()
            }],
            ..TxPvtReadWriteSet::default()
        }
    }

    #[test]
    fn what_was_endorsed_survives_a_restart_until_it_is_ordered() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("transient.log");
        let mut store = TransientStore::open(&path, 1, |_| true).unwrap();
        store.put("a", 1, &sets("one")).unwrap();
        store.put("b", 1, &sets("two")).unwrap();
        drop(store);
        let mut store = TransientStore::open(&path, 1, |_| true).unwrap();
        assert_eq!(store.get("a"), Some(&sets("one")));
        store.forget(["a"].into_iter(), 2).unwrap();
        assert_eq!(store.get("a"), None);
        drop(store);
        let store = TransientStore::open(&path, 2, |tx_id| tx_id != "a").unwrap();
        assert_eq!(store.get("a"), None);
        assert_eq!(store.get("b"), Some(&sets("two")));
    }

    #[test]
    fn what_is_ordered_leaves_zeros_and_later_entries_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("transient.log");
        let mut store = TransientStore::open(&path, 1, |_| true).unwrap();
        store.put("a", 1, &sets("secret of a")).unwrap();
        store.put("b", 1, &sets("first of b")).unwrap();
        store.put("b", 1, &sets("second of b")).unwrap();
        store.put("c", 1, &sets("three")).unwrap();
        store.forget(["a"].into_iter(), 2).unwrap();
        let bytes = fs::read(&path).unwrap();
        for gone in ["secret of a", "first of b"] {
            let found = bytes
                .windows(gone.len())
                .any(|part| part == gone.as_bytes());
            assert!(!found, "{gone} is still there");
        }
        // As after a kill: the file is read as it is.
        drop(store);
        let store = TransientStore::open(&path, 2, |_| true).unwrap();
        assert_eq!(store.get("a"), None);
        assert_eq!(store.get("b"), Some(&sets("second of b")));
        assert_eq!(store.get("c"), Some(&sets("three")));
    }

    #[test]
    fn a_torn_entry_is_dropped_and_the_ones_before_it_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("transient.log");
        let mut store = TransientStore::open(&path, 1, |_| true).unwrap();
        store.put("a", 1, &sets("one")).unwrap();
        let whole = fs::read(&path).unwrap();
        store.put("b", 1, &sets("two")).unwrap();
        let bytes = fs::read(&path).unwrap();
        for end in whole.len()..bytes.len() {
            fs::write(&path, &bytes[..end]).unwrap();
            let store = TransientStore::open(&path, 1, |_| true).unwrap();
            assert_eq!(store.get("a"), Some(&sets("one")), "cut at {end}");
            assert_eq!(store.get("b"), None, "cut at {end}");
        }
    }

    #[test]
    fn what_nobody_orders_is_forgotten_after_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("transient.log");
        let mut store = TransientStore::open(&path, 1, |_| true).unwrap();
        store.put("a", 1, &sets("one")).unwrap();
        store.put("b", 1500, &sets("two")).unwrap();
        store.forget(std::iter::empty(), 1000).unwrap();
        assert!(store.get("a").is_some());
        store.forget(std::iter::empty(), 2000).unwrap();
        assert_eq!(store.get("a"), None);
        assert!(store.get("b").is_some());
    }
}
