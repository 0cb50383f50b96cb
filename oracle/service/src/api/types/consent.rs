//! Rules and who made them: grants, policies, delegations, requests for access.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::scalars::{
    AccessRequestStatus, Confidentiality, Decision, DelegationBasis, GrantStatus, Hash, Id, Name,
    PageToken, Power, Purpose, Role, Time,
};

/// Whom a rule is about.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Grantee {
    /// One person.
    Participant(Id),
    /// Every provider of an organisation.
    Organization(Name),
    /// Everyone with a role in an organisation.
    Role {
        /// The organisation.
        msp_id: Name,
        /// The role.
        role: Role,
    },
    /// Every provider of the consortium.
    Anyone,
}

/// Who made the data.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Author {
    /// A provider or the patient.
    Participant(Id),
    /// A device.
    Device(Name),
    /// Whatever this organisation registered.
    Organization(Name),
}

/// A security label of the data.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum SecurityLabel {
    /// Data of exactly this confidentiality.
    Confidentiality(Confidentiality),
    /// Data with this sensitivity.
    Sensitivity(Name),
}

/// A period of data with open ends; `until` itself is not included.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrantPeriod {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<Time>,
}

/// What is permitted or denied, to whom. Every member narrows; one that is absent narrows nothing.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    decision: Decision,
    grantee: Grantee,
    /// Record types.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    types: Vec<Name>,
    /// Records by ID.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    records: Vec<Id>,
    /// Whose data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    authors: Vec<Author>,
    /// Data of which encounters, care plans or episodes of care.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    contexts: Vec<Name>,
    /// Data with any of these labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    labels: Vec<SecurityLabel>,
    /// Of a permit: data up to this confidentiality.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    confidentiality: Option<Confidentiality>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data_period: Option<GrantPeriod>,
    /// A permit names at least one; a denial that names none is for all but `BTG`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    purposes: Vec<Purpose>,
    /// For which project only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    project: Option<Name>,
}

/// A patient's consent or dissent, as signed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "grant_id": "00112233445566778899aabbccddeeff",
    "rule": {
        "decision": "permit",
        "grantee": {"role": {"msp_id": "Org2MSP", "role": "provider"}},
        "types": ["8867-4", "85354-9"],
        "confidentiality": "R",
        "data_period": {"from": "2026-01-02T03:04:05Z"},
        "purposes": ["TREAT"],
    },
    "valid_from": "2026-01-02T03:04:05Z",
    "valid_until": "2027-01-02T03:04:05Z",
    "max_reads": 20,
}))]
pub(crate) struct Grant {
    grant_id: Id,
    rule: Rule,
    valid_from: Time,
    /// Itself not included.
    valid_until: Time,
    /// Of a permit: how many reads it allows; no limit if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    max_reads: Option<u32>,
    /// The request for access that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    in_reply_to: Option<Id>,
}

/// A grant as the ledger keeps it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrantEntry {
    grant: Grant,
    patient: Id,
    patient_msp: Name,
    /// Who signed it: the patient or a guardian.
    given_by: Id,
    /// The delegation under which a guardian signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delegation_id: Option<Id>,
    status: GrantStatus,
    version: u32,
    given_at: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked_at: Option<Time>,
    /// The signed requests, compact JWS.
    requests: Vec<String>,
    salt: Hash,
}

/// A page of grants.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrantPage {
    grants: Vec<GrantEntry>,
    /// Present if there may be more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next_page_token: Option<PageToken>,
}

/// A rule of an organisation for the records that it registered, as signed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "policy_id": "00112233445566778899aabbccddeeff",
    "rule": {
        "decision": "deny",
        "grantee": "anyone",
        "labels": [{"sensitivity": "PSY"}],
        "purposes": ["HRESCH", "HPAYMT"],
    },
    "valid_from": "2026-01-02T03:04:05Z",
}))]
pub(crate) struct Policy {
    policy_id: Id,
    rule: Rule,
    valid_from: Time,
    /// Itself not included; open if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    valid_until: Option<Time>,
}

/// A policy as the ledger keeps it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyEntry {
    policy: Policy,
    /// Whose policy it is.
    msp_id: Name,
    /// The administrator who signed it.
    set_by: Id,
    status: GrantStatus,
    version: u32,
    set_at: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    withdrawn_at: Option<Time>,
    /// The signed requests, compact JWS.
    requests: Vec<String>,
    salt: Hash,
}

/// A page of policies.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyPage {
    policies: Vec<PolicyEntry>,
    /// Present if there may be more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next_page_token: Option<PageToken>,
}

/// A guardian for a patient, as signed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "delegation_id": "00112233445566778899aabbccddeeff",
    "patient": "ffeeddccbbaa99887766554433221100",
    "guardian": "0123456789abcdef0123456789abcdef",
    "powers": ["read", "grant"],
    "basis": "parent",
    "valid_from": "2026-01-02T03:04:05Z",
    "valid_until": "2027-01-02T03:04:05Z",
}))]
pub(crate) struct Delegation {
    delegation_id: Id,
    patient: Id,
    guardian: Id,
    powers: Vec<Power>,
    basis: DelegationBasis,
    valid_from: Time,
    /// Itself not included.
    valid_until: Time,
}

/// A delegation as the ledger keeps it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DelegationEntry {
    delegation: Delegation,
    patient_msp: Name,
    /// Who signed it.
    given_by: Id,
    status: GrantStatus,
    version: u32,
    given_at: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked_at: Option<Time>,
    /// The signed requests, compact JWS.
    requests: Vec<String>,
    salt: Hash,
}

/// A page of delegations.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DelegationPage {
    delegations: Vec<DelegationEntry>,
    /// Present if there may be more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next_page_token: Option<PageToken>,
}

/// What a provider asks a patient for, as signed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "request_id": "00112233445566778899aabbccddeeff",
    "patient": "ffeeddccbbaa99887766554433221100",
    "types": ["8867-4"],
    "purposes": ["HRESCH"],
    "project": "sleep-study-3",
    "wanted_until": "2027-01-02T03:04:05Z",
}))]
pub(crate) struct AccessRequest {
    request_id: Id,
    patient: Id,
    /// All if absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    types: Vec<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data_period: Option<GrantPeriod>,
    purposes: Vec<Purpose>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    project: Option<Name>,
    wanted_until: Time,
    /// Words for the patient, sealed to the patient's key: compact JWE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// A request for access as the ledger keeps it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccessRequestEntry {
    request: AccessRequest,
    requester: Id,
    requester_msp: Name,
    status: AccessRequestStatus,
    /// The grant that answers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grant_id: Option<Id>,
    asked_at: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answered_at: Option<Time>,
    /// The signed requests, compact JWS.
    requests: Vec<String>,
    salt: Hash,
}

/// A page of requests for access.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccessRequestPage {
    access_requests: Vec<AccessRequestEntry>,
    /// Present if there may be more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next_page_token: Option<PageToken>,
}
