//! Emergencies: a provider breaks the glass, and never in silence.

use serde::{Deserialize, Serialize};

use crate::digest::Salt;
use crate::error::ParseError;
use crate::ids::{EmergencyId, MspId, ParticipantId, Pseudonym};
use crate::limits::{EMERGENCY_SECONDS_MAX, SEALED_TEXT_BYTES_MAX};
use crate::page::{PageRequest, PageToken};
use crate::time::UtcTime;

/// What the emergency is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmergencyReason {
    /// The patient's life is in danger.
    LifeThreatening,
    /// The patient cannot be asked.
    Unresponsive,
    /// Others are in danger, as from an infection.
    DangerToOthers,
    /// Urgent treatment whose delay would harm.
    UrgentTreatment,
}

/// An emergency, as the provider signs it. Until it ends, the provider may read the patient's
/// records with purpose BTG.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Emergency {
    /// The emergency's random ID.
    pub emergency_id: EmergencyId,
    /// Whose records are needed.
    pub patient: Pseudonym,
    /// What the emergency is.
    pub reason: EmergencyReason,
    /// The justification in words, sealed (JWE, general JSON or compact) to the patient and the
    /// patient's privacy officers, at most [`SEALED_TEXT_BYTES_MAX`] bytes.
    pub justification: String,
    /// Until when, itself not included: at most [`EMERGENCY_SECONDS_MAX`] after it was signed.
    pub valid_until: UtcTime,
}

impl Emergency {
    /// Checks what the members' types do not.
    ///
    /// # Errors
    ///
    /// If it lasts longer than four hours from `signed_at` or ended before, or the sealed
    /// justification is absent or too long.
    pub fn validate(&self, signed_at: UtcTime) -> Result<(), ParseError> {
        if self.valid_until <= signed_at
            || self.valid_until.abs_diff(signed_at) > EMERGENCY_SECONDS_MAX
        {
            Err(ParseError::new(
                "an emergency of at most four hours from now",
            ))
        } else if self.justification.is_empty() || self.justification.len() > SEALED_TEXT_BYTES_MAX
        {
            Err(ParseError::new("a sealed justification of at most 16 KiB"))
        } else {
            Ok(())
        }
    }
}

/// What a review found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReviewOutcome {
    /// The glass was broken for a good reason.
    Justified,
    /// It was not.
    Unjustified,
}

/// The end of a review.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Review {
    /// Who reviewed: an auditor or administrator of the patient's organisation.
    pub reviewer: ParticipantId,
    /// What the review found.
    pub outcome: ReviewOutcome,
    /// When it was signed.
    pub reviewed_at: UtcTime,
    /// The signed request, as compact JWS.
    pub request: String,
}

/// An emergency as the ledger keeps it, in the collection `records`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmergencyEntry {
    /// What was signed.
    pub emergency: Emergency,
    /// The patient's organisation, whose auditors review it.
    pub patient_msp: MspId,
    /// Who broke the glass.
    pub reader: ParticipantId,
    /// The reader's organisation.
    pub reader_msp: MspId,
    /// When it was signed.
    pub declared_at: UtcTime,
    /// The signed request, as compact JWS.
    pub request: String,
    /// The review; none while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<Review>,
    /// Keeps the stored value's public hash from being guessed.
    pub salt: Salt,
}

impl EmergencyEntry {
    /// Whether the emergency lasts at each of `times`. A review that finds it unjustified ends it.
    #[must_use]
    pub fn lasts(&self, times: &[UtcTime]) -> bool {
        let unjustified = |review: &Review| review.outcome == ReviewOutcome::Unjustified;
        !self.review.as_ref().is_some_and(unjustified)
            && times.iter().all(|time| *time < self.emergency.valid_until)
    }
}

/// Payload of the events `EmergencyDeclared` and `EmergencyReviewed`, and result of their
/// transactions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmergencyChanged {
    /// The emergency.
    pub emergency_id: EmergencyId,
}

/// Which emergencies to list: of a patient, or those that an organisation's auditors review.
/// Exactly one MUST be present.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmergencyFilter {
    /// Of this patient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<Pseudonym>,
    /// Of patients of this organisation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient_msp: Option<MspId>,
    /// Only those not reviewed.
    #[serde(default)]
    pub open_only: bool,
    /// Which page.
    #[serde(default)]
    pub page: PageRequest,
}

/// A page of emergencies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmergencyPage {
    /// The emergencies, in the order of their keys.
    pub emergencies: Vec<EmergencyEntry>,
    /// Present if there may be more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<PageToken>,
}
