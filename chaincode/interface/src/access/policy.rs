//! Policies: rules of an organisation, above those of the patients whose records it registered.

use serde::{Deserialize, Serialize};

use super::{GrantStatus, Rule};
use crate::digest::Salt;
use crate::error::ParseError;
use crate::ids::{MspId, ParticipantId, PolicyId};
use crate::page::{PageRequest, PageToken};
use crate::time::UtcTime;

/// A rule of an organisation for the records that it registered, as its administrator signs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The policy's random ID.
    pub policy_id: PolicyId,
    /// What it permits or denies.
    pub rule: Rule,
    /// From when it holds.
    pub valid_from: UtcTime,
    /// Until when it holds, itself not included; open if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<UtcTime>,
}

impl Policy {
    /// Checks what the members' types do not.
    ///
    /// # Errors
    ///
    /// Those of [`Rule::validate`]; or if the validity ends before it starts.
    pub fn validate(&self) -> Result<(), ParseError> {
        self.rule.validate()?;
        if self
            .valid_until
            .is_some_and(|until| until <= self.valid_from)
        {
            Err(ParseError::new("a validity that ends after it starts"))
        } else {
            Ok(())
        }
    }

    /// Whether the policy holds at `time`, leaving withdrawal aside.
    #[must_use]
    pub fn valid_at(&self, time: UtcTime) -> bool {
        self.valid_from <= time && self.valid_until.is_none_or(|until| time < until)
    }
}

/// A policy as the ledger keeps it, in the collection `records`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyEntry {
    /// What was signed.
    pub policy: Policy,
    /// Whose policy it is.
    pub msp_id: MspId,
    /// The administrator who signed it.
    pub set_by: ParticipantId,
    /// Whether it stands.
    pub status: GrantStatus,
    /// 1, and one more with each change.
    pub version: u32,
    /// When it was signed.
    pub set_at: UtcTime,
    /// When its end was signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn_at: Option<UtcTime>,
    /// The signed requests, one for each version, as compact JWS.
    pub requests: Vec<String>,
    /// Keeps the stored value's public hash from being guessed.
    pub salt: Salt,
}

/// Payload of the event `PolicyChanged`, and result of its transactions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyChanged {
    /// The policy.
    pub policy_id: PolicyId,
}

/// Which policies to list: an organisation's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyFilter {
    /// Whose.
    pub msp_id: MspId,
    /// Which page.
    #[serde(default)]
    pub page: PageRequest,
}

/// A page of policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyPage {
    /// The policies, in the order of their keys.
    pub policies: Vec<PolicyEntry>,
    /// Present if there may be more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<PageToken>,
}
