//! `salus-bench`: measures sealing against OpenSSL, what consent costs as a ledger grows, and taking
//! readings in beside mosquitto.
//!
//! Results are printed as Markdown and are for people: no test depends on them.

mod consent;
mod ingest;
mod openssl;
mod seal;
mod stopwatch;

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

/// Measures sealing against OpenSSL, what consent costs as a ledger grows, and taking readings in.
#[derive(Parser)]
#[command(name = "salus-bench")]
struct Arguments {
    #[command(subcommand)]
    what: What,
    /// File that receives the tables as well.
    #[arg(long, global = true)]
    out: Option<PathBuf>,
}

#[derive(Subcommand)]
enum What {
    /// Seals and opens objects of 200 bytes to 1 GiB, wraps and unwraps keys; beside it, OpenSSL.
    Seal(seal::Options),
    /// Gives, decides and lists on ledgers of growing size.
    Consent(consent::Options),
    /// Takes readings in until they are durable and until they are committed; beside it, mosquitto.
    Ingest(ingest::Options),
    /// One object in a process of its own, whose memory is then its own; `seal` calls this.
    #[command(hide = true)]
    SealOnce(seal::memory::Once),
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let report = match &arguments.what {
        What::Seal(options) => seal::run(options)?,
        What::Consent(options) => consent::run(options)?,
        What::Ingest(options) => {
            ingest::run(options, arguments.out.as_deref().and_then(Path::parent))?
        }
        What::SealOnce(once) => once.run()?,
    };
    io::stdout().write_all(report.as_bytes())?;
    if let Some(out) = &arguments.out {
        if let Some(folder) = out.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(out, &report).with_context(|| out.display().to_string())?;
    }
    Ok(())
}
