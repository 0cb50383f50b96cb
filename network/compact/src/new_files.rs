//! The new files of a data base, before they are switched over to.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
};

use crate::{
    error::{At as _, Result},
    files::{CURRENT, manifest_name, pending_name, table_name},
    folder::Folder,
    key::Entry,
    manifest::{TableInfo, Version, level_for},
    table_writer::TableWriter,
};

/// A table is ended when it has so many bytes, as in LevelDB.
const TABLE_BYTES: u64 = 2 << 20;

/// New files; those that were not switched over to are removed when this is dropped.
#[derive(Debug)]
pub(crate) struct NewFiles<'a> {
    folder: &'a Folder,
    /// Whose owner and mode new files get.
    like: fs::Metadata,
    next_number: u64,
    open: Option<TableWriter>,
    tables: Vec<TableInfo>,
    made: Vec<PathBuf>,
}

impl<'a> NewFiles<'a> {
    /// None yet; they will have numbers from `next_number` on, which no file has.
    ///
    /// # Errors
    /// When the file that new files have to be like cannot be read.
    pub(crate) fn new(folder: &'a Folder, like: &Path, next_number: u64) -> Result<Self> {
        Ok(Self {
            folder,
            like: fs::metadata(like).at(like)?,
            next_number,
            open: None,
            tables: vec![],
            made: vec![],
        })
    }

    /// Adds an entry behind all others.
    pub(crate) fn add(&mut self, entry: &Entry) -> Result<()> {
        if self
            .open
            .as_ref()
            .is_some_and(|table| table.size() >= TABLE_BYTES)
        {
            self.finish_table()?;
        }
        if let Some(table) = &mut self.open {
            return table.add(entry);
        }
        let number = self.number();
        let path = self.folder.path().join(table_name(number));
        let file = self.create(&path)?;
        self.open = Some(TableWriter::begin(file, path, number, entry)?);
        Ok(())
    }

    /// Ends the last table and writes the manifest. Gives its number.
    pub(crate) fn finish(&mut self, last_sequence: u64) -> Result<u64> {
        self.finish_table()?;
        let level = level_for(self.tables.iter().map(|table| table.size).sum());
        let number = self.number();
        let tables = self.tables.drain(..);
        let version = Version {
            // No log yet: the next program to open the data base makes one with a later number.
            log_number: number + 1,
            next_file: number + 2,
            last_sequence,
            tables: tables.map(|table| ((level, table.number), table)).collect(),
            ..Version::default()
        };
        let path = self.folder.path().join(manifest_name(number));
        self.write(&path, &version.to_file())?;
        self.folder.sync()?;
        Ok(number)
    }

    /// Makes the manifest the current one. This is the moment at which old becomes new.
    pub(crate) fn switch_over(mut self, manifest: u64) -> Result<()> {
        let pending = self.folder.path().join(pending_name(manifest));
        let name = format!("{}\n", manifest_name(manifest));
        self.write(&pending, name.as_bytes())?;
        let current = self.folder.path().join(CURRENT);
        fs::rename(&pending, &current).at(&current)?;
        self.made.clear();
        self.folder.sync()
    }

    fn finish_table(&mut self) -> Result<()> {
        if let Some(table) = self.open.take() {
            self.tables.push(table.finish()?);
        }
        Ok(())
    }

    fn number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        number
    }

    fn write(&mut self, path: &Path, bytes: &[u8]) -> Result<()> {
        let mut file = self.create(path)?;
        file.write_all(bytes).at(path)?;
        file.sync_all().at(path)
    }

    /// A new file that belongs to whom the others belong: an administrator may run this as root, and
    /// the peer has to open it.
    fn create(&mut self, path: &Path) -> Result<File> {
        let file = File::create_new(path).at(path)?;
        self.made.push(path.to_owned());
        let like = &self.like;
        let own = file.metadata().at(path)?;
        if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
            fchown(&file, Some(like.uid()), Some(like.gid())).at(path)?;
        }
        let permissions = fs::Permissions::from_mode(like.mode() & 0o777);
        file.set_permissions(permissions).at(path)?;
        Ok(file)
    }
}

impl Drop for NewFiles<'_> {
    /// Removes the name of the manifest first, then the manifest, then what it names: whoever opens
    /// the data base in between finds no manifest that names what is gone.
    fn drop(&mut self) {
        for path in self.made.iter().rev() {
            // What cannot be removed is removed by the next who opens the data base.
            let _ = fs::remove_file(path);
        }
    }
}
