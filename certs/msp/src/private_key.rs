//! Private keys: reading and signing.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use zeroize::Zeroizing;

use crate::error::{IdentityError, SignatureError};
use crate::low_s::{self, Curve};
use crate::public_key::PublicKey;

/// A private key that signs as Fabric wants it: ECDSA on P-256, or Ed25519 for channels with
/// capability V3_0. The library that holds it wipes it on drop, and `Debug` shows nothing of it.
pub struct PrivateKey(Pair);

enum Pair {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl PrivateKey {
    /// Reads a PEM file: PKCS#8 (`PRIVATE KEY`) or SEC 1 (`EC PRIVATE KEY`).
    ///
    /// # Errors
    /// [`IdentityError::Key`] unless it holds an ECDSA P-256 or an Ed25519 key.
    pub fn from_pem(pem: &[u8]) -> Result<Self, IdentityError> {
        let der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| IdentityError::Key)?;
        Self::from_der(Zeroizing::new(der).secret_der())
    }

    /// Reads DER: PKCS#8 or SEC 1.
    ///
    /// # Errors
    /// As [`PrivateKey::from_pem`].
    pub fn from_der(der: &[u8]) -> Result<Self, IdentityError> {
        let pair = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der);
        if let Ok(pair) = pair {
            return Ok(Self(Pair::P256(pair)));
        }
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
            .map(|pair| Self(Pair::Ed25519(pair)))
            .map_err(|_| IdentityError::Key)
    }

    /// The public key: an uncompressed point for ECDSA, 32 bytes for Ed25519.
    pub fn public_key_bytes(&self) -> &[u8] {
        match &self.0 {
            Pair::P256(pair) => pair.public_key().as_ref(),
            Pair::Ed25519(pair) => pair.public_key().as_ref(),
        }
    }

    /// Signs a message as Fabric verifies it: SHA-256 and ECDSA in DER with low S, or Ed25519.
    ///
    /// # Errors
    /// [`SignatureError::Malformed`] if the library cannot sign; it always can with a key that
    /// was read.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        match &self.0 {
            Pair::P256(pair) => low_s::to_der(Curve::P256, &sign_fixed(pair, message)?),
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }

    /// Signs a message as ES256 (RFC 7518 section 3.4): r and s, 32 bytes each, here with low S.
    ///
    /// # Errors
    /// [`SignatureError::UnsupportedKey`] unless this is a P-256 key.
    pub fn sign_es256(&self, message: &[u8]) -> Result<[u8; 64], SignatureError> {
        match &self.0 {
            Pair::P256(pair) => sign_fixed(pair, message),
            Pair::Ed25519(_) => Err(SignatureError::UnsupportedKey),
        }
    }

    pub(crate) fn belongs_to(&self, certified: &PublicKey) -> bool {
        match (&self.0, certified) {
            (Pair::P256(_), PublicKey::Ecdsa(Curve::P256, point)) => {
                self.public_key_bytes() == point.as_slice()
            }
            (Pair::Ed25519(_), PublicKey::Ed25519(bytes)) => self.public_key_bytes() == bytes,
            _ => false,
        }
    }
}

fn sign_fixed(pair: &EcdsaKeyPair, message: &[u8]) -> Result<[u8; 64], SignatureError> {
    let signature = pair
        .sign(&SystemRandom::new(), message)
        .map_err(|_| SignatureError::Malformed)?;
    let mut fixed =
        <[u8; 64]>::try_from(signature.as_ref()).map_err(|_| SignatureError::Malformed)?;
    low_s::normalize(Curve::P256, &mut fixed);
    Ok(fixed)
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Pair::P256(_) => "PrivateKey(P-256)",
            Pair::Ed25519(_) => "PrivateKey(Ed25519)",
        })
    }
}
