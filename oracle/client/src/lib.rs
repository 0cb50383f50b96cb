//! Client of a Salus oracle: for patients, providers, those who set up devices, administrators,
//! and programs that act for them.
//!
//! [`Client`] calls the oracle's REST API over mutual TLS as the person of a [`Profile`]. What
//! changes or releases something is a statement signed with that person's certificate
//! ([`signing`]); what comes back sealed is opened here, with a key that never leaves this
//! machine, after its hash, metadata and Merkle root have been checked against the ledger's
//! ([`opening`]). [`publish`] is the device's side: MQTT with acknowledgement and receipt.
//!
//! The command line `salus` is a thin layer over this library.

mod client;
pub mod consent;
pub mod custody;
pub mod enrolment;
pub mod erasing;
mod error;
pub mod evidence;
mod http;
pub mod key_files;
pub mod key_proof;
pub mod letters;
pub mod opening;
mod profile;
pub mod publish;
pub mod signing;
pub mod trust;

pub use client::{
    AccessExplained, Client, DeadLetter, DeadLetters, EnrolmentRequest, EnrolmentToken, HeldWraps,
    Job, RecordSubmitted, Recorded, Registered, Submission, WaitingReadings,
};
pub use error::{ClientError, Problem};
pub use opening::{OpenedRecord, SealedRecord};
pub use profile::{Custody, Profile, ProfileError};
