//! A reader's public key: it wraps data keys and opens nothing.

use std::fmt;

use aws_lc_rs::{
    digest,
    rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    KeyError, WrapError,
    jwe::Cek,
    jwk::{self, ENCRYPTION_USE, EXPONENT_TEXT, KEY_TYPE, RsaJwk, WRAP_ALGORITHM},
};

/// Shortest RSA modulus accepted, in bits (128-bit security, NIST SP 800-57).
pub const MIN_MODULUS_BITS: usize = 3072;

/// Longest RSA modulus accepted, in bits.
pub const MAX_MODULUS_BITS: usize = 8192;

/// An RSA public key, accepted only with a modulus of 3072 to 8192 bits and the exponent 65537.
#[derive(Clone)]
pub struct PublicKey {
    key: PublicEncryptingKey,
    modulus: Vec<u8>,
    thumbprint: String,
}

impl PublicKey {
    /// Reads a public JWK. `kid` and unknown members are ignored.
    ///
    /// # Errors
    /// Any [`KeyError`] but `Inconsistent` and `Generation`; in particular a JWK with private
    /// members is refused.
    pub fn from_jwk(json: &str) -> Result<Self, KeyError> {
        let jwk = RsaJwk::parse(json)?;
        if jwk.has_private_part() {
            return Err(KeyError::PrivateKeyGiven);
        }
        Self::from_modulus(jwk.modulus()?)
    }

    /// Reads an X.509 SubjectPublicKeyInfo in DER.
    ///
    /// # Errors
    /// As [`PublicKey::from_jwk`].
    pub fn from_spki_der(spki: &[u8]) -> Result<Self, KeyError> {
        Self::from_modulus(jwk::spki_modulus(spki)?)
    }

    pub(crate) fn from_modulus(modulus: Vec<u8>) -> Result<Self, KeyError> {
        check_modulus(&modulus)?;
        let key = PublicEncryptingKey::from_der(&jwk::spki(&modulus)?)
            .map_err(|_| KeyError::Malformed)?;
        let thumbprint = thumbprint(&modulus);
        Ok(Self {
            key,
            modulus,
            thumbprint,
        })
    }

    /// The RFC 7638 SHA-256 thumbprint in base64url: the key's ID everywhere in the system.
    #[must_use]
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// The public JWK, with `kid`, `alg` and `use`.
    #[must_use]
    pub fn to_jwk(&self) -> String {
        let n = URL_SAFE_NO_PAD.encode(&self.modulus);
        let kid = &self.thumbprint;
        format!(
            "{{\"alg\":\"{WRAP_ALGORITHM}\",\"e\":\"{EXPONENT_TEXT}\",\"kid\":\"{kid}\",\
             \"kty\":\"{KEY_TYPE}\",\"n\":\"{n}\",\"use\":\"{ENCRYPTION_USE}\"}}"
        )
    }

    /// The X.509 SubjectPublicKeyInfo in DER.
    #[must_use]
    pub fn to_spki_der(&self) -> Vec<u8> {
        jwk::spki(&self.modulus).expect("the modulus was encoded once when the key was accepted")
    }

    /// Encrypts the content encryption key of a JWE.
    pub(crate) fn encrypt_cek(&self, cek: &Cek) -> Result<Vec<u8>, WrapError> {
        let key =
            OaepPublicEncryptingKey::new(self.key.clone()).map_err(|_| WrapError::Encryption)?;
        let mut ciphertext = vec![0; key.ciphertext_size()];
        key.encrypt(
            &OAEP_SHA256_MGF1SHA256,
            cek.as_slice(),
            &mut ciphertext,
            None,
        )
        .map_err(|_| WrapError::Encryption)?;
        Ok(ciphertext)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey")
            .field("thumbprint", &self.thumbprint)
            .finish_non_exhaustive()
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.modulus == other.modulus
    }
}

impl Eq for PublicKey {}

fn check_modulus(modulus: &[u8]) -> Result<(), KeyError> {
    let (Some(first), Some(last)) = (modulus.first(), modulus.last()) else {
        return Err(KeyError::Malformed);
    };
    let bits = modulus.len() * 8 - first.leading_zeros() as usize;
    if !(MIN_MODULUS_BITS..=MAX_MODULUS_BITS).contains(&bits) {
        return Err(KeyError::ModulusSize { bits });
    }
    if last % 2 == 0 {
        return Err(KeyError::EvenModulus);
    }
    Ok(())
}

/// RFC 7638 section 3: the required members in lexical order, without white space.
fn thumbprint(modulus: &[u8]) -> String {
    let n = URL_SAFE_NO_PAD.encode(modulus);
    let members = format!("{{\"e\":\"{EXPONENT_TEXT}\",\"kty\":\"{KEY_TYPE}\",\"n\":\"{n}\"}}");
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, members.as_bytes()))
}

#[cfg(test)]
mod tests;
