//! One channel's ledger.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use fabric_msp::MspId;
use fabric_protos::common::{Block, BlockchainInfo, Envelope};
use fabric_protos::protos::{ProcessedTransaction, TxValidationCode};
use fabric_protos::rwset::TxPvtReadWriteSet;
use prost::Message;

use super::block::follow;
use super::commit::{CommittedBlock, Writer};
use super::definition::{ChaincodeDefinition, member_organizations};
use super::error::LedgerError;
use super::log::{BlockLog, LogReader, failed};
use super::private::{PrivatePart, without_erased};
use super::shared::{Shared, Snapshot, TransactionPlace, lock, read};
use super::simulator::Simulator;
use super::transient::TransientStore;
use super::version::Version;
use crate::genesis::ChannelConfig;

/// Name of the block log in a channel's folder.
const BLOCK_LOG: &str = "blocks.log";
/// Name of the store of private data that waits to be ordered.
const TRANSIENT_LOG: &str = "transient.log";

/// One channel's ledger, shared by all virtual peers of the process. Clones are handles of the
/// same ledger.
///
/// Everything is synchronous. Reads hold a lock for a lookup; reading a block is one read of the
/// file. [`Channel::commit`] waits for the disk and belongs on a thread of its own.
#[derive(Clone, Debug)]
pub struct Channel {
    shared: Arc<Shared>,
    writer: Arc<Mutex<Writer>>,
    transient: Arc<Mutex<TransientStore>>,
}

impl Channel {
    /// Whether the folder holds a channel's ledger.
    #[must_use]
    pub fn exists(dir: &Path) -> bool {
        dir.join(BLOCK_LOG).exists()
    }

    /// Makes a ledger with this block 0 in the folder, which is made if needed.
    ///
    /// # Errors
    /// [`LedgerError`] when there is one already, the block is no configuration, or the disk
    /// refuses.
    pub fn create(dir: &Path, genesis: &Block) -> Result<Self, LedgerError> {
        let config = ChannelConfig::from_block(genesis)?;
        std::fs::create_dir_all(dir).map_err(failed("create", dir))?;
        let log = BlockLog::create(&dir.join(BLOCK_LOG))?;
        let shared = Arc::new(Shared::new(config, log.reader()?));
        let mut writer = Writer::new(Arc::clone(&shared), log);
        writer.append_genesis(genesis)?;
        Self::assemble(dir, shared, writer)
    }

    /// Opens the ledger in the folder: reads the block log and rebuilds everything from it.
    ///
    /// # Errors
    /// [`LedgerError`] when the log is damaged or cannot be read.
    pub fn open(dir: &Path) -> Result<Self, LedgerError> {
        let (shared, writer) = Writer::recover(&dir.join(BLOCK_LOG))?;
        Self::assemble(dir, shared, writer)
    }

    fn assemble(dir: &Path, shared: Arc<Shared>, writer: Writer) -> Result<Self, LedgerError> {
        let height = lock(&shared.heights).visible();
        let index = read(&shared.index);
        let unordered = |tx_id: &str| !index.transactions.contains_key(tx_id);
        let transient = TransientStore::open(&dir.join(TRANSIENT_LOG), height, unordered)?;
        drop(index);
        Ok(Self {
            shared,
            writer: Arc::new(Mutex::new(writer)),
            transient: Arc::new(Mutex::new(transient)),
        })
    }

    /// Name of the channel.
    #[must_use]
    pub fn channel_id(&self) -> &str {
        &self.shared.channel_id
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> Arc<ChannelConfig> {
        Arc::clone(&read(&self.shared.config))
    }

    /// Number of blocks that are on disk and visible.
    #[must_use]
    pub fn height(&self) -> u64 {
        lock(&self.shared.heights).visible()
    }

    /// Height, and the hashes of the last header and of the one before it.
    #[must_use]
    pub fn info(&self) -> BlockchainInfo {
        let height = self.height();
        let index = read(&self.shared.index);
        let hash = |number: Option<u64>| {
            let number = number.and_then(|number| usize::try_from(number).ok());
            let hash = number.and_then(|number| index.hashes.get(number).cloned());
            hash.unwrap_or_default()
        };
        BlockchainInfo {
            height,
            current_block_hash: hash(height.checked_sub(1)),
            previous_block_hash: hash(height.checked_sub(2)),
            ..BlockchainInfo::default()
        }
    }

    /// The block of this number; `None` when there is none yet.
    ///
    /// # Errors
    /// [`LedgerError`] when it cannot be read.
    pub fn block_by_number(&self, number: u64) -> Result<Option<Block>, LedgerError> {
        if number >= self.height() {
            return Ok(None);
        }
        self.shared.block(number).map(Some)
    }

    /// The block with this header hash; `None` when there is none.
    ///
    /// # Errors
    /// [`LedgerError`] when it cannot be read.
    pub fn block_by_hash(&self, hash: &[u8]) -> Result<Option<Block>, LedgerError> {
        let number = read(&self.shared.index).by_hash.get(hash).copied();
        number.map_or(Ok(None), |number| self.block_by_number(number))
    }

    /// The block that holds the transaction, valid or not; `None` when none does.
    ///
    /// # Errors
    /// [`LedgerError`] when it cannot be read.
    pub fn block_by_txid(&self, tx_id: &str) -> Result<Option<Block>, LedgerError> {
        let place = self.transaction(tx_id);
        place.map_or(Ok(None), |place| self.block_by_number(place.version.block))
    }

    /// The last configuration block.
    ///
    /// # Errors
    /// [`LedgerError`] when it cannot be read.
    pub fn config_block(&self) -> Result<Block, LedgerError> {
        self.shared.block(0)
    }

    /// The transaction with what became of it; `None` when no block holds it.
    ///
    /// # Errors
    /// [`LedgerError`] when its block cannot be read.
    pub fn processed_transaction(
        &self,
        tx_id: &str,
    ) -> Result<Option<ProcessedTransaction>, LedgerError> {
        let Some(place) = self.transaction(tx_id) else {
            return Ok(None);
        };
        let envelope = self.shared.envelope(place.version)?;
        let unreadable = || self.shared.damaged(place.version.block, "transaction");
        let envelope = Envelope::decode(envelope.as_slice()).map_err(|_| unreadable())?;
        Ok(Some(ProcessedTransaction {
            transaction_envelope: Some(envelope),
            validation_code: place.code.into(),
        }))
    }

    /// What became of a transaction, and in which block; `None` while no block holds it.
    #[must_use]
    pub fn transaction_status(&self, tx_id: &str) -> Option<(TxValidationCode, u64)> {
        let place = self.transaction(tx_id)?;
        Some((place.code, place.version.block))
    }

    /// The place of a transaction in a visible block.
    fn transaction(&self, tx_id: &str) -> Option<TransactionPlace> {
        let height = self.height();
        let place = read(&self.shared.index).transactions.get(tx_id).copied()?;
        (place.version.block < height).then_some(place)
    }

    /// The private writes of a block's valid transactions that the organisation's peers hold,
    /// by index of the transaction.
    ///
    /// # Errors
    /// [`LedgerError`] when the block cannot be read.
    pub fn private_data(
        &self,
        number: u64,
        organization: &MspId,
    ) -> Result<BTreeMap<u64, TxPvtReadWriteSet>, LedgerError> {
        if number >= self.height() {
            return Ok(BTreeMap::new());
        }
        let bytes = self.shared.private(number)?;
        let part = PrivatePart::decode(bytes.as_slice())
            .map_err(|_| self.shared.damaged(number, "private part"))?;
        let config = self.config();
        let member = |namespace: &str, collection: &str| {
            let definition = self.definition(namespace);
            let config = definition.and_then(|def| def.collection(collection, &config));
            let members = config.map(|config| member_organizations(&config));
            let mut members = members.unwrap_or_default().into_iter();
            members.any(|member| member == organization.as_str())
        };
        let mut visible = BTreeMap::new();
        for transaction in part.transactions {
            let Some(mut sets) = transaction.sets else {
                continue;
            };
            for namespace in &mut sets.ns_pvt_rwset {
                let name = &namespace.namespace;
                namespace
                    .collection_pvt_rwset
                    .retain(|set| member(name, &set.collection_name));
            }
            if let Some(sets) = without_erased(sets) {
                visible.insert(transaction.index, sets);
            }
        }
        Ok(visible)
    }

    /// Starts to simulate a transaction at a peer of the organisation, on the state as it is now.
    #[must_use]
    pub fn simulator(&self, tx_id: &str, peer: &MspId) -> Simulator {
        Simulator::new(Snapshot::take(&self.shared), tx_id, peer)
    }

    /// The definition of a chaincode as it is now.
    #[must_use]
    pub fn definition(&self, chaincode: &str) -> Option<ChaincodeDefinition> {
        Snapshot::take(&self.shared).definition(chaincode)
    }

    /// Keeps the private writes of an endorsed transaction until a block orders it. They survive
    /// the end of the process. Every endorsing peer may call it.
    ///
    /// # Errors
    /// [`LedgerError`] when the store is full or the disk refuses.
    pub fn store_transient(
        &self,
        tx_id: &str,
        sets: &TxPvtReadWriteSet,
    ) -> Result<(), LedgerError> {
        let height = self.height();
        lock(&self.transient).put(tx_id, height, sets)
    }

    /// The block of these envelopes that follows the last one committed, unsigned.
    #[must_use]
    pub fn next_block(&self, envelopes: Vec<Vec<u8>>) -> Block {
        let writer = lock(&self.writer);
        follow(writer.last_header(), envelopes)
    }

    /// Validates the blocks, writes them to the log, makes them durable with one sync, and shows
    /// their effects. A block may be in the list after the one it follows.
    ///
    /// # Errors
    /// [`LedgerError`]. The process then has to stop, for only the log can tell what is durable;
    /// further calls fail with [`LedgerError::Poisoned`].
    pub fn commit(&self, blocks: Vec<Block>) -> Result<Vec<CommittedBlock>, LedgerError> {
        let mut writer = lock(&self.writer);
        writer.commit(blocks, &self.transient)
    }

    #[cfg(test)]
    pub(crate) fn dump(&self) -> Vec<String> {
        let height = self.height();
        read(&self.shared.state).dump(height)
    }
}

impl Snapshot {
    fn definition(&self, chaincode: &str) -> Option<ChaincodeDefinition> {
        use super::definition::LIFECYCLE_NAMESPACE;
        if chaincode == LIFECYCLE_NAMESPACE {
            return Some(ChaincodeDefinition::lifecycle());
        }
        let state = read(&self.shared.state);
        ChaincodeDefinition::from_state(chaincode, |key| {
            let value = state.public(LIFECYCLE_NAMESPACE, key, self.height)?;
            Some(value.value.clone())
        })
    }
}

impl Shared {
    pub(crate) fn new(config: ChannelConfig, reader: LogReader) -> Self {
        Self {
            channel_id: config.channel_id().to_owned(),
            state: std::sync::RwLock::default(),
            index: std::sync::RwLock::default(),
            config: std::sync::RwLock::new(Arc::new(config)),
            heights: Mutex::default(),
            reader,
        }
    }

    /// A block that is known to be in the log.
    pub(crate) fn block(&self, number: u64) -> Result<Block, LedgerError> {
        let place = self.place(number)?;
        let bytes = self.reader.block(place)?;
        Block::decode(bytes.as_slice()).map_err(|_| self.damaged(number, "block"))
    }

    fn private(&self, number: u64) -> Result<Vec<u8>, LedgerError> {
        self.reader.private(self.place(number)?)
    }

    fn place(&self, number: u64) -> Result<super::log::RecordPlace, LedgerError> {
        let index = read(&self.index);
        let place = usize::try_from(number)
            .ok()
            .and_then(|number| index.records.get(number).copied());
        drop(index);
        place.ok_or_else(|| self.damaged(number, "block number"))
    }

    /// The envelope of a transaction.
    pub(crate) fn envelope(&self, place: Version) -> Result<Vec<u8>, LedgerError> {
        let block = self.block(place.block)?;
        let mut envelopes = block.data.unwrap_or_default().data;
        match usize::try_from(place.tx) {
            Ok(index) if index < envelopes.len() => Ok(envelopes.swap_remove(index)),
            _ => Err(self.damaged(place.block, "transaction index")),
        }
    }

    pub(crate) fn damaged(&self, number: u64, reason: &'static str) -> LedgerError {
        let index = read(&self.index);
        let place = usize::try_from(number)
            .ok()
            .and_then(|number| index.records.get(number));
        LedgerError::Damaged {
            path: self.reader.path().to_owned(),
            offset: place.map_or(0, |place| place.offset),
            reason,
        }
    }
}
