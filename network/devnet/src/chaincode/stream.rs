//! One ready stream: which message belongs to which running transaction.
//!
//! A transaction is known by channel and transaction ID, and may have one request outstanding;
//! a second one is dropped without an answer, as a peer does. Everything that runs fails when
//! the stream ends.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use fabric_protos::protos::ChaincodeMessage;
use fabric_protos::protos::chaincode_message::Type;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Streaming;

use super::error::{InvokeError, RequestError};

/// Messages of one transaction waiting for its task: one request and one ending fit always.
const TRANSACTION_MESSAGES: usize = 4;

type TransactionKey = (String, String);

/// A chaincode that has registered and may be sent transactions.
#[derive(Debug)]
pub(crate) struct ChaincodeStream {
    outgoing: mpsc::Sender<ChaincodeMessage>,
    /// Held for single map operations.
    running: Mutex<HashMap<TransactionKey, Running>>,
    ended: CancellationToken,
}

#[derive(Debug)]
struct Running {
    messages: mpsc::Sender<ChaincodeMessage>,
    /// Whether a request of this transaction is being answered.
    busy: Arc<AtomicBool>,
}

/// What to do with a message that arrived.
#[derive(Debug, Eq, PartialEq)]
enum Route {
    Ignore,
    Deliver,
    AnswerNoContext,
    EndStream,
}

impl ChaincodeStream {
    /// Starts reading; `ended` is cancelled when the stream is over, and ends it when cancelled.
    pub(super) fn spawn(
        outgoing: mpsc::Sender<ChaincodeMessage>,
        incoming: Streaming<ChaincodeMessage>,
        ended: CancellationToken,
        tasks: &TaskTracker,
    ) -> Arc<Self> {
        let stream = Arc::new(Self {
            outgoing,
            running: Mutex::default(),
            ended,
        });
        tasks.spawn(Arc::clone(&stream).read(incoming));
        stream
    }

    pub(super) fn is_terminated(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Makes a transaction known, so that its messages find their way.
    pub(super) fn begin(
        self: &Arc<Self>,
        channel: &str,
        tx_id: &str,
    ) -> Result<Transaction, InvokeError> {
        let key = (channel.to_owned(), tx_id.to_owned());
        let (sender, messages) = mpsc::channel(TRANSACTION_MESSAGES);
        let busy = Arc::new(AtomicBool::new(false));
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.contains_key(&key) {
            return Err(InvokeError::Exists {
                tx_id: tx_id.to_owned(),
                channel: channel.to_owned(),
            });
        }
        let entry = Running {
            messages: sender,
            busy: Arc::clone(&busy),
        };
        running.insert(key.clone(), entry);
        Ok(Transaction {
            stream: Arc::clone(self),
            key,
            messages,
            busy,
            started: false,
        })
    }

    async fn read(self: Arc<Self>, mut incoming: Streaming<ChaincodeMessage>) {
        loop {
            let message = tokio::select! {
                () = self.ended.cancelled() => break,
                message = incoming.message() => message,
            };
            match message {
                Ok(Some(message)) => {
                    if !self.dispatch(message).await {
                        break;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::debug!(%error, "chaincode stream failed");
                    break;
                }
            }
        }
        self.ended.cancel();
    }

    async fn dispatch(&self, message: ChaincodeMessage) -> bool {
        let kind = message.r#type();
        match self.route(&message) {
            Route::Ignore => true,
            Route::Deliver => {
                self.deliver(message);
                true
            }
            Route::AnswerNoContext => {
                let refusal = refusal(&message, &RequestError::NoLedgerContext);
                self.outgoing.send(refusal).await.is_ok()
            }
            Route::EndStream => {
                let kind = kind.as_str_name();
                tracing::error!(
                    kind,
                    tx_id = message.txid,
                    "unexpected message, ending stream"
                );
                false
            }
        }
    }

    fn route(&self, message: &ChaincodeMessage) -> Route {
        let kind = message.r#type();
        if kind == Type::Keepalive {
            return Route::Ignore;
        }
        let is_end = matches!(kind, Type::Completed | Type::Error);
        if !is_end && !is_request(kind) {
            return Route::EndStream;
        }
        let key = (message.channel_id.clone(), message.txid.clone());
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match running.get(&key) {
            None if is_end => Route::Ignore,
            None => Route::AnswerNoContext,
            Some(_) if is_end => Route::Deliver,
            Some(transaction) if transaction.busy.swap(true, Ordering::AcqRel) => {
                tracing::error!(
                    tx_id = message.txid,
                    kind = kind.as_str_name(),
                    "another request of this transaction is pending, cannot process"
                );
                Route::Ignore
            }
            Some(_) => Route::Deliver,
        }
    }

    fn deliver(&self, message: ChaincodeMessage) {
        let key = (message.channel_id.clone(), message.txid.clone());
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(transaction) = running.get(&key)
            && transaction.messages.try_send(message).is_err()
        {
            tracing::error!(tx_id = key.1, "transaction takes no more messages");
        }
    }
}

/// One transaction on a stream; forgotten by the stream when dropped.
#[derive(Debug)]
pub(super) struct Transaction {
    stream: Arc<ChaincodeStream>,
    key: TransactionKey,
    messages: mpsc::Receiver<ChaincodeMessage>,
    busy: Arc<AtomicBool>,
    started: bool,
}

impl Transaction {
    pub(super) async fn send(&self, message: ChaincodeMessage) -> Result<(), InvokeError> {
        let sent = self.stream.outgoing.send(message);
        tokio::select! {
            () = self.stream.ended.cancelled() => Err(self.terminated()),
            sent = sent => sent.map_err(|_| self.terminated()),
        }
    }

    /// The next request or the ending of this transaction.
    pub(super) async fn next(&mut self) -> Result<ChaincodeMessage, InvokeError> {
        let message = tokio::select! {
            biased;
            message = self.messages.recv() => message,
            () = self.stream.ended.cancelled() => None,
        };
        let message = message.ok_or_else(|| self.terminated())?;
        self.started = true;
        Ok(message)
    }

    /// Answers the outstanding request; the chaincode may then send the next one.
    pub(super) async fn answer(&self, message: ChaincodeMessage) -> Result<(), InvokeError> {
        self.busy.store(false, Ordering::Release);
        self.send(message).await
    }

    /// Answers a request that nobody will answer any more: its caller went away in the middle of it. Without that
    /// the chaincode would wait as long as its stream lasts.
    fn cut_off(&self) {
        let cause = RequestError::NoLedgerContext;
        let text = format!("transaction ID: {}: {cause}", self.key.1);
        let answer = error(&self.key, text);
        if let Err(mpsc::error::TrySendError::Full(answer)) = self.stream.outgoing.try_send(answer)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let outgoing = self.stream.outgoing.clone();
            runtime.spawn(async move { outgoing.send(answer).await });
        }
    }

    fn terminated(&self) -> InvokeError {
        InvokeError::Terminated {
            started: self.started,
        }
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let mut running = self
            .stream
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        running.remove(&self.key);
        drop(running);
        if self.busy.load(Ordering::Acquire) {
            self.cut_off();
        }
    }
}

/// Whether a chaincode may send this while a transaction runs, expecting an answer.
fn is_request(kind: Type) -> bool {
    matches!(
        kind,
        Type::GetState
            | Type::PutState
            | Type::DelState
            | Type::InvokeChaincode
            | Type::GetStateByRange
            | Type::GetQueryResult
            | Type::QueryStateNext
            | Type::QueryStateClose
            | Type::GetHistoryForKey
            | Type::GetStateMetadata
            | Type::PutStateMetadata
            | Type::GetPrivateDataHash
            | Type::PurgePrivateData
            | Type::WriteBatchState
            | Type::GetStateMultiple
    )
}

/// The positive answer to a request.
pub(super) fn response(request: &ChaincodeMessage, payload: Vec<u8>) -> ChaincodeMessage {
    ChaincodeMessage {
        r#type: Type::Response.into(),
        payload,
        txid: request.txid.clone(),
        channel_id: request.channel_id.clone(),
        ..ChaincodeMessage::default()
    }
}

/// The negative answer to a request.
pub(super) fn refusal(request: &ChaincodeMessage, cause: &RequestError) -> ChaincodeMessage {
    let kind = request.r#type().as_str_name();
    let text = format!("{kind} failed: transaction ID: {}: {cause}", request.txid);
    error(&(request.channel_id.clone(), request.txid.clone()), text)
}

fn error((channel, tx_id): &TransactionKey, text: String) -> ChaincodeMessage {
    ChaincodeMessage {
        r#type: Type::Error.into(),
        payload: text.into_bytes(),
        txid: tx_id.clone(),
        channel_id: channel.clone(),
        ..ChaincodeMessage::default()
    }
}
