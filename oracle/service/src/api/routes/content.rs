//! What is in a record, for those whom the ledger permits.

use contract_interface::access::RuleRef;
use contract_interface::{AuthorizeRead, Record, RecordId, segment};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use warp::reply::{Reply, Response};

use crate::api::bundle;
use crate::api::context::id;
use crate::api::problem::Problem;
use crate::api::request::RestRequest;
use crate::api::scalars::Id;
use crate::api::signed;
use crate::open::{OPEN_BYTES_MAX, Release};

/// Carries the reader's signed `AuthorizeRead`.
pub(crate) const READ_REQUEST: &str = "salus-read-request";
/// Media type of a sealed object.
const SEALED: &str = "application/octet-stream";
/// Media type of FHIR resources in JSON.
const FHIR: &str = "application/fhir+json";

/// In which form a reader wants the content.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    /// As it is stored; the reader opens it with its own key.
    Sealed,
    /// Opened here, as a FHIR Bundle.
    Bundle,
    /// Opened here, as it was before sealing.
    Opened(String),
}

/// A record's content. The read is decided and recorded on the ledger first; a refusal is a 403
/// problem with its `read_id`.
#[utoipa::path(
    get, path = "/v1/records/{id}/content", operation_id = "read_content", tag = "records",
    params(
        ("id" = inline(Id), Path, description = "32 lower-case hex digits"),
        ("Salus-Read-Request" = String, Header, description = "compact JWS (ES256) of a SignedRequest for access-control:AuthorizeRead"),
        ("Accept" = Option<String>, Header, nullable = false, description = "application/octet-stream (default): the sealed object; application/fhir+json or the record's content type: opened by the oracle, where its policy allows"),
    ),
    responses(
        (status = 200, description = "The content", content(
            (Vec<u8> = "application/octet-stream"),
            (serde_json::Value = "application/fhir+json"),
        ), headers(
            ("Salus-Wrapped-Key" = String, description = "compact JWE: the data key for the reader's registered key; sealed form only"),
            ("Salus-Read-Id" = String, description = "transaction that permitted the read"),
            ("Salus-Block" = u64, description = "number of the block it is in"),
            ("Salus-Object-Sha256" = String, description = "registered SHA-256 of the sealed object"),
            ("Salus-Rule" = String, description = "rule that permitted the read, such as \"grant <id> version 2\"; absent for an own record"),
            ("Salus-Cid" = String, description = "CID of the sealed object"),
            ("Salus-Commitment" = String, description = "registered commitment to the metadata; associated data of the sealed object"),
        )),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn read(segment: String, request: RestRequest) -> Result<Response, Problem> {
    let caller = request.caller()?;
    let record_id: RecordId = id(&segment, "record")?;
    request.query().finish()?;
    let jws = read_request(&request.headers)?;
    // A stale request is denied by the contract, which records it.
    let channel = request.api.ledger.channel();
    let signed = signed::verify_proven::<AuthorizeRead>(jws, &caller, channel)?;
    if signed.body.record_id != record_id {
        return Err(signed::about_something_else("record"));
    }
    let form = Form::wanted(&request.headers)?;
    let opener = &request.api.opener;
    let recorded = async { Ok::<_, Problem>(opener.record(&record_id).await?) };
    let (record, reader) = tokio::try_join!(recorded, request.participant(&caller))?;
    // What a record holds is for those who may read it. Of everyone else's requests the denial is
    // recorded, in whatever form they ask.
    if let Err(unfit) = form.check(&record, request.api.open_for_readers) {
        if !opener.would_permit(&signed, &reader).await {
            opener.release(jws, &signed, &reader, record, false).await?;
        }
        return Err(unfit);
    }
    let opened = form != Form::Sealed;
    let release = opener
        .release(jws, &signed, &reader, record, opened)
        .await?;
    tracing::info!(%record_id, read_id = release.read_id, "read permitted");
    let headers = receipt_headers(&release)?;
    let (content_type, mut response) = match form {
        Form::Sealed => {
            let wrapped = header_value(&release.wrapped_key)?;
            let size = release.record.metadata.size;
            let object = opener.fetch(&release).await?;
            let mut response = warp::reply::stream(object).into_response();
            let fields = response.headers_mut();
            fields.insert(HeaderName::from_static("salus-wrapped-key"), wrapped);
            fields.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
            (SEALED.to_owned(), response)
        }
        Form::Bundle => {
            let content_type = release.record.metadata.content_type.clone();
            let opened = opener.open(release).await?;
            let bundle = bundle::of(&content_type, opened)?;
            (FHIR.to_owned(), warp::reply::Response::new(bundle.into()))
        }
        Form::Opened(content_type) => {
            let opened = opener.open(release).await?;
            (content_type, warp::reply::Response::new(opened.into()))
        }
    };
    let fields = response.headers_mut();
    fields.extend(headers);
    fields.insert(header::CONTENT_TYPE, header_value(&content_type)?);
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// The signed request in the header.
fn read_request(headers: &HeaderMap) -> Result<&str, Problem> {
    let value = headers.get(READ_REQUEST).ok_or_else(|| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "READ_REQUEST_MISSING",
            "Every read names its purpose in a signed request. Send it in the header \
             Salus-Read-Request, or use the salus program, which does.",
        )
    })?;
    value
        .to_str()
        .map_err(|_| Problem::malformed_jws("The header Salus-Read-Request is not text."))
}

/// What proves the read.
fn receipt_headers(release: &Release) -> Result<HeaderMap, Problem> {
    let record = &release.record;
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("salus-read-id", release.read_id.clone()),
        ("salus-block", release.block_number.to_string()),
        (
            "salus-object-sha256",
            record.state.object_sha256.to_string(),
        ),
        ("salus-cid", record.metadata.cid.clone()),
        ("salus-commitment", record.state.commitment.to_string()),
    ] {
        headers.insert(HeaderName::from_static(name), header_value(&value)?);
    }
    if let Some(rule) = &release.rule {
        let rule = header_value(&rule_text(rule))?;
        headers.insert(HeaderName::from_static("salus-rule"), rule);
    }
    Ok(headers)
}

/// A rule as the header names it.
fn rule_text(rule: &RuleRef) -> String {
    match rule {
        RuleRef::Grant { grant_id, version } => format!("grant {grant_id} version {version}"),
        RuleRef::Policy {
            policy_id,
            msp_id,
            version,
        } => format!("policy {policy_id} of {msp_id} version {version}"),
        RuleRef::Delegation {
            delegation_id,
            version,
        } => format!("delegation {delegation_id} version {version}"),
        RuleRef::Emergency { emergency_id } => format!("emergency {emergency_id}"),
    }
}

fn header_value(text: &str) -> Result<HeaderValue, Problem> {
    HeaderValue::from_str(text).map_err(Problem::internal)
}

impl Form {
    /// Reads `Accept`; quality values are not weighed: the first form known wins.
    fn wanted(headers: &HeaderMap) -> Result<Self, Problem> {
        let Some(accept) = headers.get(header::ACCEPT) else {
            return Ok(Self::Sealed);
        };
        let accept = accept.to_str().unwrap_or_default();
        let first = accept
            .split(',')
            .filter_map(|range| range.split(';').next())
            .map(str::trim)
            .find(|range| range.contains('/'))
            .ok_or_else(|| not_acceptable("The header Accept cannot be read."))?;
        Ok(match first.to_ascii_lowercase().as_str() {
            "*/*" | "application/*" | SEALED => Self::Sealed,
            FHIR => Self::Bundle,
            other => Self::Opened(other.to_owned()),
        })
    }

    /// Whether the record can be had in this form here; asked before the read is decided.
    fn check(&self, record: &Record, open_for_readers: bool) -> Result<(), Problem> {
        let content_type = record.metadata.content_type.as_str();
        let possible = match self {
            Self::Sealed => return Ok(()),
            Self::Bundle => content_type == segment::MEDIA_TYPE || content_type == FHIR,
            Self::Opened(wanted) => content_type.eq_ignore_ascii_case(wanted),
        };
        if !possible {
            return Err(not_acceptable(&format!(
                "This record holds {content_type} and cannot be had in the form asked for."
            )));
        }
        if !open_for_readers {
            return Err(not_acceptable(
                "This oracle hands out sealed records only, which the salus program opens with \
                 your own key.",
            ));
        }
        if record.metadata.size > OPEN_BYTES_MAX {
            return Err(not_acceptable(
                "This record is too large to be opened here. Get it sealed and open it with the \
                 salus program.",
            ));
        }
        Ok(())
    }
}

fn not_acceptable(detail: &str) -> Problem {
    Problem::new(StatusCode::NOT_ACCEPTABLE, "NOT_ACCEPTABLE", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_names_the_form() {
        let table = [
            (None, Some(Form::Sealed)),
            (Some("*/*"), Some(Form::Sealed)),
            (Some("application/octet-stream"), Some(Form::Sealed)),
            (
                Some("application/fhir+json; fhirVersion=4.0"),
                Some(Form::Bundle),
            ),
            (Some("Application/FHIR+json, */*;q=0.1"), Some(Form::Bundle)),
            (
                Some(segment::MEDIA_TYPE),
                Some(Form::Opened(segment::MEDIA_TYPE.to_owned())),
            ),
            (Some("nonsense"), None),
            (Some(""), None),
        ];
        for (accept, expected) in table {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            }
            assert_eq!(Form::wanted(&headers).ok(), expected, "{accept:?}");
        }
    }
}
