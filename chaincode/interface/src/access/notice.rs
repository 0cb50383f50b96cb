//! Notices: what someone is told without asking.

use serde::{Deserialize, Serialize};

use crate::digest::Salt;
use crate::ids::{
    AccessRequestId, DelegationId, EmergencyId, GrantId, MspId, NoticeId, ParticipantId, Pseudonym,
    ReadId, RecordId,
};
use crate::page::{PageRequest, PageToken};
use crate::time::UtcTime;

/// To whom a notice goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recipient {
    /// One person.
    Participant(ParticipantId),
    /// An organisation's privacy officers: its auditors and administrators.
    PrivacyOfficers(MspId),
    /// Every provider of an organisation.
    Providers(MspId),
    /// Every provider of the consortium.
    Anyone,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "what")]
pub enum Happening {
    /// A grant that the recipient held was revoked.
    GrantRevoked {
        /// The grant.
        grant_id: GrantId,
    },
    /// A grant that the recipient held has run out. Laid down when the grant is given, shown from
    /// the end of its validity on, and taken back by a revocation before.
    GrantExpired {
        /// The grant.
        grant_id: GrantId,
    },
    /// The recipient was given a grant.
    GrantGiven {
        /// The grant.
        grant_id: GrantId,
    },
    /// Someone asks the recipient for access.
    AccessRequested {
        /// The request.
        request_id: AccessRequestId,
    },
    /// The recipient's request for access was refused.
    AccessRefused {
        /// The request.
        request_id: AccessRequestId,
    },
    /// A guardian was named, replaced or dismissed.
    DelegationChanged {
        /// The delegation.
        delegation_id: DelegationId,
    },
    /// The glass was broken.
    EmergencyDeclared {
        /// The emergency.
        emergency_id: EmergencyId,
    },
    /// A record was read in an emergency.
    EmergencyRead {
        /// The read.
        read_id: ReadId,
        /// The emergency.
        emergency_id: EmergencyId,
    },
    /// The review of an emergency has ended.
    EmergencyReviewed {
        /// The emergency.
        emergency_id: EmergencyId,
    },
    /// A record was erased.
    RecordErased {
        /// The record.
        record_id: RecordId,
    },
}

/// A notice, in the collection `records`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// The notice.
    pub notice_id: NoticeId,
    /// To whom.
    pub recipient: Recipient,
    /// Whose data it concerns.
    pub patient: Pseudonym,
    /// When the ledger took it: the time of its transaction. Of a grant that has run out, when.
    pub at: UtcTime,
    /// What happened.
    pub happening: Happening,
    /// Keeps the stored value's public hash from being guessed; absent in answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salt: Option<Salt>,
}

/// Which of the caller's notices to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoticeFilter {
    /// Of this time or later. Who asks again and again asks from
    /// [`crate::limits::NOTICE_OVERLAP_SECONDS`] before the latest time seen, and passes over the
    /// IDs it knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<UtcTime>,
    /// Which page.
    #[serde(default)]
    pub page: PageRequest,
}

/// A page of notices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticePage {
    /// The notices, oldest first.
    pub notices: Vec<Notice>,
    /// Present if there may be more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<PageToken>,
}
