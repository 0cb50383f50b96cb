//! What can go wrong.

use std::{io, path::PathBuf};

/// Why the folders were not compacted. Nothing live is lost, whatever the reason.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompactError {
    /// A program has the data base open.
    #[error("{path} is in use: stop the peer first")]
    InUse {
        /// The data base's folder.
        path: PathBuf,
    },
    /// No folder there is a LevelDB data base.
    #[error("no LevelDB data base in {path}: name the peer's data folder (peer.fileSystemPath)")]
    NoDatabase {
        /// The folder that was searched.
        path: PathBuf,
    },
    /// A file is not what LevelDB writes, or is damaged.
    #[error("{path}: {what}; nothing was changed in this data base")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The last run of its user did not end orderly and left what only that user can judge.
    #[error(
        "{path}: {what}; start the peer once, which repairs its logs, stop it and try again; nothing \
         was changed in this data base"
    )]
    NotRecovered {
        /// The log.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// What was written is not what was read; it was thrown away.
    #[error("{path}: the new files do not hold what the old ones hold; they were removed again")]
    Unequal {
        /// The data base's folder.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("{path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
}

pub(crate) type Result<T> = std::result::Result<T, CompactError>;

/// Names the path of a failed operation.
pub(crate) trait At<T> {
    /// The result, with the path in its error.
    fn at(self, path: &std::path::Path) -> Result<T>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: &std::path::Path) -> Result<T> {
        self.map_err(|source| CompactError::Io {
            path: path.to_owned(),
            source,
        })
    }
}

/// An error about a damaged file.
pub(crate) fn damaged(path: &std::path::Path, what: &'static str) -> CompactError {
    CompactError::Damaged {
        path: path.to_owned(),
        what,
    }
}
