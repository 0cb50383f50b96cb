//! FHIR R4 Observation and Bundle: type, period, labels, and the types of what must have one.

use contract_interface::{Period, RecordType};
use serde_json::{Map, Value};

use super::{DecodeError, MIXED, Said, labels, when};
use crate::journal::Labels;

const LOINC: &str = "http://loinc.org";
/// Entries of a Bundle.
const ENTRIES_MAX: usize = 10_000;

type Object = Map<String, Value>;

/// Reads an Observation or a Bundle of Observations.
pub(super) fn read(value: &Value) -> Result<Said, DecodeError> {
    let resource = value.as_object().ok_or(DecodeError::WrongType {
        field: "the payload",
        expected: "a JSON object",
    })?;
    match resource.get("resourceType").and_then(Value::as_str) {
        Some("Observation") => {
            let observation = observation(resource)?;
            Ok(Said {
                sequence: None,
                code: observation.code,
                period: observation.period,
                opaque: false,
                labels: observation.labels,
            })
        }
        Some("Bundle") => bundle(resource),
        _ => Err(DecodeError::ResourceType),
    }
}

struct Observation {
    code: RecordType,
    category: Option<RecordType>,
    period: Option<Period>,
    labels: Labels,
}

fn bundle(bundle: &Object) -> Result<Said, DecodeError> {
    let entries = match bundle.get("entry") {
        None => return Err(DecodeError::EmptyBundle),
        Some(Value::Array(entries)) if entries.len() <= ENTRIES_MAX => entries,
        Some(_) => {
            return Err(DecodeError::WrongType {
                field: "entry",
                expected: "a list of at most 10000 entries",
            });
        }
    };
    let mut observations = Vec::with_capacity(entries.len());
    for entry in entries {
        let resource = entry.get("resource").and_then(Value::as_object);
        let resource = resource.ok_or(DecodeError::Missing {
            field: "entry.resource",
        })?;
        if resource.get("resourceType").and_then(Value::as_str) != Some("Observation") {
            return Err(DecodeError::ResourceType);
        }
        observations.push(observation(resource)?);
    }
    let first = observations.first().ok_or(DecodeError::EmptyBundle)?;
    let code = if observations.iter().all(|o| o.code == first.code) {
        first.code.clone()
    } else if observations.iter().all(|o| o.category == first.category) {
        first.category.clone().unwrap_or_else(mixed)
    } else {
        mixed()
    };
    // A label of the Bundle is one of everything in it.
    let of_bundle = labels::security(bundle)?;
    let labels = labels::together(&of_bundle, &first.labels)?;
    for observation in &observations {
        if labels::together(&of_bundle, &observation.labels)? != labels {
            return Err(DecodeError::LabelsDiffer);
        }
    }
    let periods = observations.iter().filter_map(|o| o.period);
    let period = periods.reduce(|a, b| Period {
        start: a.start.min(b.start),
        end: a.end.max(b.end),
    });
    Ok(Said {
        sequence: None,
        code,
        period,
        opaque: false,
        labels,
    })
}

fn mixed() -> RecordType {
    MIXED.parse().expect("the constant is a record type")
}

fn observation(observation: &Object) -> Result<Observation, DecodeError> {
    text(observation, "status", "status")?.ok_or(DecodeError::Missing { field: "status" })?;
    let code =
        object(observation, "code", "code")?.ok_or(DecodeError::Missing { field: "code" })?;
    quantity(observation, "valueQuantity.value", "valueQuantity.unit")?;
    if let Some(components) = observation.get("component") {
        let components = components.as_array().ok_or(DecodeError::WrongType {
            field: "component",
            expected: "a list",
        })?;
        for component in components {
            let component = component.as_object().ok_or(DecodeError::WrongType {
                field: "component",
                expected: "a list of objects",
            })?;
            quantity(
                component,
                "component.valueQuantity.value",
                "component.valueQuantity.unit",
            )?;
        }
    }
    Ok(Observation {
        code: coding(code)?,
        category: category(observation),
        period: period(observation)?,
        labels: labels::of(observation)?,
    })
}

/// The LOINC code, else the first code that can be a record type.
fn coding(code: &Object) -> Result<RecordType, DecodeError> {
    let field = "code.coding";
    let codings = match code.get("coding") {
        None => return Err(DecodeError::Missing { field }),
        Some(Value::Array(codings)) => codings,
        Some(_) => {
            return Err(DecodeError::WrongType {
                field,
                expected: "a list",
            });
        }
    };
    let code_of = |coding: &Value| coding.get("code")?.as_str()?.parse().ok();
    let loinc = codings
        .iter()
        .filter(|coding| coding.get("system").and_then(Value::as_str) == Some(LOINC))
        .find_map(code_of);
    loinc
        .or_else(|| codings.iter().find_map(code_of))
        .ok_or(DecodeError::Missing {
            field: "code.coding.code",
        })
}

fn category(observation: &Object) -> Option<RecordType> {
    let category = observation.get("category")?.as_array()?.first()?;
    let coding = category.get("coding")?.as_array()?.first()?;
    coding.get("code")?.as_str()?.parse().ok()
}

fn quantity(
    holder: &Object,
    value_field: &'static str,
    unit_field: &'static str,
) -> Result<(), DecodeError> {
    let Some(quantity) = object(holder, "valueQuantity", "valueQuantity")? else {
        return Ok(());
    };
    match quantity.get("value") {
        None | Some(Value::Number(_)) => {}
        Some(_) => {
            return Err(DecodeError::WrongType {
                field: value_field,
                expected: "a number",
            });
        }
    }
    for member in ["unit", "code", "system"] {
        if quantity.get(member).is_some_and(|unit| !unit.is_string()) {
            return Err(DecodeError::WrongType {
                field: unit_field,
                expected: "text",
            });
        }
    }
    Ok(())
}

/// `effectiveDateTime`, `effectiveInstant`, `effectivePeriod`, else `issued`.
fn period(observation: &Object) -> Result<Option<Period>, DecodeError> {
    for field in ["effectiveDateTime", "effectiveInstant"] {
        if let Some(time) = text(observation, field, field)? {
            return when::date_time(time)
                .map(Some)
                .ok_or(DecodeError::Time { field });
        }
    }
    if let Some(period) = object(observation, "effectivePeriod", "effectivePeriod")? {
        let start = bound(period, "start", "effectivePeriod.start")?;
        let end = bound(period, "end", "effectivePeriod.end")?;
        let start = start.ok_or(DecodeError::Missing {
            field: "effectivePeriod.start",
        })?;
        let period = Period {
            start: start.start,
            end: end.unwrap_or(start).end,
        };
        return if period.end < period.start {
            Err(DecodeError::Period)
        } else {
            Ok(Some(period))
        };
    }
    bound(observation, "issued", "issued")
}

fn bound(
    holder: &Object,
    member: &str,
    field: &'static str,
) -> Result<Option<Period>, DecodeError> {
    match text(holder, member, field)? {
        None => Ok(None),
        Some(time) => when::date_time(time)
            .map(Some)
            .ok_or(DecodeError::Time { field }),
    }
}

pub(super) fn text<'a>(
    holder: &'a Object,
    member: &str,
    field: &'static str,
) -> Result<Option<&'a str>, DecodeError> {
    match holder.get(member) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(DecodeError::WrongType {
            field,
            expected: "text",
        }),
    }
}

pub(super) fn object<'a>(
    holder: &'a Object,
    member: &str,
    field: &'static str,
) -> Result<Option<&'a Object>, DecodeError> {
    match holder.get(member) {
        None => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(DecodeError::WrongType {
            field,
            expected: "an object",
        }),
    }
}
