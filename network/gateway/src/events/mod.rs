//! Events: of chaincodes, of blocks, of blocks reduced to IDs.
//!
//! Each stream is fed by a task that connects again when a peer is lost and goes on behind the
//! last event that was handed over. The task holds at most [`QUEUE`] events that nobody took yet;
//! it ends when the stream is dropped.

pub use blocks::{
    BlockEvent, BlockEvents, FilteredBlockEvent, FilteredBlockEvents, FilteredTransaction,
};
pub use chaincode::{ChaincodeEvent, ChaincodeEvents};
pub use checkpoint::{Checkpoint, Checkpointer, FileCheckpointer, InMemoryCheckpointer, Start};

mod blocks;
pub(crate) mod chaincode;
mod checkpoint;
mod feed;

/// Events that wait in a stream for being taken.
const QUEUE: usize = 64;
