//! The way in: from a device's packet to a durable reading.

mod clock;
pub mod decode;
pub(crate) mod dicom;
pub mod directory;
pub mod intake;
pub mod mqtt;
mod pieces;
pub mod topic;
