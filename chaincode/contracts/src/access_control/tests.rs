//! Each transaction's good path and each of its refusals.

mod devices;
mod grants;
mod participants;
mod queries;
mod reads;
mod signed;
