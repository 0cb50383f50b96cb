//! Salus oracle: MQTT front, journal, sealing pipeline and REST API.

pub mod api;
mod clock;
pub mod config;
mod identity;
pub mod ingest;
pub mod journal;
pub mod ledger;
pub mod open;
pub mod pipeline;
mod service;
pub mod store;

pub use service::{Addresses, Oracle, StartError};
