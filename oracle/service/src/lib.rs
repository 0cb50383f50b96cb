//! Salus oracle: MQTT front, journal, sealing pipeline and REST API.

pub mod config;
pub mod journal;
