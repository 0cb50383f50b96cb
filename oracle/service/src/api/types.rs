//! The JSON of the API, as the OpenAPI document describes it.
//!
//! Answers that come from the contracts are sent as the contracts' own types, so that nothing is
//! lost or renamed on the way. The structs named like them here describe that JSON; a test holds
//! each to its original.

mod audit;
mod consent;
mod directory;
mod enrolments;
mod evidence;
mod receipts;
mod records;
mod refusals;
#[cfg(test)]
mod tests;

pub(crate) use self::audit::{AccessExplained, EmergencyPage, NoticePage, ReadEntry, ReadPage};
pub(crate) use self::consent::{
    AccessRequestPage, DelegationPage, GrantEntry, GrantPage, PolicyPage,
};
pub(crate) use self::directory::{
    Device, DevicePage, DeviceRegistration, Participant, ParticipantPage, ParticipantRegistration,
};
pub(crate) use self::enrolments::{DeviceCertificate, EnrolmentToken};
pub(crate) use self::evidence::AuditCompleteness;
pub(crate) use self::receipts::{
    AccessRequestReceipt, DelegationReceipt, DeviceRegistered, EmergencyReceipt, GrantReceipt,
    ParticipantRegistered, PolicyReceipt,
};
pub(crate) use self::records::{Record, RecordPage, VersionPage};
pub(crate) use self::refusals::RefusalPage;
