//! FHIR R4 Observation and Bundle: type, period, labels, marks, and the types of what must have one.

use contract_interface::{Period, RecordType};
use serde_json::{Map, Value};

use super::{DecodeError, MIXED, Said, codes, labels, sampled, when};
use crate::journal::{Labels, Mark, Marks};

const LOINC: &str = "http://loinc.org";
const UCUM: &str = "http://unitsofmeasure.org";
/// The value set observation-status of FHIR R4.
const STATUSES: [&str; 8] = [
    "registered",
    "preliminary",
    "final",
    "amended",
    "corrected",
    "cancelled",
    "entered-in-error",
    "unknown",
];
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
                marks: observation.marks,
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
    marks: Marks,
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
    for (index, entry) in entries.iter().enumerate() {
        observations.push(entry_of(entry).map_err(at(index))?);
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
    let mut marks = Marks::default();
    for (index, observation) in observations.iter().enumerate() {
        let own = labels::together(&of_bundle, &observation.labels).map_err(at(index))?;
        if own != labels {
            return Err(at(index)(DecodeError::LabelsDiffer));
        }
        marks.add_all(observation.marks);
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
        marks,
    })
}

/// Says in which entry something is wrong.
fn at(index: usize) -> impl Fn(DecodeError) -> DecodeError {
    move |error| DecodeError::Entry {
        index,
        error: Box::new(error),
    }
}

fn entry_of(entry: &Value) -> Result<Observation, DecodeError> {
    let resource = entry.get("resource").and_then(Value::as_object);
    let resource = resource.ok_or(DecodeError::Missing { field: "resource" })?;
    if resource.get("resourceType").and_then(Value::as_str) != Some("Observation") {
        return Err(DecodeError::ResourceType);
    }
    observation(resource)
}

fn mixed() -> RecordType {
    MIXED.parse().expect("the constant is a record type")
}

fn observation(observation: &Object) -> Result<Observation, DecodeError> {
    let status = text(observation, "status", "status")?;
    let status = status.ok_or(DecodeError::Missing { field: "status" })?;
    if !STATUSES.contains(&status) {
        return Err(DecodeError::WrongType {
            field: "status",
            expected: "a code of the value set observation-status",
        });
    }
    let code =
        object(observation, "code", "code")?.ok_or(DecodeError::Missing { field: "code" })?;
    let mut marks = Marks::default();
    marks.add_all(quantity(
        observation,
        "valueQuantity.value",
        "valueQuantity.unit",
    )?);
    let mut duration_ms = sampled_ms(observation)?;
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
            marks.add_all(quantity(
                component,
                "component.valueQuantity.value",
                "component.valueQuantity.unit",
            )?);
            duration_ms = duration_ms.max(sampled_ms(component)?);
        }
    }
    let code = coding(code)?;
    marks.add_if(!codes::is_loinc(code.as_str()), Mark::CodeNotLoinc);
    let period = period(observation)?.map(|period| {
        when::lasting(period, duration_ms).ok_or(DecodeError::Time {
            field: "valueSampledData.period",
        })
    });
    Ok(Observation {
        code,
        category: category(observation),
        period: period.transpose()?,
        labels: labels::of(observation)?,
        marks,
    })
}

/// How long a waveform lasts, zero if there is none.
fn sampled_ms(holder: &Object) -> Result<f64, DecodeError> {
    Ok(sampled::read(holder)?.map_or(0.0, |sampled| sampled.duration_ms))
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
) -> Result<Marks, DecodeError> {
    let mut marks = Marks::default();
    let Some(quantity) = object(holder, "valueQuantity", "valueQuantity")? else {
        return Ok(marks);
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
    marks.add_if(!unit_is_ucum(quantity), Mark::UnitNotUcum);
    Ok(marks)
}

/// Whether a quantity's unit is UCUM's: its code, or for want of one its display. None at all is a plain number.
fn unit_is_ucum(quantity: &Object) -> bool {
    let member = |name| quantity.get(name).and_then(Value::as_str);
    let system = member("system").is_none_or(|system| system == UCUM);
    match member("code").or_else(|| member("unit")) {
        Some(unit) => system && codes::is_ucum(unit),
        None => true,
    }
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
