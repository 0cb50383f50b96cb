//! Each transaction's good path and each of its refusals.

mod erase;
mod listing;
mod query;
mod register;
mod sources;
mod wraps;
