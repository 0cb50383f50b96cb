//! Consent and access: the refusal, the grants, the reads, the audit.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use contract_interface::{
    Decision, PageRequest, Pseudonym, Purpose, ReadFilter, Record, RecordFilter,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use salus::{Client, OpenedRecord, Profile};
use serde_json::Value;

use super::{
    Cast, READS_AT_ONCE,
    command::{run_json, spec, text},
};
use crate::{consortium::Person, ledger::Ledger, readings::PatientReadings, system::System};

/// The provider asks for the first patient's first record and must be refused; the refusal must
/// be a valid transaction on the ledger.
pub(super) async fn refuse(system: &System, cast: &Cast) -> Result<Vec<String>> {
    let patient = &cast.patients[0];
    let records = records_of(&client(&patient.person)?, patient.pseudonym).await?;
    let record = records.first().context("the patient has no record")?;
    let record_id = record.metadata.record_id;
    let read = client(&cast.provider)?
        .read(&record_id, Purpose::Treat)
        .await;
    let Err(error) = read else {
        bail!("the provider read record {record_id} without a grant")
    };
    let Some(read_id) = error.denied_read() else {
        return Err(error).context("the read failed, but not because it was denied");
    };
    let transaction = Ledger::connect(system.network.info(), 0)?
        .transaction(&read_id.to_string())
        .await?;
    ensure!(
        transaction.is_valid,
        "the denial {read_id} is on the ledger, but not valid"
    );
    Ok(vec![
        format!("record {record_id}, CID {}", record.metadata.cid),
        format!("403: {error}"),
        format!(
            "the denial is transaction {read_id} in block {}, VALID",
            transaction.block_number
        ),
    ])
}

pub(super) async fn grant(system: &System, cast: &Cast) -> Result<Vec<String>> {
    let giving = cast.patients.iter().map(|patient| async {
        let give = spec(system, &patient.person)?
            .arg("grants")
            .arg("give")
            .option("--to", format!("participant:{}", cast.provider_id))
            .option("--purpose", "TREAT");
        run_json(give).await
    });
    let answers: Vec<Value> = stream::iter(giving)
        .buffered(READS_AT_ONCE)
        .try_collect()
        .await?;
    let first = answers.first().context("no patient")?;
    Ok(vec![format!(
        "first grant {}, transaction {} in block {}",
        text(first, "grant_id")?,
        text(first, "transaction_id")?,
        first["block_number"]
    )])
}

pub(super) struct Opened {
    pub(super) records: usize,
    pub(super) readings: usize,
    pub(super) first: String,
}

/// The provider reads everything of every patient; each published reading must be there once.
pub(super) async fn read_all(cast: &Cast, input: &[PatientReadings]) -> Result<Opened> {
    let client = client(&cast.provider)?;
    let mut opened = Opened {
        records: 0,
        readings: 0,
        first: String::new(),
    };
    for (patient, published) in cast.patients.iter().zip(input) {
        let all = read_patient(&client, patient.pseudonym, Purpose::Treat).await?;
        opened.records += all.len();
        if let (true, Some(first)) = (opened.first.is_empty(), all.first()) {
            opened.first = format!(
                "first read receipt: transaction {} in block {}",
                first.read_id, first.block_number
            );
        }
        opened.readings += check_all_there(&patient.device.id, &all, &published.observations)?;
    }
    Ok(opened)
}

/// Reads all records of a patient that the caller may read.
///
/// # Errors
/// When one is refused or is not what the ledger registered.
pub async fn read_patient(
    client: &Client,
    patient: Pseudonym,
    purpose: Purpose,
) -> Result<Vec<OpenedRecord>> {
    let records = records_of(client, patient).await?;
    stream::iter(records)
        .map(|record| {
            let client = client.clone();
            async move { anyhow::Ok(client.read(&record.metadata.record_id, purpose).await?) }
        })
        .buffered(READS_AT_ONCE)
        .try_collect()
        .await
}

/// Checks that each published reading came back once, byte for byte; returns how many did.
///
/// # Errors
/// Names the device and the first reading that is missing or doubled.
pub fn check_all_there(
    device: &str,
    opened: &[OpenedRecord],
    published: &[String],
) -> Result<usize> {
    let mut times: BTreeMap<&[u8], usize> = BTreeMap::new();
    for reading in opened.iter().flat_map(|record| &record.readings) {
        ensure!(
            reading.device_id.as_str() == device,
            "a reading of another device came back"
        );
        *times.entry(&reading.payload).or_default() += 1;
    }
    for (index, observation) in published.iter().enumerate() {
        match times.get(observation.as_bytes()) {
            Some(1) => {}
            Some(n) => bail!("reading {index} of {device} came back {n} times"),
            None => bail!("reading {index} of {device} did not come back"),
        }
    }
    Ok(published.len())
}

pub(super) struct Audit {
    pub(super) reads: usize,
    pub(super) permitted: usize,
    pub(super) denied: usize,
    pub(super) lines: Vec<String>,
}

pub(super) async fn audit(cast: &Cast) -> Result<Audit> {
    let mut audit = Audit {
        reads: 0,
        permitted: 0,
        denied: 0,
        lines: Vec::new(),
    };
    for patient in &cast.patients {
        let filter = ReadFilter {
            patient: Some(patient.pseudonym),
            ..ReadFilter::default()
        };
        let reads = client(&patient.person)?.reads(filter).await?;
        let permitted = reads
            .iter()
            .filter(|read| read.decision == Decision::Permit)
            .count();
        audit.reads += reads.len();
        audit.permitted += permitted;
        audit.denied += reads.len() - permitted;
        if audit.lines.is_empty() {
            audit.lines.extend(reads.iter().take(2).map(|read| {
                format!(
                    "{} {:?} {} to {} of {} for {}",
                    read.requested_at,
                    read.decision,
                    read.reason.as_str(),
                    read.reader,
                    read.reader_msp,
                    read.purpose
                )
            }));
        }
    }
    audit.lines.insert(
        0,
        format!("{} permitted, {} denied", audit.permitted, audit.denied),
    );
    Ok(audit)
}

/// All records of a patient that the caller may see.
///
/// # Errors
/// When the oracle refuses.
pub async fn records_of(client: &Client, patient: Pseudonym) -> Result<Vec<Record>> {
    let filter = RecordFilter {
        patient,
        record_type: None,
        from: None,
        to: None,
        page: PageRequest::default(),
    };
    Ok(client.records(filter).await?)
}

/// Someone's connection to the oracle.
///
/// # Errors
/// When the profile cannot be used.
pub fn client(person: &Person) -> Result<Client> {
    Ok(Client::new(&Profile::load(&person.profile)?)?)
}
