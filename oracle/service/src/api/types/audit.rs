//! What happened: reads, emergencies, notices, and what a read would come to.

use contract_interface::ReasonCode;
use contract_interface::access::{self, Considered};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::scalars::{
    Decision, EmergencyReason, Hash, Id, Name, PageToken, Purpose, ReviewOutcome, Time,
};

/// The rule that decided, with its version.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "level", deny_unknown_fields)]
pub(crate) enum RuleRef {
    /// A patient's grant.
    Grant { grant_id: Id, version: u32 },
    /// An organisation's policy.
    Policy {
        policy_id: Id,
        msp_id: Name,
        version: u32,
    },
    /// A delegation to a guardian.
    Delegation { delegation_id: Id, version: u32 },
    /// A declared emergency.
    Emergency { emergency_id: Id },
}

/// A recorded decision on a read.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "read_id": "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
    "record_id": "00112233445566778899aabbccddeeff",
    "patient": "ffeeddccbbaa99887766554433221100",
    "patient_msp": "Org3MSP",
    "registrar": "Org1MSP",
    "reader": "0123456789abcdef0123456789abcdef",
    "reader_msp": "Org2MSP",
    "oracle_msp": "Org1MSP",
    "purpose": "TREAT",
    "decision": "permit",
    "reason": "GRANTED",
    "rule": {"level": "grant", "grant_id": "00112233445566778899aabbccddeeff", "version": 1},
    "requested_at": "2026-01-02T03:04:05Z",
    "tx_time": "2026-01-02T03:04:05Z",
    "request": "eyJhbGciOiJFUzI1NiJ9.e30.c2lnbmF0dXJl",
    "salt": "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
}))]
pub(crate) struct ReadEntry {
    /// The transaction that decided.
    read_id: Hash,
    record_id: Id,
    patient: Id,
    patient_msp: Name,
    /// The organisation that registered the record.
    registrar: Name,
    reader: Id,
    reader_msp: Name,
    /// Whose oracle submitted the request.
    oracle_msp: Name,
    purpose: Purpose,
    decision: Decision,
    reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    project: Option<Name>,
    /// The rule that decided, or that came nearest to a permit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rule: Option<RuleRef>,
    requested_at: Time,
    tx_time: Time,
    /// The reader's signed request, compact JWS.
    request: String,
    /// Opens the reason's tag in the transaction's public result.
    salt: Hash,
}

/// A page of reads; it may be short, even empty, and yet have a next one.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadPage {
    reads: Vec<ReadEntry>,
    /// Present if there may be more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next_page_token: Option<PageToken>,
}

/// An emergency, as signed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "emergency_id": "00112233445566778899aabbccddeeff",
    "patient": "ffeeddccbbaa99887766554433221100",
    "reason": "unresponsive",
    "justification": "eyJhbGciOiJSU0EtT0FFUC0yNTYifQ.a2V5.aXY.dGV4dA.dGFn",
    "valid_until": "2026-01-02T03:04:05Z",
}))]
pub(crate) struct Emergency {
    emergency_id: Id,
    patient: Id,
    reason: EmergencyReason,
    /// The justification, sealed to the patient and the privacy officers: JWE.
    justification: String,
    /// Itself not included; at most four hours after the signature.
    valid_until: Time,
}

/// The end of a review.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Review {
    reviewer: Id,
    outcome: ReviewOutcome,
    reviewed_at: Time,
    /// The signed request, compact JWS.
    request: String,
}

/// An emergency as the ledger keeps it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmergencyEntry {
    emergency: Emergency,
    /// Whose auditors review it.
    patient_msp: Name,
    reader: Id,
    reader_msp: Name,
    declared_at: Time,
    /// The signed request, compact JWS.
    request: String,
    /// Absent while the review is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    review: Option<Review>,
    salt: Hash,
}

/// A page of emergencies.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmergencyPage {
    emergencies: Vec<EmergencyEntry>,
    /// Present if there may be more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next_page_token: Option<PageToken>,
}

/// To whom a notice goes.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Recipient {
    /// One person.
    Participant(Id),
    /// An organisation's auditors and administrators.
    PrivacyOfficers(Name),
    /// Every provider of an organisation.
    Providers(Name),
    /// Every provider of the consortium.
    Anyone,
}

/// What happened.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "what", deny_unknown_fields)]
pub(crate) enum Happening {
    /// A grant that the recipient held was revoked.
    GrantRevoked { grant_id: Id },
    /// A grant that the recipient held has run out.
    GrantExpired { grant_id: Id },
    /// The recipient was given a grant.
    GrantGiven { grant_id: Id },
    /// Someone asks the recipient for access.
    AccessRequested { request_id: Id },
    /// The recipient's request for access was refused.
    AccessRefused { request_id: Id },
    /// A guardian was named, replaced or dismissed.
    DelegationChanged { delegation_id: Id },
    /// The glass was broken.
    EmergencyDeclared { emergency_id: Id },
    /// A record was read in an emergency.
    EmergencyRead { read_id: Hash, emergency_id: Id },
    /// The review of an emergency has ended.
    EmergencyReviewed { emergency_id: Id },
    /// A record was erased.
    RecordErased { record_id: Id },
}

/// A notice.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "notice_id": "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
    "recipient": {"privacy_officers": "Org3MSP"},
    "patient": "ffeeddccbbaa99887766554433221100",
    "at": "2026-01-02T03:04:05Z",
    "happening": {"what": "emergency_declared", "emergency_id": "00112233445566778899aabbccddeeff"},
    "salt": "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
}))]
pub(crate) struct Notice {
    notice_id: Hash,
    recipient: Recipient,
    /// Whose data it concerns.
    patient: Id,
    at: Time,
    happening: Happening,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    salt: Option<Hash>,
}

/// A page of notices, oldest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoticePage {
    notices: Vec<Notice>,
    /// Present if there may be more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next_page_token: Option<PageToken>,
}

/// One rule that was considered.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConsideredRule {
    rule: RuleRef,
    decision: Decision,
    /// The reason code of what keeps it from applying; absent if it applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    misses: Option<String>,
}

/// What a read would come to now, and why.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "decision": "deny",
    "reason": "PURPOSE_NOT_COVERED",
    "rule": {"level": "grant", "grant_id": "00112233445566778899aabbccddeeff", "version": 1},
    "sentence": "The patient's permission (grant 00112233445566778899aabbccddeeff) is for another purpose or project than the one named. Ask the patient, whom Org3MSP can reach, to permit this purpose, if the one you named is right; \"salus access ask\" sends the request.",
    "considered": [{
        "rule": {"level": "grant", "grant_id": "00112233445566778899aabbccddeeff", "version": 1},
        "decision": "permit",
        "misses": "PURPOSE_NOT_COVERED",
    }],
    "registrar": "Org1MSP",
    "patient_msp": "Org3MSP",
}))]
pub(crate) struct AccessExplained {
    #[schema(value_type = Decision)]
    decision: access::Decision,
    /// The reason code.
    #[schema(value_type = String)]
    reason: ReasonCode,
    /// The rule that decides, or that comes nearest to a permit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<RuleRef>)]
    rule: Option<access::RuleRef>,
    /// The same for people: what permits or is missing, and whom to ask.
    sentence: String,
    /// Every rule that has a say.
    #[schema(value_type = Vec<ConsideredRule>)]
    considered: Vec<Considered>,
    /// The organisation that registered the record and releases its key.
    #[schema(value_type = Name)]
    registrar: contract_interface::MspId,
    /// The patient's organisation, through which the patient can be asked.
    #[schema(value_type = Name)]
    patient_msp: contract_interface::MspId,
}

impl AccessExplained {
    pub(crate) fn new(explanation: access::Explanation, sentence: String) -> Self {
        let access::Explanation {
            verdict,
            considered,
            registrar,
            patient_msp,
        } = explanation;
        Self {
            decision: verdict.reason.decision(),
            reason: verdict.reason,
            rule: verdict.rule,
            sentence,
            considered,
            registrar,
            patient_msp,
        }
    }
}
