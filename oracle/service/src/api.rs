//! REST for people and programs: who takes part, which records there are, what is in them, who may
//! read and who did.
//!
//! ```text
//! TCP ─ TLS (proof of key) ─ limits ─ trace ID ─ warp routes ─ caller judged by MSPs ─ handler
//!                                                                                │
//!                     RFC 9457 problem ◀── one mapping (problem) ◀── Ledger, Opener, Kubo
//! ```
//!
//! A handler parses every ID into its type, asks the ledger as the caller's own viewer, and
//! answers with the contracts' JSON. It decides nothing about access: the contracts do. The whole
//! API is a service that can be called without a socket, which is how it is tested.

mod audit_event;
mod bundle;
mod callers;
mod context;
mod lent_body;
mod openapi;
mod permit_body;
mod problem;
mod readiness;
mod request;
mod routes;
mod scalars;
mod sentences;
mod server;
mod signed;
#[cfg(test)]
mod tests;
pub mod tls;
mod types;

use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;

pub(crate) use self::callers::Callers;
pub(crate) use self::readiness::{Probes, Readiness};
pub(crate) use self::routes::Routes;
pub(crate) use self::server::{HealthPort, Server};
pub use self::{openapi::document as openapi_document, server::ServerError};

use fabric_msp::SigningIdentity;
use sealed_object::PublicKey;

use crate::enrolment::Enrolments;
use crate::ingest::directory::DeviceDirectory;
use crate::jobs::Board;
use crate::ledger::Ledger;
use crate::open::Opener;
use crate::pipeline::DeadLetters;
use crate::refusals::Refusals;
use crate::store::Kubo;

/// What the handlers work with.
#[derive(Debug)]
pub(crate) struct Api {
    /// The channel.
    pub(crate) ledger: Ledger,
    /// Whose people may call.
    pub(crate) callers: Callers,
    /// What the way in remembers of devices and patients; told to forget what is changed here.
    pub(crate) devices: Arc<DeviceDirectory>,
    /// How devices get certificates, if this oracle has the device CA.
    pub(crate) enrolments: Option<Arc<Enrolments>>,
    /// The way to what is in a record.
    pub(crate) opener: Opener,
    /// Whether the organisation's policy lets the oracle open records for permitted readers.
    pub(crate) open_for_readers: bool,
    /// Bytes of a request's body.
    pub(crate) max_body: u64,
    /// Where refusals are noted of which the ledger knows nothing.
    pub(crate) refusals: Refusals,
    /// What the oracle depends on, as last seen.
    pub(crate) readiness: Readiness,
    /// The metrics' text, when the program records any.
    pub(crate) metrics: Option<PrometheusHandle>,
    /// Where sealed objects are kept.
    pub(crate) store: Kubo,
    /// For whom, beside the patient, the keys of uploaded records are wrapped.
    pub(crate) holders: Vec<PublicKey>,
    /// The oracle's key behind which wraps for readers are gated.
    pub(crate) gate: PublicKey,
    /// Signs certificates of erasure.
    pub(crate) signing: SigningIdentity,
    /// How far the background jobs are.
    pub(crate) jobs: Board,
    /// What the contract refuses, in a process that takes readings.
    pub(crate) dead_letters: Option<DeadLetters>,
}
