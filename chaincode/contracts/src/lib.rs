//! Salus's smart contracts.
//!
//! `record-registry` says which records there are, `access-control` who takes part, who may read
//! and who read. Both are one chaincode, [`chaincode`]. What they take and give is in
//! `contract-interface`.
//!
//! Several organisations run this program on the same input and must come to equal bytes. So
//! nothing here reads a clock, draws a random number, depends on the order of a hash map, or looks
//! at anything but the transaction and the ledger: time is what the proposal says, salts come in
//! the transient map, and `clippy.toml` bans the rest by name. The ledger is read as it was before
//! the transaction; a transaction does not see its own writes.
//!
//! What is public on the channel names no patient, no device, no record type and no reader: see
//! the README for what each key and value reveals.

mod access_control;
mod actor;
mod failure;
mod input;
mod keys;
mod ledger;
mod record_registry;
mod scan;
mod signed;
#[cfg(test)]
mod testing;

pub use access_control::AccessControl;
pub use record_registry::RecordRegistry;

/// The chaincode: both contracts. Transactions are called by their full names.
#[must_use]
pub fn chaincode() -> fabric_shim::Chaincode {
    fabric_shim::Chaincode::new()
        .with(RecordRegistry)
        .with(AccessControl)
}
