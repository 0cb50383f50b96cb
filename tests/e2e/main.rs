//! Tests of the whole system with real processes. One binary, since linking is what costs.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod attacks;
mod bad_input;
mod bad_protobuf;
mod clients;
mod consent;
mod couchdb;
mod custody;
mod deadline;
mod dependencies;
mod devices;
mod disk;
mod erasure;
mod evidence;
mod faults;
mod guardians;
mod invariants;
mod judges_fabric;
mod judges_rest;
mod judges_sealed;
mod kills;
mod linkability;
mod nemesis;
mod network;
mod objects;
mod rogue;
mod secrecy;
mod stories;
mod support;
