//! Requests for access: a provider asks, the patient answers.

use serde::{Deserialize, Serialize};

use super::{GrantPeriod, Purpose};
use crate::digest::Salt;
use crate::error::ParseError;
use crate::ids::{
    AccessRequestId, GrantId, MspId, ParticipantId, ProjectCode, Pseudonym, RecordType,
};
use crate::limits::{RULE_TYPES_MAX, SEALED_TEXT_BYTES_MAX};
use crate::page::{PageRequest, PageToken};
use crate::time::UtcTime;

/// What a provider asks a patient for, as the provider signs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessRequest {
    /// The request's random ID.
    pub request_id: AccessRequestId,
    /// Whom it asks.
    pub patient: Pseudonym,
    /// Which record types, at most [`RULE_TYPES_MAX`]; all if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<RecordType>,
    /// Which period of the data; all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_period: Option<GrantPeriod>,
    /// For which purposes, at least one.
    pub purposes: Vec<Purpose>,
    /// For which project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectCode>,
    /// Until when access is wished.
    pub wanted_until: UtcTime,
    /// Words for the patient, sealed to the patient's key (compact JWE), at most
    /// [`SEALED_TEXT_BYTES_MAX`] bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl AccessRequest {
    /// Checks what the members' types do not.
    ///
    /// # Errors
    ///
    /// If a list is too long, empty or has something twice, or the message is too long.
    pub fn validate(&self) -> Result<(), ParseError> {
        let mut purposes = self.purposes.clone();
        purposes.sort_unstable();
        purposes.dedup();
        if self.types.len() > RULE_TYPES_MAX {
            Err(ParseError::new("at most 64 record types"))
        } else if purposes.is_empty() || purposes.len() != self.purposes.len() {
            Err(ParseError::new("at least one purpose, none twice"))
        } else if self
            .message
            .as_ref()
            .is_some_and(|message| message.len() > SEALED_TEXT_BYTES_MAX)
        {
            Err(ParseError::new("a sealed message of at most 16 KiB"))
        } else {
            Ok(())
        }
    }
}

/// How a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessRequestStatus {
    /// Not answered.
    Open,
    /// Answered by a grant.
    Granted,
    /// Refused.
    Refused,
}

/// A request as the ledger keeps it, in the collection `records`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessRequestEntry {
    /// What was signed.
    pub request: AccessRequest,
    /// Who asks.
    pub requester: ParticipantId,
    /// The requester's organisation.
    pub requester_msp: MspId,
    /// How it stands.
    pub status: AccessRequestStatus,
    /// The grant that answers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant_id: Option<GrantId>,
    /// When it was signed.
    pub asked_at: UtcTime,
    /// When the answer was signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<UtcTime>,
    /// The signed requests, as compact JWS.
    pub requests: Vec<String>,
    /// Keeps the stored value's public hash from being guessed.
    pub salt: Salt,
}

/// Payload of the event `AccessRequestChanged`, and result of its transactions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRequestChanged {
    /// The request.
    pub request_id: AccessRequestId,
}

/// Which requests to list: to a patient, or of a provider. Exactly one MUST be present.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessRequestFilter {
    /// Requests to this patient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<Pseudonym>,
    /// Requests of this provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<ParticipantId>,
    /// Only those not answered.
    #[serde(default)]
    pub open_only: bool,
    /// Which page.
    #[serde(default)]
    pub page: PageRequest,
}

/// A page of requests for access.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRequestPage {
    /// The requests, in the order of their keys.
    pub access_requests: Vec<AccessRequestEntry>,
    /// Present if there may be more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<PageToken>,
}
