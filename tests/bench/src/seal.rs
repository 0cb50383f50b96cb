//! Sealing and opening as streams, and wrapping keys.
//!
//! The ratios compare work on memory with work on memory, since `openssl speed` reads and writes
//! no file. Files, in a folder that is in memory, show what the system's copying adds, and how
//! much memory a stream takes.

pub(crate) mod memory;
mod object;

use std::{fmt::Write as _, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use sealed_object::{DataKey, MIN_MODULUS_BITS, PrivateKey};

use crate::{
    openssl,
    stopwatch::{median, per_second},
};
use object::{Mapped, Object};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Names and lengths of the payloads, in bytes.
const SIZES: [(&str, u64); 7] = [
    ("200 B", 200),
    ("1 kB", 1000),
    ("64 KiB", 64 * KIB),
    ("1 MiB", MIB),
    ("16 MiB", 16 * MIB),
    ("256 MiB", 256 * MIB),
    ("1 GiB", GIB),
];

/// How to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Folder for the files; it should be in memory, or the disk is measured too.
    #[arg(long, default_value = "/dev/shm")]
    dir: PathBuf,
    /// Rounds, each of which measures everything once; the table has the medians.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Longest payload, in bytes.
    #[arg(long, default_value_t = GIB)]
    up_to: u64,
}

/// What one size came to, in bytes a second, one entry a round.
#[derive(Default)]
struct Rates {
    openssl: Vec<f64>,
    sealed: Vec<f64>,
    opened: Vec<f64>,
    sealed_file: Vec<f64>,
    opened_file: Vec<f64>,
}

/// Measures and writes the tables.
pub(crate) fn run(options: &Options) -> Result<String> {
    ensure!(options.rounds > 0, "at least one round");
    let mut report = String::from("# Sealing\n\n");
    let compared = openssl::is_here();
    if !compared {
        report.push_str("`openssl` is not installed: nothing to compare with.\n\n");
    }
    report.push_str(
        "| payload | openssl MB/s | seal MB/s | ratio | open MB/s | ratio | seal file MB/s \
         | open file MB/s | seal extra KiB | open extra KiB |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    for (name, length) in SIZES {
        if length <= options.up_to {
            report.push_str(&row(options, name, length, compared)?);
        }
    }
    report.push('\n');
    report.push_str(&wrapping(options, compared)?);
    Ok(report)
}

fn row(options: &Options, name: &str, length: u64, compared: bool) -> Result<String> {
    let folder = tempfile::tempdir_in(&options.dir).context("no folder for the files")?;
    let object = Object::new(folder.path(), length)?;
    let mut mapped = Mapped::new(length)?;
    let mut rates = Rates::default();
    let bytes = length as f64;
    let at_least = Duration::from_millis(500);
    for _ in 0..options.rounds {
        if compared {
            // A buffer of 16 MiB is the longest that tells anything: it fits no cache.
            let measured = openssl::aes_256_gcm(length.min(16 * MIB));
            rates.openssl.push(measured.context("openssl speed")?);
        }
        let rate = |work: &mut dyn FnMut() -> Result<()>| -> Result<f64> {
            Ok(per_second(at_least, &mut *work)? * bytes)
        };
        rates.sealed.push(rate(&mut || mapped.seal())?);
        rates.opened.push(rate(&mut || mapped.open())?);
        rates.sealed_file.push(rate(&mut || object.seal())?);
        rates.opened_file.push(rate(&mut || object.open())?);
    }
    mapped.check()?;
    object.check()?;
    let memory = memory::extra(&object)?;
    let openssl = median(&rates.openssl);
    let (sealed, opened) = (median(&rates.sealed), median(&rates.opened));
    let mut row = String::new();
    writeln!(
        row,
        "| {name} | {} | {:.0} | {} | {:.0} | {} | {:.0} | {:.0} | {} | {} |",
        shown(compared, openssl / 1e6, 0),
        sealed / 1e6,
        shown(compared, sealed / openssl, 2),
        opened / 1e6,
        shown(compared, opened / openssl, 2),
        median(&rates.sealed_file) / 1e6,
        median(&rates.opened_file) / 1e6,
        memory.sealing,
        memory.opening,
    )?;
    Ok(row)
}

fn wrapping(options: &Options, compared: bool) -> Result<String> {
    let reader = PrivateKey::generate(MIN_MODULUS_BITS)?;
    let data_key = DataKey::generate();
    let jwe = reader.public_key().wrap(&data_key)?;
    let (mut wraps, mut unwraps, mut private, mut public) = (vec![], vec![], vec![], vec![]);
    for _ in 0..options.rounds {
        if compared {
            let rsa = openssl::rsa_3072().context("openssl speed rsa3072")?;
            private.push(rsa.private);
            public.push(rsa.public);
        }
        let at_least = Duration::from_secs(1);
        wraps.push(per_second(at_least, || {
            reader.public_key().wrap(&data_key)?;
            Ok(())
        })?);
        unwraps.push(per_second(at_least, || {
            reader.unwrap(&jwe)?;
            Ok(())
        })?);
    }
    let mut table = String::from(
        "| 3072-bit key | ours a second | openssl's RSA a second | ratio |\n|---|---|---|---|\n",
    );
    for (name, ours, theirs) in [("wrap", &wraps, &public), ("unwrap", &unwraps, &private)] {
        let (ours, theirs) = (median(ours), median(theirs));
        writeln!(
            table,
            "| {name} | {ours:.0} | {} | {} |",
            shown(compared, theirs, 0),
            shown(compared, ours / theirs, 2)
        )?;
    }
    Ok(table)
}

fn shown(known: bool, value: f64, decimals: usize) -> String {
    if known {
        format!("{value:.decimals$}")
    } else {
        "–".to_owned()
    }
}
