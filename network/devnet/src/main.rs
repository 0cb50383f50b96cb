//! `fabric-devnet`: starts, equips and stops a Fabric network in one process.

use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use fabric_devnet::config::{DEFAULT_BATCH_MESSAGES, DEFAULT_CHANNEL, NetworkConfig, PORT_STEP};
use fabric_devnet::deploy::{DEFAULT_VERSION, Deployment};
use fabric_devnet::description::Control;
use fabric_devnet::network::Network;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Time a network has to stop.
const STOP_TIME: Duration = Duration::from_secs(15);
/// Pause between two looks at whether a process has ended.
const STOP_POLL: Duration = Duration::from_millis(20);

/// A whole Hyperledger Fabric network in one process, for development and tests.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts a network and serves until SIGTERM or SIGINT; prints one JSON line when ready.
    Up(Up),
    /// Deploys a chaincode that runs as a service; prints its package ID as JSON.
    Deploy(Deploy),
    /// Stops the network that runs in a folder.
    Down {
        /// Folder of the network.
        #[arg(long)]
        dir: PathBuf,
    },
}

#[derive(Debug, Args)]
struct Up {
    /// Folder of everything the network keeps; a later start continues with it.
    #[arg(long)]
    dir: PathBuf,
    /// Number of organisations, each with one peer [default: 2].
    #[arg(long)]
    orgs: Option<usize>,
    /// Name of the channel.
    #[arg(long, default_value = DEFAULT_CHANNEL)]
    channel: String,
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    listen: IpAddr,
    /// Ports of the peers in the order of their organisations, 0 for any; a single 0 stands for
    /// all [default: 7051,9051,… or those of the last run].
    #[arg(long, value_delimiter = ',', conflicts_with = "port_base")]
    peer_ports: Vec<u16>,
    /// Port of the first peer; the next ones are 2000 apart.
    #[arg(long)]
    port_base: Option<u16>,
    /// Port of the orderer, 0 for any [default: 7050 or that of the last run].
    #[arg(long)]
    orderer_port: Option<u16>,
    /// How long a transaction waits for company in a block, such as 2ms or 2s.
    #[arg(long, default_value = "2ms", value_parser = duration)]
    batch_timeout: Duration,
    /// Transactions after which a block is cut at once.
    #[arg(long, default_value_t = DEFAULT_BATCH_MESSAGES)]
    batch_messages: u32,
    /// How long a chaincode may take for one proposal; long ones help with a debugger.
    #[arg(long, default_value = "30s", value_parser = duration)]
    execute_timeout: Duration,
    /// Refuse proposals whose time is further off than this; unchecked when absent.
    #[arg(long, value_parser = duration)]
    time_window: Option<Duration>,
}

#[derive(Debug, Args)]
struct Deploy {
    /// Folder of the network.
    #[arg(long)]
    dir: PathBuf,
    /// Name of the chaincode.
    #[arg(long)]
    name: String,
    /// HOST:PORT at which the chaincode listens.
    #[arg(long)]
    address: String,
    /// Version in the definition and in the package's label.
    #[arg(long, default_value = DEFAULT_VERSION)]
    version: String,
    /// Sequence to commit [default: the next one].
    #[arg(long)]
    sequence: Option<i64>,
    /// JSON file of private data collections, as the peer command takes it.
    #[arg(long)]
    collections: Option<PathBuf>,
    /// Endorsement policy, such as "OR('Org1MSP.peer','Org2MSP.peer')", or the path of a
    /// channel policy [default: /Channel/Application/Endorsement].
    #[arg(long)]
    policy: Option<String>,
    /// The chaincode must be initialised before use.
    #[arg(long)]
    init_required: bool,
    /// Only print the package ID, which the chaincode needs at its start.
    #[arg(long)]
    package_id_only: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_writer(std::io::stderr)
        .init();
    // A second installation means that a provider is there, which is all that is wanted.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("runtime cannot be made")?;
    match cli.command {
        Command::Up(up) => runtime.block_on(serve(up)),
        Command::Deploy(deploy) => runtime.block_on(deploy_chaincode(deploy)),
        Command::Down { dir } => down(&dir),
    }
}

async fn serve(up: Up) -> anyhow::Result<()> {
    tracing::warn!(
        "this network is for development and tests: one process holds the keys of all organisations"
    );
    // Installed before anything starts, so that a signal is never lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let network = Network::start(&config(up)).await?;
    print_json(network.description())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
    };
    network.run(stop).await?;
    Ok(())
}

fn config(up: Up) -> NetworkConfig {
    let mut config = NetworkConfig::new(&up.dir);
    config.organizations = up.orgs;
    config.channel = up.channel;
    config.listen = up.listen;
    config.peer_ports = match up.port_base {
        None => up.peer_ports,
        Some(0) => vec![0],
        Some(base) => (base..=u16::MAX).step_by(usize::from(PORT_STEP)).collect(),
    };
    config.orderer_port = up.orderer_port;
    config.batch_timeout = up.batch_timeout;
    config.batch_messages = up.batch_messages;
    config.execute_timeout = up.execute_timeout;
    config.time_window = up.time_window;
    config
}

async fn deploy_chaincode(deploy: Deploy) -> anyhow::Result<()> {
    let collections = match &deploy.collections {
        None => None,
        Some(path) => {
            let json = std::fs::read(path);
            Some(json.with_context(|| format!("cannot read {}", path.display()))?)
        }
    };
    let deployment = Deployment {
        dir: deploy.dir,
        name: deploy.name,
        address: deploy.address,
        version: deploy.version,
        sequence: deploy.sequence,
        collections,
        policy: deploy.policy,
        init_required: deploy.init_required,
    };
    if deploy.package_id_only {
        let package = deployment.package()?;
        return print_json(&serde_json::json!({ "package_id": package.id }));
    }
    print_json(&deployment.run().await?)
}

fn down(dir: &Path) -> anyhow::Result<()> {
    let control = Control::read(dir).context("the note of the last run cannot be read")?;
    let Some(control) = control.filter(Control::is_running) else {
        tracing::info!("no network runs in this folder");
        return Ok(());
    };
    let pid = i32::try_from(control.pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    let pid = pid.context("the note of the last run names no process")?;
    rustix::process::kill_process(pid, rustix::process::Signal::TERM)
        .context("the network cannot be told to stop")?;
    let deadline = std::time::Instant::now() + STOP_TIME;
    while control.is_running() {
        if std::time::Instant::now() > deadline {
            bail!(
                "process {} did not stop in {} s",
                control.pid,
                STOP_TIME.as_secs()
            );
        }
        std::thread::sleep(STOP_POLL);
    }
    Ok(())
}

/// Writes the whole line at once: whoever waits for it may read only once.
fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    out.write_all(&line)?;
    out.flush()?;
    Ok(())
}

fn duration(text: &str) -> Result<Duration, String> {
    fabric_devnet::package::parse_duration(text)
        .ok_or_else(|| format!("'{text}' is not a duration such as 2ms, 30s or 1m30s"))
}
