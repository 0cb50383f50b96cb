//! Why a transaction ends without a result, and how the caller is told.

use std::borrow::Cow;

use contract_interface::{CanonicalJsonError, ErrorCode, ParseError};
use fabric_shim::{ContractError, KeyError, StubError};

/// What ends a transaction.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The contract refuses. The sentence names no patient and no device: it ends in the logs of
    /// peers and clients.
    #[error("{code}: {sentence}")]
    Refused {
        code: ErrorCode,
        sentence: Cow<'static, str>,
    },
    /// The peer did not do what it was asked.
    #[error(transparent)]
    Ledger(#[from] StubError),
}

impl Failure {
    /// A refusal.
    pub(crate) fn new(code: ErrorCode, sentence: impl Into<Cow<'static, str>>) -> Self {
        Self::Refused {
            code,
            sentence: sentence.into(),
        }
    }

    /// A malformed or inconsistent argument.
    pub(crate) fn argument(sentence: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidArgument, sentence)
    }

    /// Something larger than the limits allow.
    pub(crate) fn limit(sentence: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::LimitExceeded, sentence)
    }

    /// Something that the caller may not do or see.
    pub(crate) fn forbidden(sentence: &'static str) -> Self {
        Self::new(ErrorCode::Forbidden, sentence)
    }

    /// A value on the ledger that this program did not write.
    pub(crate) fn corrupt(what: &'static str) -> Self {
        Self::new(
            ErrorCode::LedgerCorrupt,
            format!("{what} on the ledger cannot be read"),
        )
    }
}

impl From<ParseError> for Failure {
    fn from(error: ParseError) -> Self {
        Self::argument(error.to_string())
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        Self::Ledger(error.into())
    }
}

impl From<CanonicalJsonError> for Failure {
    fn from(error: CanonicalJsonError) -> Self {
        Self::argument(error.to_string())
    }
}

impl From<Failure> for ContractError {
    fn from(failure: Failure) -> Self {
        let (code, sentence) = match failure {
            Failure::Refused { code, sentence } => (code, sentence),
            Failure::Ledger(error) => match error {
                StubError::Refused { .. }
                | StubError::TransactionGone { .. }
                | StubError::StreamLost
                | StubError::TooManyRequests { .. } => {
                    (ErrorCode::LedgerUnavailable, error.to_string().into())
                }
                StubError::Identity(error) => {
                    (ErrorCode::InvalidArgument, error.to_string().into())
                }
                other => return other.into(),
            },
        };
        Self::new(i32::from(code.status()), code.message(&sentence))
    }
}
