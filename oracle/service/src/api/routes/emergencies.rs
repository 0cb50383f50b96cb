//! Emergencies: declared by who breaks the glass, reviewed by the patient's organisation.

use contract_interface::access::EmergencyFilter;
use contract_interface::{DeclareEmergency, EmergencyId, ReviewEmergency, Role};
use http::StatusCode;
use warp::reply::Response;

use crate::api::context::id;
use crate::api::problem::Problem;
use crate::api::request::{Body, RestRequest, json, page};
use crate::api::scalars::{Id, Name, PageToken};
use crate::api::signed;
use crate::api::types::EmergencyReceipt;
use crate::ledger::Viewer;

/// Lists declared emergencies, by pages: of a patient, or those that an organisation's auditors
/// review. Without either: a patient sees the own ones, anyone else those of patients of their
/// organisation.
#[utoipa::path(
    get, path = "/v1/emergencies", operation_id = "list_emergencies", tag = "audit",
    params(
        ("patient" = inline(Option<Id>), Query, description = "of this patient"),
        ("patient_msp" = inline(Option<Name>), Query, description = "of patients of this organisation"),
        ("open_only" = Option<bool>, Query, description = "only those not reviewed"),
        ("page_size" = Option<u16>, Query, minimum = 1, maximum = 200),
        ("page_token" = inline(Option<PageToken>), Query, description = "next_page_token of the page before"),
    ),
    responses(
        (status = 200, body = crate::api::types::EmergencyPage),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(request: RestRequest) -> Result<Response, Problem> {
    let caller = request.caller()?;
    let mut query = request.query();
    let mut filter = EmergencyFilter {
        patient: query.take("patient")?,
        patient_msp: query.take("patient_msp")?,
        open_only: query.take("open_only")?.unwrap_or_default(),
        page: page(&mut query)?,
    };
    query.finish()?;
    if filter.patient.is_some() && filter.patient_msp.is_some() {
        return Err(Problem::malformed(
            "Emergencies are listed by \"patient\" or by \"patient_msp\", not by both at once.",
        ));
    }
    if filter.patient.is_none() && filter.patient_msp.is_none() {
        let participant = request.participant(&caller).await?;
        match participant.role {
            Role::Patient => filter.patient = Some(participant.participant_id.into()),
            _ => filter.patient_msp = Some(participant.msp_id),
        }
    }
    let viewer = Viewer::Caller(&caller.certificate);
    let found = request.api.ledger.emergencies(viewer, &filter).await?;
    Ok(json(StatusCode::OK, &found))
}

/// Declares an emergency. The body is a `DeclareEmergency` request that the provider signed, whose
/// certificate allows it.
#[utoipa::path(
    post, path = "/v1/emergencies", operation_id = "declare_emergency", tag = "audit",
    request_body(content = String, content_type = "application/jose", description = "compact JWS (ES256) of a SignedRequest for access-control:DeclareEmergency"),
    responses(
        (status = 201, body = EmergencyReceipt),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn declare(request: RestRequest, body: Body) -> Result<Response, Problem> {
    let (jws, signed) = request.signed_body::<DeclareEmergency>(body)?;
    let valid = signed.body.emergency.validate(signed.iat);
    valid.map_err(|error| signed::invalid("emergency", &error))?;
    let receipt = request.api.ledger.declare_emergency(&jws).await?;
    Ok(json(StatusCode::CREATED, &EmergencyReceipt::new(&receipt)))
}

/// Closes the review of an emergency. The body is a `ReviewEmergency` request that an auditor or
/// administrator of the patient's organisation signed.
#[utoipa::path(
    post, path = "/v1/emergencies/{id}/review", operation_id = "review_emergency", tag = "audit",
    params(("id" = inline(Id), Path, description = "32 lower-case hex digits")),
    request_body(content = String, content_type = "application/jose", description = "compact JWS (ES256) of a SignedRequest for access-control:ReviewEmergency"),
    responses(
        (status = 200, body = EmergencyReceipt),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn review(
    segment: String,
    request: RestRequest,
    body: Body,
) -> Result<Response, Problem> {
    request.caller()?;
    let emergency_id: EmergencyId = id(&segment, "emergency")?;
    let (jws, signed) = request.signed_body::<ReviewEmergency>(body)?;
    if signed.body.emergency_id != emergency_id {
        return Err(signed::about_something_else("emergency"));
    }
    let receipt = request.api.ledger.review_emergency(&jws).await?;
    Ok(json(StatusCode::OK, &EmergencyReceipt::new(&receipt)))
}
