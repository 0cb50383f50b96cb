//! What can go wrong between the oracle and the ledger.

use contract_interface::{CanonicalJsonError, ErrorCode};
use fabric_gateway::{ConnectError, EvaluateError, EventsError, TransactionError};
use fabric_msp::{SignatureError, block::BlockError};

/// A call to the contracts that was not done, or of which it is not known whether it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// An endpoint or the TLS roots cannot be used.
    #[error("the Fabric connection cannot be set up")]
    Connect(#[source] ConnectError),
    /// The TLS roots cannot be read.
    #[error("{} cannot be read", path.display())]
    Roots {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A contract refused, on purpose and with a reason.
    #[error("the contract refused with {status}: {message}")]
    Contract {
        /// Its code; `None` for a refusal that is not of this version's contracts.
        code: Option<ErrorCode>,
        /// The chaincode response's status.
        status: i32,
        /// Its sentence.
        message: String,
    },
    /// A query could not be answered.
    #[error("the query could not be answered")]
    Query(#[source] EvaluateError),
    /// A transaction could not be endorsed, ordered or committed.
    #[error("the transaction was not committed")]
    Transaction(#[source] TransactionError),
    /// The transaction was sent and its fate is not known.
    #[error("the transaction's outcome is not known")]
    OutcomeUnknown(#[source] TransactionError),
    /// The contract's answer is not what its name promises.
    #[error("the contract's answer cannot be read")]
    Answer(#[source] serde_json::Error),
    /// An argument has no canonical JSON form.
    #[error("the argument has no canonical form")]
    Argument(#[source] CanonicalJsonError),
    /// A statement cannot be signed with the oracle's key.
    #[error("the oracle's key cannot sign")]
    Signature(#[source] SignatureError),
    /// The decision on a read does not open with the salt that was sent.
    #[error("the decision's reason does not open with the transaction's salt")]
    DecisionUnreadable,
    /// Blocks could not be read on.
    #[error("the channel's blocks cannot be read")]
    Blocks(#[source] Box<EventsError>),
    /// The stream of blocks ended before the block that is known to be there.
    #[error("the channel's blocks ended too early")]
    BlocksEnded,
    /// A peer gave something that is no block.
    #[error("a peer gave a malformed block")]
    Block(#[source] BlockError),
    /// The system has no random numbers to give.
    #[error("the system's random source failed")]
    NoRandomness,
}

impl LedgerError {
    /// Whether the same call may succeed later and does no harm if the first one took effect
    /// after all: registrations and reads are made so that the contracts see a repetition.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Query(error) => error.is_retryable(),
            Self::Transaction(error) => error.is_retryable(),
            Self::OutcomeUnknown(_) | Self::Blocks(_) | Self::BlocksEnded => true,
            Self::Contract {
                code: Some(code), ..
            } => code.is_retryable() || *code == ErrorCode::NotInitialized,
            _ => false,
        }
    }
}

impl From<EvaluateError> for LedgerError {
    fn from(error: EvaluateError) -> Self {
        match error.chaincode_response() {
            Some((status, message)) => Self::contract(status, &message),
            None => Self::Query(error),
        }
    }
}

impl From<TransactionError> for LedgerError {
    fn from(error: TransactionError) -> Self {
        match error.chaincode_response() {
            Some((status, message)) => Self::contract(status, &message),
            None if error.is_outcome_unknown() => Self::OutcomeUnknown(error),
            None => Self::Transaction(error),
        }
    }
}

impl LedgerError {
    fn contract(status: i32, message: &str) -> Self {
        let (code, sentence) = ErrorCode::parse_message(message);
        Self::Contract {
            code,
            status,
            message: sentence.to_owned(),
        }
    }
}
