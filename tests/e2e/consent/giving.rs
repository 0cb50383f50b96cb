//! A patient's records and Consent, as the table has them, put on a ledger.

use std::{collections::BTreeMap, path::PathBuf};

use contract_interface::{ReasonCode, RecordId, UtcTime};
use salus::signing;
use salus_tests::story::{self, WaitFor};
use serde_json::Value;

use super::{
    World,
    table::{Consent, RecordRow},
};
use crate::support::until;

impl World<'_> {
    /// Registers the table's records: what a device made over MQTT, the rest as its author.
    pub(super) async fn register_records(&self) -> BTreeMap<String, RecordId> {
        let mut lines = Vec::new();
        for row in self.table.records.values().filter(|row| row.is_devices()) {
            lines.extend(row.observations());
        }
        let file = format!("{}.ndjson", self.patient.device.id);
        let file = self.running.file(&file, &lines.join("\n"));
        let system = &self.running.system;
        story::publish_file(system, &self.patient.device, &file, WaitFor::Receipts)
            .await
            .unwrap();
        let mut records = BTreeMap::new();
        for (name, row) in &self.table.records {
            if !row.is_devices() {
                records.insert(name.clone(), self.submit(name, row).await);
            }
        }
        let client = story::client(&self.patient.person).unwrap();
        let registered = story::records_of(&client, self.pseudonym()).await.unwrap();
        for (name, row) in self
            .table
            .records
            .iter()
            .filter(|(_, row)| row.is_devices())
        {
            let found = registered.iter().find(|record| row.is(&record.metadata));
            let found = found.unwrap_or_else(|| panic!("no record is {name}: {registered:?}"));
            records.insert(name.clone(), found.metadata.record_id);
        }
        assert_eq!(registered.len(), self.table.records.len());
        records
    }

    async fn submit(&self, name: &str, row: &RecordRow) -> RecordId {
        let file = format!("{}-{name}.txt", self.patient.device.id);
        let file = self.running.file(&file, &format!("About {name}.\n"));
        let mut args = vec![
            "records".to_owned(),
            "submit".to_owned(),
            file.display().to_string(),
            "--content-type".to_owned(),
            "text/plain".to_owned(),
            "--patient".to_owned(),
            self.pseudonym().to_string(),
        ];
        args.extend(row.arguments());
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let answer = self.running.salus(self.person(&row.author), &args).await;
        answer["record_id"].as_str().unwrap().parse().unwrap()
    }

    pub(super) async fn name_guardian(&self, name: &str) {
        let (patient, guardian) = (self.pseudonym().to_string(), self.id(name).to_string());
        let mut args = vec![
            "guardians",
            "add",
            "--guardian",
            &guardian,
            "--patient",
            &patient,
            "--basis",
            "parent",
            "--valid-until",
            "365d",
        ];
        for power in &self.table.people[name].powers {
            args.extend(["--power", power]);
        }
        self.running
            .salus(&self.running.cast.administrator, &args)
            .await;
    }

    /// Imports the Consent as its signer. Contracts take no grant that has ended: a Consent that
    /// has is given with an end that is just ahead, which is waited for.
    pub(super) async fn import(
        &self,
        consent: &Consent,
        records: &BTreeMap<String, RecordId>,
    ) -> Given {
        let mut text = consent.text();
        let end = consent.end().filter(|end| *end <= signing::now().unwrap());
        if end.is_some() {
            let now = signing::now().unwrap().unix_seconds();
            let soon = UtcTime::from_unix_seconds(now + 3).unwrap();
            let mut value: Value = serde_json::from_str(&text).unwrap();
            value["provision"]["period"]["end"] = soon.to_string().into();
            text = value.to_string();
        }
        let name = |what: &str| format!("{}-{what}.json", self.patient.device.id);
        let file = self.running.file(&name("consent"), &text);
        let map = self.running.file(&name("map"), &self.map(records));
        let path = |file: &PathBuf| file.display().to_string();
        let args = [
            "grants",
            "import-consent",
            &path(&file),
            "--map",
            &path(&map),
        ];
        let signer = self.person(&consent.signer);
        let answer = self.running.salus(signer, &args).await;
        let grants = answer["grants"].as_array().unwrap();
        assert_eq!(
            grants.len(),
            consent.grants,
            "{}: {answer}",
            consent.consent
        );
        let rule = |grant: &Value, list: &str| grant["grant"]["rule"][list].is_array();
        let by_name = grants
            .iter()
            .all(|grant| rule(grant, "records") || rule(grant, "types"));
        let Some(named) = end else {
            return Given { by_name, end: None };
        };
        let given: UtcTime = grants[0]["grant"]["valid_until"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        until("the grant ends", || async {
            (signing::now().unwrap() > given).then_some(())
        })
        .await;
        Given {
            by_name,
            end: Some(End { named, given }),
        }
    }

    /// The table of references with this patient's IDs in the place of the table's.
    fn map(&self, records: &BTreeMap<String, RecordId>) -> String {
        let mut map = self.table.map.to_string();
        for (name, row) in &self.table.people {
            map = map.replace(&row.id, &self.id(name).to_string());
        }
        for (name, row) in &self.table.records {
            map = map.replace(&row.id, &records[name].to_string());
        }
        map
    }

    pub(super) async fn declare_emergency(&self, reader: &str) {
        let patient = self.pseudonym().to_string();
        let args = [
            "emergencies",
            "declare",
            "--patient",
            &patient,
            "--reason",
            "life-threatening",
            "--justification",
            "not breathing",
        ];
        self.running.salus(self.person(reader), &args).await;
    }
}

/// What became of a Consent.
pub(super) struct Given {
    /// Whether each of its grants names records or types.
    by_name: bool,
    pub(super) end: Option<End>,
}

impl Given {
    /// The reason that a ledger gives. It finds grants by the records and types that they name, so
    /// that a decision costs the same however many there are: one that names others only is not
    /// found, and does not come near to a permit.
    pub(super) fn found(&self, reason: ReasonCode) -> ReasonCode {
        match reason {
            ReasonCode::TypeNotCovered if self.by_name => ReasonCode::NoGrant,
            other => other,
        }
    }
}

/// The end of a Consent: as its file names it, and as it was given.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    named: UtcTime,
    given: UtcTime,
}

impl End {
    /// A time of the table: around the end it moves with the end.
    pub(super) fn moved(self, at: UtcTime) -> UtcTime {
        const AROUND: u64 = 24 * 60 * 60;
        if at.abs_diff(self.named) > AROUND {
            return at;
        }
        let distance = at.unix_seconds() - self.named.unix_seconds();
        UtcTime::from_unix_seconds(self.given.unix_seconds() + distance).unwrap()
    }
}
