//! The example Consents of IHE Privacy Consent on FHIR, on a ledger: each is imported with the
//! `salus` command, and each row of its table is asked as a real read through the REST API.
//!
//! Every Consent has a patient of its own, with the table's ten records: device readings published
//! over MQTT, and documents that a practitioner submitted. A row that names a time is put to
//! `records explain`, which the contract answers for any time; a ledger itself has only one.

mod giving;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use contract_interface::{AuthorizeRead, ParticipantId, Pseudonym, ReasonCode, RecordId, Role};
use futures::{StreamExt as _, stream};
use salus::Client;
use salus_tests::{
    consortium::Person,
    ledger::Ledger,
    story::{self, Patient},
    system::Platform,
};

use self::{
    giving::Given,
    table::{Case, Consent, Table},
};
use crate::support::{Running, is_here};

/// Patients who are looked after at once: on real Fabric they share blocks, whose time is most of
/// what a read takes there.
const AT_ONCE: usize = 8;
/// Rows of one patient that are asked at once.
const ROWS_AT_ONCE: usize = 3;
/// One Consent of each kind, for where all take too long.
const ONE_OF_EACH_KIND: [&str; 5] = [
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
async fn every_pcf_consent_decides_as_its_table_says_on_real_fabric() {
    let test = "every_pcf_consent_decides_as_its_table_says_on_real_fabric";
    if is_here(test, Platform::REAL) {
        let table = Table::read();
        ask(Platform::REAL, &table, &table.consents).await;
    }
}

/// Asks what [`ONE_OF_EACH_KIND`] names.
pub(crate) async fn ask_some(platform: Platform) {
    let table = Table::read();
    let named = |consent: &&Consent| ONE_OF_EACH_KIND.contains(&consent.consent.as_str());
    let some: Vec<Consent> = table.consents.iter().filter(named).cloned().collect();
    assert_eq!(some.len(), ONE_OF_EACH_KIND.len());
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
        let asked = Asked {
            consent,
            records: &records,
            given: &given,
        };
        let mut wrong = self.ask_rows(&asked, &others).await;
        let readers: BTreeSet<&str> = declared.iter().map(|case| case.reader.as_str()).collect();
        for reader in readers {
            self.declare_emergency(reader).await;
        }
        wrong.extend(self.ask_rows(&asked, &declared).await);
        (consent.cases.len(), wrong)
    }

    /// Asks rows of which none changes what another finds.
    async fn ask_rows(&self, asked: &Asked<'_>, cases: &[&Case]) -> Vec<String> {
        let answers: Vec<Option<String>> = stream::iter(cases)
            .map(|case| self.ask_row(asked, case))
            .buffered(ROWS_AT_ONCE)
            .collect()
            .await;
        answers.into_iter().flatten().collect()
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

    /// Asks one row; says so if the reason is another than the table's.
    async fn ask_row(&self, asked: &Asked<'_>, case: &Case) -> Option<String> {
        let Asked {
            consent,
            records,
            given,
        } = asked;
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

/// A Consent that was given, and the records of its patient by the table's names.
struct Asked<'a> {
    consent: &'a Consent,
    records: &'a BTreeMap<String, RecordId>,
    given: &'a Given,
}
