//! The wire layout of Tink's AES-GCM-HKDF streaming AEAD, one segment at a time.
//!
//! ```text
//! header: length 40 (1) ‖ HKDF salt (32) ‖ nonce prefix (7)
//! segment i: AES-256-GCM ciphertext ‖ tag (16), nonce = prefix (7) ‖ i big endian (4) ‖ last (1)
//! ```
//!
//! The header counts as part of the first segment, so every segment but the last ends on a
//! multiple of [`SEGMENT_BYTES`].

use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use zeroize::Zeroizing;

use crate::{
    AssociatedData, DataKey, OpenError,
    aead::{Aes256Gcm, KEY_LEN, NONCE_LEN, TAG_LEN},
};

/// Length in bytes of a full segment of ciphertext, header and tag included.
pub const SEGMENT_BYTES: usize = 1 << 20;

pub(crate) const HEADER_LEN: usize = 1 + SALT_LEN + NONCE_PREFIX_LEN;
const SALT_LEN: usize = 32;
const NONCE_PREFIX_LEN: usize = 7;

/// Encrypts or decrypts the segments of one object in order.
pub(crate) struct SegmentCipher {
    key: Aes256Gcm,
    nonce_prefix: [u8; NONCE_PREFIX_LEN],
    /// Number of the next segment; `None` once the last one was processed.
    next: Option<u32>,
}

/// Whether a segment ends its object.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    Inner,
    Last,
}

impl SegmentCipher {
    /// Derives the object's key from the data key, the header's salt and the associated data.
    /// `None` when the header is not one of this format.
    pub(crate) fn new(
        data_key: &DataKey,
        associated_data: &AssociatedData,
        header: &[u8; HEADER_LEN],
    ) -> Option<Self> {
        let (length, rest) = header.split_first()?;
        let (salt, prefix) = rest.split_at_checked(SALT_LEN)?;
        if usize::from(*length) != HEADER_LEN {
            return None;
        }
        let mut derived = Zeroizing::new([0; KEY_LEN]);
        Salt::new(HKDF_SHA256, salt)
            .extract(data_key.expose_secret())
            .expand(&[&associated_data.to_bytes()], HKDF_SHA256)
            .and_then(|okm| okm.fill(derived.as_mut_slice()))
            .ok()?;
        Some(Self {
            key: Aes256Gcm::new(&derived),
            nonce_prefix: prefix.try_into().ok()?,
            next: Some(0),
        })
    }

    /// Bytes of ciphertext that follow the header in a full segment.
    pub(crate) fn full_ciphertext_len(&self) -> usize {
        match self.next {
            Some(0) => SEGMENT_BYTES - HEADER_LEN,
            _ => SEGMENT_BYTES,
        }
    }

    /// Bytes of plaintext in a full segment.
    pub(crate) fn full_plaintext_len(&self) -> usize {
        self.full_ciphertext_len() - TAG_LEN
    }

    /// Encrypts all but the last 16 bytes of `buffer` in place and puts the tag there. `None` past
    /// the format's last segment number, which [`crate::MAX_PLAINTEXT_BYTES`] keeps out of reach.
    pub(crate) fn seal(&mut self, buffer: &mut [u8], position: Position) -> Option<()> {
        let nonce = self.take_nonce(position)?;
        self.key.seal(nonce, &[], buffer)
    }

    /// Decrypts `buffer` in place and gives its plaintext, which is all but the last 16 bytes.
    pub(crate) fn open<'a>(
        &mut self,
        buffer: &'a mut [u8],
        position: Position,
    ) -> Result<&'a [u8], OpenError> {
        let nonce = self.take_nonce(position).ok_or(OpenError::Refused)?;
        self.key
            .open(nonce, &[], buffer)
            .ok_or(OpenError::Refused)?;
        Ok(&buffer[..buffer.len() - TAG_LEN])
    }

    /// Uses up the next segment number, so that no nonce serves twice.
    fn take_nonce(&mut self, position: Position) -> Option<[u8; NONCE_LEN]> {
        let number = self.next.take()?;
        if position == Position::Inner {
            self.next = Some(number.checked_add(1)?);
        }
        let mut nonce = [0; NONCE_LEN];
        nonce[..NONCE_PREFIX_LEN].copy_from_slice(&self.nonce_prefix);
        nonce[NONCE_PREFIX_LEN..NONCE_LEN - 1].copy_from_slice(&number.to_be_bytes());
        nonce[NONCE_LEN - 1] = u8::from(position == Position::Last);
        Some(nonce)
    }
}

/// A header with the given random part: salt ‖ nonce prefix.
pub(crate) fn header(random: &[u8; HEADER_LEN - 1]) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    header[0] = HEADER_LEN as u8;
    header[1..].copy_from_slice(random);
    header
}

/// Length of a sealed object whose padded frame has `frame_len` bytes.
pub(crate) fn ciphertext_len(frame_len: u64) -> u64 {
    let segment_plaintext = (SEGMENT_BYTES - TAG_LEN) as u64;
    let header = HEADER_LEN as u64;
    let segments = (frame_len + header).div_ceil(segment_plaintext).max(1);
    header + frame_len + segments * TAG_LEN as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ciphertext_length_counts_one_tag_a_segment() {
        let first = (SEGMENT_BYTES - HEADER_LEN - TAG_LEN) as u64;
        let other = (SEGMENT_BYTES - TAG_LEN) as u64;
        for (frame, segments) in [
            (0, 1),
            (1, 1),
            (first, 1),
            (first + 1, 2),
            (first + other, 2),
            (first + other + 1, 3),
        ] {
            assert_eq!(ciphertext_len(frame), 40 + frame + 16 * segments, "{frame}");
        }
    }

    #[test]
    fn nothing_follows_the_last_segment() {
        let associated_data = AssociatedData {
            record_id: [0; 16],
            commitment: [0; 32],
        };
        let mut cipher = SegmentCipher::new(
            &DataKey::from_bytes([1; 32]),
            &associated_data,
            &header(&[2; 39]),
        )
        .unwrap();
        assert!(cipher.seal(&mut [0; 19], Position::Last).is_some());
        assert!(cipher.seal(&mut [0; 19], Position::Last).is_none());
    }

    #[test]
    fn header_of_another_length_is_refused() {
        let associated_data = AssociatedData {
            record_id: [0; 16],
            commitment: [0; 32],
        };
        let mut bytes = header(&[2; 39]);
        bytes[0] = 24;
        assert!(
            SegmentCipher::new(&DataKey::from_bytes([1; 32]), &associated_data, &bytes).is_none()
        );
    }
}
