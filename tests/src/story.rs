//! The main job, played through the programs and interfaces that people and devices use: publish
//! over MQTT, be refused, grant, read over REST, audit.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use contract_interface::{
    Decision, PageRequest, ParticipantId, Pseudonym, Purpose, ReadFilter, Record, RecordFilter,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use salus::{Client, OpenedRecord, Profile};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    binaries,
    consortium::{Device, Person},
    ledger::Ledger,
    process::{Spec, run},
    readings::PatientReadings,
    system::{CHAINCODE, System},
};

/// Reads on their way at once.
const READS_AT_ONCE: usize = 8;
/// Devices are bound from here on, so that readings of any date are theirs.
const BOUND_FROM: &str = "1900-01-01T00:00:00Z";

/// What a run came to: the line that `--once` ends with.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Outcome {
    /// Readings published and acknowledged.
    pub readings: usize,
    /// Records that hold them.
    pub records: usize,
    /// Reads denied, each with a committed transaction.
    pub denied: usize,
    /// Readings that came back byte for byte.
    pub opened: usize,
    /// Reads and denials that the patients see.
    pub reads_audited: usize,
    /// Seconds of each stage.
    pub seconds: BTreeMap<&'static str, f64>,
    /// Resident memory of each process at the end, bytes.
    pub resident_bytes: BTreeMap<String, u64>,
}

/// A patient who has been enrolled, with a device.
#[derive(Debug, Clone)]
pub struct Patient {
    /// The patient's certificate, keys and profile.
    pub person: Person,
    /// The patient's pseudonym on the ledger.
    pub pseudonym: Pseudonym,
    /// The device that measures the patient.
    pub device: Device,
}

/// Who takes part, enrolled.
#[derive(Debug, Clone)]
pub struct Cast {
    /// An administrator of the oracle's organisation.
    pub administrator: Person,
    /// A provider of the other organisation.
    pub provider: Person,
    /// The provider's ID on the ledger.
    pub provider_id: ParticipantId,
    /// The patients, one for each in the input.
    pub patients: Vec<Patient>,
}

/// Receives each step's account: a short title and lines that prove it.
pub trait Report {
    /// One step is done.
    fn step(&mut self, title: &str, lines: &[String]);
}

/// Plays the whole story on a running system.
///
/// # Errors
/// At the first step that does not come out as it must.
pub async fn play(
    system: &mut System,
    input: &[PatientReadings],
    report: &mut dyn Report,
) -> Result<(Outcome, Cast)> {
    ensure!(!input.is_empty(), "there is nothing to publish");
    let mut outcome = Outcome::default();
    let mut clock = Clock(Instant::now());

    let cast = enrol(system, input.len()).await?;
    outcome.seconds.insert("enrol", clock.lap());
    report.step(
        &format!(
            "enrolled {} patients with a device each, and a provider",
            input.len()
        ),
        &[
            format!("provider {} of {}", cast.provider_id, cast.provider.msp_id),
            format!(
                "first patient {}, device {}",
                cast.patients[0].pseudonym, cast.patients[0].device.id
            ),
        ],
    );

    let receipts = publish(system, &cast, input).await?;
    outcome.readings = receipts.acknowledged;
    outcome.records = receipts.records.len();
    outcome.seconds.insert("publish", clock.lap());
    report.step(
        &format!(
            "published {} readings, {} records committed",
            outcome.readings, outcome.records
        ),
        &receipts.first,
    );

    let refusal = refuse(system, &cast).await?;
    outcome.denied = 1;
    outcome.seconds.insert("deny", clock.lap());
    report.step("the provider, without a grant, was refused", &refusal);

    let grants = grant(system, &cast).await?;
    outcome.seconds.insert("grant", clock.lap());
    report.step("the patients granted the provider access", &grants);

    let opened = read_all(&cast, input).await?;
    outcome.opened = opened.readings;
    outcome.seconds.insert("read", clock.lap());
    report.step(
        &format!(
            "the provider read {} readings back, byte for byte",
            outcome.opened
        ),
        &[
            format!(
                "{} records opened with the provider's own key",
                opened.records
            ),
            opened.first,
        ],
    );

    let audit = audit(&cast).await?;
    outcome.reads_audited = audit.reads;
    outcome.seconds.insert("audit", clock.lap());
    report.step("the patients see who read what", &audit.lines);

    ensure!(
        outcome.opened == outcome.readings,
        "not every reading came back"
    );
    ensure!(
        audit.permitted >= opened.records && audit.denied >= outcome.denied,
        "a read is missing from the audit"
    );
    for process in system.processes() {
        let bytes = process.resident_bytes().unwrap_or_default();
        outcome
            .resident_bytes
            .insert(process.name().to_owned(), bytes);
    }
    Ok((outcome, cast))
}

/// Issues certificates and registers everyone: the provider by the other organisation's
/// administrator directly, the rest through the oracle's REST API.
///
/// # Errors
/// When a registration is refused.
pub async fn enrol(system: &System, patients: usize) -> Result<Cast> {
    let consortium = &system.consortium;
    let administrator = consortium.enrol("records-admin", 0, &[("salus.role", "admin")])?;
    let provider = consortium.enrol("dr-house", 1, &[("salus.role", "provider")])?;
    let ledger = Ledger::connect(system.network.info(), 1)?;
    let known = consortium
        .known_id(&provider)
        .and_then(|id| id.parse().ok());
    let provider_id = ledger.register_provider(&provider, known).await?;
    consortium.keep_id(&provider, &provider_id.to_string())?;
    // Key pairs are made at once: each takes a noticeable fraction of a second.
    let people: Vec<(Person, Device)> = stream::iter(1..=patients)
        .map(|number| {
            let consortium = consortium.clone();
            tokio::task::spawn_blocking(move || {
                let role = [("salus.role", "patient")];
                let person = consortium.enrol(&format!("patient-{number}"), 0, &role)?;
                let device = consortium.device(&format!("monitor-{number}"))?;
                anyhow::Ok((person, device))
            })
        })
        .buffered(2)
        .map(|joined| joined?)
        .try_collect()
        .await?;
    let patients = stream::iter(people)
        .map(|(person, device)| enrol_patient(system, &administrator, person, device))
        .buffered(READS_AT_ONCE)
        .try_collect()
        .await?;
    Ok(Cast {
        administrator,
        provider,
        provider_id,
        patients,
    })
}

async fn enrol_patient(
    system: &System,
    administrator: &Person,
    person: Person,
    device: Device,
) -> Result<Patient> {
    let mut add = salus(system, administrator)?
        .arg("participants")
        .arg("add")
        .option("--role", "patient")
        .option("--certificate", person.certificate_file()?)
        .option("--encryption-key", person.public_key_file());
    if let Some(id) = system.consortium.known_id(&person) {
        add = add.option("--id", id);
    }
    let added = run_json(add).await?;
    let pseudonym = text(&added, "participant_id")?;
    system.consortium.keep_id(&person, &pseudonym)?;
    let bind = salus(system, administrator)?
        .arg("devices")
        .arg("add")
        .option("--device", &device.id)
        .option("--certificate", device.file("client.crt"))
        .option("--patient", &pseudonym)
        .option("--from", BOUND_FROM);
    run_json(bind).await?;
    Ok(Patient {
        pseudonym: pseudonym.parse()?,
        person,
        device,
    })
}

/// What publishing came to.
#[derive(Debug, Default)]
pub struct Receipts {
    /// Readings acknowledged.
    pub acknowledged: usize,
    /// IDs of the records that hold them.
    pub records: BTreeSet<String>,
    first: Vec<String>,
}

/// Publishes each patient's readings from the patient's device, all devices at once, and waits
/// for the receipts.
///
/// # Errors
/// When a reading is refused or gets no receipt.
pub async fn publish(system: &System, cast: &Cast, input: &[PatientReadings]) -> Result<Receipts> {
    let folder = system.dir.join("input");
    std::fs::create_dir_all(&folder)?;
    let publishing = cast.patients.iter().zip(input).map(|(patient, readings)| {
        let file = folder.join(format!("{}.ndjson", patient.device.id));
        async move {
            std::fs::write(&file, readings.observations.join("\n"))?;
            publish_file(system, &patient.device, &file, WaitFor::Receipts).await
        }
    });
    let answers: Vec<Value> = stream::iter(publishing)
        .buffered(READS_AT_ONCE)
        .try_collect()
        .await?;
    let mut receipts = Receipts::default();
    for answer in &answers {
        receipts.acknowledged += answer["acknowledged"]
            .as_u64()
            .and_then(|n| usize::try_from(n).ok())
            .context("salus counted no acknowledgements")?;
        for record in answer["records"].as_array().into_iter().flatten() {
            receipts.records.insert(text(record, "record_id")?);
        }
    }
    if let Some(record) = answers.first().and_then(|answer| answer["records"].get(0)) {
        receipts.first = vec![format!(
            "first record {}, transaction {} in block {}",
            text(record, "record_id")?,
            text(record, "transaction_id")?,
            record["block_number"]
        )];
    }
    Ok(receipts)
}

/// How long publishing waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitFor {
    /// Until all readings are acknowledged.
    Acknowledgements,
    /// Until all readings are on the ledger.
    Receipts,
}

/// Publishes a file's lines from a device with `salus device publish`.
///
/// # Errors
/// When a reading is refused or gets no receipt.
pub async fn publish_file(
    system: &System,
    device: &Device,
    file: &Path,
    wait_for: WaitFor,
) -> Result<Value> {
    let spec = Spec::new(
        &format!("publish-{}", device.id),
        &binaries::ours("salus")?,
        &system.dir,
    )
    .arg("--json")
    .arg("device")
    .arg("publish")
    .option("--device", &device.id)
    .option("--broker", format!("mqtts://{}", system.mqtt_address()))
    .option("--ca-file", system.consortium.oracle_ca_file())
    .option("--certificate", device.file("client.crt"))
    .option("--key", device.file("client.key"))
    .option("--file", file);
    run_json(match wait_for {
        WaitFor::Receipts => spec.arg("--wait-receipts"),
        WaitFor::Acknowledgements => spec,
    })
    .await
}

/// The provider asks for the first patient's first record and must be refused; the refusal must
/// be a valid transaction on the ledger.
async fn refuse(system: &System, cast: &Cast) -> Result<Vec<String>> {
    let patient = &cast.patients[0];
    let records = records_of(&client(&patient.person)?, patient.pseudonym).await?;
    let record = records.first().context("the patient has no record")?;
    let record_id = record.metadata.record_id;
    let error = match client(&cast.provider)?
        .read(&record_id, Purpose::Treat)
        .await
    {
        Ok(_) => bail!("the provider read record {record_id} without a grant"),
        Err(error) => error,
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

async fn grant(system: &System, cast: &Cast) -> Result<Vec<String>> {
    let giving = cast.patients.iter().map(|patient| async {
        let give = salus(system, &patient.person)?
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

struct Opened {
    records: usize,
    readings: usize,
    first: String,
}

/// The provider reads everything of every patient; each published reading must be there once.
async fn read_all(cast: &Cast, input: &[PatientReadings]) -> Result<Opened> {
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

struct Audit {
    reads: usize,
    permitted: usize,
    denied: usize,
    lines: Vec<String>,
}

async fn audit(cast: &Cast) -> Result<Audit> {
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

fn salus(system: &System, person: &Person) -> Result<Spec> {
    Ok(Spec::new(
        &format!("salus-{}", person.name),
        &binaries::ours("salus")?,
        &system.dir,
    )
    .option("--profile", &person.profile)
    .arg("--json"))
}

async fn run_json(spec: Spec) -> Result<Value> {
    let output = run(spec).await?;
    serde_json::from_str(output.trim()).with_context(|| format!("salus printed: {output}"))
}

fn text(value: &Value, member: &str) -> Result<String> {
    Ok(value[member]
        .as_str()
        .with_context(|| format!("no {member} in {value}"))?
        .to_owned())
}

/// Times stages one after the other.
struct Clock(Instant);

impl Clock {
    /// Seconds since the last call, in milliseconds' precision.
    fn lap(&mut self) -> f64 {
        let seconds = self.0.elapsed().as_secs_f64();
        self.0 = Instant::now();
        (seconds * 1000.0).round() / 1000.0
    }
}

/// What someone needs to publish and query by hand.
#[must_use]
pub fn by_hand(system: &System, cast: &Cast) -> Vec<String> {
    let patient = &cast.patients[0];
    let home = |path: PathBuf| path.display().to_string();
    let (host, port) = system.mqtt_address().rsplit_once(':').unwrap_or_default();
    let signcert = cast
        .provider
        .certificate_file()
        .map(home)
        .unwrap_or_default();
    let observation = json!({
        "resourceType": "Observation",
        "status": "final",
        "code": { "coding": [{ "system": "http://loinc.org", "code": "8867-4" }] },
        "effectiveDateTime": "2026-01-01T12:00:00Z",
        "valueQuantity": {
            "value": 72, "unit": "/min", "system": "http://unitsofmeasure.org", "code": "/min",
        },
    });
    vec![
        format!(
            "mosquitto_pub -h localhost -p {port} -V 5 -q 1 -i {id} --cafile {ca} --cert {cert} --key {key} \
             -t v1/devices/{id}/observations -m '{observation}'",
            id = patient.device.id,
            ca = home(system.consortium.oracle_ca_file()),
            cert = home(patient.device.file("client.crt")),
            key = home(patient.device.file("client.key")),
        ),
        format!(
            "curl --cacert {ca} --cert {signcert} --key {key} 'https://localhost:{rest}/v1/records?patient={patient}'",
            ca = home(system.consortium.oracle_ca_file()),
            key = home(cast.provider.home.join("msp/keystore/priv_sk")),
            rest = system.rest_address().rsplit(':').next().unwrap_or_default(),
            patient = patient.pseudonym,
        ),
        format!(
            "{} --profile {} records read --patient {} --purpose TREAT",
            binaries::ours("salus").map(home).unwrap_or_default(),
            home(cast.provider.profile.clone()),
            patient.pseudonym,
        ),
        format!(
            "chaincode {CHAINCODE} on channel {}, broker {host}:{port}",
            system.network.info().channel
        ),
    ]
}
