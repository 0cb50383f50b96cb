//! The API's description, gathered from the handlers.

use utoipa::OpenApi;

use crate::api::routes::{content, devices, grants, health, participants, reads, records};

/// Every route there is; a test compares it with the router.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Salus oracle",
        description = "Patients' records: who takes part, which records there are, what is in them, who may read and who did. Every route under /v1 needs a client certificate of a participating organisation (mutual TLS).",
    ),
    paths(
        participants::list,
        participants::one,
        participants::register,
        devices::list,
        devices::one,
        devices::register,
        records::list,
        records::one,
        content::read,
        grants::list,
        grants::give,
        grants::revoke,
        reads::list,
        health::live,
        health::ready,
        health::openapi,
        health::metrics,
    ),
    tags(
        (name = "directory", description = "participants and devices"),
        (name = "records", description = "records and their content"),
        (name = "consent", description = "grants and reads"),
        (name = "operation", description = "for those who run the oracle"),
    )
)]
struct Description;

/// The OpenAPI document.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    Description::openapi()
}
