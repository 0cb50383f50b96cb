//! A port that says how the process is, and nothing else: for programs of the same machine, such as a supervisor
//! and Prometheus, and for processes that serve no people and so have no REST port.
//!
//! Plain HTTP, since it listens on loopback only; no caller is judged, since nothing here names a person, a device
//! or a host.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::activity::{Activity, Patience, WatchedStream};
use super::{ACCEPT_PAUSE, ServerError, connection, drain, log_panic};
use crate::api::context::TraceId;
use crate::api::permit_body::PermitBody;
use crate::api::problem::{self, Problem};
use crate::api::readiness::Readiness;
use crate::api::routes::health;

/// Connections open at once; the next one waits to be accepted.
const CONNECTIONS_MAX: usize = 32;
/// When a connection is closed. Prometheus asks every 15 s or every minute, and connects again.
const PATIENCE: Patience = Patience {
    idle: Duration::from_secs(20),
    stall: Duration::from_secs(10),
};

/// A bound port.
#[derive(Debug)]
pub(crate) struct HealthPort {
    listener: TcpListener,
    local_addr: SocketAddr,
    answers: Answers,
}

/// What is answered.
#[derive(Clone)]
struct Answers {
    readiness: Readiness,
    metrics: Option<PrometheusHandle>,
}

impl std::fmt::Debug for Answers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answers").finish_non_exhaustive()
    }
}

impl HealthPort {
    /// Opens the port; nothing is answered before [`HealthPort::serve`].
    ///
    /// # Errors
    ///
    /// [`ServerError::Listen`].
    pub(crate) async fn bind(
        address: SocketAddr,
        readiness: Readiness,
        metrics: Option<PrometheusHandle>,
    ) -> Result<Self, ServerError> {
        let listen = |source| ServerError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let local_addr = listener.local_addr().map_err(listen)?;
        Ok(Self {
            listener,
            local_addr,
            answers: Answers { readiness, metrics },
        })
    }

    /// The address, with the port that the system chose for port 0.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Answers until `stop`.
    pub(crate) async fn serve(self, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = connections.join_next() => {
                    log_panic(ended);
                    continue;
                }
                accepted = async {
                    let place = Arc::clone(&places).acquire_owned().await;
                    self.listener.accept().await.map(|(stream, _)| (stream, place))
                } => accepted,
            };
            match accepted {
                Ok((stream, place)) => {
                    let (answers, stop) = (self.answers.clone(), stop.clone());
                    connections.spawn(async move {
                        let activity = Activity::new();
                        let stream = WatchedStream::new(stream, activity.clone());
                        let answer = move |request: Request<Incoming>| {
                            let response = answers.to(request.method(), request.uri().path());
                            std::future::ready(response)
                        };
                        connection::serve(stream, answer, activity, PATIENCE, stop).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection to the health port was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        drain(connections).await;
    }
}

impl Answers {
    fn to(&self, method: &Method, path: &str) -> Response<PermitBody> {
        let answered = match path {
            _ if !["/healthz", "/readyz", "/metrics"].contains(&path) => Err(Problem::not_found(
                "There are /healthz, /readyz and /metrics here.",
            )),
            _ if !matches!(*method, Method::GET | Method::HEAD) => Err(Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "METHOD_NOT_ALLOWED",
                "Only GET and HEAD are answered here.",
            )),
            "/healthz" => Ok(health::alive()),
            "/readyz" => Ok(health::readiness(&self.readiness)),
            _ => health::counted(self.metrics.as_ref()),
        };
        let trace_id = TraceId::of(&http::HeaderMap::new());
        let mut response = problem::render(answered.unwrap_or_else(Problem::deferred), trace_id);
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            let allowed = http::HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(header::ALLOW, allowed);
        }
        response.map(PermitBody::without_place)
    }
}
