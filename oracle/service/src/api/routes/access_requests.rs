//! Requests for access: a provider asks, the patient answers.

use contract_interface::access::AccessRequestFilter;
use contract_interface::{AccessRequestId, RefuseAccess, RequestAccess, Role};
use http::StatusCode;
use warp::reply::Response;

use crate::api::context::id;
use crate::api::problem::Problem;
use crate::api::request::{Body, RestRequest, json, page};
use crate::api::scalars::{Id, PageToken};
use crate::api::signed;
use crate::api::types::AccessRequestReceipt;
use crate::ledger::Viewer;

/// Lists requests for access to a patient, or of a provider, by pages. Without either: a patient
/// sees the requests received, anyone else the own ones.
#[utoipa::path(
    get, path = "/v1/access-requests", operation_id = "list_access_requests", tag = "consent",
    params(
        ("patient" = inline(Option<Id>), Query, description = "requests to this patient"),
        ("requester" = inline(Option<Id>), Query, description = "requests of this provider"),
        ("open_only" = Option<bool>, Query, description = "only those not answered"),
        ("page_size" = Option<u16>, Query, minimum = 1, maximum = 200),
        ("page_token" = inline(Option<PageToken>), Query, description = "next_page_token of the page before"),
    ),
    responses(
        (status = 200, body = crate::api::types::AccessRequestPage),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(request: RestRequest) -> Result<Response, Problem> {
    let caller = request.caller()?;
    let mut query = request.query();
    let mut filter = AccessRequestFilter {
        patient: query.take("patient")?,
        requester: query.take("requester")?,
        open_only: query.take("open_only")?.unwrap_or_default(),
        page: page(&mut query)?,
    };
    query.finish()?;
    if filter.patient.is_some() && filter.requester.is_some() {
        return Err(Problem::malformed(
            "Requests are listed by \"patient\" or by \"requester\", not by both at once.",
        ));
    }
    if filter.patient.is_none() && filter.requester.is_none() {
        let participant = request.participant(&caller).await?;
        match participant.role {
            Role::Patient => filter.patient = Some(participant.participant_id.into()),
            _ => filter.requester = Some(participant.participant_id),
        }
    }
    let viewer = Viewer::Caller(&caller.certificate);
    let found = request.api.ledger.access_requests(viewer, &filter).await?;
    Ok(json(StatusCode::OK, &found))
}

/// Asks a patient for access. The body is a `RequestAccess` request that the provider signed.
#[utoipa::path(
    post, path = "/v1/access-requests", operation_id = "request_access", tag = "consent",
    request_body(content = String, content_type = "application/jose", description = "compact JWS (ES256) of a SignedRequest for access-control:RequestAccess"),
    responses(
        (status = 201, body = AccessRequestReceipt),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn ask(request: RestRequest, body: Body) -> Result<Response, Problem> {
    let (jws, signed) = request.signed_body::<RequestAccess>(body)?;
    let valid = signed.body.request.validate();
    valid.map_err(|error| signed::invalid("request for access", &error))?;
    let receipt = request.api.ledger.request_access(&jws).await?;
    Ok(json(
        StatusCode::CREATED,
        &AccessRequestReceipt::new(&receipt),
    ))
}

/// Refuses a request for access. The body is a `RefuseAccess` request that the patient or a
/// guardian signed. A grant with `in_reply_to` accepts one.
#[utoipa::path(
    post, path = "/v1/access-requests/{id}/refusal", operation_id = "refuse_access", tag = "consent",
    params(("id" = inline(Id), Path, description = "32 lower-case hex digits")),
    request_body(content = String, content_type = "application/jose", description = "compact JWS (ES256) of a SignedRequest for access-control:RefuseAccess"),
    responses(
        (status = 200, body = AccessRequestReceipt),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn refuse(
    segment: String,
    request: RestRequest,
    body: Body,
) -> Result<Response, Problem> {
    request.caller()?;
    let request_id: AccessRequestId = id(&segment, "request for access")?;
    let (jws, signed) = request.signed_body::<RefuseAccess>(body)?;
    if signed.body.request_id != request_id {
        return Err(signed::about_something_else("request for access"));
    }
    let receipt = request.api.ledger.refuse_access(&jws).await?;
    Ok(json(StatusCode::OK, &AccessRequestReceipt::new(&receipt)))
}
