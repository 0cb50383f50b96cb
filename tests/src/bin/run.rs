//! Behind `scripts/run`: starts a network, a store and an oracle, plays the main job on them, and
//! keeps them serving.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use clap::Parser;
use salus_tests::{
    ipfs, network,
    readings::{self, PatientReadings},
    story::{self, Outcome, Report},
    system::{Platform, Setup, System},
};

/// Patients and readings of each when no file is given.
const PATIENTS: usize = 3;
const READINGS_EACH: usize = 40;

/// Starts Salus on this machine and plays its main job: devices publish readings, a provider is
/// refused, the patients grant access, the provider reads; then a study asks and is answered, the
/// glass is broken and reviewed, a record is amended and one erased; the patients see who read.
#[derive(Debug, Parser)]
#[command(name = "scripts/run")]
struct Args {
    /// End after the job, with one JSON line; exit status 0 only if every reading came back byte
    /// for byte. Without it, keep serving until Ctrl-C.
    #[arg(long)]
    once: bool,
    /// FHIR Observations, one a line; one device for each patient. Generated if left out.
    #[arg(long, value_name = "FILE.ndjson")]
    input: Option<PathBuf>,
    /// The embedded network, or real Fabric from PATH or SALUS_FABRIC_BIN.
    #[arg(long, value_enum, default_value = "devnet")]
    network: network::Kind,
    /// The embedded store, or real Kubo from PATH or SALUS_FABRIC_BIN.
    #[arg(long, value_enum, default_value = "devnode")]
    ipfs: ipfs::Kind,
    /// Where everything is kept, for another run to take up; a temporary folder if left out.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do when standard error itself is closed.
            let _ = writeln!(io::stderr(), "scripts/run: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<()> {
    let platform = Platform {
        network: args.network,
        ipfs: args.ipfs,
    };
    platform.check()?;
    let setup = Setup {
        second_oracle: true,
        ..Setup::of(platform)
    };
    let input = input(args)?;
    let temporary = match &args.dir {
        Some(_) => None,
        None => Some(tempfile::Builder::new().prefix("salus-").tempdir()?),
    };
    let dir = match (&args.dir, &temporary) {
        (Some(dir), _) => dir.as_path(),
        (None, Some(temporary)) => temporary.path(),
        (None, None) => unreachable!("one of the two is there"),
    };
    let mut screen = Screen { steps: 0 };
    let started = Instant::now();
    let mut system = tokio::select! {
        started = System::start_with(&setup, dir) => started?,
        interrupted = tokio::signal::ctrl_c() => return Ok(interrupted?),
    };
    let start_seconds = started.elapsed().as_secs_f64();
    screen.step("started", &describe(&system, start_seconds));
    let outcome = tokio::select! {
        outcome = story::play(&mut system, &input, &mut screen) => outcome,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            return system.stop().await;
        }
    };
    let result = match outcome {
        Ok((mut outcome, cast)) => {
            outcome
                .seconds
                .insert("start", (start_seconds * 1000.0).round() / 1000.0);
            finish(args, &system, &cast, &outcome, &mut screen).await
        }
        Err(error) => Err(error),
    };
    let stopped = system.stop().await;
    result.and(stopped)
}

async fn finish(
    args: &Args,
    system: &System,
    cast: &story::Cast,
    outcome: &Outcome,
    screen: &mut Screen,
) -> Result<()> {
    if args.once {
        writeln!(io::stdout(), "{}", serde_json::to_string(outcome)?)?;
        return Ok(());
    }
    screen.step(
        "serving until Ctrl-C; by hand:",
        &story::by_hand(system, cast),
    );
    tokio::signal::ctrl_c().await?;
    Ok(())
}

fn input(args: &Args) -> Result<Vec<PatientReadings>> {
    if let Some(file) = &args.input {
        return readings::from_file(file);
    }
    // A folder taken up again gets new readings, not ones that are there already.
    let seed = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    Ok(readings::generate(PATIENTS, READINGS_EACH, seed))
}

fn describe(system: &System, seconds: f64) -> Vec<String> {
    let info = system.network.info();
    let peers: Vec<String> = info
        .organizations
        .iter()
        .map(|organization| format!("{} {}", organization.msp_id, organization.peer.address))
        .collect();
    vec![
        format!(
            "channel {} with {}, orderer {}",
            info.channel,
            peers.join(", "),
            info.orderer.address
        ),
        format!("IPFS {}", system.ipfs.api),
        format!(
            "oracle https://{} and mqtts://{}",
            system.rest_address(),
            system.mqtt_address()
        ),
        format!("data and logs in {}, {seconds:.1} s", system.dir.display()),
    ]
}

/// Prints steps as they are done.
struct Screen {
    steps: usize,
}

impl Report for Screen {
    fn step(&mut self, title: &str, lines: &[String]) {
        self.steps += 1;
        let mut text = format!("{:>2} {title}\n", self.steps);
        for line in lines {
            text.push_str(&format!("     {line}\n"));
        }
        // A reader that has gone does not stop the job.
        let _ = io::stdout().write_all(text.as_bytes());
    }
}
