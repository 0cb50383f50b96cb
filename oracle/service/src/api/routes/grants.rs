//! Permissions: given and ended by the patient's own signature.

use contract_interface::{GrantAccess, GrantFilter, GrantId, RevokeAccess, Role};
use http::StatusCode;
use warp::reply::Response;

use crate::api::context::id;
use crate::api::problem::Problem;
use crate::api::request::{Body, RestRequest, json, page};
use crate::api::scalars::{Id, PageToken};
use crate::api::signed;
use crate::api::types::GrantReceipt;
use crate::ledger::Viewer;

/// Lists grants of a patient, or to a grantee, by pages. Without either: a patient sees the grants
/// given, anyone else those received.
#[utoipa::path(
    get, path = "/v1/grants", operation_id = "list_grants", tag = "consent",
    params(
        ("patient" = inline(Option<Id>), Query, description = "grants that this patient gave"),
        ("grantee" = inline(Option<Id>), Query, description = "grants to this participant"),
        ("page_size" = Option<u16>, Query, minimum = 1, maximum = 200),
        ("page_token" = inline(Option<PageToken>), Query, description = "next_page_token of the page before"),
    ),
    responses(
        (status = 200, body = crate::api::types::GrantPage),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(request: RestRequest) -> Result<Response, Problem> {
    let caller = request.caller()?;
    let mut query = request.query();
    let mut filter = GrantFilter {
        patient: query.take("patient")?,
        grantee: query.take("grantee")?,
        page: page(&mut query)?,
    };
    query.finish()?;
    if filter.patient.is_some() && filter.grantee.is_some() {
        return Err(Problem::malformed(
            "Grants are listed by \"patient\" or by \"grantee\", not by both at once.",
        ));
    }
    if filter.patient.is_none() && filter.grantee.is_none() {
        let participant = request.participant(&caller).await?;
        match participant.role {
            Role::Patient => filter.patient = Some(participant.participant_id.into()),
            _ => filter.grantee = Some(participant.participant_id),
        }
    }
    let viewer = Viewer::Caller(&caller.certificate);
    let found = request.api.ledger.grants(viewer, &filter).await?;
    Ok(json(StatusCode::OK, &found))
}

/// Gives a grant. The body is a `GrantAccess` request that the patient signed.
#[utoipa::path(
    post, path = "/v1/grants", operation_id = "give_grant", tag = "consent",
    request_body(content = String, content_type = "application/jose", description = "compact JWS (ES256) of a SignedRequest for access-control:GrantAccess"),
    responses(
        (status = 201, body = GrantReceipt),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn give(request: RestRequest, body: Body) -> Result<Response, Problem> {
    let caller = request.caller()?;
    let jws = request.jose_body(body)?;
    let signed = signed::verify::<GrantAccess>(&jws, &caller, request.api.ledger.channel())?;
    signed.body.grant.validate().map_err(|error| {
        Problem::malformed(format!(
            "The grant cannot be kept: expected {}.",
            error.expected
        ))
    })?;
    let receipt = request.api.ledger.grant_access(&jws).await?;
    Ok(json(StatusCode::CREATED, &GrantReceipt::new(&receipt)))
}

/// Ends a grant. The body is a `RevokeAccess` request that the patient signed.
#[utoipa::path(
    post, path = "/v1/grants/{id}/revocation", operation_id = "revoke_grant", tag = "consent",
    params(("id" = inline(Id), Path, description = "32 lower-case hex digits")),
    request_body(content = String, content_type = "application/jose", description = "compact JWS (ES256) of a SignedRequest for access-control:RevokeAccess"),
    responses(
        (status = 200, body = GrantReceipt),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn revoke(
    segment: String,
    request: RestRequest,
    body: Body,
) -> Result<Response, Problem> {
    let caller = request.caller()?;
    let grant_id: GrantId = id(&segment, "grant")?;
    let jws = request.jose_body(body)?;
    let signed = signed::verify::<RevokeAccess>(&jws, &caller, request.api.ledger.channel())?;
    if signed.body.grant_id != grant_id {
        return Err(signed::about_something_else("grant"));
    }
    let receipt = request.api.ledger.revoke_access(&jws).await?;
    Ok(json(StatusCode::OK, &GrantReceipt::new(&receipt)))
}
