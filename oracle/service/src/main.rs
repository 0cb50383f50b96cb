//! `oracle`: serves devices and people, and looks into its own journal.
//!
//! Exit status: 0 when it stopped as asked; 64 when the configuration is wrong, before any port
//! opens; 65 when a journal is damaged; 1 for everything else.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use oracle::config::{Config, ConfigError, ServiceRole};
use oracle::journal::inspect;
use oracle::{Oracle, StartError};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// A message is many small pieces of memory: fewer cycles for them than the C library's allocator needs, and less
/// memory held that nobody uses.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// EX_USAGE of sysexits.h: the configuration is wrong.
const EXIT_CONFIG: u8 = 64;
/// EX_DATAERR of sysexits.h: the journal is damaged.
const EXIT_DAMAGED: u8 = 65;
/// What is logged unless RUST_LOG says otherwise. rumqttd logs packets with their payload, so its
/// messages are never shown.
const DEFAULT_FILTER: &str = "info";
/// Switched off whatever RUST_LOG says.
const NEVER_LOGGED: [&str; 1] = ["rumqttd=off"];

/// Salus oracle: takes readings from devices, seals them, registers them on a Fabric channel, and
/// hands them to those whom the patients permit.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGINT or SIGTERM. Prints one line of JSON with its addresses when ready.
    Serve(Serve),
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Look at the journal of an oracle that is not running.
    #[command(subcommand)]
    Journal(JournalCommand),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Check the file and the files it names; open nothing.
    Check(Serve),
}

#[derive(Debug, Subcommand)]
enum JournalCommand {
    /// Say what is in it: files, states, refused messages. Never payloads.
    Inspect(JournalFolder),
    /// Check every frame; status 65 when one is damaged.
    Verify(JournalFolder),
}

#[derive(Debug, clap::Args)]
struct Serve {
    /// The configuration (TOML).
    #[arg(long, value_name = "FILE", env = "ORACLE_CONFIG")]
    config: PathBuf,
    /// What this process does: all, ingest (take readings, without private keys) or api (serve
    /// people). The configuration's `[service] role` if absent.
    #[arg(long, value_name = "ROLE", env = "ORACLE_ROLE")]
    role: Option<ServiceRole>,
}

#[derive(Debug, clap::Args)]
struct JournalFolder {
    /// The journal's folder.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The journal's key; DIR/journal.key if absent.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log_to_stderr();
    let done = match arguments.command {
        Command::Serve(file) => serve(&file),
        Command::Config(ConfigCommand::Check(file)) => check(&file),
        Command::Journal(JournalCommand::Inspect(folder)) => journal(&folder, true),
        Command::Journal(JournalCommand::Verify(folder)) => journal(&folder, false),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where it is handled, the chain of causes is printed once.
            let _ = writeln!(std::io::stderr(), "oracle: {error:#}");
            exit_code(&error)
        }
    }
}

fn exit_code(error: &anyhow::Error) -> ExitCode {
    if error.is::<ConfigError>() {
        ExitCode::from(EXIT_CONFIG)
    } else if error.chain().any(is_damage) {
        ExitCode::from(EXIT_DAMAGED)
    } else {
        ExitCode::FAILURE
    }
}

/// Whether a cause is a journal that an operator has to look at.
fn is_damage(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause
        .downcast_ref::<oracle::journal::JournalError>()
        .is_some_and(oracle::journal::JournalError::is_damage)
}

fn log_to_stderr() {
    let mut filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    for directive in NEVER_LOGGED {
        filter = filter.add_directive(directive.parse().expect("a constant directive"));
    }
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
}

fn check(file: &Serve) -> anyhow::Result<()> {
    Config::load_as(&file.config, file.role)?;
    say("the configuration is valid")
}

fn serve(file: &Serve) -> anyhow::Result<()> {
    let config = Config::load_as(&file.config, file.role)?;
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another TLS provider is installed"))?;
    let metrics = oracle::metrics::builder()
        .context("the buckets of a metric cannot be used")?
        .install_recorder()
        .context("metrics cannot be recorded")?;
    oracle::metrics::declare();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("no runtime")?
        .block_on(async {
            let mut interrupt = signal(SignalKind::interrupt())?;
            let mut terminate = signal(SignalKind::terminate())?;
            let asked_to_stop = async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            };
            run(config, metrics, asked_to_stop).await
        })
}

async fn run(
    config: Config,
    metrics: metrics_exporter_prometheus::PrometheusHandle,
    asked_to_stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let mut oracle = Oracle::start(config, Some(metrics)).await?;
    let mut asked_to_stop = std::pin::pin!(asked_to_stop);
    let ended = tokio::select! {
        () = &mut asked_to_stop => Ok(()),
        ready = oracle.ready() => match ready {
            Ok(addresses) => {
                say(&serde_json::to_string(&addresses)?)?;
                tokio::select! {
                    () = &mut asked_to_stop => Ok(()),
                    failed = oracle.failed() => Err(failed),
                }
            }
            Err(failed) => Err(failed),
        },
    };
    oracle.shutdown().await;
    ended.map_err(|error: StartError| error.into())
}

fn journal(folder: &JournalFolder, all: bool) -> anyhow::Result<()> {
    let key_file = folder
        .key_file
        .clone()
        .unwrap_or_else(|| folder.dir.join("journal.key"));
    let report = inspect::inspect(&folder.dir, &key_file)?;
    let retained = report.retained.iter().map(|retained| &retained.file);
    let mut torn = report.files.iter().chain(retained);
    let torn = torn.find(|file| file.torn_at.is_some());
    match torn {
        _ if all => show(&report),
        None => say("every frame of the journal is whole"),
        // A write that a crash cut short was never acknowledged.
        Some(file) => say(&format!(
            "every frame is whole but the last of {}, which was never acknowledged; the next start \
             leaves it out",
            file.path.display()
        )),
    }
}

/// Prints what a journal holds.
fn show(report: &inspect::Report) -> anyhow::Result<()> {
    for file in &report.files {
        say(&line(file))?;
    }
    if let Some(retained) = &report.retained {
        say(&line(&retained.file))?;
        say(&format!("retained messages: {}", retained.messages))?;
    }
    let counts = &report.counts;
    say(&format!(
        "readings received and not sealed: {}\nrecords sealed and not pinned: {}\nrecords pinned \
         and not committed: {}\nrecords committed without receipt: {}",
        counts.received, counts.sealed, counts.pinned, counts.committed
    ))?;
    for refused in &report.refused {
        say(&format!(
            "refused: device {}, {} bytes, {}",
            refused.device, refused.bytes, refused.reason
        ))?;
    }
    Ok(())
}

/// What is said of one file.
fn line(file: &inspect::FileReport) -> String {
    let torn = file
        .torn_at
        .map(|offset| format!(", torn at byte {offset}"))
        .unwrap_or_default();
    format!(
        "{}: {} frames, {} bytes{torn}",
        file.path.display(),
        file.frames,
        file.bytes
    )
}

/// Prints a line for whoever started the program.
fn say(line: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()?;
    Ok(())
}
