//! Tests of the ledger as a whole, over a network with real certificates.

mod collections;
mod conflicts;
mod golden;
mod random;
mod recovery;
mod simulation;
mod validation;
mod world;
