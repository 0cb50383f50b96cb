//! The files of the log: the current one, and older ones with a number behind their name.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Older files that are kept.
pub(super) const OLDER_FILES: u32 = 7;
/// Permission bits of the files: the owner's alone.
const FILE_MODE: u32 = 0o600;
/// Permission bits of a folder made for them.
const FOLDER_MODE: u32 = 0o700;

/// Where the files are.
#[derive(Debug, Clone)]
pub(super) struct FileSet {
    path: PathBuf,
}

impl FileSet {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The current file.
    pub(super) fn current(&self) -> &Path {
        &self.path
    }

    /// The older file number `number`: 1 is the youngest.
    fn older(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    }

    /// Whether there are as many files as are kept, so that older lines have been dropped.
    pub(super) fn is_full(&self) -> bool {
        self.older(OLDER_FILES).exists()
    }

    /// Every file there is, oldest first.
    pub(super) fn existing(&self) -> Vec<PathBuf> {
        let older = (1..=OLDER_FILES).rev().map(|number| self.older(number));
        older
            .chain([self.path.clone()])
            .filter(|path| path.exists())
            .collect()
    }

    /// Opens the current file to append, making it and its folder if need be.
    pub(super) fn open(&self) -> io::Result<File> {
        if let Some(folder) = self.folder() {
            DirBuilder::new()
                .recursive(true)
                .mode(FOLDER_MODE)
                .create(folder)?;
        }
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(FILE_MODE)
            .open(&self.path)
    }

    /// Moves every file one number up, so that the oldest leaves and the current one is free.
    pub(super) fn rotate(&self) -> io::Result<()> {
        for number in (1..OLDER_FILES).rev() {
            rename_if_there(&self.older(number), &self.older(number + 1))?;
        }
        rename_if_there(&self.path, &self.older(1))?;
        match self.folder() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }

    fn folder(&self) -> Option<&Path> {
        self.path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
    }
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
