//! The API's description, gathered from the handlers.

use std::sync::LazyLock;

use http::Method;
use utoipa::OpenApi;
use utoipa::openapi::PathItem;

use crate::api::routes::{
    access, access_requests, audit, content, dead_letters, delegations, devices, emergencies,
    enrolments, erasure, evidence, grants, health, jobs, notices, participants, policies, reads,
    records, refusals, uploads, wraps,
};

/// Every route there is; a test compares it with the router.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Salus oracle",
        description = "Patients' records: who takes part, which records there are, what is in them, who may read and who did. Every route under /v1 needs a client certificate of a participating organisation (mutual TLS), apart from the one where a new device shows a token.",
    ),
    paths(
        participants::list,
        participants::one,
        participants::register,
        participants::rotate_key,
        devices::list,
        devices::one,
        devices::register,
        enrolments::create,
        enrolments::certify,
        enrolments::renew,
        records::list,
        records::one,
        content::read,
        uploads::submit,
        uploads::versions,
        erasure::erase,
        erasure::one,
        erasure::complete,
        wraps::list,
        wraps::change,
        evidence::one,
        access::explain,
        grants::list,
        grants::one,
        grants::give,
        grants::revoke,
        policies::list,
        policies::set,
        policies::withdraw,
        delegations::list,
        delegations::give,
        delegations::revoke,
        access_requests::list,
        access_requests::ask,
        access_requests::refuse,
        emergencies::list,
        emergencies::declare,
        emergencies::review,
        notices::list,
        reads::list,
        reads::one,
        refusals::list,
        audit::completeness,
        jobs::list,
        dead_letters::list,
        dead_letters::retry,
        dead_letters::give_up,
        health::live,
        health::ready,
        health::openapi,
        health::metrics,
    ),
    tags(
        (name = "directory", description = "participants and devices"),
        (name = "records", description = "records and their content"),
        (name = "consent", description = "grants, policies, guardians, requests for access"),
        (name = "audit", description = "who read what, in emergencies too, and who was refused"),
        (name = "operation", description = "for those who run the oracle"),
    )
)]
struct Description;

/// Every described address with its methods.
static ADDRESSES: LazyLock<Vec<(String, Vec<Method>)>> = LazyLock::new(|| {
    let paths = document().paths.paths.into_iter();
    paths.map(|(path, item)| (path, methods(&item))).collect()
});

/// The methods that an address takes; none where there is nothing.
pub(crate) fn methods_at(path: &str) -> &'static [Method] {
    address(path).map_or(&[], |(_, methods)| methods)
}

/// The described form of an address, without the IDs in it; none where there is nothing.
pub(crate) fn template_at(path: &str) -> Option<&'static str> {
    address(path).map(|(template, _)| template.as_str())
}

/// An address without a variable part goes before one with it.
fn address(path: &str) -> Option<&'static (String, Vec<Method>)> {
    let fits = |template: &str| {
        let is_same = |(asked, known): (&str, &str)| known.starts_with('{') || asked == known;
        segments(path).count() == segments(template).count()
            && segments(path).zip(segments(template)).all(is_same)
    };
    let fitting = ADDRESSES.iter().filter(|(template, _)| fits(template));
    fitting.min_by_key(|(template, _)| template.matches('{').count())
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

fn methods(item: &PathItem) -> Vec<Method> {
    let known = [
        (Method::GET, &item.get),
        (Method::POST, &item.post),
        (Method::PUT, &item.put),
        (Method::PATCH, &item.patch),
        (Method::DELETE, &item.delete),
    ];
    let described = known
        .into_iter()
        .filter(|(_, operation)| operation.is_some());
    described.map(|(method, _)| method).collect()
}

/// The OpenAPI document.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    Description::openapi()
}
