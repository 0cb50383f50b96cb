//! Manifests: the edits that together say which tables and logs make up a data base.

use std::{collections::BTreeMap, fs, path::Path};

use crate::{
    error::{At as _, CompactError, Result, damaged},
    journal,
    key::InternalKey,
    wire::{Cursor, put_bytes, put_varint},
};

/// Tags of an edit's fields.
const COMPARATOR: u64 = 1;
const LOG_NUMBER: u64 = 2;
const NEXT_FILE: u64 = 3;
const LAST_SEQUENCE: u64 = 4;
const COMPACT_POINTER: u64 = 5;
const DELETED_TABLE: u64 = 6;
const NEW_TABLE: u64 = 7;
const PREVIOUS_LOG_NUMBER: u64 = 9;

/// The order of keys that LevelDB and goleveldb have unless told otherwise, and that Fabric uses.
const BYTEWISE: &[u8] = b"leveldb.BytewiseComparator";
/// Levels that LevelDB's tools know.
const LEVELS: u64 = 7;

/// A table of a version.
#[derive(Debug, Clone)]
pub(crate) struct TableInfo {
    pub(crate) number: u64,
    /// Length of its file in bytes.
    pub(crate) size: u64,
    pub(crate) smallest: InternalKey,
    pub(crate) largest: InternalKey,
}

/// What a data base is made of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Version {
    /// Logs from this number on hold writes that are in no table.
    pub(crate) log_number: u64,
    /// Besides, this log does; 0 for none.
    pub(crate) previous_log_number: u64,
    /// A number that no file has had.
    pub(crate) next_file: u64,
    /// Of the last write that is in a table.
    pub(crate) last_sequence: u64,
    /// Tables by level and number.
    pub(crate) tables: BTreeMap<(u64, u64), TableInfo>,
}

impl Version {
    /// Reads a manifest.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).at(path)?;
        let not_recovered = |journal::Broken(what)| CompactError::NotRecovered {
            path: path.to_owned(),
            what,
        };
        let mut version = Self::default();
        let mut given = 0u16;
        for record in journal::records(&bytes).map_err(not_recovered)? {
            let tags = version.apply(&record);
            given |= tags.ok_or_else(|| damaged(path, "has an edit that cannot be read"))?;
        }
        let needed = [COMPARATOR, LOG_NUMBER, NEXT_FILE, LAST_SEQUENCE];
        if needed.iter().any(|tag| given & (1 << tag) == 0) {
            return Err(damaged(path, "does not say all that a manifest has to say"));
        }
        Ok(version)
    }

    /// Carries an edit out; gives the tags that it had, a bit for each.
    pub(crate) fn apply(&mut self, record: &[u8]) -> Option<u16> {
        let mut cursor = Cursor(record);
        let mut given = 0;
        while !cursor.is_empty() {
            let tag = cursor.varint()?;
            match tag {
                COMPARATOR => (cursor.bytes()? == BYTEWISE).then_some(())?,
                LOG_NUMBER => self.log_number = cursor.varint()?,
                PREVIOUS_LOG_NUMBER => self.previous_log_number = cursor.varint()?,
                NEXT_FILE => self.next_file = cursor.varint()?,
                LAST_SEQUENCE => self.last_sequence = cursor.varint()?,
                COMPACT_POINTER => {
                    cursor.varint()?;
                    cursor.bytes()?;
                }
                DELETED_TABLE => {
                    let place = (cursor.varint()?, cursor.varint()?);
                    self.tables.remove(&place);
                }
                NEW_TABLE => {
                    let level = cursor.varint()?;
                    let table = TableInfo {
                        number: cursor.varint()?,
                        size: cursor.varint()?,
                        smallest: InternalKey::from_bytes(cursor.bytes()?)?,
                        largest: InternalKey::from_bytes(cursor.bytes()?)?,
                    };
                    self.tables.insert((level, table.number), table);
                }
                _ => return None,
            }
            given |= 1u16 << tag;
        }
        Some(given)
    }

    /// A manifest of this version alone.
    pub(crate) fn to_file(&self) -> Vec<u8> {
        let mut edit = Vec::new();
        put_varint(&mut edit, COMPARATOR);
        put_bytes(&mut edit, BYTEWISE);
        for (tag, number) in [
            (LOG_NUMBER, self.log_number),
            (NEXT_FILE, self.next_file),
            (LAST_SEQUENCE, self.last_sequence),
        ] {
            put_varint(&mut edit, tag);
            put_varint(&mut edit, number);
        }
        for ((level, number), table) in &self.tables {
            for value in [NEW_TABLE, *level, *number, table.size] {
                put_varint(&mut edit, value);
            }
            put_bytes(&mut edit, table.smallest.as_bytes());
            put_bytes(&mut edit, table.largest.as_bytes());
        }
        journal::file_of(&edit)
    }

    /// Whether a log holds writes that are in no table.
    pub(crate) fn needs_log(&self, number: u64) -> bool {
        number >= self.log_number || number == self.previous_log_number
    }
}

/// The highest level that so many bytes fill less than LevelDB lets them before it compacts: what
/// was written there needs no further work.
pub(crate) fn level_for(bytes: u64) -> u64 {
    /// What level 1 may hold; each level holds ten times the one before.
    const FIRST_LEVEL_BYTES: u64 = 10 << 20;
    let levels = (1..LEVELS - 1).zip(std::iter::successors(Some(FIRST_LEVEL_BYTES), |limit| {
        Some(limit * 10)
    }));
    let mut fitting = levels.filter(|(_, limit)| bytes < *limit);
    fitting.next().map_or(LEVELS - 1, |(level, _)| level)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(number: u64) -> TableInfo {
        TableInfo {
            number,
            size: 77,
            smallest: InternalKey::new(b"a", 1, true),
            largest: InternalKey::new(b"b", 2, true),
        }
    }

    #[test]
    fn a_version_comes_back_and_edits_change_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("MANIFEST-000001");
        let mut version = Version {
            log_number: 3,
            next_file: 9,
            last_sequence: 1000,
            ..Version::default()
        };
        version.tables.insert((2, 7), table(7));
        version.tables.insert((2, 8), table(8));
        let mut edit = vec![];
        for number in [
            DELETED_TABLE,
            2,
            7,
            LAST_SEQUENCE,
            2000,
            PREVIOUS_LOG_NUMBER,
            2,
        ] {
            put_varint(&mut edit, number);
        }
        let mut file = version.to_file();
        file.extend(journal::file_of(&edit));
        fs::write(&path, file).unwrap();
        let read = Version::read(&path).unwrap();
        assert_eq!(read.last_sequence, 2000);
        let places: Vec<_> = read.tables.keys().copied().collect();
        assert_eq!(places, [(2, 8)]);
        assert!(read.needs_log(2) && read.needs_log(3) && !read.needs_log(1));
    }

    #[test]
    fn another_order_of_keys_and_missing_fields_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("MANIFEST-000001");
        let mut edit = vec![];
        put_varint(&mut edit, COMPARATOR);
        put_bytes(&mut edit, b"idb_cmp1");
        for record in [&edit[..], b"", &[12]] {
            fs::write(&path, journal::file_of(record)).unwrap();
            assert!(matches!(
                Version::read(&path),
                Err(CompactError::Damaged { .. })
            ));
        }
    }

    #[test]
    fn levels_follow_sizes() {
        for (bytes, level) in [
            (0, 1),
            ((10 << 20) - 1, 1),
            (10 << 20, 2),
            (1 << 30, 4),
            (1 << 50, 6),
        ] {
            assert_eq!(level_for(bytes), level, "{bytes}");
        }
    }
}
