//! `tests/vectors/pcf`: the Consents, and who may then read what.

use std::{collections::BTreeMap, fs, path::PathBuf};

use contract_interface::{ProjectCode, Purpose, ReasonCode, RecordPrivate, Source, UtcTime};
use salus_tests::binaries;
use serde::Deserialize;
use serde_json::{Value, json};

/// `cases.json`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Table {
    pub(super) people: BTreeMap<String, PersonRow>,
    pub(super) records: BTreeMap<String, RecordRow>,
    pub(super) map: Value,
    pub(super) consents: Vec<Consent>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct PersonRow {
    pub(super) id: String,
    pub(super) msp_id: String,
    pub(super) role: String,
    #[serde(default)]
    pub(super) powers: Vec<String>,
    #[serde(default)]
    pub(super) may_declare_emergencies: bool,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct RecordRow {
    pub(super) id: String,
    #[serde(rename = "type")]
    record_type: String,
    start: UtcTime,
    end: UtcTime,
    pub(super) author: String,
    confidentiality: String,
    #[serde(default)]
    sensitivity: Vec<String>,
    #[serde(default)]
    context: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Consent {
    pub(super) consent: String,
    pub(super) signer: String,
    pub(super) grants: usize,
    pub(super) cases: Vec<Case>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) reader: String,
    pub(super) record: String,
    pub(super) purpose: Purpose,
    #[serde(default)]
    pub(super) project: Option<ProjectCode>,
    #[serde(default)]
    pub(super) at: Option<UtcTime>,
    #[serde(default)]
    pub(super) emergency: Option<String>,
    pub(super) reason: ReasonCode,
}

impl Table {
    /// Reads it, and checks that no Consent beside it is left out.
    pub(super) fn read() -> Self {
        let text = fs::read_to_string(folder().join("cases.json")).unwrap();
        let table: Self = serde_json::from_str(&text).unwrap();
        let mut named: Vec<String> = table
            .consents
            .iter()
            .map(|consent| format!("{}.json", consent.consent))
            .collect();
        named.push("cases.json".to_owned());
        named.sort();
        let files = fs::read_dir(folder()).unwrap();
        let mut files: Vec<String> = files
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".json"))
            .collect();
        files.sort();
        assert_eq!(files, named, "the table and its folder differ");
        table
    }
}

impl Consent {
    /// The Consent, FHIR JSON.
    pub(super) fn text(&self) -> String {
        fs::read_to_string(folder().join(format!("{}.json", self.consent))).unwrap()
    }

    /// The instant at which the Consent ends, if its root names a day.
    pub(super) fn end(&self) -> Option<UtcTime> {
        const DAY: i64 = 24 * 60 * 60;
        let value: Value = serde_json::from_str(&self.text()).unwrap();
        let day = value["provision"]["period"]["end"].as_str()?;
        let last: UtcTime = format!("{day}T00:00:00Z").parse().unwrap();
        Some(UtcTime::from_unix_seconds(last.unix_seconds() + DAY).unwrap())
    }
}

impl RecordRow {
    pub(super) fn is_devices(&self) -> bool {
        self.author == "device"
    }

    /// The Observations that a device publishes: one for each end of the period.
    pub(super) fn observations(&self) -> Vec<String> {
        let mut times = vec![self.start, self.end];
        times.dedup();
        let mut lines = Vec::new();
        for time in times {
            let mut observation = json!({
                "resourceType": "Observation",
                "status": "final",
                "code": { "coding": [{
                    "system": "http://loinc.org", "code": self.record_type,
                }] },
                "effectiveDateTime": time.to_string(),
                "valueQuantity": {
                    "value": 70, "unit": "1", "system": "http://unitsofmeasure.org", "code": "1",
                },
            });
            if let Some(context) = &self.context {
                observation["encounter"] = json!({ "reference": format!("Encounter/{context}") });
            }
            lines.push(observation.to_string());
        }
        lines
    }

    /// Whether a registered record is this row's.
    pub(super) fn is(&self, record: &RecordPrivate) -> bool {
        matches!(record.source, Source::DeviceId(_))
            && record.record_type.to_string() == self.record_type
            && record.period.start == self.start
            && record.period.end == self.end
            && record.confidentiality.as_str() == self.confidentiality
            && record.context.as_ref().map(ToString::to_string) == self.context
    }

    /// What `salus records submit` is told of it.
    pub(super) fn arguments(&self) -> Vec<String> {
        let mut args = vec![
            "--type".to_owned(),
            self.record_type.clone(),
            "--start".to_owned(),
            self.start.to_string(),
            "--end".to_owned(),
            self.end.to_string(),
            "--confidentiality".to_owned(),
            self.confidentiality.clone(),
        ];
        for code in &self.sensitivity {
            args.extend(["--sensitivity".to_owned(), code.clone()]);
        }
        if let Some(context) = &self.context {
            args.extend(["--context".to_owned(), context.clone()]);
        }
        args
    }
}

fn folder() -> PathBuf {
    binaries::workspace_root().join("tests/vectors/pcf")
}
