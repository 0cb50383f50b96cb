//! The program around [`ipfs_devnode::Server`].

use std::{io::Write as _, net::SocketAddr, path::PathBuf};

use anyhow::Context as _;
use clap::Parser;
use ipfs_devnode::{Server, ServerConfig};
use tokio::signal::unix::{SignalKind, signal};

/// One IPFS store behind Kubo's RPC. For development and tests: production runs Kubo.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Folder of the store; made when absent.
    #[arg(long, env = "IPFS_DEVNODE_DIR")]
    dir: PathBuf,
    /// Address of the RPC; port 0 takes a free one. There is no authentication, so it belongs on
    /// a loopback address.
    #[arg(long, default_value = "127.0.0.1:5001")]
    listen: SocketAddr,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let server = Server::bind(ServerConfig {
        dir: arguments.dir,
        listen: arguments.listen,
    })
    .await?;
    tracing::warn!("ipfs-devnode is for development and tests; production runs Kubo");
    let ready = serde_json::json!({ "api": format!("http://{}", server.local_addr()) });
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{ready}").context("cannot write to standard output")?;
    stdout.flush().context("cannot write to standard output")?;
    server
        .serve(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
        .await;
    Ok(())
}
