//! Requests that the caller signed, checked before they are carried to the ledger.
//!
//! The contract checks all of this again against the registered certificate and the transaction's
//! time. It is checked here too because the oracle has a clock that no client sets, and because a
//! request that will be refused should not cost a transaction.

use contract_interface::limits::REQUEST_WINDOW_SECONDS;
use contract_interface::{ParseError, RequestBody, SignedRequest, UtcTime};
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
    let request = verify_proven(jws, caller, channel)?;
    in_time(request.iat, clock::now())?;
    Ok(request)
}

/// As [`verify`], at any time: a read whose request is proven but stale is for the contract to deny
/// and to record.
///
/// # Errors
///
/// A problem, as [`verify`] has it, but for the time.
pub(crate) fn verify_proven<B: RequestBody>(
    jws: &str,
    caller: &Caller,
    channel: &str,
) -> Result<SignedRequest<B>, Problem> {
    let certificate = &caller.certificate;
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
    Ok(request)
}

fn in_time(iat: UtcTime, now: UtcTime) -> Result<(), Problem> {
    let window = REQUEST_WINDOW_SECONDS.unsigned_abs();
    if iat.abs_diff(now) > window {
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "REQUEST_EXPIRED",
            format!(
                "The request was signed at {iat}, and it is {now} here; they may differ by \
                 {window} seconds. Check this computer's clock and sign again."
            ),
        ));
    }
    Ok(())
}

/// The answer to a signed body whose members do not fit together.
pub(crate) fn invalid(what: &str, error: &ParseError) -> Problem {
    Problem::malformed(format!(
        "The {what} cannot be kept: expected {}.",
        error.expected
    ))
}

/// The answer to a signed request for something else than the address names.
pub(crate) fn about_something_else(what: &str) -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "REQUEST_MISMATCH",
        format!("The signed request is about another {what} than the address."),
    )
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
