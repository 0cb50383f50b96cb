//! What can go wrong when certificates are issued.

use std::path::PathBuf;

use fabric_msp::{CertificateError, IdentityError, MspIdError};

/// A certificate, list or folder that could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// A file or folder could not be read or written; existing files are never overwritten.
    #[error("cannot {action} {}", path.display())]
    File {
        /// `read`, `create` and the like.
        action: &'static str,
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A name cannot be a common name and a file name.
    #[error(
        "name {name:?} is not 1 to 64 characters of A-Z a-z 0-9 . - _ @ starting with a letter \
         or digit"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// A DNS name is not ASCII.
    #[error("{name:?} is not a DNS name")]
    DnsName {
        /// The name.
        name: String,
    },
    /// An organisation's MSP ID is malformed.
    #[error(transparent)]
    MspId(#[from] MspIdError),
    /// The folder holds no organisation that this crate wrote.
    #[error("no organization in {}: its file msp_id is missing", path.display())]
    NoOrganization {
        /// The folder.
        path: PathBuf,
    },
    /// A certificate read from a file is malformed.
    #[error("certificate in {}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: CertificateError,
    },
    /// A CA's private key cannot be used.
    #[error("key of the CA")]
    CaKey(#[source] IdentityError),
    /// The validity asked for ends before it starts, or lies outside the CA's.
    #[error("validity from {not_before} to {not_after} is empty or outside that of the CA")]
    Validity {
        /// Start, seconds since 1970.
        not_before: i64,
        /// End, seconds since 1970.
        not_after: i64,
    },
    /// A certificate signing request is malformed, its signature does not hold, or its key is
    /// not ECDSA P-256.
    #[error("certificate signing request refused: {reason}")]
    Request {
        /// What is wrong.
        reason: &'static str,
    },
    /// A certificate to be renewed is not this organisation's.
    #[error("{} was not issued by this organization", path.display())]
    NotIssuedHere {
        /// The file.
        path: PathBuf,
    },
    /// A serial number is not hex of 1 to 20 bytes.
    #[error("{serial:?} is not a serial number in hex")]
    Serial {
        /// The text.
        serial: String,
    },
    /// The encoder or the signer refused.
    #[error("cannot encode or sign")]
    Encoding(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<rcgen::Error> for IssueError {
    fn from(error: rcgen::Error) -> Self {
        Self::Encoding(Box::new(error))
    }
}
