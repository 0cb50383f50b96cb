//! The table `tests/vectors/pcf/cases.json`: each Consent of IHE PCF's list becomes grants, and the
//! grants decide each case of who reads what, why and when.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use contract_interface::{
    GrantEntry, GrantId, MspId, Participant, ParticipantId, ProjectCode, Pseudonym, Purpose,
    ReasonCode, RecordPrivate, Role, UtcTime,
    access::{Basis, CountedGrant, DelegationEntry, EmergencyEntry, Power, Question},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::consent::{Imported, References, Signer, export, import};

/// The examples that IHE PCF lists, without the prefix `ex-consent-` or `ex-`.
const LIST: [&str; 23] = [
    "basic-treat",
    "basic-treat-infant",
    "basic-ink",
    "expired-treat",
    "basic-reject",
    "basic-research",
    "intermediate-timeframe",
    "intermediate-not-timeframe",
    "intermediate-authoredby",
    "intermediate-not-authoredby",
    "intermediate-encounter",
    "intermediate-not-encounter",
    "intermediate-data",
    "intermediate-not-data",
    "intermediate-purpose",
    "dissent-intermediate-break-glass",
    "advanced-normal",
    "advanced-normal-restricted",
    "advanced-normal-not-restricted",
    "advanced-normal-focused-restricted",
    "advanced-normal-focused-psy",
    "advanced-normal-focused-psy-or-sdv",
    "advanced-normal-break-glass-restricted",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    now: UtcTime,
    people: BTreeMap<String, Person>,
    records: BTreeMap<String, Data>,
    map: Value,
    consents: Vec<Expected>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Person {
    id: ParticipantId,
    msp_id: MspId,
    role: Role,
    #[serde(default)]
    powers: Vec<Power>,
    #[serde(default)]
    may_declare_emergencies: bool,
}

#[derive(Deserialize)]
struct Data {
    id: String,
    #[serde(rename = "type")]
    record_type: String,
    start: String,
    end: String,
    author: String,
    registrar: String,
    confidentiality: String,
    #[serde(default)]
    sensitivity: Vec<String>,
    context: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    consent: String,
    signer: String,
    grants: usize,
    cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    reader: String,
    record: String,
    purpose: Purpose,
    project: Option<ProjectCode>,
    at: Option<UtcTime>,
    emergency: Option<String>,
    reason: ReasonCode,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/pcf")
}

fn table() -> Table {
    let text = fs::read_to_string(folder().join("cases.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn salt() -> String {
    format!("01{}", "00".repeat(31))
}

impl Table {
    fn references(&self) -> References {
        self.map.to_string().parse().unwrap()
    }

    fn patient(&self) -> Pseudonym {
        self.people["patient"].id.into()
    }

    fn imported(&self, name: &str) -> Imported {
        let consent = fs::read(folder().join(format!("{name}.json"))).unwrap();
        import(&consent, &self.references()).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn reader(&self, name: &str) -> Participant {
        let person = &self.people[name];
        serde_json::from_value(json!({
            "participant_id": person.id,
            "msp_id": person.msp_id,
            "role": person.role,
            "certificate": "",
            "thumbprint": "00".repeat(32),
            "status": "active",
            "version": 1,
        }))
        .unwrap()
    }

    fn record(&self, name: &str) -> RecordPrivate {
        let data = &self.records[name];
        let source = match data.author.as_str() {
            "device" => json!({ "device_id": "device" }),
            author => json!({ "participant_id": self.people[author].id }),
        };
        let mut record = json!({
            "record_id": data.id,
            "patient": self.patient(),
            "type": data.record_type,
            "period": { "start": data.start, "end": data.end },
            "readings": 1,
            "source": source,
            "registrar": data.registrar,
            "confidentiality": data.confidentiality,
            "sensitivity": data.sensitivity,
            "content_type": "application/fhir+json",
            "cid": "b",
            "size": 1,
            "plaintext_size": 1,
            "merkle_root": "00".repeat(32),
            "salt": salt(),
        });
        if let Some(context) = &data.context {
            record["context"] = json!(context);
        }
        serde_json::from_value(record).unwrap()
    }

    /// What the ledger would keep after the grants were signed.
    fn entries(&self, imported: &Imported, signer: &str) -> Vec<GrantEntry> {
        let entry = |(number, grant)| {
            serde_json::from_value(json!({
                "grant": grant,
                "patient": imported.patient,
                "patient_msp": "Org1MSP",
                "given_by": self.people[signer].id,
                "status": "active",
                "version": 1,
                "given_at": self.now,
                "requests": [format!("signed-{number}")],
                "salt": salt(),
            }))
            .unwrap()
        };
        imported
            .terms
            .iter()
            .zip(1_u8..)
            .map(|(terms, number)| {
                let grant_id = GrantId::from_bytes([number; 16]);
                entry((number, terms.clone().grant(grant_id)))
            })
            .collect()
    }

    fn delegation(&self, expected: &Expected, reader: &str) -> Option<DelegationEntry> {
        let guardian = &self.people[reader];
        (expected.signer == reader && !guardian.powers.is_empty()).then(|| {
            serde_json::from_value(json!({
                "delegation": {
                    "delegation_id": "0d".repeat(16),
                    "patient": self.patient(),
                    "guardian": guardian.id,
                    "powers": guardian.powers,
                    "basis": "parent",
                    "valid_from": "2020-01-01T00:00:00Z",
                    "valid_until": "2030-01-01T00:00:00Z",
                },
                "patient_msp": "Org1MSP",
                "given_by": "0e".repeat(16),
                "status": "active",
                "version": 1,
                "given_at": "2020-01-01T00:00:00Z",
                "requests": [],
                "salt": salt(),
            }))
            .unwrap()
        })
    }

    fn emergency(&self, case: &Case, at: UtcTime) -> Option<EmergencyEntry> {
        let declared = case.emergency.as_deref()?;
        assert_eq!(declared, "declared");
        let reader = &self.people[&case.reader];
        assert!(reader.may_declare_emergencies, "{case:?}");
        let until = UtcTime::from_unix_seconds(at.unix_seconds() + 3600).unwrap();
        Some(
            serde_json::from_value(json!({
                "emergency": {
                    "emergency_id": "0f".repeat(16),
                    "patient": self.patient(),
                    "reason": "unresponsive",
                    "justification": "sealed",
                    "valid_until": until,
                },
                "patient_msp": "Org1MSP",
                "reader": reader.id,
                "reader_msp": reader.msp_id,
                "declared_at": at,
                "request": "signed",
                "salt": salt(),
            }))
            .unwrap(),
        )
    }

    fn decide(&self, expected: &Expected, entries: &[GrantEntry], case: &Case) -> ReasonCode {
        let at = case.at.unwrap_or(self.now);
        let basis = Basis {
            policies: vec![],
            grants: entries
                .iter()
                .map(|entry| CountedGrant {
                    entry: entry.clone(),
                    used: 0,
                })
                .collect(),
            delegation: self.delegation(expected, &case.reader),
            emergency: self.emergency(case, at),
            ..Basis::default()
        };
        let question = Question {
            reader: &self.reader(&case.reader),
            record: &self.record(&case.record),
            purpose: case.purpose,
            project: case.project.as_ref(),
            times: &[at],
        };
        basis.decide(&question).reason
    }
}

#[test]
fn the_table_has_every_example_of_the_list_and_each_has_a_file() {
    let table = table();
    let listed: BTreeSet<&str> = LIST.into_iter().collect();
    let told: BTreeSet<&str> = table.consents.iter().map(|c| c.consent.as_str()).collect();
    assert_eq!(told, listed);
    assert_eq!(table.consents.len(), listed.len(), "none twice");
    let files: BTreeSet<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|name| name != "cases")
        .collect();
    assert_eq!(
        files.iter().map(String::as_str).collect::<BTreeSet<_>>(),
        listed
    );
}

#[test]
fn each_consent_decides_each_case_of_the_table() {
    let table = table();
    let mut wrong = Vec::new();
    for expected in &table.consents {
        let name = &expected.consent;
        let imported = table.imported(name);
        assert_eq!(imported.terms.len(), expected.grants, "{name}");
        assert_eq!(imported.patient, table.patient(), "{name}");
        let signer = match expected.signer.as_str() {
            "patient" => Signer::Patient,
            guardian => Signer::Guardian(table.people[guardian].id),
        };
        assert_eq!(imported.signer, signer, "{name}");
        let entries = table.entries(&imported, &expected.signer);
        for case in &expected.cases {
            let reason = table.decide(expected, &entries, case);
            if reason != case.reason {
                wrong.push(format!("{name}: {reason} for {case:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_consent_has_cases_that_permit_and_cases_that_deny() {
    for expected in table().consents {
        let decided: BTreeSet<String> = expected
            .cases
            .iter()
            .map(|case| format!("{:?}", case.reason.decision()))
            .collect();
        assert_eq!(decided.len(), 2, "{}", expected.consent);
    }
}

#[test]
fn grants_written_as_consents_decide_the_same() {
    let table = table();
    for expected in &table.consents {
        let entries = table.entries(&table.imported(&expected.consent), &expected.signer);
        let mut terms = Vec::new();
        for entry in &entries {
            let consent = export(entry, &table.references()).unwrap();
            let back = import(consent.to_string().as_bytes(), &table.references());
            terms.extend(back.unwrap().terms);
        }
        let back = Imported {
            terms,
            ..table.imported(&expected.consent)
        };
        let again = table.entries(&back, &expected.signer);
        for case in &expected.cases {
            let reason = table.decide(expected, &again, case);
            assert_eq!(reason, case.reason, "{}: {case:?}", expected.consent);
        }
    }
}
