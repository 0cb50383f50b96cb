//! A ledger in memory, so that contracts are tested in process and without a network.
//!
//! [`MemoryLedger`] stands where a peer with LevelDB and its committer stand: a transaction sees
//! the state as committed before it and not its own writes, its reads and writes become the very
//! bytes that a peer would sign, and [`MemoryLedger::commit`] applies them after the checks that
//! make a transaction invalid (`MVCC_READ_CONFLICT`, `PHANTOM_READ_CONFLICT`). Run a call twice
//! with [`MemoryLedger::simulate`] and compare [`TxResult::rwset`] to find a contract that is not
//! deterministic.
//!
//! What it leaves out: endorsement policies, other channels, rich queries (LevelDB has none
//! either), block-to-live of private data, and the read of `_lifecycle` that a real peer adds.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub(crate) use link::MemoryLink;
pub use tx::{
    CollectionConfig, EventRecord, PrivateWrite, Read, Tx, TxResult, ValidationCode, Version, Write,
};

use crate::{Chaincode, Timestamp, handler::Capabilities, link::Link, stub::Stub};
use link::Session;
use state::State;

mod cursor;
mod link;
mod merkle;
mod rwset;
mod simulation;
mod state;
#[cfg(test)]
mod tests;
mod tx;
mod validation;

/// The time of the first transaction, unless a test sets one: 2026-01-01T00:00:00Z.
const GENESIS_SECONDS: i64 = 1_767_225_600;

/// What a current peer can do.
const CAPABILITIES: Capabilities = Capabilities {
    write_batch: Some(1000),
    get_multiple: Some(1000),
};

/// One channel's ledger with one chaincode's view of it. Clones share the ledger.
#[derive(Clone, Debug)]
pub struct MemoryLedger {
    shared: Arc<Shared>,
    creator: Vec<u8>,
    timestamp: Option<Timestamp>,
    transient: BTreeMap<String, Vec<u8>>,
}

#[derive(Debug)]
struct Shared {
    channel_id: String,
    name: String,
    /// Held for one lookup or one commit each; never across a wait.
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: Arc<State>,
    others: BTreeMap<String, Arc<Chaincode>>,
    collections: BTreeMap<String, CollectionConfig>,
    committed: BTreeSet<String>,
    /// Simulations so far; makes transaction IDs different and equal from run to run.
    simulations: u64,
}

impl MemoryLedger {
    /// An empty ledger. The chaincode under test is called `chaincode`.
    #[must_use]
    pub fn new(channel_id: &str) -> Self {
        Self::with_chaincode_name(channel_id, "chaincode")
    }

    /// An empty ledger with another name for the chaincode under test.
    #[must_use]
    pub fn with_chaincode_name(channel_id: &str, name: &str) -> Self {
        let inner = Inner {
            state: Arc::new(State::new()),
            others: BTreeMap::new(),
            collections: BTreeMap::new(),
            committed: BTreeSet::new(),
            simulations: 0,
        };
        Self {
            shared: Arc::new(Shared {
                channel_id: channel_id.to_owned(),
                name: name.to_owned(),
                inner: Mutex::new(inner),
            }),
            creator: vec![],
            timestamp: None,
            transient: BTreeMap::new(),
        }
    }

    /// Defines private data collections that every organisation belongs to.
    #[must_use]
    pub fn with_collections(self, names: &[&str]) -> Self {
        names.iter().fold(self, |ledger, name| {
            ledger.with_collection(CollectionConfig::new(name))
        })
    }

    /// Defines a private data collection.
    #[must_use]
    pub fn with_collection(self, collection: CollectionConfig) -> Self {
        let name = collection.name().to_owned();
        self.lock().collections.insert(name, collection);
        self
    }

    /// Deploys another chaincode that the one under test may call.
    #[must_use]
    pub fn with_other_chaincode(self, name: &str, chaincode: Chaincode) -> Self {
        let chaincode = Arc::new(chaincode);
        self.lock().others.insert(name.to_owned(), chaincode);
        self
    }

    /// The same ledger, called by this identity (an encoded `msp.SerializedIdentity`).
    #[must_use]
    pub fn as_client(&self, creator: impl Into<Vec<u8>>) -> Self {
        Self {
            creator: creator.into(),
            ..self.clone()
        }
    }

    /// The same ledger, called at this time.
    #[must_use]
    pub fn with_timestamp(&self, timestamp: Timestamp) -> Self {
        Self {
            timestamp: Some(timestamp),
            ..self.clone()
        }
    }

    /// The same ledger, called with one more transient value.
    #[must_use]
    pub fn with_transient(&self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        let mut ledger = self.clone();
        ledger.transient.insert(name.to_owned(), value.into());
        ledger
    }

    /// Runs a transaction and, when it is a submit that succeeds, commits it in a block of its
    /// own.
    pub async fn invoke(&self, chaincode: &Chaincode, tx: Tx) -> TxResult {
        let submit = tx.is_submit();
        let mut result = self.simulate(chaincode, tx).await;
        if submit && result.response.is_success() {
            let codes = self.commit(std::slice::from_ref(&result));
            result.validation = codes.first().copied();
            result.block_number = Some(self.height() - 1);
        }
        result
    }

    /// Runs a transaction without committing anything: what a peer does when it endorses.
    pub async fn simulate(&self, chaincode: &Chaincode, tx: Tx) -> TxResult {
        let name = self.shared.name.clone();
        let (transaction, simulation) = self.start(tx);
        let tx_id = transaction.tx_id.clone();
        let timestamp = transaction.timestamp;
        let session = Arc::new(Session {
            ledger: self.clone(),
            transaction: transaction.clone(),
            simulation: Mutex::new(simulation),
        });
        let link = MemoryLink::new(Arc::clone(&session), vec![name]);
        let stub = Stub::new(transaction, CAPABILITIES, Link::Memory(link));
        let response = chaincode.invoke(&stub).await;
        let event = stub.take_event().filter(|_| response.is_success());
        drop(stub);
        let (rwset, private) = lock(&session.simulation).results();
        TxResult::new(tx_id, timestamp, response, event, &rwset, &private)
    }

    /// Validates transactions as one block, in this order, and applies the valid ones.
    pub fn commit(&self, block: &[TxResult]) -> Vec<ValidationCode> {
        let mut inner = self.lock();
        let Inner {
            state, committed, ..
        } = &mut *inner;
        let state = Arc::make_mut(state);
        let height = state.height;
        let codes = (0_u64..)
            .zip(block)
            .map(|(tx_num, result)| {
                let version = Version {
                    block_num: height,
                    tx_num,
                };
                validation::commit(state, committed, result, version)
            })
            .collect();
        state.height += 1;
        codes
    }

    /// The number of blocks; the next one gets this number.
    #[must_use]
    pub fn height(&self) -> u64 {
        self.lock().state.height
    }

    /// The committed value of a key of the chaincode under test.
    #[must_use]
    pub fn state(&self, key: &str) -> Option<Vec<u8>> {
        let inner = self.lock();
        let entry = inner.state.get(&self.shared.name, key);
        entry.map(|entry| entry.value.clone())
    }

    /// All committed keys of the chaincode under test.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let inner = self.lock();
        let keys = inner.state.range(&self.shared.name, "", "");
        keys.map(|(key, _)| key.clone()).collect()
    }

    /// The committed value of a private key of the chaincode under test.
    #[must_use]
    pub fn private_state(&self, collection: &str, key: &str) -> Option<Vec<u8>> {
        let inner = self.lock();
        let entry = inner.state.get_private(&self.shared.name, collection, key);
        entry.map(|entry| entry.value.clone())
    }

    /// All committed private keys of the chaincode under test.
    #[must_use]
    pub fn private_keys(&self, collection: &str) -> Vec<String> {
        let inner = self.lock();
        let keys = inner
            .state
            .range_private(&self.shared.name, collection, "", "");
        keys.map(|(key, _)| key.clone()).collect()
    }

    /// Forgets a private value but not its hash, as on a peer that has not received it yet.
    pub fn lose_private_value(&self, collection: &str, key: &str) {
        let mut inner = self.lock();
        let state = Arc::make_mut(&mut inner.state);
        state.remove_private(&self.shared.name, collection, key);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.shared.inner)
    }
}

/// A panic in a test leaves whole values behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A stub for a call with these arguments, over an empty ledger.
#[cfg(test)]
pub(crate) fn stub_with_args(args: Vec<Vec<u8>>) -> Stub {
    let ledger = MemoryLedger::new("ch");
    let (transaction, simulation) = ledger.start(Tx::evaluate(""));
    let transaction = crate::transaction::Transaction {
        args,
        ..transaction
    };
    let session = Arc::new(Session {
        ledger,
        transaction: transaction.clone(),
        simulation: Mutex::new(simulation),
    });
    let link = MemoryLink::new(session, vec!["chaincode".to_owned()]);
    Stub::new(transaction, CAPABILITIES, Link::Memory(link))
}
