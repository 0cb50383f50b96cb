//! The chaincode's side of the stream as a state machine: messages in, actions out.
//!
//! Nothing here waits, sends or reads a clock. `server::connection` feeds the machine what
//! arrives from the peer, what contracts ask for and when they end, and performs the actions it
//! gets back. Rules that live here and nowhere else:
//!
//! - The peer drops a second request of a transaction whose first is unanswered, without a word.
//!   So each transaction, known by channel and transaction ID, has at most one request on the
//!   wire; further ones wait in a queue.
//! - A caller that stops waiting does not take its request back from the wire. The reply is still
//!   awaited, thrown away, and only then the next request goes out. A request that was only
//!   queued is not sent.
//! - The result of a transaction goes out after the reply to its last request.
//! - When the stream ends, every waiting caller is told.
//! - A proposal that arrives again while its first run is still going means that the peer has
//!   given the first run up: that run is cut off and the repetition refused, because the peer
//!   could not tell their requests apart.

use std::collections::{HashMap, VecDeque};

use fabric_protos::protos::{ChaincodeId, ChaincodeMessage, Response, chaincode_message::Type};
use prost::Message as _;

mod action;
mod run;
#[cfg(test)]
mod tests;

pub(crate) use action::{
    Action, Capabilities, HandlerLimits, Invocation, Notice, Outcome, ProtocolError, Refusal,
    Request, RunId, Stage, TransactionKey, Waiter,
};
use run::Run;

/// Part of the peer's error text when it no longer knows a transaction.
const NO_LEDGER_CONTEXT: &str = "no ledger context";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// REGISTER is out.
    Created,
    /// REGISTERED has come.
    Established,
    /// READY has come.
    Ready,
    /// No more transactions are taken.
    Draining,
    /// The stream is gone.
    Ended,
}

/// The state machine of one stream.
#[derive(Debug)]
pub(crate) struct Handler<W> {
    state: State,
    capabilities: Capabilities,
    limits: HandlerLimits,
    runs: HashMap<TransactionKey, Run<W>>,
    waiting: VecDeque<Invocation>,
    next_serial: u64,
}

impl<W: Waiter> Handler<W> {
    /// A stream that has just been opened. The action registers the chaincode at the peer.
    pub(crate) fn open(package_id: &str, limits: HandlerLimits) -> (Self, Action<W>) {
        let id = ChaincodeId {
            name: package_id.to_owned(),
            ..ChaincodeId::default()
        };
        let register = ChaincodeMessage {
            r#type: Type::Register.into(),
            payload: id.encode_to_vec(),
            ..ChaincodeMessage::default()
        };
        let handler = Self {
            state: State::Created,
            capabilities: Capabilities::default(),
            limits,
            runs: HashMap::new(),
            waiting: VecDeque::new(),
            next_serial: 0,
        };
        (handler, Action::Send(register))
    }

    /// Takes a message from the peer.
    pub(crate) fn on_message(
        &mut self,
        message: ChaincodeMessage,
    ) -> Result<Vec<Action<W>>, ProtocolError> {
        let kind = Type::try_from(message.r#type);
        if kind == Ok(Type::Keepalive) && self.state != State::Ended {
            return Ok(vec![Action::Send(message)]);
        }
        match self.state {
            State::Created => self.on_created(kind, &message),
            State::Established => self.on_established(kind, &message),
            State::Ready | State::Draining => Ok(self.on_ready(kind, message)),
            State::Ended => Ok(vec![]),
        }
    }

    fn on_created(
        &mut self,
        kind: Result<Type, prost::UnknownEnumValue>,
        message: &ChaincodeMessage,
    ) -> Result<Vec<Action<W>>, ProtocolError> {
        match kind {
            Ok(Type::Registered) => {
                self.state = State::Established;
                Ok(vec![Action::Note(Notice::Registered)])
            }
            Ok(Type::Error) => Err(ProtocolError::RegistrationRefused {
                message: String::from_utf8_lossy(&message.payload).into_owned(),
            }),
            _ => Err(ProtocolError::Unexpected {
                kind: message.r#type,
                awaited: "REGISTERED",
            }),
        }
    }

    fn on_established(
        &mut self,
        kind: Result<Type, prost::UnknownEnumValue>,
        message: &ChaincodeMessage,
    ) -> Result<Vec<Action<W>>, ProtocolError> {
        match kind {
            Ok(Type::Ready) => {
                self.state = State::Ready;
                self.capabilities = Capabilities::decode(&message.payload);
                Ok(vec![Action::Note(Notice::Ready(self.capabilities))])
            }
            _ => Err(ProtocolError::Unexpected {
                kind: message.r#type,
                awaited: "READY",
            }),
        }
    }

    fn on_ready(
        &mut self,
        kind: Result<Type, prost::UnknownEnumValue>,
        message: ChaincodeMessage,
    ) -> Vec<Action<W>> {
        match kind {
            Ok(Type::Init) => self.on_invocation(Stage::Init, message),
            Ok(Type::Transaction) => self.on_invocation(Stage::Transaction, message),
            Ok(kind @ (Type::Response | Type::Error)) => self.on_reply(kind, message),
            _ => vec![Action::Note(Notice::Ignored {
                kind: message.r#type,
            })],
        }
    }

    fn on_invocation(&mut self, stage: Stage, message: ChaincodeMessage) -> Vec<Action<W>> {
        let key = TransactionKey {
            channel_id: message.channel_id,
            tx_id: message.txid,
        };
        if self.state == State::Draining {
            return vec![failure(&key, "the chaincode is shutting down")];
        }
        if let Some(actions) = self.refuse_repetition(&key) {
            return actions;
        }
        let invocation = Invocation {
            run: RunId {
                key,
                serial: self.next_serial,
            },
            stage,
            input: message.payload,
            proposal: message.proposal,
            capabilities: self.capabilities,
        };
        self.next_serial += 1;
        if self.runs.len() < self.limits.running || self.is_nested(&invocation.run.key) {
            return vec![self.start(invocation)];
        }
        if self.waiting.len() < self.limits.waiting {
            self.waiting.push_back(invocation);
            return vec![];
        }
        let key = invocation.run.key;
        let busy = Outcome::Completed {
            response: Response {
                status: crate::response::STATUS_BUSY,
                message: "the chaincode is busy: too many transactions wait".to_owned(),
                payload: vec![],
            },
            event: None,
        };
        let busy = Action::Send(result_message(&key, busy));
        vec![busy, Action::Note(Notice::Overloaded { key })]
    }

    /// A transaction that this chaincode itself caused, through another channel, has to run even
    /// when all places are taken: its caller holds one of them until it is done.
    fn is_nested(&self, key: &TransactionKey) -> bool {
        self.runs.keys().any(|running| running.tx_id == key.tx_id)
    }

    fn refuse_repetition(&mut self, key: &TransactionKey) -> Option<Vec<Action<W>>> {
        // What only waits for a place has asked the peer nothing: the repetition replaces it.
        self.waiting.retain(|waiting| waiting.run.key != *key);
        let run = self.runs.get_mut(key)?;
        let mut actions = vec![
            failure(key, "an earlier run of this transaction is still ending"),
            Action::Note(Notice::Repeated { key: key.clone() }),
        ];
        actions.extend(run.cut_off().map(|waiter| Action::Answer {
            waiter,
            outcome: Err(Refusal::TransactionGone),
        }));
        actions.push(Action::Abort(RunId {
            key: key.clone(),
            serial: run.serial,
        }));
        Some(actions)
    }

    fn start(&mut self, invocation: Invocation) -> Action<W> {
        let run = Run::new(invocation.run.serial);
        self.runs.insert(invocation.run.key.clone(), run);
        Action::Start(invocation)
    }

    fn on_reply(&mut self, kind: Type, message: ChaincodeMessage) -> Vec<Action<W>> {
        let key = TransactionKey {
            channel_id: message.channel_id,
            tx_id: message.txid,
        };
        let Some(waiter) = self.runs.get_mut(&key).and_then(Run::take_outstanding) else {
            return vec![Action::Note(Notice::StrayReply { kind, key })];
        };
        let outcome = if kind == Type::Response {
            Ok(message.payload)
        } else {
            Err(refusal(&message.payload))
        };
        let mut actions = Vec::with_capacity(2);
        if let Some(waiter) = waiter {
            actions.push(Action::Answer { waiter, outcome });
        }
        actions.extend(self.advance(&key));
        actions
    }

    /// Takes a request from a running contract. Without a waiter nobody minds the reply.
    pub(crate) fn on_request(
        &mut self,
        id: &RunId,
        request: Request,
        waiter: Option<W>,
    ) -> Vec<Action<W>> {
        let refused = |waiter: Option<W>, refusal| {
            let answer = |waiter| Action::Answer {
                waiter,
                outcome: Err(refusal),
            };
            waiter.map(answer).into_iter().collect()
        };
        if self.state == State::Ended {
            return refused(waiter, Refusal::StreamLost);
        }
        let limit = self.limits.requests;
        let run = self.runs.get_mut(&id.key);
        let Some(run) = run.filter(|run| run.serial == id.serial && !run.is_cut_off()) else {
            return refused(waiter, Refusal::TransactionGone);
        };
        if run.queued() >= limit {
            return refused(waiter, Refusal::TooMany { limit });
        }
        run.enqueue(request, waiter);
        self.advance(&id.key)
    }

    /// Takes the end of a run.
    pub(crate) fn on_finish(&mut self, id: &RunId, outcome: Outcome) -> Vec<Action<W>> {
        let run = self.runs.get_mut(&id.key);
        let Some(run) = run.filter(|run| run.serial == id.serial) else {
            return vec![];
        };
        run.finish(outcome);
        self.advance(&id.key)
    }

    /// Sends what may be sent of a transaction, and starts the next one when it is over.
    fn advance(&mut self, key: &TransactionKey) -> Vec<Action<W>> {
        let Some(run) = self.runs.get_mut(key) else {
            return vec![];
        };
        if let Some(request) = run.next_request() {
            return vec![Action::Send(request_message(key, request))];
        }
        let Some(outcome) = run.take_result() else {
            return vec![];
        };
        self.runs.remove(key);
        let mut actions = Vec::with_capacity(2);
        if let Some(outcome) = outcome {
            actions.push(Action::Send(result_message(key, outcome)));
        }
        if self.runs.len() < self.limits.running
            && let Some(next) = self.waiting.pop_front()
        {
            actions.push(self.start(next));
        }
        actions
    }

    /// The time in which a peer normally registers a chaincode has passed.
    pub(crate) fn on_patience_over(&self) -> Option<Notice> {
        (self.state == State::Created).then_some(Notice::RegistrationSlow)
    }

    /// Takes no more transactions; those that wait for a place are refused.
    pub(crate) fn on_shutdown(&mut self) -> Vec<Action<W>> {
        if self.state != State::Ended {
            self.state = State::Draining;
        }
        let refuse =
            |waiting: Invocation| failure(&waiting.run.key, "the chaincode is shutting down");
        self.waiting.drain(..).map(refuse).collect()
    }

    /// The stream is gone: every caller is told, nothing is sent any more.
    pub(crate) fn on_stream_end(&mut self) -> Vec<Action<W>> {
        self.state = State::Ended;
        self.waiting.clear();
        let waiters = self.runs.drain().flat_map(|(_, mut run)| {
            run.cut_off()
                .chain(run.take_outstanding().flatten())
                .collect::<Vec<_>>()
        });
        let answer = |waiter| Action::Answer {
            waiter,
            outcome: Err(Refusal::StreamLost),
        };
        waiters.map(answer).collect()
    }

    /// Whether no transaction runs.
    pub(crate) fn is_idle(&self) -> bool {
        self.runs.is_empty()
    }
}

fn refusal(payload: &[u8]) -> Refusal {
    let message = String::from_utf8_lossy(payload).into_owned();
    if message.contains(NO_LEDGER_CONTEXT) {
        Refusal::TransactionGone
    } else {
        Refusal::Peer(message)
    }
}

fn request_message(key: &TransactionKey, request: Request) -> ChaincodeMessage {
    ChaincodeMessage {
        r#type: request.kind.into(),
        payload: request.payload,
        txid: key.tx_id.clone(),
        channel_id: key.channel_id.clone(),
        ..ChaincodeMessage::default()
    }
}

fn result_message(key: &TransactionKey, outcome: Outcome) -> ChaincodeMessage {
    let (kind, payload, chaincode_event) = match outcome {
        Outcome::Completed { response, event } => {
            (Type::Completed, response.encode_to_vec(), event)
        }
        Outcome::Failed { message } => (Type::Error, message.into_bytes(), None),
    };
    ChaincodeMessage {
        r#type: kind.into(),
        payload,
        txid: key.tx_id.clone(),
        channel_id: key.channel_id.clone(),
        chaincode_event,
        ..ChaincodeMessage::default()
    }
}

fn failure<W>(key: &TransactionKey, message: &str) -> Action<W> {
    let message = message.to_owned();
    Action::Send(result_message(key, Outcome::Failed { message }))
}
