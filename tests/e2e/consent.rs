//! The example Consents of IHE Privacy Consent on FHIR, on a ledger: each is imported with the
//! `salus` command, and each row of its table is asked as a real read through the REST API.
//!
//! Every Consent has a patient of its own, with the table's ten records: device readings published
//! over MQTT, and documents that a practitioner submitted. A row that names a time is put to
//! `records explain`, which the contract answers for any time; a ledger itself has only one.

mod table;

use std::{collections::BTreeMap, path::PathBuf};

use contract_interface::{
    AuthorizeRead, ParticipantId, Pseudonym, ReasonCode, RecordId, Role, UtcTime,
};
use futures::{StreamExt as _, stream};
use salus::{Client, signing};
use salus_tests::{
    consortium::Person,
    ledger::Ledger,
    story::{self, Patient, WaitFor},
    system::Platform,
};
use serde_json::Value;

use self::table::{Case, Consent, RecordRow, Table};
use crate::support::{Running, is_here, until};

/// Patients who are looked after at once.
const AT_ONCE: usize = 4;
/// The Consents that are asked on real Fabric, where a read takes its block's time: one of each
/// kind. The decision is the same code on both networks.
const ON_REAL_FABRIC: [&str; 5] = [
    "basic-treat-infant",
    "basic-reject",
    "intermediate-not-data",
    "intermediate-purpose",
    "advanced-normal-break-glass-restricted",
];

#[tokio::test]
async fn every_pcf_consent_decides_as_its_table_says() {
    let table = Table::read();
    ask(Platform::EMBEDDED, &table, &table.consents).await;
}

#[tokio::test]
async fn pcf_consents_decide_as_their_tables_say_on_real_fabric() {
    let test = "pcf_consents_decide_as_their_tables_say_on_real_fabric";
    if is_here(test, Platform::REAL) {
        ask_some(Platform::REAL).await;
    }
}

/// Asks what [`ON_REAL_FABRIC`] names.
pub(crate) async fn ask_some(platform: Platform) {
    let table = Table::read();
    let named = |consent: &&Consent| ON_REAL_FABRIC.contains(&consent.consent.as_str());
    let some: Vec<Consent> = table.consents.iter().filter(named).cloned().collect();
    assert_eq!(some.len(), ON_REAL_FABRIC.len());
    ask(platform, &table, &some).await;
}

async fn ask(platform: Platform, table: &Table, consents: &[Consent]) {
    let running = Running::start(platform, consents.len()).await;
    let people = enrol(&running, table).await;
    let asked: Vec<(usize, Vec<String>)> =
        stream::iter(consents.iter().zip(&running.cast.patients))
            .map(|(consent, patient)| {
                let world = World {
                    running: &running,
                    table,
                    people: &people,
                    patient,
                };
                async move { world.ask(consent).await }
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
    let rows: usize = consents.iter().map(|consent| consent.cases.len()).sum();
    let count: usize = asked.iter().map(|(count, _)| count).sum();
    let wrong: Vec<String> = asked.into_iter().flat_map(|(_, wrong)| wrong).collect();
    assert!(wrong.is_empty(), "{} of {rows}: {wrong:#?}", wrong.len());
    assert_eq!(count, rows, "rows were left out");
    running.system.stop().await.unwrap();
}

/// Everybody of the table but the patient, by the table's name, with the ID on the ledger.
type People = BTreeMap<String, (Person, ParticipantId)>;

async fn enrol(running: &Running, table: &Table) -> People {
    let system = &running.system;
    let administrator = &running.cast.administrator;
    story::register(system, administrator, administrator, Role::Admin)
        .await
        .unwrap();
    let mut people = People::new();
    for (name, row) in table.people.iter().filter(|(name, _)| *name != "patient") {
        let organization = match row.msp_id.as_str() {
            "Org1MSP" => 0,
            "Org2MSP" => 1,
            other => panic!("no organisation {other}"),
        };
        let mut attributes = vec![("salus.role", row.role.as_str())];
        if row.may_declare_emergencies {
            attributes.push(("salus.emergency", "true"));
        }
        let person = system
            .consortium
            .enrol(name, organization, &attributes)
            .unwrap();
        let role = Role::from_text(&row.role).unwrap();
        let id = match organization {
            0 => story::register(system, administrator, &person, role).await,
            _ => {
                let ledger = Ledger::connect(system.network.info(), organization).unwrap();
                ledger.register(&person, role, None).await
            }
        };
        people.insert(name.clone(), (person, id.unwrap()));
    }
    people
}

/// One patient's part of the table.
struct World<'a> {
    running: &'a Running,
    table: &'a Table,
    people: &'a People,
    patient: &'a Patient,
}

impl World<'_> {
    /// Gives the Consent and asks its rows; returns how many, and those decided otherwise.
    async fn ask(&self, consent: &Consent) -> (usize, Vec<String>) {
        let records = self.register_records().await;
        if consent.signer != "patient" {
            self.name_guardian(&consent.signer).await;
        }
        let given = self.import(consent, &records).await;
        let (declared, others): (Vec<&Case>, Vec<&Case>) = consent
            .cases
            .iter()
            .partition(|case| case.emergency.is_some());
        let mut wrong = Vec::new();
        for case in others {
            wrong.extend(self.ask_row(consent, case, &records, &given).await);
        }
        let mut readers: Vec<&str> = Vec::new();
        for case in declared {
            if !readers.contains(&case.reader.as_str()) {
                self.declare_emergency(&case.reader).await;
                readers.push(&case.reader);
            }
            wrong.extend(self.ask_row(consent, case, &records, &given).await);
        }
        (consent.cases.len(), wrong)
    }

    fn pseudonym(&self) -> Pseudonym {
        self.patient.pseudonym
    }

    fn person(&self, name: &str) -> &Person {
        match name {
            "patient" => &self.patient.person,
            other => &self.people[other].0,
        }
    }

    fn id(&self, name: &str) -> ParticipantId {
        match name {
            "patient" => self.pseudonym().into(),
            other => self.people[other].1,
        }
    }

    /// Registers the table's records: what a device made over MQTT, the rest as its author.
    async fn register_records(&self) -> BTreeMap<String, RecordId> {
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

    async fn name_guardian(&self, name: &str) {
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
    async fn import(&self, consent: &Consent, records: &BTreeMap<String, RecordId>) -> Given {
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

    async fn declare_emergency(&self, reader: &str) {
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

    /// Asks one row; says so if the reason is another than the table's.
    async fn ask_row(
        &self,
        consent: &Consent,
        case: &Case,
        records: &BTreeMap<String, RecordId>,
        given: &Given,
    ) -> Option<String> {
        let client = story::client(self.person(&case.reader)).unwrap();
        let record_id = records[&case.record];
        let reason = match case.at {
            Some(at) => {
                let at = given.end.map_or(at, |end| end.moved(at));
                let project = case.project.as_ref();
                client
                    .explain_read(&record_id, case.purpose, None, project, Some(at))
                    .await
                    .map(|explained| explained.reason)
                    .unwrap_or_else(|error| panic!("{}: {case:?}: {error}", consent.consent))
            }
            None => {
                let read = AuthorizeRead {
                    record_id,
                    purpose: case.purpose,
                    project: case.project.clone(),
                };
                self.read(&client, read).await
            }
        };
        let expected = given.found(case.reason);
        (reason != expected).then(|| format!("{}: {case:?} but {reason}", consent.consent))
    }

    /// Reads, and returns the reason that the ledger keeps; a permitted read must open.
    async fn read(&self, client: &Client, read: AuthorizeRead) -> ReasonCode {
        let patient = story::client(&self.patient.person).unwrap();
        match client.request_read(read).await {
            Ok(mut sealed) => {
                let mut opened = Vec::new();
                let key = client.key_for(&sealed.wrapped_key).unwrap();
                sealed.open_into(key, &mut opened).await.unwrap();
                assert!(!opened.is_empty());
                let entry = patient.recorded_read(&sealed.read_id).await.unwrap();
                assert_eq!(entry.decision, contract_interface::Decision::Permit);
                entry.reason
            }
            Err(error) => {
                let read_id = error.denied_read();
                let read_id = read_id.unwrap_or_else(|| panic!("not denied but: {error:?}"));
                let entry = patient.recorded_read(&read_id).await.unwrap();
                assert_eq!(entry.decision, contract_interface::Decision::Deny);
                entry.reason
            }
        }
    }
}

/// What became of a Consent.
struct Given {
    /// Whether each of its grants names records or types.
    by_name: bool,
    end: Option<End>,
}

impl Given {
    /// The reason that a ledger gives. It finds grants by the records and types that they name, so
    /// that a decision costs the same however many there are: one that names others only is not
    /// found, and does not come near to a permit.
    fn found(&self, reason: ReasonCode) -> ReasonCode {
        match reason {
            ReasonCode::TypeNotCovered if self.by_name => ReasonCode::NoGrant,
            other => other,
        }
    }
}

/// The end of a Consent: as its file names it, and as it was given.
#[derive(Debug, Clone, Copy)]
struct End {
    named: UtcTime,
    given: UtcTime,
}

impl End {
    /// A time of the table: around the end it moves with the end.
    fn moved(self, at: UtcTime) -> UtcTime {
        const AROUND: u64 = 24 * 60 * 60;
        if at.abs_diff(self.named) > AROUND {
            return at;
        }
        let distance = at.unix_seconds() - self.named.unix_seconds();
        UtcTime::from_unix_seconds(self.given.unix_seconds() + distance).unwrap()
    }
}
