//! Whether the record of reads is complete.

use contract_interface::Role;
use http::StatusCode;
use warp::reply::Response;

use crate::api::problem::Problem;
use crate::api::request::{RestRequest, json};
use crate::evidence;
use crate::ledger::Viewer;

/// Compares the decisions on reads in a stretch of blocks with those that are recorded. For
/// auditors and administrators.
#[utoipa::path(
    get, path = "/v1/audit/completeness", operation_id = "check_audit", tag = "audit",
    params(
        ("from_block" = Option<u64>, Query, description = "the first block; 0 if left out"),
        ("to_block" = Option<u64>, Query, description = "the last block; the newest if left out. At most 2000 blocks are looked at: go on behind the answer's to_block"),
    ),
    responses(
        (status = 200, body = crate::api::types::AuditCompleteness),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn completeness(request: RestRequest) -> Result<Response, Problem> {
    let caller = request.caller()?;
    let mut query = request.query();
    let from = query.take("from_block")?.unwrap_or(0);
    let to = query.take("to_block")?;
    query.finish()?;
    let participant = request.participant(&caller).await?;
    if !matches!(participant.role, Role::Auditor | Role::Admin) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "AUDITOR_REQUIRED",
            "Only auditors and administrators may check the record of reads.",
        ));
    }
    let viewer = Viewer::Caller(&caller.certificate);
    let found = evidence::completeness(&request.api.ledger, viewer, from, to).await?;
    Ok(json(StatusCode::OK, &found))
}
