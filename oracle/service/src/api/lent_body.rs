//! A request body that comes back when its reader stops early.
//!
//! Whoever is still sending when a connection or stream closes never sees the answer, so what a
//! handler did not want of a body is read on for a while, and kept nowhere.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Buf;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;

/// Bytes that are read on.
const DISCARDED_BYTES_MAX: usize = 8 << 20;
/// Time for reading on.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

/// A body lent to a handler.
#[derive(Debug)]
pub(crate) struct LentBody<B: Body + Unpin> {
    body: Option<B>,
    back: Option<oneshot::Sender<B>>,
}

/// Where a lent body comes back.
#[derive(Debug)]
pub(crate) struct Lender<B>(oneshot::Receiver<B>);

/// Lends a body.
pub(crate) fn lend<B: Body + Unpin>(body: B) -> (LentBody<B>, Lender<B>) {
    let (back, lender) = oneshot::channel();
    let lent = LentBody {
        body: Some(body),
        back: Some(back),
    };
    (lent, Lender(lender))
}

impl<B: Body + Unpin> Lender<B> {
    /// Reads what is left of a body whose handler is done, as far as is fair.
    pub(crate) async fn discard_rest(mut self) {
        if let Ok(rest) = self.0.try_recv() {
            // Out of time is as good as done: the answer goes out all the same.
            let _ = tokio::time::timeout(DISCARD_TIMEOUT, discard(rest)).await;
        }
    }
}

async fn discard<B: Body + Unpin>(mut body: B) {
    let mut left = DISCARDED_BYTES_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        let bytes = frame.data_ref().map_or(0, Buf::remaining);
        match left.checked_sub(bytes) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

impl<B: Body + Unpin> Drop for LentBody<B> {
    fn drop(&mut self) {
        if let (Some(body), Some(back)) = (self.body.take(), self.back.take())
            && !body.is_end_stream()
        {
            // Without a lender the request itself was given up, and the rest with it.
            let _ = back.send(body);
        }
    }
}

impl<B: Body + Unpin> Body for LentBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(SizeHint::default, Body::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Full;

    use super::*;

    #[tokio::test]
    async fn an_unread_body_comes_back_and_a_read_one_does_not() {
        let (lent, mut lender) = lend(Full::new(Bytes::from_static(b"abc")));
        drop(lent);
        assert!(lender.0.try_recv().is_ok());
        let (lent, mut lender) = lend(Full::new(Bytes::from_static(b"abc")));
        lent.collect().await.expect("read");
        assert!(lender.0.try_recv().is_err());
    }
}
