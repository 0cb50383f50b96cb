//! Byte strings of fixed length: hashes, salts, nonces.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::error::ParseError;
use crate::limits::{NONCE_BYTES_MAX, NONCE_BYTES_MIN};
use crate::text::serde_as_text;

/// Decodes exactly `N` bytes of lower-case hex.
pub(crate) fn lower_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let lower = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let mut bytes = [0; N];
    (lower && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(bytes)
}

/// A SHA-256 digest, written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// SHA-256 of `message`.
    #[must_use]
    pub fn of(message: &[u8]) -> Self {
        Self(Sha256::digest(message).into())
    }

    /// SHA-256 of the parts, one after the other.
    #[must_use]
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }

    /// The digest's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for Digest {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        lower_hex(text)
            .map(Self)
            .ok_or(ParseError::new("a SHA-256 of 64 lower-case hex digits"))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

serde_as_text!(Digest);

/// 32 random bytes that keep a published hash from being guessed, written as 64 lower-case hex
/// digits. `Debug` shows nothing: who holds the salt can test guesses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Salt([u8; 32]);

impl Salt {
    /// The salt with these bytes, which its maker took from a random source.
    ///
    /// # Errors
    ///
    /// If all bytes are equal: that is a buffer nobody filled.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, ParseError> {
        if bytes.iter().all(|b| *b == bytes[0]) {
            Err(ParseError::new("a random salt"))
        } else {
            Ok(Self(bytes))
        }
    }

    /// The salt's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for Salt {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let bytes = lower_hex(text).ok_or(ParseError::new("a salt of 64 lower-case hex digits"))?;
        Self::from_bytes(bytes)
    }
}

impl fmt::Display for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt(..)")
    }
}

serde_as_text!(Salt);

/// 16 to 32 random bytes that make a signed request unique, written in base64url without padding.
#[derive(Clone, PartialEq, Eq)]
pub struct Nonce(Vec<u8>);

impl Nonce {
    /// The nonce with these bytes, which its maker took from a random source.
    ///
    /// # Errors
    ///
    /// If there are fewer than 16 or more than 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ParseError> {
        if (NONCE_BYTES_MIN..=NONCE_BYTES_MAX).contains(&bytes.len()) {
            Ok(Self(bytes.to_vec()))
        } else {
            Err(ParseError::new("a nonce of 16 to 32 bytes"))
        }
    }

    /// The nonce's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for Nonce {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let bytes = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| ParseError::new("a nonce in base64url without padding"))?;
        Self::from_bytes(&bytes)
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(&self.0))
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nonce({self})")
    }
}

serde_as_text!(Nonce);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_of_parts_is_digest_of_their_concatenation() {
        assert_eq!(Digest::of_parts(&[b"ab", b"", b"c"]), Digest::of(b"abc"));
        assert_eq!(
            Digest::of(b"abc").to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn salt_refuses_an_unfilled_buffer_and_hides_itself() {
        assert!(Salt::from_bytes([0; 32]).is_err());
        assert!(Salt::from_bytes([7; 32]).is_err());
        let mut bytes = [0; 32];
        bytes[31] = 1;
        let salt = Salt::from_bytes(bytes).unwrap();
        assert_eq!(format!("{salt:?}"), "Salt(..)");
        assert_eq!(salt.to_string().parse::<Salt>().unwrap(), salt);
    }

    #[test]
    fn nonce_is_16_to_32_bytes_without_padding() {
        for (length, good) in [(15, false), (16, true), (32, true), (33, false)] {
            assert_eq!(
                Nonce::from_bytes(&vec![9; length]).is_ok(),
                good,
                "{length}"
            );
        }
        for bad in [
            "",
            "AAAAAAAAAAAAAAAAAAAAAA==",
            "AAAAAAAAAAAAAAAAAAAAA+",
            "AAAAAAAAAAAAAAAAAAAAAB",
        ] {
            assert!(bad.parse::<Nonce>().is_err(), "{bad}");
        }
    }
}
