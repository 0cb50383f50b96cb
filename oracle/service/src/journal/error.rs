//! What can go wrong in the journal.

use std::path::PathBuf;

use thiserror::Error;

/// Why the journal could not be opened, read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JournalError {
    /// A file or folder could not be used.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried, e.g. "open".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The key file is missing or unusable.
    #[error("journal key {path} cannot be used")]
    Key {
        /// The key file.
        path: PathBuf,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// Another process has the journal open.
    #[error("journal {path} is in use by another process")]
    InUse {
        /// The lock file.
        path: PathBuf,
    },
    /// Bytes that were once durable are damaged. Nothing is skipped; restore the file from a copy.
    #[error("journal file {path} is damaged at byte {offset}: {damage}")]
    Damaged {
        /// The segment file.
        path: PathBuf,
        /// Offset of the first damaged frame, in bytes.
        offset: u64,
        /// What is wrong there.
        damage: Damage,
    },
    /// A segment file in the row of numbers is missing.
    #[error("journal file {path} is missing, files before and after it exist")]
    Gap {
        /// The missing file.
        path: PathBuf,
    },
    /// The file was written by a newer version.
    #[error("journal file {path} has format version {version}, this program knows up to {known}")]
    NewerFormat {
        /// The segment file.
        path: PathBuf,
        /// Its version.
        version: u16,
        /// The newest version this program reads.
        known: u16,
    },
    /// The random source failed.
    #[error("the operating system gave no random bytes")]
    Random,
    /// The entry is not in the journal, or no longer.
    #[error("the journal holds no entry {entry}")]
    NoSuchEntry {
        /// Its number.
        entry: u64,
    },
    /// The record is not in the journal, or no longer.
    #[error("the journal holds no unfinished record {record}")]
    NoSuchRecord {
        /// Its identifier, hexadecimal.
        record: String,
    },
    /// The size limit is reached; finished entries must be deleted first.
    #[error("the journal is full")]
    Full,
    /// The disk refused the bytes; the journal is as before and may be tried again.
    #[error("the disk refused the journal's bytes")]
    DiskRefused {
        /// The operating system's answer.
        #[source]
        source: std::io::Error,
    },
    /// A write could not be made durable or undone. The process MUST end: what is on disk is unknown.
    #[error("the journal has failed and must be reopened")]
    Failed,
}

impl JournalError {
    /// Whether what was once durable cannot be read as it was: damaged, missing, of a newer format, or without its
    /// key. An operator has to act.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Damaged { .. } | Self::Gap { .. } | Self::NewerFormat { .. } | Self::Key { .. }
        )
    }

    pub(super) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }
}

/// Why the key file was refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// No such file, while files of a journal that need it exist.
    #[error("the file does not exist, and files that only it opens do")]
    Missing,
    /// Others than the owner may read it.
    #[error("its mode is {mode:o}, only the owner may have access")]
    TooOpen {
        /// Permission bits.
        mode: u32,
    },
    /// A key has exactly 32 bytes.
    #[error("it has {bytes} bytes, a key has 32")]
    WrongLength {
        /// Bytes found.
        bytes: u64,
    },
    /// The random source failed.
    #[error("the operating system gave no random bytes")]
    Random,
    /// It could not be read or written.
    #[error("it cannot be read or written")]
    Io(#[from] std::io::Error),
}

/// What is wrong with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Damage {
    /// The file's header is not a journal's.
    #[error("no journal header")]
    Header,
    /// A frame does not begin where one must.
    #[error("no frame begins here")]
    Marker,
    /// A frame claims an impossible length.
    #[error("impossible frame length")]
    Length,
    /// The checksum differs.
    #[error("checksum differs")]
    Checksum,
    /// The frame ends after the file although later bytes were once durable.
    #[error("frame is cut off")]
    CutOff,
    /// The checksum is right, the decryption is not: other key or moved frame.
    #[error("cannot be decrypted with this journal key")]
    Decryption,
    /// Decrypted, but not a journal entry.
    #[error("not a journal entry")]
    Entry,
}
