//! The ledger of a channel: block log, world state, simulation and validation.
//!
//! All virtual peers of the process share one ledger. Private values are kept once; a simulation
//! sees them only at a peer of an organisation that is a member of the collection. Everything in
//! memory is rebuilt from the block log at start.
//!
//! A transaction's way: a [`Simulator`] collects its read-write set; the endorsing peer puts the
//! private part aside with [`Channel::store_transient`]; the block that orders it is validated,
//! logged and applied by [`Channel::commit`].

mod block;
mod channel;
mod commit;
mod commit_hash;
mod conflict;
pub mod definition;
mod endorsement;
mod error;
mod hash;
mod interest;
mod log;
mod private;
mod range_reads;
mod retention;
mod rwset;
mod scan;
mod shared;
mod simulator;
mod state;
mod transaction;
mod transient;
mod validate;
mod version;
mod versioned_map;

pub use block::{
    block_data_hash, block_header_bytes, block_header_hash, chain_block, sign_block, transaction_id,
};
pub use channel::Channel;
pub use commit::{CommittedBlock, CommittedTransaction};
pub use definition::ChaincodeDefinition;
pub use error::{LedgerError, SimulationError};
pub use rwset::Metadata;
pub use scan::{ScanId, ScanItem};
pub use simulator::{SimulationResults, Simulator};
pub use version::{DisplayVersion, Version};

#[cfg(test)]
mod tests;
