//! Names of the files of a data base.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::error::{At as _, Result, damaged};

/// Names the manifest in force.
pub(crate) const CURRENT: &str = "CURRENT";
/// The file whose lock says that the data base is open.
pub(crate) const LOCK: &str = "LOCK";
const CURRENT_BACKUP: &str = "CURRENT.bak";
const PENDING_PREFIX: &str = "CURRENT.";
const MANIFEST_PREFIX: &str = "MANIFEST-";

/// What a numbered file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Which tables and logs make up the data base.
    Manifest,
    /// The latest writes.
    Log,
    /// Entries in order.
    Table,
    /// Left from something interrupted.
    Temporary,
    /// A name of a manifest that was about to become the current one.
    Pending,
}

/// The numbered files in a data base's folder, and the other ones that LevelDB may leave there.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) numbered: BTreeMap<(Kind, u64), PathBuf>,
    pub(crate) backup: Option<PathBuf>,
}

impl Listing {
    /// Reads a folder.
    pub(crate) fn of(folder: &Path) -> Result<Self> {
        let mut listing = Self::default();
        for entry in fs::read_dir(folder).at(folder)? {
            let path = entry.at(folder)?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            if name == CURRENT_BACKUP {
                listing.backup = Some(path);
            } else if let Some(number) = number_of(name) {
                listing.numbered.insert(number, path);
            }
        }
        Ok(listing)
    }

    /// A number above that of every file.
    pub(crate) fn next_number(&self) -> u64 {
        let numbers = self.numbered.keys().map(|(_, number)| number + 1);
        numbers.max().unwrap_or(1)
    }

    /// The manifest in force, found as goleveldb finds it: a complete name that was about to be
    /// renamed comes before an older one, and the backup is for when there is no other.
    pub(crate) fn current_manifest(&self, folder: &Path) -> Result<(u64, PathBuf)> {
        let pending = self.numbered.iter().rev();
        let pending = pending
            .filter(|((kind, _), _)| *kind == Kind::Pending)
            .find_map(|(_, path)| self.named_in(path));
        let settled = self
            .settled_manifest(folder)
            .or_else(|| self.named_in(self.backup.as_deref()?));
        let number = pending
            .max(settled)
            .ok_or_else(|| damaged(&folder.join(CURRENT), "names no manifest that is there"))?;
        Ok((number, self.numbered[&(Kind::Manifest, number)].clone()))
    }

    /// The manifest that `CURRENT` itself names, if it is there.
    pub(crate) fn settled_manifest(&self, folder: &Path) -> Option<u64> {
        self.named_in(&folder.join(CURRENT))
    }

    /// The manifest that a file names, if it is there.
    fn named_in(&self, path: &Path) -> Option<u64> {
        let text = fs::read_to_string(path).ok()?;
        let (kind, number) = number_of(text.strip_suffix('\n')?)?;
        let is_there = self.numbered.contains_key(&(kind, number));
        (kind == Kind::Manifest && is_there).then_some(number)
    }
}

fn number_of(name: &str) -> Option<(Kind, u64)> {
    let number = |digits: &str| {
        let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.parse().ok().filter(|number| *number < u64::MAX >> 1);
        number.filter(|_| all_digits)
    };
    if let Some(digits) = name.strip_prefix(MANIFEST_PREFIX) {
        return Some((Kind::Manifest, number(digits)?));
    }
    if let Some(digits) = name.strip_prefix(PENDING_PREFIX) {
        return Some((Kind::Pending, number(digits)?));
    }
    let (digits, ending) = name.split_once('.')?;
    let kind = match ending {
        "log" => Kind::Log,
        "ldb" | "sst" => Kind::Table,
        "tmp" | "dbtmp" => Kind::Temporary,
        _ => return None,
    };
    Some((kind, number(digits)?))
}

/// The name of a new table.
pub(crate) fn table_name(number: u64) -> String {
    format!("{number:06}.ldb")
}

/// The name of a new manifest.
pub(crate) fn manifest_name(number: u64) -> String {
    format!("{MANIFEST_PREFIX}{number:06}")
}

/// The name under which a new [`CURRENT`] is written before it is renamed.
pub(crate) fn pending_name(number: u64) -> String {
    format!("{PENDING_PREFIX}{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_a_file_is() {
        for (name, expected) in [
            ("000012.ldb", Some((Kind::Table, 12))),
            ("000012.sst", Some((Kind::Table, 12))),
            ("1000001.log", Some((Kind::Log, 1_000_001))),
            ("MANIFEST-000003", Some((Kind::Manifest, 3))),
            ("CURRENT.7", Some((Kind::Pending, 7))),
            ("000004.tmp", Some((Kind::Temporary, 4))),
            ("CURRENT", None),
            ("CURRENT.bak", None),
            ("LOG.old", None),
            ("LOCK", None),
            ("+5.ldb", None),
            ("MANIFEST-", None),
            ("x.ldb", None),
        ] {
            assert_eq!(number_of(name), expected, "{name}");
        }
        assert_eq!(number_of(&table_name(7)), Some((Kind::Table, 7)));
        assert_eq!(number_of(&manifest_name(7)), Some((Kind::Manifest, 7)));
        assert_eq!(number_of(&pending_name(7)), Some((Kind::Pending, 7)));
    }

    #[test]
    fn a_pending_name_is_in_force_if_its_manifest_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        let current = || {
            let listing = Listing::of(dir.path()).unwrap();
            let found = listing.current_manifest(dir.path());
            found.map(|(number, _)| number).ok()
        };
        assert_eq!(current(), None);
        write("MANIFEST-000002", "");
        write("CURRENT.bak", "MANIFEST-000002\n");
        assert_eq!(current(), Some(2));
        write("MANIFEST-000004", "");
        write("CURRENT", "MANIFEST-000004\n");
        assert_eq!(current(), Some(4));
        write("CURRENT.9", "MANIFEST-000009\n");
        assert_eq!(current(), Some(4));
        write("MANIFEST-000009", "");
        assert_eq!(current(), Some(9));
        write("CURRENT.9", "MANIFEST-0000");
        assert_eq!(current(), Some(4));
    }
}
