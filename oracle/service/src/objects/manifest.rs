//! What a device says of an object before it sends it. Pure.
//!
//! | member | type | meaning |
//! |---|---|---|
//! | `content_type` | text | media type of the content |
//! | `size` | integer, 1 to 2^30 | bytes of the content |
//! | `sha256` | 64 hexadecimal digits | SHA-256 of the content |
//! | `chunk_size` | integer, 1024 to 2^20 | bytes of every chunk but the last; at most 16,384 chunks |
//! | `seq` | integer from 0 | the device's sequence number, shared with its readings; optional |
//! | `type` | text, at most 64 characters | LOINC code or category; optional |
//! | `time` | RFC 3339 text | when it was measured; optional |
//! | `sig` | text | the device's signature, as of a compact reading; optional |
//!
//! Other members are allowed, signed and not looked at. The signature of a manifest that has some is checked and not
//! kept: records have no place for words.

use std::fmt;
use std::str::FromStr;

use contract_interface::{DeviceId, Digest, SignedManifest, canonical_json, reading};
use serde_json::{Map, Value};

use super::error::ObjectError;
use crate::ingest::decode::Hints;

/// Bytes of a manifest.
pub const MANIFEST_BYTES_MAX: usize = 16 << 10;
/// Bytes of an object.
pub const OBJECT_BYTES_MAX: u64 = 1 << 30;
/// Bytes of a chunk.
pub const CHUNK_BYTES_MAX: u32 = 1 << 20;
/// Bytes of a chunk that is not the last, at least.
const CHUNK_BYTES_MIN: u32 = 1 << 10;
/// Chunks of an object.
pub(super) const CHUNKS_MAX: u32 = 16_384;

/// A device's name for an object: 1 to 64 letters, digits, `.`, `_` or `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(DeviceId);

impl ObjectId {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is no name of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an object ID has 1 to 64 letters, digits, '.', '_' or '-'")]
pub struct ObjectIdError;

impl FromStr for ObjectId {
    type Err = ObjectIdError;

    fn from_str(text: &str) -> Result<Self, ObjectIdError> {
        // The same rule as for a device's name.
        text.parse().map(Self).map_err(|_| ObjectIdError)
    }
}

/// A manifest that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) bytes: u64,
    pub(crate) sha256: [u8; 32],
    pub(crate) chunk_bytes: u32,
    /// By what the oracle knows what the content is.
    pub(crate) hints: Hints,
    /// SHA-256 of the canonical JSON without the signature: a manifest signed twice is one.
    pub(crate) digest: [u8; 32],
    /// What a record keeps of the device's signature.
    pub(crate) signature: Signature,
}

/// What a record keeps of the signature of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signature {
    /// There is none.
    None,
    /// All of it: [`SignedManifest`].
    Kept,
    /// Nothing, since it is over members that a record has no place for.
    NotKept,
}

impl Manifest {
    /// Reads a manifest.
    pub(crate) fn read(payload: &[u8]) -> Result<Self, ObjectError> {
        let whole = wrong("the payload", "a JSON object of at most 16 KiB");
        if payload.len() > MANIFEST_BYTES_MAX {
            return Err(whole);
        }
        let value: Value = serde_json::from_slice(payload).map_err(|_| whole.clone())?;
        let Value::Object(mut members) = value else {
            return Err(whole);
        };
        let signature = match members.remove(reading::SIGNATURE_MEMBER) {
            None => Signature::None,
            Some(_) => match serde_json::from_slice::<SignedManifest>(payload) {
                Ok(signed) if signed.validate().is_ok() => Signature::Kept,
                _ => Signature::NotKept,
            },
        };
        let bytes = integer(&members, "size", (1, OBJECT_BYTES_MAX), "1 to 1073741824")?;
        let limits = (CHUNK_BYTES_MIN.into(), CHUNK_BYTES_MAX.into());
        let chunk_bytes = integer(&members, "chunk_size", limits, "1024 to 1048576")?;
        let many = wrong("chunk_size", "such that there are at most 16384 chunks");
        if bytes.div_ceil(chunk_bytes) > CHUNKS_MAX.into() {
            return Err(many);
        }
        let sha256 = text(&members, "sha256")?.and_then(|text| hex::decode(text).ok());
        let sha256 = sha256.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let sha256 = sha256.ok_or_else(|| wrong("sha256", "64 hexadecimal digits"))?;
        let sequence = match members.get("seq") {
            None => None,
            Some(seq) => {
                let seq = seq.as_u64();
                Some(seq.ok_or_else(|| wrong("seq", "an integer from 0 to 2^64-1"))?)
            }
        };
        let content_type = text(&members, "content_type")?;
        let content_type = content_type.ok_or_else(|| wrong("content_type", "a media type"))?;
        let hints = Hints {
            content_type: Some(content_type.to_owned()),
            sequence,
            code: text(&members, "type")?.map(str::to_owned),
            time: text(&members, "time")?.map(str::to_owned),
        };
        let canonical = canonical_json(&members).map_err(|_| whole)?;
        Ok(Self {
            bytes,
            sha256,
            chunk_bytes: u32::try_from(chunk_bytes).map_err(|_| many)?,
            hints,
            digest: *Digest::of(&canonical).as_bytes(),
            signature,
        })
    }
}

fn wrong(field: &'static str, expected: &'static str) -> ObjectError {
    ObjectError::Manifest { field, expected }
}

fn integer(
    members: &Map<String, Value>,
    field: &'static str,
    (min, max): (u64, u64),
    expected: &'static str,
) -> Result<u64, ObjectError> {
    let number = members.get(field).and_then(Value::as_u64);
    let number = number.filter(|number| (min..=max).contains(number));
    number.ok_or_else(|| wrong(field, expected))
}

fn text<'a>(
    members: &'a Map<String, Value>,
    field: &'static str,
) -> Result<Option<&'a str>, ObjectError> {
    match members.get(field) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(wrong(field, "text")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manifest(change: impl FnOnce(&mut Value)) -> Result<Manifest, ObjectError> {
        let mut value = json!({
            "content_type": "application/dicom", "size": 300_000, "sha256": "ab".repeat(32),
            "chunk_size": 65_536, "seq": 17, "type": "18748-4", "time": "2026-06-01T12:00:00Z",
        });
        change(&mut value);
        Manifest::read(value.to_string().as_bytes())
    }

    #[test]
    fn a_manifest_is_what_it_says_whatever_its_order_and_signature() {
        let whole = manifest(|_| ()).unwrap();
        assert_eq!((whole.bytes, whole.chunk_bytes), (300_000, 65_536));
        assert_eq!((whole.sha256, whole.hints.sequence), ([0xab; 32], Some(17)));
        assert_eq!(whole.hints.code.as_deref(), Some("18748-4"));
        let signed = manifest(|m| m["sig"] = json!("a..b")).unwrap();
        assert_eq!(signed.signature, Signature::Kept);
        let unsigned = Manifest {
            signature: Signature::None,
            ..signed
        };
        assert_eq!(unsigned, whole);
        let more = manifest(|m| {
            m["sig"] = json!("a..b");
            m["room"] = json!("12");
        });
        assert_eq!(more.unwrap().signature, Signature::NotKept);
        let text = format!(
            r#" {{"chunk_size":65536,"size":3e5, "sha256":"{}"}}"#,
            "AB".repeat(32)
        );
        assert!(
            Manifest::read(text.as_bytes()).is_err(),
            "a size is an integer"
        );
        for (member, value) in [
            ("size", json!(300_001)),
            ("sha256", json!("ac".repeat(32))),
            ("chunk_size", json!(65_537)),
            ("seq", json!(18)),
            ("type", json!("18748-5")),
            ("time", json!("2026-06-01T12:00:01Z")),
            ("content_type", json!("image/png")),
            ("room", json!("12")),
        ] {
            let other = manifest(|m| m[member] = value.clone()).unwrap();
            assert_ne!(other.digest, whole.digest, "{member} {value}");
        }
    }

    #[test]
    fn a_wrong_member_is_named() {
        for (member, value) in [
            ("size", json!(0)),
            ("size", json!((1_u64 << 30) + 1)),
            ("size", json!("1")),
            ("size", json!(1.5)),
            ("chunk_size", json!(1023)),
            ("chunk_size", json!((1 << 20) + 1)),
            ("sha256", json!("ab")),
            ("sha256", json!("xy".repeat(32))),
            ("seq", json!(-1)),
            ("seq", json!("1")),
            ("type", json!(1)),
            ("time", json!(0)),
            ("content_type", json!(null)),
        ] {
            let error = manifest(|m| m[member] = value.clone()).unwrap_err();
            assert_eq!(error.name(), "object-manifest", "{member} {value}");
            assert!(error.to_string().contains(member), "{error}");
        }
        for member in ["size", "chunk_size", "sha256", "content_type"] {
            let gone = manifest(|m| drop(m.as_object_mut().unwrap().remove(member)));
            assert!(gone.unwrap_err().to_string().contains(member), "{member}");
        }
        let many = manifest(|m| {
            m["size"] = json!(1 << 30);
            m["chunk_size"] = json!(65_535);
        });
        assert!(many.unwrap_err().to_string().contains("16384 chunks"));
        let most = manifest(|m| m["size"] = json!(1 << 30));
        assert_eq!(most.unwrap().bytes, 1 << 30);
        for payload in ["", "[]", "{", "{\"size\":1}"] {
            assert!(Manifest::read(payload.as_bytes()).is_err(), "{payload}");
        }
        let long = format!("{}{{}}", " ".repeat(MANIFEST_BYTES_MAX));
        assert!(Manifest::read(long.as_bytes()).is_err());
    }

    #[test]
    fn names_never_leave_their_level_of_a_topic() {
        for (text, good) in [
            ("scan-1", true),
            ("A.b_c-9", true),
            (&"x".repeat(64), true),
            (&"x".repeat(65), false),
            ("", false),
            ("a/b", false),
            ("a+", false),
            ("#", false),
            ("\u{e9}", false),
        ] {
            assert_eq!(text.parse::<ObjectId>().is_ok(), good, "{text}");
        }
    }
}
