//! Rules of organisations for the records that they registered.

use contract_interface::access::PolicyFilter;
use contract_interface::{MspId, PolicyId, SetPolicy, WithdrawPolicy};
use http::StatusCode;
use warp::reply::Response;

use crate::api::context::id;
use crate::api::problem::Problem;
use crate::api::request::{Body, RestRequest, json, page};
use crate::api::scalars::{Id, Name, PageToken};
use crate::api::signed;
use crate::api::types::PolicyReceipt;
use crate::ledger::Viewer;

/// Lists an organisation's policies, by pages.
#[utoipa::path(
    get, path = "/v1/policies", operation_id = "list_policies", tag = "consent",
    params(
        ("msp_id" = inline(Option<Name>), Query, description = "whose; the oracle's own organisation if left out"),
        ("page_size" = Option<u16>, Query, minimum = 1, maximum = 200),
        ("page_token" = inline(Option<PageToken>), Query, description = "next_page_token of the page before"),
    ),
    responses(
        (status = 200, body = crate::api::types::PolicyPage),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(request: RestRequest) -> Result<Response, Problem> {
    let caller = request.caller()?;
    let mut query = request.query();
    let named: Option<MspId> = query.take("msp_id")?;
    let page = page(&mut query)?;
    query.finish()?;
    let filter = PolicyFilter {
        msp_id: match named {
            Some(msp_id) => msp_id,
            None => request.own_msp_id()?,
        },
        page,
    };
    let viewer = Viewer::Caller(&caller.certificate);
    let found = request.api.ledger.policies(viewer, &filter).await?;
    Ok(json(StatusCode::OK, &found))
}

/// Sets a policy. The body is a `SetPolicy` request that an administrator of the organisation
/// signed.
#[utoipa::path(
    post, path = "/v1/policies", operation_id = "set_policy", tag = "consent",
    request_body(content = String, content_type = "application/jose", description = "compact JWS (ES256) of a SignedRequest for access-control:SetPolicy"),
    responses(
        (status = 201, body = PolicyReceipt),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn set(request: RestRequest, body: Body) -> Result<Response, Problem> {
    let (jws, signed) = request.signed_body::<SetPolicy>(body)?;
    let valid = signed.body.policy.validate();
    valid.map_err(|error| signed::invalid("policy", &error))?;
    let receipt = request.api.ledger.set_policy(&jws).await?;
    Ok(json(StatusCode::CREATED, &PolicyReceipt::new(&receipt)))
}

/// Ends a policy. The body is a `WithdrawPolicy` request that an administrator of the organisation
/// signed.
#[utoipa::path(
    post, path = "/v1/policies/{id}/withdrawal", operation_id = "withdraw_policy", tag = "consent",
    params(("id" = inline(Id), Path, description = "32 lower-case hex digits")),
    request_body(content = String, content_type = "application/jose", description = "compact JWS (ES256) of a SignedRequest for access-control:WithdrawPolicy"),
    responses(
        (status = 200, body = PolicyReceipt),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn withdraw(
    segment: String,
    request: RestRequest,
    body: Body,
) -> Result<Response, Problem> {
    request.caller()?;
    let policy_id: PolicyId = id(&segment, "policy")?;
    let (jws, signed) = request.signed_body::<WithdrawPolicy>(body)?;
    if signed.body.policy_id != policy_id {
        return Err(signed::about_something_else("policy"));
    }
    let receipt = request.api.ledger.withdraw_policy(&jws).await?;
    Ok(json(StatusCode::OK, &PolicyReceipt::new(&receipt)))
}
