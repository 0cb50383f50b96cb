//! The number that a compact reading gives itself.

use minicbor::Decoder;
use minicbor::data::Type;
use serde_json::Value;

use super::{CBOR_TYPES, ITEMS_MAX, JSON_TYPES, essence};

/// The member that holds a compact reading's own sequence number.
pub const SEQUENCE_MEMBER: &str = "seq";

/// The sequence number in a payload of any media type; none if it is no compact reading or has no
/// readable number. An oracle names a reading in its receipt by this number, as by one that the
/// transport gives.
#[must_use]
pub fn sequence(content_type: &str, payload: &[u8]) -> Option<u64> {
    let essence = essence(content_type);
    if JSON_TYPES.contains(&essence.as_str()) {
        let value: Value = serde_json::from_slice(payload).ok()?;
        if essence == JSON_TYPES[0] && value.get("resourceType").is_some() {
            return None;
        }
        value.get(SEQUENCE_MEMBER)?.as_u64()
    } else if CBOR_TYPES.contains(&essence.as_str()) {
        of_cbor(payload)
    } else {
        None
    }
}

fn of_cbor(payload: &[u8]) -> Option<u64> {
    let mut decoder = Decoder::new(payload);
    let length = decoder.map().ok()?;
    let mut found = None;
    for count in 0..ITEMS_MAX as u64 {
        let ended = match length {
            Some(length) => count >= length,
            None => decoder.datatype().ok()? == Type::Break,
        };
        if ended {
            return found;
        }
        if decoder.str().ok()? == SEQUENCE_MEMBER {
            found = Some(decoder.u64().ok()?);
        } else {
            decoder.skip().ok()?;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compact_reading_says_its_number_in_both_encodings() {
        let json = br#"{"code":"8867-4","seq":901,"unit":"/min","value":72}"#;
        for (content_type, expected) in [
            ("application/json", Some(901)),
            ("Application/JSON; charset=utf-8", Some(901)),
            ("application/vnd.salus.reading+json", Some(901)),
            ("application/fhir+json", None),
            ("image/png", None),
            ("application/cbor", None),
        ] {
            assert_eq!(sequence(content_type, json), expected, "{content_type}");
        }
        // {"code": "x", "seq": 901}, in definite and in open length.
        for body in [
            "a2 64636f6465 6178 63736571 190385",
            "bf 64636f6465 6178 63736571 190385 ff",
        ] {
            let bytes = hex::decode(body.replace(' ', "")).unwrap();
            assert_eq!(sequence("application/cbor", &bytes), Some(901), "{body}");
        }
    }

    #[test]
    fn what_is_no_number_of_a_compact_reading_is_none() {
        let json = "application/json";
        for payload in [
            r#"{"resourceType":"Observation","seq":1}"#,
            r#"{"seq":-1}"#,
            r#"{"seq":"1"}"#,
            r#"{"code":"x"}"#,
            r#"[{"seq":1}]"#,
            "not json",
        ] {
            assert_eq!(sequence(json, payload.as_bytes()), None, "{payload}");
        }
        for payload in ["a163736571 20", "a163736571", "01", "bf", ""] {
            let bytes = hex::decode(payload.replace(' ', "")).unwrap();
            assert_eq!(sequence("application/cbor", &bytes), None, "{payload}");
        }
    }
}
