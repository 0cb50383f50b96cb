//! The contracts as a service.
//!
//! Listens for peers where `CHAINCODE_SERVER_ADDRESS` says, under the package ID in
//! `CORE_CHAINCODE_ID_NAME`; the shim's README lists all variables. Once it listens, it prints one
//! line of JSON with its address on standard output. Logs are JSON on standard error, at the level
//! that `RUST_LOG` says, and hold no arguments and no values. SIGTERM and SIGINT end it after the
//! running transactions.

use std::io::{IsTerminal as _, Write as _};

use anyhow::Context as _;
use fabric_shim::{Server, ServerConfig};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Exit status for a wrong configuration (`EX_USAGE`).
const EXIT_CONFIG: i32 = 64;

#[expect(
    clippy::disallowed_methods,
    reason = "the program, not a contract, is configured here"
)]
fn lookup(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn main() -> anyhow::Result<()> {
    init_logging();
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        tracing::debug!("a TLS provider is installed already");
    }
    let config = match ServerConfig::from_env(lookup) {
        Ok(config) => config,
        Err(error) => {
            tracing::error!(error = %error, "configuration is wrong");
            std::process::exit(EXIT_CONFIG);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(config))
}

async fn serve(config: ServerConfig) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    let tls = config.tls.is_some();
    let package_id = config.chaincode_id.clone();
    let server = Server::bind(config, contracts::chaincode()).await?;
    let address = server.local_addr();
    tracing::info!(%address, package_id, tls, "listening");
    let mut stdout = std::io::stdout();
    writeln!(
        stdout,
        "{}",
        serde_json::json!({ "address": address.to_string() })
    )?;
    stdout.flush()?;
    server
        .serve(async move {
            tokio::select! {
                _ = terminate.recv() => tracing::info!(signal = "SIGTERM", "stopping"),
                _ = interrupt.recv() => tracing::info!(signal = "SIGINT", "stopping"),
            }
        })
        .await?;
    tracing::info!("stopped");
    Ok(())
}

fn init_logging() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
}
