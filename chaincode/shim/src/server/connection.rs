//! One peer's stream: feeds the handler, performs its actions.

use std::{collections::HashMap, sync::Arc, time::Duration};

use fabric_protos::protos::ChaincodeMessage;
use tokio::{
    sync::{mpsc, watch},
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep_until, timeout_at},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{MessageStream, run};
use crate::{
    Chaincode, ServerConfig,
    handler::{
        Action, Capabilities, Handler, HandlerLimits, Notice, Outcome, ProtocolError, RunId,
    },
    link::{Command, ReplySender},
};

/// Messages on their way to the peer, beyond what the transport buffers.
const OUTBOUND_MESSAGES: usize = 256;
/// Requests on their way from transactions to the stream's task.
const COMMANDS: usize = 256;

/// The task of one stream.
pub(super) struct Connection {
    inbound: Streaming<ChaincodeMessage>,
    outbound: mpsc::Sender<Result<ChaincodeMessage, Status>>,
    commands: mpsc::Receiver<Command>,
    command_sender: mpsc::Sender<Command>,
    handler: Handler<ReplySender>,
    runs: JoinSet<(RunId, Outcome)>,
    aborts: HashMap<RunId, AbortHandle>,
    config: Arc<ServerConfig>,
    chaincode: Arc<Chaincode>,
    stopping: watch::Receiver<bool>,
}

/// Why a stream is over.
enum End {
    /// The peer closed it, or it broke.
    Lost(Option<Status>),
    /// The peer broke the protocol.
    Protocol(ProtocolError),
    /// The server shuts down.
    Stopped,
}

impl Connection {
    /// A connection that has sent its registration.
    pub(super) fn open(
        inbound: Streaming<ChaincodeMessage>,
        config: Arc<ServerConfig>,
        chaincode: Arc<Chaincode>,
        stopping: watch::Receiver<bool>,
    ) -> (Self, MessageStream) {
        let limits = HandlerLimits {
            running: config.limits.running_transactions,
            waiting: config.limits.waiting_transactions,
            requests: config.limits.waiting_requests,
        };
        let (handler, register) = Handler::open(&config.chaincode_id, limits);
        let (outbound, receiver) = mpsc::channel(OUTBOUND_MESSAGES);
        let (command_sender, commands) = mpsc::channel(COMMANDS);
        let connection = Self {
            inbound,
            outbound,
            commands,
            command_sender,
            handler,
            runs: JoinSet::new(),
            aborts: HashMap::new(),
            config,
            chaincode,
            stopping,
        };
        if let Action::Send(message) = register {
            // The channel is new and empty, so there is room for one message.
            let _ = connection.outbound.try_send(Ok(message));
        }
        (connection, Box::pin(ReceiverStream::new(receiver)))
    }

    /// Runs until the stream is over and all its transactions have ended.
    pub(super) async fn run(mut self) {
        let end = self.serve().await;
        match &end {
            End::Lost(None) => tracing::info!("the peer closed the stream"),
            End::Lost(Some(status)) => tracing::warn!(%status, "the stream to the peer broke"),
            End::Protocol(error) => {
                tracing::error!(%error, "the stream cannot go on");
                let status = Status::failed_precondition(error.to_string());
                // When the peer does not read any more, it need not be told.
                let _ = self.outbound.try_send(Err(status));
            }
            End::Stopped => tracing::info!("the stream is ended for shutdown"),
        }
        // At shutdown the time that running transactions may take has passed already.
        let grace = match end {
            End::Stopped => Duration::ZERO,
            End::Lost(_) | End::Protocol(_) => self.config.limits.drain,
        };
        self.finish(grace).await;
    }

    async fn serve(&mut self) -> End {
        let registration_due = Instant::now() + self.config.limits.registration;
        let mut patient = true;
        let mut drain_until: Option<Instant> = None;
        loop {
            let idle = self.handler.is_idle();
            if drain_until.is_some() && idle {
                return End::Stopped;
            }
            let actions = tokio::select! {
                () = deadline(drain_until) => return End::Stopped,
                message = self.inbound.message() => match message {
                    Ok(Some(message)) => match self.handler.on_message(message) {
                        Ok(actions) => actions,
                        Err(error) => return End::Protocol(error),
                    },
                    Ok(None) => return End::Lost(None),
                    Err(status) => return End::Lost(Some(status)),
                },
                Some(command) = self.commands.recv() => {
                    self.handler.on_request(&command.run, command.request, command.waiter)
                }
                Some(joined) = self.runs.join_next(), if !self.runs.is_empty() => {
                    self.on_joined(joined)
                }
                () = stopped(&mut self.stopping), if drain_until.is_none() => {
                    drain_until = Some(Instant::now() + self.config.limits.drain);
                    self.handler.on_shutdown()
                }
                () = sleep_until(registration_due), if patient => {
                    patient = false;
                    self.handler.on_patience_over().map(Action::Note).into_iter().collect()
                }
            };
            if self.perform(actions).await.is_err() {
                return End::Lost(None);
            }
        }
    }

    /// A run that was aborted yields no outcome; its handle tells which it was.
    fn on_joined(
        &mut self,
        joined: Result<(RunId, Outcome), tokio::task::JoinError>,
    ) -> Vec<Action<ReplySender>> {
        match joined {
            Ok((id, outcome)) => {
                self.aborts.remove(&id);
                self.handler.on_finish(&id, outcome)
            }
            Err(error) => {
                let id = error.id();
                let known = self.aborts.iter().find(|(_, handle)| handle.id() == id);
                let Some(run) = known.map(|(run, _)| run.clone()) else {
                    return vec![];
                };
                self.aborts.remove(&run);
                let message = "the transaction was cut off".to_owned();
                self.handler.on_finish(&run, Outcome::Failed { message })
            }
        }
    }

    /// An error means that the peer reads no more.
    async fn perform(&mut self, actions: Vec<Action<ReplySender>>) -> Result<(), ()> {
        for action in actions {
            match action {
                Action::Send(message) => {
                    self.outbound.send(Ok(message)).await.map_err(|_| ())?;
                }
                Action::Start(invocation) => {
                    let id = invocation.run.clone();
                    let commands = self.command_sender.clone();
                    let chaincode = Arc::clone(&self.chaincode);
                    let task = run::execute(invocation, commands, chaincode);
                    let handle = self.runs.spawn(task);
                    self.aborts.insert(id, handle);
                }
                Action::Abort(id) => {
                    if let Some(handle) = self.aborts.get(&id) {
                        handle.abort();
                    }
                }
                Action::Answer { waiter, outcome } => {
                    // A caller that went away in the meantime wants no answer.
                    let _ = waiter.send(outcome);
                }
                Action::Note(notice) => self.log(&notice),
            }
        }
        Ok(())
    }

    /// Tells every waiting caller, closes the stream and joins the transactions.
    async fn finish(mut self, grace: Duration) {
        for action in self.handler.on_stream_end() {
            if let Action::Answer { waiter, outcome } = action {
                let _ = waiter.send(outcome);
            }
        }
        self.commands.close();
        drop(self.outbound);
        drop(self.commands);
        let until = Instant::now() + grace;
        while let Ok(Some(_)) = timeout_at(until, self.runs.join_next()).await {}
        self.runs.shutdown().await;
    }

    fn log(&self, notice: &Notice) {
        let chaincode_id = self.config.chaincode_id.as_str();
        match notice {
            Notice::Registered => tracing::info!(chaincode_id, "registered at the peer"),
            Notice::Ready(Capabilities {
                write_batch,
                get_multiple,
            }) => tracing::info!(?write_batch, ?get_multiple, "ready for transactions"),
            Notice::RegistrationSlow => tracing::warn!(
                chaincode_id,
                "the peer has not confirmed the registration; it may be waiting for another \
                 package ID than this one"
            ),
            Notice::StrayReply { kind, key } => {
                tracing::warn!(?kind, tx_id = key.tx_id, "dropped a reply nobody asked for");
            }
            Notice::Ignored { kind } => tracing::warn!(kind, "dropped a message of this type"),
            Notice::Repeated { key } => tracing::warn!(
                tx_id = key.tx_id,
                channel = key.channel_id,
                "the proposal came again while its first run was going; cut that run off"
            ),
            Notice::Overloaded { key } => tracing::warn!(
                tx_id = key.tx_id,
                channel = key.channel_id,
                "refused a transaction: too many wait"
            ),
        }
    }
}

/// Waits until the server shuts down or is gone.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
}

async fn deadline(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
