//! Taking readings in: how many a second until they are durable and until they are on the ledger,
//! beside mosquitto; and what uploading costs each process by the size of a record.
//!
//! The same client talks MQTT 5 at QoS 1 without TLS to both brokers, so that neither pays for a
//! handshake or a cipher. Mosquitto keeps its data on the same disk but acknowledges what is only
//! in memory, and nobody subscribes, which is as fast as it gets. The oracle acknowledges what it
//! has encrypted and fsynced, and then seals, stores and registers it on the embedded network, on
//! the same processors. Peers, orderer and contracts, whose place is on other machines, have a lower
//! priority (nice 10), as the oracle's own later steps have.

mod load;
mod mosquitto;
mod packets;
mod plot;
mod stage;
mod uploads;
mod usage;

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Result, ensure};
use clap::Args;

use self::{
    load::{Content, Load, Outcome, Pace},
    mosquitto::Mosquitto,
    stage::Stage,
    uploads::Measured,
};
use crate::stopwatch::median;

/// Messages a second of the steady load: half of what is asked of an oracle.
const STEADY_RATE: f64 = 10_000.0;

/// How to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Folder on the disk that is to be measured; the system's folder for temporary files if absent.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Bytes of a reading.
    #[arg(long, value_delimiter = ',', default_values_t = [128, 1_000, 65_536])]
    sizes: Vec<usize>,
    /// Devices that publish at once.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 100, 5_000])]
    connections: Vec<usize>,
    /// Seconds of load in each measurement.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Rounds, each of which measures both brokers; the tables have the medians.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Minutes of full load after which the oracle's memory is looked at once more; 0 for none.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Uploads of each size for the figures of memory and processor time; 0 for none.
    #[arg(long, default_value_t = 20)]
    uploads: usize,
}

/// Measures and writes the tables; the plots go beside the report.
pub(crate) fn run(options: &Options, figures: Option<&Path>) -> Result<String> {
    ensure!(options.rounds > 0, "at least one round");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(measure(options, figures))
}

async fn measure(options: &Options, figures: Option<&Path>) -> Result<String> {
    usage::allow_many_files()?;
    let folder = match &options.dir {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    let mut report = String::from("# Taking readings in\n\n");
    let compared = Mosquitto::is_here();
    if !compared {
        report.push_str("`mosquitto` is not installed: nothing to compare with.\n\n");
    }
    let devices = options.connections.iter().copied().max().unwrap_or(1);
    let mut stage = Stage::set(&folder.path().join("salus"), devices).await?;
    let mut bench = Bench {
        options,
        mosquitto: match compared {
            true => Some(Mosquitto::start(&folder.path().join("mosquitto")).await?),
            false => None,
        },
        first_seq: 0,
    };
    report.push_str(
        "Half load is half of what each took at full load; the steady load is 10,000 readings a second, or half load \
         if that is less. Milliseconds are from when a message was due to its acknowledgement. Peers, orderer and \
         contracts have a lower priority than the oracle (nice 10).\n\n\
         | devices | reading | durable/s | mosquitto/s | ratio | p50 ms | p99 ms | p50, p99 ms at half load | \
         mosquitto's | p50, p99 ms at the steady load | oracle µs/reading | mosquitto µs/reading | committed/s | \
         oracle MiB |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    let idle = bench.idle(&stage, devices).await?;
    for &connections in &options.connections {
        for &size in &options.sizes {
            report.push_str(&bench.row(&mut stage, connections, size).await?);
        }
    }
    report.push('\n');
    report.push_str(&idle);
    if options.minutes > 0 {
        report.push_str(&bench.steady(&mut stage).await?);
    }
    if let Some(mosquitto) = bench.mosquitto.take() {
        mosquitto.stop().await?;
    }
    if options.uploads > 0 {
        let measured = uploads::measure(&stage, options.uploads, bench.first_seq).await?;
        report.push_str(&measured.tables(options.uploads)?);
        if let Some(folder) = figures {
            draw(folder, &measured)?;
        }
    }
    stage.strike().await?;
    Ok(report)
}

/// Writes `uploading-memory.svg` and the like into a folder.
fn draw(folder: &Path, measured: &Measured) -> Result<()> {
    fs::create_dir_all(folder)?;
    for (what, figures) in [
        ("uploading", &measured.uploading),
        ("sharing", &measured.sharing),
    ] {
        for (of, unit, series) in [
            ("memory", "MiB", &figures.memory),
            ("processor time", "ms a record", &figures.processor),
        ] {
            let title = format!("Average {of} of {what}");
            let svg = plot::draw(&title, unit, &Measured::sizes(), series)?;
            let name = format!("{what}-{}.svg", of.replace(' ', "-"));
            fs::write(folder.join(name), svg)?;
        }
    }
    Ok(())
}

struct Bench<'a> {
    options: &'a Options,
    mosquitto: Option<Mosquitto>,
    /// Sequence numbers from here on have not been used.
    first_seq: u64,
}

/// Milliseconds at half load, one entry a round.
#[derive(Default)]
struct Half {
    p50: Vec<f64>,
    p99: Vec<f64>,
}

impl Half {
    fn push(&mut self, outcome: &Outcome) {
        self.p50.push(outcome.millis(0.5));
        self.p99.push(outcome.millis(0.99));
    }

    fn shown(&self) -> String {
        format!("{:.1}, {:.1}", median(&self.p50), median(&self.p99))
    }
}

/// What one cell of the table came to, one entry a round.
#[derive(Default)]
struct Cell {
    durable: Vec<f64>,
    theirs: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    half: Half,
    their_half: Half,
    steady: Half,
    micros: Vec<f64>,
    their_micros: Vec<f64>,
    committed: Vec<f64>,
}

impl Bench<'_> {
    async fn row(&mut self, stage: &mut Stage, connections: usize, size: usize) -> Result<String> {
        let mut cell = Cell::default();
        for _ in 0..self.options.rounds {
            self.round(stage, connections, size, &mut cell).await?;
        }
        let compared = self.mosquitto.is_some();
        let shown = |value: f64, decimals: usize| match compared {
            true => format!("{value:.decimals$}"),
            false => "–".to_owned(),
        };
        let (durable, theirs) = (median(&cell.durable), median(&cell.theirs));
        let mut row = String::new();
        writeln!(
            row,
            "| {connections} | {size} B | {durable:.0} | {} | {} | {:.1} | {:.1} | {} | {} | {} | {:.0} | {} | {:.0} | {:.0} |",
            shown(theirs, 0),
            shown(durable / theirs, 2),
            median(&cell.p50),
            median(&cell.p99),
            cell.half.shown(),
            match compared {
                true => cell.their_half.shown(),
                false => "–".to_owned(),
            },
            cell.steady.shown(),
            median(&cell.micros),
            shown(median(&cell.their_micros), 0),
            median(&cell.committed),
            stage.oracle_resident() as f64 / f64::from(1 << 20),
        )?;
        Ok(row)
    }

    async fn round(
        &mut self,
        stage: &mut Stage,
        connections: usize,
        size: usize,
        cell: &mut Cell,
    ) -> Result<()> {
        if let Some(mosquitto) = &self.mosquitto {
            let load = load(self.options, mosquitto.address(), connections, size);
            let before = mosquitto.processor_seconds();
            let outcome = load::play(&load, stage.devices(), self.first_seq).await?;
            let used = mosquitto.processor_seconds() - before;
            cell.theirs.push(outcome.per_second());
            cell.their_micros.push(outcome.micros_each(used));
            let halved = paced(&load, outcome.per_second() / 2.0);
            let outcome = load::play(&halved, stage.devices(), outcome.next_seq).await?;
            self.first_seq = outcome.next_seq;
            cell.their_half.push(&outcome);
        }
        let load = load(self.options, stage.mqtt(), connections, size);
        let (processor, registered) = (stage.oracle_processor(), stage.registered().await?);
        let outcome = self.play(&load, stage).await?;
        let began = outcome.began;
        stage.until_idle().await?;
        let committed = stage.registered().await? - registered;
        cell.committed
            .push(committed / began.elapsed().as_secs_f64());
        // What the oracle used until everything was on the ledger.
        let used = stage.oracle_processor() - processor;
        cell.durable.push(outcome.per_second());
        cell.p50.push(outcome.millis(0.5));
        cell.p99.push(outcome.millis(0.99));
        cell.micros.push(outcome.micros_each(used));
        let half = outcome.per_second() / 2.0;
        for (rate, latencies) in [
            (half, &mut cell.half),
            (half.min(STEADY_RATE), &mut cell.steady),
        ] {
            latencies.push(&self.play(&paced(&load, rate), stage).await?);
            stage.until_idle().await?;
        }
        Ok(())
    }

    /// What connections take that say nothing: all of the oracle's memory that was not there before them.
    async fn idle(&self, stage: &Stage, connections: usize) -> Result<String> {
        const SETTLED: Duration = Duration::from_secs(2);
        let load = load(self.options, stage.mqtt(), connections, 128);
        let before = stage.oracle_resident();
        let connected = load::connect(&load, stage.devices()).await?;
        tokio::time::sleep(SETTLED).await;
        let more = stage.oracle_resident().saturating_sub(before);
        drop(connected);
        tokio::time::sleep(SETTLED).await;
        Ok(format!(
            "{connections} idle connections without TLS: {:.1} kB each of the oracle's memory.\n\n",
            more as f64 / 1e3 / connections as f64
        ))
    }

    async fn play(&mut self, load: &Load, stage: &Stage) -> Result<Outcome> {
        let outcome = load::play(load, stage.devices(), self.first_seq).await?;
        self.first_seq = outcome.next_seq;
        Ok(outcome)
    }

    /// Full load for minutes: memory must stay where it is.
    async fn steady(&mut self, stage: &mut Stage) -> Result<String> {
        const CONNECTIONS: usize = 100;
        const SIZE: usize = 128;
        let mut text = String::from(
            "Full load of 100 devices with 128 B readings:\n\n\
             | minute | durable/s | oracle MiB | journal MiB |\n|---|---|---|---|\n",
        );
        for minute in 1..=self.options.minutes {
            let load = Load {
                lasts: Duration::from_secs(60),
                ..load(self.options, stage.mqtt(), CONNECTIONS, SIZE)
            };
            let outcome = self.play(&load, stage).await?;
            writeln!(
                text,
                "| {minute} | {:.0} | {:.0} | {:.0} |",
                outcome.per_second(),
                stage.oracle_resident() as f64 / f64::from(1 << 20),
                stage.metric("salus_journal_bytes").await? / f64::from(1 << 20),
            )?;
        }
        text.push('\n');
        stage.until_idle().await?;
        Ok(text)
    }
}

/// The same at so many messages a second.
fn paced(load: &Load, rate: f64) -> Load {
    Load {
        pace: Pace::PerSecond(rate),
        ..load.clone()
    }
}

fn load(options: &Options, address: &str, connections: usize, size: usize) -> Load {
    Load {
        address: address.to_owned(),
        connections,
        size,
        lasts: Duration::from_secs(options.seconds),
        pace: Pace::Full,
        content: Content::Readings,
    }
}
