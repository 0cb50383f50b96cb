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
//! The file is rewritten with the live entries at start and when most of it is dead.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use fabric_protos::rwset::TxPvtReadWriteSet;
use prost::Message;

use super::error::LedgerError;
use super::log::failed;

const FILE_MAGIC: [u8; 8] = *b"FDEVTRN1";
/// Bytes of live entries that are kept at most.
pub(crate) const LIVE_BYTES_MAX: u64 = 256 << 20;
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
    file_bytes: u64,
}

#[derive(Debug)]
struct Live {
    entry: Entry,
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
        for (entry, bytes) in entries(&bytes) {
            if wanted(&entry.tx_id) && height < entry.height.saturating_add(RETENTION_BLOCKS) {
                live.insert(entry.tx_id.clone(), Live { entry, bytes });
            }
        }
        let live_bytes = live.values().map(|live| live.bytes).sum();
        let file = rewrite(path, &live)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            live,
            live_bytes,
            file_bytes: live_bytes,
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
            .write_all(&framed)
            .map_err(failed("append to", &self.path))?;
        self.file_bytes += bytes;
        self.live_bytes += bytes;
        let replaced = self.live.insert(tx_id.to_owned(), Live { entry, bytes });
        self.live_bytes -= replaced.map_or(0, |live| live.bytes);
        Ok(())
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
            let forgotten = self.live.remove(tx_id);
            self.live_bytes -= forgotten.map_or(0, |live| live.bytes);
        }
        let expired = |live: &Live| height >= live.entry.height.saturating_add(RETENTION_BLOCKS);
        if height.is_multiple_of(RETENTION_BLOCKS) {
            self.live.retain(|_, live| !expired(live));
            self.live_bytes = self.live.values().map(|live| live.bytes).sum();
        }
        let dead = self.file_bytes.saturating_sub(self.live_bytes);
        if dead > DEAD_BYTES_MAX && dead > self.live_bytes {
            self.file = rewrite(&self.path, &self.live)?;
            self.file_bytes = self.live_bytes;
        }
        Ok(())
    }
}

fn frame(entry: &Entry) -> Vec<u8> {
    let body = entry.encode_to_vec();
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let crc = crc32fast::hash(&body);
    [&length.to_le_bytes(), &crc.to_le_bytes(), body.as_slice()].concat()
}

/// The entries of a file up to the first that is not whole, with their length in it.
fn entries(bytes: &[u8]) -> Vec<(Entry, u64)> {
    let mut entries = Vec::new();
    let mut rest = bytes.strip_prefix(&FILE_MAGIC).unwrap_or_default();
    while let Some((length, after)) = rest.split_first_chunk::<4>()
        && let Some((crc, after)) = after.split_first_chunk::<4>()
        && let Some((body, after)) = after.split_at_checked(u32::from_le_bytes(*length) as usize)
        && crc32fast::hash(body) == u32::from_le_bytes(*crc)
        && let Ok(entry) = Entry::decode(body)
    {
        entries.push((entry, body.len() as u64 + 8));
        rest = after;
    }
    entries
}

/// Writes the live entries to a new file that replaces the old one.
fn rewrite(path: &Path, live: &HashMap<String, Live>) -> Result<File, LedgerError> {
    let fresh = path.with_extension("new");
    let mut bytes = FILE_MAGIC.to_vec();
    for live in live.values() {
        bytes.extend(frame(&live.entry));
    }
    fs::write(&fresh, bytes).map_err(failed("write", &fresh))?;
    fs::rename(&fresh, path).map_err(failed("replace", path))?;
    OpenOptions::new()
        .append(true)
        .open(path)
        .map_err(failed("open", path))
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
