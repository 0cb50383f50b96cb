//! What can go wrong between a person and the oracle.

use contract_interface::{ErrorCode, ReadId, RecordId};
use serde::Deserialize;

use crate::{evidence::AnchorError, profile::ProfileError, trust::TrustError};

/// An oracle's refusal, as its `application/problem+json` body (RFC 9457) tells it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Problem {
    /// HTTP status.
    #[serde(default)]
    pub status: u16,
    /// What kind of refusal, in words.
    #[serde(default)]
    pub title: String,
    /// What was wrong this time, in words.
    #[serde(default)]
    pub detail: String,
    /// Stable code in capitals, such as `READ_DENIED`.
    #[serde(default)]
    pub code: String,
    /// The transaction that recorded a denied read.
    #[serde(default)]
    pub read_id: Option<ReadId>,
}

impl Problem {
    /// The contracts' error code, if it is one of theirs.
    #[must_use]
    pub fn error_code(&self) -> Option<ErrorCode> {
        ErrorCode::from_code(&self.code)
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words = if self.detail.is_empty() {
            &self.title
        } else {
            &self.detail
        };
        if self.code.is_empty() {
            write!(f, "{} {words}", self.status)
        } else {
            write!(f, "{words} ({} {})", self.status, self.code)
        }
    }
}

/// What a call can fail with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The profile cannot be used.
    #[error("the profile cannot be used")]
    Profile(#[from] ProfileError),
    /// The certificate, its key or the CA file of the profile cannot be used.
    #[error("the identity of the profile cannot be used: {problem}")]
    Identity {
        /// What is wrong with which file.
        problem: String,
    },
    /// The oracle cannot be reached.
    #[error("the oracle at {url} cannot be reached")]
    Unreachable {
        /// Its address.
        url: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The oracle refused; nothing was changed.
    #[error("the oracle refused: {0}")]
    Refused(Problem),
    /// The oracle's answer is not what its API promises.
    #[error("the oracle's answer is malformed: {what}")]
    Malformed {
        /// What was expected.
        what: &'static str,
    },
    /// The answer is larger than this program takes.
    #[error("the oracle's answer is larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// A list has more items than this program takes at once.
    #[error("the list has more than {limit} items: ask for a shorter period")]
    LongList {
        /// The limit.
        limit: usize,
    },
    /// A record was released, but is not the one that the ledger registered.
    #[error("record {record_id} is not the one on the ledger: {what} differs")]
    Integrity {
        /// The record.
        record_id: RecordId,
        /// What was compared.
        what: &'static str,
    },
    /// The record holds one document or image, which is opened into a file.
    #[error("record {record_id} holds {content_type}, not readings: open it into a file")]
    NotReadings {
        /// The record.
        record_id: RecordId,
        /// What it holds.
        content_type: String,
    },
    /// The profile has no encryption key, or not the one that the record was released to.
    #[error("the record cannot be opened with this profile's encryption key: {problem}")]
    Key {
        /// Why.
        problem: String,
    },
    /// Words cannot be sealed for those who should read them.
    #[error("the text cannot be sealed: {problem}")]
    Letter {
        /// Why.
        problem: String,
    },
    /// A grant's keys cannot be handed over.
    #[error("the keys cannot be handed over: {problem}")]
    Sharing {
        /// Why.
        problem: &'static str,
    },
    /// An anchor of the profile cannot be used.
    #[error("an anchor of the profile cannot be used")]
    Anchor(#[from] AnchorError),
    /// The oracle shows a key of which it is not proven whose it is: nothing is wrapped for it.
    #[error("nothing is handed over: {0}")]
    Untrusted(#[from] TrustError),
    /// A local file cannot be read or written.
    #[error("a local file cannot be used")]
    Io(#[from] std::io::Error),
}

impl ClientError {
    /// The transaction that recorded the denial, if this is a denied read.
    #[must_use]
    pub fn denied_read(&self) -> Option<ReadId> {
        match self {
            Self::Refused(problem) if problem.status == 403 => problem.read_id,
            _ => None,
        }
    }

    /// Whether the same call may succeed later without anyone changing anything.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused(problem) => matches!(problem.status, 429 | 502..=504),
            _ => false,
        }
    }
}
