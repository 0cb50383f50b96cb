//! FHIR R4 Consents (IHE Privacy Consent on FHIR: basic, intermediate, advanced) as grants, and
//! grants as Consents.
//!
//! # From a Consent to grants
//!
//! A provision becomes one grant for each grantee, each group of purposes and each kind of data
//! that it names, since a grant has one grantee, and what it names must all be so while a provision
//! names alternatives. A nested provision takes from the root what it does not say itself.
//!
//! | element | grant |
//! |---|---|
//! | `type` | permit or deny |
//! | `actor.reference` | grantee; none: anyone |
//! | `purpose` | purposes; none: all but BTG. A code of another system: HRESCH for that project |
//! | `securityLabel` | labels, any of them |
//! | `period` | validity, from `dateTime` on if it has no start, for ever if it has no end |
//! | `dataPeriod` | data period |
//! | `data` `instance`, `related`, `authoredby` | records, contexts, authors |
//! | `code` | record types |
//! | nested `permit` | further permits |
//! | nested `deny` | denials, which win |
//! | root `deny` | a denial; with nested permits for other purposes than BTG only these, because a denial would beat them and nothing is permitted anyway |
//! | a `permit` for BTG | no grant: staff whose certificate allows it may declare an emergency, unless a denial names BTG. Confidentialities it leaves out are denied for BTG |
//!
//! Dates without a time are days in UTC, their ends included. What a grant cannot say is refused
//! with the element's path ([`ConsentError::Refused`]), never dropped.

mod codes;
mod dates;
mod elements;
mod export;
mod import;
mod provision;
mod references;
#[cfg(test)]
mod tests;

use contract_interface::{Grant, GrantId, ParticipantId, Pseudonym, Rule, UtcTime};

pub use export::export;
pub use import::import;
pub use references::{References, ReferencesError};

/// What a Consent says, as grants that are still to be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Whose data it is about.
    pub patient: Pseudonym,
    /// Who consents, and has to sign the grants.
    pub signer: Signer,
    /// The grants, without IDs. None if the Consent only says what holds without it.
    pub terms: Vec<Terms>,
    /// What is good to know: how parts of the Consent are kept that became no grant.
    pub remarks: Vec<String>,
}

/// Who consents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signer {
    /// The patient.
    Patient,
    /// Someone with the power to grant for the patient.
    Guardian(ParticipantId),
}

/// One grant that has no ID yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// What is permitted or denied.
    pub rule: Rule,
    /// From when.
    pub valid_from: UtcTime,
    /// Until when, itself not included.
    pub valid_until: UtcTime,
}

impl Terms {
    /// The grant with this ID.
    #[must_use]
    pub fn grant(self, grant_id: GrantId) -> Grant {
        Grant {
            grant_id,
            rule: self.rule,
            valid_from: self.valid_from,
            valid_until: self.valid_until,
            max_reads: None,
            in_reply_to: None,
        }
    }
}

/// An element that cannot be expressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// The element's path, such as `Consent.provision.actor[0].reference`.
    pub element: String,
    /// What is wrong with it.
    pub problem: String,
}

impl std::fmt::Display for Obstacle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.element, self.problem)
    }
}

/// Why a Consent cannot become grants, or a grant no Consent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConsentError {
    /// It is not JSON.
    #[error("the Consent is not JSON")]
    NotJson {
        /// Where and why.
        source: serde_json::Error,
    },
    /// Some of its elements cannot be expressed.
    #[error("cannot be expressed: {}", listed(obstacles))]
    Refused {
        /// All of them.
        obstacles: Vec<Obstacle>,
    },
}

fn listed(obstacles: &[Obstacle]) -> String {
    let lines: Vec<String> = obstacles.iter().map(ToString::to_string).collect();
    lines.join("; ")
}
