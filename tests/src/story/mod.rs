//! The main job, played through the programs and interfaces that people and devices use: publish
//! over MQTT, be refused, grant, read over REST, audit.

mod access;
mod by_hand;
mod cast;
mod command;
mod publishing;

use std::{collections::BTreeMap, time::Instant};

use anyhow::{Result, ensure};
use serde::Serialize;

pub use access::{check_all_there, client, read_patient, records_of};
pub use by_hand::by_hand;
pub use cast::{Cast, Patient, enrol};
pub use publishing::{Receipts, WaitFor, publish, publish_file};

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

    let refusal = access::refuse(system, &cast).await?;
    outcome.denied = 1;
    outcome.seconds.insert("deny", clock.lap());
    report.step("the provider, without a grant, was refused", &refusal);

    let grants = access::grant(system, &cast).await?;
    outcome.seconds.insert("grant", clock.lap());
    report.step("the patients granted the provider access", &grants);

    let opened = access::read_all(&cast, input).await?;
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

    let audit = access::audit(&cast).await?;
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
