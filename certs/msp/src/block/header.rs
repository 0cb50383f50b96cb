//! Headers: the chain that no block can leave unseen.

use aws_lc_rs::digest::{SHA256, digest};
use fabric_protos::common::BlockHeader;

use super::error::{BlockError, malformed};

/// Bytes of a SHA-256.
const HASH_BYTES: usize = 32;

const DER_INTEGER: u8 = 0x02;
const DER_OCTET_STRING: u8 = 0x04;
const DER_SEQUENCE: u8 = 0x30;

/// A block's header: with its number it commits to the envelopes and to the header before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    number: u64,
    previous_hash: Option<[u8; HASH_BYTES]>,
    data_hash: [u8; HASH_BYTES],
}

impl Header {
    /// A header of these parts; only block 0 has no previous hash.
    ///
    /// # Errors
    /// [`BlockError::Malformed`] if a hash is not 32 bytes, or is there or missing wrongly.
    pub fn new(number: u64, previous_hash: &[u8], data_hash: &[u8]) -> Result<Self, BlockError> {
        let hash = |bytes: &[u8]| <[u8; HASH_BYTES]>::try_from(bytes);
        let previous_hash = match (number, previous_hash) {
            (0, []) => None,
            (0, _) => return Err(malformed("header of block 0")),
            (_, bytes) => Some(hash(bytes).map_err(|_| malformed("previous hash"))?),
        };
        Ok(Self {
            number,
            previous_hash,
            data_hash: hash(data_hash).map_err(|_| malformed("data hash"))?,
        })
    }

    pub(super) fn read(header: &BlockHeader) -> Result<Self, BlockError> {
        Self::new(header.number, &header.previous_hash, &header.data_hash)
    }

    /// The block's number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Hash of the header before; empty in block 0.
    pub fn previous_hash(&self) -> &[u8] {
        self.previous_hash.as_ref().map_or(&[], |hash| hash)
    }

    /// SHA-256 of the envelopes one after the other.
    pub fn data_hash(&self) -> &[u8; HASH_BYTES] {
        &self.data_hash
    }

    /// The form that is hashed and signed: DER of a sequence of number, previous hash, data hash.
    pub fn to_der(&self) -> Vec<u8> {
        let number = self.number.to_be_bytes();
        let zeros = number[..7].iter().take_while(|byte| **byte == 0).count();
        let mut integer = number[zeros..].to_vec();
        if integer[0] >= 0x80 {
            // The number is unsigned, DER integers are not.
            integer.insert(0, 0);
        }
        let mut content = Vec::with_capacity(80);
        append(&mut content, DER_INTEGER, &integer);
        append(&mut content, DER_OCTET_STRING, self.previous_hash());
        append(&mut content, DER_OCTET_STRING, &self.data_hash);
        let mut der = Vec::with_capacity(content.len() + 2);
        append(&mut der, DER_SEQUENCE, &content);
        der
    }

    /// SHA-256 of [`Header::to_der`], which names the block and which the next one carries.
    pub fn hash(&self) -> [u8; HASH_BYTES] {
        let mut hash = [0; HASH_BYTES];
        hash.copy_from_slice(digest(&SHA256, &self.to_der()).as_ref());
        hash
    }

    /// Whether this is the header behind `previous`.
    pub fn follows(&self, previous: &Self) -> bool {
        previous.number.checked_add(1) == Some(self.number)
            && self.previous_hash == Some(previous.hash())
    }
}

/// Appends a DER element; no content here reaches 128 bytes, so one byte tells the length.
fn append(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    out.push(tag);
    out.push(u8::try_from(content.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(content);
}

/// Checks that each header follows the one before it, with no number left out.
///
/// # Errors
/// [`BlockError::Chain`] with the first that does not.
pub fn check_chain(headers: &[Header]) -> Result<(), BlockError> {
    match headers.windows(2).find(|pair| !pair[1].follows(&pair[0])) {
        Some(pair) => Err(BlockError::Chain {
            number: pair[1].number,
        }),
        None => Ok(()),
    }
}
