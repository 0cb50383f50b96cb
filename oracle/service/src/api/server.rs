//! The REST port: accepts TLS connections, puts limits around each request, and stops in order.
//!
//! Limits, so that no caller can use up the oracle: connections, those of strangers among them, the
//! time of a handshake, the time and size of a header, time without a request, time in which the
//! peer takes nothing of an answer, requests at once, the time until an answer begins. What is
//! beyond a limit is refused with a reason or closed, never queued.

mod activity;
mod connection;
mod health_port;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fabric_msp::Certificate;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::api::context::{Peer, TraceId};
use crate::api::lent_body;
use crate::api::permit_body::PermitBody;
use crate::api::problem::{self, Problem};
use crate::api::routes::{Asked, Routes};
use crate::api::tls::{self, TlsError};
use crate::config::RestConfig;
use activity::{Activity, Patience, WatchedStream};

pub(crate) use health_port::HealthPort;

/// Connections open at once; the next one waits to be accepted.
const CONNECTIONS_MAX: usize = 1024;
/// Connections of them by those whom no MSP accepts, or who have not shown yet who they are.
const STRANGERS_MAX: usize = 512;
/// Time for a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time without a request on a stranger's connection.
const STRANGER_IDLE_TIMEOUT: Duration = connection::HEADER_TIMEOUT;
/// Time that open requests get to finish when the oracle stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after a failed accept, for example when no file descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why a port cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Certificate or key are unusable.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The port cannot be opened.
    #[error("the address {address} cannot be listened on")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A bound REST port.
pub(crate) struct Server {
    listener: TcpListener,
    local_addr: SocketAddr,
    acceptor: TlsAcceptor,
    edge: Edge,
    patience: Patience,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("local_addr", &self.local_addr)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Opens the port; nothing is answered before [`Server::serve`].
    ///
    /// # Errors
    ///
    /// [`ServerError`] when certificate, key or address are unusable.
    pub(crate) async fn bind(config: &RestConfig, routes: Routes) -> Result<Self, ServerError> {
        let tls = tls::server_config(&config.certificate_file, &config.key_file)?;
        let listen = |source| ServerError::Listen {
            address: config.listen,
            source,
        };
        let listener = TcpListener::bind(config.listen).await.map_err(listen)?;
        let local_addr = listener.local_addr().map_err(listen)?;
        Ok(Self {
            listener,
            local_addr,
            acceptor: TlsAcceptor::from(Arc::new(tls)),
            edge: Edge::new(routes, config.concurrent_requests, config.request_timeout),
            patience: Patience {
                idle: config.idle_timeout,
                stall: config.stall_timeout,
            },
        })
    }

    /// The address, with the port that the system chose for port 0.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Answers until `stop`, then lets open requests finish within a stated time.
    pub(crate) async fn serve(self, stop: CancellationToken) {
        let places = Places::new(CONNECTIONS_MAX, STRANGERS_MAX);
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = connections.join_next() => {
                    log_panic(ended);
                    continue;
                }
                accepted = accept(&self.listener, &places) => accepted,
            };
            match accepted {
                Ok((stream, address, place)) => {
                    let connection = Connection {
                        acceptor: self.acceptor.clone(),
                        edge: self.edge.clone(),
                        patience: self.patience,
                        stop: stop.clone(),
                        address,
                        place,
                    };
                    connections.spawn(connection.run(stream));
                }
                Err(error) => {
                    tracing::warn!(%error, "a REST connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        drain(connections).await;
    }
}

/// Waits until the connections have ended, which know that they are to, and then cuts them off.
pub(super) async fn drain(mut connections: JoinSet<()>) {
    let ended = async {
        while let Some(ended) = connections.join_next().await {
            log_panic(ended);
        }
    };
    if tokio::time::timeout(DRAIN_TIMEOUT, ended).await.is_err() {
        tracing::warn!("HTTP requests were cut off at shutdown");
    }
    connections.shutdown().await;
}

/// Places for connections.
#[derive(Debug)]
struct Places {
    all: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
}

impl Places {
    fn new(all: usize, strangers: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(all)),
            strangers: Arc::new(Semaphore::new(strangers)),
        }
    }

    /// A stranger's place, which is everyone's before the handshake. Those who are known have the
    /// rest of the places for themselves.
    async fn take(&self) -> Place {
        let take = |of: &Arc<Semaphore>| {
            let taking = Arc::clone(of).acquire_owned();
            async { taking.await.expect("the semaphore is never closed") }
        };
        let stranger = take(&self.strangers).await;
        Place {
            _any: take(&self.all).await,
            stranger: Some(stranger),
        }
    }
}

/// A connection's place, given back when the connection ends.
#[derive(Debug)]
struct Place {
    _any: OwnedSemaphorePermit,
    stranger: Option<OwnedSemaphorePermit>,
}

async fn accept(
    listener: &TcpListener,
    places: &Places,
) -> std::io::Result<(TcpStream, SocketAddr, Place)> {
    let place = places.take().await;
    let (stream, address) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, address, place))
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "an HTTP connection ended in a fault of the oracle");
    }
}

/// One TCP connection from accept to close.
struct Connection {
    acceptor: TlsAcceptor,
    edge: Edge,
    patience: Patience,
    stop: CancellationToken,
    address: SocketAddr,
    place: Place,
}

impl Connection {
    async fn run(self, stream: TcpStream) {
        let Self {
            acceptor,
            edge,
            mut patience,
            stop,
            address,
            mut place,
        } = self;
        let activity = Activity::new();
        let stream = WatchedStream::new(stream, activity.clone());
        let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream));
        let tls = tokio::select! {
            () = stop.cancelled() => return,
            shaken = handshake => match shaken {
                Ok(Ok(tls)) => tls,
                Ok(Err(error)) => {
                    tracing::debug!(%error, "a TLS handshake failed");
                    return;
                }
                Err(_) => {
                    tracing::debug!("a TLS handshake took too long");
                    return;
                }
            },
        };
        let certificate = tls
            .get_ref()
            .1
            .peer_certificates()
            .and_then(<[_]>::first)
            .and_then(|der| Certificate::from_der(der).ok())
            .map(Arc::new);
        let peer = Peer {
            certificate,
            address: address.ip(),
        };
        if edge.knows(&peer) {
            place.stranger = None;
        } else {
            patience.idle = patience.idle.min(STRANGER_IDLE_TIMEOUT);
        }
        let answer = move |request: Request<Incoming>| {
            let (edge, peer) = (edge.clone(), peer.clone());
            async move { edge.answer(request, peer).await }
        };
        connection::serve(tls, answer, activity, patience, stop).await;
        drop(place);
    }
}

/// What stands between a connection and the routes: trace ID, span, concurrency, time.
#[derive(Debug, Clone)]
pub(crate) struct Edge {
    routes: Routes,
    running: Arc<Semaphore>,
    timeout: Duration,
}

impl Edge {
    pub(crate) fn new(routes: Routes, concurrent_requests: usize, timeout: Duration) -> Self {
        Self {
            routes,
            running: Arc::new(Semaphore::new(concurrent_requests)),
            timeout,
        }
    }

    /// Whether an MSP accepts the peer's certificate now.
    fn knows(&self, peer: &Peer) -> bool {
        self.routes.knows(peer)
    }

    /// Answers one request. Its place is held until the last byte of the body is sent, if the body
    /// is still being made while it is: an answer that is there costs no more work, and a stranger
    /// who does not read it must not keep others out.
    pub(crate) async fn answer<B>(&self, request: Request<B>, peer: Peer) -> Response<PermitBody>
    where
        B: hyper::body::Body + Send + Sync + Unpin + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let trace_id = TraceId::of(request.headers());
        let started = Instant::now();
        let method = request.method().clone();
        let span = tracing::info_span!("rest", %trace_id, %method);
        let Ok(place) = Arc::clone(&self.running).try_acquire_owned() else {
            let _entered = span.enter();
            return Problem::busy()
                .to_response(trace_id)
                .map(PermitBody::without_place);
        };
        let asked = Asked {
            method: method.clone(),
            path: request.uri().path().to_owned(),
            peer: peer.clone(),
            trace_id,
        };
        let (parts, body) = request.into_parts();
        let (body, lender) = lent_body::lend(body);
        let mut request = Request::from_parts(parts, body);
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(trace_id);
        let answering = tokio::time::timeout(self.timeout, self.routes.answer(request));
        let response = match answering.instrument(span.clone()).await {
            Ok(response) => {
                let noting = self.routes.note(&asked, &response);
                noting.instrument(span.clone()).await;
                span.in_scope(|| problem::render(response, trace_id))
            }
            Err(_) => span.in_scope(|| Problem::timeout().to_response(trace_id)),
        };
        lender.discard_rest().await;
        let status = response.status().as_u16();
        let elapsed = started.elapsed();
        metrics::counter!("salus_rest_requests_total", "method" => crate::metrics::method(&method), "status" => status.to_string())
            .increment(1);
        metrics::histogram!("salus_rest_request_seconds").record(elapsed.as_secs_f64());
        span.in_scope(|| tracing::info!(status, elapsed_ms = elapsed.as_millis(), "answered"));
        response.map(|body| match hyper::body::Body::size_hint(&body).exact() {
            Some(_) => PermitBody::without_place(body),
            None => PermitBody::new(body, place),
        })
    }
}
