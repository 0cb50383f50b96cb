//! Who read what: every decision, permitted and denied.

use contract_interface::{ReadFilter, ReadId, Role};
use http::StatusCode;
use warp::reply::Response;

use crate::api::context::id;
use crate::api::problem::Problem;
use crate::api::request::{RestRequest, json, page, period};
use crate::api::scalars::{Hash, Id, PageToken, Time};
use crate::ledger::Viewer;

/// Lists decisions on reads that the caller may see, in order of time, by pages. Without a patient,
/// record or reader: a patient sees the reads of the own records, anyone else the own reads.
#[utoipa::path(
    get, path = "/v1/reads", operation_id = "list_reads", tag = "audit",
    params(
        ("patient" = inline(Option<Id>), Query, description = "reads of this patient's records"),
        ("record_id" = inline(Option<Id>), Query, description = "reads of this record"),
        ("reader" = inline(Option<Id>), Query, description = "reads by this participant"),
        ("from" = inline(Option<Time>), Query, description = "requested at or after, RFC 3339 in UTC"),
        ("to" = inline(Option<Time>), Query, description = "requested at or before"),
        ("page_size" = Option<u16>, Query, minimum = 1, maximum = 200),
        ("page_token" = inline(Option<PageToken>), Query, description = "next_page_token of the page before"),
    ),
    responses(
        (status = 200, body = crate::api::types::ReadPage),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(request: RestRequest) -> Result<Response, Problem> {
    let caller = request.caller()?;
    let mut query = request.query();
    let mut filter = ReadFilter {
        patient: query.take("patient")?,
        record_id: query.take("record_id")?,
        reader: query.take("reader")?,
        ..ReadFilter::default()
    };
    (filter.from, filter.to) = period(&mut query)?;
    filter.page = page(&mut query)?;
    query.finish()?;
    if filter.patient.is_none() && filter.record_id.is_none() && filter.reader.is_none() {
        let participant = request.participant(&caller).await?;
        match participant.role {
            Role::Patient => filter.patient = Some(participant.participant_id.into()),
            _ => filter.reader = Some(participant.participant_id),
        }
    }
    let viewer = Viewer::Caller(&caller.certificate);
    let found = request.api.ledger.reads(viewer, &filter).await?;
    Ok(json(StatusCode::OK, &found))
}

/// One decision on a read, if the caller may see it: the receipt of a read.
#[utoipa::path(
    get, path = "/v1/reads/{id}", operation_id = "get_read", tag = "audit",
    params(("id" = inline(Hash), Path, description = "the read's transaction: 64 lower-case hex digits")),
    responses(
        (status = 200, body = crate::api::types::ReadEntry),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn one(segment: String, request: RestRequest) -> Result<Response, Problem> {
    let caller = request.caller()?;
    let read_id: ReadId = id(&segment, "read")?;
    request.query().finish()?;
    let viewer = Viewer::Caller(&caller.certificate);
    match request.api.ledger.read(viewer, &read_id).await? {
        Some(read) => Ok(json(StatusCode::OK, &read)),
        None => Err(Problem::not_found("No read with this ID is recorded.")),
    }
}
