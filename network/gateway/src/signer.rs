//! Who signs: an identity whose key is here, or somebody elsewhere.

use fabric_msp::{Certificate, MspId, SignatureError, SigningIdentity, serialized_identity};

/// The creator of proposals and requests.
#[derive(Debug, Clone)]
pub(crate) enum Signer {
    Here(SigningIdentity),
    /// Only the creator's bytes are known; signatures are brought in from outside.
    Elsewhere(Vec<u8>),
}

impl Signer {
    pub(crate) fn elsewhere(msp_id: &MspId, certificate: &Certificate) -> Self {
        Self::Elsewhere(serialized_identity(msp_id, certificate))
    }

    pub(crate) fn creator(&self) -> Vec<u8> {
        match self {
            Self::Here(identity) => identity.serialized(),
            Self::Elsewhere(creator) => creator.clone(),
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        match self {
            Self::Here(identity) => identity.sign(message),
            Self::Elsewhere(_) => Err(SignatureError::UnsupportedKey),
        }
    }
}
