//! How much memory one object takes, measured in a process that does nothing else.

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use super::object::Object;

/// Seals or opens the object once.
#[derive(Debug, Args)]
pub(crate) struct Once {
    /// Folder with the files.
    folder: PathBuf,
    /// Length of the payload, in bytes.
    length: u64,
    /// Open instead of seal.
    #[arg(long)]
    open: bool,
}

/// Peak memory beyond that of the idle process, in KiB.
pub(crate) struct Extra {
    pub(crate) sealing: u64,
    pub(crate) opening: u64,
}

impl Once {
    /// Works once and reports the growth of the process' peak in KiB.
    pub(crate) fn run(&self) -> Result<String> {
        let object = Object::existing(&self.folder, self.length);
        let before = peak_kib()?;
        if self.open {
            object.open()?;
        } else {
            object.seal()?;
        }
        Ok(format!("{}\n", peak_kib()?.saturating_sub(before)))
    }
}

/// Measures both directions.
pub(crate) fn extra(object: &Object) -> Result<Extra> {
    Ok(Extra {
        sealing: in_a_child(object, &[])?,
        opening: in_a_child(object, &["--open"])?,
    })
}

fn in_a_child(object: &Object, direction: &[&str]) -> Result<u64> {
    let output = Command::new(env::current_exe()?)
        .arg("seal-once")
        .arg(&object.folder)
        .arg(object.length.to_string())
        .args(direction)
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "seal-once: {}", output.status);
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// The most memory this process ever had, as the kernel tells.
fn peak_kib() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .context("no VmHWM")?;
    let number = line.trim().strip_suffix("kB").context("VmHWM in kB")?;
    Ok(number.trim().parse()?)
}
