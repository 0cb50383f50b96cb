//! What shows a record to be the registered one, for checking offline.

use contract_interface::evidence::MEDIA_TYPE;
use http::{HeaderValue, StatusCode, header};
use warp::reply::Response;

use crate::api::context::id;
use crate::api::problem::Problem;
use crate::api::request::{RestRequest, json};
use crate::api::scalars::Id;
use crate::evidence::{self, EvidenceError};
use crate::ledger::Viewer;

/// The evidence of one record that the caller may see: metadata with the commitment's salt, the
/// block of the registration, the headers to the newest block with its orderers' signatures, and
/// the channel's configuration. `salus verify` checks it offline.
#[utoipa::path(
    get, path = "/v1/records/{id}/evidence", operation_id = "get_evidence", tag = "records",
    params(("id" = inline(Id), Path, description = "32 lower-case hex digits")),
    responses(
        (status = 200, description = "The evidence; README of contract-interface describes it", body = serde_json::Value, content_type = "application/vnd.salus.evidence+json"),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn one(segment: String, request: RestRequest) -> Result<Response, Problem> {
    let caller = request.caller()?;
    let record_id = id(&segment, "record")?;
    request.query().finish()?;
    let ledger = &request.api.ledger;
    let viewer = Viewer::Caller(&caller.certificate);
    let Some(record) = ledger.record(viewer, &record_id).await? else {
        return Err(Problem::not_found("No record with this ID is registered."));
    };
    let evidence = evidence::gather(ledger, record).await?;
    let mut response = json(StatusCode::OK, &evidence);
    let media_type = HeaderValue::from_static(MEDIA_TYPE);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, media_type);
    Ok(response)
}

impl From<EvidenceError> for Problem {
    fn from(error: EvidenceError) -> Self {
        match error {
            EvidenceError::Ledger(error) => error.into(),
            EvidenceError::TooLarge { .. } => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "EVIDENCE_TOO_LARGE",
                "A block that the evidence needs is too large to be sent. Ask a peer for it.",
            )
            .caused_by(error),
            EvidenceError::Beyond { newest } => Self::malformed(format!(
                "The stretch of blocks must begin before it ends, and end at block {newest} or \
                 before."
            )),
            EvidenceError::Block(_) => Self::internal(error),
        }
    }
}
