//! What a data base holds.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use aws_lc_rs::digest::{Context, SHA256};
use serde::Serialize;

use crate::{
    error::{At as _, CompactError, Result, damaged},
    files::{Kind, Listing, manifest_name},
    journal,
    key::{Entry, InternalKey},
    manifest::{TableInfo, Version},
    merge::{Live, Run, Source},
    wire::Cursor,
};

/// The longest write-ahead log that is read; goleveldb begins a new one after 4 MiB and the batch at
/// hand.
const MAX_LOG_BYTES: u64 = 1 << 30;

/// The live pairs of a data base in short. Equal for two data bases that hold the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// How many pairs of key and value.
    pub pairs: u64,
    /// SHA-256 (hex) over all pairs in order, each key and value with its length before it.
    pub sha256: String,
}

/// A data base at one version.
#[derive(Debug)]
pub(crate) struct Snapshot {
    folder: PathBuf,
    pub(crate) listing: Listing,
    pub(crate) version: Version,
    /// Number of the manifest in force.
    pub(crate) manifest: u64,
    /// The entries of the logs, in order.
    logs: Vec<Entry>,
    /// Bytes of the logs in force.
    pub(crate) log_bytes: u64,
    /// Of the last write, in a table or a log.
    pub(crate) last_sequence: u64,
}

impl Snapshot {
    /// Reads the manifest in force, and the logs.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let listing = Listing::of(folder)?;
        let (manifest, path) = listing.current_manifest(folder)?;
        Self::of(folder, listing, manifest, &path)
    }

    /// Reads a manifest that may not be in force.
    pub(crate) fn at_manifest(folder: &Path, manifest: u64) -> Result<Self> {
        let path = folder.join(manifest_name(manifest));
        Self::of(folder, Listing::of(folder)?, manifest, &path)
    }

    fn of(folder: &Path, listing: Listing, manifest: u64, path: &Path) -> Result<Self> {
        let version = Version::read(path)?;
        let mut snapshot = Self {
            folder: folder.to_owned(),
            listing,
            manifest,
            last_sequence: version.last_sequence,
            version,
            logs: vec![],
            log_bytes: 0,
        };
        snapshot.read_logs()?;
        Ok(snapshot)
    }

    fn read_logs(&mut self) -> Result<()> {
        for ((kind, number), path) in &self.listing.numbered {
            if *kind != Kind::Log || !self.version.needs_log(*number) {
                continue;
            }
            let not_recovered = |what| CompactError::NotRecovered {
                path: path.clone(),
                what,
            };
            let length = fs::metadata(path).at(path)?.len();
            if length > MAX_LOG_BYTES {
                return Err(not_recovered("is longer than a log gets"));
            }
            self.log_bytes += length;
            let bytes = fs::read(path).at(path)?;
            let records = journal::records(&bytes);
            for record in records.map_err(|journal::Broken(what)| not_recovered(what))? {
                let first = sequence_of(&record).ok_or_else(|| damaged(path, "has no batch"))?;
                if first < self.last_sequence {
                    return Err(not_recovered("has writes that are older than the tables"));
                }
                let batch = batch(&record);
                let batch =
                    batch.ok_or_else(|| damaged(path, "has a batch that cannot be read"))?;
                self.last_sequence = first + (batch.len() as u64).saturating_sub(1);
                self.logs.extend(batch);
            }
        }
        self.logs.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(())
    }

    /// Its live pairs.
    pub(crate) fn live(&self) -> Result<Live<'_>> {
        let mut sources = vec![Source::Logs(self.logs.iter())];
        let mut levels: Vec<Vec<(PathBuf, TableInfo)>> = vec![];
        // Tables of level 0 overlap, and those with higher numbers have later writes.
        for ((level, _), table) in self.version.tables.iter().rev() {
            if *level == 0 {
                levels.push(vec![self.located(table)?]);
            }
        }
        let mut last = 0;
        for ((level, _), table) in &self.version.tables {
            if *level == 0 {
                continue;
            }
            if *level != last {
                levels.push(vec![]);
                last = *level;
            }
            if let Some(tables) = levels.last_mut() {
                tables.push(self.located(table)?);
            }
        }
        let runs = levels.into_iter().map(Run::new);
        sources.extend(runs.map(|run| Source::Tables(Box::new(run))));
        Live::of(sources)
    }

    fn located(&self, table: &TableInfo) -> Result<(PathBuf, TableInfo)> {
        let path = self.listing.numbered.get(&(Kind::Table, table.number));
        let missing = || damaged(&self.folder, "lacks a table that its manifest names");
        Ok((path.ok_or_else(missing)?.clone(), table.clone()))
    }

    /// Whether `CURRENT` itself names the manifest in force.
    pub(crate) fn is_settled(&self) -> bool {
        self.listing.settled_manifest(&self.folder) == Some(self.manifest)
    }

    /// Files that this version has no use for.
    pub(crate) fn superseded(&self) -> Vec<PathBuf> {
        let tables = self.version.tables.values();
        let tables: BTreeSet<u64> = tables.map(|table| table.number).collect();
        let numbered = self
            .listing
            .numbered
            .iter()
            .filter(|((kind, number), _)| !match kind {
                Kind::Manifest => *number == self.manifest,
                Kind::Log => self.version.needs_log(*number),
                Kind::Table => tables.contains(number),
                Kind::Temporary | Kind::Pending => false,
            });
        let mut paths: Vec<PathBuf> = numbered.map(|(_, path)| path.clone()).collect();
        paths.extend(self.listing.backup.clone());
        paths
    }

    /// Goes through all live pairs. Gives what they are in short, and how many entries are dead.
    pub(crate) fn each(
        &self,
        mut look: impl FnMut(&Entry) -> Result<()>,
    ) -> Result<(Summary, u64)> {
        let mut live = self.live()?;
        let mut digest = Context::new(&SHA256);
        let mut pairs = 0;
        while let Some(entry) = live.next_entry()? {
            for part in [entry.key.user(), &entry.value] {
                digest.update(&(part.len() as u64).to_le_bytes());
                digest.update(part);
            }
            pairs += 1;
            look(&entry)?;
        }
        let sha256 = hex::encode(digest.finish());
        Ok((Summary { pairs, sha256 }, live.dead))
    }
}

/// The number of a batch's first write.
fn sequence_of(record: &[u8]) -> Option<u64> {
    Cursor(record).fixed64()
}

/// The writes of a batch.
pub(crate) fn batch(record: &[u8]) -> Option<Vec<Entry>> {
    let mut cursor = Cursor(record);
    let first = cursor.fixed64().filter(|first| *first < 1 << 55)?;
    let count = cursor.fixed32()?;
    let mut entries = Vec::new();
    for sequence in (first..).take(usize::try_from(count).ok()?) {
        let is_value = match cursor.byte()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let key = InternalKey::new(cursor.bytes()?, sequence, is_value);
        let value = if is_value { cursor.bytes()? } else { &[] };
        entries.push(Entry {
            key,
            value: value.to_vec(),
        });
    }
    cursor.is_empty().then_some(entries)
}
