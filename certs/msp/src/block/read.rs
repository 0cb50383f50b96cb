//! Reading a block.

use aws_lc_rs::digest::{Context, SHA256};
use fabric_protos::common::{self, BlockMetadataIndex, LastConfig, Metadata, OrdererBlockMetadata};
use prost::Message as _;

use super::error::{BlockError, malformed};
use super::header::Header;
use super::transaction::{self, Transaction};

/// Longest block that is read, in bytes; Fabric's nodes exchange no longer messages.
pub const MAX_BLOCK_BYTES: usize = 100 << 20;

/// Code of a valid transaction in [`Block::code`].
const VALID: u8 = 0;

/// A block, read but not believed: see the module's documentation for what each check says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    header: Header,
    envelopes: Vec<Vec<u8>>,
    metadata: Vec<Vec<u8>>,
}

impl Block {
    /// Reads the bytes of a `common.Block`.
    ///
    /// # Errors
    /// [`BlockError::TooLong`] or [`BlockError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, BlockError> {
        if bytes.len() > MAX_BLOCK_BYTES {
            return Err(BlockError::TooLong { bytes: bytes.len() });
        }
        let block = common::Block::decode(bytes).map_err(|_| malformed("block"))?;
        Ok(Self {
            header: Header::read(&block.header.ok_or(malformed("block without header"))?)?,
            envelopes: block.data.unwrap_or_default().data,
            metadata: block.metadata.unwrap_or_default().metadata,
        })
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The block's number.
    pub fn number(&self) -> u64 {
        self.header.number()
    }

    /// The envelopes, in order.
    pub fn envelopes(&self) -> &[Vec<u8>] {
        &self.envelopes
    }

    /// Checks that the header commits to the envelopes.
    ///
    /// # Errors
    /// [`BlockError::DataHash`].
    pub fn check_data(&self) -> Result<(), BlockError> {
        let mut hash = Context::new(&SHA256);
        for envelope in &self.envelopes {
            hash.update(envelope);
        }
        if hash.finish().as_ref() == self.header.data_hash() {
            Ok(())
        } else {
            Err(BlockError::DataHash {
                number: self.number(),
            })
        }
    }

    /// What the peer that gave the block found about the envelope at `index`: 0 for valid, else
    /// the number of a `protos.TxValidationCode`. Nobody signed it.
    pub fn code(&self, index: usize) -> Option<u8> {
        let codes = self.slot(BlockMetadataIndex::TransactionsFilter);
        codes.get(index).copied()
    }

    /// Whether the peer that gave the block found the envelope at `index` valid.
    pub fn is_valid(&self, index: usize) -> bool {
        self.code(index) == Some(VALID)
    }

    /// The channel header's type of the envelope at `index`, and its transaction ID.
    ///
    /// # Errors
    /// [`BlockError::Malformed`], [`BlockError::NoTransaction`].
    pub fn channel_header(&self, index: usize) -> Result<common::ChannelHeader, BlockError> {
        transaction::channel_header(self.envelope(index)?)
    }

    /// The endorsed transaction at `index`.
    ///
    /// # Errors
    /// [`BlockError`] if there is none, or it is not of one piece.
    pub fn transaction(&self, index: usize) -> Result<Transaction, BlockError> {
        Transaction::read(self.envelope(index)?)
    }

    /// Where the transaction with this ID stands. Of several the first one counts, as on a peer.
    pub fn position(&self, tx_id: &str) -> Option<usize> {
        (0..self.envelopes.len()).find(|index| {
            self.channel_header(*index)
                .is_ok_and(|header| header.tx_id == tx_id)
        })
    }

    /// Number of the block with the configuration that was in force when this one was made.
    ///
    /// # Errors
    /// [`BlockError::Malformed`] if the metadata does not say.
    pub fn last_config(&self) -> Result<u64, BlockError> {
        if self.number() == 0 {
            return Ok(0);
        }
        last_config(self.signatures())
    }

    /// The metadata with the orderers' signatures (`common.Metadata`), empty in block 0.
    pub fn signatures(&self) -> &[u8] {
        self.slot(BlockMetadataIndex::Signatures)
    }

    pub(super) fn envelope(&self, index: usize) -> Result<&[u8], BlockError> {
        self.envelopes
            .get(index)
            .map(Vec::as_slice)
            .ok_or(BlockError::NoTransaction {
                number: self.number(),
                transaction: format!("at place {index}"),
            })
    }

    fn slot(&self, index: BlockMetadataIndex) -> &[u8] {
        self.metadata
            .get(index as usize)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }
}

/// The last configuration's number in a block's metadata with the orderers' signatures, who sign
/// it with the header.
///
/// # Errors
/// [`BlockError::Malformed`] if it is not there.
pub fn last_config(signatures: &[u8]) -> Result<u64, BlockError> {
    const WHAT: &str = "metadata of the orderers";
    let metadata = Metadata::decode(signatures).map_err(|_| malformed(WHAT))?;
    let value = OrdererBlockMetadata::decode(metadata.value.as_slice());
    match value.map_err(|_| malformed(WHAT))?.last_config {
        Some(LastConfig { index }) => Ok(index),
        None => Err(malformed(WHAT)),
    }
}
