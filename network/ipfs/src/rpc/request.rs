//! Arguments, options and files of a request.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use http::{header, request::Parts};
use http_body_util::{BodyDataStream, Limited};
use hyper::body::Incoming;
use multer::{Constraints, Multipart, SizeLimit};

use super::answer::RpcError;
use crate::Store;

/// What one request may cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes of body.
    pub(crate) body_bytes: u64,
    /// Files in an upload.
    pub(crate) files: usize,
    /// Time between two pieces of body.
    pub(crate) body_idle: Duration,
}

/// The body as it comes from the connection.
pub(crate) type Body = Limited<Incoming>;

/// A parsed request: path and method are dealt with.
pub(crate) struct Request {
    pub(crate) store: Arc<Store>,
    pub(crate) limits: Limits,
    query: Vec<(String, String)>,
    boundary: Option<String>,
    body: Body,
}

impl Request {
    pub(super) fn new(store: Arc<Store>, limits: Limits, parts: &Parts, body: Body) -> Self {
        let query = parts.uri.query().unwrap_or_default();
        let boundary = parts
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| multer::parse_boundary(value).ok());
        Self {
            store,
            limits,
            query: form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
            boundary,
            body,
        }
    }

    /// All positional arguments.
    pub(crate) fn arguments(&self) -> Vec<String> {
        self.query
            .iter()
            .filter(|(name, _)| name == "arg")
            .map(|(_, value)| value.clone())
            .collect()
    }

    /// All positional arguments, of which there must be one.
    pub(crate) fn required_arguments(&self, name: &'static str) -> Result<Vec<String>, RpcError> {
        let arguments = self.arguments();
        if arguments.is_empty() {
            return Err(RpcError::Argument(name));
        }
        Ok(arguments)
    }

    /// The first positional argument.
    pub(crate) fn required_argument(&self, name: &'static str) -> Result<String, RpcError> {
        let mut arguments = self.required_arguments(name)?;
        Ok(arguments.swap_remove(0))
    }

    /// An option as text.
    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// A switch; given without a value it is on, as in Kubo.
    pub(crate) fn flag(&self, option: &'static str) -> Result<Option<bool>, RpcError> {
        match self.option(option) {
            None => Ok(None),
            Some("" | "true" | "True" | "TRUE" | "1" | "t" | "T") => Ok(Some(true)),
            Some("false" | "False" | "FALSE" | "0" | "f" | "F") => Ok(Some(false)),
            Some(value) => Err(RpcError::Option {
                option,
                kind: "bool",
                value: value.to_owned(),
            }),
        }
    }

    /// A whole number.
    pub(crate) fn integer(
        &self,
        option: &'static str,
        kind: &'static str,
    ) -> Result<Option<i64>, RpcError> {
        self.option(option)
            .map(|value| {
                value.parse().map_err(|_| RpcError::Option {
                    option,
                    kind,
                    value: value.to_owned(),
                })
            })
            .transpose()
    }

    /// The files of the body; `argument` is Kubo's name for them.
    pub(crate) fn files(self, argument: &'static str) -> Result<Files, RpcError> {
        let boundary = self.boundary.ok_or(RpcError::NoFile(argument))?;
        let size = SizeLimit::new().whole_stream(self.limits.body_bytes);
        let constraints = Constraints::new().size_limit(size);
        let unparsed = Unparsed::default();
        let body = BodyDataStream::new(self.body);
        let pieces = guarded(body, self.limits.body_idle, unparsed.clone());
        Ok(Files {
            multipart: Multipart::with_constraints(pieces, boundary, constraints),
            unparsed,
        })
    }
}

/// A multipart body and the count of its bytes that the parser holds.
pub(crate) struct Files {
    pub(crate) multipart: Multipart<'static>,
    pub(crate) unparsed: Unparsed,
}

/// Most bytes that the multipart parser may take without giving anything out: a part's header
/// fields without an end must not fill the memory. Far above one read from the connection.
const MAX_UNPARSED_BYTES: usize = 1 << 20;

/// Counts bytes that went into the multipart parser since something came out.
#[derive(Clone, Default)]
pub(crate) struct Unparsed(Arc<AtomicUsize>);

impl Unparsed {
    /// Something came out.
    pub(crate) fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    fn add(&self, bytes: usize) -> Result<(), TooMuchUnparsed> {
        let before = self.0.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > MAX_UNPARSED_BYTES {
            return Err(TooMuchUnparsed);
        }
        Ok(())
    }
}

type BodyError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, thiserror::Error)]
#[error("no data for too long")]
struct Idle;

#[derive(Debug, thiserror::Error)]
#[error("header fields of a part are too long")]
struct TooMuchUnparsed;

/// Ends the body with an error when nothing arrives for `idle`, or when the parser hoards.
fn guarded(
    body: BodyDataStream<Body>,
    idle: Duration,
    unparsed: Unparsed,
) -> impl Stream<Item = Result<Bytes, BodyError>> + Send {
    futures::stream::unfold(Some((body, unparsed)), move |state| async move {
        let (mut body, unparsed) = state?;
        match tokio::time::timeout(idle, body.next()).await {
            Ok(Some(Ok(piece))) => match unparsed.add(piece.len()) {
                Ok(()) => Some((Ok(piece), Some((body, unparsed)))),
                Err(error) => Some((Err(error.into()), None)),
            },
            Ok(Some(Err(error))) => Some((Err(error), None)),
            Ok(None) => None,
            Err(_) => Some((Err(Idle.into()), None)),
        }
    })
}

impl From<multer::Error> for RpcError {
    fn from(error: multer::Error) -> Self {
        match error {
            multer::Error::StreamSizeExceeded { .. } | multer::Error::FieldSizeExceeded { .. } => {
                Self::BodyTooLarge
            }
            multer::Error::StreamReadFailed(source) if source.is::<Idle>() => Self::BodyTimeout,
            multer::Error::StreamReadFailed(source)
                if source.is::<http_body_util::LengthLimitError>()
                    || source.is::<TooMuchUnparsed>() =>
            {
                Self::BodyTooLarge
            }
            error => Self::Multipart(error),
        }
    }
}
