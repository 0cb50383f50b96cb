//! What devices publish in a run: generated vital signs, or the Observations of a file.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use crate::random::Random;

/// Most Observations taken from a file.
pub const READINGS_MAX: usize = 100_000;

/// The readings of one patient, in the order they are published: one JSON document each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatientReadings {
    /// What tells this patient from the others in the input; never leaves the runner.
    pub label: String,
    /// FHIR Observations, byte for byte as they are to come back.
    pub observations: Vec<String>,
}

/// One vital sign: LOINC code, display, UCUM unit, a usual value in tenths, and its spread.
struct VitalSign {
    loinc: &'static str,
    display: &'static str,
    unit: &'static str,
    usual_tenths: u64,
    spread_tenths: u64,
}

const VITAL_SIGNS: [VitalSign; 4] = [
    VitalSign {
        loinc: "8867-4",
        display: "Heart rate",
        unit: "/min",
        usual_tenths: 720,
        spread_tenths: 150,
    },
    VitalSign {
        loinc: "59408-5",
        display: "Oxygen saturation",
        unit: "%",
        usual_tenths: 970,
        spread_tenths: 25,
    },
    VitalSign {
        loinc: "8310-5",
        display: "Body temperature",
        unit: "Cel",
        usual_tenths: 368,
        spread_tenths: 6,
    },
    VitalSign {
        loinc: "9279-1",
        display: "Respiratory rate",
        unit: "/min",
        usual_tenths: 160,
        spread_tenths: 40,
    },
];

/// Makes `count` readings for each of `patients`, different for every `seed`.
///
/// The heart rates, temperatures and so on are made up, and wander within usual bounds. Equal
/// arguments make equal readings.
#[must_use]
pub fn generate(patients: usize, count: usize, seed: u64) -> Vec<PatientReadings> {
    let mut random = Random::new(seed);
    let start = OffsetDateTime::UNIX_EPOCH + Duration::days(20_454);
    (0..patients)
        .map(|patient| PatientReadings {
            label: format!("patient {}", patient + 1),
            observations: (0..count)
                .map(|n| {
                    let sign = &VITAL_SIGNS[n % VITAL_SIGNS.len()];
                    let minutes = i64::try_from(n / VITAL_SIGNS.len()).unwrap_or(i64::MAX);
                    observation(sign, start + Duration::minutes(minutes), &mut random)
                })
                .collect(),
        })
        .collect()
}

fn observation(sign: &VitalSign, at: OffsetDateTime, random: &mut Random) -> String {
    let tenths = sign.usual_tenths + random.bits() % (2 * sign.spread_tenths) - sign.spread_tenths;
    let value = format!("{}.{}", tenths / 10, tenths % 10);
    let at = at.format(&Rfc3339).unwrap_or_default();
    let id = format!("{:016x}", random.bits());
    // Written by hand so that the bytes are stable: this text is what has to come back.
    format!(
        r#"{{"resourceType":"Observation","id":"{id}","status":"final","category":[{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"vital-signs"}}]}}],"code":{{"coding":[{{"system":"http://loinc.org","code":"{}","display":"{}"}}]}},"effectiveDateTime":"{at}","valueQuantity":{{"value":{value},"unit":"{}","system":"http://unitsofmeasure.org","code":"{}"}}}}"#,
        sign.loinc, sign.display, sign.unit, sign.unit
    )
}

/// Reads FHIR Observations, one a line, and groups them by the patient that `subject` names.
///
/// # Errors
/// Names the first line that is no Observation with a subject, or says that there are too many.
pub fn from_file(path: &Path) -> Result<Vec<PatientReadings>> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut patients: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    for (count, (index, line)) in lines.enumerate() {
        if count == READINGS_MAX {
            bail!(
                "{} has more than {READINGS_MAX} Observations",
                path.display()
            );
        }
        let resource: Resource = serde_json::from_str(line)
            .with_context(|| format!("{}, line {}", path.display(), index + 1))?;
        if resource.resource_type != "Observation" {
            bail!(
                "{}, line {}: {} where an Observation is expected",
                path.display(),
                index + 1,
                resource.resource_type
            );
        }
        patients
            .entry(resource.subject.reference)
            .or_default()
            .push(line.to_owned());
    }
    Ok(patients
        .into_iter()
        .map(|(label, observations)| PatientReadings {
            label,
            observations,
        })
        .collect())
}

#[derive(Deserialize)]
struct Resource {
    #[serde(rename = "resourceType")]
    resource_type: String,
    subject: Subject,
}

#[derive(Deserialize)]
struct Subject {
    reference: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_readings_are_repeatable_json_and_differ() {
        let readings = generate(2, 8, 7);
        assert_eq!(readings, generate(2, 8, 7));
        assert_ne!(readings, generate(2, 8, 8));
        let mut all: Vec<&String> = readings.iter().flat_map(|p| &p.observations).collect();
        for text in &all {
            let value: serde_json::Value = serde_json::from_str(text).unwrap();
            assert_eq!(value["resourceType"], "Observation");
        }
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 16);
    }

    #[test]
    fn a_line_that_is_no_observation_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.ndjson");
        fs::write(
            &file,
            "{\"resourceType\":\"Patient\",\"subject\":{\"reference\":\"a\"}}\n",
        )
        .unwrap();
        let error = format!("{:#}", from_file(&file).unwrap_err());
        assert!(error.contains("line 1: Patient"), "{error}");
        fs::write(&file, "\n{oops\n").unwrap();
        let error = format!("{:#}", from_file(&file).unwrap_err());
        assert!(error.contains("line 2"), "{error}");
    }
}
