//! A response body that keeps its request's place until it is sent.

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

/// What can break a body while it is sent.
type BodyError = Box<dyn StdError + Send + Sync>;

/// A body and the place in [`super::server::Edge`] that is given back with it: a slow reader of a
/// large object counts as a running request.
pub(crate) struct PermitBody {
    body: BoxBody<Bytes, BodyError>,
    _place: Option<OwnedSemaphorePermit>,
}

impl PermitBody {
    pub(crate) fn new<B>(body: B, place: OwnedSemaphorePermit) -> Self
    where
        B: Body<Data = Bytes> + Send + Sync + 'static,
        B::Error: Into<BodyError>,
    {
        Self {
            body: body.map_err(Into::into).boxed(),
            _place: Some(place),
        }
    }

    pub(crate) fn without_place<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + Sync + 'static,
        B::Error: Into<BodyError>,
    {
        Self {
            body: body.map_err(Into::into).boxed(),
            _place: None,
        }
    }
}

impl fmt::Debug for PermitBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PermitBody").finish_non_exhaustive()
    }
}

impl Body for PermitBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
