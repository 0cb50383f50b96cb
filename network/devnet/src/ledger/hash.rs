//! SHA-256, the only hash of the ledger.

use aws_lc_rs::digest::{SHA256, digest};

/// SHA-256 of the bytes.
pub(crate) fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA256, bytes).as_ref().to_vec()
}
