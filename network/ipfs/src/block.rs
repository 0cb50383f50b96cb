//! One block: codec, hash, links. Nothing here touches the disk.

use cid::{Cid, Version};
use ipld_core::codec::Links as _;
use multihash::Multihash;
use sha2::{Digest as _, Sha256};

use crate::StoreError;

/// Largest block that is taken in, in bytes: what other IPFS nodes exchange (2 MiB).
pub(crate) const MAX_BLOCK_BYTES: usize = 2 << 20;

pub(crate) const RAW: u64 = 0x55;
pub(crate) const DAG_PB: u64 = 0x70;
pub(crate) const DAG_CBOR: u64 = 0x71;
const SHA2_256: u64 = 0x12;
const IDENTITY: u64 = 0x00;

/// Bytes of a SHA-256 digest, by which blocks are kept: one block has many CIDs.
pub(crate) type Digest = [u8; 32];

/// A codec by its multicodec name.
pub(crate) fn codec(name: &str) -> Option<u64> {
    match name {
        "raw" => Some(RAW),
        "dag-pb" => Some(DAG_PB),
        "dag-cbor" => Some(DAG_CBOR),
        _ => None,
    }
}

/// The CID of these bytes; version 0 only exists for dag-pb.
pub(crate) fn cid_of(version: Version, codec: u64, bytes: &[u8]) -> Cid {
    let hash = Multihash::wrap(SHA2_256, &Sha256::digest(bytes))
        .expect("a SHA-256 digest is shorter than a multihash's limit");
    match (version, codec) {
        (Version::V0, DAG_PB) => Cid::new_v0(hash).expect("dag-pb with SHA-256 has a version 0"),
        _ => Cid::new_v1(codec, hash),
    }
}

/// The digest under which the block of a CID is kept.
pub(crate) fn digest_of(cid: &Cid) -> Result<Digest, StoreError> {
    let unsupported = StoreError::UnsupportedHash {
        code: cid.hash().code(),
    };
    match cid.hash().code() {
        SHA2_256 => cid.hash().digest().try_into().map_err(|_| unsupported),
        _ => Err(unsupported),
    }
}

/// The bytes of a CID that carries its block inside.
pub(crate) fn inline_block(cid: &Cid) -> Option<&[u8]> {
    (cid.hash().code() == IDENTITY).then(|| cid.hash().digest())
}

/// Checks that the bytes have the hash in the CID.
pub(crate) fn verify(cid: &Cid, bytes: &[u8]) -> Result<(), StoreError> {
    let matches = match inline_block(cid) {
        Some(inline) => inline == bytes,
        None => digest_of(cid)?.as_slice() == Sha256::digest(bytes).as_slice(),
    };
    if matches {
        Ok(())
    } else {
        Err(StoreError::Corrupted(*cid))
    }
}

/// The CID that a listing by digest shows, as Kubo does: version 1, raw.
pub(crate) fn raw_cid(digest: &Digest) -> Cid {
    let hash = Multihash::wrap(SHA2_256, digest)
        .expect("a SHA-256 digest is shorter than a multihash's limit");
    Cid::new_v1(RAW, hash)
}

/// The CIDs that a block links to, in the block's order.
pub(crate) fn links(cid: &Cid, bytes: &[u8]) -> Result<Vec<Cid>, StoreError> {
    let malformed = |codec| StoreError::Malformed { cid: *cid, codec };
    match cid.codec() {
        RAW => Ok(Vec::new()),
        DAG_PB => ipld_dagpb::DagPbCodec::links(bytes)
            .map(Iterator::collect)
            .map_err(|_| malformed("dag-pb")),
        DAG_CBOR => serde_ipld_dagcbor::codec::DagCborCodec::links(bytes)
            .map(Iterator::collect)
            .map_err(|_| malformed("dag-cbor")),
        codec => Err(StoreError::UnknownCodec { cid: *cid, codec }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cids_of_known_bytes() {
        for (version, codec, expected) in [
            (
                Version::V1,
                RAW,
                "bafkreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am",
            ),
            (
                Version::V1,
                DAG_PB,
                "bafybeicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am",
            ),
            (
                Version::V0,
                DAG_PB,
                "QmUJPTFZnR2CPGAzmfdYPghgrFtYFB6pf1BqMvqfiPDam8",
            ),
        ] {
            let cid = cid_of(version, codec, b"hello\n");
            assert_eq!(cid.to_string(), expected);
            verify(&cid, b"hello\n").unwrap();
            assert!(verify(&cid, b"hello").is_err());
        }
    }

    #[test]
    fn other_hashes_are_refused() {
        let hash = Multihash::wrap(0x13, &[0; 64]).unwrap();
        assert!(matches!(
            digest_of(&Cid::new_v1(RAW, hash)),
            Err(StoreError::UnsupportedHash { code: 0x13 })
        ));
        let short = Multihash::wrap(SHA2_256, &[0; 20]).unwrap();
        assert!(digest_of(&Cid::new_v1(RAW, short)).is_err());
    }

    #[test]
    fn inline_blocks_are_their_cid() {
        let cid = Cid::new_v1(RAW, Multihash::wrap(IDENTITY, b"abc").unwrap());
        assert_eq!(inline_block(&cid), Some(&b"abc"[..]));
        verify(&cid, b"abc").unwrap();
        assert!(verify(&cid, b"abd").is_err());
    }

    #[test]
    fn malformed_nodes_have_no_links() {
        for codec in [DAG_PB, DAG_CBOR] {
            let cid = cid_of(Version::V1, codec, b"\xff\xff");
            assert!(matches!(
                links(&cid, b"\xff\xff"),
                Err(StoreError::Malformed { .. })
            ));
        }
        // Arrays within arrays, as deep as a block is long.
        let nested = vec![0x81; MAX_BLOCK_BYTES];
        let cid = cid_of(Version::V1, DAG_CBOR, &nested);
        assert!(links(&cid, &nested).is_err());
        let unknown = cid_of(Version::V1, 0x78, b"");
        assert!(matches!(
            links(&unknown, b""),
            Err(StoreError::UnknownCodec { codec: 0x78, .. })
        ));
    }
}
