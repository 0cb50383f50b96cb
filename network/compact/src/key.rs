//! Keys as LevelDB keeps them: with a sequence number, so that a later write hides an earlier one.

use std::cmp::Ordering;

/// Length of the sequence number with the kind of write, after the key.
const TRAILER_BYTES: usize = 8;
const KIND_DELETION: u64 = 0;
const KIND_VALUE: u64 = 1;

/// A key with its write's sequence number and kind. In order: by key, and the latest write first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InternalKey(Vec<u8>);

impl InternalKey {
    /// A key of a write.
    pub(crate) fn new(user: &[u8], sequence: u64, is_value: bool) -> Self {
        let kind = if is_value { KIND_VALUE } else { KIND_DELETION };
        let mut bytes = Vec::with_capacity(user.len() + TRAILER_BYTES);
        bytes.extend_from_slice(user);
        bytes.extend_from_slice(&(sequence << 8 | kind).to_le_bytes());
        Self(bytes)
    }

    /// A key as it is stored; `None` if it is not one.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let key = Self(bytes.to_vec());
        let whole = bytes.len() >= TRAILER_BYTES && key.trailer() & 0xff <= KIND_VALUE;
        whole.then_some(key)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What the data base's user calls the key.
    pub(crate) fn user(&self) -> &[u8] {
        &self.0[..self.0.len() - TRAILER_BYTES]
    }

    /// Whether it was written, not deleted.
    pub(crate) fn is_value(&self) -> bool {
        self.trailer() & 0xff == KIND_VALUE
    }

    fn trailer(&self) -> u64 {
        self.0
            .last_chunk()
            .map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}

impl Ord for InternalKey {
    fn cmp(&self, other: &Self) -> Ordering {
        let latest_first = || other.trailer().cmp(&self.trailer());
        self.user().cmp(other.user()).then_with(latest_first)
    }
}

impl PartialOrd for InternalKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// One write: a value, or that a key was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: InternalKey,
    /// Empty of a deletion.
    pub(crate) value: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_write_of_a_key_comes_first() {
        let keys = [
            InternalKey::new(b"a", 7, true),
            InternalKey::new(b"a", 7, false),
            InternalKey::new(b"a", 3, true),
            InternalKey::new(b"a\0", 9, true),
            InternalKey::new(b"b", 1, true),
        ];
        assert!(keys.is_sorted());
        assert!(keys[0].is_value() && !keys[1].is_value());
        assert_eq!(keys[3].user(), b"a\0");
    }

    #[test]
    fn what_is_too_short_or_of_another_kind_is_no_key() {
        assert!(InternalKey::from_bytes(&[0; 7]).is_none());
        assert!(InternalKey::from_bytes(&[2, 0, 0, 0, 0, 0, 0, 0]).is_none());
        assert!(InternalKey::from_bytes(&[1, 0, 0, 0, 0, 0, 0, 0]).is_some());
    }
}
