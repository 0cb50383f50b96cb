//! Rules: what a patient's grant or an organisation's policy permits or denies.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Decision, Purpose, ReasonCode};
use crate::directory::{Participant, Role};
use crate::error::ParseError;
use crate::ids::{
    ContextId, DeviceId, MspId, ParticipantId, ProjectCode, RecordId, RecordType, Sensitivity,
};
use crate::limits::{RULE_LIST_MAX, RULE_RECORDS_MAX, RULE_TYPES_MAX};
use crate::record::{Period, RecordPrivate, Source};
use crate::time::UtcTime;

/// Whom a rule is about.
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
    /// Every provider of the consortium.
    Anyone,
}

impl Grantee {
    /// Whether the rule is about `reader`.
    #[must_use]
    pub fn includes(&self, reader: &Participant) -> bool {
        match self {
            Self::Participant(id) => *id == reader.participant_id,
            Self::Organization(msp_id) => *msp_id == reader.msp_id && reader.role == Role::Provider,
            Self::Role { msp_id, role } => *msp_id == reader.msp_id && *role == reader.role,
            Self::Anyone => reader.role == Role::Provider,
        }
    }

    /// Every grantee that includes `reader`: where rules about it are to be looked for.
    #[must_use]
    pub fn all_of(reader: &Participant) -> Vec<Self> {
        let mut all = vec![
            Self::Participant(reader.participant_id),
            Self::Role {
                msp_id: reader.msp_id.clone(),
                role: reader.role,
            },
        ];
        if reader.role == Role::Provider {
            all.push(Self::Organization(reader.msp_id.clone()));
            all.push(Self::Anyone);
        }
        all
    }
}

/// Who made the data: what FHIR Consent calls `authoredby`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Author {
    /// A provider or the patient.
    Participant(ParticipantId),
    /// A device.
    Device(DeviceId),
    /// Whatever this organisation registered.
    Organization(MspId),
}

impl Author {
    fn made(&self, record: &RecordPrivate) -> bool {
        match (self, &record.source) {
            (Self::Participant(id), Source::ParticipantId(source)) => id == source,
            (Self::Device(id), Source::DeviceId(source)) => id == source,
            (Self::Organization(msp_id), _) => *msp_id == record.registrar,
            _ => false,
        }
    }
}

/// How confidential data is: codes of HL7 v3 Confidentiality, in their order.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Confidentiality {
    /// Normal.
    #[default]
    N,
    /// Restricted.
    R,
    /// Very restricted.
    V,
}

impl Confidentiality {
    /// The code as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::N => "N",
            Self::R => "R",
            Self::V => "V",
        }
    }
}

impl std::str::FromStr for Confidentiality {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        [Self::N, Self::R, Self::V]
            .into_iter()
            .find(|code| code.as_str() == text)
            .ok_or(ParseError::new("one of N, R, V"))
    }
}

impl std::fmt::Display for Confidentiality {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A security label of the data, as FHIR Consent's `securityLabel` names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SecurityLabel {
    /// Data of exactly this confidentiality.
    Confidentiality(Confidentiality),
    /// Data with this sensitivity.
    Sensitivity(Sensitivity),
}

impl SecurityLabel {
    fn marks(&self, record: &RecordPrivate) -> bool {
        match self {
            Self::Confidentiality(code) => *code == record.confidentiality,
            Self::Sensitivity(code) => record.sensitivity.contains(code),
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

    /// Whether some of `period` lies inside.
    #[must_use]
    pub fn touches(&self, period: &Period) -> bool {
        self.from.is_none_or(|from| from <= period.end)
            && self.until.is_none_or(|until| period.start < until)
    }

    fn is_ordered(&self) -> bool {
        !matches!((self.from, self.until), (Some(from), Some(until)) if until <= from)
    }
}

/// What is permitted or denied, to whom. Every member narrows; an empty list narrows nothing.
///
/// A permit covers a record only if it covers all of it; a denial reaches a record that it touches
/// with any part, such as one reading inside the denied period. So a permit that names a record is
/// for that version, whose content was known when it was given; a denial that names one is for every
/// version, earlier and later, or a correction would open what was denied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Permit or deny.
    pub decision: Decision,
    /// To whom.
    pub grantee: Grantee,
    /// Which record types, at most [`RULE_TYPES_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<RecordType>,
    /// Which records by ID, at most [`RULE_RECORDS_MAX`]. A denial covers their other versions too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<RecordId>,
    /// Whose data, at most [`RULE_LIST_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authors: Vec<Author>,
    /// Data of which encounters, at most [`RULE_LIST_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contexts: Vec<ContextId>,
    /// Data with any of these labels, at most [`RULE_LIST_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<SecurityLabel>,
    /// Of a permit: data up to this confidentiality. A denial names labels instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidentiality: Option<Confidentiality>,
    /// Which period of the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_period: Option<GrantPeriod>,
    /// For which purposes. A permit names at least one; a denial that names none is for all but
    /// emergencies (BTG), which it must name to forbid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub purposes: Vec<Purpose>,
    /// For which project only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectCode>,
}

fn distinct<T: Ord>(list: &[T], max: usize) -> bool {
    list.len() <= max && list.iter().collect::<BTreeSet<_>>().len() == list.len()
}

impl Rule {
    /// A permit for `grantee` and `purposes`, of all data.
    #[must_use]
    pub fn permit(grantee: Grantee, purposes: Vec<Purpose>) -> Self {
        Self {
            decision: Decision::Permit,
            grantee,
            types: vec![],
            records: vec![],
            authors: vec![],
            contexts: vec![],
            labels: vec![],
            confidentiality: None,
            data_period: None,
            purposes,
            project: None,
        }
    }

    /// A denial to `grantee` of all data, for all purposes but emergencies.
    #[must_use]
    pub fn deny(grantee: Grantee) -> Self {
        Self {
            decision: Decision::Deny,
            ..Self::permit(grantee, vec![])
        }
    }

    /// Checks what the members' types do not.
    ///
    /// # Errors
    ///
    /// If a list is too long or has something twice, a permit names no purpose, a denial a
    /// ceiling, a period ends before it starts, or a role is named that does not read.
    pub fn validate(&self) -> Result<(), ParseError> {
        if !distinct(&self.types, RULE_TYPES_MAX) {
            Err(ParseError::new("at most 64 different record types"))
        } else if !distinct(&self.records, RULE_RECORDS_MAX) {
            Err(ParseError::new("at most 64 different records"))
        } else if !distinct(&self.authors, RULE_LIST_MAX)
            || !distinct(&self.contexts, RULE_LIST_MAX)
            || !distinct(&self.labels, RULE_LIST_MAX)
        {
            Err(ParseError::new(
                "at most 16 different authors, contexts and labels",
            ))
        } else if !distinct(&self.purposes, Purpose::ALL.len())
            || (self.purposes.is_empty() && self.decision == Decision::Permit)
        {
            Err(ParseError::new("at least one purpose, none twice"))
        } else if self.confidentiality.is_some() && self.decision == Decision::Deny {
            Err(ParseError::new("a denial by labels, not up to a ceiling"))
        } else if self.data_period.is_some_and(|period| !period.is_ordered()) {
            Err(ParseError::new("a data period that ends after it starts"))
        } else if matches!(&self.grantee, Grantee::Role { role, .. } if *role != Role::Provider) {
            Err(ParseError::new("a role that reads, which is provider"))
        } else {
            Ok(())
        }
    }

    /// What keeps the rule from applying to this read, leaving time aside; none if it applies.
    #[must_use]
    pub fn misses(
        &self,
        reader: &Participant,
        record: &RecordPrivate,
        purpose: Purpose,
        project: Option<&ProjectCode>,
    ) -> Option<ReasonCode> {
        let named = self.records.is_empty() || self.records.contains(&record.record_id);
        self.misses_if(named, reader, record, purpose, project)
    }

    /// The same where one of [`Self::records`] is known to be a version of `record`.
    #[must_use]
    pub fn misses_version(
        &self,
        reader: &Participant,
        record: &RecordPrivate,
        purpose: Purpose,
        project: Option<&ProjectCode>,
    ) -> Option<ReasonCode> {
        match self.decision {
            Decision::Permit => self.misses(reader, record, purpose, project),
            Decision::Deny => self.misses_if(true, reader, record, purpose, project),
        }
    }

    fn misses_if(
        &self,
        named: bool,
        reader: &Participant,
        record: &RecordPrivate,
        purpose: Purpose,
        project: Option<&ProjectCode>,
    ) -> Option<ReasonCode> {
        if !self.grantee.includes(reader) {
            Some(ReasonCode::GranteeMismatch)
        } else if !named || !self.covers_source(record) {
            Some(ReasonCode::TypeNotCovered)
        } else if !self.covers_labels(record) {
            Some(ReasonCode::LabelNotCovered)
        } else if !self.covers_period(&record.period) {
            Some(ReasonCode::PeriodNotCovered)
        } else if !self.covers_purpose(purpose, project) {
            Some(ReasonCode::PurposeNotCovered)
        } else {
            None
        }
    }

    fn covers_source(&self, record: &RecordPrivate) -> bool {
        let context = record.context.as_ref();
        (self.types.is_empty() || self.types.contains(&record.record_type))
            && (self.authors.is_empty() || self.authors.iter().any(|author| author.made(record)))
            && (self.contexts.is_empty() || context.is_some_and(|c| self.contexts.contains(c)))
    }

    fn covers_labels(&self, record: &RecordPrivate) -> bool {
        (self.labels.is_empty() || self.labels.iter().any(|label| label.marks(record)))
            && self
                .confidentiality
                .is_none_or(|ceiling| record.confidentiality <= ceiling)
    }

    fn covers_period(&self, period: &Period) -> bool {
        self.data_period.is_none_or(|named| match self.decision {
            Decision::Permit => named.covers(period),
            Decision::Deny => named.touches(period),
        })
    }

    fn covers_purpose(&self, purpose: Purpose, project: Option<&ProjectCode>) -> bool {
        let named = if self.purposes.is_empty() {
            purpose != Purpose::Btg
        } else {
            self.purposes.contains(&purpose)
        };
        named
            && self
                .project
                .as_ref()
                .is_none_or(|wanted| Some(wanted) == project)
    }
}
