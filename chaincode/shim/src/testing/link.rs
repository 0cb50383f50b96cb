//! A stub's way to the memory ledger, and calls from chaincode to chaincode on it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use fabric_protos::protos::{ChaincodeMessage, ChaincodeSpec, Response, chaincode_message::Type};
use futures::future::BoxFuture;
use prost::Message as _;

use super::{CAPABILITIES, GENESIS_SECONDS, MemoryLedger, Tx, lock, simulation::Simulation, state};
use crate::{
    StubError, Timestamp, handler::Request, link::Link, stub::Stub, transaction::Transaction,
};

/// One transaction on the memory ledger, shared by all chaincodes that take part in it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(super) ledger: MemoryLedger,
    pub(super) transaction: Transaction,
    /// Held for one request each; never across a wait.
    pub(super) simulation: Mutex<Simulation>,
}

/// The link of one chaincode in one transaction.
#[derive(Debug)]
pub(crate) struct MemoryLink {
    session: Arc<Session>,
    /// The chaincodes that wait for one another; the last one is this link's.
    stack: Vec<String>,
}

impl MemoryLink {
    pub(super) fn new(session: Arc<Session>, stack: Vec<String>) -> Self {
        Self { session, stack }
    }

    /// Answers as a peer would, refusals included.
    pub(crate) async fn request(&self, request: Request) -> Result<Vec<u8>, StubError> {
        let reply = if request.kind == Type::InvokeChaincode {
            self.invoke(request.payload).await
        } else {
            let mut simulation = lock(&self.session.simulation);
            simulation.answer(self.namespace(), &request)
        };
        reply.map_err(|cause| StubError::Refused {
            message: format!(
                "{} failed: transaction ID: {}: {cause}",
                request.kind.as_str_name(),
                self.session.transaction.tx_id
            ),
        })
    }

    /// Answers a request whose reply nobody reads.
    pub(crate) fn post(&self, request: Request) {
        let mut simulation = lock(&self.session.simulation);
        // What is posted is the closing of a query, which a peer never refuses.
        let _ = simulation.answer(self.namespace(), &request);
    }

    fn namespace(&self) -> &str {
        self.stack.last().map_or("", String::as_str)
    }

    fn invoke(&self, payload: Vec<u8>) -> BoxFuture<'_, Result<Vec<u8>, String>> {
        Box::pin(async move {
            let spec = ChaincodeSpec::decode(payload.as_slice())
                .map_err(|error| format!("unmarshal failed: {error}"))?;
            let called = spec.chaincode_id.map(|id| id.name).unwrap_or_default();
            let (name, channel) = called.split_once('/').unwrap_or((&called, ""));
            let name = name.split_once(':').map_or(name, |(name, _version)| name);
            let own = &self.session.transaction;
            if !channel.is_empty() && channel != own.channel_id {
                return Err(format!(
                    "could not get application config for channel {channel}"
                ));
            }
            if self.stack.iter().any(|waiting| waiting == name) {
                return Err(format!(
                    "execute failed: error sending: txid: {}({}) exists",
                    own.tx_id, own.channel_id
                ));
            }
            let others = self.session.ledger.lock().others.get(name).cloned();
            let callee = others.ok_or_else(|| {
                format!(
                    "execute failed: invalid invocation: [channel {}] failed to get chaincode \
                     container info for {name}: chaincode {name} not found",
                    own.channel_id
                )
            })?;
            let transaction = Transaction {
                args: spec.input.map(|input| input.args).unwrap_or_default(),
                nested: true,
                ..own.clone()
            };
            let mut stack = self.stack.clone();
            stack.push(name.to_owned());
            let link = Self::new(Arc::clone(&self.session), stack);
            let stub = Stub::new(transaction, CAPABILITIES, Link::Memory(link));
            let response: Response = callee.invoke(&stub).await.into();
            let message = ChaincodeMessage {
                r#type: Type::Completed.into(),
                payload: response.encode_to_vec(),
                ..ChaincodeMessage::default()
            };
            Ok(message.encode_to_vec())
        })
    }
}

impl MemoryLedger {
    /// A transaction over the state of now.
    pub(super) fn start(&self, tx: Tx) -> (Transaction, Simulation) {
        let mut inner = self.lock();
        let count = inner.simulations;
        inner.simulations += 1;
        let creator = tx.creator.unwrap_or_else(|| self.creator.clone());
        let seed = [&creator, count.to_be_bytes().as_slice()].concat();
        let tx_id = tx.tx_id.unwrap_or_else(|| hex(&state::sha256(&seed)));
        let timestamp = tx.timestamp.or(self.timestamp).unwrap_or(Timestamp {
            seconds: GENESIS_SECONDS.saturating_add_unsigned(count),
            nanos: 0,
        });
        let mut transient: BTreeMap<_, _> = self.transient.clone();
        transient.extend(tx.transient);
        let simulation = Simulation::new(
            Arc::clone(&inner.state),
            &self.shared.channel_id,
            &tx_id,
            msp_id(&creator),
            inner.collections.clone(),
        );
        let transaction = Transaction {
            channel_id: self.shared.channel_id.clone(),
            tx_id,
            args: tx.args,
            decorations: tx.decorations,
            transient,
            creator,
            timestamp,
            binding: state::sha256(&seed),
            signed_proposal: None,
            nested: false,
        };
        (transaction, simulation)
    }
}

fn msp_id(creator: &[u8]) -> String {
    let identity = fabric_protos::msp::SerializedIdentity::decode(creator);
    identity.map(|identity| identity.mspid).unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
