//! Grants: what a patient allows or forbids.

use serde::{Deserialize, Serialize};

use super::Rule;
use crate::digest::Salt;
use crate::error::ParseError;
use crate::ids::{AccessRequestId, DelegationId, GrantId, MspId, ParticipantId, Pseudonym};
use crate::page::{PageRequest, PageToken};
use crate::time::UtcTime;

use super::Decision;

/// A patient's consent or dissent, as it is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The grant's random ID.
    pub grant_id: GrantId,
    /// What it permits or denies.
    pub rule: Rule,
    /// From when it may be used.
    pub valid_from: UtcTime,
    /// Until when it may be used, itself not included.
    pub valid_until: UtcTime,
    /// Of a permit: how many reads it allows, at least 1; no limit if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_reads: Option<u32>,
    /// The request for access that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_reply_to: Option<AccessRequestId>,
}

impl Grant {
    /// Checks what the members' types do not.
    ///
    /// # Errors
    ///
    /// Those of [`Rule::validate`]; or if the validity ends before it starts, or the number of
    /// reads is 0 or limits a denial.
    pub fn validate(&self) -> Result<(), ParseError> {
        self.rule.validate()?;
        if self.valid_until <= self.valid_from {
            Err(ParseError::new("a validity that ends after it starts"))
        } else if self
            .max_reads
            .is_some_and(|max| max == 0 || self.rule.decision == Decision::Deny)
        {
            Err(ParseError::new("a permit of at least one read"))
        } else {
            Ok(())
        }
    }

    /// Whether the grant may be used at `time`, leaving revocation aside.
    #[must_use]
    pub fn valid_at(&self, time: UtcTime) -> bool {
        self.valid_from <= time && time < self.valid_until
    }
}

/// Whether a grant, policy or delegation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantStatus {
    /// It stands, within its validity.
    Active,
    /// It was ended.
    Revoked,
}

/// A grant as the ledger keeps it, in the collection `records`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantEntry {
    /// What was signed.
    pub grant: Grant,
    /// Whose data it is about.
    pub patient: Pseudonym,
    /// The patient's organisation.
    pub patient_msp: MspId,
    /// Who signed it: the patient or a guardian.
    pub given_by: ParticipantId,
    /// The delegation under which a guardian signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegation_id: Option<DelegationId>,
    /// Whether it stands.
    pub status: GrantStatus,
    /// 1, and one more with each change.
    pub version: u32,
    /// When it was signed.
    pub given_at: UtcTime,
    /// When its end was signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<UtcTime>,
    /// The signed requests, one for each version, as compact JWS.
    pub requests: Vec<String>,
    /// Keeps the stored value's public hash from being guessed.
    pub salt: Salt,
}

/// Payload of the events `GrantGiven` and `GrantRevoked`, and result of their transactions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantChanged {
    /// The grant.
    pub grant_id: GrantId,
}

/// Which grants to list: of a patient, or given to a participant. Exactly one MUST be present.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantFilter {
    /// Grants that this patient gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<Pseudonym>,
    /// Grants to this participant by name, or to its organisation or role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grantee: Option<ParticipantId>,
    /// Which page.
    #[serde(default)]
    pub page: PageRequest,
}

/// A page of grants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantPage {
    /// The grants, in the order of their keys.
    pub grants: Vec<GrantEntry>,
    /// Present if there may be more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<PageToken>,
}
