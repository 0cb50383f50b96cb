//! Who takes part.

use contract_interface::{ParticipantFilter, ParticipantId, ParticipantRegistration, RotateKey};
use http::StatusCode;
use warp::reply::Response;

use crate::api::context::id;
use crate::api::problem::Problem;
use crate::api::request::{Body, RestRequest, json, page, role};
use crate::api::scalars::{self, Id, IdOrMe, Name, PageToken};
use crate::api::types::ParticipantRegistered;
use crate::ledger::Viewer;

/// Lists participants, by pages. Patients are listed only when asked for, and only to those who
/// may know them.
#[utoipa::path(
    get, path = "/v1/participants", operation_id = "list_participants", tag = "directory",
    params(
        ("role" = inline(Option<scalars::Role>), Query, description = "only this role's"),
        ("msp_id" = inline(Option<Name>), Query, description = "only this organisation's"),
        ("page_size" = Option<u16>, Query, minimum = 1, maximum = 200),
        ("page_token" = inline(Option<PageToken>), Query, description = "next_page_token of the page before"),
    ),
    responses(
        (status = 200, body = crate::api::types::ParticipantPage),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(request: RestRequest) -> Result<Response, Problem> {
    let caller = request.caller()?;
    let mut query = request.query();
    let filter = ParticipantFilter {
        role: role(&mut query)?,
        msp_id: query.take("msp_id")?,
        page: page(&mut query)?,
    };
    query.finish()?;
    let viewer = Viewer::Caller(&caller.certificate);
    let found = request.api.ledger.participants(viewer, &filter).await?;
    Ok(json(StatusCode::OK, &found))
}

/// One participant.
#[utoipa::path(
    get, path = "/v1/participants/{id}", operation_id = "get_participant", tag = "directory",
    params(("id" = inline(IdOrMe), Path, description = "32 lower-case hex digits; or me, for the caller")),
    responses(
        (status = 200, body = crate::api::types::Participant),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn one(segment: String, request: RestRequest) -> Result<Response, Problem> {
    let caller = request.caller()?;
    if segment == "me" {
        request.query().finish()?;
        let own = request.participant(&caller).await?;
        return Ok(json(StatusCode::OK, &own));
    }
    let participant_id = id(&segment, "participant")?;
    request.query().finish()?;
    let viewer = Viewer::Caller(&caller.certificate);
    match request
        .api
        .ledger
        .participant(viewer, &participant_id)
        .await?
    {
        Some(participant) => Ok(json(StatusCode::OK, &participant)),
        None => Err(Problem::not_found(
            "No participant with this ID is registered.",
        )),
    }
}

/// Registers a participant of the oracle's organisation, renews a certificate or changes a status.
/// For its administrators.
#[utoipa::path(
    post, path = "/v1/participants", operation_id = "register_participant", tag = "directory",
    request_body = crate::api::types::ParticipantRegistration,
    responses(
        (status = 200, description = "Changed, or already as wanted", body = ParticipantRegistered),
        (status = 201, description = "Registered", body = ParticipantRegistered),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn register(request: RestRequest, body: Body) -> Result<Response, Problem> {
    let caller = request.own_admin()?;
    let registration: ParticipantRegistration = request.json_body(body)?;
    request.require_standing(&caller).await?;
    let receipt = request
        .api
        .ledger
        .register_participant(&registration)
        .await?;
    let as_patient = registration.participant_id.into();
    request.api.devices.forget_patient(&as_patient);
    let registered = ParticipantRegistered::new(registration.participant_id, &receipt);
    Ok(json(registered.status(), &registered))
}

/// Replaces the caller's own encryption key. The body is a `RotateKey` request that the participant
/// signed; data keys are wrapped anew for it by the registrars' oracles, or by the patient's client.
#[utoipa::path(
    post, path = "/v1/participants/{id}/key", operation_id = "rotate_key", tag = "directory",
    params(("id" = inline(Id), Path, description = "the signer's own: 32 lower-case hex digits")),
    request_body(content = String, content_type = "application/jose", description = "compact JWS (ES256) of a SignedRequest for access-control:RotateKey"),
    responses(
        (status = 200, body = ParticipantRegistered),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn rotate_key(
    segment: String,
    request: RestRequest,
    body: Body,
) -> Result<Response, Problem> {
    let caller = request.caller()?;
    let participant_id: ParticipantId = id(&segment, "participant")?;
    let (jws, _) = request.signed_body::<RotateKey>(body)?;
    let participant = request.participant(&caller).await?;
    if participant.participant_id != participant_id {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "FORBIDDEN",
            "Everyone replaces their own encryption key only, and this one is someone else's.",
        ));
    }
    let receipt = request.api.ledger.rotate_key(&jws).await?;
    request.api.devices.forget_patient(&participant_id.into());
    request.api.jobs.wake();
    let rotated = ParticipantRegistered::new(participant_id, &receipt);
    Ok(json(StatusCode::OK, &rotated))
}
