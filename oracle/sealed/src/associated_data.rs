//! What an object is bound to, as bytes.

/// Version of the whole format: associated data, padding frame and key derivation.
pub const FORMAT_VERSION: u8 = 1;

/// Length in bytes of encoded associated data.
pub const ASSOCIATED_DATA_LEN: usize = LABEL.len() + 1 + RECORD_ID_LEN + COMMITMENT_LEN;

const LABEL: &[u8; 12] = b"salus-sealed";
const RECORD_ID_LEN: usize = 16;
const COMMITMENT_LEN: usize = 32;

/// Binds a sealed object to its record: an object moved to another record does not open.
///
/// The commitment covers metadata known before sealing; it cannot cover the object's own hash,
/// CID or size, which come after and stand beside it on the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AssociatedData {
    /// The record's random 128-bit ID.
    pub record_id: [u8; RECORD_ID_LEN],
    /// The salted commitment to the record's metadata, as on the ledger.
    pub commitment: [u8; COMMITMENT_LEN],
}

impl AssociatedData {
    /// The bytes given to the AEAD: label, format version, record ID, commitment.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; ASSOCIATED_DATA_LEN] {
        let mut bytes = [0; ASSOCIATED_DATA_LEN];
        let (label, rest) = bytes.split_at_mut(LABEL.len());
        let (version, rest) = rest.split_at_mut(1);
        let (record_id, commitment) = rest.split_at_mut(RECORD_ID_LEN);
        label.copy_from_slice(LABEL);
        version.copy_from_slice(&[FORMAT_VERSION]);
        record_id.copy_from_slice(&self.record_id);
        commitment.copy_from_slice(&self.commitment);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_label_version_record_commitment() {
        let bytes = AssociatedData {
            record_id: [0xaa; 16],
            commitment: [0xbb; 32],
        }
        .to_bytes();
        let expected = [b"salus-sealed\x01".as_slice(), &[0xaa; 16], &[0xbb; 32]].concat();
        assert_eq!(bytes.as_slice(), expected);
    }
}
