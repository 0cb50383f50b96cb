//! The main job, played through the programs and interfaces that people and devices use: publish
//! over MQTT, be refused, grant, read over REST; ask, answer, break the glass, amend, erase; audit.

mod access;
mod by_hand;
mod cast;
mod command;
mod consent;
mod publishing;
mod staff;

use std::{collections::BTreeMap, time::Instant};

use anyhow::{Result, ensure};
use serde::Serialize;

pub use access::{check_all_there, client, read_patient, records_of};
pub use by_hand::by_hand;
pub use cast::{Cast, Patient, enrol};
pub use command::{salus, salus_list};
pub use consent::CONFIDED;
pub use publishing::{Receipts, WaitFor, publish, publish_file, publish_file_at};
pub use staff::{Staff, enrol_staff, register};

use crate::{readings::PatientReadings, system::System};

/// Reads on their way at once.
const READS_AT_ONCE: usize = 8;

/// What a run came to: the line that `--once` ends with.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Outcome {
    /// Readings published and acknowledged.
    pub readings: usize,
    /// Records that hold them.
    pub records: usize,
    /// Reads denied, each with a committed transaction.
    pub denied: usize,
    /// Reads permitted, each with a committed transaction.
    pub permitted: usize,
    /// Readings that came back byte for byte.
    pub opened: usize,
    /// Reads and denials that the patients see.
    pub reads_audited: usize,
    /// Seconds of each stage.
    pub seconds: BTreeMap<&'static str, f64>,
    /// Resident memory of each process at the end, bytes.
    pub resident_bytes: BTreeMap<String, u64>,
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
    let staff = enrol_staff(system, &cast).await?;
    outcome.seconds.insert("enrol", clock.lap());
    report.step(
        &format!(
            "enrolled {} patients with a device each, and staff",
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
    share(system, &cast, input, report, &mut outcome, &mut clock).await?;
    consent(system, &cast, &staff, report, &mut outcome, &mut clock).await?;

    let audit = access::audit(&cast).await?;
    outcome.reads_audited = audit.reads;
    outcome.seconds.insert("audit", clock.lap());
    report.step("the patients see who read what", &audit.lines);
    ensure!(
        outcome.opened == outcome.readings,
        "not every reading came back"
    );
    ensure!(
        audit.permitted >= outcome.permitted && audit.denied >= outcome.denied,
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

/// Publish, be refused, grant, read.
async fn share(
    system: &System,
    cast: &Cast,
    input: &[PatientReadings],
    report: &mut dyn Report,
    outcome: &mut Outcome,
    clock: &mut Clock,
) -> Result<()> {
    let receipts = publish(system, cast, input).await?;
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

    let refusal = access::refuse(system, cast).await?;
    outcome.denied += 1;
    outcome.seconds.insert("deny", clock.lap());
    report.step("the provider, without a grant, was refused", &refusal);

    let grants = access::grant(system, cast).await?;
    outcome.seconds.insert("grant", clock.lap());
    report.step("the patients granted the provider access", &grants);

    let opened = access::read_all(cast, input).await?;
    outcome.opened = opened.readings;
    outcome.permitted += opened.records;
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
    Ok(())
}

/// Ask and answer, break the glass, amend, verify, erase.
async fn consent(
    system: &System,
    cast: &Cast,
    staff: &Staff,
    report: &mut dyn Report,
    outcome: &mut Outcome,
    clock: &mut Clock,
) -> Result<()> {
    let lines = consent::ask_and_answer(system, cast).await?;
    outcome.permitted += 1;
    outcome.denied += 1;
    outcome.seconds.insert("request", clock.lap());
    report.step(
        "the provider asked for a study, was granted one read, and denied a second",
        &lines,
    );

    let lines = consent::emergency(system, cast, staff).await?;
    outcome.permitted += 1;
    outcome.seconds.insert("emergency", clock.lap());
    report.step("a doctor broke the glass, and it was reviewed", &lines);

    let (original, lines) = consent::amend(system, cast).await?;
    outcome.seconds.insert("amend", clock.lap());
    report.step("the patient handed in a letter and amended it", &lines);

    let lines = consent::verify(system, cast).await?;
    outcome.permitted += 1;
    outcome.seconds.insert("verify", clock.lap());
    report.step("the patient verified a record against the blocks", &lines);

    let lines = consent::erase(system, cast, &original).await?;
    outcome.seconds.insert("erase", clock.lap());
    report.step("the patient had the first letter erased", &lines);
    Ok(())
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
