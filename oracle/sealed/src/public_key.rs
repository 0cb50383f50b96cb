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
mod tests {
    use super::*;

    /// The example key of RFC 7638 section 3.1, too short for this crate.
    const RFC_7638_N: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";

    fn jwk(n: &[u8], e: &str) -> String {
        let n = URL_SAFE_NO_PAD.encode(n);
        format!(r#"{{"kty":"RSA","n":"{n}","e":"{e}"}}"#)
    }

    fn modulus(bytes: usize) -> Vec<u8> {
        let mut modulus = vec![0x5a; bytes];
        modulus[0] = 0x80;
        modulus[bytes - 1] = 0x01;
        modulus
    }

    #[test]
    fn thumbprint_is_that_of_rfc_7638() {
        let modulus = URL_SAFE_NO_PAD.decode(RFC_7638_N).unwrap();
        assert_eq!(
            thumbprint(&modulus),
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
        );
    }

    #[test]
    fn unfit_public_keys_are_refused() {
        let even = {
            let mut even = modulus(384);
            even[383] = 2;
            even
        };
        let good = modulus(384);
        let zero_led = [&[0][..], &good].concat();
        let cases = [
            (
                jwk(&modulus(256), "AQAB"),
                KeyError::ModulusSize { bits: 2048 },
            ),
            (
                jwk(&modulus(383), "AQAB"),
                KeyError::ModulusSize { bits: 3064 },
            ),
            (
                jwk(&modulus(1025), "AQAB"),
                KeyError::ModulusSize { bits: 8200 },
            ),
            (jwk(&even, "AQAB"), KeyError::EvenModulus),
            (jwk(&good, "Aw"), KeyError::Exponent),
            (jwk(&good, "AQAA"), KeyError::Exponent),
            (jwk(&good, "AAEAAQ"), KeyError::Malformed),
            (jwk(&good, ""), KeyError::Malformed),
            (jwk(&zero_led, "AQAB"), KeyError::Malformed),
            (jwk(&good, "AQAB").replace("RSA", "oct"), KeyError::NotRsa),
            (
                jwk(&good, "AQAB").replace("\"e\"", "\"f\""),
                KeyError::Malformed,
            ),
            (jwk(&good, "AQAB=").to_owned(), KeyError::Malformed),
            (
                jwk(&good, "AQAB").replace("{", r#"{"d":"AQAB","#),
                KeyError::PrivateKeyGiven,
            ),
            (
                jwk(&good, "AQAB").replace("{", r#"{"use":"sig","#),
                KeyError::WrongUse,
            ),
            (
                jwk(&good, "AQAB").replace("{", r#"{"alg":"RSA1_5","#),
                KeyError::WrongUse,
            ),
            (
                jwk(&good, "AQAB").replace("{", r#"{"e":"AQAB","#),
                KeyError::Malformed,
            ),
            ("{".to_owned(), KeyError::Malformed),
            ("[]".to_owned(), KeyError::Malformed),
            (" ".repeat(17 * 1024), KeyError::Malformed),
        ];
        for (json, expected) in cases {
            assert_eq!(PublicKey::from_jwk(&json).unwrap_err(), expected, "{json}");
        }
    }

    #[test]
    fn jwk_and_spki_forms_come_back() {
        let key = PublicKey::from_modulus(modulus(384)).unwrap();
        assert_eq!(PublicKey::from_jwk(&key.to_jwk()).unwrap(), key);
        assert_eq!(PublicKey::from_spki_der(&key.to_spki_der()).unwrap(), key);
        assert_eq!(
            PublicKey::from_spki_der(b"0").unwrap_err(),
            KeyError::Malformed
        );
    }
}
