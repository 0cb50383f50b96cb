//! Salus oracle: MQTT front, journal, sealing pipeline and REST API.

pub mod config;
pub mod ingest;
pub mod journal;
pub mod ledger;
