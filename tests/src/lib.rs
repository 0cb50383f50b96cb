//! Testkit of Salus: starts real processes, plays the system's main job and checks it.
//!
//! [`network`] brings up a Fabric network, embedded or real; [`ipfs`] an IPFS store, ours or
//! Kubo; [`consortium`] enrols people and devices, [`oracle`] runs oracles; [`story`] plays the job
//! from a device's reading to the patient's list of reads. `scripts/run` and the end-to-end tests
//! use the same code, so what a user sees is what is tested.

pub mod binaries;
pub mod consortium;
pub mod decoded;
pub mod ipfs;
pub mod ledger;
pub mod nemesis;
pub mod network;
pub mod oracle;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod random;
pub mod readings;
pub mod story;
pub mod strace;
pub mod system;
