//! The compact reading, for devices that do not speak FHIR.
//!
//! | member | type | meaning |
//! |---|---|---|
//! | `seq` | integer from 0 | the device's sequence number; optional |
//! | `time` | RFC 3339 text, or seconds since 1970 | when it was measured; optional if there is a `seq` |
//! | `code` | text, at most 64 characters | LOINC code or category |
//! | `value` | number, text, boolean, or a list of numbers | what was measured |
//! | `unit` | text, at most 64 printable characters | UCUM unit; required for numbers |
//! | `interval_ms` | number above 0 | milliseconds between the numbers of a list, which then is a waveform that begins at `time` |
//!
//! As CBOR: a map with the same text keys, the time as text or epoch (tags 0 and 1 allowed). Other members are
//! kept with the payload and not looked at.

use contract_interface::{Period, RecordType};
use minicbor::data::Type;
use minicbor::decode::Decoder;
use serde_json::Value;

use super::{DecodeError, Said, codes, when};
use crate::journal::{Labels, Mark, Marks};

/// Characters of a unit.
const UNIT_CHARS_MAX: usize = 64;
/// Members of a CBOR map.
const MEMBERS_MAX: usize = 256;
/// Nesting of CBOR items.
const DEPTH_MAX: usize = 16;

const UNIT: DecodeError = DecodeError::WrongType {
    field: "unit",
    expected: "text of 1 to 64 printable characters",
};
const CODE: DecodeError = DecodeError::WrongType {
    field: "code",
    expected: "text of 1 to 64 letters, digits, '.', '_' or '-'",
};
const VALUE: DecodeError = DecodeError::WrongType {
    field: "value",
    expected: "a number, text, a boolean or a list of numbers",
};
const TIME: DecodeError = DecodeError::Time { field: "time" };
const INTERVAL: DecodeError = DecodeError::WrongType {
    field: "interval_ms",
    expected: "a number above 0, with a list as value that ends within ten days",
};
/// Milliseconds of one waveform, ten days.
const DURATION_MS_MAX: f64 = 10.0 * 86_400_000.0;

/// The members looked at, from either encoding.
#[derive(Default)]
struct Members {
    sequence: Option<u64>,
    period: Option<Period>,
    code: Option<RecordType>,
    numeric: Option<bool>,
    /// Items of a list.
    items: Option<u64>,
    interval_ms: Option<f64>,
    unit: bool,
    marks: Marks,
}

impl Members {
    fn finish(self) -> Result<Said, DecodeError> {
        let code = self.code.ok_or(DecodeError::Missing { field: "code" })?;
        let numeric = self
            .numeric
            .ok_or(DecodeError::Missing { field: "value" })?;
        if numeric && !self.unit {
            return Err(DecodeError::Missing { field: "unit" });
        }
        let period = match self.interval_ms {
            None => self.period,
            Some(interval_ms) => {
                let items = self.items.ok_or(INTERVAL)?;
                let duration_ms = items as f64 * interval_ms;
                let possible = interval_ms > 0.0 && duration_ms <= DURATION_MS_MAX;
                let lasting = |period| when::lasting(period, duration_ms).ok_or(TIME);
                match (possible, self.period) {
                    (false, _) => return Err(INTERVAL),
                    (true, period) => period.map(lasting).transpose()?,
                }
            }
        };
        Ok(Said {
            sequence: self.sequence,
            code,
            period,
            opaque: false,
            labels: Labels::default(),
            marks: self.marks,
        })
    }

    fn set_code(&mut self, text: &str) -> Result<(), DecodeError> {
        self.code = Some(text.parse().map_err(|_| CODE)?);
        // A category is fine; what has the form of a LOINC code must be one.
        let mistyped = codes::looks_like_loinc(text) && !codes::is_loinc(text);
        self.marks.add_if(mistyped, Mark::CodeNotLoinc);
        Ok(())
    }

    fn set_unit(&mut self, text: &str) -> Result<(), DecodeError> {
        let printable = text.bytes().all(|byte| (0x21..0x7f).contains(&byte));
        if !printable || !(1..=UNIT_CHARS_MAX).contains(&text.len()) {
            return Err(UNIT);
        }
        self.unit = true;
        self.marks.add_if(!codes::is_ucum(text), Mark::UnitNotUcum);
        Ok(())
    }
}

/// Reads a compact reading from JSON.
pub(super) fn from_json(value: &Value) -> Result<Said, DecodeError> {
    let object = value.as_object().ok_or(DecodeError::WrongType {
        field: "the payload",
        expected: "a JSON object",
    })?;
    let mut members = Members::default();
    match object.get("seq") {
        None => {}
        Some(seq) => members.sequence = Some(seq.as_u64().ok_or(DecodeError::Sequence)?),
    }
    members.period = match object.get("time") {
        None => None,
        Some(Value::String(text)) => Some(when::instant(text).ok_or(TIME)?),
        Some(Value::Number(number)) => {
            let seconds = number.as_i64().or_else(|| number.as_f64().map(floor));
            Some(seconds.and_then(when::seconds).ok_or(TIME)?)
        }
        Some(_) => return Err(TIME),
    };
    match object.get("code") {
        None => {}
        Some(code) => members.set_code(code.as_str().ok_or(CODE)?)?,
    }
    members.numeric = match object.get("value") {
        None => None,
        Some(Value::Number(_)) => Some(true),
        Some(Value::String(_) | Value::Bool(_)) => Some(false),
        Some(Value::Array(items)) if items.iter().all(Value::is_number) => {
            members.items = Some(items.len() as u64);
            Some(true)
        }
        Some(_) => return Err(VALUE),
    };
    match object.get("unit") {
        None => {}
        Some(unit) => members.set_unit(unit.as_str().ok_or(UNIT)?)?,
    }
    match object.get("interval_ms") {
        None => {}
        Some(interval) => members.interval_ms = Some(interval.as_f64().ok_or(INTERVAL)?),
    }
    members.finish()
}

/// Reads a compact reading from CBOR.
pub(super) fn from_cbor(payload: &[u8]) -> Result<Said, DecodeError> {
    let mut decoder = Decoder::new(payload);
    let said = cbor_map(&mut decoder)?;
    if decoder.position() != payload.len() {
        return Err(not_cbor(&decoder));
    }
    said.finish()
}

fn not_cbor(decoder: &Decoder<'_>) -> DecodeError {
    DecodeError::NotCbor {
        offset: decoder.position(),
    }
}

fn cbor_map(decoder: &mut Decoder<'_>) -> Result<Members, DecodeError> {
    let kind = decoder.datatype().map_err(|_| not_cbor(decoder))?;
    if !matches!(kind, Type::Map | Type::MapIndef) {
        return Err(DecodeError::WrongType {
            field: "the payload",
            expected: "a CBOR map",
        });
    }
    let length = decoder.map().map_err(|_| not_cbor(decoder))?;
    let mut members = Members::default();
    for count in 0.. {
        let at_end = match length {
            Some(length) => count >= length,
            None => decoder.datatype().map_err(|_| not_cbor(decoder))? == Type::Break,
        };
        if at_end {
            break;
        }
        if count >= MEMBERS_MAX as u64 {
            return Err(not_cbor(decoder));
        }
        let key = decoder.str().map_err(|_| not_cbor(decoder))?;
        cbor_member(key, decoder, &mut members)?;
    }
    if length.is_none() {
        decoder.skip().map_err(|_| not_cbor(decoder))?;
    }
    Ok(members)
}

fn cbor_member(
    key: &str,
    decoder: &mut Decoder<'_>,
    members: &mut Members,
) -> Result<(), DecodeError> {
    let kind = decoder.datatype().map_err(|_| not_cbor(decoder))?;
    match key {
        "seq" if is_unsigned(kind) => {
            members.sequence = Some(decoder.u64().map_err(|_| not_cbor(decoder))?);
        }
        "seq" => return Err(DecodeError::Sequence),
        "time" => members.period = Some(cbor_time(decoder)?),
        "code" if kind == Type::String => {
            members.set_code(decoder.str().map_err(|_| not_cbor(decoder))?)?;
        }
        "code" => return Err(CODE),
        "value" => {
            members.numeric = Some(value_is_numeric(kind)?);
            if kind == Type::Array {
                members.items = Some(numbers(decoder)?);
            } else {
                skip(decoder, 0)?;
            }
        }
        "unit" if kind == Type::String => {
            members.set_unit(decoder.str().map_err(|_| not_cbor(decoder))?)?;
        }
        "unit" => return Err(UNIT),
        "interval_ms" if is_number(kind) => {
            members.interval_ms = Some(cbor_number(decoder, kind)?);
        }
        "interval_ms" => return Err(INTERVAL),
        _ => skip(decoder, 0)?,
    }
    Ok(())
}

fn is_unsigned(kind: Type) -> bool {
    matches!(kind, Type::U8 | Type::U16 | Type::U32 | Type::U64)
}

fn is_number(kind: Type) -> bool {
    is_unsigned(kind)
        || matches!(
            kind,
            Type::I8
                | Type::I16
                | Type::I32
                | Type::I64
                | Type::Int
                | Type::F16
                | Type::F32
                | Type::F64
        )
}

/// A number of any width.
fn cbor_number(decoder: &mut Decoder<'_>, kind: Type) -> Result<f64, DecodeError> {
    let number = match kind {
        Type::F16 | Type::F32 | Type::F64 => decoder.f64(),
        Type::U64 => decoder.u64().map(|number| number as f64),
        _ => decoder.i64().map(|number| number as f64),
    };
    number.map_err(|_| not_cbor(decoder))
}

/// Passes over a list of numbers and counts them.
fn numbers(decoder: &mut Decoder<'_>) -> Result<u64, DecodeError> {
    let length = decoder.array().map_err(|_| not_cbor(decoder))?;
    let length = length.ok_or_else(|| not_cbor(decoder))?;
    for _ in 0..length {
        if !is_number(decoder.datatype().map_err(|_| not_cbor(decoder))?) {
            return Err(VALUE);
        }
        decoder.skip().map_err(|_| not_cbor(decoder))?;
    }
    Ok(length)
}

fn value_is_numeric(kind: Type) -> Result<bool, DecodeError> {
    match kind {
        kind if is_number(kind) => Ok(true),
        Type::Array => Ok(true),
        Type::String | Type::Bool => Ok(false),
        _ => Err(VALUE),
    }
}

fn cbor_time(decoder: &mut Decoder<'_>) -> Result<Period, DecodeError> {
    if decoder.datatype().map_err(|_| not_cbor(decoder))? == Type::Tag {
        let tag = decoder.tag().map_err(|_| not_cbor(decoder))?;
        if tag.as_u64() > 1 {
            return Err(TIME);
        }
    }
    let kind = decoder.datatype().map_err(|_| not_cbor(decoder))?;
    match kind {
        Type::String => {
            let text = decoder.str().map_err(|_| not_cbor(decoder))?;
            when::instant(text).ok_or(TIME)
        }
        // Half and single precision cannot hold a second of our time.
        Type::F64 => {
            let seconds = decoder.f64().map_err(|_| not_cbor(decoder))?;
            when::seconds(floor(seconds)).ok_or(TIME)
        }
        kind if is_number(kind) => {
            let seconds = decoder.i64().map_err(|error| {
                if error.is_end_of_input() {
                    not_cbor(decoder)
                } else {
                    TIME
                }
            })?;
            when::seconds(seconds).ok_or(TIME)
        }
        _ => Err(TIME),
    }
}

/// Passes over one item; deep nesting is refused rather than recursed into.
fn skip(decoder: &mut Decoder<'_>, depth: usize) -> Result<(), DecodeError> {
    if depth > DEPTH_MAX {
        return Err(not_cbor(decoder));
    }
    let kind = decoder.datatype().map_err(|_| not_cbor(decoder))?;
    let length = match kind {
        Type::Array | Type::ArrayIndef => decoder.array(),
        Type::Map | Type::MapIndef => decoder
            .map()
            .map(|length| length.map(|pairs| pairs.saturating_mul(2))),
        Type::Tag => {
            decoder.tag().map_err(|_| not_cbor(decoder))?;
            return skip(decoder, depth + 1);
        }
        Type::Break => return Err(not_cbor(decoder)),
        _ => return decoder.skip().map_err(|_| not_cbor(decoder)),
    };
    let length = length.map_err(|_| not_cbor(decoder))?;
    for count in 0.. {
        let at_end = match length {
            Some(length) => count >= length,
            None => decoder.datatype().map_err(|_| not_cbor(decoder))? == Type::Break,
        };
        if at_end {
            break;
        }
        skip(decoder, depth + 1)?;
    }
    if length.is_none() {
        decoder.skip().map_err(|_| not_cbor(decoder))?;
    }
    Ok(())
}

/// Whole seconds; what does not fit becomes the nearest end, which no time is.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a cast from float saturates, and the ends are no times"
)]
fn floor(seconds: f64) -> i64 {
    seconds.floor() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It is as good as in JSON: an empty list lasts no time at any interval.
    #[test]
    fn the_largest_interval_is_a_number() {
        let mut cbor = Vec::new();
        let mut map = minicbor::Encoder::new(&mut cbor);
        map.map(4).unwrap().str("code").unwrap().str("x").unwrap();
        map.str("value").unwrap().array(0).unwrap();
        map.str("unit").unwrap().str("mV").unwrap();
        map.str("interval_ms").unwrap().u64(u64::MAX).unwrap();
        let json = serde_json::json!({
            "code": "x", "value": [], "unit": "mV", "interval_ms": u64::MAX,
        });
        assert!(from_json(&json).is_ok());
        assert!(from_cbor(&cbor).is_ok());
    }

    /// Passing over lists without announced length, or over tags, needed a stack as long as the payload.
    #[test]
    fn nesting_of_every_kind_is_bounded() {
        for (open, close) in [
            (&[0x81][..], &[][..]),
            (&[0xa1, 0x00], &[]),
            (&[0x9f], &[0xff]),
            (&[0xbf, 0x00], &[0xff]),
            (&[0xc1], &[]),
            (&[0x82, 0x00, 0x9f], &[0xff]),
        ] {
            let nested = |depth| [open.repeat(depth), vec![0], close.repeat(depth)].concat();
            for (depth, good) in [(1, true), (8, true), (32, false), (100_000, false)] {
                let item = nested(depth);
                let mut decoder = Decoder::new(&item);
                let skipped = skip(&mut decoder, 0).is_ok();
                assert_eq!(skipped, good, "{depth} of {open:02x?}");
                assert!(!good || decoder.position() == item.len());
            }
        }
        for broken in [
            &[0xff][..],
            &[0x9f],
            &[0x9f, 0x00],
            &[0xc1],
            &[0x82, 0x00, 0xff],
        ] {
            assert!(skip(&mut Decoder::new(broken), 0).is_err(), "{broken:02x?}");
        }
    }
}
