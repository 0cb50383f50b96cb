//! FHIR SampledData: a waveform, such as one lead of an ECG. Pure.

use serde_json::{Map, Value};

use super::DecodeError;
use super::fhir::{object, text};

/// Milliseconds of one waveform, ten days: beyond, its interval or its number of samples is a mistake.
const DURATION_MS_MAX: f64 = 10.0 * 86_400_000.0;
/// Values at one point in time.
const DIMENSIONS_MAX: u64 = 1024;

/// What a waveform says about itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sampled {
    /// From its first sample to the end of its last one, milliseconds.
    pub(super) duration_ms: f64,
}

/// Reads `valueSampledData` of an Observation or component, if there is one.
pub(super) fn read(holder: &Map<String, Value>) -> Result<Option<Sampled>, DecodeError> {
    let Some(sampled) = object(holder, "valueSampledData", "valueSampledData")? else {
        return Ok(None);
    };
    object(sampled, "origin", "valueSampledData.origin")?.ok_or(DecodeError::Missing {
        field: "valueSampledData.origin",
    })?;
    let period_ms =
        number(sampled, "period", "valueSampledData.period")?.ok_or(DecodeError::Missing {
            field: "valueSampledData.period",
        })?;
    if period_ms <= 0.0 {
        return Err(DecodeError::WrongType {
            field: "valueSampledData.period",
            expected: "the milliseconds between two samples",
        });
    }
    number(sampled, "factor", "valueSampledData.factor")?;
    number(sampled, "lowerLimit", "valueSampledData.lowerLimit")?;
    number(sampled, "upperLimit", "valueSampledData.upperLimit")?;
    let dimensions = match sampled.get("dimensions") {
        None => {
            return Err(DecodeError::Missing {
                field: "valueSampledData.dimensions",
            });
        }
        Some(value) => value
            .as_u64()
            .filter(|count| (1..=DIMENSIONS_MAX).contains(count))
            .ok_or(DecodeError::WrongType {
                field: "valueSampledData.dimensions",
                expected: "an integer from 1 to 1024",
            })?,
    };
    let data = text(sampled, "data", "valueSampledData.data")?.unwrap_or("");
    let values = values(data)?;
    if values % dimensions != 0 {
        return Err(DecodeError::WrongType {
            field: "valueSampledData.data",
            expected: "as many values for each sample as there are dimensions",
        });
    }
    let duration_ms = (values / dimensions) as f64 * period_ms;
    if duration_ms > DURATION_MS_MAX {
        return Err(DecodeError::WrongType {
            field: "valueSampledData.period",
            expected: "such that the waveform ends within ten days",
        });
    }
    Ok(Some(Sampled { duration_ms }))
}

/// Counts values: decimals, or `E` (error), `U` (above the upper limit) and `L` (below the lower one).
fn values(data: &str) -> Result<u64, DecodeError> {
    let mut count = 0;
    for value in data.split_ascii_whitespace() {
        if !matches!(value, "E" | "U" | "L") && !is_decimal(value) {
            return Err(DecodeError::WrongType {
                field: "valueSampledData.data",
                expected: "decimals, E, U or L with one space between",
            });
        }
        count += 1;
    }
    Ok(count)
}

/// FHIR's decimal: an optional sign, digits, a fraction, an exponent.
fn is_decimal(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let unsigned = |text: &str| digits(text.strip_prefix(['+', '-']).unwrap_or(text));
    let mantissa = mantissa.strip_prefix('-').unwrap_or(mantissa);
    let whole = match mantissa.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(mantissa),
    };
    whole && exponent.is_none_or(unsigned)
}

fn number(
    holder: &Map<String, Value>,
    member: &str,
    field: &'static str,
) -> Result<Option<f64>, DecodeError> {
    match holder.get(member) {
        None => Ok(None),
        Some(value) => value
            .as_f64()
            .filter(|number| number.is_finite())
            .map(Some)
            .ok_or(DecodeError::WrongType {
                field,
                expected: "a number",
            }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sampled(change: impl FnOnce(&mut Value)) -> Result<Option<f64>, DecodeError> {
        let mut value = json!({"valueSampledData": {
            "origin": {"value": 2048}, "period": 2.5, "factor": 1.6, "lowerLimit": -3300,
            "upperLimit": 3300, "dimensions": 2, "data": "2041 2043 2037.5 E -1 1e3 U L"
        }});
        change(&mut value["valueSampledData"]);
        let holder = value.as_object().unwrap();
        read(holder).map(|read| read.map(|sampled| sampled.duration_ms))
    }

    #[test]
    fn a_waveform_lasts_as_long_as_its_samples() {
        assert_eq!(sampled(|_| ()), Ok(Some(10.0)));
        assert_eq!(sampled(|s| s["data"] = json!("")), Ok(Some(0.0)));
        assert_eq!(
            sampled(|s| drop(s.as_object_mut().unwrap().remove("data"))),
            Ok(Some(0.0))
        );
        assert_eq!(read(&Map::new()), Ok(None));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for member in ["origin", "period", "dimensions"] {
            let gone = sampled(|s| drop(s.as_object_mut().unwrap().remove(member)));
            let error = gone.unwrap_err();
            assert_eq!(error.name(), "payload-member-missing", "{member}");
            assert!(error.to_string().contains(member), "{error}");
        }
        for (member, value) in [
            ("origin", json!(1)),
            ("period", json!("2")),
            ("period", json!(0)),
            ("period", json!(1e12)),
            ("factor", json!("1")),
            ("lowerLimit", json!([])),
            ("upperLimit", json!(null)),
            ("dimensions", json!(0)),
            ("dimensions", json!(1.5)),
            ("dimensions", json!(3)),
            ("data", json!([1, 2])),
            ("data", json!("1 x")),
            ("data", json!("1 .5")),
            ("data", json!("1 2.")),
            ("data", json!("1 +2")),
            ("data", json!("1 NaN")),
            ("data", json!("1 2e")),
        ] {
            let error = sampled(|s| s[member] = value.clone()).unwrap_err();
            assert_eq!(error.name(), "payload-member-type", "{member} {value}");
        }
    }
}
