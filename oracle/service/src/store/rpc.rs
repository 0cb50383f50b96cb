//! One call of Kubo's RPC: always a POST, the arguments in the query, a file as multipart form.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use http::{Request, Uri, header};
use http_body_util::{BodyExt, LengthLimitError, Limited, StreamBody};
use hyper::body::Frame;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Deserialize;
use tokio::sync::mpsc;

use super::StoreError;
use crate::metrics::{observe_upstream, store_failure};

/// Where Kubo's commands are.
const API: &str = "/api/v0/";
/// Ends the one part of a form. It cannot be smuggled into the part: what is sent is ciphertext
/// under keys that were just drawn, so nobody chooses its bytes.
const BOUNDARY: &str = "salus-oracle-3f1d0e5f7c9b4a86b2d4e1c07a9f5d63";
/// Time for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Connections kept open without use.
const IDLE_MAX: usize = 8;
/// Time a connection is kept open without use.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Commands that metrics tell apart.
const LABELS: [&str; 7] = [
    "version",
    "dag/import",
    "block/get",
    "block/rm",
    "block/stat",
    "pin/rm",
    "repo/gc",
];
/// Characters kept of a node's message.
const MESSAGE_CHARS_MAX: usize = 300;

/// A request's body.
#[derive(Debug)]
pub(super) enum Body {
    /// Pieces that share memory with what they are made of.
    Pieces(Vec<Bytes>),
    /// Pieces that are still being made; their length is not known.
    Stream(mpsc::Receiver<Bytes>),
}

type BodyStream = StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

impl Body {
    /// Its bytes, if they are known.
    fn length(&self) -> Option<usize> {
        match self {
            Self::Pieces(pieces) => Some(pieces.iter().map(Bytes::len).sum()),
            Self::Stream(_) => None,
        }
    }

    fn into_stream(self) -> BodyStream {
        let frame = |piece| Ok(Frame::data(piece));
        StreamBody::new(match self {
            Self::Pieces(pieces) => stream::iter(pieces).map(frame).boxed(),
            Self::Stream(pieces) => {
                let (head, tail) = (stream::iter([head()]), stream::iter([tail()]));
                let pieces = tokio_stream::wrappers::ReceiverStream::new(pieces);
                head.chain(pieces).chain(tail).map(frame).boxed()
            }
        })
    }
}

/// A connection pool to one node.
#[derive(Debug)]
pub(super) struct Rpc {
    client: Client<HttpConnector, BodyStream>,
    base: Uri,
}

/// What Kubo says when it fails.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Failure {
    message: String,
}

/// No body.
pub(super) fn empty() -> Body {
    Body::Pieces(Vec::new())
}

/// A form whose one part is a file made of these chunks.
pub(super) fn file(chunks: Vec<Bytes>) -> Body {
    let mut pieces = Vec::with_capacity(chunks.len() + 2);
    pieces.push(head());
    pieces.extend(chunks);
    pieces.push(tail());
    Body::Pieces(pieces)
}

/// The same of a file that is still being made.
pub(super) fn streamed_file(chunks: mpsc::Receiver<Bytes>) -> Body {
    Body::Stream(chunks)
}

fn head() -> Bytes {
    Bytes::from(format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"file\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    ))
}

fn tail() -> Bytes {
    Bytes::from(format!("\r\n--{BOUNDARY}--\r\n"))
}

impl Rpc {
    pub(super) fn new(base: Uri) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_MAX)
            .build(connector);
        Self { client, base }
    }

    /// Calls a command (name and query) and returns its answer of at most `limit` bytes.
    pub(super) async fn call(
        &self,
        command: &str,
        body: Body,
        limit: usize,
        timeout: Duration,
    ) -> Result<Bytes, StoreError> {
        let began = Instant::now();
        let exchanged = tokio::time::timeout(timeout, self.exchange(command, body, limit)).await;
        let answer = exchanged.unwrap_or_else(|_| {
            Err(StoreError::TimedOut {
                command: name(command),
            })
        });
        let failure = answer.as_ref().err().and_then(store_failure);
        observe_upstream("ipfs", label(command), began, failure);
        answer
    }

    async fn exchange(&self, command: &str, body: Body, limit: usize) -> Result<Bytes, StoreError> {
        let unreachable = |error| StoreError::Unreachable(error);
        let base = self.base.to_string();
        let length = body.length();
        let mut request = Request::post(format!("{}{API}{command}", base.trim_end_matches('/')));
        if let Some(length) = length {
            request = request.header(header::CONTENT_LENGTH, length);
        }
        if length != Some(0) {
            // Kubo may answer before it has read a form to its last byte, and would take the rest
            // for the next request on the connection.
            request = request.header(header::CONNECTION, "close").header(
                header::CONTENT_TYPE,
                format!("multipart/form-data; boundary={BOUNDARY}"),
            );
        }
        let request = request
            .body(body.into_stream())
            .map_err(|error| unreachable(error.into()))?;
        let response = self
            .client
            .request(request)
            .await
            .map_err(|error| unreachable(error.into()))?;
        let status = response.status();
        let answer = match Limited::new(response.into_body(), limit).collect().await {
            Ok(answer) => answer.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                return Err(StoreError::TooLarge {
                    command: name(command),
                });
            }
            Err(error) => return Err(unreachable(error)),
        };
        if status.is_success() {
            return Ok(answer);
        }
        let message = serde_json::from_slice::<Failure>(&answer).map_or_else(
            |_| status.to_string(),
            |failure| failure.message.chars().take(MESSAGE_CHARS_MAX).collect(),
        );
        Err(StoreError::Refused {
            command: name(command),
            status: status.as_u16(),
            message,
        })
    }
}

/// A command as metrics name it.
fn label(command: &str) -> &'static str {
    let name = command.split('?').next().unwrap_or(command);
    let known = LABELS.iter().find(|known| **known == name);
    known.copied().unwrap_or("other")
}

/// A command without its arguments.
fn name(command: &str) -> String {
    command.split('?').next().unwrap_or(command).to_owned()
}
