//! What the caller is told without asking for it by name.

use contract_interface::access::NoticeFilter;
use http::StatusCode;
use warp::reply::Response;

use crate::api::problem::Problem;
use crate::api::request::{RestRequest, json, page};
use crate::api::scalars::{PageToken, Time};
use crate::ledger::Viewer;

/// Lists the caller's notices, oldest first, by pages: to the person, to the providers of the
/// organisation, and to its privacy officers if the caller is one.
#[utoipa::path(
    get, path = "/v1/notices", operation_id = "list_notices", tag = "audit",
    params(
        ("from" = inline(Option<Time>), Query, description = "of this time or later, RFC 3339 in UTC"),
        ("page_size" = Option<u16>, Query, minimum = 1, maximum = 200),
        ("page_token" = inline(Option<PageToken>), Query, description = "next_page_token of the page before"),
    ),
    responses(
        (status = 200, body = crate::api::types::NoticePage),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(request: RestRequest) -> Result<Response, Problem> {
    let caller = request.caller()?;
    let mut query = request.query();
    let filter = NoticeFilter {
        from: query.take("from")?,
        page: page(&mut query)?,
    };
    query.finish()?;
    let viewer = Viewer::Caller(&caller.certificate);
    let found = request.api.ledger.notices(viewer, &filter).await?;
    Ok(json(StatusCode::OK, &found))
}
