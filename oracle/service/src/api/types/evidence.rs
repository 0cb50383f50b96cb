//! Whether the record of reads is complete.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::scalars::Hash;

/// A stretch of blocks, compared with the recorded reads.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditCompleteness {
    from_block: u64,
    /// Hash of the block before, as the first block's header has it; none in block 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous_hash: Option<Hash>,
    /// The last block looked at; the next stretch begins behind it.
    to_block: u64,
    /// Hash of its header.
    to_block_hash: Hash,
    /// Whether the blocks' numbers have no gap and each carries the hash of the one before.
    chain_holds: bool,
    /// Whether each block's transactions have the hash in its header.
    data_holds: bool,
    /// Decisions on reads in these blocks.
    decided: u64,
    /// Of these, the recorded ones.
    recorded: u64,
    /// Decisions of which no entry is kept, the first thousand.
    missing: Vec<Hash>,
    /// Entries of the same time that no transaction decided, the first thousand.
    unfounded: Vec<Hash>,
    /// Whether nothing was found amiss.
    complete: bool,
}
