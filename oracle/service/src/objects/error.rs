//! Why an object, or a piece of one, was not taken.

use thiserror::Error;

use crate::ingest::decode::DecodeError;

/// Why a manifest or chunk was not taken. [`ObjectError::name`] is stable; no variant holds content.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// The manifest is no JSON object, or a member of it is wrong.
    #[error("the manifest cannot be used: {field} must be {expected}")]
    Manifest {
        /// Which member.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// The manifest describes the content wrongly, as a message would be refused for.
    #[error(transparent)]
    Described(#[from] DecodeError),
    /// Another object has this name.
    #[error("another manifest was sent under this object ID before")]
    Differs,
    /// No manifest was sent, or the object was given up.
    #[error("no such object is open, send its manifest first")]
    Unknown,
    /// A chunk of another number or length than the manifest says.
    #[error("the chunk's number or length is not as the manifest says")]
    Chunk,
    /// The content is not what the manifest says it is.
    #[error("the content is not what its content type says")]
    ContentType,
    /// Too many objects are unfinished.
    #[error("{whose} has {limit} unfinished objects")]
    TooMany {
        /// Whose limit it is.
        whose: Whose,
        /// The limit.
        limit: usize,
    },
    /// The unfinished objects are too large together.
    #[error("the unfinished objects of {whose} would have more than {limit} bytes")]
    Quota {
        /// Whose limit it is.
        whose: Whose,
        /// The limit, bytes.
        limit: u64,
    },
    /// The disk has no room.
    #[error("the disk is full, try again later")]
    DiskFull,
    /// What is on the disk is unknown; the process ends.
    #[error("the object could not be made durable")]
    NotDurable,
}

/// Whose limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Whose {
    /// The device's own.
    Device,
    /// That of all devices.
    Organization,
}

impl std::fmt::Display for Whose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Device => "the device",
            Self::Organization => "the organisation",
        })
    }
}

impl ObjectError {
    /// The error's stable name, as dead letters, metrics, statuses and reason strings spell it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Manifest { .. } => "object-manifest",
            Self::Described(error) => error.name(),
            Self::Differs => "object-differs",
            Self::Unknown => "object-unknown",
            Self::Chunk => "object-chunk",
            Self::ContentType => "content-type-mismatch",
            Self::TooMany { .. } => "objects-too-many",
            Self::Quota { .. } => "objects-quota",
            Self::DiskFull => "objects-disk-full",
            Self::NotDurable => "journal-failed",
        }
    }

    /// Whether sending the same again later may help.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(
            self,
            Self::TooMany { .. } | Self::Quota { .. } | Self::DiskFull | Self::NotDurable
        )
    }
}

/// Why the folder of objects cannot be used.
#[derive(Debug, Error)]
#[error("cannot {action} {}", path.display())]
pub struct FolderError {
    pub(super) action: &'static str,
    pub(super) path: std::path::PathBuf,
    #[source]
    pub(super) source: std::io::Error,
}

impl FolderError {
    pub(super) fn at(
        action: &'static str,
        path: &std::path::Path,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self {
            action,
            path,
            source,
        }
    }
}
