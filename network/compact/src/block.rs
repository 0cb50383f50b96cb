//! Blocks of a table: entries in order, each key without the beginning that it shares with the one
//! before.

use crate::{
    key::{Entry, InternalKey},
    wire::{Cursor, put_varint},
};

/// After so many entries a key is written whole.
const RESTART_INTERVAL: usize = 16;

/// The entries of a block, read from its uncompressed bytes.
#[derive(Debug)]
pub(crate) struct Block {
    bytes: Vec<u8>,
    /// Where the entries end and the restart points begin.
    end: usize,
    at: usize,
    key: Vec<u8>,
}

impl Block {
    /// A block; `None` if its restart points are not where they have to be.
    pub(crate) fn new(bytes: Vec<u8>) -> Option<Self> {
        let count = u32::from_le_bytes(*bytes.last_chunk()?);
        let restarts = usize::try_from(count)
            .ok()?
            .checked_add(1)?
            .checked_mul(4)?;
        let end = bytes.len().checked_sub(restarts)?;
        Some(Self {
            bytes,
            end,
            at: 0,
            key: vec![],
        })
    }

    /// The next key and value. The outer `None` is damage, the inner one the end.
    #[expect(clippy::option_option, reason = "the two say different things")]
    pub(crate) fn next_pair(&mut self) -> Option<Option<(&[u8], &[u8])>> {
        if self.at == self.end {
            return Some(None);
        }
        let mut cursor = Cursor(&self.bytes[self.at..self.end]);
        let (shared, own, length) = (cursor.length()?, cursor.length()?, cursor.length()?);
        if shared > self.key.len() {
            return None;
        }
        self.key.truncate(shared);
        self.key.extend_from_slice(cursor.take(own)?);
        let value = cursor.take(length)?;
        self.at = self.end - cursor.0.len();
        Some(Some((&self.key, value)))
    }

    /// The next entry of a block of data.
    #[expect(clippy::option_option, reason = "the two say different things")]
    pub(crate) fn next_entry(&mut self) -> Option<Option<Entry>> {
        let Some((key, value)) = self.next_pair()? else {
            return Some(None);
        };
        Some(Some(Entry {
            key: InternalKey::from_bytes(key)?,
            value: value.to_vec(),
        }))
    }
}

/// Writes a block.
#[derive(Debug)]
pub(crate) struct BlockBuilder {
    bytes: Vec<u8>,
    restarts: Vec<u32>,
    interval: usize,
    count: usize,
    last: Vec<u8>,
}

impl BlockBuilder {
    /// A block of data.
    pub(crate) fn of_data() -> Self {
        Self::with_interval(RESTART_INTERVAL)
    }

    /// A block in which every key is whole.
    pub(crate) fn of_index() -> Self {
        Self::with_interval(1)
    }

    fn with_interval(interval: usize) -> Self {
        Self {
            bytes: vec![],
            restarts: vec![],
            interval,
            count: 0,
            last: vec![],
        }
    }

    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) {
        let shared = if self.count.is_multiple_of(self.interval) {
            self.restarts.push(small(self.bytes.len()));
            0
        } else {
            let same = self.last.iter().zip(key).take_while(|(a, b)| a == b);
            same.count()
        };
        put_varint(&mut self.bytes, shared as u64);
        put_varint(&mut self.bytes, (key.len() - shared) as u64);
        put_varint(&mut self.bytes, value.len() as u64);
        self.bytes.extend_from_slice(&key[shared..]);
        self.bytes.extend_from_slice(value);
        self.last.clear();
        self.last.extend_from_slice(key);
        self.count += 1;
    }

    /// Bytes so far.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len() + 4 * (self.restarts.len() + 1)
    }

    pub(crate) fn last_key(&self) -> &[u8] {
        &self.last
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The block, and begins the next.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.bytes);
        if self.restarts.is_empty() {
            self.restarts.push(0);
        }
        for restart in &self.restarts {
            bytes.extend_from_slice(&restart.to_le_bytes());
        }
        bytes.extend_from_slice(&small(self.restarts.len()).to_le_bytes());
        self.restarts.clear();
        self.count = 0;
        bytes
    }
}

fn small(number: usize) -> u32 {
    u32::try_from(number).expect("a block is cut before it has 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_gives_back_its_entries() {
        let mut builder = BlockBuilder::of_data();
        let pairs: Vec<(String, String)> = (0..100)
            .map(|n| (format!("key/{n:03}"), "v".repeat(n)))
            .collect();
        for (key, value) in &pairs {
            builder.add(key.as_bytes(), value.as_bytes());
        }
        let size = builder.size();
        let bytes = builder.finish();
        assert_eq!(bytes.len(), size);
        let mut block = Block::new(bytes).unwrap();
        for (key, value) in &pairs {
            let pair = block.next_pair().unwrap().unwrap();
            assert_eq!(pair, (key.as_bytes(), value.as_bytes()));
        }
        assert!(block.next_pair().unwrap().is_none());
    }

    #[test]
    fn damage_is_seen() {
        assert!(Block::new(vec![]).is_none());
        assert!(Block::new(vec![9, 0, 0, 0]).is_none());
        // An entry that shares more than there is before it.
        let mut block = Block::new(vec![3, 1, 0, b'x', 0, 0, 0, 0, 1, 0, 0, 0]).unwrap();
        assert!(block.next_pair().is_none());
        // A value that ends behind the entries.
        let mut block = Block::new(vec![0, 1, 9, b'x', 0, 0, 0, 0, 1, 0, 0, 0]).unwrap();
        assert!(block.next_pair().is_none());
    }
}
