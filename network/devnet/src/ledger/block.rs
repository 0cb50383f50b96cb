//! Blocks: hashes, assembly, the orderer's signature.

use aws_lc_rs::digest::{Context, SHA256};
use fabric_msp::{SignatureError, SigningIdentity};
use fabric_protos::common::{
    Block, BlockData, BlockHeader, BlockMetadata, BlockMetadataIndex, LastConfig, Metadata,
    MetadataSignature, OrdererBlockMetadata, SignatureHeader,
};
use prost::Message;

use super::hash::sha256;

/// Slots of block metadata.
const METADATA_SLOTS: usize = 5;

/// The transaction ID that belongs to a nonce and a creator: hex of the SHA-256 of both.
#[must_use]
pub fn transaction_id(nonce: &[u8], creator: &[u8]) -> String {
    hex::encode(sha256(&[nonce, creator].concat()))
}

/// SHA-256 of the envelopes one after the other.
#[must_use]
pub fn block_data_hash(data: &BlockData) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    for envelope in &data.data {
        context.update(envelope);
    }
    context.finish().as_ref().to_vec()
}

/// The header in the DER form that is hashed and signed: a sequence of number, previous hash
/// and data hash.
#[must_use]
pub fn block_header_bytes(header: &BlockHeader) -> Vec<u8> {
    let mut number = header.number.to_be_bytes().to_vec();
    let zeros = number[..7].iter().take_while(|byte| **byte == 0).count();
    number.drain(..zeros);
    if number[0] & 0x80 != 0 {
        // An integer with its top bit set would read as negative.
        number.insert(0, 0);
    }
    let mut content = Vec::new();
    der(&mut content, DER_INTEGER, &number);
    der(&mut content, DER_OCTET_STRING, &header.previous_hash);
    der(&mut content, DER_OCTET_STRING, &header.data_hash);
    let mut bytes = Vec::new();
    der(&mut bytes, DER_SEQUENCE, &content);
    bytes
}

const DER_INTEGER: u8 = 0x02;
const DER_OCTET_STRING: u8 = 0x04;
const DER_SEQUENCE: u8 = 0x30;

/// Appends tag, definite length in its shortest form, and content.
fn der(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    out.push(tag);
    match u8::try_from(content.len()) {
        Ok(length) if length < 0x80 => out.push(length),
        _ => {
            let length = content.len().to_be_bytes();
            let zeros = length.iter().take_while(|byte| **byte == 0).count();
            let significant = &length[zeros..];
            out.push(0x80 | u8::try_from(significant.len()).unwrap_or(0x7f));
            out.extend_from_slice(significant);
        }
    }
    out.extend_from_slice(content);
}

/// SHA-256 of the header's DER form, which the next block carries as its previous hash.
#[must_use]
pub fn block_header_hash(header: &BlockHeader) -> Vec<u8> {
    sha256(&block_header_bytes(header))
}

/// The block of these envelopes that follows `previous`, unsigned.
#[must_use]
pub fn chain_block(previous: &Block, envelopes: Vec<Vec<u8>>) -> Block {
    match &previous.header {
        Some(header) => follow(header, envelopes),
        None => follow(&BlockHeader::default(), envelopes),
    }
}

/// The block of these envelopes that follows the one with this header, unsigned.
pub(crate) fn follow(previous: &BlockHeader, envelopes: Vec<Vec<u8>>) -> Block {
    let data = BlockData { data: envelopes };
    Block {
        header: Some(BlockHeader {
            number: previous.number + 1,
            previous_hash: block_header_hash(previous),
            data_hash: block_data_hash(&data),
        }),
        data: Some(data),
        metadata: Some(BlockMetadata {
            metadata: vec![Vec::new(); METADATA_SLOTS],
        }),
    }
}

/// Signs a block as an orderer does and notes the last configuration block in it. The nonce has
/// to be fresh.
///
/// # Errors
/// [`SignatureError`] when the key cannot sign.
pub fn sign_block(
    block: &mut Block,
    signer: &SigningIdentity,
    nonce: [u8; 24],
    last_config: u64,
) -> Result<(), SignatureError> {
    let last_config = LastConfig { index: last_config };
    let value = OrdererBlockMetadata {
        last_config: Some(last_config),
        consenter_metadata: Vec::new(),
    }
    .encode_to_vec();
    let signature_header = SignatureHeader {
        creator: signer.serialized(),
        nonce: nonce.to_vec(),
    }
    .encode_to_vec();
    let header = block.header.clone().unwrap_or_default();
    let signed = [
        value.as_slice(),
        &signature_header,
        &block_header_bytes(&header),
    ]
    .concat();
    let signature = MetadataSignature {
        signature_header,
        signature: signer.sign(&signed)?,
        identifier_header: Vec::new(),
    };
    let signed = Metadata {
        value,
        signatures: vec![signature],
    };
    *slot(block, BlockMetadataIndex::Signatures) = signed.encode_to_vec();
    let last_config = Metadata {
        value: last_config.encode_to_vec(),
        signatures: Vec::new(),
    };
    *slot(block, BlockMetadataIndex::LastConfig) = last_config.encode_to_vec();
    Ok(())
}

/// A metadata slot of the block, made if it is not there.
pub(crate) fn slot(block: &mut Block, index: BlockMetadataIndex) -> &mut Vec<u8> {
    let metadata = block.metadata.get_or_insert_default();
    let slots = metadata.metadata.len().max(METADATA_SLOTS);
    metadata.metadata.resize(slots, Vec::new());
    &mut metadata.metadata[index as usize]
}

/// A metadata slot of the block, empty when it is not there.
pub(crate) fn read_slot(block: &Block, index: BlockMetadataIndex) -> &[u8] {
    let metadata = block.metadata.as_ref();
    metadata
        .and_then(|metadata| metadata.metadata.get(index as usize))
        .map(Vec::as_slice)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_in_the_header_is_an_unsigned_der_integer() {
        for (number, expected) in [
            (0, "3007020100040004 00"),
            (127, "300702017f04000400"),
            (128, "300802020080 04000400"),
            (256, "30080202010004000400"),
            (u64::MAX, "300f020900ffffffffffffffff04000400"),
        ] {
            let header = BlockHeader {
                number,
                ..BlockHeader::default()
            };
            let expected = expected.replace(' ', "");
            assert_eq!(hex::encode(block_header_bytes(&header)), expected);
        }
    }

    #[test]
    fn long_content_gets_a_long_length() {
        let header = BlockHeader {
            number: 1,
            previous_hash: vec![7; 32],
            data_hash: vec![9; 200],
        };
        let bytes = block_header_bytes(&header);
        assert_eq!(&bytes[..6], [0x30, 0x81, 240, 2, 1, 1]);
        assert_eq!(&bytes[40..43], [4, 0x81, 200]);
    }

    #[test]
    fn a_block_chains_to_the_header_before_it() {
        let first = follow(&BlockHeader::default(), vec![b"a".to_vec()]);
        let header = first.header.clone().unwrap();
        assert_eq!(header.number, 1);
        assert_eq!(
            header.previous_hash,
            block_header_hash(&BlockHeader::default())
        );
        let second = chain_block(&first, vec![b"ab".to_vec(), b"c".to_vec()]);
        assert_eq!(second.header.unwrap().data_hash, sha256(b"abc"));
    }
}
