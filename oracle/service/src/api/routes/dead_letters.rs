//! Records that the contract refuses, for the administrators who mend what it misses or give them up.

use contract_interface::{RecordId, UtcTime};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use warp::reply::Response;

use crate::api::context::id;
use crate::api::problem::Problem;
use crate::api::request::{RestRequest, json};
use crate::api::scalars::{Id, Name, Time};
use crate::journal::RecordKey;
use crate::pipeline::{self, DeadLetterError, DeadLetters};

/// Dead letters in one answer; more are counted only.
const LISTED_MAX: usize = 1000;

/// Records that the contract refuses.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeadLetterList {
    /// Those refused first come first; at most 1,000.
    dead_letters: Vec<DeadLetter>,
    /// How many there are.
    total: usize,
    /// Readings that can be no record yet, because something is missing; they go on by themselves
    /// when it is there. Those that wait longest come first; at most 1,000.
    waiting: Vec<Waiting>,
}

/// Readings of one device that can be no record yet. They are durable in the oracle's journal.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Waiting {
    /// The device.
    #[schema(value_type = Name)]
    device_id: String,
    /// How many readings.
    readings: usize,
    /// What they wait for: `PATIENT_KEY_MISSING`.
    code: &'static str,
    /// The same as a sentence.
    reason: &'static str,
    /// Since when, but not before the oracle's start.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Time>, nullable = false)]
    since: Option<UtcTime>,
    /// Seconds until it is looked whether they can go on.
    retry_in_seconds: u64,
}

impl From<pipeline::Waiting> for Waiting {
    fn from(waiting: pipeline::Waiting) -> Self {
        Self {
            device_id: waiting.device,
            readings: waiting.readings,
            code: waiting.code,
            reason: waiting.reason,
            since: time(waiting.since_ms),
            retry_in_seconds: waiting.retry_in.as_secs(),
        }
    }
}

fn time(since_ms: u64) -> Option<UtcTime> {
    let seconds = i64::try_from(since_ms / 1000).ok()?;
    UtcTime::from_unix_seconds(seconds).ok()
}

/// A record that the contract refuses. Its readings are durable in the oracle's journal.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeadLetter {
    /// The ID it will have on the ledger.
    #[schema(value_type = Id)]
    record_id: String,
    /// The device its readings came from.
    #[schema(value_type = Name)]
    device_id: String,
    /// Readings in it.
    readings: usize,
    /// The contract's code; `UNREADABLE` if what was sealed or answered cannot be read.
    code: String,
    /// The contract's sentence.
    reason: String,
    /// How often it was refused since the oracle's start.
    refusals: u32,
    /// When it was first refused since the oracle's start.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Time>, nullable = false)]
    since: Option<UtcTime>,
    /// Seconds until it is tried again; 0 while it is tried.
    retry_in_seconds: u64,
}

impl From<pipeline::DeadLetter> for DeadLetter {
    fn from(letter: pipeline::DeadLetter) -> Self {
        Self {
            record_id: letter.record.to_hex(),
            device_id: letter.device,
            readings: letter.readings,
            code: letter.code,
            reason: letter.reason,
            refusals: letter.refusals,
            since: time(letter.since_ms),
            retry_in_seconds: letter.retry_in.as_secs(),
        }
    }
}

fn letters(request: &RestRequest) -> Result<&DeadLetters, Problem> {
    let letters = request.api.dead_letters.as_ref();
    letters.ok_or_else(|| {
        Problem::not_found(
            "This process takes no readings and so has no dead letters; the log and the metrics \
             of the one that does tell of them.",
        )
    })
}

fn key(segment: &str) -> Result<RecordKey, Problem> {
    let record: RecordId = id(segment, "dead letter")?;
    Ok(RecordKey(*record.as_bytes()))
}

fn problem(error: DeadLetterError) -> Problem {
    match error {
        DeadLetterError::Unknown => Problem::not_found(
            "There is no dead letter with this ID: it was registered or dropped meanwhile, or \
             never was one.",
        ),
        DeadLetterError::InHand => Problem::new(
            StatusCode::CONFLICT,
            "DEAD_LETTER_IN_HAND",
            "This dead letter is just being tried. Look at the list again in a moment.",
        ),
        other => Problem::internal(other),
    }
}

/// Lists records that the contract refuses and readings that can be no record yet, with the reason;
/// for the organisation's administrators.
#[utoipa::path(
    get, path = "/v1/dead-letters", operation_id = "list_dead_letters", tag = "operation",
    responses(
        (status = 200, body = DeadLetterList),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(request: RestRequest) -> Result<Response, Problem> {
    request.own_admin()?;
    request.query().finish()?;
    let letters = letters(&request)?;
    let found = letters.list();
    let total = found.len();
    let waiting = letters.waiting().into_iter();
    let waiting = waiting.take(LISTED_MAX).map(Waiting::from).collect();
    let dead_letters = found
        .into_iter()
        .take(LISTED_MAX)
        .map(DeadLetter::from)
        .collect();
    let list = DeadLetterList {
        dead_letters,
        total,
        waiting,
    };
    Ok(json(StatusCode::OK, &list))
}

/// Has a refused record tried again now, for example after its device was bound; for the
/// organisation's administrators. The list tells what came of it.
#[utoipa::path(
    post, path = "/v1/dead-letters/{id}/retry", operation_id = "retry_dead_letter", tag = "operation",
    params(("id" = inline(Id), Path, description = "the record's ID")),
    responses(
        (status = 202, description = "It is tried next"),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn retry(segment: String, request: RestRequest) -> Result<Response, Problem> {
    request.own_admin()?;
    request.query().finish()?;
    letters(&request)?.retry(key(&segment)?).map_err(problem)?;
    Ok(empty(StatusCode::ACCEPTED))
}

/// Gives a refused record up for good, with its readings, although the device was told that they
/// are kept; for the organisation's administrators. Who did it is in the oracle's log.
#[utoipa::path(
    post, path = "/v1/dead-letters/{id}/drop", operation_id = "drop_dead_letter", tag = "operation",
    params(("id" = inline(Id), Path, description = "the record's ID")),
    responses(
        (status = 204, description = "It is gone"),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn give_up(segment: String, request: RestRequest) -> Result<Response, Problem> {
    let admin = request.own_admin()?;
    request.query().finish()?;
    let record = key(&segment)?;
    let dropping = letters(&request)?.drop_record(record);
    dropping.await.map_err(problem)?;
    tracing::warn!(
        record = record.to_hex(),
        administrator = hex::encode(admin.certificate.thumbprint()),
        "a dead letter was dropped"
    );
    Ok(empty(StatusCode::NO_CONTENT))
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}
