//! The one JSON writer for what is stored, hashed or signed.

use serde::Serialize;

/// A value that has no canonical JSON form.
#[derive(Debug, thiserror::Error)]
#[error("value has no canonical JSON form")]
pub struct CanonicalJsonError(#[source] serde_json::Error);

/// Writes `value` as RFC 8785 (JCS) prescribes: members sorted, no white space, one number format.
///
/// # Errors
///
/// If the value cannot be JSON, as a map whose keys are not strings. No type of this crate is such
/// a value.
pub fn canonical_json<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CanonicalJsonError> {
    serde_json_canonicalizer::to_vec(&value).map_err(CanonicalJsonError)
}
