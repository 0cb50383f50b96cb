//! Errors, one for each step, so that a caller knows what may have happened.

use std::fmt;

use fabric_msp::SignatureError;

use crate::rpc_status::RpcStatus;
use crate::validation_code::ValidationCode;

/// The connection cannot be set up. No peer was asked yet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No endpoint was given.
    #[error("no peer endpoint given")]
    NoEndpoint,
    /// An address is not `host:port`.
    #[error("{address:?} is not host:port")]
    Address {
        /// The address.
        address: String,
    },
    /// The roots hold no certificate, the client's certificate or key cannot be used, or a
    /// server name is no name.
    #[error("TLS settings for {address}")]
    Tls {
        /// The endpoint's address.
        address: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

macro_rules! step_error {
    ($(#[$docs:meta])* $name:ident, $doing:literal) => {
        $(#[$docs])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $name {
            /// The transaction.
            pub transaction_id: String,
            /// What went wrong, with what the peers said.
            pub status: RpcStatus,
        }

        impl $name {
            /// The chaincode's own refusal, if that is what failed: its status and its message.
            pub fn chaincode_response(&self) -> Option<(i32, String)> {
                self.status.chaincode_response()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($doing, " of transaction {}: {}"), self.transaction_id, self.status)
            }
        }

        impl std::error::Error for $name {}
    };
}

step_error!(
    /// A query got no answer.
    EvaluateError, "evaluation"
);
step_error!(
    /// Not enough endorsements: nothing was sent to the orderer.
    EndorseError, "endorsement"
);
step_error!(
    /// The orderer refused, or it is not known whether it got the envelope: see
    /// [`SubmitError::is_outcome_unknown`].
    SubmitError, "submission"
);
step_error!(
    /// The orderer took the envelope, but whether the transaction committed could not be learnt.
    CommitStatusError, "commit status"
);

impl EvaluateError {
    /// Whether asking again may help: a peer could not be reached, was too slow or too busy, or
    /// lost its chaincode.
    pub fn is_retryable(&self) -> bool {
        self.status.is_transient() || self.status.is_peers_fault()
    }
}

impl EndorseError {
    /// Whether a new endorsement may succeed: a peer could not be reached, was too slow or too
    /// busy, lost its chaincode, or answered otherwise than the others because it lagged behind.
    pub fn is_retryable(&self) -> bool {
        self.status.is_transient() || self.status.is_peers_fault()
    }
}

impl SubmitError {
    /// Whether the transaction may be on its way nevertheless. Only the same envelope may then
    /// be sent again; a new endorsement could take effect a second time.
    pub fn is_outcome_unknown(&self) -> bool {
        self.status.is_unknown_outcome()
    }
}

/// The transaction is in a block but did not take effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("transaction {transaction_id} in block {block_number} is not valid: {code}")]
#[non_exhaustive]
pub struct CommitError {
    /// The transaction.
    pub transaction_id: String,
    /// The block it is in.
    pub block_number: u64,
    /// Why the peers voided it.
    pub code: ValidationCode,
}

impl CommitError {
    /// Whether endorsing anew may succeed: another transaction was faster.
    pub fn is_retryable(&self) -> bool {
        self.code.is_conflict()
    }
}

/// Why a submitted transaction is not known to have taken effect, by the step that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// Not enough endorsements; it did not take effect.
    #[error(transparent)]
    Endorse(#[from] EndorseError),
    /// Refused by the orderer, or unknown.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// Ordered; whether it took effect is unknown.
    #[error(transparent)]
    CommitStatus(#[from] CommitStatusError),
    /// In a block and void; it did not take effect.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The identity's key cannot sign, or there is none for it here (off-line signing).
    #[error("cannot sign")]
    Sign(#[from] SignatureError),
}

impl TransactionError {
    /// The transaction's ID, unless it failed before it had one.
    pub fn transaction_id(&self) -> Option<&str> {
        match self {
            Self::Endorse(error) => Some(&error.transaction_id),
            Self::Submit(error) => Some(&error.transaction_id),
            Self::CommitStatus(error) => Some(&error.transaction_id),
            Self::Commit(error) => Some(&error.transaction_id),
            Self::Sign(_) => None,
        }
    }

    /// Whether the transaction may have taken effect, or still may. A new proposal is then safe
    /// only if the contract makes the second one harmless.
    pub fn is_outcome_unknown(&self) -> bool {
        match self {
            Self::Submit(error) => error.is_outcome_unknown(),
            Self::CommitStatus(_) => true,
            Self::Endorse(_) | Self::Commit(_) | Self::Sign(_) => false,
        }
    }

    /// Whether a new proposal may succeed and cannot take effect twice: the old one is known to
    /// be void, and the reason may pass.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Endorse(error) => error.is_retryable(),
            Self::Commit(error) => error.is_retryable(),
            Self::Submit(_) | Self::CommitStatus(_) | Self::Sign(_) => false,
        }
    }

    /// The chaincode's own refusal, if that is what failed: its status and its message.
    pub fn chaincode_response(&self) -> Option<(i32, String)> {
        match self {
            Self::Endorse(error) => error.chaincode_response(),
            _ => None,
        }
    }

    /// The gRPC status of the step that failed, if a peer or the connection gave one.
    pub fn status(&self) -> Option<&RpcStatus> {
        match self {
            Self::Endorse(error) => Some(&error.status),
            Self::Submit(error) => Some(&error.status),
            Self::CommitStatus(error) => Some(&error.status),
            Self::Commit(_) | Self::Sign(_) => None,
        }
    }
}

/// Events ended, or a checkpoint could not be kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventsError {
    /// The peer refused, or no peer could be reached for long.
    #[error("events: {0}")]
    Rpc(RpcStatus),
    /// The peer ended a stream of blocks with a status, such as 403 for a missing right.
    #[error("block events ended with status {status}")]
    Deliver {
        /// Fabric's `common.Status`: 400 malformed, 403 forbidden, 404 no such channel or block,
        /// 503 unavailable.
        status: i32,
    },
    /// The peer sent something that is no event.
    #[error("malformed event from the peer")]
    Malformed,
    /// The request for events could not be signed.
    #[error("cannot sign")]
    Sign(#[from] SignatureError),
    /// A checkpoint file could not be read or written.
    #[error("checkpoint file {}", path.display())]
    Checkpoint {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}
