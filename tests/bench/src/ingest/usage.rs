//! What a process uses, as Linux counts it.

use std::fs;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, setpriority_process, setrlimit};
use salus_tests::process::Process;

/// Clock ticks a second in `/proc/PID/stat`: the same on every Linux that Rust runs on.
const TICKS: f64 = 100.0;
/// Nice value of processes that give way.
const NICE: i32 = 10;

/// Processor time that a process has used, seconds; 0 once it has ended.
pub(super) fn processor_seconds(process: &Process) -> f64 {
    let ticks = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", process.id()?)).ok()?;
        // The name in parentheses may hold anything; user and system time are 12 and 13 behind it.
        let (_, fields) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        let user: f64 = fields.get(11)?.parse().ok()?;
        let system: f64 = fields.get(12)?.parse().ok()?;
        Some(user + system)
    };
    ticks().unwrap_or(0.0) / TICKS
}

/// Lets this process and those it starts open as many files as the system permits.
pub(super) fn allow_many_files() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, most).context("the limit of open files")
}

/// Lowers the priority of a process: of each of its threads, from which later ones have it.
pub(super) fn give_way(process: &Process) -> Result<()> {
    let id = process.id().context("the process has ended")?;
    for thread in fs::read_dir(format!("/proc/{id}/task"))? {
        let thread: i32 = thread?.file_name().to_string_lossy().parse()?;
        setpriority_process(Pid::from_raw(thread), NICE)?;
    }
    Ok(())
}
