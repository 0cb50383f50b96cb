//! The one place where an error becomes an HTTP answer.
//!
//! Answers are RFC 9457 problems: `type` is `about:blank`, so `title` is the status' own phrase;
//! `code` is stable and for programs; `detail` is a sentence for the person in front of the
//! screen, saying what was missing and whom to ask. The cause is logged here, once, and never
//! sent: it may name hosts and folders of the oracle.

use std::error::Error as StdError;
use std::sync::Arc;

use contract_interface::{ErrorCode, ReasonCode, RecordId};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;
use warp::reject::{InvalidQuery, MethodNotAllowed, Rejection};
use warp::reply::{Reply, Response};

use crate::api::context::TraceId;
use crate::api::scalars::Hash;
use crate::api::sentences::{self, Addressee, Around};
use crate::ledger::LedgerError;
use crate::open::ReadError;
use crate::store::StoreError;

/// Seconds a client is asked to wait before it tries again.
const RETRY_AFTER_SECONDS: u16 = 2;
/// What a 401 must say (RFC 9110, 15.5.2). No scheme is registered for client certificates.
const CHALLENGE: &str = "ClientCertificate realm=\"salus\"";
/// Media type of RFC 9457.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// Why a request was not done.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    read: Option<Box<DeniedRead>>,
    /// Whether the same request may succeed shortly.
    retry: bool,
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

/// A refusal or failure, as RFC 9457 has it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody<'a> {
    /// Always `about:blank`; `code` tells problems apart.
    r#type: &'static str,
    /// The status' phrase.
    title: &'a str,
    /// The HTTP status again.
    status: u16,
    /// What happened and what to do, for people.
    detail: &'a str,
    /// What happened, for programs; stable.
    code: &'a str,
    /// Names this request in the oracle's log.
    trace_id: String,
    /// The read, when one was refused: the transaction that refused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Hash>)]
    read_id: Option<&'a str>,
    /// The same, by the name other answers have for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Hash>)]
    transaction_id: Option<&'a str>,
    /// The block it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    block_number: Option<u64>,
    /// Why, in the contract's code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    reason: Option<ReasonCode>,
}

/// A refused read, as it is on the ledger.
#[derive(Debug)]
pub(crate) struct DeniedRead {
    /// The transaction that refused it.
    read_id: String,
    block_number: u64,
    reason: ReasonCode,
}

impl Problem {
    /// A problem with a stable code and a sentence for people.
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            read: None,
            retry: false,
            cause: None,
        }
    }

    /// The request breaks the API's rules.
    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "MALFORMED_REQUEST", detail)
    }

    /// The signed request cannot be read.
    pub(crate) fn malformed_jws(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "MALFORMED_JWS", detail)
    }

    /// Nothing has that ID, or the caller may not know of it.
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", detail)
    }

    /// Too much is going on; the same request may succeed shortly.
    pub(crate) fn busy() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "BUSY",
            "The oracle is answering as many requests as it can. Please try again in a moment.",
        )
        .retry_later()
    }

    /// The answer did not begin in time.
    pub(crate) fn timeout() -> Self {
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            "TIMEOUT",
            "The network of hospitals did not answer in time. The request may still have been \
             carried out; look before you repeat it.",
        )
    }

    /// The contract's refusal of a read, which is itself on the ledger.
    pub(crate) fn read_denied(record: &RecordId, read: DeniedRead, around: Around<'_>) -> Self {
        let mut problem = Self::new(
            StatusCode::FORBIDDEN,
            "READ_DENIED",
            format!(
                "{} This refusal is recorded as read {} of record {record}; the patient can see \
                 it.",
                sentences::of_reason(read.reason, around, Addressee::Reader),
                read.read_id
            ),
        );
        problem.read = Some(Box::new(read));
        problem
    }

    /// Something the oracle itself got wrong.
    pub(crate) fn internal(cause: impl StdError + Send + Sync + 'static) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "INTERNAL",
            "The oracle could not do this because of a fault of its own. Please give the \
             trace_id to whoever runs it.",
        )
        .caused_by(cause)
    }

    /// Keeps the cause for the log.
    pub(crate) fn caused_by(mut self, cause: impl StdError + Send + Sync + 'static) -> Self {
        self.cause = Some(Box::new(cause));
        self
    }

    fn retry_later(mut self) -> Self {
        self.retry = true;
        self
    }

    /// The HTTP status.
    #[cfg(test)]
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// A response that carries this problem to [`render`].
    pub(crate) fn deferred(self) -> Response {
        let mut response = warp::reply().into_response();
        *response.status_mut() = self.status;
        response.extensions_mut().insert(Arc::new(self));
        response
    }

    /// The answer, after logging the cause under the same trace ID.
    pub(crate) fn to_response(&self, trace_id: TraceId) -> Response {
        self.log();
        let read = self.read.as_deref();
        let body = ProblemBody {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
            trace_id: trace_id.to_string(),
            read_id: read.map(|read| read.read_id.as_str()),
            transaction_id: read.map(|read| read.read_id.as_str()),
            block_number: read.map(|read| read.block_number),
            reason: read.map(|read| read.reason),
        };
        let mut response = warp::reply::json(&body).into_response();
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static(CHALLENGE),
            );
        }
        if self.retry {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
        }
        response
    }

    fn log(&self) {
        let mut causes = String::new();
        let mut next: Option<&dyn StdError> = match &self.cause {
            Some(cause) => Some(cause.as_ref()),
            None => None,
        };
        while let Some(cause) = next {
            if !causes.is_empty() {
                causes.push_str(": ");
            }
            causes.push_str(&cause.to_string());
            next = cause.source();
        }
        let (status, code) = (self.status.as_u16(), self.code);
        if self.status.is_server_error() {
            tracing::error!(status, code, causes, "request failed");
        } else {
            tracing::info!(status, code, causes, "request refused");
        }
    }
}

/// Writes the problem that a response carries, if it carries one. Only here is the trace ID known.
pub(crate) fn render(mut response: Response, trace_id: TraceId) -> Response {
    let Some(problem) = response.extensions_mut().remove::<Arc<Problem>>() else {
        return response;
    };
    let mut rendered = problem.to_response(trace_id);
    if let Some(allow) = response.headers_mut().remove(header::ALLOW) {
        rendered.headers_mut().insert(header::ALLOW, allow);
    }
    rendered
}

/// The answer to a request that no route takes, in the router's own words.
pub(crate) fn of_rejection(rejection: &Rejection) -> Problem {
    if rejection.find::<MethodNotAllowed>().is_some() {
        Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "METHOD_NOT_ALLOWED",
            "This address cannot be used in this way. /openapi.json lists what can be done where.",
        )
    } else if rejection.find::<InvalidQuery>().is_some() {
        Problem::malformed("The part of the address after the question mark cannot be read.")
    } else {
        Problem::not_found("There is nothing at this address. /openapi.json lists what there is.")
    }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        match &error {
            LedgerError::Contract {
                code: Some(code),
                message,
                ..
            } => Self {
                status: contract_status(*code),
                code: code.as_str(),
                detail: sentence(message),
                read: None,
                retry: error.is_retryable(),
                cause: None,
            },
            LedgerError::OutcomeUnknown(_) => Self::timeout().caused_by(error),
            _ if error.is_retryable() => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "LEDGER_UNAVAILABLE",
                "The shared ledger cannot be reached at the moment. Nothing was changed; please \
                 try again shortly.",
            )
            .retry_later()
            .caused_by(error),
            _ => Self::internal(error),
        }
    }
}

/// A contract's message as a sentence: contracts write them without capital and full stop.
fn sentence(message: &str) -> String {
    let mut letters = message.chars();
    let mut sentence: String = letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default();
    if !sentence.ends_with(['.', '!', '?']) {
        sentence.push('.');
    }
    sentence
}

/// The HTTP status of a contract's code.
fn contract_status(code: ErrorCode) -> StatusCode {
    StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "STORE_UNAVAILABLE",
            "The store that keeps the sealed data cannot be reached at the moment. Please try \
             again shortly.",
        )
        .retry_later()
        .caused_by(error)
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Ledger(error) => error.into(),
            ReadError::Store(error) => error.into(),
            ReadError::UnknownRecord => Self::new(
                StatusCode::NOT_FOUND,
                "RECORD_NOT_FOUND",
                "No record with this ID is registered, or it has been erased.",
            ),
            ReadError::Denied {
                record_id,
                read_id,
                block_number,
                reason,
            } => Self::read_denied(
                &record_id,
                DeniedRead {
                    read_id,
                    block_number,
                    reason,
                },
                Around::default(),
            ),
            ReadError::NoKeyHere { msp_id } => Self::new(
                StatusCode::CONFLICT,
                "KEY_ELSEWHERE",
                format!(
                    "The key of this record is kept by {msp_id}. Ask that organisation's oracle."
                ),
            ),
            ReadError::ReaderHasNoKey => Self::new(
                StatusCode::CONFLICT,
                "READER_KEY_MISSING",
                "You have not registered an encryption key, so nothing can be sealed for you. Make \
                 one with \"salus keys create\" and have your administrator register it.",
            ),
            ReadError::ReaderKey(cause) => Self::new(
                StatusCode::CONFLICT,
                "READER_KEY_UNUSABLE",
                "Your registered encryption key cannot be used. Make a new one with \"salus keys \
                 create\" and have your administrator register it.",
            )
            .caused_by(cause),
            ReadError::ObjectMismatch | ReadError::Sealed(_) => Self::new(
                StatusCode::BAD_GATEWAY,
                "OBJECT_DAMAGED",
                "What is stored for this record is not what was registered, so it was not handed \
                 out. Please give the trace_id to whoever runs this oracle.",
            )
            .caused_by(error),
            ReadError::TooLarge => Self::new(
                StatusCode::NOT_ACCEPTABLE,
                "NOT_ACCEPTABLE",
                "This record is too large to be opened here. Get it sealed and open it with the \
                 salus program.",
            ),
            ReadError::Unwrap(_) | ReadError::Wrap(_) | ReadError::Cancelled(_) => {
                Self::internal(error)
            }
        }
    }
}
