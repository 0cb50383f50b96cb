//! The way from a stub to the ledger: a peer's stream, or the memory ledger of tests.

use fabric_protos::protos::chaincode_message::Type;
use tokio::sync::{mpsc, oneshot};

use crate::{
    StubError,
    handler::{Refusal, Request, RunId, Waiter},
    testing::MemoryLink,
};

/// Who waits for a reply from the peer.
pub(crate) type ReplySender = oneshot::Sender<Result<Vec<u8>, Refusal>>;

impl Waiter for ReplySender {
    fn is_abandoned(&self) -> bool {
        self.is_closed()
    }
}

/// A request on its way to the stream's task.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) run: RunId,
    pub(crate) request: Request,
    pub(crate) waiter: Option<ReplySender>,
}

/// Where a stub's requests go.
#[derive(Debug)]
pub(crate) enum Link {
    Peer(PeerLink),
    Memory(MemoryLink),
}

/// The link of one run to its stream.
#[derive(Debug)]
pub(crate) struct PeerLink {
    pub(crate) run: RunId,
    pub(crate) commands: mpsc::Sender<Command>,
}

impl Link {
    /// Asks and waits for the reply's payload.
    pub(crate) async fn request(&self, kind: Type, payload: Vec<u8>) -> Result<Vec<u8>, StubError> {
        let request = Request { kind, payload };
        match self {
            Self::Peer(link) => link.request(request).await,
            Self::Memory(link) => link.request(request).await,
        }
    }

    /// Asks without waiting. The request may get lost, so it must not matter.
    pub(crate) fn post(&self, kind: Type, payload: Vec<u8>) {
        let request = Request { kind, payload };
        match self {
            Self::Peer(link) => {
                let command = Command {
                    run: link.run.clone(),
                    request,
                    waiter: None,
                };
                if link.commands.try_send(command).is_err() {
                    tracing::debug!(tx_id = link.run.key.tx_id, ?kind, "request not posted");
                }
            }
            Self::Memory(link) => link.post(request),
        }
    }
}

impl PeerLink {
    async fn request(&self, request: Request) -> Result<Vec<u8>, StubError> {
        let (waiter, reply) = oneshot::channel();
        let command = Command {
            run: self.run.clone(),
            request,
            waiter: Some(waiter),
        };
        let sent = self.commands.send(command).await;
        sent.map_err(|_| StubError::StreamLost)?;
        let outcome = reply.await.map_err(|_| StubError::StreamLost)?;
        outcome.map_err(|refusal| self.error(refusal))
    }

    fn error(&self, refusal: Refusal) -> StubError {
        let tx_id = self.run.key.tx_id.clone();
        match refusal {
            Refusal::Peer(message) => StubError::Refused { message },
            Refusal::TransactionGone => StubError::TransactionGone { tx_id },
            Refusal::StreamLost => StubError::StreamLost,
            Refusal::TooMany { limit } => StubError::TooManyRequests { tx_id, limit },
        }
    }
}
