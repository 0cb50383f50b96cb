//! The forms that single values of the API's JSON and addresses have.
//!
//! They describe; nothing is checked with them. What is parsed is parsed by the contracts' own types.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// 128 random bits: 32 lower-case hex digits.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(pattern = "^[0-9a-f]{32}$")]
pub(crate) struct Id(String);

/// The ID of a participant, or `me` for the caller's own.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(pattern = "^([0-9a-f]{32}|me)$")]
pub(crate) struct IdOrMe(String);

/// 256 bits, a hash, a salt or a transaction: 64 lower-case hex digits.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(pattern = "^[0-9a-f]{64}$")]
pub(crate) struct Hash(String);

/// A name that people chose: 1 to 64 letters, digits, `.`, `_` or `-`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(pattern = "^[A-Za-z0-9._-]{1,64}$")]
pub(crate) struct Name(String);

/// A second in UTC, RFC 3339 with `Z`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(
    pattern = "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z$",
    example = "2026-01-02T03:04:05Z"
)]
pub(crate) struct Time(String);

/// `next_page_token` of the page before.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(pattern = "^[A-Za-z0-9_-]{0,1024}$")]
pub(crate) struct PageToken(String);

/// What a participant is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    Oracle,
    Patient,
    Provider,
    Admin,
    Auditor,
}

/// Whether a participant or a device may act.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    Active,
    Suspended,
    Revoked,
}

/// Whether a record is the current one, has a later version, or is gone for good.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RecordStatus {
    Active,
    Amended,
    Erased,
}

/// Whether a grant holds.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GrantStatus {
    Active,
    Revoked,
}

/// What a read is for.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Purpose {
    Treat,
    Hpaymt,
    Hoperat,
    Hresch,
    Patrqt,
    Btg,
}

/// What was decided.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Decision {
    Permit,
    Deny,
}

/// What a registration changed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    Registered,
    Updated,
    Unchanged,
}

/// How confidential data is: HL7 v3 Confidentiality.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) enum Confidentiality {
    N,
    R,
    V,
}

/// What a guardian may do for the patient.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Power {
    Read,
    Grant,
    Erase,
}

/// Why a guardian may act.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DelegationBasis {
    Patient,
    Parent,
    Court,
    Attorney,
}

/// How a request for access stands.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AccessRequestStatus {
    Open,
    Granted,
    Refused,
}

/// What an emergency is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EmergencyReason {
    LifeThreatening,
    Unresponsive,
    DangerToOthers,
    UrgentTreatment,
}

/// What a review found.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReviewOutcome {
    Justified,
    Unjustified,
}
