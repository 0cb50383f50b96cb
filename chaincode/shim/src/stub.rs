//! What a contract may ask: the transaction it runs in, and the ledger.
//!
//! Reads see the state as committed before the transaction; a transaction does not see its own
//! writes. All calls of one transaction go to the peer one after another, also when they are
//! made at the same time.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use fabric_protos::protos::{ChaincodeEvent, chaincode_message::Type};
use prost::Message;

use crate::{
    ClientIdentity, ClientIdentityError, SignedProposal, StubError, Timestamp, batch::WriteBatch,
    handler::Capabilities, link::Link, transaction::Transaction,
};

mod invoke;
mod metadata;
mod private;
mod query;
mod state;

pub use query::{
    HistoryIterator, KeyModification, KeyValue, QueryIterator, QueryRecord, QueryResponseMetadata,
    StateIterator,
};

/// One transaction's door to its arguments, its caller and the ledger.
#[derive(Debug)]
pub struct Stub {
    transaction: Transaction,
    capabilities: Capabilities,
    link: Link,
    identity: OnceLock<Result<ClientIdentity, ClientIdentityError>>,
    function: OnceLock<String>,
    evaluate_only: AtomicBool,
    /// Held for one assignment each; never across a wait.
    event: Mutex<Option<ChaincodeEvent>>,
    /// Held for one insertion each; never across a wait.
    batch: Mutex<Option<WriteBatch>>,
}

impl Stub {
    pub(crate) fn new(transaction: Transaction, capabilities: Capabilities, link: Link) -> Self {
        Self {
            transaction,
            capabilities,
            link,
            identity: OnceLock::new(),
            function: OnceLock::new(),
            evaluate_only: AtomicBool::new(false),
            event: Mutex::new(None),
            batch: Mutex::new(None),
        }
    }

    /// The transaction's ID.
    #[must_use]
    pub fn tx_id(&self) -> &str {
        &self.transaction.tx_id
    }

    /// The channel's name; empty outside any channel.
    #[must_use]
    pub fn channel_id(&self) -> &str {
        &self.transaction.channel_id
    }

    /// All arguments; the first is the name of the transaction function.
    #[must_use]
    pub fn args(&self) -> &[Vec<u8>] {
        &self.transaction.args
    }

    /// The function that runs, as its contract declares it and without the contract's name;
    /// empty before the call has reached a contract.
    #[must_use]
    pub fn function(&self) -> &str {
        self.function.get().map_or("", String::as_str)
    }

    /// Data for this call that is not written to the ledger.
    #[must_use]
    pub fn transient(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.transaction.transient
    }

    /// What the peer's decorators added to the proposal.
    #[must_use]
    pub fn decorations(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.transaction.decorations
    }

    /// The caller: an encoded `msp.SerializedIdentity`.
    #[must_use]
    pub fn creator(&self) -> &[u8] {
        &self.transaction.creator
    }

    /// The caller, decoded.
    ///
    /// # Errors
    ///
    /// [`StubError::Identity`] when the creator is no X.509 identity.
    pub fn client_identity(&self) -> Result<&ClientIdentity, StubError> {
        let parsed = self
            .identity
            .get_or_init(|| ClientIdentity::parse(self.creator()));
        parsed.as_ref().map_err(|error| error.clone().into())
    }

    /// The time that the client wrote into the proposal; equal on all endorsers, but the client's
    /// word only.
    #[must_use]
    pub fn tx_timestamp(&self) -> Timestamp {
        self.transaction.timestamp
    }

    /// SHA-256 over nonce, creator and epoch of the proposal: ties data to this one proposal.
    #[must_use]
    pub fn binding(&self) -> &[u8] {
        &self.transaction.binding
    }

    /// The proposal with its signature.
    #[must_use]
    pub fn signed_proposal(&self) -> Option<&SignedProposal> {
        self.transaction.signed_proposal.as_ref()
    }

    /// Whether another chaincode made this call.
    #[must_use]
    pub fn is_nested(&self) -> bool {
        self.transaction.nested
    }

    /// Sets the event that the block will carry if this transaction becomes valid. There is one
    /// per transaction, so a second call replaces the first; and Fabric keeps the outermost
    /// chaincode's only.
    ///
    /// # Errors
    ///
    /// [`StubError::EmptyEventName`], or [`StubError::WriteInEvaluate`].
    pub fn set_event(&self, name: &str, payload: impl Into<Vec<u8>>) -> Result<(), StubError> {
        self.check_may_write("set_event")?;
        if name.is_empty() {
            return Err(StubError::EmptyEventName);
        }
        if self.is_nested() {
            tracing::warn!(
                tx_id = self.tx_id(),
                event = name,
                "event of a chaincode called by another chaincode will be lost"
            );
        }
        let event = ChaincodeEvent {
            event_name: name.to_owned(),
            payload: payload.into(),
            ..ChaincodeEvent::default()
        };
        *lock(&self.event) = Some(event);
        Ok(())
    }

    pub(crate) fn take_event(&self) -> Option<ChaincodeEvent> {
        lock(&self.event).take()
    }

    pub(crate) fn set_function(&self, name: &str) {
        // The first call wins: a stub belongs to one transaction and so to one function.
        let _ = self.function.set(name.to_owned());
    }

    /// From now on, writes are refused.
    pub(crate) fn forbid_writes(&self) {
        self.evaluate_only.store(true, Ordering::Relaxed);
    }

    fn check_may_write(&self, operation: &'static str) -> Result<(), StubError> {
        if self.evaluate_only.load(Ordering::Relaxed) {
            return Err(StubError::WriteInEvaluate { operation });
        }
        Ok(())
    }

    /// Asks the ledger for something that has a payload.
    async fn ask<M: Message + Default>(
        &self,
        kind: Type,
        request: &impl Message,
    ) -> Result<M, StubError> {
        let bytes = self.link.request(kind, request.encode_to_vec()).await?;
        M::decode(bytes.as_slice()).map_err(|source| StubError::MalformedReply {
            request: kind.as_str_name(),
            source,
        })
    }

    /// Asks the ledger for something whose reply says no more than that it was done.
    async fn tell(&self, kind: Type, request: &impl Message) -> Result<(), StubError> {
        self.link.request(kind, request.encode_to_vec()).await?;
        Ok(())
    }
}

/// A panic while one of the stub's locks is held leaves a whole value behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn check_collection(collection: &str) -> Result<(), StubError> {
    if collection.is_empty() {
        return Err(StubError::EmptyCollection);
    }
    Ok(())
}
