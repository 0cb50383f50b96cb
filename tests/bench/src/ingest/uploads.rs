//! What uploading and sharing cost each process, by the size of a record: average memory, and
//! average processor time.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use anyhow::{Result, ensure};
use contract_interface::Purpose;
use salus_tests::{process::Process, story};
use tokio::time::{MissedTickBehavior, interval};

use super::{
    load::{self, Content, Load, Pace},
    stage::Stage,
    usage,
};

/// Bytes of a record.
const SIZES: [usize; 6] = [1 << 10, 1 << 14, 1 << 17, 1 << 19, 1 << 20, 1 << 22];
/// Time between two looks at the memory.
const LOOK: Duration = Duration::from_millis(20);

/// A series of a figure: a process, and its value for each of [`SIZES`].
pub(super) type Series = BTreeMap<String, Vec<f64>>;

/// The figures.
#[derive(Default)]
pub(super) struct Figures {
    /// Average resident memory, MiB.
    pub(super) memory: Series,
    /// Processor time for a record, milliseconds.
    pub(super) processor: Series,
}

/// What was measured of uploading and of sharing.
#[derive(Default)]
pub(super) struct Measured {
    pub(super) uploading: Figures,
    pub(super) sharing: Figures,
}

impl Measured {
    /// The sizes that were measured, KiB.
    pub(super) fn sizes() -> Vec<f64> {
        SIZES.iter().map(|size| *size as f64 / 1024.0).collect()
    }

    /// The tables.
    pub(super) fn tables(&self, count: usize) -> Result<String> {
        let mut text = String::new();
        for (what, figures) in [("Uploading", &self.uploading), ("Sharing", &self.sharing)] {
            for (of, unit, series) in [
                ("average memory", "MiB", &figures.memory),
                (
                    "average processor time",
                    "ms for a record",
                    &figures.processor,
                ),
            ] {
                write!(text, "{what} {count} records, {of}, {unit}:\n\n| process |")?;
                for size in SIZES {
                    write!(text, " {} KiB |", size >> 10)?;
                }
                writeln!(text, "\n|{}", "---|".repeat(SIZES.len() + 1))?;
                for (process, values) in series {
                    write!(text, "| {process} |")?;
                    for value in values {
                        write!(text, " {value:.1} |")?;
                    }
                    text.push('\n');
                }
                text.push('\n');
            }
        }
        Ok(text)
    }
}

/// Uploads `count` records of each size over MQTT until they are on the ledger, then lets a
/// provider read them.
pub(super) async fn measure(stage: &Stage, count: usize, next_seq: u64) -> Result<Measured> {
    let give = ["grants", "give", "--to"];
    let grantee = format!("participant:{}", stage.cast.provider_id);
    let args = [&give[..], &[&grantee, "--purpose", "TREAT"]].concat();
    story::salus(&stage.system, &stage.cast.patients[0].person, &args).await?;
    let provider = story::client(&stage.cast.provider)?;
    let patient = stage.cast.patients[0].clone();
    let mut known = stage.records(&patient).await?;
    let mut measured = Measured::default();
    let mut next_seq = next_seq;
    for size in SIZES {
        let load = Load {
            address: stage.mqtt().to_owned(),
            connections: 1,
            size,
            lasts: Duration::ZERO,
            pace: Pace::Full,
            content: Content::Bytes { messages: count },
        };
        let work = async {
            next_seq = load::play(&load, stage.devices(), next_seq).await?.next_seq;
            stage.until_idle().await
        };
        watch(stage, count, &mut measured.uploading, work).await?;
        let all = stage.records(&patient).await?;
        let new: Vec<_> = all.difference(&known).copied().collect();
        ensure!(
            new.len() == count,
            "{} records instead of {count}",
            new.len()
        );
        let work = async {
            for record in &new {
                let mut sealed = provider.request_content(record, Purpose::Treat).await?;
                let key = provider.key_for(&sealed.wrapped_key)?;
                let mut opened = Vec::new();
                sealed.open_into(key, &mut opened).await?;
                ensure!(opened.len() == size, "{} bytes came back", opened.len());
            }
            Ok(())
        };
        watch(stage, count, &mut measured.sharing, work).await?;
        known = all;
    }
    Ok(measured)
}

/// Does the work, and looks at every process meanwhile.
async fn watch(
    stage: &Stage,
    count: usize,
    figures: &mut Figures,
    work: impl Future<Output = Result<()>>,
) -> Result<()> {
    let processes = stage.processes();
    let processor = |process: &&Process| usage::processor_seconds(process);
    let before: Vec<f64> = processes.iter().map(processor).collect();
    let mut sums = vec![0.0; processes.len()];
    let mut looks = 0.0_f64;
    let mut clock = interval(LOOK);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => break done?,
            _ = clock.tick() => {
                looks += 1.0;
                for (sum, process) in sums.iter_mut().zip(&processes) {
                    *sum += process.resident_bytes().unwrap_or(0) as f64;
                }
            }
        }
    }
    for (index, process) in processes.iter().enumerate() {
        let name = process.name().to_owned();
        let memory = sums[index] / looks.max(1.0) / f64::from(1 << 20);
        let seconds = usage::processor_seconds(process) - before[index];
        figures.memory.entry(name.clone()).or_default().push(memory);
        let millis = seconds * 1e3 / count as f64;
        figures.processor.entry(name).or_default().push(millis);
    }
    Ok(())
}
