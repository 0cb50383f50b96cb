//! Issues Fabric certificates and writes the MSP folder layout.
//!
//! [`crypto_config`] and [`cryptogen`] write what Fabric's cryptogen writes, folder by folder and
//! name by name, so that peers, orderers and official clients take it as it is.
//! [`Organization`] then issues more: users with attributes, devices, TLS servers; it signs
//! requests, renews and revokes. Keys are ECDSA P-256, every signature has low S, private keys
//! lie in files that only their owner may read and never overwrite another file.

pub use authority::{CertificateAuthority, KeyAndCert};
pub use error::IssueError;
pub use layout::{CryptoConfig, OrganizationSpec, crypto_config, cryptogen};
pub use organization::{Kind, Organization};
pub use profile::{DAY_SECONDS, SanName, UserProfile, Validity};

mod authority;
mod error;
mod files;
mod key;
mod layout;
mod organization;
mod profile;
mod renewal;
mod revocation;
#[cfg(test)]
mod tests;
