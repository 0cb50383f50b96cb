//! What a reading says of content that is not in the journal but in a file of its own.

use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};

/// A device's large object, complete and checked.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct KeptObject {
    /// The device's name for it.
    #[n(0)]
    pub id: String,
    /// Bytes of its content.
    #[n(1)]
    pub bytes: u64,
    /// SHA-256 of its content.
    #[n(2)]
    pub sha256: ByteArray<32>,
    /// Hash of the Merkle leaf that it is (RFC 6962).
    #[n(3)]
    pub leaf: ByteArray<32>,
}
