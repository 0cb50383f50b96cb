//! Whether the oracle lives, whether it can work, what it offers and what it counts.

use contract_interface::UtcTime;
use http::{HeaderValue, StatusCode, header};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use utoipa::ToSchema;
use warp::reply::{Reply, Response};

use crate::api::openapi;
use crate::api::problem::Problem;
use crate::api::readiness::Readiness;
use crate::api::request::{RestRequest, json};
use crate::clock;

/// Media type of Prometheus' text format.
const PROMETHEUS: &str = "text/plain; version=0.0.4";

/// That the oracle lives.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LiveBody {
    /// `ok`.
    status: &'static str,
    /// The oracle's clock, against which signed requests are judged.
    #[schema(value_type = crate::api::scalars::Time)]
    time: UtcTime,
}

/// Whether the process lives. Needs no certificate.
#[utoipa::path(get, path = "/healthz", operation_id = "get_liveness", tag = "operation", responses((status = 200, body = LiveBody), (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn live(_request: RestRequest) -> Result<Response, Problem> {
    Ok(alive())
}

/// That the process answers.
pub(crate) fn alive() -> Response {
    let body = LiveBody {
        status: "ok",
        time: clock::now(),
    };
    json(StatusCode::OK, &body)
}

/// Whether it can do its work: it is in the channel's directory, Fabric and IPFS answer, and if it
/// takes readings the journal does so and the pipeline runs. Needs no certificate.
#[utoipa::path(
    get, path = "/readyz", operation_id = "get_readiness", tag = "operation",
    responses(
        (status = 200, description = "ready", body = crate::api::readiness::ReadyBody),
        (status = 503, description = "not ready, or too busy to say", content(
            (crate::api::readiness::ReadyBody = "application/json"),
            (crate::api::problem::ProblemBody = "application/problem+json"),
        )),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn ready(request: RestRequest) -> Result<Response, Problem> {
    Ok(readiness(&request.api.readiness))
}

/// What was last seen of each part.
pub(crate) fn readiness(readiness: &Readiness) -> Response {
    let seen = readiness.now();
    let status = if seen.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    json(status, &seen)
}

/// This document. Needs no certificate.
#[utoipa::path(get, path = "/openapi.json", operation_id = "get_description", tag = "operation", responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value), (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn openapi(_request: RestRequest) -> Result<Response, Problem> {
    Ok(json(StatusCode::OK, &openapi::document()))
}

/// Counters for Prometheus. For programs on the oracle's own machine and for administrators.
#[utoipa::path(get, path = "/metrics", operation_id = "get_metrics", tag = "operation", responses((status = 200, body = String), (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn metrics(request: RestRequest) -> Result<Response, Problem> {
    if !request.peer.address.is_loopback() {
        request.own_admin()?;
    }
    counted(request.api.metrics.as_ref())
}

/// The metrics' text.
pub(crate) fn counted(metrics: Option<&PrometheusHandle>) -> Result<Response, Problem> {
    let Some(metrics) = metrics else {
        return Err(Problem::not_found("This oracle counts nothing."));
    };
    let mut response = metrics.render().into_response();
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(PROMETHEUS));
    Ok(response)
}
