//! What the oracle does in the background, for its administrators.

use contract_interface::UtcTime;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use warp::reply::Response;

use crate::api::problem::Problem;
use crate::api::request::{RestRequest, json};
use crate::api::scalars::Time;
use crate::jobs::JobStatus;

/// How far the background jobs are.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobList {
    /// Each job, in the order of their names.
    jobs: Vec<Job>,
}

/// How far one job is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Job {
    /// `clock`, `erasures`, `nonces` or `wraps`.
    job: &'static str,
    /// Whether a pass goes on.
    running: bool,
    /// Passes that ended since the oracle's start.
    passes: u64,
    /// Items looked at in this pass, or in the last if none goes on.
    seen: u64,
    /// Items of them that were changed.
    changed: u64,
    /// Items of them that wait: for another organisation, for time to pass, for the next try.
    waiting: u64,
    /// When the last pass began.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Time>, nullable = false)]
    begun_at: Option<UtcTime>,
    /// When the last pass ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Time>, nullable = false)]
    ended_at: Option<UtcTime>,
    /// Why the last pass that ended did not finish; it goes on in the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    error: Option<String>,
}

impl From<JobStatus> for Job {
    fn from(status: JobStatus) -> Self {
        let JobStatus {
            job,
            running,
            passes,
            seen,
            changed,
            waiting,
            begun_at,
            ended_at,
            error,
        } = status;
        Self {
            job,
            running,
            passes,
            seen,
            changed,
            waiting,
            begun_at,
            ended_at,
            error,
        }
    }
}

/// How far the background jobs are; for the organisation's administrators.
#[utoipa::path(
    get, path = "/v1/jobs", operation_id = "list_jobs", tag = "operation",
    responses(
        (status = 200, body = JobList),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(request: RestRequest) -> Result<Response, Problem> {
    request.own_admin()?;
    request.query().finish()?;
    let statuses = request.api.jobs.statuses();
    let jobs = statuses.into_iter().map(Job::from).collect();
    Ok(json(StatusCode::OK, &JobList { jobs }))
}
