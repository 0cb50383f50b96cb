//! The devnode as a process; what only it must do is in the modules below.

mod damage;
mod refusals;
mod survival;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

pub(crate) struct Devnode {
    process: Child,
    address: SocketAddr,
    /// Kept as long as the process; absent when the folder belongs to the test.
    _dir: Option<TempDir>,
}

impl Devnode {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut devnode = Self::start_in(dir.path());
        devnode._dir = Some(dir);
        devnode
    }

    pub(crate) fn start_in(dir: &Path) -> Self {
        let mut process = command(dir).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
        let api = ready["api"].as_str().unwrap();
        let address = api.strip_prefix("http://").unwrap().parse().unwrap();
        Self {
            process,
            address,
            _dir: None,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends the process as an operator would and checks that it ends well.
    pub(crate) fn terminate(&mut self) {
        self.signal_termination();
        assert!(self.process.wait().unwrap().success());
    }

    fn signal_termination(&self) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// `kill -9`.
    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Devnode {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ipfs-devnode"));
    command
        .arg("--dir")
        .arg(dir)
        .args(["--listen", "127.0.0.1:0"])
        .env("RUST_LOG", "error")
        .stdin(Stdio::null());
    command
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}
