//! The key that encrypts one record version.

use aws_lc_rs::rand;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Length in bytes of a data key.
pub const DATA_KEY_LEN: usize = 32;

/// `{"k":"…","kty":"oct"}` around 43 characters of base64url.
const OCT_JWK_LEN: usize = 64;

#[derive(Deserialize)]
struct OctJwk<'a> {
    kty: &'a str,
    k: &'a str,
}

/// A 256-bit key for exactly one sealed object; wiped from memory when dropped.
///
/// It has no `Debug`, no `Display` and no comparison, so that it reaches neither a log nor a
/// variable-time `==` by accident.
#[allow(
    missing_debug_implementations,
    reason = "a secret must not be printable"
)]
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct DataKey([u8; DATA_KEY_LEN]);

impl DataKey {
    /// A fresh random key.
    ///
    /// # Panics
    /// When the operating system has no random source; nothing can be sealed then.
    #[must_use]
    pub fn generate() -> Self {
        let mut key = Self([0; DATA_KEY_LEN]);
        rand::fill(&mut key.0).expect("the system's random source answers");
        key
    }

    /// A key that was kept elsewhere, such as in an encrypted journal.
    #[must_use]
    pub fn from_bytes(bytes: [u8; DATA_KEY_LEN]) -> Self {
        Self(bytes)
    }

    /// The raw key; the caller answers for every copy it makes.
    #[must_use]
    pub fn expose_secret(&self) -> &[u8; DATA_KEY_LEN] {
        &self.0
    }

    /// The key as JWK of type `oct` (RFC 7518 section 6.4).
    pub(crate) fn to_jwk(&self) -> Zeroizing<Vec<u8>> {
        let mut json = Zeroizing::new(String::with_capacity(OCT_JWK_LEN));
        json.push_str("{\"k\":\"");
        URL_SAFE_NO_PAD.encode_string(self.expose_secret(), &mut json);
        json.push_str("\",\"kty\":\"oct\"}");
        Zeroizing::new(json.as_bytes().to_vec())
    }

    /// Reads a JWK of type `oct`.
    pub(crate) fn from_jwk(json: &[u8]) -> Option<Self> {
        let jwk: OctJwk<'_> = serde_json::from_slice(json).ok()?;
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(jwk.k).ok()?);
        let bytes: Zeroizing<[u8; DATA_KEY_LEN]> =
            Zeroizing::new(bytes.as_slice().try_into().ok()?);
        (jwk.kty == "oct").then(|| Self::from_bytes(*bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_keys_differ() {
        assert_ne!(
            DataKey::generate().expose_secret(),
            DataKey::generate().expose_secret()
        );
    }

    #[test]
    fn kept_key_comes_back() {
        assert_eq!(DataKey::from_bytes([5; 32]).expose_secret(), &[5; 32]);
    }
}
