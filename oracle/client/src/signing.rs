//! Signed requests: what a person states about a grant or a read, as a JWS.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand;
use contract_interface::{Nonce, RequestBody, SignedRequest, UtcTime, canonical_json};
use fabric_msp::{SigningIdentity, jws};

use crate::{error::ClientError, http::signing_identity, profile::Profile};

/// Random bytes of a nonce.
const NONCE_BYTES: usize = 16;

/// Signs a request, now and for one use, as a compact JWS (ES256) over canonical JSON.
///
/// # Errors
/// When the system has no clock or randomness, or the key cannot sign.
pub fn sign<B: RequestBody>(
    identity: &SigningIdentity,
    channel: &str,
    body: B,
) -> Result<String, ClientError> {
    let nonce =
        Nonce::from_bytes(&random::<NONCE_BYTES>()?).map_err(|_| ClientError::Malformed {
            what: "a nonce of 16 bytes",
        })?;
    let request = SignedRequest::new(channel, now()?, nonce, body);
    let payload = canonical_json(&request).map_err(|_| ClientError::Malformed {
        what: "a request with a canonical form",
    })?;
    jws::sign(identity, &payload).map_err(|error| ClientError::Identity {
        problem: error.to_string(),
    })
}

/// The certificate and key with which the person of a profile signs.
///
/// # Errors
/// [`ClientError::Identity`] when they cannot be read.
pub fn identity(profile: &Profile) -> Result<SigningIdentity, ClientError> {
    signing_identity(profile)
}

/// This machine's time.
///
/// # Errors
/// When it lies before 1970.
pub fn now() -> Result<UtcTime, ClientError> {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .and_then(|seconds| UtcTime::from_unix_seconds(seconds).ok())
        .ok_or_else(|| ClientError::Identity {
            problem: "this machine's clock cannot be right".to_owned(),
        })
}

/// Fresh random bytes, for IDs and nonces.
///
/// # Errors
/// When the system has none.
pub fn random<const N: usize>() -> Result<[u8; N], ClientError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| ClientError::Identity {
        problem: "this machine has no randomness".to_owned(),
    })?;
    Ok(bytes)
}
