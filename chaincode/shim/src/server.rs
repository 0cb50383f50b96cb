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
use tokio::{net::TcpListener, sync::watch};
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
        if let Some(tls) = &config.tls {
            let server = tonic::transport::Server::builder().tls_config(tls_config(tls));
            server.map_err(|source| ServerError::Tls { source })?;
        }
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
        let tracker = TaskTracker::new();
        let limit = self.config.limits.message_bytes;
        let tls = self.config.tls.clone();
        let service = Service {
            config: Arc::new(self.config),
            chaincode: self.chaincode,
            stopping: stopping.clone(),
            connections: tracker.clone(),
        };
        let service = ChaincodeServer::new(service)
            .max_decoding_message_size(limit)
            .max_encoding_message_size(limit);
        let mut server = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .http2_adaptive_window(Some(true));
        if let Some(tls) = &tls {
            let configured = server.tls_config(tls_config(tls));
            server = configured.map_err(|source| ServerError::Tls { source })?;
        }
        let incoming = TcpIncoming::from(self.listener)
            .with_nodelay(Some(true))
            .with_keepalive(Some(KEEPALIVE_INTERVAL));
        let mut stopped = stopping;
        let serving =
            server
                .add_service(service)
                .serve_with_incoming_shutdown(incoming, async move {
                    // An error means that the sender is gone, which is a reason to stop as well.
                    let _ = stopped.wait_for(|stop| *stop).await;
                });
        tokio::pin!(serving);
        let served = tokio::select! {
            served = &mut serving => served,
            () = shutdown => {
                stop.send_replace(true);
                serving.await
            }
        };
        stop.send_replace(true);
        tracker.close();
        tracker.wait().await;
        served.map_err(|source| ServerError::Transport { source })
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
