//! Each transaction's good path and each of its refusals.

mod query;
mod register;
