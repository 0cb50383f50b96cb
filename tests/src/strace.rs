//! Processes under `strace`, which holds them before a system call of their own, so that they can be
//! killed there, or lets the call fail: a fault at a place, not at a time.

use std::{
    collections::HashMap,
    ffi::OsString,
    fmt,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use crate::{binaries, process::Spec};

/// Only calls that are traced stop the process.
const QUICK: &str = "--seccomp-bpf";

/// The calls by which a process changes a file, or speaks to another process.
pub const CALLS: [&str; 17] = [
    "openat",
    "write",
    "writev",
    "pwrite64",
    "fsync",
    "fdatasync",
    "ftruncate",
    "rename",
    "renameat",
    "unlink",
    "unlinkat",
    "read",
    "recvfrom",
    "recvmsg",
    "sendto",
    "sendmsg",
    "mkdir",
];

/// What happens at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tampering {
    /// The process is killed as by `kill -9` instead of the call.
    Kill,
    /// The call does nothing and fails with this error, as in `EIO`.
    Fail(&'static str),
}

/// One system call, as it was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The thread's ID.
    pub thread: u32,
    /// Its name.
    pub name: String,
    /// How many of this name its thread had made with it: 1 is the first.
    pub nth: u32,
    /// Its arguments, with the names of files and the addresses of sockets, without contents.
    pub arguments: String,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} no. {} ({})", self.name, self.nth, self.arguments)
    }
}

/// The program `strace`, which may trace here.
#[derive(Debug, Clone)]
pub struct Strace {
    program: PathBuf,
}

impl Strace {
    /// Finds it and tries whether it may be used; says of a test that is to be skipped why.
    #[must_use]
    pub fn find(test: &str) -> Option<Self> {
        let Some(program) = binaries::outside("strace") else {
            binaries::report_skipped(test, &["strace"]);
            return None;
        };
        let tried = Command::new(&program)
            .args(["-D", "-f", "-qq", "-o", "/dev/null", "true"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        match tried {
            Ok(status) if status.success() => Some(Self { program }),
            _ => {
                binaries::report_not_permitted(test, "tracing");
                None
            }
        }
    }

    /// Has the calls of a process recorded in a file.
    #[must_use]
    pub fn record(&self, spec: Spec, record: &Path) -> Spec {
        self.run(spec, record, &[QUICK])
    }

    /// Has every call of a name wait before it is made, long enough for who [follows](Follow) the
    /// record to do something first.
    #[must_use]
    pub fn hold(&self, spec: Spec, record: &Path, name: &str, wait: Duration) -> Spec {
        let inject = format!("inject={name}:delay_enter={}", wait.as_micros());
        self.run(spec, record, &[QUICK, "-e", &inject])
    }

    /// Has the process tampered with when a thread of it makes its `nth` call of a name.
    #[must_use]
    pub fn tamper(&self, spec: Spec, record: &Path, what: Tampering, name: &str, nth: u32) -> Spec {
        match what {
            // strace 6.1 sends no signals together with the filter that makes it quick.
            Tampering::Kill => {
                let inject = format!("inject={name}:signal=SIGKILL:when={nth}");
                self.run(spec, record, &["-e", &inject])
            }
            Tampering::Fail(error) => {
                let inject = format!("inject={name}:error={error}:when={nth}");
                self.run(spec, record, &[QUICK, "-e", &inject])
            }
        }
    }

    /// The tracer is a grandchild (`-D`), so that the process is a child like any other: what is
    /// sent to it comes to it, and the tracer ends with it.
    fn run(&self, spec: Spec, record: &Path, more: &[&str]) -> Spec {
        let traced = format!("trace={}", CALLS.join(","));
        let fixed = ["-D", "-f", "-qq", "-yy", "-s", "0", "-e", &traced];
        let mut args: Vec<OsString> = fixed.iter().chain(more).map(OsString::from).collect();
        args.extend(["-o".into(), record.into(), "--".into()]);
        spec.under(&self.program, args)
    }
}

/// Reads a record: the calls in the order in which they were begun.
#[must_use]
pub fn read(record: &Path) -> Vec<Call> {
    Follow::new(record).calls()
}

/// Reads a record while it is being written.
#[derive(Debug)]
pub struct Follow {
    record: PathBuf,
    /// None until it is there.
    file: Option<File>,
    /// The beginning of a line of which the rest is not written.
    rest: String,
    /// Whether the call of that line has been told of.
    told: bool,
    counts: HashMap<(u32, String), u32>,
}

impl Follow {
    /// Begins at the beginning of a record, which need not be there yet.
    #[must_use]
    pub fn new(record: &Path) -> Self {
        Self {
            record: record.to_owned(),
            file: None,
            rest: String::new(),
            told: false,
            counts: HashMap::new(),
        }
    }

    /// The calls that were begun since the last time. A call is told of when it is begun, although
    /// what comes of it is not known yet.
    pub fn calls(&mut self) -> Vec<Call> {
        if self.file.is_none() {
            self.file = File::open(&self.record).ok();
        }
        let mut bytes = Vec::new();
        if let Some(file) = &mut self.file {
            // What cannot be read now is there the next time.
            let _ = file.read_to_end(&mut bytes);
        }
        let text = std::mem::take(&mut self.rest) + &String::from_utf8_lossy(&bytes);
        let mut calls = Vec::new();
        for line in text.split_inclusive('\n') {
            let was_told = std::mem::take(&mut self.told);
            let call = if was_told { None } else { self.begun(line) };
            if !line.ends_with('\n') {
                self.told = was_told || call.is_some();
                line.clone_into(&mut self.rest);
            }
            calls.extend(call);
        }
        calls
    }

    fn begun(&mut self, line: &str) -> Option<Call> {
        let (thread, name, arguments) = begun(line)?;
        let nth = self.counts.entry((thread, name.to_owned())).or_default();
        *nth += 1;
        Some(Call {
            thread,
            name: name.to_owned(),
            nth: *nth,
            arguments: arguments.to_owned(),
        })
    }
}

/// `1234  fsync(3</tmp/x>) = 0`, without what it came to.
fn begun(line: &str) -> Option<(u32, &str, &str)> {
    let (thread, rest) = line.split_once(' ')?;
    let (name, rest) = rest.trim_start().split_once('(')?;
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if !name.bytes().all(is_name) {
        return None;
    }
    let end = [") = ", " <unfinished", ")  = "]
        .iter()
        .filter_map(|end| rest.find(end))
        .min();
    let arguments = &rest[..end.unwrap_or(rest.len())];
    Some((thread.parse().ok()?, name, arguments.trim_end()))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// Follows a record that grows byte by byte; a call is told of once, as soon as it has a name.
    fn in_pieces(text: &str) -> Vec<Call> {
        let dir = tempfile::tempdir().unwrap();
        let record = dir.path().join("record");
        let mut follow = Follow::new(&record);
        assert_eq!(follow.calls(), []);
        let mut file = File::create(&record).unwrap();
        let mut calls = Vec::new();
        // strace writes whole arguments at once.
        for piece in text.split_inclusive([',', '>', '\n']) {
            file.write_all(piece.as_bytes()).unwrap();
            calls.extend(follow.calls());
        }
        calls
    }

    #[test]
    fn a_record_tells_which_call_of_its_thread_each_is() {
        let dir = tempfile::tempdir().unwrap();
        let record = dir.path().join("record");
        let text = "\
            12 openat(AT_FDCWD</tmp>, \"\"..., O_RDWR|O_CREAT, 0600) = 3</tmp/1.journal>\n\
            12 fdatasync(3</tmp/1.journal> <unfinished ...>\n\
            13    fdatasync(4</tmp/x>)             = 0\n\
            12 <... fdatasync resumed>) = 0\n\
            12 fdatasync(3</tmp/1.journal>) = -1 EIO (Input/output error) (INJECTED)\n\
            13 writev(9<TCP:[127.0.0.1:1->127.0.0.1:2]>, [{iov_base=\"\"..., iov_len=3}], 1) = 3\n\
            12 +++ killed by SIGKILL +++\n\
            13 fdata";
        std::fs::write(&record, text).unwrap();
        let calls = read(&record);
        let short: Vec<String> = calls
            .iter()
            .map(|call| format!("{} {} {}", call.thread, call.name, call.nth))
            .collect();
        assert_eq!(
            short,
            [
                "12 openat 1",
                "12 fdatasync 1",
                "13 fdatasync 1",
                "12 fdatasync 2",
                "13 writev 1"
            ]
        );
        assert_eq!(calls[3].arguments, "3</tmp/1.journal>");
        let counts = |calls: &[Call]| {
            let counts = calls
                .iter()
                .map(|call| (call.thread, call.name.clone(), call.nth));
            counts.collect::<Vec<_>>()
        };
        assert_eq!(counts(&calls), counts(&in_pieces(text)));
        assert!(calls[4].arguments.contains("->127.0.0.1:2]>"));
    }
}
