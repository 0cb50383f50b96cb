//! What one connection does, so that one on which nothing happens can be closed.
//!
//! Three things are watched: whether a request runs, whether the peer takes the bytes that are written, and whether
//! it takes the parts of an answer that are ready (a peer of HTTP/2 can leave its window shut while the connection
//! itself is lively). Waiting for the ledger or the store is the oracle's own and never counts against the peer.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// A part of an answer may wait this many times longer than bytes of the connection may: it can be large.
const PART_PATIENCE: u32 = 4;

/// Why a connection is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// No request runs, for too long.
    Idle,
    /// The peer does not take what is written.
    Stalled,
}

/// Time without which a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patience {
    /// Without a request.
    pub(super) idle: Duration,
    /// Without the peer's taking one byte of what is written.
    pub(super) stall: Duration,
}

/// The activity of one connection. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Activity(Arc<Mutex<State>>);

/// Held for a few lines, never across an await.
#[derive(Debug)]
struct State {
    /// Requests whose answer is not yet handed over whole.
    running: usize,
    /// When the last of them ended, or the connection began.
    quiet_since: Instant,
    /// Since when the peer has not taken a byte.
    blocked_since: Option<Instant>,
    /// Since when a part of each answer has not been followed by the next.
    parts: HashMap<u64, Instant>,
    next: u64,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            running: 0,
            quiet_since: Instant::now(),
            blocked_since: None,
            parts: HashMap::new(),
            next: 0,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the connection is to be closed now.
    pub(super) fn overdue(&self, patience: Patience) -> Option<Overdue> {
        let now = Instant::now();
        let longer =
            |since: &Instant, limit: Duration| now.saturating_duration_since(*since) >= limit;
        let state = self.lock();
        let blocked = state.blocked_since.iter();
        let mut parts = state.parts.values();
        let part = patience.stall.saturating_mul(PART_PATIENCE);
        if blocked
            .into_iter()
            .any(|since| longer(since, patience.stall))
            || parts.any(|since| longer(since, part))
        {
            return Some(Overdue::Stalled);
        }
        (state.running == 0 && longer(&state.quiet_since, patience.idle)).then_some(Overdue::Idle)
    }

    /// Notes a request, until the answer is dropped.
    pub(super) fn begin(&self) -> Running {
        let mut state = self.lock();
        state.running += 1;
        state.next += 1;
        Running {
            activity: self.clone(),
            number: state.next,
        }
    }

    fn blocked(&self, blocked: bool) {
        let mut state = self.lock();
        if !blocked {
            state.blocked_since = None;
        } else if state.blocked_since.is_none() {
            state.blocked_since = Some(Instant::now());
        }
    }
}

/// A request that runs.
#[derive(Debug)]
pub(super) struct Running {
    activity: Activity,
    number: u64,
}

impl Running {
    /// Goes on until the body is sent or given up.
    pub(super) fn with<B>(self, body: B) -> WatchedBody<B> {
        WatchedBody {
            body,
            running: self,
        }
    }

    fn part_waits(&self, waits: bool) {
        let mut state = self.activity.lock();
        if waits {
            state.parts.insert(self.number, Instant::now());
        } else {
            state.parts.remove(&self.number);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.activity.lock();
        state.parts.remove(&self.number);
        state.running = state.running.saturating_sub(1);
        state.quiet_since = Instant::now();
    }
}

/// A body whose parts are watched on their way out.
#[derive(Debug)]
pub(super) struct WatchedBody<B> {
    body: B,
    running: Running,
}

impl<B: Body + Unpin> Body for WatchedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        // Pending is the oracle's own slowness; a part that is ready is the peer's to take.
        self.running
            .part_waits(matches!(polled, Poll::Ready(Some(Ok(_)))));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A socket whose writes are watched; below TLS, so that each byte counts.
#[derive(Debug)]
pub(super) struct WatchedStream<S> {
    stream: S,
    activity: Activity,
}

impl<S> WatchedStream<S> {
    pub(super) fn new(stream: S, activity: Activity) -> Self {
        Self { stream, activity }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WatchedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WatchedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.activity.blocked(polled.is_pending());
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.activity.blocked(polled.is_pending());
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::{BodyExt, Full};
    use tokio::io::AsyncWriteExt;

    use super::*;

    const PATIENCE: Patience = Patience {
        idle: Duration::from_secs(60),
        stall: Duration::from_secs(10),
    };

    async fn after(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_only_without_a_request() {
        let activity = Activity::new();
        after(59).await;
        assert_eq!(activity.overdue(PATIENCE), None);
        let running = activity.begin();
        after(3600).await;
        assert_eq!(activity.overdue(PATIENCE), None, "the oracle may be slow");
        drop(running);
        assert_eq!(activity.overdue(PATIENCE), None);
        after(60).await;
        assert_eq!(activity.overdue(PATIENCE), Some(Overdue::Idle));
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_nobody_takes_is_a_stall_and_one_that_is_not_ready_is_none() {
        let activity = Activity::new();
        let mut body = activity
            .begin()
            .with(Full::new(Bytes::from_static(b"part")));
        after(3600).await;
        assert_eq!(activity.overdue(PATIENCE), None, "nothing is ready yet");
        body.frame().await.unwrap().unwrap();
        after(39).await;
        assert_eq!(activity.overdue(PATIENCE), None);
        after(1).await;
        assert_eq!(activity.overdue(PATIENCE), Some(Overdue::Stalled));
        assert!(body.frame().await.is_none());
        assert_eq!(activity.overdue(PATIENCE), None);
    }

    #[tokio::test(start_paused = true)]
    async fn each_byte_that_is_taken_is_progress() {
        let activity = Activity::new();
        let (near, mut far) = tokio::io::duplex(4);
        let mut near = WatchedStream::new(near, activity.clone());
        near.write_all(b"full").await.unwrap();
        let _running = activity.begin();
        let waiting = tokio::spawn(async move {
            near.write_all(b"more").await.unwrap();
            near
        });
        tokio::task::yield_now().await;
        after(9).await;
        assert_eq!(activity.overdue(PATIENCE), None);
        after(1).await;
        assert_eq!(activity.overdue(PATIENCE), Some(Overdue::Stalled));
        let mut taken = [0; 4];
        tokio::io::AsyncReadExt::read_exact(&mut far, &mut taken)
            .await
            .unwrap();
        waiting.await.unwrap();
        assert_eq!(activity.overdue(PATIENCE), None);
    }
}
