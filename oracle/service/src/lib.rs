//! Salus oracle: MQTT front, journal, sealing pipeline and REST API.

pub mod api;
mod clock;
pub mod config;
mod draft;
mod enrolment;
pub mod evidence;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod identity;
pub mod ingest;
mod jobs;
pub mod journal;
mod keys;
pub mod ledger;
pub mod metrics;
pub mod objects;
pub mod open;
pub mod pipeline;
mod refusals;
mod service;
pub mod store;

pub use service::{Addresses, Oracle, StartError};
