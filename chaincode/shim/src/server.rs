//! Chaincode as a service: peers connect, each over one stream.
//!
//! This is the adapter around `handler`: it moves messages, starts tasks and keeps time, and
//! decides nothing about the protocol.

use std::{future::Future, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use fabric_protos::protos::{
    ChaincodeMessage,
    chaincode_server::{Chaincode as ChaincodeService, ChaincodeServer},
};
use futures::Stream;
use tokio::{net::TcpListener, sync::watch, time::timeout};
use tokio_util::task::TaskTracker;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Certificate, Identity, ServerTlsConfig, server::TcpIncoming},
};

use crate::{Chaincode, ServerConfig, ServerError, TlsConfig};

mod connection;
mod run;

/// How often an idle connection is probed.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(60);
/// How long the answer to a probe may take.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long connections may take to close after their streams have ended.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a peer may take for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// A chaincode server that listens but does not serve yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    local_addr: SocketAddr,
    config: ServerConfig,
    chaincode: Arc<Chaincode>,
}

impl Server {
    /// Takes the socket and checks contracts and TLS.
    ///
    /// # Errors
    ///
    /// [`ServerError`].
    pub async fn bind(config: ServerConfig, chaincode: Chaincode) -> Result<Self, ServerError> {
        chaincode.check()?;
        transport(config.tls.as_ref())?;
        let address = config.address;
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|source| ServerError::Listen { address, source })?;
        let local_addr = listener.local_addr();
        let local_addr = local_addr.map_err(|source| ServerError::Listen { address, source })?;
        Ok(Self {
            listener,
            local_addr,
            config,
            chaincode: Arc::new(chaincode),
        })
    }

    /// Where peers can connect.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves until `shutdown` is done. Then no new transactions are taken, running ones get
    /// [`crate::Limits::drain`] to end, and the streams are ended from this side.
    ///
    /// # Errors
    ///
    /// [`ServerError::Transport`] or [`ServerError::Tls`].
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<(), ServerError> {
        let (stop, stopping) = watch::channel(false);
        let connections = TaskTracker::new();
        let close_within = self.config.limits.drain + CLOSE_TIMEOUT;
        let mut transport = transport(self.config.tls.as_ref())?;
        let service = Service {
            config: Arc::new(self.config),
            chaincode: self.chaincode,
            stopping: stopping.clone(),
            connections: connections.clone(),
        };
        let incoming = TcpIncoming::from(self.listener)
            .with_nodelay(Some(true))
            .with_keepalive(Some(KEEPALIVE_INTERVAL));
        let serving = transport
            .add_service(service.into_server())
            .serve_with_incoming_shutdown(incoming, stopped(stopping));
        tokio::pin!(serving);
        let served = tokio::select! {
            served = &mut serving => served,
            () = shutdown => {
                stop.send_replace(true);
                // A peer that does not close its connection is left behind.
                timeout(close_within, serving).await.unwrap_or(Ok(()))
            }
        };
        stop.send_replace(true);
        connections.close();
        // A contract that never waits cannot be stopped, only left behind.
        if timeout(close_within, connections.wait()).await.is_err() {
            tracing::error!("transactions did not end; they are left behind");
        }
        served.map_err(|source| ServerError::Transport { source })
    }
}

/// Waits until the server shuts down or is gone.
async fn stopped(mut stopping: watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
}

fn transport(tls: Option<&TlsConfig>) -> Result<tonic::transport::Server, ServerError> {
    let server = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .http2_adaptive_window(Some(true));
    match tls {
        None => Ok(server),
        Some(tls) => {
            let configured = server.tls_config(tls_config(tls));
            configured.map_err(|source| ServerError::Tls { source })
        }
    }
}

fn tls_config(tls: &TlsConfig) -> ServerTlsConfig {
    let identity = Identity::from_pem(&tls.certificate_pem, &tls.key_pem);
    let config = ServerTlsConfig::new()
        .identity(identity)
        .timeout(HANDSHAKE_TIMEOUT);
    match &tls.client_roots_pem {
        Some(roots) => config.client_ca_root(Certificate::from_pem(roots)),
        None => config,
    }
}

#[derive(Debug)]
struct Service {
    config: Arc<ServerConfig>,
    chaincode: Arc<Chaincode>,
    stopping: watch::Receiver<bool>,
    connections: TaskTracker,
}

impl Service {
    fn into_server(self) -> ChaincodeServer<Self> {
        let limit = self.config.limits.message_bytes;
        ChaincodeServer::new(self)
            .max_decoding_message_size(limit)
            .max_encoding_message_size(limit)
    }
}

type MessageStream = Pin<Box<dyn Stream<Item = Result<ChaincodeMessage, Status>> + Send>>;

#[tonic::async_trait]
impl ChaincodeService for Service {
    type ConnectStream = MessageStream;

    async fn connect(
        &self,
        request: Request<Streaming<ChaincodeMessage>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let peer = request.remote_addr();
        let (connection, outbound) = connection::Connection::open(
            request.into_inner(),
            Arc::clone(&self.config),
            Arc::clone(&self.chaincode),
            self.stopping.clone(),
        );
        let span = tracing::info_span!("stream", ?peer);
        self.connections
            .spawn(tracing::Instrument::instrument(connection.run(), span));
        Ok(Response::new(outbound))
    }
}
