//! One connection with HTTP on it, from its first byte to its end.

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::activity::{Activity, Overdue, Patience};
use crate::api::permit_body::PermitBody;

/// Time for the header of a request.
pub(super) const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request's header.
const HEADER_BYTES_MAX: u32 = 96 << 10;
/// Fields of a request's header.
const HEADER_FIELDS_MAX: usize = 64;
/// Requests at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 64;
/// Time between two pings of HTTP/2.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// Time for the answer to a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time between two looks at what a connection does.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Looks in the shorter of the times that are allowed.
const LOOKS: u32 = 4;

/// Answers what comes over `io` until the peer leaves, `stop` is told, or the connection is of no use: without
/// a request for too long, or with a peer that takes nothing. Who is idle is told so in the protocol's own way
/// and may still send what is on its way.
pub(super) async fn serve<I, F, R>(
    io: I,
    answer: F,
    activity: Activity,
    patience: Patience,
    stop: CancellationToken,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<PermitBody>> + Send + 'static,
{
    let watched = activity.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let running = watched.begin();
        let answering = answer(request);
        async move { Ok::<_, Infallible>(answering.await.map(|body| running.with(body))) }
    });
    let builder = builder();
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
    let mut looks = tokio::time::interval(look_interval(patience));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // When it was told to end; an idle one gets the same time again to do so.
    let mut ending = false;
    let mut last_call = tokio::time::Instant::now();
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "an HTTP connection broke");
                }
                return;
            }
            () = stop.cancelled(), if !ending => {
                ending = true;
                last_call = tokio::time::Instant::now();
                connection.as_mut().graceful_shutdown();
            }
            _ = looks.tick() => match activity.overdue(patience) {
                None => {}
                Some(Overdue::Idle) if !ending => {
                    ending = true;
                    last_call = tokio::time::Instant::now();
                    close_counted("idle");
                    connection.as_mut().graceful_shutdown();
                }
                Some(Overdue::Idle) if last_call.elapsed() >= patience.idle => return,
                Some(Overdue::Idle) => {}
                Some(Overdue::Stalled) => {
                    close_counted("stalled");
                    return;
                }
            },
        }
    }
}

fn close_counted(reason: &'static str) {
    metrics::counter!("salus_rest_closed_total", "reason" => reason).increment(1);
}

fn look_interval(patience: Patience) -> Duration {
    let shorter = patience.idle.min(patience.stall) / LOOKS;
    shorter.clamp(Duration::from_millis(1), LOOK_INTERVAL)
}

fn builder() -> auto::Builder<TokioExecutor> {
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
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}
