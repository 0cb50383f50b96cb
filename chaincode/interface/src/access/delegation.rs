//! Delegations: a guardian acts for a patient.

use serde::{Deserialize, Serialize};

use super::GrantStatus;
use crate::digest::Salt;
use crate::error::ParseError;
use crate::ids::{DelegationId, MspId, ParticipantId, Pseudonym};
use crate::page::{PageRequest, PageToken};
use crate::time::UtcTime;

/// What a guardian may do for the patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Power {
    /// Read the patient's records, with purpose PATRQT.
    Read,
    /// Give and revoke grants, answer requests for access.
    Grant,
    /// Have records erased.
    Erase,
}

/// Why a guardian may act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DelegationBasis {
    /// The patient's own word; the patient signs.
    Patient,
    /// Parenthood; an administrator of the patient's organisation signs.
    Parent,
    /// A court's decision; an administrator of the patient's organisation signs.
    Court,
    /// A power of attorney; an administrator of the patient's organisation signs.
    Attorney,
}

/// A guardian for a patient, as the patient or an administrator signs it. One stands for one
/// patient and one guardian at a time; a later one takes the place of the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delegation {
    /// The delegation's random ID.
    pub delegation_id: DelegationId,
    /// Whose data it is about.
    pub patient: Pseudonym,
    /// Who may act.
    pub guardian: ParticipantId,
    /// What the guardian may do, at least one thing.
    pub powers: Vec<Power>,
    /// Why.
    pub basis: DelegationBasis,
    /// From when.
    pub valid_from: UtcTime,
    /// Until when, itself not included.
    pub valid_until: UtcTime,
}

impl Delegation {
    /// Checks what the members' types do not.
    ///
    /// # Errors
    ///
    /// If no power is named or one twice, the validity ends before it starts, or the guardian is
    /// the patient.
    pub fn validate(&self) -> Result<(), ParseError> {
        let mut powers = self.powers.clone();
        powers.sort_unstable();
        powers.dedup();
        if powers.is_empty() || powers.len() != self.powers.len() {
            Err(ParseError::new("at least one power, none twice"))
        } else if self.valid_until <= self.valid_from {
            Err(ParseError::new("a validity that ends after it starts"))
        } else if ParticipantId::from(self.patient) == self.guardian {
            Err(ParseError::new("a guardian who is not the patient"))
        } else {
            Ok(())
        }
    }
}

/// A delegation as the ledger keeps it, in the collection `records`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DelegationEntry {
    /// What was signed.
    pub delegation: Delegation,
    /// The patient's organisation.
    pub patient_msp: MspId,
    /// Who signed it.
    pub given_by: ParticipantId,
    /// Whether it stands.
    pub status: GrantStatus,
    /// 1, and one more with each change.
    pub version: u32,
    /// When it was signed.
    pub given_at: UtcTime,
    /// When its end was signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<UtcTime>,
    /// The signed requests, as compact JWS.
    pub requests: Vec<String>,
    /// Keeps the stored value's public hash from being guessed.
    pub salt: Salt,
}

impl DelegationEntry {
    /// Whether the guardian has `power` at each of `times`.
    #[must_use]
    pub fn gives(&self, power: Power, times: &[UtcTime]) -> bool {
        let Delegation {
            valid_from,
            valid_until,
            powers,
            ..
        } = &self.delegation;
        self.status == GrantStatus::Active
            && powers.contains(&power)
            && times
                .iter()
                .all(|time| valid_from <= time && time < valid_until)
    }
}

/// Payload of the event `DelegationChanged`, and result of its transactions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelegationChanged {
    /// The delegation.
    pub delegation_id: DelegationId,
}

/// Which delegations to list: of a patient, or to a guardian. Exactly one MUST be present.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DelegationFilter {
    /// Who may act for this patient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<Pseudonym>,
    /// For whom this participant may act.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guardian: Option<ParticipantId>,
    /// Which page.
    #[serde(default)]
    pub page: PageRequest,
}

/// A page of delegations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelegationPage {
    /// The delegations, in the order of their keys.
    pub delegations: Vec<DelegationEntry>,
    /// Present if there may be more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<PageToken>,
}
