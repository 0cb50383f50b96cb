//! Which records there are: their metadata, never what was measured.

use contract_interface::{Pseudonym, RecordFilter, Role};
use http::StatusCode;
use warp::reply::Response;

use crate::api::context::id;
use crate::api::problem::Problem;
use crate::api::request::{RestRequest, json, page, period};
use crate::api::scalars::{Id, Name, PageToken, Time};
use crate::ledger::Viewer;

/// Lists a patient's records that the caller may see, in order of time, by pages.
#[utoipa::path(
    get, path = "/v1/records", operation_id = "list_records", tag = "records",
    params(
        ("patient" = inline(Option<Id>), Query, description = "pseudonym; a patient may leave it out"),
        ("type" = inline(Option<Name>), Query, description = "LOINC code or category"),
        ("from" = inline(Option<Time>), Query, description = "with a reading at or after, RFC 3339 in UTC"),
        ("to" = inline(Option<Time>), Query, description = "with a reading at or before"),
        ("page_size" = Option<u16>, Query, minimum = 1, maximum = 200),
        ("page_token" = inline(Option<PageToken>), Query, description = "next_page_token of the page before"),
    ),
    responses(
        (status = 200, body = crate::api::types::RecordPage),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(request: RestRequest) -> Result<Response, Problem> {
    let caller = request.caller()?;
    let mut query = request.query();
    let named: Option<Pseudonym> = query.take("patient")?;
    let record_type = query.take("type")?;
    let (from, to) = period(&mut query)?;
    let page = page(&mut query)?;
    query.finish()?;
    let patient = match named {
        Some(patient) => patient,
        None => {
            let participant = request.participant(&caller).await?;
            if participant.role != Role::Patient {
                return Err(Problem::malformed(
                    "Say whose records to list with the parameter \"patient\".",
                ));
            }
            participant.participant_id.into()
        }
    };
    let filter = RecordFilter {
        patient,
        record_type,
        from,
        to,
        page,
    };
    let viewer = Viewer::Caller(&caller.certificate);
    let found = request.api.ledger.records(viewer, &filter).await?;
    Ok(json(StatusCode::OK, &found))
}

/// One record, if the caller may see it.
#[utoipa::path(
    get, path = "/v1/records/{id}", operation_id = "get_record", tag = "records",
    params(("id" = inline(Id), Path, description = "32 lower-case hex digits")),
    responses(
        (status = 200, body = crate::api::types::Record),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn one(segment: String, request: RestRequest) -> Result<Response, Problem> {
    let caller = request.caller()?;
    let record_id = id(&segment, "record")?;
    request.query().finish()?;
    let viewer = Viewer::Caller(&caller.certificate);
    match request.api.ledger.record(viewer, &record_id).await? {
        Some(record) => Ok(json(StatusCode::OK, &record)),
        None => Err(Problem::not_found("No record with this ID is registered.")),
    }
}
