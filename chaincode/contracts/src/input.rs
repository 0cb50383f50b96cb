//! Arguments and transient fields, bounded and parsed.

use contract_interface::limits::{ARGUMENT_BYTES_MAX, CERTIFICATE_BYTES_MAX, TRANSIENT_BYTES_MAX};
use contract_interface::names::transient;
use contract_interface::{ParseError, Salt, UtcTime};
use fabric_shim::{Stub, x509::Certificate};
use serde::de::DeserializeOwned;

use crate::failure::Failure;

/// Parses a public argument that is JSON.
pub(crate) fn json_argument<T: DeserializeOwned>(
    name: &'static str,
    text: &str,
) -> Result<T, Failure> {
    if text.len() > ARGUMENT_BYTES_MAX {
        return Err(Failure::limit(format!(
            "{name} has more than {ARGUMENT_BYTES_MAX} bytes"
        )));
    }
    json(name, text.as_bytes())
}

/// Parses a public argument that is one value's text.
pub(crate) fn text_argument<T: std::str::FromStr<Err = ParseError>>(
    name: &'static str,
    text: &str,
) -> Result<T, Failure> {
    text.parse()
        .map_err(|error: ParseError| Failure::argument(format!("{name} is {error}")))
}

/// A transient field, if it is there and not empty.
pub(crate) fn optional_transient<'a>(
    stub: &'a Stub,
    name: &'static str,
) -> Result<Option<&'a [u8]>, Failure> {
    match stub.transient().get(name) {
        Some(value) if value.len() > TRANSIENT_BYTES_MAX => Err(Failure::limit(format!(
            "transient field {name} has more than {TRANSIENT_BYTES_MAX} bytes"
        ))),
        Some(value) if !value.is_empty() => Ok(Some(value)),
        _ => Ok(None),
    }
}

/// A transient field that must be there.
pub(crate) fn transient_field<'a>(stub: &'a Stub, name: &'static str) -> Result<&'a [u8], Failure> {
    optional_transient(stub, name)?
        .ok_or_else(|| Failure::argument(format!("transient field {name} is missing")))
}

/// A transient field that must be there and be JSON.
pub(crate) fn json_transient<T: DeserializeOwned>(
    stub: &Stub,
    name: &'static str,
) -> Result<T, Failure> {
    json(name, transient_field(stub, name)?)
}

/// The transient salt: 32 raw bytes.
pub(crate) fn salt(stub: &Stub) -> Result<Salt, Failure> {
    let bytes = transient_field(stub, transient::SALT)?
        .try_into()
        .map_err(|_| Failure::argument("transient field salt has not 32 bytes"))?;
    Salt::from_bytes(bytes).map_err(|_| Failure::argument("transient field salt is not random"))
}

/// The transaction's time, which its creator states.
pub(crate) fn transaction_time(stub: &Stub) -> Result<UtcTime, Failure> {
    UtcTime::from_unix_seconds(stub.tx_timestamp().seconds)
        .map_err(|_| Failure::argument("the transaction's time is out of range"))
}

/// A PEM certificate of an end entity.
pub(crate) fn certificate(pem: &[u8]) -> Result<Certificate, Failure> {
    let certificate = any_certificate(pem)?;
    if certificate.is_ca() {
        return Err(Failure::argument(
            "certificate is that of a certificate authority",
        ));
    }
    Ok(certificate)
}

/// A PEM certificate of a certificate authority.
pub(crate) fn authority(pem: &[u8]) -> Result<Certificate, Failure> {
    let certificate = any_certificate(pem)?;
    if !certificate.is_ca() {
        return Err(Failure::argument(
            "the issuer's certificate is not that of a certificate authority",
        ));
    }
    Ok(certificate)
}

fn any_certificate(pem: &[u8]) -> Result<Certificate, Failure> {
    if pem.len() > CERTIFICATE_BYTES_MAX {
        return Err(Failure::limit(format!(
            "certificate has more than {CERTIFICATE_BYTES_MAX} bytes"
        )));
    }
    Certificate::from_pem(pem)
        .map_err(|_| Failure::argument("certificate is not a PEM X.509 certificate"))
}

fn json<T: DeserializeOwned>(name: &'static str, bytes: &[u8]) -> Result<T, Failure> {
    // Of serde's message only the place is told: the rest may quote what must stay private.
    serde_json::from_slice(bytes).map_err(|error| {
        Failure::argument(format!(
            "{name} is not as it should be at line {}, column {}",
            error.line(),
            error.column()
        ))
    })
}
