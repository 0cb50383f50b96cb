//! What Salus's contracts and those who call them agree on.
//!
//! The chaincode [`names::CHAINCODE`] holds two contracts, `record-registry` and `access-control`.
//! This crate names their transactions, arguments, results, events, private data collections and
//! error codes, and nothing else: no I/O, no clock, no random source. The oracle and the client
//! link it to call the contracts; the contracts link it to be called.
//!
//! Three rules hold everywhere:
//!
//! - JSON is canonical (RFC 8785) wherever it is stored, hashed or signed: [`canonical_json`].
//! - A value is parsed into its type once, at the edge. Types refuse what is out of range, and
//!   structs refuse members that they do not know: a restriction that the reader of a signed
//!   request does not understand must not be dropped.
//! - Whatever goes on the channel in public is listed in [`record`]: random IDs and hashes only.

pub mod access;
mod canonical;
mod digest;
pub mod directory;
pub mod error;
pub mod evidence;
mod ids;
mod jwk;
mod key_proof;
pub mod limits;
mod manifest;
pub mod names;
mod page;
pub mod reading;
pub mod record;
pub mod request;
pub mod segment;
mod text;
mod time;

pub use access::{
    Confidentiality, Decision, Grant, GrantEntry, GrantFilter, GrantPage, GrantPeriod, GrantStatus,
    Grantee, PolicyEntry, Purpose, ReadDecision, ReadEntry, ReadFilter, ReadPage, ReasonCode, Rule,
};
pub use canonical::{CanonicalJsonError, canonical_json};
pub use digest::{Digest, Nonce, Salt};
pub use directory::{
    Device, DeviceBinding, DevicePage, DeviceRegistration, NoncesPurged, OrganizationClock,
    Participant, ParticipantFilter, ParticipantPage, ParticipantRegistration, RegistrationOutcome,
    Role, StaleNonces, Status,
};
pub use error::{ErrorCode, ParseError};
pub use ids::{
    AccessRequestId, ContextId, DelegationId, DeviceId, EmergencyId, GrantId, MarkName, MspId,
    NoticeId, ParticipantId, PolicyId, ProjectCode, Pseudonym, ReadId, RecordId, RecordType,
    Sensitivity,
};
pub use jwk::Jwk;
pub use key_proof::KeyProof;
pub use manifest::SignedManifest;
pub use page::{PageRequest, PageToken};
pub use record::{
    KeyWrap, Period, Record, RecordEntry, RecordFilter, RecordPage, RecordPrivate, RecordState,
    RecordStatus, RecordWraps, RegisterRecords, RegisterRecordsResult, Source,
};
pub use request::{
    AuthorizeRead, ChangeWraps, CompleteErasure, DeclareEmergency, Delegate, EraseRecord,
    GrantAccess, RefuseAccess, RequestAccess, RequestBody, ReviewEmergency, RevokeAccess,
    RevokeDelegation, RotateKey, SetPolicy, SignedRequest, SubmitRecord, WithdrawPolicy,
};
pub use time::UtcTime;
