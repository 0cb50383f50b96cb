//! What can go wrong between a peer and its chaincode; texts as Fabric's clients know them.

use thiserror::Error;

use crate::ledger::SimulationError;

/// Ending of every error caused by a lost stream; gateways retry elsewhere when they see it.
pub(crate) const STREAM_TERMINATED: &str = "chaincode stream terminated";

/// A chaincode could not be reached or did not register.
#[derive(Debug, Error)]
#[error("could not launch chaincode {package_id}: connection to {package_id} failed: {cause}")]
pub(crate) struct LaunchError {
    pub(crate) package_id: String,
    pub(crate) cause: DialError,
}

/// Why dialling a chaincode failed.
#[derive(Debug, Error)]
pub(crate) enum DialError {
    #[error(
        "error creating grpc connection to {address}: failed to create new connection: {detail}"
    )]
    Unreachable { address: String, detail: String },
    #[error("invalid connection settings: {0}")]
    Settings(#[from] crate::package::ConnectionError),
    #[error("invalid TLS settings for {address}: {detail}")]
    Tls { address: String, detail: String },
    #[error(
        "peer will not accept external chaincode connection {registered}: the chaincode at {address} registered with that ID, but package {expected} is expected there (set CORE_CHAINCODE_ID_NAME={expected})"
    )]
    WrongId {
        address: String,
        registered: String,
        expected: String,
    },
    #[error("the chaincode at {address} did not register: {detail}")]
    Handshake { address: String, detail: String },
}

/// A transaction could not be run by its chaincode.
#[derive(Debug, Error)]
pub(crate) enum InvokeError {
    #[error("invalid invocation: {0}")]
    Invalid(String),
    #[error("{0}")]
    Launch(#[from] LaunchError),
    #[error("error sending: txid: {tx_id}({channel}) exists")]
    Exists { tx_id: String, channel: String },
    #[error("error sending: timeout expired while executing transaction")]
    Timeout,
    #[error("error sending: chaincode stream terminated")]
    Terminated {
        /// Whether the chaincode had sent anything for this transaction before.
        started: bool,
    },
}

/// Why a request of a running chaincode was refused.
#[derive(Debug, Error)]
pub(crate) enum RequestError {
    #[error("unmarshal failed: {0}")]
    Malformed(#[from] prost::DecodeError),
    #[error("{0}")]
    Simulation(#[from] SimulationError),
    #[error("private data APIs are not allowed in chaincode Init()")]
    PrivateInInit,
    #[error("only applicable for private data")]
    OnlyPrivate,
    #[error("query iterator not found")]
    NoIterator,
    #[error("unknown operation type")]
    UnknownOperation,
    #[error("no ledger context")]
    NoLedgerContext,
    /// Access is checked before the ledger is looked for, except for system chaincodes.
    #[error("{} [{channel}]", if *is_system { "failed to find ledger for channel:" } else { "Failed to get policy manager for channel" })]
    NoChannel { channel: String, is_system: bool },
    #[error("{0}")]
    Denied(String),
    #[error("execute failed: {0}")]
    Execute(Box<InvokeError>),
}
