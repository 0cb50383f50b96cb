//! Compact readings: the number that one gives itself, and what a device signs of it, the same for
//! JSON and CBOR.
//!
//! The member `sig` of a compact reading is a JWS with detached content (RFC 7515, appendix F) over
//! the canonical JSON (RFC 8785) of the reading without `sig`. A reading in CBOR is signed as the
//! JSON of the same members: maps with text keys, lists, text, booleans, null, and numbers that a
//! double holds exactly; the tags 0 and 1 of a time are left away. Byte strings, other tags and
//! simple values have no JSON form, and a reading with one cannot be signed.

mod sequence;

use minicbor::Decoder;
use minicbor::data::Type;
use serde_json::{Map, Number, Value};

pub use self::sequence::{SEQUENCE_MEMBER, sequence};

use crate::canonical::canonical_json;

/// The member that holds the signature.
pub const SIGNATURE_MEMBER: &str = "sig";
/// Bytes of a signature: a header with a certificate, and the signature itself.
pub const SIGNATURE_BYTES_MAX: usize = 8 * 1024;

/// Items inside items that are followed.
const DEPTH_MAX: usize = 16;
/// Items of one reading.
const ITEMS_MAX: usize = 65_536;
/// Largest integer that a double holds exactly with all its neighbours.
const EXACT_MAX: u64 = 1 << 53;

/// A reading's signature and what it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedReading {
    /// The member `sig`: a compact JWS whose middle part is empty.
    pub signature: String,
    /// Canonical JSON of the reading without it.
    pub content: Vec<u8>,
}

/// Why a reading has no signed form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignedReadingError {
    /// It is neither a JSON object nor a CBOR map with text keys, each once.
    #[error("the reading is neither a JSON object nor a CBOR map")]
    Malformed,
    /// A value has no exact JSON form.
    #[error("a value of the reading has no exact JSON form")]
    NotJson,
    /// `sig` is no text, or longer than [`SIGNATURE_BYTES_MAX`].
    #[error("the member sig is not a signature")]
    Signature,
}

/// Media types of compact readings in JSON; the first may also be FHIR, which has `resourceType`.
const JSON_TYPES: [&str; 2] = ["application/json", "application/vnd.salus.reading+json"];
/// Media types of compact readings in CBOR.
const CBOR_TYPES: [&str; 2] = ["application/cbor", "application/vnd.salus.reading+cbor"];

/// Takes apart a payload of any media type; none if it is no compact reading or not signed. The
/// member's name MUST be written without escapes: payloads in which it does not stand so are not
/// looked into.
///
/// # Errors
///
/// [`SignedReadingError`].
pub fn of(content_type: &str, payload: &[u8]) -> Result<Option<SignedReading>, SignedReadingError> {
    let essence = essence(content_type);
    let name = SIGNATURE_MEMBER.as_bytes();
    if !payload.windows(name.len()).any(|window| window == name) {
        return Ok(None);
    }
    if JSON_TYPES.contains(&essence.as_str()) {
        let value: Value =
            serde_json::from_slice(payload).map_err(|_| SignedReadingError::Malformed)?;
        match essence == JSON_TYPES[0] && value.get("resourceType").is_some() {
            true => Ok(None),
            false => of_value(value),
        }
    } else if CBOR_TYPES.contains(&essence.as_str()) {
        of_cbor(payload)
    } else {
        Ok(None)
    }
}

/// A media type without its parameters, in lower case.
fn essence(content_type: &str) -> String {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

/// Takes apart a compact reading in JSON; none if it is not signed.
///
/// # Errors
///
/// [`SignedReadingError`].
pub fn of_json(payload: &[u8]) -> Result<Option<SignedReading>, SignedReadingError> {
    of_value(serde_json::from_slice(payload).map_err(|_| SignedReadingError::Malformed)?)
}

/// Takes apart a compact reading in CBOR; none if it is not signed.
///
/// # Errors
///
/// [`SignedReadingError`]; an unsigned reading may have members without a JSON form.
pub fn of_cbor(payload: &[u8]) -> Result<Option<SignedReading>, SignedReadingError> {
    if !cbor_has_signature(payload)? {
        return Ok(None);
    }
    of_value(json_of_cbor(payload)?)
}

/// What is to be signed of a reading in JSON that has no signature yet.
///
/// # Errors
///
/// [`SignedReadingError`].
pub fn content(reading: &Value) -> Result<Vec<u8>, SignedReadingError> {
    if !reading.is_object() {
        return Err(SignedReadingError::Malformed);
    }
    canonical_json(reading).map_err(|_| SignedReadingError::NotJson)
}

fn of_value(mut reading: Value) -> Result<Option<SignedReading>, SignedReadingError> {
    let members = reading
        .as_object_mut()
        .ok_or(SignedReadingError::Malformed)?;
    let signature = match members.remove(SIGNATURE_MEMBER) {
        None => return Ok(None),
        Some(Value::String(text)) if text.len() <= SIGNATURE_BYTES_MAX => text,
        Some(_) => return Err(SignedReadingError::Signature),
    };
    let content = content(&reading)?;
    Ok(Some(SignedReading { signature, content }))
}

fn cbor_has_signature(payload: &[u8]) -> Result<bool, SignedReadingError> {
    let malformed = |_| SignedReadingError::Malformed;
    let mut decoder = Decoder::new(payload);
    let length = decoder.map().map_err(malformed)?;
    for count in 0.. {
        let ended = match length {
            Some(length) => count >= length,
            None => decoder.datatype().map_err(malformed)? == Type::Break,
        };
        if ended || count >= ITEMS_MAX as u64 {
            break;
        }
        if decoder.str().map_err(malformed)? == SIGNATURE_MEMBER {
            return Ok(true);
        }
        decoder.skip().map_err(malformed)?;
    }
    Ok(false)
}

fn json_of_cbor(payload: &[u8]) -> Result<Value, SignedReadingError> {
    let mut items = Items {
        decoder: Decoder::new(payload),
        left: ITEMS_MAX,
    };
    let value = items.value(DEPTH_MAX)?;
    if items.decoder.position() == payload.len() {
        Ok(value)
    } else {
        Err(SignedReadingError::Malformed)
    }
}

struct Items<'a> {
    decoder: Decoder<'a>,
    left: usize,
}

impl Items<'_> {
    fn value(&mut self, depth: usize) -> Result<Value, SignedReadingError> {
        let malformed = |_| SignedReadingError::Malformed;
        let bounded = (depth.checked_sub(1), self.left.checked_sub(1));
        let (Some(depth), Some(left)) = bounded else {
            return Err(SignedReadingError::Malformed);
        };
        self.left = left;
        let decoder = &mut self.decoder;
        match decoder.datatype().map_err(malformed)? {
            Type::Map | Type::MapIndef => self.map(depth),
            Type::Array | Type::ArrayIndef => self.list(depth),
            Type::String => Ok(decoder.str().map_err(malformed)?.into()),
            Type::Bool => Ok(decoder.bool().map_err(malformed)?.into()),
            Type::Null => decoder.null().map(|()| Value::Null).map_err(malformed),
            Type::F16 => {
                let start = decoder.position();
                decoder.skip().map_err(malformed)?;
                match decoder.input().get(start + 1..start + 3) {
                    Some(&[high, low]) => float(half(u16::from_be_bytes([high, low]))),
                    _ => Err(SignedReadingError::Malformed),
                }
            }
            Type::F32 => float(decoder.f32().map_err(malformed)?.into()),
            Type::F64 => float(decoder.f64().map_err(malformed)?),
            Type::Tag => {
                if decoder.tag().map_err(malformed)?.as_u64() > 1 {
                    return Err(SignedReadingError::NotJson);
                }
                self.value(depth)
            }
            Type::U8 | Type::U16 | Type::U32 | Type::U64 => {
                let number = decoder.u64().map_err(malformed)?;
                exact(number <= EXACT_MAX, number)
            }
            Type::I8 | Type::I16 | Type::I32 | Type::I64 => {
                let number = decoder.i64().map_err(malformed)?;
                exact(number.unsigned_abs() <= EXACT_MAX, number)
            }
            _ => Err(SignedReadingError::NotJson),
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, SignedReadingError> {
        let length = self.decoder.map();
        let length = length.map_err(|_| SignedReadingError::Malformed)?;
        let mut members = Map::new();
        let mut count = 0;
        while !self.ended(length, count)? {
            let key = self.decoder.str();
            let key = key.map_err(|_| SignedReadingError::Malformed)?.to_owned();
            let value = self.value(depth)?;
            if members.insert(key, value).is_some() {
                return Err(SignedReadingError::Malformed);
            }
            count += 1;
        }
        Ok(Value::Object(members))
    }

    fn list(&mut self, depth: usize) -> Result<Value, SignedReadingError> {
        let length = self.decoder.array();
        let length = length.map_err(|_| SignedReadingError::Malformed)?;
        let mut items = Vec::new();
        while !self.ended(length, items.len() as u64)? {
            items.push(self.value(depth)?);
        }
        Ok(Value::Array(items))
    }

    /// Whether a map or list is at its end; one of open length has a mark there.
    fn ended(&mut self, length: Option<u64>, count: u64) -> Result<bool, SignedReadingError> {
        if let Some(length) = length {
            return Ok(count >= length);
        }
        let malformed = |_| SignedReadingError::Malformed;
        let ended = self.decoder.datatype().map_err(malformed)? == Type::Break;
        if ended {
            self.decoder.skip().map_err(malformed)?;
        }
        Ok(ended)
    }
}

fn exact(is_exact: bool, number: impl Into<Value>) -> Result<Value, SignedReadingError> {
    if is_exact {
        Ok(number.into())
    } else {
        Err(SignedReadingError::NotJson)
    }
}

/// The number that half precision (IEEE 754 binary16) writes so.
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    let magnitude = match exponent {
        0 => fraction * 2_f64.powi(-24),
        0x1f if fraction == 0.0 => f64::INFINITY,
        0x1f => f64::NAN,
        _ => (fraction + 1024.0) * 2_f64.powi(exponent - 25),
    };
    if bits >> 15 == 0 {
        magnitude
    } else {
        -magnitude
    }
}

fn float(number: f64) -> Result<Value, SignedReadingError> {
    let number = Number::from_f64(number);
    number.map(Value::Number).ok_or(SignedReadingError::NotJson)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &[u8] =
        br#"{"unit":"/min", "value":72.0,"sig":"a..b","seq":17,"code":"8867-4","time":1767323045}"#;
    const CONTENT: &str =
        r#"{"code":"8867-4","seq":17,"time":1767323045,"unit":"/min","value":72}"#;

    fn signed(content: &str) -> Result<Option<SignedReading>, SignedReadingError> {
        Ok(Some(SignedReading {
            signature: "a..b".to_owned(),
            content: content.as_bytes().to_vec(),
        }))
    }

    #[test]
    fn a_reading_has_one_signed_form_in_both_encodings() {
        assert_eq!(of_json(JSON), signed(CONTENT));
        // The same map, in definite and in open length, the time tagged as an epoch.
        let members = "63736571 11 6474696d65 c1 1a69573365 64636f6465 66383836372d34 6576616c7565 f95480 64756e6974 642f6d696e 63736967 64612e2e62";
        for (head, end) in [("a6", ""), ("bf", "ff")] {
            let bytes = hex::decode(format!("{head}{members}{end}").replace(' ', "")).unwrap();
            assert_eq!(
                of_cbor(&bytes),
                signed(&CONTENT.replace("1767323045", "1767322469")),
                "{head}"
            );
        }
    }

    #[test]
    fn half_precision_is_read_as_rfc_8949_lists_it() {
        for (bits, number) in [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0x3e00, 1.5),
            (0x7bff, 65504.0),
            (0x0001, 5.960_464_477_539_063e-8),
            (0x0400, 0.000_061_035_156_25),
            (0xc400, -4.0),
        ] {
            assert_eq!(half(bits), number, "{bits:04x}");
        }
        assert!(half(0x7e00).is_nan() && half(0xfc00) == f64::NEG_INFINITY);
    }

    #[test]
    fn the_media_type_says_what_is_looked_into() {
        for (content_type, is_signed) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/vnd.salus.reading+json", true),
            ("application/fhir+json", false),
            ("image/png", false),
            ("", false),
        ] {
            let found = of(content_type, JSON).unwrap().is_some();
            assert_eq!(found, is_signed, "{content_type}");
        }
        let fhir = br#"{"resourceType":"Observation","sig":"a..b"}"#;
        assert_eq!(of("application/json", fhir), Ok(None));
        assert!(
            of("application/vnd.salus.reading+json", fhir)
                .unwrap()
                .is_some()
        );
        assert_eq!(
            of("application/cbor", JSON),
            Err(SignedReadingError::Malformed)
        );
    }

    #[test]
    fn unsigned_readings_are_let_alone() {
        assert_eq!(of_json(br#"{"code":"x"}"#), Ok(None));
        // A byte string has no JSON form, which matters only to who signs.
        assert_eq!(of_cbor(&hex::decode("a1617841ff").unwrap()), Ok(None));
        assert_eq!(of_cbor(&hex::decode("bfff").unwrap()), Ok(None));
    }

    #[test]
    fn what_has_no_exact_json_form_cannot_be_signed() {
        use SignedReadingError::{Malformed, NotJson, Signature};
        let sig = "63736967 64612e2e62";
        for (name, body, error) in [
            ("byte string", "a2 6178 41ff SIG", NotJson),
            ("tag 2", "a2 6178 c200 SIG", NotJson),
            ("infinity", "a2 6178 f97c00 SIG", NotJson),
            ("undefined", "a2 6178 f7 SIG", NotJson),
            ("2^53+1", "a2 6178 1b0020000000000001 SIG", NotJson),
            ("-2^64", "a2 6178 3bffffffffffffffff SIG", NotJson),
            ("number as key", "a2 SIG 01 02", Malformed),
            ("repeated key", "a3 SIG 6178 01 6178 01", Malformed),
            ("truncated", "a2 SIG 6178", Malformed),
            ("trailing byte", "a1 SIG 00", Malformed),
            ("sig as number", "a1 63736967 01", Signature),
            (
                "deep",
                "a2 SIG 6178 818181818181818181818181818181818100",
                Malformed,
            ),
        ] {
            let bytes = hex::decode(body.replace("SIG", sig).replace(' ', "")).unwrap();
            assert_eq!(of_cbor(&bytes), Err(error), "{name}");
        }
        assert_eq!(of_json(b"[]"), Err(Malformed));
        assert_eq!(of_json(br#"{"sig":null}"#), Err(Signature));
        let long = format!(r#"{{"sig":"{}"}}"#, "a".repeat(SIGNATURE_BYTES_MAX + 1));
        assert_eq!(of_json(long.as_bytes()), Err(Signature));
    }
}
