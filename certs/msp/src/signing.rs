//! Identities that can sign.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::certificate::Certificate;
use crate::error::{IdentityError, SignatureError};
use crate::folder;
use crate::id::MspId;
use crate::identity::serialize_pem;
use crate::private_key::PrivateKey;

/// A certificate with its private key and the MSP it belongs to; cheap to clone. `Debug` shows
/// nothing of the key, which is wiped when the last clone goes.
#[derive(Clone)]
pub struct SigningIdentity(Arc<Inner>);

struct Inner {
    msp_id: MspId,
    certificate: Certificate,
    key: PrivateKey,
    serialized: Vec<u8>,
}

impl SigningIdentity {
    /// Reads `signcerts` and `keystore` of an MSP folder: the first certificate by file name and
    /// the key that fits it, whatever the key's file is called.
    ///
    /// # Errors
    /// [`IdentityError`] if either is missing, unreadable or malformed.
    pub fn from_msp_dir(msp_id: MspId, dir: &Path) -> Result<Self, IdentityError> {
        let missing = |what, folder: &str| IdentityError::Missing {
            what,
            path: dir.join(folder),
        };
        let certificate_pem = folder::read_files(&dir.join("signcerts"))?
            .into_iter()
            .next()
            .ok_or_else(|| missing("certificate", "signcerts"))?;
        let certificate = Certificate::from_pem(&certificate_pem)?;
        // All wrapped before the first is looked at: every one is wiped, found or not.
        let keys: Vec<_> = folder::read_files(&dir.join("keystore"))?
            .into_iter()
            .map(Zeroizing::new)
            .collect();
        let key = keys
            .iter()
            .filter_map(|pem| PrivateKey::from_pem(pem).ok())
            .find(|key| key.belongs_to(certificate.public_key()))
            .ok_or_else(|| missing("private key of the certificate", "keystore"))?;
        Ok(Self::join(msp_id, certificate, &certificate_pem, key))
    }

    /// Takes a certificate and its private key, both as PEM.
    ///
    /// # Errors
    /// [`IdentityError`] if one is malformed or they do not belong together.
    pub fn from_pem(
        msp_id: MspId,
        certificate_pem: &[u8],
        key_pem: &[u8],
    ) -> Result<Self, IdentityError> {
        let certificate = Certificate::from_pem(certificate_pem)?;
        let key = PrivateKey::from_pem(key_pem)?;
        if !key.belongs_to(certificate.public_key()) {
            return Err(IdentityError::KeyMismatch);
        }
        Ok(Self::join(msp_id, certificate, certificate_pem, key))
    }

    /// The serialized form carries the PEM as it was given, like every other client's, so that
    /// what a peer logs and compares is what lies in the file.
    fn join(msp_id: MspId, certificate: Certificate, pem: &[u8], key: PrivateKey) -> Self {
        let serialized = serialize_pem(&msp_id, pem.to_vec());
        Self(Arc::new(Inner {
            msp_id,
            certificate,
            key,
            serialized,
        }))
    }

    /// The MSP.
    pub fn msp_id(&self) -> &MspId {
        &self.0.msp_id
    }

    /// The certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.0.certificate
    }

    /// The creator's bytes for a header: `msp.SerializedIdentity`.
    pub fn serialized(&self) -> Vec<u8> {
        self.0.serialized.clone()
    }

    /// Signs a message as Fabric verifies it: SHA-256 and ECDSA in DER with low S, or Ed25519.
    ///
    /// # Errors
    /// As [`PrivateKey::sign`].
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        self.0.key.sign(message)
    }

    /// Signs a message as ES256: r and s, 32 bytes each.
    ///
    /// # Errors
    /// [`SignatureError::UnsupportedKey`] unless the key is on P-256.
    pub fn sign_es256(&self, message: &[u8]) -> Result<[u8; 64], SignatureError> {
        self.0.key.sign_es256(message)
    }
}

impl fmt::Debug for SigningIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningIdentity")
            .field("msp_id", &self.0.msp_id)
            .field("certificate", &self.0.certificate)
            .finish_non_exhaustive()
    }
}
