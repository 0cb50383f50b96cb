//! Identities: as bytes in a header, and after an MSP accepted them.

use std::fmt;

use fabric_protos::msp::SerializedIdentity;
use prost::Message as _;

use crate::certificate::{Certificate, MAX_CERTIFICATE_BYTES};
use crate::error::{MspError, SignatureError};
use crate::id::MspId;

/// Longest serialized identity that is read, in bytes: PEM of the longest certificate and a name.
const MAX_SERIALIZED_BYTES: usize = 2 * MAX_CERTIFICATE_BYTES;

/// The role that an organisational unit of the certificate gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeOu {
    /// An application, a person or a device.
    Client,
    /// A peer.
    Peer,
    /// An administrator of the organisation.
    Admin,
    /// An ordering node.
    Orderer,
}

impl NodeOu {
    /// The organisational unit that gives the role in every MSP that cryptogen, fabric-ca or
    /// fabric-mspgen writes.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Peer => "peer",
            Self::Admin => "admin",
            Self::Orderer => "orderer",
        }
    }
}

impl fmt::Display for NodeOu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.unit())
    }
}

/// An identity that an [`crate::Msp`] found valid; only an MSP makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ValidIdentity {
    /// The MSP that vouches for it.
    pub msp_id: MspId,
    /// The certificate, with its issuer's signature in low-S form, so that one identity has one
    /// thumbprint.
    pub certificate: Certificate,
    /// The role, unless the MSP does not use node OUs.
    pub node_ou: Option<NodeOu>,
    /// Whether the MSP lists the certificate as an admin's.
    pub(crate) listed_admin: bool,
    /// Identifies the chain of CAs above the certificate.
    pub(crate) certifier: [u8; 32],
}

impl ValidIdentity {
    /// Whether the MSP takes the identity for an admin: by OU, or because it is listed.
    pub fn is_admin(&self) -> bool {
        self.listed_admin || self.node_ou == Some(NodeOu::Admin)
    }

    /// Checks the identity's signature over a message, as [`Certificate::verify_der`].
    ///
    /// # Errors
    /// [`SignatureError`] if it does not hold.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        self.certificate.verify_der(message, signature)
    }

    /// The identity as bytes, in its one form.
    pub fn serialized(&self) -> Vec<u8> {
        serialized_identity(&self.msp_id, &self.certificate)
    }
}

/// The bytes that name a creator in a header: `msp.SerializedIdentity`, the certificate as PEM.
pub fn serialized_identity(msp_id: &MspId, certificate: &Certificate) -> Vec<u8> {
    serialize_pem(msp_id, certificate.pem().into_bytes())
}

pub(crate) fn serialize_pem(msp_id: &MspId, pem: Vec<u8>) -> Vec<u8> {
    let identity = SerializedIdentity {
        mspid: msp_id.to_string(),
        id_bytes: pem,
    };
    identity.encode_to_vec()
}

/// Reads a creator. It says nothing about validity: see [`crate::MspManager::identity`].
///
/// # Errors
/// [`MspError::MalformedIdentity`], [`MspError::Id`] or [`MspError::Certificate`].
pub fn parse_serialized_identity(bytes: &[u8]) -> Result<(MspId, Certificate), MspError> {
    if bytes.len() > MAX_SERIALIZED_BYTES {
        return Err(MspError::MalformedIdentity);
    }
    let identity = SerializedIdentity::decode(bytes).map_err(|_| MspError::MalformedIdentity)?;
    let msp_id = MspId::parse(&identity.mspid)?;
    let certificate = Certificate::from_pem(&identity.id_bytes)?;
    Ok((msp_id, certificate))
}
