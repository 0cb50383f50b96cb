//! What a device signed of a large object before it sent it: kept with the record, so that whoever
//! opens the object can check the device's signature over it.
//!
//! The signature is over the canonical JSON of the manifest without `sig`, as that of a compact
//! reading is. A manifest is stored beside metadata, in clear for those who hold that. So it has the
//! members below and no others, none of them free text.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::ParseError;
use crate::ids::RecordType;
use crate::limits::CONTENT_TYPE_BYTES_MAX;
use crate::reading::{self, SIGNATURE_BYTES_MAX, SignedReading, SignedReadingError};

/// Characters of a manifest's `time`: an RFC 3339 time with nanoseconds and offset, and some more.
const TIME_CHARS_MAX: usize = 64;
/// Hexadecimal digits of a SHA-256.
const SHA256_DIGITS: usize = 64;

/// A device's signed manifest of one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedManifest {
    /// Media type of the content, as the device has it; the oracle may know better.
    pub content_type: String,
    /// Bytes of the content.
    pub size: u64,
    /// SHA-256 of the content, 64 hex digits of either case.
    pub sha256: String,
    /// Bytes of the pieces in which it was sent.
    pub chunk_size: u32,
    /// The device's sequence number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// LOINC code or category.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub record_type: Option<RecordType>,
    /// RFC 3339 time of the measurement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// The signature: a compact JWS whose middle part is empty.
    pub sig: String,
}

impl SignedManifest {
    /// The signature and the bytes that it is over.
    ///
    /// # Errors
    ///
    /// [`SignedReadingError`] if a number has no exact JSON form.
    pub fn signed(&self) -> Result<SignedReading, SignedReadingError> {
        let json = serde_json::to_vec(self).map_err(|_| SignedReadingError::NotJson)?;
        reading::of_json(&json)?.ok_or(SignedReadingError::Signature)
    }

    /// Whether it is about content of this size and hash.
    #[must_use]
    pub fn describes(&self, size: u64, sha256: &Digest) -> bool {
        self.size == size && self.sha256.eq_ignore_ascii_case(&sha256.to_string())
    }

    /// Checks what the members' types do not.
    ///
    /// # Errors
    ///
    /// If a text is longer than it may be, or could hold words where it must not.
    pub fn validate(&self) -> Result<(), ParseError> {
        let content_type = self.content_type.as_bytes();
        let of = |text: &str, allowed: &[u8]| {
            text.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || allowed.contains(&byte))
        };
        let is_time = |text: &String| {
            text.len() <= TIME_CHARS_MAX
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || b"TtZz:.+- _".contains(&byte))
        };
        let good = (1..=CONTENT_TYPE_BYTES_MAX).contains(&content_type.len())
            && content_type.iter().all(|byte| (0x20..0x7f).contains(byte))
            && self.sha256.len() == SHA256_DIGITS
            && self.sha256.bytes().all(|byte| byte.is_ascii_hexdigit())
            && self.time.as_ref().is_none_or(is_time)
            && self.sig.len() <= SIGNATURE_BYTES_MAX
            && of(&self.sig, b"-_.");
        if good {
            Ok(())
        } else {
            Err(ParseError::new(
                "a manifest of a media type, a SHA-256, a time and a signature",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn manifest(change: impl FnOnce(&mut Value)) -> Value {
        let mut value = json!({
            "content_type": "application/dicom", "size": 300_000, "sha256": "AB".repeat(32),
            "chunk_size": 65_536, "seq": 17, "type": "18748-4",
            "time": "2026-06-01T12:00:00.5+02:00", "sig": "a..b",
        });
        change(&mut value);
        value
    }

    fn read(value: Value) -> Result<SignedManifest, String> {
        let read: SignedManifest =
            serde_json::from_value(value).map_err(|error| error.to_string())?;
        read.validate().map_err(|error| error.to_string())?;
        Ok(read)
    }

    /// Byte for byte what the device signed, whatever of the optional members it has.
    #[test]
    fn what_is_kept_gives_the_bytes_that_were_signed() {
        for absent in [
            &[][..],
            &["seq"],
            &["type", "time"],
            &["seq", "type", "time"],
        ] {
            let value = manifest(|m| {
                for name in absent {
                    m.as_object_mut().unwrap().remove(*name);
                }
            });
            let came = reading::of_json(value.to_string().as_bytes()).unwrap();
            let kept = read(value).unwrap();
            assert_eq!(kept.signed().unwrap(), came.unwrap(), "{absent:?}");
            let json = serde_json::to_string(&kept).unwrap();
            assert_eq!(serde_json::from_str::<SignedManifest>(&json).unwrap(), kept);
        }
    }

    #[test]
    fn it_describes_one_content() {
        let kept = read(manifest(|_| ())).unwrap();
        let hash = Digest::from_bytes([0xab; 32]);
        assert!(kept.describes(300_000, &hash));
        assert!(!kept.describes(300_001, &hash));
        assert!(!kept.describes(300_000, &Digest::from_bytes([0xac; 32])));
    }

    #[test]
    fn there_is_no_place_for_words() {
        for (member, value) in [
            ("room", json!("12")),
            ("type", json!("a name")),
            ("time", json!("yesterday, Ward 5")),
            ("time", json!("0".repeat(65))),
            ("sha256", json!("ab")),
            ("sha256", json!("xy".repeat(32))),
            ("sig", json!("a name")),
            ("sig", json!("a".repeat(SIGNATURE_BYTES_MAX + 1))),
            ("sig", json!(null)),
            ("content_type", json!("")),
            ("content_type", json!("a/b\n")),
            ("seq", json!(-1)),
            ("size", json!(1.5)),
        ] {
            let refused = read(manifest(|m| m[member] = value.clone()));
            assert!(refused.is_err(), "{member} {value}");
        }
    }
}
