//! Grants: what a patient allows, and how a grant decides on a read.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::ReasonCode;
use crate::digest::Salt;
use crate::directory::{Participant, Role};
use crate::error::ParseError;
use crate::ids::{GrantId, MspId, ParticipantId, Pseudonym, RecordType};
use crate::limits::GRANT_TYPES_MAX;
use crate::page::{PageRequest, PageToken};
use crate::record::{Period, RecordPrivate};
use crate::time::UtcTime;

/// Why someone reads: codes of HL7 v3 PurposeOfUse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Purpose {
    /// Treatment.
    Treat,
    /// Payment.
    Hpaymt,
    /// Health care operations.
    Hoperat,
    /// Research.
    Hresch,
    /// Patient requested.
    Patrqt,
    /// Break the glass.
    Btg,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 6] = [
        Self::Treat,
        Self::Hpaymt,
        Self::Hoperat,
        Self::Hresch,
        Self::Patrqt,
        Self::Btg,
    ];

    /// The code as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Treat => "TREAT",
            Self::Hpaymt => "HPAYMT",
            Self::Hoperat => "HOPERAT",
            Self::Hresch => "HRESCH",
            Self::Patrqt => "PATRQT",
            Self::Btg => "BTG",
        }
    }
}

impl std::str::FromStr for Purpose {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::ALL
            .into_iter()
            .find(|purpose| purpose.as_str() == text)
            .ok_or(ParseError::new(
                "one of TREAT, HPAYMT, HOPERAT, HRESCH, PATRQT, BTG",
            ))
    }
}

impl std::fmt::Display for Purpose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// To whom a grant gives access.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Grantee {
    /// One person.
    Participant(ParticipantId),
    /// Every provider of an organisation.
    Organization(MspId),
    /// Everyone with a role in an organisation.
    Role {
        /// The organisation.
        msp_id: MspId,
        /// The role.
        role: Role,
    },
}

impl Grantee {
    /// Whether the grant is for `reader`.
    #[must_use]
    pub fn includes(&self, reader: &Participant) -> bool {
        match self {
            Self::Participant(id) => *id == reader.participant_id,
            Self::Organization(msp_id) => *msp_id == reader.msp_id && reader.role == Role::Provider,
            Self::Role { msp_id, role } => *msp_id == reader.msp_id && *role == reader.role,
        }
    }
}

/// A period of time with open ends; `until` itself is not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantPeriod {
    /// From when; the beginning if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<UtcTime>,
    /// Until when; open if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UtcTime>,
}

impl GrantPeriod {
    /// Whether the whole of `period` lies inside.
    #[must_use]
    pub fn covers(&self, period: &Period) -> bool {
        self.from.is_none_or(|from| from <= period.start)
            && self.until.is_none_or(|until| period.end < until)
    }
}

/// A patient's consent, as the patient signs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The grant's random ID.
    pub grant_id: GrantId,
    /// To whom.
    pub grantee: Grantee,
    /// Which record types, at most [`GRANT_TYPES_MAX`]; all if empty.
    #[serde(default)]
    pub types: Vec<RecordType>,
    /// Which period of the data; all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_period: Option<GrantPeriod>,
    /// From when it may be used.
    pub valid_from: UtcTime,
    /// Until when it may be used, itself not included.
    pub valid_until: UtcTime,
    /// For which purposes, at least one.
    pub purposes: Vec<Purpose>,
}

impl Grant {
    /// Checks what the members' types do not.
    ///
    /// # Errors
    ///
    /// If a list is too long, empty or has something twice, a period ends before it starts, or a
    /// role is granted that does not read.
    pub fn validate(&self) -> Result<(), ParseError> {
        let types: BTreeSet<_> = self.types.iter().collect();
        let purposes: BTreeSet<_> = self.purposes.iter().collect();
        if self.types.len() > GRANT_TYPES_MAX || types.len() != self.types.len() {
            Err(ParseError::new("at most 64 different record types"))
        } else if purposes.is_empty() || purposes.len() != self.purposes.len() {
            Err(ParseError::new("at least one purpose, none twice"))
        } else if self.valid_until <= self.valid_from {
            Err(ParseError::new("a validity that ends after it starts"))
        } else if self.data_period.is_some_and(|period| {
            matches!((period.from, period.until), (Some(from), Some(until)) if until <= from)
        }) {
            Err(ParseError::new("a data period that ends after it starts"))
        } else if matches!(&self.grantee, Grantee::Role { role, .. } if *role != Role::Provider) {
            Err(ParseError::new("a role that reads, which is provider"))
        } else {
            Ok(())
        }
    }

    /// Whether the grant may be used at `time`, leaving revocation aside.
    #[must_use]
    pub fn valid_at(&self, time: UtcTime) -> bool {
        self.valid_from <= time && time < self.valid_until
    }

    /// Whether the grant is about data of this type and period.
    #[must_use]
    pub fn covers(&self, record_type: &RecordType, period: &Period) -> bool {
        self.covers_type(record_type) && self.covers_period(period)
    }

    fn covers_type(&self, record_type: &RecordType) -> bool {
        self.types.is_empty() || self.types.contains(record_type)
    }

    fn covers_period(&self, period: &Period) -> bool {
        self.data_period
            .is_none_or(|granted| granted.covers(period))
    }
}

/// Whether a grant stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantStatus {
    /// It stands, within its validity.
    Active,
    /// Its patient ended it.
    Revoked,
}

/// A grant as the ledger keeps it, in the collection `records`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantEntry {
    /// What the patient signed.
    pub grant: Grant,
    /// Who gave it.
    pub patient: Pseudonym,
    /// The patient's organisation.
    pub patient_msp: MspId,
    /// Whether it stands.
    pub status: GrantStatus,
    /// 1, and one more with each change.
    pub version: u32,
    /// When the patient signed it.
    pub given_at: UtcTime,
    /// When the patient signed its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<UtcTime>,
    /// The patient's signed requests, one for each version, as compact JWS.
    pub requests: Vec<String>,
    /// Keeps the stored value's public hash from being guessed.
    pub salt: Salt,
}

impl GrantEntry {
    /// Whether the grant gives `reader` anything at `time`.
    #[must_use]
    pub fn live_for(&self, reader: &Participant, time: UtcTime) -> bool {
        self.status == GrantStatus::Active
            && self.grant.valid_at(time)
            && self.grant.grantee.includes(reader)
    }

    /// Whether this grant lets `reader` read `record` for `purpose` at each of `times`, and if not,
    /// the first thing that is missing.
    #[must_use]
    pub fn decide(
        &self,
        reader: &Participant,
        record: &RecordPrivate,
        purpose: Purpose,
        times: &[UtcTime],
    ) -> ReasonCode {
        let grant = &self.grant;
        if self.patient != record.patient {
            ReasonCode::GrantOfOtherPatient
        } else if !grant.grantee.includes(reader) {
            ReasonCode::GranteeMismatch
        } else if self.status == GrantStatus::Revoked {
            ReasonCode::GrantRevoked
        } else if times.iter().any(|time| *time < grant.valid_from) {
            ReasonCode::GrantNotYetValid
        } else if times.iter().any(|time| *time >= grant.valid_until) {
            ReasonCode::GrantExpired
        } else if !grant.covers_type(&record.record_type) {
            ReasonCode::TypeNotCovered
        } else if !grant.covers_period(&record.period) {
            ReasonCode::PeriodNotCovered
        } else if !grant.purposes.contains(&purpose) {
            ReasonCode::PurposeNotCovered
        } else {
            ReasonCode::Granted
        }
    }
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

/// Result of `FindGrant`: what to name in `AuthorizeRead`, and what will come of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantProposal {
    /// The grant to name: one that permits, else the one that comes nearest to it; none if no
    /// grant names the reader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant_id: Option<GrantId>,
    /// The reason that `AuthorizeRead` will give if nothing changes.
    pub expected: ReasonCode,
}
