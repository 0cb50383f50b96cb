//! What can be wrong with a certificate, a signature, an identity or an MSP.

use std::path::PathBuf;

use crate::id::MspId;

/// An MSP ID that breaks the rule of [`MspId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "an MSP ID is 1 to {} characters of A-Z a-z 0-9 . - _",
    MspId::MAX_BYTES
)]
pub struct MspIdError;

/// A certificate that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The bytes hold no PEM block labelled CERTIFICATE.
    #[error("no PEM certificate found")]
    NotPem,
    /// The certificate is longer than [`crate::MAX_CERTIFICATE_BYTES`].
    #[error("certificate of {bytes} bytes is longer than allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The bytes are no X.509 certificate in DER, or more than one.
    #[error("malformed X.509 certificate")]
    Malformed,
    /// An extension occurs twice or cannot be read.
    #[error("malformed or duplicate X.509 extension {oid}")]
    Extension {
        /// The extension's object identifier.
        oid: String,
    },
}

/// A signature that could not be made or does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The signature is no DER pair of positive integers of the curve's size.
    #[error("malformed signature")]
    Malformed,
    /// S lies above half the group order; Fabric refuses such signatures as malleable.
    #[error("signature is not in low-S form")]
    HighS,
    /// The signature is not this key's over this message.
    #[error("signature does not match")]
    Mismatch,
    /// The key is of a kind that cannot make or check this signature.
    #[error("key type not supported for this signature")]
    UnsupportedKey,
}

/// A signing identity that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// A file or folder could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The folder holds no certificate, or no key that fits it.
    #[error("no {what} in {}", path.display())]
    Missing {
        /// What was looked for.
        what: &'static str,
        /// Where.
        path: PathBuf,
    },
    /// The certificate is malformed.
    #[error("signing certificate: {0}")]
    Certificate(#[from] CertificateError),
    /// The private key cannot be read: no PEM, not PKCS#8 or SEC 1, or of another kind than
    /// ECDSA P-256 and Ed25519.
    #[error("private key is not a readable ECDSA P-256 or Ed25519 key")]
    Key,
    /// The private key is not the one that the certificate certifies.
    #[error("private key does not belong to the certificate")]
    KeyMismatch,
}

/// An MSP that cannot be set up, or an identity that it refuses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MspError {
    /// A file or folder could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// `config.yaml` is no YAML, or a value in it has the wrong type.
    #[error("malformed config.yaml: {reason}")]
    Config {
        /// What is wrong.
        reason: String,
    },
    /// The configuration names no or an invalid MSP ID.
    #[error(transparent)]
    Id(#[from] MspIdError),
    /// A certificate of the configuration or of an identity is malformed.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The configuration holds no CA certificate.
    #[error("MSP has no CA certificate")]
    NoCaCertificate,
    /// A certificate among the CAs may not be one.
    #[error("certificate of {subject} cannot be a CA: {reason}")]
    NotCa {
        /// Its subject.
        subject: String,
        /// What it lacks.
        reason: &'static str,
    },
    /// Node OUs give no admin unit and no admin certificate is listed.
    #[error("MSP has neither an admin OU nor admin certificates")]
    NoAdmin,
    /// A listed admin is no valid client or admin of the MSP.
    #[error("listed admin {subject} is not a valid member")]
    InvalidAdmin {
        /// Its subject.
        subject: String,
        /// Why.
        #[source]
        source: Option<Box<Self>>,
    },
    /// An OU identifier names a certificate that is none of the MSP's CAs.
    #[error("certifier of OU {unit} is not a CA of the MSP")]
    UnknownCertifier {
        /// The organisational unit.
        unit: String,
    },
    /// A revocation list is malformed, signed by nobody known, or its signature does not hold.
    #[error("revocation list refused: {reason}")]
    Crl {
        /// What is wrong.
        reason: &'static str,
    },
    /// No chain leads from the certificate to the MSP's CAs.
    #[error("certificate of {subject} does not chain to a CA of {msp_id}")]
    Untrusted {
        /// The certificate's subject.
        subject: String,
        /// The MSP asked.
        msp_id: MspId,
        /// What the verifier said.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The certificate is past its time, or not yet in it.
    #[error("certificate of {subject} is not valid at {unix_seconds}")]
    OutsideValidity {
        /// The certificate's subject.
        subject: String,
        /// The time asked about, seconds since 1970.
        unix_seconds: i64,
    },
    /// A CA certificate was presented as an identity.
    #[error("CA certificate of {subject} cannot act as an identity")]
    CaAsIdentity {
        /// The certificate's subject.
        subject: String,
    },
    /// The public key is neither ECDSA nor Ed25519.
    #[error("public key type of {subject} is not supported")]
    UnsupportedKey {
        /// The certificate's subject.
        subject: String,
    },
    /// A revocation list names the certificate.
    #[error("certificate of {subject} is revoked")]
    Revoked {
        /// The certificate's subject.
        subject: String,
    },
    /// The certificate has no, or more than one, of the OUs client, peer, admin, orderer, or one
    /// that another CA should have certified.
    #[error("organizational units of {subject} do not name exactly one role of {msp_id}")]
    OrganizationalUnits {
        /// The certificate's subject.
        subject: String,
        /// The MSP asked.
        msp_id: MspId,
    },
    /// The bytes are no serialized identity.
    #[error("malformed serialized identity")]
    MalformedIdentity,
    /// No MSP of that ID is known.
    #[error("MSP {msp_id} is unknown")]
    UnknownMsp {
        /// The ID asked for.
        msp_id: MspId,
    },
}
