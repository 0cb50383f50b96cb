//! The end of a test that waits for ever: a run of all tests would only be cut off, with nobody knowing where.

use std::{
    fs,
    io::{self, Write as _},
    process,
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread,
    time::Duration,
};

use salus_tests::process::kill;

/// Ends the whole run of tests, with this test's name and the processes it started, unless dropped in time.
pub(crate) struct Deadline(#[allow(dead_code, reason = "held until the test ends")] Sender<()>);

impl Deadline {
    /// What no test takes on the slowest machine.
    pub(crate) const USUAL: Duration = Duration::from_mins(20);

    /// Counts from now.
    pub(crate) fn within(limit: Duration) -> Self {
        let name = thread::current().name().unwrap_or("a test").to_owned();
        let (held, dropped) = mpsc::channel();
        thread::spawn(move || {
            if dropped.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                give_up(&name, limit);
            }
        });
        Self(held)
    }
}

fn give_up(name: &str, limit: Duration) -> ! {
    let mut said = format!("test {name} goes on after {limit:?}; these processes run:\n");
    for child in children() {
        let line = fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        said += &format!("  {child} {line}\n");
        let _ = kill(child);
    }
    // Not by a macro: what those print is held back until a test has ended.
    let _ = io::stderr().write_all(said.as_bytes());
    process::exit(101)
}

/// The processes that this one started.
fn children() -> Vec<u32> {
    let tasks = fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let of_task = |task: fs::DirEntry| fs::read_to_string(task.path().join("children")).ok();
    let lists: Vec<String> = tasks.filter_map(of_task).collect();
    let ids = lists.iter().flat_map(|list| list.split_whitespace());
    ids.filter_map(|id| id.parse().ok()).collect()
}
