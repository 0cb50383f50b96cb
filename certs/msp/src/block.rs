//! Fabric blocks as evidence: what can be checked of them without asking anybody.
//!
//! A peer's word about its ledger is only a word. A block carries its own proof: its header
//! commits to its envelopes and to the header before ([`Header`]), orderers signed the header
//! ([`Block::verify_orderers`]), and each transaction holds the signatures of its creator and of
//! the peers that endorsed its writes ([`Transaction`]). Who these are, and how many of them are
//! enough, the channel's own configuration says ([`ChannelConfig`]).
//!
//! Nothing here talks to a network, and whatever is malformed is an error. One thing a block does
//! not prove: the validation codes are each peer's own finding, which no orderer signs. Whoever
//! does not trust them checks what led to them: creator, endorsements and policy.

mod config;
mod definition;
mod error;
#[cfg(test)]
mod golden_tests;
mod header;
mod policy;
mod read;
mod signatures;
#[cfg(test)]
mod tests;
mod transaction;

pub use config::ChannelConfig;
pub use definition::ChaincodeDefinition;
pub use error::BlockError;
pub use header::{Header, check_chain};
pub use policy::evaluate_signature_policy;
pub use read::{Block, MAX_BLOCK_BYTES, last_config};
pub use signatures::{OrdererSignatures, verify_orderers};
pub use transaction::{Endorser, Transaction, Version};
