//! A whole Hyperledger Fabric network in one process, for development.
//!
//! `ledger`, `policy` and `genesis` are the core: what a block, a policy and a channel
//! configuration mean. They know no socket, no clock and no runtime; only the block log and the
//! store of not yet ordered private data touch the disk. Everything else is the edge: the gRPC
//! services of peers and orderer, the chaincode stream and the command line.

mod block;
mod chaincode;
pub mod config;
pub mod deploy;
pub mod description;
mod endorser;
mod error;
pub mod genesis;
pub mod ledger;
mod lifecycle;
mod material;
pub mod network;
mod ordering;
pub mod package;
mod peer;
pub mod policy;
mod services;
mod system;

pub use error::NetworkError;
