//! Who may see an Observation, as it says itself: security labels and encounter. Pure.
//!
//! Labels are the codings of `meta.security`: a code of v3-Confidentiality, and codes of v3-ActCode,
//! whose sensitivities (`PSY`, `HIV`, `ETH`) rules name. Codings of other systems are kept with the
//! payload and not looked at. What would make a reading more confidential and cannot be read is
//! refused, never dropped.

use contract_interface::limits::RECORD_SENSITIVITIES_MAX;
use contract_interface::{Confidentiality, ContextId, Sensitivity};
use serde_json::{Map, Value};

use super::DecodeError;
use super::fhir::{object, text};
use crate::journal::Labels;

/// Systems of confidentiality codes: of FHIR R4, of before, and as OID.
const CONFIDENTIALITY: [&str; 3] = [
    "http://terminology.hl7.org/CodeSystem/v3-Confidentiality",
    "http://hl7.org/fhir/v3/Confidentiality",
    "urn:oid:2.16.840.1.113883.5.25",
];
/// Systems of sensitivity codes, likewise.
const ACT_CODE: [&str; 3] = [
    "http://terminology.hl7.org/CodeSystem/v3-ActCode",
    "http://hl7.org/fhir/v3/ActCode",
    "urn:oid:2.16.840.1.113883.5.4",
];
const SECURITY: &str = "meta.security";

/// Labels and encounter of an Observation.
pub(super) fn of(observation: &Map<String, Value>) -> Result<Labels, DecodeError> {
    Ok(Labels {
        context: context(observation)?,
        ..security(observation)?
    })
}

/// Labels of any resource.
pub(super) fn security(resource: &Map<String, Value>) -> Result<Labels, DecodeError> {
    let mut labels = Labels::default();
    let Some(meta) = object(resource, "meta", "meta")? else {
        return Ok(labels);
    };
    let codings = match meta.get("security") {
        None => return Ok(labels),
        Some(Value::Array(codings)) => codings,
        Some(_) => {
            return Err(DecodeError::WrongType {
                field: SECURITY,
                expected: "a list",
            });
        }
    };
    for coding in codings {
        let coding = coding.as_object().ok_or(DecodeError::WrongType {
            field: SECURITY,
            expected: "a list of codings",
        })?;
        let system = text(coding, "system", "meta.security.system")?;
        let code = text(coding, "code", "meta.security.code")?;
        match system {
            None => {
                return Err(DecodeError::Missing {
                    field: "meta.security.system",
                });
            }
            Some(system) if CONFIDENTIALITY.contains(&system) => {
                let code = confidentiality(code)?;
                labels.confidentiality = labels.confidentiality.max(code);
            }
            Some(system) if ACT_CODE.contains(&system) => {
                labels.sensitivity.insert(sensitivity(code)?);
            }
            Some(_) => {}
        }
    }
    bounded(labels)
}

/// The labels of both, the stricter confidentiality, the context of `inner`.
pub(super) fn together(outer: &Labels, inner: &Labels) -> Result<Labels, DecodeError> {
    bounded(Labels {
        confidentiality: outer.confidentiality.max(inner.confidentiality),
        sensitivity: outer
            .sensitivity
            .union(&inner.sensitivity)
            .cloned()
            .collect(),
        context: inner.context.clone(),
    })
}

fn bounded(labels: Labels) -> Result<Labels, DecodeError> {
    if labels.sensitivity.len() <= RECORD_SENSITIVITIES_MAX {
        Ok(labels)
    } else {
        Err(DecodeError::WrongType {
            field: SECURITY,
            expected: "a list of at most 16 sensitivities",
        })
    }
}

/// Unrestricted, low and moderate data is handled as normal data is.
fn confidentiality(code: Option<&str>) -> Result<Confidentiality, DecodeError> {
    match code {
        Some("U" | "L" | "M" | "N") => Ok(Confidentiality::N),
        Some("R") => Ok(Confidentiality::R),
        Some("V") => Ok(Confidentiality::V),
        _ => Err(DecodeError::WrongType {
            field: "meta.security.code",
            expected: "U, L, M, N, R or V, a code of v3-Confidentiality",
        }),
    }
}

fn sensitivity(code: Option<&str>) -> Result<Sensitivity, DecodeError> {
    code.and_then(|code| code.parse().ok())
        .ok_or(DecodeError::WrongType {
            field: "meta.security.code",
            expected: "a code of v3-ActCode",
        })
}

/// The encounter's ID: the last part of a reference to it, else its identifier's value.
fn context(observation: &Map<String, Value>) -> Result<Option<ContextId>, DecodeError> {
    let Some(encounter) = object(observation, "encounter", "encounter")? else {
        return Ok(None);
    };
    let wrong = |field| DecodeError::WrongType {
        field,
        expected: "a reference to an Encounter with an ID of 1 to 64 letters, digits, '.', '_' or '-'",
    };
    if let Some(reference) = text(encounter, "reference", "encounter.reference")? {
        let field = "encounter.reference";
        let id = match reference.strip_prefix("urn:uuid:") {
            Some(id) => Some(id),
            None => encounter_id(reference),
        };
        let id = id.and_then(|id| id.parse().ok());
        return id.map(Some).ok_or(wrong(field));
    }
    let Some(identifier) = object(encounter, "identifier", "encounter.identifier")? else {
        return Ok(None);
    };
    let value = text(identifier, "value", "encounter.identifier.value")?;
    let parsed = value.map(|value| {
        value
            .parse()
            .map_err(|_| wrong("encounter.identifier.value"))
    });
    parsed.transpose()
}

/// `5` of `Encounter/5`, `https://host/fhir/Encounter/5` and `Encounter/5/_history/2`.
fn encounter_id(reference: &str) -> Option<&str> {
    let mut parts = reference.split('/').skip_while(|part| *part != "Encounter");
    parts.next()?;
    let id = parts.next()?;
    match (parts.next(), parts.next(), parts.next()) {
        (None, ..) | (Some("_history"), Some(_), None) => Some(id),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn labels(resource: Value) -> Result<Labels, DecodeError> {
        of(resource.as_object().expect("an object"))
    }

    fn coding(system: &str, code: &str) -> Value {
        json!({"meta": {"security": [{"system": system, "code": code}]}})
    }

    #[test]
    fn confidentiality_is_the_strictest_of_the_codes() {
        let table = [
            ("U", Some(Confidentiality::N)),
            ("L", Some(Confidentiality::N)),
            ("M", Some(Confidentiality::N)),
            ("N", Some(Confidentiality::N)),
            ("R", Some(Confidentiality::R)),
            ("V", Some(Confidentiality::V)),
            ("X", None),
            ("r", None),
        ];
        for (code, expected) in table {
            for system in CONFIDENTIALITY {
                let found = labels(coding(system, code));
                assert_eq!(found.ok().map(|l| l.confidentiality), expected, "{code}");
            }
        }
        let several = json!({"meta": {"security": [
            {"system": CONFIDENTIALITY[0], "code": "V"},
            {"system": CONFIDENTIALITY[0], "code": "N"},
            {"system": ACT_CODE[0], "code": "PSY"},
            {"system": ACT_CODE[0], "code": "HIV"},
            {"system": ACT_CODE[0], "code": "PSY"},
            {"system": "http://example.com/tags", "code": "anything at all"},
        ]}});
        let found = labels(several).expect("labels");
        assert_eq!(found.confidentiality, Confidentiality::V);
        let codes: Vec<&str> = found.sensitivity.iter().map(Sensitivity::as_str).collect();
        assert_eq!(codes, ["HIV", "PSY"]);
    }

    #[test]
    fn a_label_that_cannot_be_read_is_refused() {
        let many: Vec<Value> = (0..17)
            .map(|n| json!({"system": ACT_CODE[0], "code": format!("S{n}")}))
            .collect();
        for bad in [
            json!({"meta": {"security": {"code": "R"}}}),
            json!({"meta": {"security": ["R"]}}),
            json!({"meta": {"security": [{"code": "R"}]}}),
            json!({"meta": {"security": [{"system": CONFIDENTIALITY[0]}]}}),
            json!({"meta": {"security": [{"system": ACT_CODE[0], "code": "a b"}]}}),
            json!({"meta": {"security": many}}),
            json!({"meta": 7}),
        ] {
            assert!(labels(bad.clone()).is_err(), "{bad}");
        }
        assert_eq!(labels(json!({"meta": {}})), Ok(Labels::default()));
    }

    #[test]
    fn the_encounter_is_named_by_its_id() {
        let uuid = "6f1e1c1a-0000-4000-8000-000000000001";
        let table = [
            ("Encounter/5", Some("5")),
            ("https://host/fhir/Encounter/enc-1", Some("enc-1")),
            ("Encounter/5/_history/2", Some("5")),
            (&format!("urn:uuid:{uuid}") as &str, Some(uuid)),
            ("Patient/5", None),
            ("Encounter/", None),
            ("Encounter/5/other", None),
            ("#contained", None),
            ("Encounter/a b", None),
        ];
        for (reference, expected) in table {
            let found = labels(json!({"encounter": {"reference": reference}}));
            let context = found.ok().and_then(|labels| labels.context);
            assert_eq!(
                context.as_ref().map(ContextId::as_str),
                expected,
                "{reference}"
            );
        }
        let by_identifier = labels(json!({"encounter": {"identifier": {"value": "visit.7"}}}));
        let context = by_identifier.expect("labels").context;
        assert_eq!(context.expect("a context").as_str(), "visit.7");
        let shown_only = labels(json!({"encounter": {"display": "Visit of Monday"}}));
        assert_eq!(shown_only, Ok(Labels::default()));
    }

    #[test]
    fn a_bundle_has_one_set_of_labels() {
        let observation = |security: Value, encounter: &str| {
            json!({"resource": {
                "resourceType": "Observation",
                "status": "final",
                "meta": {"security": security},
                "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
                "encounter": {"reference": format!("Encounter/{encounter}")},
            }})
        };
        let restricted = json!([{"system": CONFIDENTIALITY[0], "code": "R"}]);
        let bundle = |security: &Value, entries: &[Value]| {
            super::super::fhir::read(&json!({
                "resourceType": "Bundle",
                "meta": {"security": security},
                "entry": entries,
            }))
            .map(|said| said.labels)
        };
        let (plain, labelled) = (
            observation(json!([]), "1"),
            observation(restricted.clone(), "1"),
        );
        let none = json!([]);
        let labels = bundle(&none, &[labelled.clone(), labelled.clone()]).expect("equal");
        assert_eq!(labels.confidentiality, Confidentiality::R);
        assert_eq!(labels.context.expect("a context").as_str(), "1");
        let labels =
            bundle(&restricted, &[plain.clone(), labelled.clone()]).expect("of the bundle");
        assert_eq!(labels.confidentiality, Confidentiality::R);
        let other_visit = observation(json!([]), "2");
        for differing in [[plain.clone(), labelled], [plain, other_visit]] {
            let refused = DecodeError::Entry {
                index: 1,
                error: Box::new(DecodeError::LabelsDiffer),
            };
            assert_eq!(bundle(&none, &differing), Err(refused));
        }
    }
}
