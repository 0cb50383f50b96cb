//! Fabric MSP identities: reading, verifying and signing; it issues nothing.
//!
//! An organisation on a Fabric channel is an [`Msp`]: CA certificates, revocation lists and the
//! rule by which a certificate's organisational unit tells clients, peers, admins and orderers
//! apart. [`Msp::validate`] judges as a Fabric peer does, which means that it ignores expiry;
//! [`Msp::validate_at`] also looks at the given time and belongs at every edge where a person or
//! a device connects. [`SigningIdentity`] holds a private key and signs as Fabric wants it:
//! ECDSA over SHA-256, DER, low S.
//!
//! Nothing here reads a clock. Files are read by [`Msp::from_dir`], [`Msp::reload_crls`] and
//! [`SigningIdentity::from_msp_dir`] only.

pub use certificate::{Certificate, MAX_CERTIFICATE_BYTES};
pub use error::{CertificateError, IdentityError, MspError, MspIdError, SignatureError};
pub use id::MspId;
pub use identity::{NodeOu, ValidIdentity, parse_serialized_identity, serialized_identity};
pub use manager::MspManager;
pub use msp::Msp;
pub use private_key::PrivateKey;
pub use signing::SigningIdentity;

pub mod block;
mod certificate;
mod chain;
mod crl;
pub mod detached;
mod error;
mod extensions;
mod folder;
mod id;
mod identity;
pub mod jws;
mod low_s;
mod manager;
mod msp;
mod name;
mod node_ou;
mod principal;
mod private_key;
mod public_key;
mod signing;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
