//! Checking that a record is the registered one, offline and trusting no oracle.
//!
//! An [`Evidence`] bundle carries everything but trust. What is trusted are the [`Anchors`]: a
//! configuration block whose hash is known, or CA certificates of organisations. [`verify`] goes
//! from the record to the anchors in named steps, each of which can fail by itself, and the
//! [`Report`] says of each what was found:
//!
//! ```text
//! content ─ readings ─ Merkle root ┐
//! sealed object ─ SHA-256, CID ────┤
//!            metadata ─ commitment ┴─ public state ─ write of a transaction ─ creator, endorsers,
//!                policy of the definition ─ block ─ headers ─ orderers ─ configuration ─ anchor
//! ```
//!
//! [`content`] looks into what was opened, which stays with its reader; [`proof`] shows a single
//! reading; [`device`] is about readings that their device signed.

mod anchors;
mod chain;
pub mod content;
pub mod device;
pub mod proof;
mod report;
mod steps;
#[cfg(test)]
mod tests;

pub use anchors::{Anchor, AnchorError, Anchors};
pub use contract_interface::evidence::{Evidence, ReadingProof};
pub use report::{Check, Finding, Outcome, Report};
pub use steps::{Expected, verify};
