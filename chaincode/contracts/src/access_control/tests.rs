//! Each transaction's good path and each of its refusals.

mod asking;
mod attacks;
mod clocks;
mod cost;
mod delegations;
mod devices;
mod emergencies;
mod encryption_keys;
mod explain;
mod grants;
mod key_proofs;
mod nonces;
mod notices;
mod participants;
mod policies;
mod queries;
mod reads;
mod rules;
mod signed;
mod standing;
mod versions;
