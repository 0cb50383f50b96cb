//! What can go wrong with blocks, pins and trees. The texts are Kubo's where clients see them.

use std::{io, path::PathBuf};

use cid::Cid;

/// A failure of the store, or of reading a tree out of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A pin keeps the block.
    #[error("pinned: {0}")]
    Pinned(&'static str),
    /// The block is not here. Kubo's words, since a node without peers is an offline node.
    #[error("block was not found locally (offline): ipld: could not find {0}")]
    NotFound(Cid),
    /// The bytes do not have the hash that the CID states.
    #[error("block {0} is corrupted: mismatch in content integrity")]
    Corrupted(Cid),
    /// A block does not parse as what its codec says.
    #[error("block {cid} is not valid {codec}")]
    Malformed {
        /// The block.
        cid: Cid,
        /// Name of the codec.
        codec: &'static str,
    },
    /// The CID has a codec whose links this store cannot find.
    #[error("no decoder registered for multicodec code {codec} of {cid}")]
    UnknownCodec {
        /// The block.
        cid: Cid,
        /// Multicodec code.
        codec: u64,
    },
    /// The CID has a hash function other than SHA-256.
    #[error("multihash code {code:#x} is not supported, only sha2-256 is")]
    UnsupportedHash {
        /// Multihash code.
        code: u64,
    },
    /// A direct pin was asked for where a recursive one stands.
    #[error("{0} already pinned recursively")]
    PinnedRecursively(Cid),
    /// A recursive pin was to be removed as a direct one.
    #[error("{0} is pinned recursively")]
    RecursiveUnpin(Cid),
    /// There is no pin to remove.
    #[error("not pinned or pinned indirectly")]
    NotPinned,
    /// The path leads to a directory where a file is wanted.
    #[error("this dag node is a directory")]
    IsDirectory,
    /// The directory has no such entry.
    #[error("no link named {name:?} under {cid}")]
    NoSuchLink {
        /// Name of the entry.
        name: String,
        /// The directory.
        cid: Cid,
    },
    /// The tree is no UnixFS file, or a damaged one.
    #[error("{cid} is not a readable UnixFS file")]
    NotAFile {
        /// The root of the tree.
        cid: Cid,
    },
    /// The folder belongs to a running process or to another format.
    #[error("{path} cannot be used: {reason}")]
    Unusable {
        /// The store's folder.
        path: PathBuf,
        /// Why not.
        reason: &'static str,
    },
    /// The disk failed.
    #[error("disk: {path}")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
}

impl StoreError {
    /// For `map_err`: keeps the path, which the operating system's error lacks.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
