//! Who read what: every decision, permitted and denied.

use contract_interface::{ReadFilter, ReadId, Role, UtcTime};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use warp::reply::Response;

use crate::api::audit_event;
use crate::api::context::id;
use crate::api::problem::Problem;
use crate::api::request::{RestRequest, json, page, period};
use crate::api::scalars::{Hash, Id, PageToken, Time};
use crate::ledger::Viewer;

/// Names the next page of a FHIR answer, which is in its `next` link too.
const NEXT_PAGE_TOKEN: HeaderName = HeaderName::from_static("salus-next-page-token");

/// Lists decisions on reads that the caller may see, in order of time, by pages. Without a patient,
/// record, reader or period: a patient sees the reads of the own records, anyone else the own reads.
/// Auditors and administrators list by a period alone, with one end or both, what concerns their
/// organisation.
#[utoipa::path(
    get, path = "/v1/reads", operation_id = "list_reads", tag = "audit",
    params(
        ("patient" = inline(Option<Id>), Query, description = "reads of this patient's records"),
        ("record_id" = inline(Option<Id>), Query, description = "reads of this record"),
        ("reader" = inline(Option<Id>), Query, description = "reads by this participant"),
        ("from" = inline(Option<Time>), Query, description = "decided at or after, RFC 3339 in UTC"),
        ("to" = inline(Option<Time>), Query, description = "decided at or before"),
        ("page_size" = Option<u16>, Query, minimum = 1, maximum = 200),
        ("page_token" = inline(Option<PageToken>), Query, description = "next_page_token of the page before"),
        ("Accept" = Option<String>, Header, nullable = false, description = "application/json (default), or application/fhir+json: a searchset Bundle of AuditEvents (IHE BALP)"),
    ),
    responses(
        (status = 200, description = "A page", content(
            (crate::api::types::ReadPage = "application/json"),
            (serde_json::Value = "application/fhir+json"),
        ), headers(
            ("Salus-Next-Page-Token" = String, description = "of application/fhir+json, if there may be more"),
        )),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(request: RestRequest) -> Result<Response, Problem> {
    let caller = request.caller()?;
    let mut query = request.query();
    let mut filter = ReadFilter {
        patient: query.take("patient")?,
        record_id: query.take("record_id")?,
        reader: query.take("reader")?,
        ..ReadFilter::default()
    };
    (filter.from, filter.to) = period(&mut query)?;
    filter.page = page(&mut query)?;
    query.finish()?;
    let names_nobody =
        filter.patient.is_none() && filter.record_id.is_none() && filter.reader.is_none();
    if names_nobody {
        let participant = request.participant(&caller).await?;
        let by_period = filter.from.is_some() || filter.to.is_some();
        match participant.role {
            Role::Patient => filter.patient = Some(participant.participant_id.into()),
            Role::Auditor | Role::Admin | Role::Oracle if by_period => {
                // A period with one end only is open at the other.
                filter.from.get_or_insert(UtcTime::MIN);
                filter.to.get_or_insert(UtcTime::MAX);
            }
            _ => filter.reader = Some(participant.participant_id),
        }
    }
    let viewer = Viewer::Caller(&caller.certificate);
    let found = request.api.ledger.reads(viewer, &filter).await?;
    if !wants_fhir(&request.headers) {
        return Ok(json(StatusCode::OK, &found));
    }
    let this = request.address("/v1/reads", None);
    let token = found.next_page_token.as_ref();
    let next = token.map(|token| request.address("/v1/reads", Some(token)));
    let base = request.base();
    let bundle = audit_event::bundle(&found.reads, &base, &this, next.as_deref());
    let mut response = fhir(&bundle);
    if let Some(token) = token {
        let value = HeaderValue::from_str(&token.to_string()).map_err(Problem::internal)?;
        response.headers_mut().insert(NEXT_PAGE_TOKEN, value);
    }
    Ok(response)
}

/// Whether FHIR is wanted rather than plain JSON: the first form known wins.
fn wants_fhir(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT);
    let ranges = accept.and_then(|accept| accept.to_str().ok());
    let mut known = ranges
        .unwrap_or_default()
        .split(',')
        .filter_map(|range| range.split(';').next())
        .map(|range| range.trim().to_ascii_lowercase())
        .filter(|range| {
            [
                audit_event::MEDIA_TYPE,
                "application/json",
                "application/*",
                "*/*",
            ]
            .contains(&range.as_str())
        });
    known.next().as_deref() == Some(audit_event::MEDIA_TYPE)
}

/// A FHIR resource as the answer.
fn fhir(resource: &serde_json::Value) -> Response {
    let mut response = json(StatusCode::OK, resource);
    let media_type = HeaderValue::from_static(audit_event::MEDIA_TYPE);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, media_type);
    response
}

/// One decision on a read, if the caller may see it: the receipt of a read.
#[utoipa::path(
    get, path = "/v1/reads/{id}", operation_id = "get_read", tag = "audit",
    params(
        ("id" = inline(Hash), Path, description = "the read's transaction: 64 lower-case hex digits"),
        ("Accept" = Option<String>, Header, nullable = false, description = "application/json (default), or application/fhir+json: an AuditEvent (IHE BALP)"),
    ),
    responses(
        (status = 200, description = "The decision", content(
            (crate::api::types::ReadEntry = "application/json"),
            (serde_json::Value = "application/fhir+json"),
        )),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn one(segment: String, request: RestRequest) -> Result<Response, Problem> {
    let caller = request.caller()?;
    let read_id: ReadId = id(&segment, "read")?;
    request.query().finish()?;
    let viewer = Viewer::Caller(&caller.certificate);
    match request.api.ledger.read(viewer, &read_id).await? {
        Some(read) if wants_fhir(&request.headers) => Ok(fhir(&audit_event::of(&read))),
        Some(read) => Ok(json(StatusCode::OK, &read)),
        None => Err(Problem::not_found("No read with this ID is recorded.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fhir_is_had_by_asking_for_it() {
        for (accept, expected) in [
            (None, false),
            (Some("application/fhir+json"), true),
            (Some("Application/FHIR+JSON; fhirVersion=4.0, */*"), true),
            (Some("text/html, application/fhir+json"), true),
            (Some("application/json, application/fhir+json"), false),
            (Some("*/*"), false),
            (Some("text/html"), false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            }
            assert_eq!(wants_fhir(&headers), expected, "{accept:?}");
        }
    }
}
