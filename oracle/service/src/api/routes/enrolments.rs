//! How devices get certificates: a token for who sets them up, a certificate for who shows it.

use std::time::Duration;

use contract_interface::{DeviceId, Pseudonym, UtcTime};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use warp::reply::Response;
use zeroize::Zeroizing;

use crate::api::Api;
use crate::api::problem::Problem;
use crate::api::request::{Body, RestRequest, json};
use crate::api::scalars::{Id, Name, Time};
use crate::api::types::{DeviceCertificate, EnrolmentToken};
use crate::clock;
use crate::enrolment::{EnrolmentError, Enrolments, Wanted};

/// Media type of a signing request (RFC 5967).
const PKCS10: &str = "application/pkcs10";
/// The scheme of a token (RFC 6750).
const BEARER: &str = "Bearer ";
/// Seconds of the shortest lifetime of a token.
const LIFETIME_SECONDS_MIN: u64 = 60;

/// What an administrator asks for.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EnrolmentRequest {
    /// The device; the common name of its certificate to be.
    #[schema(value_type = Name)]
    device_id: DeviceId,
    /// Whom it will measure. Left out for a device that is registered: it keeps its binding, as when its key is
    /// replaced.
    #[serde(default)]
    #[schema(value_type = Option<Id>)]
    patient: Option<Pseudonym>,
    /// From when; now if left out.
    #[serde(default)]
    #[schema(value_type = Option<Time>)]
    bound_from: Option<UtcTime>,
    /// Until when, itself not included.
    #[serde(default)]
    #[schema(value_type = Option<Time>)]
    bound_until: Option<UtcTime>,
    /// How long the token is good; as long as the oracle allows if left out.
    #[serde(default)]
    #[schema(minimum = 60)]
    lifetime_seconds: Option<u64>,
}

/// Makes a one-time token with which a device gets its certificate. For administrators and installers
/// (certificate attribute `salus.installer=true`) of the oracle's organisation.
#[utoipa::path(
    post, path = "/v1/enrolments", operation_id = "create_enrolment", tag = "directory",
    request_body = EnrolmentRequest,
    responses(
        (status = 201, description = "A token, which is shown once", body = EnrolmentToken),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn create(request: RestRequest, body: Body) -> Result<Response, Problem> {
    let caller = request.own_installer()?;
    let asked: EnrolmentRequest = request.json_body(body)?;
    request.query().finish()?;
    let enrolments = of(&request.api)?;
    request.require_standing(&caller).await?;
    let now = clock::now();
    let wanted = Wanted {
        lifetime: lifetime(asked.lifetime_seconds, enrolments.token_lifetime())?,
        binding: binding(&asked, now)?,
        device_id: asked.device_id,
    };
    let device_id = wanted.device_id.clone();
    let token = enrolments.invite(wanted, now.unix_seconds()).await?;
    tracing::info!(
        device = %device_id,
        by = hex::encode(caller.certificate.thumbprint()),
        "enrolment token made"
    );
    Ok(json(
        StatusCode::CREATED,
        &EnrolmentToken::new(device_id, &token),
    ))
}

/// Certifies a device's key and registers the device. The device has no certificate yet: it shows the token, as
/// `Authorization: Bearer`. The body is a PKCS#10 request (DER or PEM) for an ES256 key whose subject's common name
/// is the device's ID; everything else in it is disregarded. Asked again with the same key, the answer is the same;
/// with any other key the token is good for nothing.
#[utoipa::path(
    post, path = "/v1/enrolments/certificate", operation_id = "enrol_device", tag = "directory",
    params(("Authorization" = String, Header, description = "`Bearer` and the token")),
    request_body(content = String, content_type = "application/pkcs10"),
    responses(
        (status = 200, description = "Certified and registered", body = DeviceCertificate),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn certify(request: RestRequest, body: Body) -> Result<Response, Problem> {
    let body = body?;
    let secret = token(&request.headers)?;
    request.expects(PKCS10)?;
    request.query().finish()?;
    let now = clock::now().unix_seconds();
    let issued = of(&request.api)?.certify(&secret, &body, now).await?;
    request.api.devices.forget_device(&issued.device_id);
    Ok(json(StatusCode::OK, &DeviceCertificate::new(issued)))
}

/// Certifies a new key of a device that connects with the certificate it has, which the new one replaces at once.
/// Asked again with the old certificate and the same key, the answer is the same.
#[utoipa::path(
    post, path = "/v1/enrolments/renewal", operation_id = "renew_device", tag = "directory",
    request_body(content = String, content_type = "application/pkcs10"),
    responses(
        (status = 200, description = "Certified and registered", body = DeviceCertificate),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn renew(request: RestRequest, body: Body) -> Result<Response, Problem> {
    let caller = request.caller()?;
    let body = body?;
    request.expects(PKCS10)?;
    request.query().finish()?;
    let now = clock::now().unix_seconds();
    let issued = of(&request.api)?
        .renew(&caller.certificate, &body, now)
        .await?;
    request.api.devices.forget_device(&issued.device_id);
    Ok(json(StatusCode::OK, &DeviceCertificate::new(issued)))
}

/// The token that a request shows.
///
/// # Errors
///
/// A 401 problem without one.
pub(crate) fn token(headers: &HeaderMap) -> Result<Zeroizing<String>, Problem> {
    let shown = headers.get(header::AUTHORIZATION);
    let shown = shown.and_then(|value| value.to_str().ok());
    let token = shown.and_then(|text| text.strip_prefix(BEARER));
    match token.map(str::trim) {
        Some(token) if !token.is_empty() => Ok(Zeroizing::new(token.to_owned())),
        _ => Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "TOKEN_REQUIRED",
            "This address is for new devices. Show the one-time token that your organisation's \
             administrator made for the device.",
        )),
    }
}

/// The oracle's way for devices to get certificates.
///
/// # Errors
///
/// A 404 problem, if it has none.
pub(crate) fn of(api: &Api) -> Result<&Enrolments, Problem> {
    api.enrolments.as_deref().ok_or_else(|| {
        Problem::not_found(
            "This oracle does not certify devices. Ask your organisation's administrator for the \
             device's certificate.",
        )
    })
}

fn lifetime(asked: Option<u64>, longest: Duration) -> Result<Duration, Problem> {
    match asked {
        None => Ok(longest),
        Some(seconds) if (LIFETIME_SECONDS_MIN..=longest.as_secs()).contains(&seconds) => {
            Ok(Duration::from_secs(seconds))
        }
        Some(_) => Err(Problem::malformed(format!(
            "A token is good for {LIFETIME_SECONDS_MIN} to {} seconds here.",
            longest.as_secs()
        ))),
    }
}

type Bound = (Pseudonym, UtcTime, Option<UtcTime>);

fn binding(asked: &EnrolmentRequest, now: UtcTime) -> Result<Option<Bound>, Problem> {
    let (from, until) = (asked.bound_from, asked.bound_until);
    match asked.patient {
        None if from.is_some() || until.is_some() => Err(Problem::malformed(
            "A time says from or until when the device measures a patient: name the patient, too.",
        )),
        None => Ok(None),
        Some(patient) => {
            let from = from.unwrap_or(now);
            if until.is_some_and(|until| until <= from) {
                return Err(Problem::malformed(
                    "The binding ends before it begins: \"bound_until\" must be after \
                     \"bound_from\".",
                ));
            }
            Ok(Some((patient, from, until)))
        }
    }
}

impl From<EnrolmentError> for Problem {
    fn from(error: EnrolmentError) -> Self {
        let (status, code, detail) = match error {
            EnrolmentError::Ledger(error) => return error.into(),
            EnrolmentError::Request { reason } => {
                return Self::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "SIGNING_REQUEST_REFUSED",
                    format!(
                        "The signing request cannot be certified: {reason}. \"salus device enrol\" \
                         makes a good one."
                    ),
                );
            }
            EnrolmentError::Token | EnrolmentError::OtherKey => (
                StatusCode::UNAUTHORIZED,
                "TOKEN_INVALID",
                "This token is good for nothing: it is not known here, has expired or has served \
                 another key. Ask your organisation's administrator for a new one.",
            ),
            EnrolmentError::NoPatient => (
                StatusCode::CONFLICT,
                "DEVICE_NOT_BOUND",
                "The device is not registered yet: name the patient whom it will measure.",
            ),
            EnrolmentError::NotADevice => (
                StatusCode::FORBIDDEN,
                "NOT_A_DEVICE",
                "Only a device renews its certificate here, and only one that this oracle \
                 certified. Ask your organisation's administrator for a token.",
            ),
            EnrolmentError::NotRegistered => (
                StatusCode::FORBIDDEN,
                "CERTIFICATE_REPLACED",
                "The device has been given another certificate since. Ask your organisation's \
                 administrator for a token.",
            ),
            EnrolmentError::DeviceInactive => (
                StatusCode::FORBIDDEN,
                "DEVICE_INACTIVE",
                "The device is suspended or revoked. Ask your organisation's administrator.",
            ),
            EnrolmentError::DeviceRevoked => (
                StatusCode::CONFLICT,
                "DEVICE_REVOKED",
                "The device has been revoked for good. Give the apparatus another device ID.",
            ),
            EnrolmentError::Full => (
                StatusCode::CONFLICT,
                "ENROLMENTS_FULL",
                "Too many tokens are open. Wait until some have been used or have expired.",
            ),
            error => return Self::internal(error),
        };
        Self::new(status, code, detail)
    }
}
