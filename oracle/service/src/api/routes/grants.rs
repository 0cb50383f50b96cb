//! Permissions and prohibitions: given and ended by the signature of the patient or a guardian.

use contract_interface::{GrantAccess, GrantFilter, GrantId, Pseudonym, RevokeAccess, Role};
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

/// One grant, if the caller may see it.
#[utoipa::path(
    get, path = "/v1/grants/{id}", operation_id = "get_grant", tag = "consent",
    params(
        ("id" = inline(Id), Path, description = "32 lower-case hex digits"),
        ("patient" = inline(Option<Id>), Query, description = "whose grant it is; a patient may leave it out"),
    ),
    responses(
        (status = 200, body = crate::api::types::GrantEntry),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn one(segment: String, request: RestRequest) -> Result<Response, Problem> {
    let caller = request.caller()?;
    let grant_id: GrantId = id(&segment, "grant")?;
    let mut query = request.query();
    let named: Option<Pseudonym> = query.take("patient")?;
    query.finish()?;
    let patient = match named {
        Some(patient) => patient,
        None => request.participant(&caller).await?.participant_id.into(),
    };
    let viewer = Viewer::Caller(&caller.certificate);
    match request
        .api
        .ledger
        .grant(viewer, &patient, &grant_id)
        .await?
    {
        Some(grant) => Ok(json(StatusCode::OK, &grant)),
        None => Err(Problem::not_found(
            "This patient has given no grant with this ID. Say whose grant it is with the \
             parameter \"patient\".",
        )),
    }
}

/// Gives a grant. The body is a `GrantAccess` request that the patient signed, or a guardian with
/// the power to grant, who names the patient in it.
#[utoipa::path(
    post, path = "/v1/grants", operation_id = "give_grant", tag = "consent",
    request_body(content = String, content_type = "application/jose", description = "compact JWS (ES256) of a SignedRequest for access-control:GrantAccess"),
    responses(
        (status = 201, body = GrantReceipt),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn give(request: RestRequest, body: Body) -> Result<Response, Problem> {
    let (jws, signed) = request.signed_body::<GrantAccess>(body)?;
    let valid = signed.body.grant.validate();
    valid.map_err(|error| signed::invalid("grant", &error))?;
    let receipt = request.api.ledger.grant_access(&jws).await?;
    request.api.jobs.wake();
    Ok(json(StatusCode::CREATED, &GrantReceipt::new(&receipt)))
}

/// Ends a grant. The body is a `RevokeAccess` request that the patient or a guardian signed.
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
    request.caller()?;
    let grant_id: GrantId = id(&segment, "grant")?;
    let (jws, signed) = request.signed_body::<RevokeAccess>(body)?;
    if signed.body.grant_id != grant_id {
        return Err(signed::about_something_else("grant"));
    }
    let receipt = request.api.ledger.revoke_access(&jws).await?;
    request.api.jobs.wake();
    Ok(json(StatusCode::OK, &GrantReceipt::new(&receipt)))
}
