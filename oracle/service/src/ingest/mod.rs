//! The way in: from a device's packet to a durable reading.

pub mod decode;
pub mod directory;
pub mod intake;
pub mod mqtt;
pub mod topic;
