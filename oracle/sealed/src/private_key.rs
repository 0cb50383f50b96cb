//! A reader's private key: it unwraps data keys and opens sealed texts.

use aws_lc_rs::{
    encoding::AsDer,
    rsa::{KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey},
};
use zeroize::Zeroizing;

use crate::{
    KeyError, PublicKey,
    jwe::Cek,
    jwk::{self, RsaJwk},
};

/// An RSA private key, with the same limits as [`PublicKey`].
#[allow(
    missing_debug_implementations,
    reason = "a secret must not be printable"
)]
#[derive(Clone)]
pub struct PrivateKey {
    key: PrivateDecryptingKey,
    public: PublicKey,
}

impl PrivateKey {
    /// Makes a key of `bits` bits: 3072, 4096 or 8192. Takes from a tenth of a second to minutes.
    ///
    /// # Errors
    /// [`KeyError::ModulusSize`] for any other size, [`KeyError::Generation`] when the
    /// cryptographic library fails.
    pub fn generate(bits: usize) -> Result<Self, KeyError> {
        let size = match bits {
            3072 => KeySize::Rsa3072,
            4096 => KeySize::Rsa4096,
            8192 => KeySize::Rsa8192,
            _ => return Err(KeyError::ModulusSize { bits }),
        };
        let key = PrivateDecryptingKey::generate(size).map_err(|_| KeyError::Generation)?;
        let pkcs8 = AsDer::as_der(&key).map_err(|_| KeyError::Generation)?;
        Self::from_pkcs8_der(pkcs8.as_ref())
    }

    /// Reads a private JWK with all of `n`, `e`, `d`, `p`, `q`, `dp`, `dq` and `qi`.
    ///
    /// # Errors
    /// Any [`KeyError`] but `PrivateKeyGiven` and `Generation`.
    pub fn from_jwk(json: &str) -> Result<Self, KeyError> {
        let jwk = RsaJwk::parse(json)?;
        let public = PublicKey::from_modulus(jwk.modulus()?)?;
        Self::from_parts(jwk.to_pkcs8()?.as_bytes(), public)
    }

    /// Reads an unencrypted PKCS#8 document in DER.
    ///
    /// # Errors
    /// As [`PrivateKey::from_jwk`].
    pub fn from_pkcs8_der(pkcs8: &[u8]) -> Result<Self, KeyError> {
        let public = PublicKey::from_modulus(jwk::pkcs8_modulus(pkcs8)?)?;
        Self::from_parts(pkcs8, public)
    }

    /// The library checks that the primes and exponents belong to the modulus.
    fn from_parts(pkcs8: &[u8], public: PublicKey) -> Result<Self, KeyError> {
        let key = PrivateDecryptingKey::from_pkcs8(pkcs8).map_err(|_| KeyError::Inconsistent)?;
        Ok(Self { key, public })
    }

    /// The public half, which may be shown to everyone.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// The private JWK, in memory that is wiped when dropped.
    #[must_use]
    pub fn to_jwk(&self) -> Zeroizing<String> {
        jwk::private_jwk(&self.to_pkcs8_der(), self.public.thumbprint())
            .expect("the library writes a well-formed document")
    }

    /// The unencrypted PKCS#8 document in DER, in memory that is wiped when dropped.
    #[must_use]
    pub fn to_pkcs8_der(&self) -> Zeroizing<Vec<u8>> {
        let document = AsDer::as_der(&self.key).expect("a key that was accepted can be written");
        Zeroizing::new(document.as_ref().to_vec())
    }

    /// Decrypts the content encryption key of a JWE.
    pub(crate) fn decrypt_cek(&self, ciphertext: &[u8]) -> Option<Cek> {
        let message = self.decrypt_oaep(ciphertext)?;
        Some(Zeroizing::new(message.as_slice().try_into().ok()?))
    }

    /// RSA-OAEP with SHA-256, MGF1 with SHA-256 and no label.
    pub(crate) fn decrypt_oaep(&self, ciphertext: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let key = OaepPrivateDecryptingKey::new(self.key.clone()).ok()?;
        let mut message = Zeroizing::new(vec![0; key.min_output_size()]);
        let message_len = key
            .decrypt(&OAEP_SHA256_MGF1SHA256, ciphertext, &mut message, None)
            .ok()?
            .len();
        message.truncate(message_len);
        Some(message)
    }
}

#[cfg(test)]
mod tests;
