//! Why a network does not start or stops.

use std::path::PathBuf;

use thiserror::Error;

use crate::genesis::GenesisError;
use crate::ledger::LedgerError;

/// Why a network does not start or stops.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// A number of organisations that cannot be.
    #[error(
        "a network has 1 to {} organisations, not {count}",
        crate::config::ORGANIZATIONS_MAX
    )]
    Organizations {
        /// What was asked for.
        count: usize,
    },
    /// The folder holds a network of another size.
    #[error("{wanted} organisations were asked for, but the folder holds a network of {found}")]
    OtherOrganizations {
        /// What was asked for.
        wanted: usize,
        /// What is there.
        found: usize,
    },
    /// The folder holds a network with another channel.
    #[error("channel {wanted} was asked for, but the folder holds the ledger of {found}")]
    OtherChannel {
        /// What was asked for.
        wanted: String,
        /// What is there.
        found: String,
    },
    /// There is no ordering organisation among the certificates.
    #[error("{} has no ordererOrganizations", dir.display())]
    NoOrderer {
        /// Folder of the certificates.
        dir: PathBuf,
    },
    /// The MSP ID of an organisation is not known.
    #[error("the MSP ID of {} cannot be told", folder.display())]
    NoMspId {
        /// Folder of the organisation.
        folder: PathBuf,
    },
    /// A file or folder cannot be read or written.
    #[error("{}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another process runs this network.
    #[error("another process runs the network in {}", dir.display())]
    Running {
        /// Folder of the network.
        dir: PathBuf,
    },
    /// A port cannot be listened on.
    #[error("cannot listen on {address} for {name}")]
    Listen {
        /// Address and port.
        address: String,
        /// Which node.
        name: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A TLS certificate or key is not usable, or a server failed.
    #[error("server failed")]
    Server(#[from] tonic::transport::Error),
    /// Certificates cannot be made or opened.
    #[error("certificates cannot be made or opened")]
    Issue(#[from] fabric_mspgen::IssueError),
    /// An MSP folder is not usable.
    #[error("MSP folder is not usable")]
    Msp(#[from] fabric_msp::MspError),
    /// The identity of a node is not usable.
    #[error("identity of a node is not usable")]
    Identity(#[from] fabric_msp::IdentityError),
    /// The first block cannot be made.
    #[error("first block cannot be made")]
    Genesis(#[from] GenesisError),
    /// The ledger cannot be opened or written.
    #[error("ledger cannot be opened or written")]
    Ledger(#[from] LedgerError),
    /// The packages installed on a peer cannot be read.
    #[error("installed packages cannot be read: {0}")]
    Packages(String),
    /// A block cannot be signed.
    #[error("block cannot be signed")]
    Sign(#[from] fabric_msp::SignatureError),
    /// No random bytes were to be had.
    #[error("no random bytes")]
    Random,
    /// A task of the network ended on its own.
    #[error("a task of the network ended: {0}")]
    Task(String),
}
