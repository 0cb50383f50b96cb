//! Guardians: who may act for a patient.

use contract_interface::access::DelegationFilter;
use contract_interface::{Delegate, DelegationId, RevokeDelegation, Role};
use http::StatusCode;
use warp::reply::Response;

use crate::api::context::id;
use crate::api::problem::Problem;
use crate::api::request::{Body, RestRequest, json, page};
use crate::api::scalars::{Id, PageToken};
use crate::api::signed;
use crate::api::types::DelegationReceipt;
use crate::ledger::Viewer;

/// Lists the delegations of a patient, or to a guardian, by pages. Without either: a patient sees
/// who may act for them, anyone else for whom they may act.
#[utoipa::path(
    get, path = "/v1/delegations", operation_id = "list_delegations", tag = "consent",
    params(
        ("patient" = inline(Option<Id>), Query, description = "who may act for this patient"),
        ("guardian" = inline(Option<Id>), Query, description = "for whom this participant may act"),
        ("page_size" = Option<u16>, Query, minimum = 1, maximum = 200),
        ("page_token" = inline(Option<PageToken>), Query, description = "next_page_token of the page before"),
    ),
    responses(
        (status = 200, body = crate::api::types::DelegationPage),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(request: RestRequest) -> Result<Response, Problem> {
    let caller = request.caller()?;
    let mut query = request.query();
    let mut filter = DelegationFilter {
        patient: query.take("patient")?,
        guardian: query.take("guardian")?,
        page: page(&mut query)?,
    };
    query.finish()?;
    if filter.patient.is_some() && filter.guardian.is_some() {
        return Err(Problem::malformed(
            "Delegations are listed by \"patient\" or by \"guardian\", not by both at once.",
        ));
    }
    if filter.patient.is_none() && filter.guardian.is_none() {
        let participant = request.participant(&caller).await?;
        match participant.role {
            Role::Patient => filter.patient = Some(participant.participant_id.into()),
            _ => filter.guardian = Some(participant.participant_id),
        }
    }
    let viewer = Viewer::Caller(&caller.certificate);
    let found = request.api.ledger.delegations(viewer, &filter).await?;
    Ok(json(StatusCode::OK, &found))
}

/// Names a guardian. The body is a `Delegate` request that the patient signed or, where its basis
/// says so, an administrator of the patient's organisation.
#[utoipa::path(
    post, path = "/v1/delegations", operation_id = "delegate", tag = "consent",
    request_body(content = String, content_type = "application/jose", description = "compact JWS (ES256) of a SignedRequest for access-control:Delegate"),
    responses(
        (status = 201, body = DelegationReceipt),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn give(request: RestRequest, body: Body) -> Result<Response, Problem> {
    let (jws, signed) = request.signed_body::<Delegate>(body)?;
    let valid = signed.body.delegation.validate();
    valid.map_err(|error| signed::invalid("delegation", &error))?;
    let receipt = request.api.ledger.delegate(&jws).await?;
    request.api.jobs.wake();
    Ok(json(StatusCode::CREATED, &DelegationReceipt::new(&receipt)))
}

/// Dismisses a guardian. The body is a `RevokeDelegation` request that the patient, the guardian or
/// an administrator of the patient's organisation signed.
#[utoipa::path(
    post, path = "/v1/delegations/{id}/revocation", operation_id = "revoke_delegation", tag = "consent",
    params(("id" = inline(Id), Path, description = "32 lower-case hex digits")),
    request_body(content = String, content_type = "application/jose", description = "compact JWS (ES256) of a SignedRequest for access-control:RevokeDelegation"),
    responses(
        (status = 200, body = DelegationReceipt),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn revoke(
    segment: String,
    request: RestRequest,
    body: Body,
) -> Result<Response, Problem> {
    request.caller()?;
    let delegation_id: DelegationId = id(&segment, "delegation")?;
    let (jws, signed) = request.signed_body::<RevokeDelegation>(body)?;
    if signed.body.delegation_id != delegation_id {
        return Err(signed::about_something_else("delegation"));
    }
    let receipt = request.api.ledger.revoke_delegation(&jws).await?;
    request.api.jobs.wake();
    Ok(json(StatusCode::OK, &DelegationReceipt::new(&receipt)))
}
