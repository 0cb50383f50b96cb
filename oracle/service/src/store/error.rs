//! Why the store did not do what it was asked.

use cid::Cid;

/// A call to the IPFS node that failed, or an answer that may not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The node cannot be reached, or broke off.
    #[error("the IPFS node cannot be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The node did not answer in time.
    #[error("the IPFS node did not answer to {command} in time")]
    TimedOut {
        /// The command's name.
        command: String,
    },
    /// The node refused or failed.
    #[error("the IPFS node answered {status} to {command}: {message}")]
    Refused {
        /// The command's name.
        command: String,
        /// The HTTP status.
        status: u16,
        /// Its message, shortened.
        message: String,
    },
    /// The answer is larger than it can be.
    #[error("the answer to {command} is too large")]
    TooLarge {
        /// The command's name.
        command: String,
    },
    /// The node did not report a pin for an object.
    #[error("object {cid} was not pinned: {message}")]
    NotPinned {
        /// The object.
        cid: Cid,
        /// What the node said.
        message: String,
    },
    /// A block is not what its CID says, or the blocks make no file.
    #[error("what the IPFS node holds as {cid} is not that")]
    Corrupt {
        /// The block or object.
        cid: Cid,
    },
    /// A block is still there after it was removed, as when something else pins it.
    #[error("block {cid} is still on the IPFS node")]
    NotRemoved {
        /// The block.
        cid: Cid,
    },
    /// The file of an object to be stored cannot be read.
    #[error("the object's file cannot be read")]
    File(#[source] std::io::Error),
    /// The CID uses a hash that is not known here.
    #[error("the hash of {cid} is not SHA-256")]
    UnknownHash {
        /// The CID.
        cid: Cid,
    },
}

impl StoreError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::TimedOut { .. }
            | Self::Refused { .. }
            | Self::NotPinned { .. }
            | Self::NotRemoved { .. }
            | Self::File(_) => true,
            Self::TooLarge { .. } | Self::Corrupt { .. } | Self::UnknownHash { .. } => false,
        }
    }
}
