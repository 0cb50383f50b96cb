//! A request as handlers see it: who calls, what is asked, and the body within its limit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use contract_interface::{
    ErrorCode, PageRequest, PageToken, Participant, RequestBody, Role, SignedRequest, Status,
    UtcTime,
};
use futures::{Stream, StreamExt};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::{Reply, Response};

use crate::api::Api;
use crate::api::callers::Caller;
use crate::api::context::{Peer, Query};
use crate::api::problem::Problem;
use crate::api::routes::enrolments;
use crate::api::signed;
use crate::clock;
use crate::enrolment;
use crate::ledger::{LedgerError, Viewer};

/// Time for a request's body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Time between two parts of a request's body.
const BODY_PART_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for the body of a stranger who shows a token.
const TOKEN_BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// Media type of a compact JWS (RFC 7515).
const JOSE: &str = "application/jose";
/// Media type of JSON.
const JSON: &str = "application/json";

/// A request without its body.
#[derive(Debug, Clone)]
pub(crate) struct RestRequest {
    pub(crate) api: Arc<Api>,
    pub(crate) peer: Peer,
    pub(crate) headers: HeaderMap,
    parameters: BTreeMap<String, String>,
    /// Host and port by which the caller reached this API.
    authority: Option<Authority>,
}

/// What a request brought as its body, or why it was not taken.
pub(crate) type Body = Result<Bytes, Problem>;

impl RestRequest {
    /// Who is calling, judged now.
    ///
    /// # Errors
    ///
    /// A 401 problem without a certificate or with one that no MSP accepts.
    pub(crate) fn caller(&self) -> Result<Caller, Problem> {
        authenticate(&self.api, &self.peer)
    }

    /// The caller, who must be an administrator of the oracle's own organisation.
    ///
    /// # Errors
    ///
    /// A 401 problem as [`RestRequest::caller`], or 403.
    pub(crate) fn own_admin(&self) -> Result<Caller, Problem> {
        let caller = self.caller()?;
        let own = self.api.ledger.msp_id();
        if caller.is_admin() && caller.msp_id == *own {
            Ok(caller)
        } else {
            Err(Problem::new(
                StatusCode::FORBIDDEN,
                "ADMIN_REQUIRED",
                format!("Only an administrator of {own} may do this. Ask one of them."),
            ))
        }
    }

    /// Requires that the caller was not suspended or revoked in the directory: the oracle submits
    /// registrations in its own name, so the contract does not see who asked for them. Before the
    /// first registration, and until its own, an administrator is known by the certificate alone.
    ///
    /// # Errors
    ///
    /// A 403 problem, or that of a ledger that cannot be asked.
    pub(crate) async fn require_standing(&self, caller: &Caller) -> Result<(), Problem> {
        let thumbprint = contract_interface::Digest::from_bytes(caller.certificate.thumbprint());
        let ledger = &self.api.ledger;
        let found = ledger.participant_by_thumbprint(Viewer::Oracle, &thumbprint);
        match found.await {
            Ok(registered) => check_standing(registered.as_ref()),
            Err(LedgerError::Contract {
                code: Some(ErrorCode::NotInitialized),
                ..
            }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The caller, who must be an administrator or auditor of the oracle's own organisation.
    ///
    /// # Errors
    ///
    /// A 401 problem as [`RestRequest::caller`], or 403.
    pub(crate) fn own_overseer(&self) -> Result<Caller, Problem> {
        let caller = self.caller()?;
        let own = self.api.ledger.msp_id();
        if (caller.is_admin() || caller.is_auditor()) && caller.msp_id == *own {
            Ok(caller)
        } else {
            Err(Problem::new(
                StatusCode::FORBIDDEN,
                "AUDITOR_REQUIRED",
                format!("Only an auditor or administrator of {own} may see this. Ask one of them."),
            ))
        }
    }

    /// The caller, who must be an administrator or installer of the oracle's own organisation.
    ///
    /// # Errors
    ///
    /// A 401 problem as [`RestRequest::caller`], or 403.
    pub(crate) fn own_installer(&self) -> Result<Caller, Problem> {
        let caller = self.caller()?;
        let own = self.api.ledger.msp_id();
        if (caller.is_admin() || caller.is_installer()) && caller.msp_id == *own {
            Ok(caller)
        } else {
            Err(Problem::new(
                StatusCode::FORBIDDEN,
                "INSTALLER_REQUIRED",
                format!(
                    "Only an administrator or installer of {own} may set up devices. Ask one of \
                     them."
                ),
            ))
        }
    }

    /// The oracle's organisation, as the contracts name it.
    ///
    /// # Errors
    ///
    /// A 500 problem for a name that the contracts would not take, with which no oracle starts.
    pub(crate) fn own_msp_id(&self) -> Result<contract_interface::MspId, Problem> {
        let own = self.api.ledger.msp_id().as_str();
        own.parse()
            .map_err(|error: contract_interface::ParseError| Problem::internal(error))
    }

    /// The query's parameters.
    pub(crate) fn query(&self) -> Query {
        Query::new(self.parameters.clone())
    }

    /// The caller as registered on the channel.
    ///
    /// # Errors
    ///
    /// A 403 problem for a caller who is not registered.
    pub(crate) async fn participant(&self, caller: &Caller) -> Result<Participant, Problem> {
        let thumbprint = contract_interface::Digest::from_bytes(caller.certificate.thumbprint());
        self.api
            .ledger
            .participant_by_thumbprint(Viewer::Oracle, &thumbprint)
            .await?
            .ok_or_else(|| {
                Problem::new(
                    StatusCode::FORBIDDEN,
                    "UNKNOWN_PARTICIPANT",
                    "Your certificate is valid but not registered with the consortium. Ask your \
                     organisation's administrator to register it.",
                )
            })
    }

    /// Where the caller reaches this API: scheme and authority; nothing if the request names none.
    pub(crate) fn base(&self) -> String {
        let authority = self.authority.as_ref();
        authority.map_or_else(String::new, |authority| format!("https://{authority}"))
    }

    /// A path with this request's query, whose parameters are known to be good, or with the same
    /// query for another page.
    pub(crate) fn address(&self, path: &str, page: Option<&PageToken>) -> String {
        let mut parameters = self.parameters.clone();
        if let Some(token) = page {
            parameters.insert("page_token".to_owned(), token.to_string());
        }
        let pairs = parameters
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let query = pairs.collect::<Vec<_>>().join("&");
        if query.is_empty() {
            path.to_owned()
        } else {
            format!("{path}?{query}")
        }
    }

    /// Checks that the body has a media type, apart from its parameters.
    ///
    /// # Errors
    ///
    /// A 415 problem.
    pub(crate) fn expects(&self, media_type: &str) -> Result<(), Problem> {
        let given = self
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split(';').next())
            .map(str::trim);
        if given.is_some_and(|given| given.eq_ignore_ascii_case(media_type)) {
            Ok(())
        } else {
            Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "UNSUPPORTED_MEDIA_TYPE",
                format!(
                    "This address takes {media_type}; the request's Content-Type says otherwise."
                ),
            ))
        }
    }

    /// The body as a typed JSON value.
    ///
    /// # Errors
    ///
    /// A 413, 415 or 400 problem; the latter says where the JSON is wrong, without repeating it.
    pub(crate) fn json_body<T: DeserializeOwned>(&self, body: Body) -> Result<T, Problem> {
        self.expects(JSON)?;
        serde_json::from_slice(&body?).map_err(|error| {
            Problem::malformed(format!(
                "The request is not the JSON this address takes (line {}, column {}); see \
                 /openapi.json.",
                error.line(),
                error.column()
            ))
            .caused_by(error)
        })
    }

    /// The caller's signed request in the body: its text and what it asks.
    ///
    /// # Errors
    ///
    /// A problem, as [`RestRequest::caller`], [`RestRequest::jose_body`] and [`signed::verify`] have
    /// them; or 400 for a query, which no such address takes.
    pub(crate) fn signed_body<B: RequestBody>(
        &self,
        body: Body,
    ) -> Result<(String, SignedRequest<B>), Problem> {
        let caller = self.caller()?;
        self.query().finish()?;
        let jws = self.jose_body(body)?;
        let signed = signed::verify::<B>(&jws, &caller, self.api.ledger.channel())?;
        Ok((jws, signed))
    }

    /// The body as the text of a compact JWS.
    ///
    /// # Errors
    ///
    /// A 413, 415 or 400 problem.
    pub(crate) fn jose_body(&self, body: Body) -> Result<String, Problem> {
        self.expects(JOSE)?;
        String::from_utf8(body?.to_vec())
            .map(|text| text.trim_end().to_owned())
            .map_err(|_| Problem::malformed_jws("The signed request is not text."))
    }
}

/// Whether who is registered so may still act for the organisation.
fn check_standing(registered: Option<&Participant>) -> Result<(), Problem> {
    match registered {
        Some(participant) if participant.status != Status::Active => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "FORBIDDEN",
            "Your registration is suspended or revoked. Ask another administrator of your \
             organisation.",
        )),
        _ => Ok(()),
    }
}

fn authenticate(api: &Api, peer: &Peer) -> Result<Caller, Problem> {
    let Some(certificate) = &peer.certificate else {
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "CERTIFICATE_REQUIRED",
            "This address is for people and programs with a certificate. Connect with the \
             certificate your organisation gave you.",
        ));
    };
    api.callers
        .authenticate(certificate, clock::now().unix_seconds())
}

/// Extracts a [`RestRequest`].
pub(crate) fn request(api: &Arc<Api>) -> BoxedFilter<(RestRequest,)> {
    let api = Arc::clone(api);
    warp::ext::get::<Peer>()
        .and(warp::header::headers_cloned())
        .and(warp::query::<BTreeMap<String, String>>())
        .and(warp::host::optional())
        .map(move |peer, headers, parameters, authority| RestRequest {
            api: Arc::clone(&api),
            peer,
            headers,
            parameters,
            authority,
        })
        .boxed()
}

/// Extracts the body, read no further than its limit. A stranger's is not read at all: nobody
/// without a certificate holds a place for as long as a body may take.
pub(crate) fn body(api: &Arc<Api>) -> BoxedFilter<(Body,)> {
    let api = Arc::clone(api);
    warp::ext::get::<Peer>()
        .and(warp::body::stream())
        .then(move |peer: Peer, stream| {
            let api = Arc::clone(&api);
            async move {
                authenticate(&api, &peer)?;
                tokio::time::timeout(BODY_TIMEOUT, collect(stream, api.max_body))
                    .await
                    .unwrap_or_else(|_| Err(slow_body()))
            }
        })
        .boxed()
}

/// Extracts the body of a request that shows a token instead of a certificate: small, soon here, and only from who
/// does not try too often.
pub(crate) fn token_body(api: &Arc<Api>) -> BoxedFilter<(Body,)> {
    let api = Arc::clone(api);
    warp::ext::get::<Peer>()
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(move |peer: Peer, headers: HeaderMap, stream| {
            let api = Arc::clone(&api);
            async move {
                enrolments::token(&headers)?;
                if !enrolments::of(&api)?.admit(peer.address) {
                    return Err(Problem::too_many_tries());
                }
                let body = collect(stream, enrolment::REQUEST_BYTES_MAX);
                tokio::time::timeout(TOKEN_BODY_TIMEOUT, body)
                    .await
                    .unwrap_or_else(|_| Err(slow_body()))
            }
        })
        .boxed()
}

async fn collect<B: Buf>(
    stream: impl Stream<Item = Result<B, warp::Error>>,
    limit: u64,
) -> Result<Bytes, Problem> {
    let mut stream = std::pin::pin!(stream);
    let mut body = BytesMut::new();
    loop {
        let part = tokio::time::timeout(BODY_PART_TIMEOUT, stream.next()).await;
        let Some(chunk) = part.map_err(|_| slow_body())? else {
            return Ok(body.freeze());
        };
        let mut chunk = chunk.map_err(|error| {
            Problem::malformed("The request ended before all of it arrived.").caused_by(error)
        })?;
        if (body.len() + chunk.remaining()) as u64 > limit {
            return Err(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "BODY_TOO_LARGE",
                format!("The request is larger than the {limit} bytes that are allowed."),
            ));
        }
        while chunk.has_remaining() {
            let part = chunk.chunk();
            body.extend_from_slice(part);
            let length = part.len();
            chunk.advance(length);
        }
    }
}

fn slow_body() -> Problem {
    Problem::new(
        StatusCode::REQUEST_TIMEOUT,
        "REQUEST_TOO_SLOW",
        "The request took too long to arrive.",
    )
}

/// A JSON answer.
pub(crate) fn json<T: Serialize>(status: StatusCode, value: &T) -> Response {
    let mut response = warp::reply::json(value).into_response();
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The page a query asks for.
pub(crate) fn page(query: &mut Query) -> Result<PageRequest, Problem> {
    let page = PageRequest {
        page_size: query.take("page_size")?,
        page_token: query.take("page_token")?,
    };
    page.items()
        .map_err(|_| Problem::malformed("The parameter \"page_size\" must be from 1 to 200."))?;
    Ok(page)
}

/// The role a query names.
pub(crate) fn role(query: &mut Query) -> Result<Option<Role>, Problem> {
    match query.take::<String>("role")? {
        None => Ok(None),
        Some(text) => Role::from_text(&text).map(Some).ok_or_else(|| {
            Problem::malformed(
                "The parameter \"role\" must be oracle, patient, provider, admin or auditor.",
            )
        }),
    }
}

/// The two ends of a period in a query.
pub(crate) fn period(query: &mut Query) -> Result<(Option<UtcTime>, Option<UtcTime>), Problem> {
    let (from, to) = (query.take("from")?, query.take("to")?);
    match (from, to) {
        (Some(from), Some(to)) if from > to => Err(Problem::malformed(
            "The period ends before it begins: \"to\" must not be before \"from\".",
        )),
        period => Ok(period),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suspended_administrator_registers_nobody() {
        for (status, allowed) in [("active", true), ("suspended", false), ("revoked", false)] {
            let participant: Participant = serde_json::from_value(serde_json::json!({
                "participant_id": "00112233445566778899aabbccddeeff",
                "msp_id": "Org1MSP",
                "role": "admin",
                "certificate": "",
                "thumbprint": "00".repeat(32),
                "status": status,
                "version": 1,
            }))
            .unwrap();
            let refused = check_standing(Some(&participant)).err();
            assert_eq!(refused.is_none(), allowed, "{status}");
            assert!(refused.is_none_or(|problem| problem.status() == StatusCode::FORBIDDEN));
        }
        assert!(check_standing(None).is_ok(), "not registered yet");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_comes_no_further_is_given_up() {
        let part = |after: u64| async move {
            tokio::time::sleep(Duration::from_secs(after)).await;
            Ok::<_, warp::Error>(Bytes::from_static(b"part"))
        };
        let parts = |after: [u64; 3]| futures::stream::iter(after).then(part);
        let whole = collect(parts([9, 9, 9]), 12).await.unwrap();
        assert_eq!(whole.len(), 12);
        let begun = tokio::time::Instant::now();
        let slow = collect(parts([1, 3600, 1]), 12).await.unwrap_err();
        assert_eq!(slow.code(), "REQUEST_TOO_SLOW");
        assert_eq!(begun.elapsed(), Duration::from_secs(1) + BODY_PART_TIMEOUT);
        let large = collect(parts([0, 0, 0]), 11).await.unwrap_err();
        assert_eq!(large.code(), "BODY_TOO_LARGE");
    }
}
