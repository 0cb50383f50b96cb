//! Answers and errors as HTTP.

use bytes::Bytes;
use cid::Cid;
use futures::{Stream, TryStreamExt as _};
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use serde::Serialize;

use crate::{
    StoreError,
    block::MAX_BLOCK_BYTES,
    car::CarError,
    import::{FolderError, MAX_CHUNK_BYTES},
    path::PathError,
};

/// A failure in the middle of a body: the connection is cut, so that the client notices.
#[derive(Debug, thiserror::Error)]
#[error("answer broken off")]
pub(crate) struct BrokenOff(#[source] pub(crate) RpcError);

type AnswerBody = UnsyncBoxBody<Bytes, BrokenOff>;

/// Kubo's form of an error.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorBody {
    message: String,
    code: u32,
    #[serde(rename = "Type")]
    kind: &'static str,
}

/// One HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer(pub(crate) Response<AnswerBody>);

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const YES: HeaderValue = HeaderValue::from_static("1");
const SERVER: HeaderValue =
    HeaderValue::from_static(concat!("ipfs-devnode/", env!("CARGO_PKG_VERSION")));
const CHUNKED_OUTPUT: HeaderName = HeaderName::from_static("x-chunked-output");
const STREAM_OUTPUT: HeaderName = HeaderName::from_static("x-stream-output");
const CONTENT_LENGTH: HeaderName = HeaderName::from_static("x-content-length");

impl Answer {
    /// One JSON value.
    pub(crate) fn json(value: &impl Serialize) -> Result<Self, RpcError> {
        Self::new(StatusCode::OK, JSON, json_line(value)?).ok()
    }

    /// Any number of JSON values, one a line.
    pub(crate) fn json_lines<T: Serialize>(
        values: impl IntoIterator<Item = T>,
    ) -> Result<Self, RpcError> {
        let mut lines = Vec::new();
        for value in values {
            lines.extend_from_slice(&json_line(&value)?);
        }
        Self::new(StatusCode::OK, JSON, lines)
            .with(CHUNKED_OUTPUT, YES)
            .ok()
    }

    /// Bytes that are produced while they are sent.
    pub(crate) fn stream(
        content_type: &'static str,
        length: Option<u64>,
        pieces: impl Stream<Item = Result<Bytes, RpcError>> + Send + 'static,
    ) -> Self {
        let frames = pieces.map_ok(Frame::data).map_err(|error| {
            tracing::warn!(%error, "answer broken off");
            BrokenOff(error)
        });
        let body = StreamBody::new(frames).boxed_unsync();
        let mut answer = Self(Response::new(body))
            .with(header::CONTENT_TYPE, HeaderValue::from_static(content_type))
            .with(header::SERVER, SERVER)
            .with(STREAM_OUTPUT, YES);
        if let Some(length) = length {
            answer = answer.with(CONTENT_LENGTH, length.into());
        }
        answer
    }

    pub(crate) fn text(status: StatusCode, text: &str) -> Self {
        Self::new(status, TEXT, format!("{text}\n").into_bytes())
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::text(StatusCode::METHOD_NOT_ALLOWED, "405 - Method Not Allowed")
            .with(header::ALLOW, HeaderValue::from_static("OPTIONS, POST"))
    }

    /// The one mapping from errors to HTTP.
    pub(crate) fn error(error: &RpcError) -> Self {
        let status = match error {
            RpcError::Argument(_) | RpcError::Option { .. } | RpcError::NoFile(_) => {
                StatusCode::BAD_REQUEST
            }
            RpcError::UnknownCommand => StatusCode::NOT_FOUND,
            RpcError::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            RpcError::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            RpcError::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        if status != StatusCode::INTERNAL_SERVER_ERROR {
            return Self::text(status, &error.to_string());
        }
        let body = ErrorBody {
            message: message(error),
            code: 0,
            kind: "error",
        };
        let mut body = serde_json::to_vec(&body).expect("two texts and a number can be written");
        body.push(b'\n');
        Self::new(status, JSON, body)
    }

    fn new(status: StatusCode, content_type: HeaderValue, body: Vec<u8>) -> Self {
        let body = Full::from(body)
            .map_err(|never| match never {})
            .boxed_unsync();
        let mut response = Response::new(body);
        *response.status_mut() = status;
        Self(response)
            .with(header::CONTENT_TYPE, content_type)
            .with(header::SERVER, SERVER)
    }

    fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers_mut().insert(name, value);
        self
    }

    fn ok(self) -> Result<Self, RpcError> {
        Ok(self)
    }
}

/// The text for the client; of a failing disk also what the operating system said.
fn message(error: &RpcError) -> String {
    match error {
        RpcError::Store(StoreError::Io { source, .. }) => {
            tracing::warn!(%error, %source, "disk failed");
            format!("{error}: {source}")
        }
        _ => error.to_string(),
    }
}

fn json_line(value: &impl Serialize) -> Result<Vec<u8>, RpcError> {
    let mut line = serde_json::to_vec(value).map_err(RpcError::Json)?;
    line.push(b'\n');
    Ok(line)
}

/// A command that failed. The texts are Kubo's where clients compare them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RpcError {
    /// A required argument is missing.
    #[error("argument {0:?} is required")]
    Argument(&'static str),
    /// A command that takes files got none.
    #[error("file argument '{0}' is required")]
    NoFile(&'static str),
    /// An option does not parse.
    #[error("could not convert value {value:?} to type {kind:?} (for option \"-{option}\")")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// Its type.
        kind: &'static str,
        /// What was given.
        value: String,
    },
    /// The path has no command.
    #[error("404 page not found")]
    UnknownCommand,
    /// The body, a file in it, or the number of files exceeds a limit.
    #[error("request body exceeds a limit of this node")]
    BodyTooLarge,
    /// The client stopped sending.
    #[error("request body did not arrive in time")]
    BodyTimeout,
    /// The body is not multipart, or breaks off.
    #[error("malformed multipart body: {0}")]
    Multipart(#[source] multer::Error),
    /// The process is ending.
    #[error("shutting down")]
    ShuttingDown,
    /// A negative offset or length.
    #[error("cannot specify negative {0}")]
    Negative(&'static str),
    /// The chunker is not a fixed size.
    #[error("unrecognized chunker option: {0}")]
    Chunker(String),
    /// A chunk of no bytes.
    #[error("chunker size must be greater than 0")]
    ChunkerZero,
    /// A chunk larger than a block may be.
    #[error("chunker parameters may not exceed the maximum chunk size of {MAX_CHUNK_BYTES}")]
    ChunkerTooLarge,
    /// Only versions 0 and 1 exist.
    #[error("unknown CID version: {0}")]
    CidVersion(i64),
    /// The codec's name is unknown here.
    #[error("unknown multicodec: {0:?}")]
    Codec(String),
    /// The hash function's name is unknown here.
    #[error("unrecognized multihash function: {0}")]
    Hash(String),
    /// An option of Kubo that this node does not have.
    #[error("option {0:?} is not supported by ipfs-devnode")]
    Unsupported(&'static str),
    /// A part of the upload is neither a file nor a folder.
    #[error("files of type {0:?} are not supported by ipfs-devnode")]
    FileType(String),
    /// A file name that is no path below the upload.
    #[error("invalid file name {0:?}")]
    FileName(String),
    /// A block beyond the limit.
    #[error(
        "produced block is over 2MiB: big blocks can't be exchanged with other peers. consider \
         using UnixFS for automatic chunking of bigger files ({MAX_BLOCK_BYTES} bytes at most)"
    )]
    BlockTooLarge,
    /// More blocks in one request than this node takes.
    #[error("request would make more than {0} blocks")]
    TooManyBlocks(usize),
    /// The CAR is wrong before its first block.
    #[error("{0}")]
    Car(CarError),
    /// The CAR is wrong behind some block.
    #[error("import failed after block \"{previous}\": {source}")]
    CarAfter {
        /// The last block that was in order.
        previous: Box<Cid>,
        /// What is wrong.
        source: CarError,
    },
    /// A block in the CAR is wrong.
    #[error("import failed at block \"{cid}\": {source}")]
    CarBlock {
        /// The block.
        cid: Box<Cid>,
        /// What is wrong with it.
        source: Box<StoreError>,
    },
    /// The pin type is not one of Kubo's.
    #[error("invalid type '{0}', must be one of {{direct, indirect, recursive, all}}")]
    PinType(String),
    /// A path that was asked about is not pinned.
    #[error("path '{0}' is not pinned")]
    PathNotPinned(String),
    /// A pin name beyond the limit.
    #[error("pin name is longer than {0} bytes")]
    PinName(usize),
    /// A pin could not be made.
    #[error("pin: {0}")]
    Pin(#[source] StoreError),
    /// The path does not parse.
    #[error("{0}")]
    Path(PathError),
    /// Folders could not be built.
    #[error("{0}")]
    Folder(FolderError),
    /// The store failed.
    #[error("{0}")]
    Store(#[source] StoreError),
    /// The answer could not be written.
    #[error("answer cannot be written as JSON")]
    Json(#[source] serde_json::Error),
}
