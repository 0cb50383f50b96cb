//! Why a device gets no certificate.

use std::path::PathBuf;

use crate::ledger::LedgerError;

/// Why an oracle cannot certify devices. It does not start then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// A file cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Others than its owner may read the key.
    #[error(
        "the key of the device CA {} may be read by others than its owner (mode {mode:o}); set its mode to 600",
        path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file does not hold what it should: a P-256 key, or the certificate of a CA.
    #[error("{} holds no {wanted}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
    },
    /// The key is not the certificate's.
    #[error("the device CA's key is not the one of its certificate {}", path.display())]
    Mismatch {
        /// The certificate.
        path: PathBuf,
    },
    /// Certificates of this CA would be refused by the devices' MSP.
    #[error("the organisation's MSP accepts no certificate of the device CA")]
    NotInMsp(#[source] fabric_msp::MspError),
    /// The folder of tokens cannot be used.
    #[error("the folder {} of open enrolments cannot be used", path.display())]
    Kept {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A certificate cannot be made.
    #[error("the device CA cannot issue")]
    Issue(#[source] rcgen::Error),
}

/// Why one device gets no certificate now.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum EnrolmentError {
    /// The token is not known, has expired, or has served another key. Which one is not said.
    #[error("the token is not good")]
    Token,
    /// The signing request is not what is wanted.
    #[error("the signing request is refused: {reason}")]
    Request {
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// An earlier answer went to another key.
    #[error("another key was certified before")]
    OtherKey,
    /// Neither the token nor the ledger says whom the device measures.
    #[error("the device is bound to no patient")]
    NoPatient,
    /// The certificate shown is not a device's of this CA.
    #[error("the certificate is no device's of this organisation")]
    NotADevice,
    /// The certificate shown is not the one that the ledger has.
    #[error("the certificate is not the registered one")]
    NotRegistered,
    /// The device is suspended or revoked.
    #[error("the device is not active")]
    DeviceInactive,
    /// The device was revoked for good.
    #[error("the device is revoked")]
    DeviceRevoked,
    /// Too many tokens are open.
    #[error("too many enrolments are open")]
    Full,
    /// The folder of tokens cannot be written.
    #[error("the enrolment cannot be kept")]
    Kept(#[source] std::io::Error),
    /// What is kept cannot be read.
    #[error("what is kept of an enrolment cannot be read")]
    Unreadable,
    /// The CA could not sign.
    #[error("the certificate cannot be issued")]
    Issue(#[source] rcgen::Error),
    /// The device could not be looked up or registered; what was certified waits for the next try.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The system has no random numbers to give.
    #[error("the system's random source failed")]
    NoRandomness,
}
