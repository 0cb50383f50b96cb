//! Why there is no evidence.

use fabric_msp::block::BlockError;

use crate::ledger::LedgerError;

/// Evidence that could not be gathered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// The ledger could not be asked.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A block is not what the ledger says it is.
    #[error("a block of the channel is malformed")]
    Block(#[from] BlockError),
    /// A block is too large for evidence.
    #[error("a block of {bytes} bytes is too large for evidence")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The channel does not reach so far.
    #[error("the channel's newest block is {newest}")]
    Beyond {
        /// The newest block.
        newest: u64,
    },
}
