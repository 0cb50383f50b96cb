//! Each transaction's good path and each of its refusals.

mod cost;
mod devices;
mod grants;
mod participants;
mod policies;
mod queries;
mod reads;
mod rules;
mod signed;
