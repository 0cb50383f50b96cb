//! Who was refused before the ledger learned of it.

use http::StatusCode;
use warp::reply::Response;

use crate::api::problem::Problem;
use crate::api::request::{RestRequest, json, page};
use crate::api::scalars::{PageToken, Time};
use crate::api::types::RefusalPage;

/// Lists refused requests of which the ledger knows nothing, oldest first, by pages: forged or
/// foreign signatures, revoked certificates, malformed requests. For auditors and administrators of
/// the oracle's organisation.
#[utoipa::path(
    get, path = "/v1/audit/refusals", operation_id = "list_refusals", tag = "audit",
    params(
        ("from" = inline(Option<Time>), Query, description = "of this time or later, RFC 3339 in UTC"),
        ("page_size" = Option<u16>, Query, minimum = 1, maximum = 200),
        ("page_token" = inline(Option<PageToken>), Query, description = "next_page_token of the page before"),
    ),
    responses(
        (status = 200, body = RefusalPage),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(request: RestRequest) -> Result<Response, Problem> {
    request.own_overseer()?;
    let mut query = request.query();
    let from = query.take("from")?;
    let page = page(&mut query)?;
    query.finish()?;
    let after = match &page.page_token {
        None => 0,
        Some(token) => token.to_string().parse().map_err(|_| {
            Problem::malformed(
                "The page's token is not one of this list: start from the first page.",
            )
        })?,
    };
    let items = page
        .items()
        .map_err(|error| Problem::malformed("The page cannot have this size.").caused_by(error))?;
    match request.api.refusals.page(after, from, items).await {
        Some(page) => {
            let page = page.map_err(Problem::internal)?;
            Ok(json(StatusCode::OK, &RefusalPage::from(page)))
        }
        None => Err(Problem::not_found("This oracle keeps no log of refusals.")),
    }
}
