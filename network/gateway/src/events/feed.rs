//! The task behind a stream of events.

use std::future::Future;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use futures::{Stream, StreamExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::{Response, Status, Streaming};

use super::QUEUE;
use crate::error::EventsError;
use crate::network::Network;
use crate::rpc_status::{RpcCode, RpcStatus};

/// First pause before connecting again; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause before connecting again.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Attempts without any event between them, after which the stream ends: ten minutes or more.
const MAX_ATTEMPTS: usize = 64;

/// A kind of events: how to ask for them and what a message holds. It knows the position behind
/// the last event, so that asking again continues there.
pub(super) trait Source: Send + 'static {
    /// A message of the peer.
    type Message: Send + 'static;
    /// What the user gets.
    type Event: Send + 'static;

    /// Asks a peer for what follows the position. With peers written in Go it returns only when
    /// there is a first event.
    fn ask(
        &self,
        channel: tonic::transport::Channel,
    ) -> impl Future<Output = Result<Response<Streaming<Self::Message>>, AskError>> + Send;

    /// The events in a message, in order.
    fn read(&mut self, message: Self::Message) -> Result<Vec<Self::Event>, EventsError>;

    /// Moves the position behind an event.
    fn passed(&mut self, event: &Self::Event);
}

/// Why asking failed.
pub(super) enum AskError {
    Rpc(Status),
    Sign(fabric_msp::SignatureError),
}

impl From<Status> for AskError {
    fn from(status: Status) -> Self {
        Self::Rpc(status)
    }
}

impl From<fabric_msp::SignatureError> for AskError {
    fn from(error: fabric_msp::SignatureError) -> Self {
        Self::Sign(error)
    }
}

/// The receiving end; dropping it ends the task.
#[derive(Debug)]
pub(super) struct Feed<E> {
    events_rx: mpsc::Receiver<Result<E, EventsError>>,
    task: JoinHandle<()>,
}

impl<E: Send + 'static> Feed<E> {
    pub(super) fn start<S: Source<Event = E>>(network: Network, source: S) -> Self {
        let (events_tx, events_rx) = mpsc::channel(QUEUE);
        let task = tokio::spawn(run(network, source, events_tx));
        Self { events_rx, task }
    }

    pub(super) async fn next(&mut self) -> Option<Result<E, EventsError>> {
        self.events_rx.recv().await
    }

    pub(super) fn poll_next(
        &mut self,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<E, EventsError>>> {
        self.events_rx.poll_recv(context)
    }
}

impl<E> Drop for Feed<E> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Feeds the queue until it is closed or the events end for good.
async fn run<S: Source>(
    network: Network,
    mut source: S,
    events_tx: mpsc::Sender<Result<S::Event, EventsError>>,
) {
    let mut attempts = 0;
    let mut pauses = new_pauses();
    loop {
        let peers = &network.gateway.inner.peers;
        let (index, channel) = peers.current();
        let lost = match follow(&mut source, channel, &events_tx).await {
            Ended::Closed => return,
            Ended::Failed(error) => {
                // The user may be gone, and then nobody wants to know.
                let _ = events_tx.send(Err(error)).await;
                return;
            }
            Ended::Lost { status, progress } => {
                if progress {
                    attempts = 0;
                    pauses = new_pauses();
                }
                status
            }
        };
        attempts += 1;
        tracing::debug!(channel = network.channel(), error = %lost, attempts, "events interrupted");
        if attempts == MAX_ATTEMPTS {
            let _ = events_tx.send(Err(EventsError::Rpc(lost))).await;
            return;
        }
        peers.leave(index);
        tokio::select! {
            () = tokio::time::sleep(pauses.next().unwrap_or(LONGEST_PAUSE)) => {}
            () = events_tx.closed() => return,
        }
    }
}

fn new_pauses() -> backon::ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .without_max_times()
        .with_jitter()
        .build()
}

/// How one connection's stream ended.
enum Ended {
    /// The user dropped the stream.
    Closed,
    /// There is no use in asking again.
    Failed(EventsError),
    /// The connection was lost; `progress` says whether an event came before.
    Lost { status: RpcStatus, progress: bool },
}

async fn follow<S: Source>(
    source: &mut S,
    channel: tonic::transport::Channel,
    events_tx: &mpsc::Sender<Result<S::Event, EventsError>>,
) -> Ended {
    let asked = tokio::select! {
        asked = source.ask(channel) => asked,
        () = events_tx.closed() => return Ended::Closed,
    };
    let messages = match asked {
        Ok(response) => response.into_inner(),
        Err(AskError::Sign(error)) => return Ended::Failed(error.into()),
        Err(AskError::Rpc(status)) => return ended(RpcStatus::read(&status), false),
    };
    deliver(source, messages, events_tx).await
}

async fn deliver<S: Source>(
    source: &mut S,
    mut messages: impl Stream<Item = Result<S::Message, Status>> + Unpin,
    events_tx: &mpsc::Sender<Result<S::Event, EventsError>>,
) -> Ended {
    let mut progress = false;
    loop {
        let message = tokio::select! {
            message = messages.next() => message,
            () = events_tx.closed() => return Ended::Closed,
        };
        let message = match message {
            Some(Ok(message)) => message,
            Some(Err(status)) => return ended(RpcStatus::read(&status), progress),
            None => {
                let status = RpcStatus::new(RpcCode::Unavailable, "the peer ended the stream");
                return Ended::Lost { status, progress };
            }
        };
        let events = match source.read(message) {
            Ok(events) => events,
            Err(error) if is_passing(&error) => {
                let status = RpcStatus::new(RpcCode::Unavailable, error.to_string());
                return Ended::Lost { status, progress };
            }
            Err(error) => return Ended::Failed(error),
        };
        for event in events {
            source.passed(&event);
            if events_tx.send(Ok(event)).await.is_err() {
                return Ended::Closed;
            }
            progress = true;
        }
    }
}

/// Whether another peer may still deliver: Fabric's `SERVICE_UNAVAILABLE`.
fn is_passing(error: &EventsError) -> bool {
    let unavailable = fabric_protos::common::Status::ServiceUnavailable as i32;
    matches!(error, EventsError::Deliver { status } if *status == unavailable)
}

fn ended(status: RpcStatus, progress: bool) -> Ended {
    // A peer that goes down ends its streams with whatever is at hand; only what is said about
    // the request itself is final.
    let refused = matches!(
        status.code,
        RpcCode::InvalidArgument
            | RpcCode::PermissionDenied
            | RpcCode::Unauthenticated
            | RpcCode::NotFound
            | RpcCode::Unimplemented
            | RpcCode::FailedPrecondition
            | RpcCode::OutOfRange
    );
    if refused {
        return Ended::Failed(EventsError::Rpc(status));
    }
    Ended::Lost { status, progress }
}
