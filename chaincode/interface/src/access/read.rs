//! Reads: decisions and how they are recorded.

use serde::{Deserialize, Serialize};

use super::{Purpose, RuleRef};
use crate::digest::{Digest, Salt};
use crate::ids::{MspId, ParticipantId, ProjectCode, Pseudonym, ReadId, RecordId};
use crate::page::{PageRequest, PageToken};
use crate::time::UtcTime;

/// First byte of what a reason's tag hashes: the scheme's number.
const REASON_SCHEME: u8 = 2;

/// Permit or deny.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The key may be released to the reader.
    Permit,
    /// It may not.
    Deny,
}

macro_rules! reason_codes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $decision:ident;)+) => {
        /// Why a read was permitted or denied.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum ReasonCode {
            $($(#[$doc])* #[serde(rename = $code)] $variant,)+
        }

        impl ReasonCode {
            /// Every reason, from permit to the farthest from it.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The code as it is written.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// What the reason decides.
            #[must_use]
            pub const fn decision(self) -> Decision {
                match self { $(Self::$variant => Decision::$decision,)+ }
            }
        }
    };
}

reason_codes! {
    /// The patient reads an own record.
    OwnRecord = "OWN_RECORD", Permit;
    /// A guardian reads for the patient.
    Guardian = "GUARDIAN", Permit;
    /// The registrar's policy permits it.
    PolicyPermits = "POLICY_PERMITS", Permit;
    /// A grant covers the read.
    Granted = "GRANTED", Permit;
    /// The reader declared an emergency, which still lasts.
    Emergency = "EMERGENCY", Permit;
    /// The grant's number of reads is used up.
    ReadsExhausted = "READS_EXHAUSTED", Deny;
    /// The grant does not name the purpose, or is for another project.
    PurposeNotCovered = "PURPOSE_NOT_COVERED", Deny;
    /// The record's readings are not all in the grant's data period.
    PeriodNotCovered = "PERIOD_NOT_COVERED", Deny;
    /// The record is more confidential than the grant allows, or bears none of its labels.
    LabelNotCovered = "LABEL_NOT_COVERED", Deny;
    /// The grant does not name the record's type, ID, author or context.
    TypeNotCovered = "TYPE_NOT_COVERED", Deny;
    /// The grant's validity has ended.
    GrantExpired = "GRANT_EXPIRED", Deny;
    /// The grant's validity has not begun.
    GrantNotYetValid = "GRANT_NOT_YET_VALID", Deny;
    /// The patient ended the grant.
    GrantRevoked = "GRANT_REVOKED", Deny;
    /// The grant is for someone else.
    GranteeMismatch = "GRANTEE_MISMATCH", Deny;
    /// The rule is of another patient or organisation.
    GrantOfOtherPatient = "GRANT_OF_OTHER_PATIENT", Deny;
    /// No grant permits it.
    NoGrant = "NO_GRANT", Deny;
    /// The patient forbids it.
    GrantDenies = "GRANT_DENIES", Deny;
    /// The registrar's policy forbids it.
    PolicyDenies = "POLICY_DENIES", Deny;
    /// The emergency that the reader declared is over.
    EmergencyOver = "EMERGENCY_OVER", Deny;
    /// The reader has not declared an emergency for this patient.
    EmergencyNotDeclared = "EMERGENCY_NOT_DECLARED", Deny;
    /// The guardian's delegation has ended, or gives no power to read.
    GuardianNotAllowed = "GUARDIAN_NOT_ALLOWED", Deny;
    /// A patient reads an own record for another purpose than PATRQT.
    PurposeNotForPatients = "PURPOSE_NOT_FOR_PATIENTS", Deny;
    /// Only patients and providers read.
    RoleNotAllowed = "ROLE_NOT_ALLOWED", Deny;
    /// The reader is suspended or revoked.
    ReaderNotActive = "READER_NOT_ACTIVE", Deny;
    /// The request was signed too long before or after the transaction's time.
    RequestStale = "REQUEST_STALE", Deny;
    /// The request was used before.
    RequestReplayed = "REQUEST_REPLAYED", Deny;
    /// The signer's certificate was not valid then.
    CertificateNotValid = "CERTIFICATE_NOT_VALID", Deny;
    /// The transaction's time lies before what the channel's clocks say.
    TimeRefused = "TIME_REFUSED", Deny;
}

impl std::fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Public result of `AuthorizeRead`. It stays in the block for ever, so the reason is in it only
/// as a salted tag, which the submitter, who chose the salt, opens with [`Self::reason`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadDecision {
    /// The read: the transaction's ID.
    pub read_id: ReadId,
    /// Permit or deny.
    pub decision: Decision,
    /// `SHA-256(0x02 ‖ salt ‖ reason)`.
    pub reason_tag: Digest,
}

impl ReadDecision {
    /// The decision that `reason` makes in the transaction `read_id` with transient `salt`.
    #[must_use]
    pub fn new(read_id: ReadId, reason: ReasonCode, salt: &Salt) -> Self {
        Self {
            read_id,
            decision: reason.decision(),
            reason_tag: reason_tag(reason, salt),
        }
    }

    /// The reason, for who holds the salt; none if the salt is not the transaction's.
    #[must_use]
    pub fn reason(&self, salt: &Salt) -> Option<ReasonCode> {
        ReasonCode::ALL.iter().copied().find(|reason| {
            reason.decision() == self.decision && reason_tag(*reason, salt) == self.reason_tag
        })
    }
}

fn reason_tag(reason: ReasonCode, salt: &Salt) -> Digest {
    Digest::of_parts(&[
        &[REASON_SCHEME],
        salt.as_bytes(),
        reason.as_str().as_bytes(),
    ])
}

/// A recorded decision, in the collection `records`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadEntry {
    /// The read: the ID of the transaction that decided.
    pub read_id: ReadId,
    /// The record asked for.
    pub record_id: RecordId,
    /// Whose record it is.
    pub patient: Pseudonym,
    /// The patient's organisation.
    pub patient_msp: MspId,
    /// The organisation that registered the record.
    pub registrar: MspId,
    /// Who asked.
    pub reader: ParticipantId,
    /// The reader's organisation.
    pub reader_msp: MspId,
    /// The organisation whose oracle submitted the request.
    pub oracle_msp: MspId,
    /// Why the reader asked.
    pub purpose: Purpose,
    /// Permit or deny.
    pub decision: Decision,
    /// Why it was decided so.
    pub reason: ReasonCode,
    /// For which project the reader asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectCode>,
    /// The rule that decided, or that came nearest to a permit, with its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleRef>,
    /// When the reader signed.
    pub requested_at: UtcTime,
    /// The transaction's time.
    pub tx_time: UtcTime,
    /// The reader's signed request, as compact JWS.
    pub request: String,
    /// Keeps the stored value's public hash from being guessed; opens the public reason tag.
    pub salt: Salt,
}

/// Payload of the events `ReadPermitted` and `ReadDenied`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadDecided {
    /// The read.
    pub read_id: ReadId,
}

/// Which reads to list, in the order of their transactions' times. A patient, a reader or a record
/// MUST be named, or by an oracle, auditor or administrator a period (`from` and `to`): then the
/// reads that concern the caller's organisation, as that of patient, reader, record or oracle. All
/// that are named must match.
///
/// Times are the transactions', since a replayed or stale request may bear any other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadFilter {
    /// Reads of this patient's records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<Pseudonym>,
    /// Reads of this record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_id: Option<RecordId>,
    /// Reads by this participant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reader: Option<ParticipantId>,
    /// Decided at or after this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<UtcTime>,
    /// Decided at or before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<UtcTime>,
    /// Which page.
    #[serde(default)]
    pub page: PageRequest,
}

/// A page of reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadPage {
    /// The reads that the caller may see.
    pub reads: Vec<ReadEntry>,
    /// Present if there may be more; a page may be short, even empty, and yet have a next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<PageToken>,
}
