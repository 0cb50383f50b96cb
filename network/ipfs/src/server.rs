//! Sockets: accepting, limiting, ending.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use http::{Request, StatusCode};
use http_body_util::Limited;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};

use crate::{
    Store, StoreError,
    rpc::{self, Answer, Limits},
};

/// Connections open at once; more wait to be accepted.
const MAX_CONNECTIONS: usize = 256;
/// Requests at work at once; more are told to come back.
const MAX_REQUESTS: usize = 64;
/// Bytes of request line and header fields.
const MAX_HEADER_BYTES: usize = 64 << 10;
/// Header fields in a request.
const MAX_HEADERS: usize = 64;
/// Bytes of one request's body (2 GiB).
const MAX_BODY_BYTES: u64 = 2 << 30;
/// Files in one upload.
const MAX_FILES: usize = 10_000;
/// Time for the request line and header fields to arrive.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Time between two pieces of a request's body.
const BODY_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Time for requests at work to end after shutdown begins.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after a failed accept, such as when file descriptors have run out.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Where a server keeps its blocks and where it listens.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Folder of the store; made when absent.
    pub dir: PathBuf,
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The store does not open.
    #[error("store does not open")]
    Store(#[source] StoreError),
    /// The address is taken or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
}

/// A store behind an open port.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    local_addr: SocketAddr,
    store: Arc<Store>,
}

impl Server {
    /// Opens the store and the port; nothing is answered before [`Server::serve`].
    ///
    /// # Errors
    /// [`BindError`] when either does not open.
    pub async fn bind(config: ServerConfig) -> Result<Self, BindError> {
        let store = Store::open(&config.dir).map_err(BindError::Store)?;
        let address = config.listen;
        let failed = |source| BindError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        Ok(Self {
            listener,
            local_addr,
            store: Arc::new(store),
        })
    }

    /// The address that was taken.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Answers requests until `shutdown` completes, then lets those at work end, within ten
    /// seconds. Returns when every task has ended.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let connection_slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let request_slots = Arc::new(Semaphore::new(MAX_REQUESTS));
        let graceful = GracefulShutdown::new();
        let mut connections = JoinSet::new();
        tokio::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                Some(_) = connections.join_next() => continue,
                accepted = accept(&self.listener, &connection_slots) => accepted,
            };
            let (stream, slot) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                    continue;
                }
            };
            let connection =
                connection(stream, Arc::clone(&self.store), Arc::clone(&request_slots));
            let connection = graceful.watch(connection);
            connections.spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "connection ended");
                }
                drop(slot);
            });
        }
        drop(self.listener);
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, graceful.shutdown())
            .await
            .is_err()
        {
            tracing::warn!("requests were still at work at the end");
        }
        connections.shutdown().await;
    }
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, slot))
}

fn connection(
    stream: TcpStream,
    store: Arc<Store>,
    request_slots: Arc<Semaphore>,
) -> impl hyper_util::server::graceful::GracefulConnection<Error = hyper::Error> + Send {
    let service = service_fn(move |request| {
        let store = Arc::clone(&store);
        let request_slots = Arc::clone(&request_slots);
        async move { Ok::<_, std::convert::Infallible>(respond(store, &request_slots, request).await.0) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service)
}

/// Answers a request, or says at once that too many are at work. A request counts until its
/// answer begins; the bytes of an answer cost one block at a time.
async fn respond(
    store: Arc<Store>,
    request_slots: &Semaphore,
    request: Request<Incoming>,
) -> Answer {
    let Ok(_slot) = request_slots.try_acquire() else {
        return Answer::text(
            StatusCode::SERVICE_UNAVAILABLE,
            "503 - too many requests at work",
        );
    };
    let (parts, body) = request.into_parts();
    let limits = Limits {
        body_bytes: MAX_BODY_BYTES,
        files: MAX_FILES,
        body_idle: BODY_IDLE_TIMEOUT,
    };
    let body = Limited::new(body, usize::try_from(MAX_BODY_BYTES).unwrap_or(usize::MAX));
    rpc::answer(store, limits, parts, body).await
}
