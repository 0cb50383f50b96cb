//! Calls to the memory ledger, and what comes out of them.

use std::collections::BTreeMap;

use fabric_protos::{
    kvrwset::{self, KvrwSet},
    protos::ChaincodeEvent,
    rwset::{TxPvtReadWriteSet, TxReadWriteSet},
};
use prost::Message as _;

use crate::{Response, Timestamp};

/// A call of a chaincode.
#[derive(Clone, Debug)]
pub struct Tx {
    pub(super) submit: bool,
    pub(super) args: Vec<Vec<u8>>,
    pub(super) transient: BTreeMap<String, Vec<u8>>,
    pub(super) creator: Option<Vec<u8>>,
    pub(super) timestamp: Option<Timestamp>,
    pub(super) tx_id: Option<String>,
    pub(super) decorations: BTreeMap<String, Vec<u8>>,
}

impl Tx {
    /// A call that is committed when it succeeds.
    #[must_use]
    pub fn submit(function: &str) -> Self {
        Self {
            submit: true,
            ..Self::evaluate(function)
        }
    }

    /// A call whose effects are thrown away.
    #[must_use]
    pub fn evaluate(function: &str) -> Self {
        Self {
            submit: false,
            args: vec![function.as_bytes().to_vec()],
            transient: BTreeMap::new(),
            creator: None,
            timestamp: None,
            tx_id: None,
            decorations: BTreeMap::new(),
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<Vec<u8>>) -> Self {
        self.args.push(argument.into());
        self
    }

    /// Adds an argument as JSON.
    ///
    /// # Panics
    ///
    /// When the value has no JSON form; this is for tests.
    #[must_use]
    pub fn json<T: serde::Serialize + ?Sized>(self, argument: &T) -> Self {
        let json = serde_json::to_vec(argument).expect("a test's argument has a JSON form");
        self.argument(json)
    }

    /// Adds transient data.
    #[must_use]
    pub fn transient(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.transient.insert(name.to_owned(), value.into());
        self
    }

    /// Calls as this identity (an encoded `msp.SerializedIdentity`).
    #[must_use]
    pub fn creator(mut self, creator: impl Into<Vec<u8>>) -> Self {
        self.creator = Some(creator.into());
        self
    }

    /// Calls at this time.
    #[must_use]
    pub fn timestamp(mut self, timestamp: Timestamp) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// Calls with this transaction ID, instead of one made from creator and a counter.
    #[must_use]
    pub fn tx_id(mut self, tx_id: &str) -> Self {
        self.tx_id = Some(tx_id.to_owned());
        self
    }

    /// Adds what a peer's decorator would add.
    #[must_use]
    pub fn decoration(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.decorations.insert(name.to_owned(), value.into());
        self
    }

    /// Whether the call is committed when it succeeds.
    #[must_use]
    pub fn is_submit(&self) -> bool {
        self.submit
    }
}

/// When a value was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The block.
    pub block_num: u64,
    /// The transaction's place in it.
    pub tx_num: u64,
}

impl From<kvrwset::Version> for Version {
    fn from(version: kvrwset::Version) -> Self {
        Self {
            block_num: version.block_num,
            tx_num: version.tx_num,
        }
    }
}

impl From<Version> for kvrwset::Version {
    fn from(version: Version) -> Self {
        Self {
            block_num: version.block_num,
            tx_num: version.tx_num,
        }
    }
}

/// A private data collection.
#[derive(Clone, Debug)]
pub struct CollectionConfig {
    name: String,
    members: Vec<String>,
    member_only_read: bool,
    member_only_write: bool,
}

impl CollectionConfig {
    /// A collection that every organisation belongs to.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            members: vec![],
            member_only_read: false,
            member_only_write: false,
        }
    }

    /// Only these organisations belong to it, and with `member_only_read` and
    /// `member_only_write` only their clients may use it.
    #[must_use]
    pub fn members(mut self, msp_ids: &[&str]) -> Self {
        self.members = msp_ids.iter().map(|id| (*id).to_owned()).collect();
        self
    }

    /// Refuses reads by other organisations' clients.
    #[must_use]
    pub fn member_only_read(mut self) -> Self {
        self.member_only_read = true;
        self
    }

    /// Refuses writes by other organisations' clients.
    #[must_use]
    pub fn member_only_write(mut self) -> Self {
        self.member_only_write = true;
        self
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn may_read(&self, msp_id: &str) -> bool {
        !self.member_only_read || self.is_member(msp_id)
    }

    pub(super) fn may_write(&self, msp_id: &str) -> bool {
        !self.member_only_write || self.is_member(msp_id)
    }

    fn is_member(&self, msp_id: &str) -> bool {
        self.members.is_empty() || self.members.iter().any(|member| member == msp_id)
    }
}

/// What the committer makes of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ValidationCode {
    /// Its writes are in the state.
    Valid,
    /// It has no endorsement, because its response is a failure.
    EndorsementPolicyFailure,
    /// Its ID has been committed before.
    DuplicateTxId,
    /// A key that it read has changed.
    MvccReadConflict,
    /// A range that it read has changed.
    PhantomReadConflict,
}

/// The event that a block would carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRecord {
    /// Its name.
    pub name: String,
    /// Its content.
    pub payload: Vec<u8>,
}

/// A key that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The chaincode whose key it is.
    pub namespace: String,
    /// The key.
    pub key: String,
    /// When its value was written; `None` when there was no value.
    pub version: Option<Version>,
}

/// A key that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The chaincode whose key it is.
    pub namespace: String,
    /// The key.
    pub key: String,
    /// The value; `None` for a deletion.
    pub value: Option<Vec<u8>>,
}

/// A private key that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrivateWrite {
    /// The chaincode whose key it is.
    pub namespace: String,
    /// The collection.
    pub collection: String,
    /// The key.
    pub key: String,
    /// The value; `None` for a deletion or purge.
    pub value: Option<Vec<u8>>,
}

/// What a transaction did.
#[derive(Clone, Debug)]
pub struct TxResult {
    /// The transaction's ID.
    pub tx_id: String,
    /// The time in its proposal.
    pub timestamp: Timestamp,
    /// The contract's answer.
    pub response: Response,
    /// Its event; `None` also when the response is a failure, as a peer drops it then.
    pub event: Option<EventRecord>,
    /// Public keys read one by one.
    pub reads: Vec<Read>,
    /// Public keys written.
    pub writes: Vec<Write>,
    /// Private keys written.
    pub private_writes: Vec<PrivateWrite>,
    /// The encoded `rwset.TxReadWriteSet` that a peer would sign.
    pub rwset: Vec<u8>,
    /// The encoded `rwset.TxPvtReadWriteSet` that a peer would pass to the collections' members;
    /// empty when there is none.
    pub private_rwset: Vec<u8>,
    /// What became of it; `None` when it was not committed.
    pub validation: Option<ValidationCode>,
    /// The block it is in.
    pub block_number: Option<u64>,
}

impl TxResult {
    pub(super) fn new(
        tx_id: String,
        timestamp: Timestamp,
        response: Response,
        event: Option<ChaincodeEvent>,
        rwset: &TxReadWriteSet,
        private: &TxPvtReadWriteSet,
    ) -> Self {
        let mut reads = vec![];
        let mut writes = vec![];
        for namespace in &rwset.ns_rwset {
            let set = decode(&namespace.rwset);
            reads.extend(set.reads.into_iter().map(|read| Read {
                namespace: namespace.namespace.clone(),
                key: read.key,
                version: read.version.map(Version::from),
            }));
            writes.extend(set.writes.into_iter().map(|write| Write {
                namespace: namespace.namespace.clone(),
                key: write.key,
                value: (!write.is_delete).then_some(write.value),
            }));
        }
        let mut private_writes = vec![];
        for namespace in &private.ns_pvt_rwset {
            for collection in &namespace.collection_pvt_rwset {
                let set = decode(&collection.rwset);
                private_writes.extend(set.writes.into_iter().map(|write| PrivateWrite {
                    namespace: namespace.namespace.clone(),
                    collection: collection.collection_name.clone(),
                    key: write.key,
                    value: (!write.is_delete).then_some(write.value),
                }));
            }
        }
        Self {
            tx_id,
            timestamp,
            response,
            event: event.map(|event| EventRecord {
                name: event.event_name,
                payload: event.payload,
            }),
            reads,
            writes,
            private_writes,
            rwset: rwset.encode_to_vec(),
            private_rwset: private.encode_to_vec(),
            validation: None,
            block_number: None,
        }
    }
}

fn decode(bytes: &[u8]) -> KvrwSet {
    KvrwSet::decode(bytes).expect("the ledger has encoded this set itself")
}
