//! Requests that the caller signed, checked before they are carried to the ledger.
//!
//! The contract checks all of this again against the registered certificate and the transaction's
//! time. It is checked here too because the oracle has a clock that no client sets, and because a
//! request that will be refused should not cost a transaction.

use contract_interface::limits::REQUEST_WINDOW_SECONDS;
use contract_interface::{RequestBody, SignedRequest, UtcTime};
use fabric_msp::Certificate;
use fabric_msp::jws::{Jws, JwsError};
use http::StatusCode;

use crate::api::callers::Caller;
use crate::api::problem::Problem;
use crate::clock;

/// Checks a compact JWS of the caller for this channel and this moment, and reads its request.
///
/// # Errors
///
/// A problem: malformed (400), of someone else (403), badly signed or out of time (401), for
/// another channel or action (400).
pub(crate) fn verify<B: RequestBody>(
    jws: &str,
    caller: &Caller,
    channel: &str,
) -> Result<SignedRequest<B>, Problem> {
    verify_at(jws, &caller.certificate, channel, clock::now())
}

fn verify_at<B: RequestBody>(
    jws: &str,
    certificate: &Certificate,
    channel: &str,
    now: UtcTime,
) -> Result<SignedRequest<B>, Problem> {
    let jws = Jws::parse(jws).map_err(malformed)?;
    if jws.header_thumbprint != certificate.thumbprint() {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "SIGNER_MISMATCH",
            "The request is signed with another certificate than the one you are connected with. \
             Use one certificate for both.",
        ));
    }
    jws.verify(certificate).map_err(|error| {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "SIGNATURE_INVALID",
            "The signature of the request does not belong to its content. Sign it again.",
        )
        .caused_by(error)
    })?;
    let request = SignedRequest::<B>::from_payload(&jws.payload).map_err(|error| {
        Problem::malformed_jws(format!(
            "The signed request is not one for {}; see /openapi.json.",
            B::ACTION
        ))
        .caused_by(error)
    })?;
    if request.channel != channel {
        return Err(Problem::malformed_jws(format!(
            "The signed request is for another channel than \"{channel}\"."
        )));
    }
    let window = REQUEST_WINDOW_SECONDS.unsigned_abs();
    if request.iat.abs_diff(now) > window {
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "REQUEST_EXPIRED",
            format!(
                "The request was signed at {}, and it is {now} here; they may differ by {window} \
                 seconds. Check this computer's clock and sign again.",
                request.iat
            ),
        ));
    }
    Ok(request)
}

/// The answer to a signed request for something else than the address names.
pub(crate) fn about_something_else(what: &str) -> Problem {
    Problem::malformed_jws(format!(
        "The signed request is about another {what} than the address."
    ))
}

fn malformed(error: JwsError) -> Problem {
    let detail = match &error {
        JwsError::TooLong { .. } => "The signed request is too long.",
        JwsError::Algorithm => "The signed request must use the algorithm ES256.",
        JwsError::Field { .. } => {
            "The signed request's header has a field that is not allowed here."
        }
        _ => "The signed request is not a compact JWS with the fields alg and x5t#S256.",
    };
    Problem::malformed_jws(detail).caused_by(error)
}
