//! Committing blocks, and replaying them at start.

use std::path::Path;
use std::sync::{Arc, Mutex};

use fabric_protos::common::{Block, BlockHeader, BlockMetadataIndex, Metadata};
use fabric_protos::kvrwset::KvrwSet;
use fabric_protos::protos::TxValidationCode;
use fabric_protos::rwset::TxPvtReadWriteSet;
use prost::Message;

use super::block::{block_data_hash, block_header_hash, read_slot, slot};
use super::commit_hash::commit_hash;
use super::definition::ChaincodeDefinition;
use super::error::LedgerError;
use super::log::{BlockLog, RecordPlace, Recovered};
use super::private::{
    ErasedKey, PrivatePart, PrivateTransaction, erase, is_erased, promised, unaccounted,
};
use super::retention::{Retention, follow_metadata};
use super::rwset::{TxRwSet, is_delete};
use super::shared::{Shared, TransactionPlace, lock, read, write};
use super::state::{CollectionId, PrivateValue, PublicValue, State, Update, UpdateBatch};
use super::transaction::{committed_rwset, envelope_tx_id};
use super::transient::TransientStore;
use super::validate::{Verdict, validate};
use super::version::Version;
use crate::genesis::ChannelConfig;

/// A block that is on disk.
#[derive(Clone, Debug)]
pub struct CommittedBlock {
    /// The block with validation codes and commit hash in its metadata.
    pub block: Block,
    /// What became of its transactions, in order.
    pub transactions: Vec<CommittedTransaction>,
}

/// What became of one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedTransaction {
    /// Its ID; empty when it has none.
    pub tx_id: String,
    /// Its validation code.
    pub code: TxValidationCode,
    /// For people: why it is not valid, with the key in question. Private keys appear as hashes.
    pub detail: Option<String>,
}

/// Key under which the channel configuration is in the namespace without name.
const CONFIG_KEY: &str = "resourcesconfigtx.CHANNEL_CONFIG_KEY";

/// The side of a ledger that changes it.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    log: BlockLog,
    last_header: BlockHeader,
    commit_hash: Vec<u8>,
    retention: Retention,
    /// Private parts that changed since they were written, with the keys that have to turn out
    /// to be erased.
    suspects: Vec<(RecordPlace, ErasedKey, Version)>,
    poisoned: bool,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, log: BlockLog) -> Self {
        Self {
            shared,
            log,
            last_header: BlockHeader::default(),
            commit_hash: Vec::new(),
            retention: Retention::default(),
            suspects: Vec::new(),
            poisoned: false,
        }
    }

    pub(crate) fn last_header(&self) -> &BlockHeader {
        &self.last_header
    }

    /// Writes block 0. Its one transaction is valid by definition.
    pub(crate) fn append_genesis(&mut self, genesis: &Block) -> Result<(), LedgerError> {
        let mut block = genesis.clone();
        *slot(&mut block, BlockMetadataIndex::TransactionsFilter) =
            vec![code_byte(TxValidationCode::Valid)];
        let place = self.log.append(0, &block.encode_to_vec(), &[])?;
        self.log.sync()?;
        self.replay_genesis(&block, place);
        lock(&self.shared.heights).publish(1);
        Ok(())
    }

    fn replay_genesis(&mut self, block: &Block, place: RecordPlace) {
        let config = Arc::clone(&read(&self.shared.config));
        let version = Version::new(0, 0);
        let value = PublicValue {
            value: config.config().encode_to_vec(),
            metadata: None,
            version,
        };
        let mut batch = UpdateBatch::default();
        let keys = batch.public.entry(String::new()).or_default();
        let value = Some(value);
        keys.insert(CONFIG_KEY.to_owned(), Update { value, version });
        write(&self.shared.state).apply(0, batch, 0);
        self.note(block, place, &[TxValidationCode::Valid]);
    }

    /// Reads a log and rebuilds the ledger from it.
    pub(crate) fn recover(path: &Path) -> Result<(Arc<Shared>, Self), LedgerError> {
        let mut replay = Replay::new(path);
        let log = BlockLog::open(path, |record| replay.record(record))?;
        let reader = log.reader()?;
        let Some(config) = replay.config else {
            return Err(LedgerError::Format {
                path: path.to_owned(),
            });
        };
        let shared = Arc::new(Shared::new(config, reader.clone()));
        let mut writer = Self::new(Arc::clone(&shared), log);
        for mut record in replay.records {
            record.block = reader.block(record.place)?;
            record.private = reader.private(record.place)?;
            let block = replay_decode(path, &record)?;
            writer.replay(&record, &block)?;
        }
        let height = writer.last_header.number + 1;
        lock(&shared.heights).publish(height);
        for (place, erased, version) in std::mem::take(&mut writer.suspects) {
            if !writer.retention.is_pending(&erased, version) {
                return Err(LedgerError::Damaged {
                    path: path.to_owned(),
                    offset: place.offset,
                    reason: "private part does not match its hashes",
                });
            }
        }
        writer.erase_pending()?;
        Ok((shared, writer))
    }

    /// Takes over a block from the log.
    fn replay(&mut self, record: &Recovered, block: &Block) -> Result<(), LedgerError> {
        if record.number == 0 {
            self.replay_genesis(block, record.place);
            return Ok(());
        }
        let number = record.number;
        let damaged = |reason| LedgerError::Damaged {
            path: self.shared.reader.path().to_owned(),
            offset: record.place.offset,
            reason,
        };
        self.check_chain(block)
            .map_err(|_| damaged("block does not chain to the one before"))?;
        let envelopes = envelopes(block);
        let codes = codes(block).ok_or_else(|| damaged("validation codes"))?;
        if codes.len() != envelopes.len() {
            return Err(damaged("number of validation codes"));
        }
        let part = PrivatePart::decode(record.private.as_slice())
            .map_err(|_| damaged("private part cannot be decoded"))?;
        let mut valid = Vec::new();
        for (index, (envelope, code)) in (0..).zip(envelopes.iter().zip(&codes)) {
            if *code == TxValidationCode::Valid {
                let rwset = committed_rwset(envelope)
                    .ok_or_else(|| damaged("valid transaction cannot be decoded"))?;
                valid.push((index, rwset));
            }
        }
        if !record.private_intact {
            for transaction in &part.transactions {
                let version = Version::new(number, transaction.index);
                let sets = transaction.sets.as_ref();
                let promised = valid.iter().find(|(index, _)| *index == transaction.index);
                let (Some(sets), Some((_, public))) = (sets, promised) else {
                    return Err(damaged("private part of a transaction that has none"));
                };
                let missing = unaccounted(sets, public).map_err(damaged)?;
                for erased in missing {
                    self.retention.held_once(&erased, version);
                    self.suspects.push((record.place, erased, version));
                }
            }
        }
        let state = read(&self.shared.state);
        let mut updates = super::conflict::BlockUpdates::new(&state, number);
        for (index, rwset) in &valid {
            updates.apply(rwset, Version::new(number, *index));
        }
        let batch = updates.batch;
        drop(state);
        let filter = read_slot(block, BlockMetadataIndex::TransactionsFilter);
        let hash = commit_hash(filter, &batch, &self.commit_hash);
        if stored_commit_hash(block).as_deref() != Some(hash.as_slice()) {
            return Err(damaged("commit hash"));
        }
        self.commit_hash = hash;
        self.apply(number, batch, &valid, &part);
        self.note(block, record.place, &codes);
        Ok(())
    }

    pub(crate) fn commit(
        &mut self,
        blocks: Vec<Block>,
        transient: &Mutex<TransientStore>,
    ) -> Result<Vec<CommittedBlock>, LedgerError> {
        if self.poisoned {
            return Err(LedgerError::Poisoned);
        }
        let result = self.commit_all(blocks, transient);
        self.poisoned = result.is_err();
        result
    }

    fn commit_all(
        &mut self,
        blocks: Vec<Block>,
        transient: &Mutex<TransientStore>,
    ) -> Result<Vec<CommittedBlock>, LedgerError> {
        let mut committed = Vec::with_capacity(blocks.len());
        for block in blocks {
            committed.push(self.commit_one(block, transient)?);
        }
        self.log.sync()?;
        let height = self.last_header.number + 1;
        lock(&self.shared.heights).publish(height);
        self.erase_pending()?;
        let transactions = committed.iter().flat_map(|block| &block.transactions);
        let ordered = transactions.map(|transaction| transaction.tx_id.as_str());
        lock(transient).forget(ordered, height)?;
        Ok(committed)
    }

    /// Validates and appends a block and applies it, not yet visibly.
    fn commit_one(
        &mut self,
        mut block: Block,
        transient: &Mutex<TransientStore>,
    ) -> Result<CommittedBlock, LedgerError> {
        self.check_chain(&block)?;
        let number = block.header.as_ref().map_or(0, |header| header.number);
        let shared = Arc::clone(&self.shared);
        let config = Arc::clone(&read(&shared.config));
        let state = read(&shared.state);
        let index = read(&shared.index);
        let known = |tx_id: &str| index.transactions.contains_key(tx_id);
        let validated = validate(envelopes(&block), number, &state, &config, known);
        drop((state, index));
        let verdicts = validated.verdicts;
        let codes: Vec<_> = verdicts.iter().map(verdict_code).collect();
        let filter: Vec<u8> = codes.iter().map(|code| code_byte(*code)).collect();
        self.commit_hash = commit_hash(&filter, &validated.batch, &self.commit_hash);
        let hash = Metadata {
            value: self.commit_hash.clone(),
            signatures: Vec::new(),
        };
        *slot(&mut block, BlockMetadataIndex::TransactionsFilter) = filter;
        *slot(&mut block, BlockMetadataIndex::CommitHash) = hash.encode_to_vec();
        let part = private_part(&verdicts, &lock(transient));
        let private = part.encode_to_vec();
        let place = self.log.append(number, &block.encode_to_vec(), &private)?;
        let transactions = verdicts.iter().map(committed_transaction).collect();
        let valid: Vec<_> = (0..)
            .zip(verdicts)
            .filter_map(|(index, verdict)| Some((index, verdict.outcome.ok()?)))
            .collect();
        self.apply(number, validated.batch, &valid, &part);
        self.note(&block, place, &codes);
        Ok(CommittedBlock {
            block,
            transactions,
        })
    }

    fn check_chain(&self, block: &Block) -> Result<(), LedgerError> {
        let header = block.header.clone().unwrap_or_default();
        let expected = self.last_header.number + 1;
        if header.number != expected {
            return Err(LedgerError::OutOfOrder {
                number: header.number,
                expected,
            });
        }
        let data = block.data.clone().unwrap_or_default();
        if header.previous_hash != block_header_hash(&self.last_header)
            || header.data_hash != block_data_hash(&data)
        {
            return Err(LedgerError::BrokenChain {
                number: header.number,
            });
        }
        Ok(())
    }

    /// Completes the changes of a block with its private side and applies them.
    fn apply(
        &mut self,
        number: u64,
        mut batch: UpdateBatch,
        valid: &[(u64, TxRwSet)],
        part: &PrivatePart,
    ) {
        let shared = Arc::clone(&self.shared);
        let state = read(&shared.state);
        let config = read(&shared.config);
        let mut metadata_only = Vec::new();
        for (index, rwset) in valid {
            let place = Version::new(number, *index);
            let mut transactions = part.transactions.iter();
            let private = transactions
                .find(|private| private.index == *index)
                .and_then(|private| private.sets.as_ref());
            if let Some(sets) = private {
                let held = apply_private(sets, place, &mut batch, &mut metadata_only);
                for (id, key) in held {
                    self.retention.hold(&id, &key, place);
                }
            }
            self.retention.purge(rwset, place, &mut batch);
            self.retention.schedule(rwset, place, |id| {
                blocks_to_live(&state, number, &config, id)
            });
        }
        follow_metadata(metadata_only.into_iter(), number, &state, &mut batch);
        self.retention.expire(number, &state, &mut batch);
        drop((state, config));
        let oldest = lock(&shared.heights).oldest();
        write(&shared.state).apply(number, batch, oldest);
    }

    /// Enters a block into the index.
    fn note(&mut self, block: &Block, place: RecordPlace, codes: &[TxValidationCode]) {
        let header = block.header.clone().unwrap_or_default();
        let mut index = write(&self.shared.index);
        index.records.push(place);
        let hash = block_header_hash(&header);
        index.by_hash.insert(hash.clone(), header.number);
        index.hashes.push(hash);
        for (number, (envelope, code)) in (0..).zip(envelopes(block).iter().zip(codes)) {
            let Some(tx_id) = envelope_tx_id(envelope) else {
                continue;
            };
            let place = TransactionPlace {
                version: Version::new(header.number, number),
                code: *code,
            };
            // The first use of an ID is the transaction; the rest are its duplicates.
            index.transactions.entry(tx_id).or_insert(place);
        }
        drop(index);
        self.last_header = header;
    }

    /// Overwrites in the log what was purged or has expired.
    fn erase_pending(&mut self) -> Result<(), LedgerError> {
        let index = read(&self.shared.index);
        let record = |place: Version| {
            let number = usize::try_from(place.block).ok()?;
            index.records.get(number).copied()
        };
        let may = |place: Version| record(place).is_some_and(|rec| self.log.may_overwrite(rec));
        let ready = self.retention.take_pending(may);
        let ready: Vec<_> = ready
            .into_iter()
            .filter_map(|(erased, place)| Some((erased, place, record(place)?)))
            .collect();
        drop(index);
        for (erased, place, record) in ready {
            let before = self.shared.reader.private(record)?;
            let mut part = PrivatePart::decode(before.as_slice())
                .map_err(|_| self.shared.damaged(place.block, "private part"))?;
            if erase(&mut part, place.tx, &erased) {
                let after = part.encode_to_vec();
                if after.len() != before.len() {
                    return Err(self.shared.damaged(place.block, "private part"));
                }
                for (at, bytes) in differences(&before, &after) {
                    self.log.overwrite_private(record, at, bytes)?;
                }
            }
            self.retention.erased(&erased, place);
        }
        Ok(())
    }
}

/// Collects where the records of a log are, and the configuration in its block 0.
struct Replay<'p> {
    path: &'p Path,
    config: Option<ChannelConfig>,
    /// Without their content, so that a long log does not have to fit into memory.
    records: Vec<Recovered>,
}

impl<'p> Replay<'p> {
    fn new(path: &'p Path) -> Self {
        Self {
            path,
            config: None,
            records: Vec::new(),
        }
    }

    fn record(&mut self, mut record: Recovered) -> Result<(), LedgerError> {
        if self.config.is_none() {
            let block = replay_decode(self.path, &record)?;
            self.config = Some(ChannelConfig::from_block(&block)?);
        }
        record.block = Vec::new();
        record.private = Vec::new();
        self.records.push(record);
        Ok(())
    }
}

fn replay_decode(path: &Path, record: &Recovered) -> Result<Block, LedgerError> {
    Block::decode(record.block.as_slice()).map_err(|_| LedgerError::Damaged {
        path: path.to_owned(),
        offset: record.place.offset,
        reason: "block cannot be decoded",
    })
}

fn envelopes(block: &Block) -> &[Vec<u8>] {
    let data = block.data.as_ref();
    data.map(|data| data.data.as_slice()).unwrap_or_default()
}

fn code_byte(code: TxValidationCode) -> u8 {
    u8::try_from(i32::from(code)).unwrap_or(u8::MAX)
}

/// The validation codes in a block; `None` when one is not known.
fn codes(block: &Block) -> Option<Vec<TxValidationCode>> {
    let filter = read_slot(block, BlockMetadataIndex::TransactionsFilter);
    let codes = filter
        .iter()
        .map(|code| TxValidationCode::try_from(i32::from(*code)).ok());
    codes.collect()
}

fn stored_commit_hash(block: &Block) -> Option<Vec<u8>> {
    let slot = read_slot(block, BlockMetadataIndex::CommitHash);
    Some(Metadata::decode(slot).ok()?.value)
}

fn verdict_code(verdict: &Verdict) -> TxValidationCode {
    match &verdict.outcome {
        Ok(_) => TxValidationCode::Valid,
        Err(rejection) => rejection.code,
    }
}

fn committed_transaction(verdict: &Verdict) -> CommittedTransaction {
    let rejection = verdict.outcome.as_ref().err();
    CommittedTransaction {
        tx_id: verdict.tx_id.clone().unwrap_or_default(),
        code: verdict_code(verdict),
        detail: rejection.map(|rejection| rejection.detail.clone()),
    }
}

/// The private writes of the valid transactions, as far as they are at hand.
fn private_part(verdicts: &[Verdict], transient: &TransientStore) -> PrivatePart {
    let mut part = PrivatePart::default();
    for (index, verdict) in (0..).zip(verdicts) {
        let (Ok(rwset), Some(tx_id)) = (&verdict.outcome, &verdict.tx_id) else {
            continue;
        };
        if !rwset.has_private_writes() {
            continue;
        }
        let sets = transient.get(tx_id).cloned();
        let sets = sets.and_then(|sets| promised(sets, rwset));
        if sets.is_none() {
            tracing::warn!(tx_id, "private data of a transaction is not available");
        }
        let transaction = sets.map(|sets| PrivateTransaction {
            index,
            sets: Some(sets),
        });
        part.transactions.extend(transaction);
    }
    part
}

/// Adds the private writes of one transaction to the batch. Gives the keys it holds something
/// of, and adds to `metadata_only` those whose metadata it changes.
fn apply_private(
    sets: &TxPvtReadWriteSet,
    version: Version,
    batch: &mut UpdateBatch,
    metadata_only: &mut Vec<(CollectionId, String)>,
) -> Vec<(CollectionId, String)> {
    let mut held = Vec::new();
    for namespace in &sets.ns_pvt_rwset {
        for collection in &namespace.collection_pvt_rwset {
            let id = CollectionId::new(&namespace.namespace, &collection.collection_name);
            // What does not decode was not written here: its hash matched when it came in.
            let set = KvrwSet::decode(collection.rwset.as_slice()).unwrap_or_default();
            for write in set
                .writes
                .into_iter()
                .filter(|write| !is_erased(&write.key))
            {
                held.push((id.clone(), write.key.clone()));
                let value = (!is_delete(&write)).then_some(PrivateValue {
                    value: write.value,
                    version,
                });
                let keys = batch.private.entry(id.clone()).or_default();
                keys.insert(write.key, Update { value, version });
            }
            for write in set.metadata_writes {
                if !is_erased(&write.key) {
                    held.push((id.clone(), write.key.clone()));
                    metadata_only.push((id.clone(), write.key));
                }
            }
        }
    }
    held
}

/// Blocks for which the values of a collection live after their own; 0 is for ever.
fn blocks_to_live(state: &State, number: u64, config: &ChannelConfig, id: &CollectionId) -> u64 {
    use super::definition::LIFECYCLE_NAMESPACE;
    let definition = ChaincodeDefinition::from_state(&id.namespace, |key| {
        let value = state.public(LIFECYCLE_NAMESPACE, key, number)?;
        Some(value.value.clone())
    });
    let collection = definition.and_then(|def| def.collection(&id.collection, config));
    collection.map_or(0, |collection| collection.block_to_live)
}

/// The runs of bytes in which two strings of equal length differ: offset and new bytes.
fn differences<'b>(before: &[u8], after: &'b [u8]) -> Vec<(usize, &'b [u8])> {
    let mut runs = Vec::new();
    let mut at = 0;
    while at < after.len() {
        if before[at] == after[at] {
            at += 1;
            continue;
        }
        let rest = before[at..].iter().zip(&after[at..]);
        let length = rest.take_while(|(before, after)| before != after).count();
        runs.push((at, &after[at..at + length]));
        at += length;
    }
    runs
}
