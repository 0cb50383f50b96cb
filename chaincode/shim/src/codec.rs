//! Arguments and results: bytes on the wire, types in a contract.
//!
//! `String` and byte vectors are the bytes themselves. Everything else is JSON; a value that is
//! written as a JSON string (an enum, an ID) may also be given bare, because clients pass text
//! arguments without quotes. Results are written with sorted keys, so that equal results have
//! equal bytes on every endorser, whatever map they came from.

use std::any::{Any, TypeId};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// Why an argument or a result cannot be converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// A text argument is not UTF-8.
    #[error("it is not UTF-8")]
    NotText,
    /// The JSON does not fit the type.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// A codec of the user's says so.
    #[error("{0}")]
    Other(String),
}

/// How a contract's arguments and results are written; the default is [`Json`]. A contract
/// chooses another with `#[contract(codec = …)]`.
pub trait Codec {
    /// Reads an argument.
    ///
    /// # Errors
    ///
    /// [`CodecError`] when the bytes are not such a value.
    fn decode<T: DeserializeOwned + 'static>(bytes: &[u8]) -> Result<T, CodecError>;

    /// Writes a result. Equal values MUST give equal bytes.
    ///
    /// # Errors
    ///
    /// [`CodecError`] when the value has no such form.
    fn encode<T: Serialize + 'static>(value: &T) -> Result<Vec<u8>, CodecError>;
}

/// Text and bytes as they are, everything else as JSON with sorted keys.
#[derive(Clone, Copy, Debug)]
pub struct Json;

impl Codec for Json {
    fn decode<T: DeserializeOwned + 'static>(bytes: &[u8]) -> Result<T, CodecError> {
        if is::<T, String>() {
            let text = std::str::from_utf8(bytes).map_err(|_| CodecError::NotText)?;
            return cast(text.to_owned());
        }
        if is::<T, Vec<u8>>() {
            return cast(bytes.to_vec());
        }
        if is::<T, ()>() && bytes.is_empty() {
            return cast(());
        }
        let json = serde_json::from_slice(bytes);
        json.or_else(|error| bare_text(bytes).ok_or(error.into()))
    }

    fn encode<T: Serialize + 'static>(value: &T) -> Result<Vec<u8>, CodecError> {
        let any: &dyn Any = value;
        if let Some(text) = any.downcast_ref::<String>() {
            return Ok(text.clone().into_bytes());
        }
        if let Some(bytes) = any.downcast_ref::<Vec<u8>>() {
            return Ok(bytes.clone());
        }
        if any.is::<()>() {
            return Ok(vec![]);
        }
        let mut json = vec![];
        write_sorted(&serde_json::to_value(value)?, &mut json)?;
        Ok(json)
    }
}

/// Whether `T` is this very type.
pub(crate) fn is<T: 'static, U: 'static>() -> bool {
    TypeId::of::<T>() == TypeId::of::<U>()
}

fn cast<T: 'static, U: 'static>(value: U) -> Result<T, CodecError> {
    let value: Box<dyn Any> = Box::new(value);
    let cast = value.downcast::<T>().map(|value| *value);
    cast.map_err(|_| CodecError::Other("the type is not what its TypeId says".to_owned()))
}

fn bare_text<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let text = std::str::from_utf8(bytes).ok()?;
    serde_json::from_value(Value::String(text.to_owned())).ok()
}

/// Does not rely on the order of `serde_json`'s own map, which a feature of that crate changes.
fn write_sorted(value: &Value, out: &mut Vec<u8>) -> Result<(), CodecError> {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            out.push(b'{');
            for (index, (key, value)) in entries.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                serde_json::to_writer(&mut *out, key)?;
                out.push(b':');
                write_sorted(value, out)?;
            }
            out.push(b'}');
        }
        Value::Array(values) => {
            out.push(b'[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_sorted(value, out)?;
            }
            out.push(b']');
        }
        _ => serde_json::to_writer(out, value)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Colour {
        Red,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Id(String);

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Asset {
        zone: u8,
        area: Option<f64>,
    }

    fn decode<T: DeserializeOwned + 'static>(bytes: &[u8]) -> Option<T> {
        Json::decode(bytes).ok()
    }

    #[test]
    fn text_and_bytes_are_taken_as_they_are() {
        assert_eq!(decode::<String>(b"\"hi\""), Some("\"hi\"".to_owned()));
        assert_eq!(decode::<String>(b""), Some(String::new()));
        assert_eq!(decode::<String>(b"\xff"), None);
        assert_eq!(decode::<Vec<u8>>(b"\xff[1]"), Some(b"\xff[1]".to_vec()));
    }

    #[test]
    fn everything_else_is_json() {
        assert_eq!(decode::<u64>(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(decode::<u8>(b"256"), None);
        assert_eq!(decode::<bool>(b"true"), Some(true));
        assert_eq!(
            decode::<Vec<String>>(br#"["a"]"#),
            Some(vec!["a".to_owned()])
        );
        assert_eq!(
            decode::<(u8, String)>(br#"[1,"a"]"#),
            Some((1, "a".to_owned()))
        );
        assert_eq!(
            decode::<HashMap<String, u8>>(br#"{"a":1}"#),
            Some(HashMap::from([("a".to_owned(), 1)]))
        );
        assert_eq!(
            decode::<Asset>(br#"{"zone":1}"#),
            Some(Asset {
                zone: 1,
                area: None
            })
        );
        assert_eq!(decode::<Asset>(b"{}"), None);
        assert_eq!(decode::<()>(b""), Some(()));
    }

    #[test]
    fn values_written_as_strings_need_no_quotes() {
        assert_eq!(decode::<Colour>(b"red"), Some(Colour::Red));
        assert_eq!(decode::<Colour>(b"\"red\""), Some(Colour::Red));
        assert_eq!(decode::<Colour>(b"blue"), None);
        // Digits only, as a hexadecimal ID may happen to be.
        assert_eq!(decode::<Id>(b"0123"), Some(Id("0123".to_owned())));
        assert_eq!(decode::<Id>(b"12e4"), Some(Id("12e4".to_owned())));
    }

    #[test]
    fn results_have_sorted_keys() {
        let encode = |json: Result<Vec<u8>, CodecError>| String::from_utf8(json.unwrap()).unwrap();
        let asset = Asset {
            zone: 1,
            area: Some(1.5),
        };
        assert_eq!(encode(Json::encode(&asset)), r#"{"area":1.5,"zone":1}"#);
        let map: HashMap<String, u8> = (0..50).map(|n| (format!("{n:02}"), n)).collect();
        let sorted: BTreeMap<_, _> = map.clone().into_iter().collect();
        assert_eq!(
            encode(Json::encode(&map)),
            serde_json::to_string(&sorted).unwrap()
        );
        assert_eq!(encode(Json::encode(&"a\"b".to_owned())), "a\"b");
        assert_eq!(encode(Json::encode(&())), "");
        assert_eq!(encode(Json::encode(&vec![Some(1), None])), "[1,null]");
    }
}
