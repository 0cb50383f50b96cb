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

    /// Encrypts all but the last 16 bytes in place and puts the tag there; `None` if there are
    /// fewer, or more than the cipher takes at once.
    pub(crate) fn seal(
        &self,
        nonce: [u8; NONCE_LEN],
        associated_data: &[u8],
        buffer: &mut [u8],
    ) -> Option<()> {
        let (plaintext, tag) = buffer.split_last_chunk_mut::<TAG_LEN>()?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealed = self
            .0
            .seal_in_place_separate_tag(nonce, Aad::from(associated_data), plaintext)
            .ok()?;
        tag.copy_from_slice(sealed.as_ref());
        Some(())
    }

    /// Decrypts all but the last 16 bytes in place, which are the tag. `None` if ciphertext, tag,
    /// nonce or associated data are not as they were sealed; `buffer` holds nothing of use then.
    pub(crate) fn open(
        &self,
        nonce: [u8; NONCE_LEN],
        associated_data: &[u8],
        buffer: &mut [u8],
    ) -> Option<()> {
        let (ciphertext, tag) = buffer.split_last_chunk_mut::<TAG_LEN>()?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.0
            .open_in_place_separate_tag(nonce, Aad::from(associated_data), tag, ciphertext)
            .ok()?;
        Some(())
    }
}
