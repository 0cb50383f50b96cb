//! The padding frame inside the plaintext: length, data, zeros up to a size class.
//!
//! ```text
//! data length, big endian (8) ‖ data ‖ zero bytes
//! ```
//!
//! The writer rounds the frame up to [`padded_len`]. The reader accepts any number of zero bytes,
//! so size classes can change without a new format version.

use crate::OpenError;

/// Longest plaintext that is sealed or opened: 1 TiB.
pub const MAX_PLAINTEXT_BYTES: u64 = 1 << 40;

pub(crate) const LENGTH_LEN: usize = 8;

/// Frame lengths of small payloads, in bytes.
const SIZE_CLASSES: [u64; 5] = [256, 1 << 10, 4 << 10, 16 << 10, 64 << 10];

/// Length of the frame around `plaintext_len` bytes: the first size class that holds it, and past
/// the classes a Padmé length, which adds less than 1/32 and reveals only O(log log n) bits.
pub(crate) fn padded_len(plaintext_len: u64) -> u64 {
    let unpadded = LENGTH_LEN as u64 + plaintext_len;
    SIZE_CLASSES
        .into_iter()
        .find(|class| unpadded <= *class)
        .unwrap_or_else(|| padme(unpadded))
}

/// Rounds up to a length whose significant bits are at most as many as its exponent has bits
/// (Nikitin and others, "Reducing metadata leakage from encrypted files", PETS 2019).
fn padme(length: u64) -> u64 {
    let exponent = length.ilog2();
    let significant = exponent.ilog2() + 1;
    let mask = (1_u64 << (exponent - significant)) - 1;
    (length + mask) & !mask
}

/// Strips the frame from plaintext that arrives in pieces.
pub(crate) struct FrameReader {
    length: [u8; LENGTH_LEN],
    length_filled: usize,
    /// Bytes of data still to come, once the length is known.
    remaining: Option<u64>,
}

impl FrameReader {
    pub(crate) fn new() -> Self {
        Self {
            length: [0; LENGTH_LEN],
            length_filled: 0,
            remaining: None,
        }
    }

    /// Takes the next piece of frame and returns the range of it that is data.
    pub(crate) fn advance(&mut self, piece: &[u8]) -> Result<std::ops::Range<usize>, OpenError> {
        let taken = piece.len().min(LENGTH_LEN - self.length_filled);
        let (head, body) = piece.split_at(taken);
        self.length[self.length_filled..self.length_filled + taken].copy_from_slice(head);
        self.length_filled += taken;
        let remaining = match self.remaining {
            Some(remaining) => remaining,
            None if self.length_filled < LENGTH_LEN => return Ok(0..0),
            None => u64::from_be_bytes(self.length),
        };
        if remaining > MAX_PLAINTEXT_BYTES {
            return Err(OpenError::Refused);
        }
        let data_len = usize::try_from(remaining).map_or(body.len(), |left| left.min(body.len()));
        let (_, padding) = body.split_at(data_len);
        if padding.iter().any(|byte| *byte != 0) {
            return Err(OpenError::Refused);
        }
        self.remaining = Some(remaining - data_len as u64);
        Ok(taken..taken + data_len)
    }

    /// Checks, after the last piece, that the declared length was reached.
    pub(crate) fn finish(&self) -> Result<(), OpenError> {
        match self.remaining {
            Some(0) => Ok(()),
            _ => Err(OpenError::Refused),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_lengths() {
        for (plaintext, frame) in [
            (0, 256),
            (248, 256),
            (249, 1024),
            (1016, 1024),
            (1017, 4096),
            (4088, 4096),
            (4089, 16384),
            (16376, 16384),
            (16377, 65536),
            (65528, 65536),
            (65529, 67584),
            (1 << 20, 1_081_344),
            (10_000_000, 10_223_616),
        ] {
            assert_eq!(padded_len(plaintext), frame, "{plaintext}");
        }
    }

    #[test]
    fn padme_adds_less_than_a_32nd_and_is_monotone() {
        let mut previous = 0;
        for step in 1..20_000_u64 {
            // From the largest class on.
            let length = 65_536 + step * 104_729;
            let padded = padme(length);
            assert!(padded >= length && padded >= previous, "{length}");
            assert!((padded - length) * 32 < length, "{length}");
            assert_eq!(padme(padded), padded);
            previous = padded;
        }
    }

    fn strip(frame: &[u8], piece_len: usize) -> Result<Vec<u8>, OpenError> {
        let mut reader = FrameReader::new();
        let mut data = Vec::new();
        for piece in frame.chunks(piece_len) {
            data.extend_from_slice(&piece[reader.advance(piece)?]);
        }
        reader.finish()?;
        Ok(data)
    }

    #[test]
    fn frames_are_stripped_in_any_pieces() {
        let frame = [&3_u64.to_be_bytes()[..], b"abc", &[0; 5]].concat();
        for piece_len in 1..=frame.len() {
            assert_eq!(strip(&frame, piece_len).unwrap(), b"abc", "{piece_len}");
        }
    }

    #[test]
    fn wrong_frames_are_refused() {
        for frame in [
            vec![],
            vec![0; 7],
            [&4_u64.to_be_bytes()[..], b"abc"].concat(),
            [&2_u64.to_be_bytes()[..], b"abc"].concat(),
            [&3_u64.to_be_bytes()[..], b"abc", &[0, 1]].concat(),
            u64::MAX.to_be_bytes().to_vec(),
        ] {
            for piece_len in 1..=frame.len().max(1) {
                assert!(strip(&frame, piece_len).is_err(), "{frame:?}");
            }
        }
    }
}
