//! Bytes as IPFS blocks: what `ipfs add --cid-version=1 --raw-leaves` makes of them.

use std::io;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use cid::{Cid, Version};
use rust_unixfs::file::adder::{Chunker, FileAdder};

use super::StoreError;

/// Bytes of one leaf, Kubo's default.
const CHUNK_BYTES: usize = 256 << 10;
/// Multihash code of SHA-256.
const SHA2_256: u64 = 0x12;

/// An object, ready to be stored. Its CID depends on nothing but its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    cid: Cid,
    size: u64,
    /// Leaves before the nodes that link them; the root last.
    blocks: Vec<(Cid, Bytes)>,
}

impl Object {
    /// Makes the blocks of an object.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let mut maker = BlockMaker::new();
        let mut blocks = Vec::with_capacity(bytes.len() / CHUNK_BYTES + 2);
        let mut keep = |(cid, block): (Cid, Vec<u8>)| blocks.push((cid, Bytes::from(block)));
        maker.push(bytes, &mut keep);
        maker.finish(&mut keep);
        let cid = blocks
            .last()
            .map(|(cid, _)| *cid)
            .expect("a finished file ends in its root block");
        Self {
            cid,
            size: bytes.len() as u64,
            blocks,
        }
    }

    /// The object's CID, version 1.
    #[must_use]
    pub fn cid(&self) -> &Cid {
        &self.cid
    }

    /// The object's bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The blocks, the root last.
    pub(super) fn blocks(&self) -> &[(Cid, Bytes)] {
        &self.blocks
    }
}

/// Learns the CID of bytes that come in pieces, without keeping them.
#[derive(Debug)]
pub struct ObjectHasher {
    blocks: BlockMaker,
}

impl Default for ObjectHasher {
    fn default() -> Self {
        Self {
            blocks: BlockMaker::new(),
        }
    }
}

impl ObjectHasher {
    /// CID and number of the bytes.
    #[must_use]
    pub fn finish(self) -> (Cid, u64) {
        let size = self.blocks.size;
        let mut last = None;
        self.blocks.finish(|(cid, _)| last = Some(cid));
        let cid = last.expect("a finished file ends in its root block");
        (cid, size)
    }
}

impl io::Write for ObjectHasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.blocks.push(bytes, drop);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes the blocks of bytes that come in pieces: leaves before the nodes that link them, the root last.
#[derive(Debug)]
pub(super) struct BlockMaker {
    adder: FileAdder,
    size: u64,
}

impl BlockMaker {
    pub(super) fn new() -> Self {
        Self {
            adder: FileAdder::builder()
                .with_chunker(Chunker::Size(CHUNK_BYTES))
                .with_cid_version(Version::V1)
                .with_raw_leaves(true)
                .build(),
            size: 0,
        }
    }

    /// Takes bytes and gives the blocks that they complete.
    pub(super) fn push(&mut self, mut bytes: &[u8], mut give: impl FnMut((Cid, Vec<u8>))) {
        self.size += bytes.len() as u64;
        while !bytes.is_empty() {
            let (finished, consumed) = self.adder.push(bytes);
            finished.for_each(&mut give);
            bytes = &bytes[consumed..];
        }
    }

    /// Gives the last blocks.
    pub(super) fn finish(self, give: impl FnMut((Cid, Vec<u8>))) {
        self.adder.finish().for_each(give);
    }
}

/// Checks that a block is the one its CID names.
pub(super) fn verify(cid: &Cid, block: &[u8]) -> Result<(), StoreError> {
    if cid.hash().code() != SHA2_256 {
        return Err(StoreError::UnknownHash { cid: *cid });
    }
    if digest(&SHA256, block).as_ref() == cid.hash().digest() {
        Ok(())
    } else {
        Err(StoreError::Corrupt { cid: *cid })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cids_are_those_of_kubo() {
        // From `ipfs add --only-hash --cid-version=1 --raw-leaves`.
        let table: [(&[u8], &str); 2] = [
            (
                b"",
                "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
            ),
            (
                b"hello world\n",
                "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4",
            ),
        ];
        for (bytes, cid) in table {
            assert_eq!(Object::new(bytes).cid().to_string(), cid);
        }
    }

    #[test]
    fn a_large_object_has_leaves_and_a_root() {
        let bytes = vec![7; 3 * CHUNK_BYTES + 1];
        let object = Object::new(&bytes);
        assert_eq!(object.size(), bytes.len() as u64);
        assert_eq!(object.blocks().len(), 5);
        for piece_bytes in [1000, CHUNK_BYTES - 1, CHUNK_BYTES, bytes.len()] {
            let mut hasher = ObjectHasher::default();
            for piece in bytes.chunks(piece_bytes) {
                io::Write::write_all(&mut hasher, piece).expect("it takes every write");
            }
            assert_eq!(
                hasher.finish(),
                (*object.cid(), object.size()),
                "{piece_bytes}"
            );
        }
        for (cid, block) in object.blocks() {
            verify(cid, block).expect("its own CID");
            assert!(matches!(
                verify(cid, b"other"),
                Err(StoreError::Corrupt { .. })
            ));
        }
    }
}
