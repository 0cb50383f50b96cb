//! The one place where an error becomes an HTTP answer.
//!
//! Answers are RFC 9457 problems: `type` is `about:blank`, so `title` is the status' own phrase;
//! `code` is stable and for programs; `detail` is a sentence for the person in front of the
//! screen, saying what was missing and whom to ask. The cause is logged here, once, and never
//! sent: it may name hosts and folders of the oracle.

mod causes;

use std::error::Error as StdError;
use std::sync::Arc;

use contract_interface::access::Explanation;
use contract_interface::{ReasonCode, RecordId};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;
use warp::reject::{InvalidQuery, MethodNotAllowed, Rejection};
use warp::reply::{Reply, Response};

use crate::api::context::TraceId;
use crate::api::scalars::Hash;
use crate::api::sentences::{self, Addressee, Around};

/// Seconds a client is asked to wait before it tries again.
const RETRY_AFTER_SECONDS: u16 = 2;
/// What a 401 must say (RFC 9110, 15.5.2). No scheme is registered for client certificates.
const CHALLENGE: &str = "ClientCertificate realm=\"salus\"";
/// Code of a read that the contract denied, and recorded.
pub(crate) const READ_DENIED: &str = "READ_DENIED";
/// Media type of RFC 9457.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// Why a request was not done.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    read: Option<Box<DecidedRead>>,
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
    /// The read, when one was refused, or permitted and not served: the transaction that decided.
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

/// A read without data for its reader, as it is on the ledger.
#[derive(Debug)]
struct DecidedRead {
    /// The transaction that decided.
    read_id: String,
    block_number: u64,
    /// Why it was denied; none if it was permitted and could not be served.
    reason: Option<ReasonCode>,
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

    /// Tokens are tried faster than a device does.
    pub(crate) fn too_many_tries() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "TOO_MANY_TRIES",
            "Too many tokens have been tried of late. Wait a few seconds and try again.",
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
    fn read_denied(
        record: &RecordId,
        (read_id, block_number): (String, u64),
        reason: ReasonCode,
        explanation: Option<&Explanation>,
    ) -> Self {
        // The rules may have changed since the decision; then only the reason is sure.
        let around = explanation.map_or_else(Around::default, |explanation| Around {
            registrar: Some(&explanation.registrar),
            patient_msp: Some(&explanation.patient_msp),
            rule: Some(&explanation.verdict)
                .filter(|verdict| verdict.reason == reason)
                .and_then(|verdict| verdict.rule.as_ref()),
        });
        let mut problem = Self::new(
            StatusCode::FORBIDDEN,
            READ_DENIED,
            format!(
                "{} This refusal is recorded as read {read_id} of record {record}; the patient can \
                 see it.",
                sentences::of_reason(reason, around, Addressee::Reader),
            ),
        );
        problem.read = Some(Box::new(DecidedRead {
            read_id,
            block_number,
            reason: Some(reason),
        }));
        problem
    }

    /// A read that is on the ledger as permitted and could not be served.
    fn permitted_as(mut self, read_id: String, block_number: u64) -> Self {
        self.read = Some(Box::new(DecidedRead {
            read_id,
            block_number,
            reason: None,
        }));
        self
    }

    /// Whether the ledger knows of what came of this request.
    pub(crate) fn is_recorded(&self) -> bool {
        self.read.is_some()
    }

    /// What happened, for programs.
    pub(crate) fn code(&self) -> &'static str {
        self.code
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
            reason: read.and_then(|read| read.reason),
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

/// The problem that a response carries to [`render`], if it carries one.
pub(crate) fn carried(response: &Response) -> Option<&Problem> {
    response
        .extensions()
        .get::<Arc<Problem>>()
        .map(AsRef::as_ref)
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
