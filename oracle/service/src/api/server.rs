//! The REST port: accepts TLS connections, puts limits around each request, and stops in order.
//!
//! Limits, so that no caller can use up the oracle: connections, the time of a handshake, the
//! time and size of a header, requests at once, the time until an answer begins. What is beyond a
//! limit is refused with a reason, never queued.

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fabric_msp::Certificate;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
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

/// Connections open at once; the next one waits to be accepted.
const CONNECTIONS_MAX: usize = 1024;
/// Time for a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for the header of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request's header.
const HEADER_BYTES_MAX: u32 = 96 << 10;
/// Fields of a request's header.
const HEADER_FIELDS_MAX: usize = 64;
/// Requests at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 64;
/// Time that open requests get to finish when the oracle stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after a failed accept, for example when no file descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the REST port cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Certificate or key are unusable.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The port cannot be opened.
    #[error("the REST address {address} cannot be listened on")]
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
        })
    }

    /// The address, with the port that the system chose for port 0.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Answers until `stop`, then lets open requests finish within a stated time.
    pub(crate) async fn serve(self, stop: CancellationToken) {
        let graceful = GracefulShutdown::new();
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
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
                        watcher: graceful.watcher(),
                        address,
                        _place: place,
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
        if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown())
            .await
            .is_err()
        {
            tracing::warn!("REST requests were cut off at shutdown");
        }
        connections.shutdown().await;
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places)
        .acquire_owned()
        .await
        .expect("the semaphore is never closed");
    let (stream, address) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, address, place))
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a REST connection ended in a fault of the oracle");
    }
}

/// One TCP connection from accept to close.
struct Connection {
    acceptor: TlsAcceptor,
    edge: Edge,
    watcher: hyper_util::server::graceful::Watcher,
    address: SocketAddr,
    /// Given back when the connection ends.
    _place: OwnedSemaphorePermit,
}

impl Connection {
    async fn run(self, stream: TcpStream) {
        let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, self.acceptor.accept(stream));
        let tls = match handshake.await {
            Ok(Ok(tls)) => tls,
            Ok(Err(error)) => {
                tracing::debug!(%error, "a TLS handshake failed");
                return;
            }
            Err(_) => {
                tracing::debug!("a TLS handshake took too long");
                return;
            }
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
            address: self.address.ip(),
        };
        let edge = self.edge;
        let service = service_fn(move |request: Request<Incoming>| {
            let (edge, peer) = (edge.clone(), peer.clone());
            async move { Ok::<_, Infallible>(edge.answer(request, peer).await) }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_headers(HEADER_FIELDS_MAX)
            .max_buf_size(HEADER_BYTES_MAX as usize);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_header_list_size(HEADER_BYTES_MAX)
            .max_concurrent_streams(STREAMS_MAX)
            .keep_alive_interval(HEADER_TIMEOUT);
        let connection = builder
            .serve_connection(TokioIo::new(tls), service)
            .into_owned();
        if let Err(error) = pin!(self.watcher.watch(connection)).await {
            tracing::debug!(%error, "a REST connection broke");
        }
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
        metrics::counter!("salus_rest_requests_total", "method" => method.to_string(), "status" => status.to_string())
            .increment(1);
        metrics::histogram!("salus_rest_request_seconds").record(elapsed.as_secs_f64());
        span.in_scope(|| tracing::info!(status, elapsed_ms = elapsed.as_millis(), "answered"));
        response.map(|body| match hyper::body::Body::size_hint(&body).exact() {
            Some(_) => PermitBody::without_place(body),
            None => PermitBody::new(body, place),
        })
    }
}
