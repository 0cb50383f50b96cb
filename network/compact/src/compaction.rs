//! Compacting the data bases below a folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::{
    error::{At as _, CompactError, Result},
    folder::{Folder, lock_all},
    new_files::NewFiles,
    snapshot::{Snapshot, Summary},
};

/// What was done with one data base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Compacted {
    /// Its folder.
    pub path: PathBuf,
    /// What it holds, before and after.
    #[serde(flatten)]
    pub summary: Summary,
    /// Deletions and values hidden by them or by later values, none of which is left.
    pub dead_entries: u64,
    /// Whether it was rewritten. If not, there was nothing dead in it.
    pub rewritten: bool,
    /// Tables before.
    pub tables_before: u64,
    /// Tables after.
    pub tables_after: u64,
    /// Bytes of its files before.
    pub bytes_before: u64,
    /// Bytes of its files after.
    pub bytes_after: u64,
}

/// Rewrites every LevelDB data base in or below a folder without what is deleted or overwritten.
///
/// It may be killed at any moment: a data base is then as before or as after, or holds both with one
/// in force. Running it again ends what was left.
///
/// # Errors
/// When there is no data base, one is open elsewhere, has damage, or cannot be written. All are
/// locked before the first is changed.
pub fn compact(root: &Path) -> Result<Vec<Compacted>> {
    // Locks are held to the end: a peer could otherwise start while half of them are done.
    let folders = lock_all(root)?;
    folders.iter().map(compact_one).collect()
}

/// Shows every live pair of every LevelDB data base in or below a folder, with the data base's
/// folder, and changes nothing.
///
/// # Errors
/// As [`compact`].
pub fn read(
    root: &Path,
    mut look: impl FnMut(&Path, &[u8], &[u8]),
) -> Result<Vec<(PathBuf, Summary)>> {
    let folders = lock_all(root)?;
    let mut all = Vec::new();
    for folder in &folders {
        let snapshot = Snapshot::open(folder.path())?;
        let (summary, _) = snapshot.each(|entry| {
            look(folder.path(), entry.key.user(), &entry.value);
            Ok(())
        })?;
        all.push((folder.path().to_owned(), summary));
    }
    Ok(all)
}

fn compact_one(folder: &Folder) -> Result<Compacted> {
    let bytes_before = folder.bytes()?;
    let old = Snapshot::open(folder.path())?;
    let (summary, dead_entries) = old.each(|_| Ok(()))?;
    let rewritten = dead_entries > 0 || old.log_bytes > 0 || !old.is_settled();
    if rewritten {
        rewrite(folder, &old, &summary)?;
    }
    let new = Snapshot::open(folder.path())?;
    remove_superseded(folder, &new)?;
    Ok(Compacted {
        path: folder.path().to_owned(),
        summary,
        dead_entries,
        rewritten,
        tables_before: old.version.tables.len() as u64,
        tables_after: new.version.tables.len() as u64,
        bytes_before,
        bytes_after: folder.bytes()?,
    })
}

/// Writes new files, reads them back and switches over to them.
fn rewrite(folder: &Folder, old: &Snapshot, summary: &Summary) -> Result<()> {
    let next = old.listing.next_number().max(old.version.next_file);
    let (_, like) = old.listing.current_manifest(folder.path())?;
    let mut files = NewFiles::new(folder, &like, next)?;
    let (written, _) = old.each(|entry| files.add(entry))?;
    let manifest = files.finish(old.last_sequence)?;
    let new = Snapshot::at_manifest(folder.path(), manifest)?;
    let (read_back, dead) = new.each(|_| Ok(()))?;
    if written != *summary || read_back != *summary || dead > 0 {
        return Err(CompactError::Unequal {
            path: folder.path().to_owned(),
        });
    }
    files.switch_over(manifest)
}

fn remove_superseded(folder: &Folder, snapshot: &Snapshot) -> Result<()> {
    let superseded = snapshot.superseded();
    for path in &superseded {
        fs::remove_file(path).at(path)?;
    }
    if superseded.is_empty() {
        return Ok(());
    }
    folder.sync()
}

#[cfg(test)]
mod tests;
