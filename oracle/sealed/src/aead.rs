//! AES-256-GCM with a 12-byte nonce, the one cipher under segments and JWEs.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

pub(crate) const KEY_LEN: usize = 32;
pub(crate) const NONCE_LEN: usize = 12;
pub(crate) const TAG_LEN: usize = 16;

/// One key. Its user answers for never taking a nonce twice.
pub(crate) struct Aes256Gcm(LessSafeKey);

impl Aes256Gcm {
    pub(crate) fn new(key: &[u8; KEY_LEN]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("the key has the cipher's length");
        Self(LessSafeKey::new(key))
    }

    /// Encrypts in place and appends the tag; `None` if the library refuses the length.
    pub(crate) fn seal(
        &self,
        nonce: [u8; NONCE_LEN],
        associated_data: &[u8],
        buffer: &mut Vec<u8>,
    ) -> Option<()> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.0
            .seal_in_place_append_tag(nonce, Aad::from(associated_data), buffer)
            .ok()
    }

    /// Decrypts in place and removes the tag; `None` if ciphertext, tag, nonce or associated data
    /// are not as they were sealed, and then `buffer` holds nothing of use.
    pub(crate) fn open(
        &self,
        nonce: [u8; NONCE_LEN],
        associated_data: &[u8],
        buffer: &mut Vec<u8>,
    ) -> Option<()> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let plaintext_len = self
            .0
            .open_in_place(nonce, Aad::from(associated_data), buffer)
            .ok()?
            .len();
        buffer.truncate(plaintext_len);
        Some(())
    }
}
