//! The key that encrypts one record version.

use aws_lc_rs::rand;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Length in bytes of a data key.
pub const DATA_KEY_LEN: usize = 32;

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
