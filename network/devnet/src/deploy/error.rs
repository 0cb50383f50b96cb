//! Why a deployment failed.

use thiserror::Error;

use crate::package::PackageError;
use crate::policy::CollectionParseError;

/// Why a deployment failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DeployError {
    /// No process serves the folder.
    #[error("no network runs in this folder")]
    NotRunning,
    /// The note of the running network cannot be read.
    #[error("the note of the running network cannot be read")]
    Control(#[from] std::io::Error),
    /// The package cannot be made.
    #[error("the package cannot be made")]
    Package(#[from] PackageError),
    /// A peer computed another package ID.
    #[error("a peer installed the package as '{installed}' instead of '{expected}'")]
    PackageId {
        /// What this side computed.
        expected: String,
        /// What the peer answered.
        installed: String,
    },
    /// The endorsement policy or the collections are not valid.
    #[error("endorsement policy or collections are not valid")]
    Definition(#[from] CollectionParseError),
    /// The sequence that was asked for is not the next one.
    #[error("sequence {sequence} was asked for, but {next} is the one to commit")]
    Sequence {
        /// What was asked for.
        sequence: i64,
        /// What can be.
        next: i64,
    },
    /// An admin's identity cannot be loaded.
    #[error("the admin identity of {msp_id} cannot be loaded")]
    Identity {
        /// Which organisation.
        msp_id: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A peer cannot be reached.
    #[error("peer {address} cannot be reached")]
    Connect {
        /// Its address.
        address: String,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
    /// A call failed.
    #[error("{function} at {address} failed: {message}{}", details.iter().fold(String::new(), |text, detail| text + "; " + detail))]
    Call {
        /// Which lifecycle function or service.
        function: String,
        /// Which peer.
        address: String,
        /// Its words.
        message: String,
        /// The words of the peers behind it.
        details: Vec<String>,
    },
    /// A transaction was not valid when it was committed.
    #[error("{function} was committed in block {block} with code {code}")]
    Invalid {
        /// Which lifecycle function.
        function: String,
        /// In which block.
        block: u64,
        /// Fabric's validation code.
        code: &'static str,
    },
    /// An answer cannot be read.
    #[error("an answer cannot be read")]
    Answer(#[from] prost::DecodeError),
    /// A message cannot be signed.
    #[error("a message cannot be signed")]
    Sign(#[from] fabric_msp::SignatureError),
    /// No random bytes were to be had.
    #[error("no random bytes")]
    Random,
}
