//! Child processes: started with their output in a file, awaited until ready, measured, killed.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

/// How long a process may take to print its ready line.
pub const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a process may take to end after SIGTERM before it is killed.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// What to start: program, arguments, environment, and where its log goes.
#[derive(Debug, Clone)]
pub struct Spec {
    name: String,
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    log: PathBuf,
    dir: PathBuf,
}

impl Spec {
    /// A process called `name`, run in `dir`, whose log is `dir/name.log`.
    pub fn new(name: &str, program: &Path, dir: &Path) -> Self {
        Self {
            name: name.to_owned(),
            program: program.to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            log: dir.join(format!("{name}.log")),
            dir: dir.to_owned(),
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds an option and its value.
    #[must_use]
    pub fn option(self, name: &str, value: impl Into<OsString>) -> Self {
        self.arg(name).arg(value)
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Has another program run this one: `program args... this-program its-args...`.
    #[must_use]
    pub fn under(mut self, program: &Path, args: Vec<OsString>) -> Self {
        let own = std::mem::replace(&mut self.program, program.to_owned());
        let mut all = args;
        all.push(own.into_os_string());
        all.append(&mut self.args);
        self.args = all;
        self
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .envs(self.env.iter().cloned())
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    fn open_log(&self) -> Result<File> {
        fs::create_dir_all(&self.dir)?;
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("cannot write {}", self.log.display()))
    }
}

/// A running child process. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    spec: Spec,
    child: Child,
}

impl Process {
    /// Starts a process whose output all goes to its log.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(spec: Spec) -> Result<Self> {
        let log = spec.open_log()?;
        let child = spec
            .command()
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", spec.program.display()))?;
        Ok(Self { spec, child })
    }

    /// Starts a process and waits for the JSON line that it prints on standard output once it
    /// is ready to serve.
    ///
    /// # Errors
    /// When it cannot be started, ends early, or says nothing for [`READY_TIMEOUT`]; the end of
    /// its log is quoted.
    pub async fn start_ready(spec: Spec) -> Result<(Self, serde_json::Value)> {
        let log = spec.open_log()?;
        let mut child = spec
            .command()
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", spec.program.display()))?;
        let stdout = child
            .stdout
            .take()
            .context("standard output was not piped")?;
        let mut lines = BufReader::new(stdout).lines();
        let line = match timeout(READY_TIMEOUT, lines.next_line()).await {
            Ok(Ok(Some(line))) => line,
            Ok(Ok(None)) => bail!(
                "{} ended before it was ready:\n{}",
                spec.name,
                tail(&spec.log)
            ),
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => bail!("{} was not ready in time:\n{}", spec.name, tail(&spec.log)),
        };
        // Keep reading: a full pipe would stop the process.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let ready = serde_json::from_str(&line)
            .with_context(|| format!("{} printed no JSON line but: {line}", spec.name))?;
        Ok((Self { spec, child }, ready))
    }

    /// The name given in the [`Spec`].
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// The file that receives the process's log.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.spec.log
    }

    /// What it was started with, for starting it again.
    #[must_use]
    pub fn spec(&self) -> Spec {
        self.spec.clone()
    }

    /// Whether the process has not ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// How the process ended; `None` while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Resident memory in bytes now, from `/proc`; `None` once it has ended.
    #[must_use]
    pub fn resident_bytes(&self) -> Option<u64> {
        Some(self.status("VmRSS:")? * 1024)
    }

    /// How many threads it has now; `None` once it has ended.
    #[must_use]
    pub fn threads(&self) -> Option<u64> {
        self.status("Threads:")
    }

    /// How many files and sockets it has open now; `None` once it has ended.
    #[must_use]
    pub fn open_files(&self) -> Option<usize> {
        let open = fs::read_dir(format!("/proc/{}/fd", self.child.id()?)).ok()?;
        Some(open.count())
    }

    /// A number of `/proc/PID/status`.
    fn status(&self, member: &str) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()?)).ok()?;
        let line = status.lines().find(|line| line.starts_with(member))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }

    /// Says how it is to be started the next time.
    pub fn prepare(&mut self, spec: Spec) {
        self.spec = spec;
    }

    /// Kills the process as `kill -9` does and starts the same again, waiting for its ready line.
    ///
    /// # Errors
    /// When it cannot be waited for, or does not come up again.
    pub async fn kill_and_start_ready(&mut self) -> Result<serde_json::Value> {
        self.kill().await?;
        self.start_until_ready().await
    }

    /// Kills the process as `kill -9` does and starts the same again, waiting until it listens at
    /// `address`.
    ///
    /// # Errors
    /// When it cannot be waited for, or does not come up again.
    pub async fn kill_and_listen(&mut self, address: &str) -> Result<()> {
        self.kill().await?;
        self.start_and_listen(address).await
    }

    /// Kills the process as `kill -9` does, if it has not ended by itself.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub async fn kill(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(_) => Ok(()),
            None => Ok(self.child.kill().await?),
        }
    }

    /// Starts the process again after [`Process::kill`], waiting until it listens at `address`.
    ///
    /// # Errors
    /// When it does not come up again.
    pub async fn start_and_listen(&mut self, address: &str) -> Result<()> {
        *self = Self::start(self.spec.clone())?;
        until_listening(self, address).await
    }

    /// Starts the process again after [`Process::kill`], waiting for its ready line.
    ///
    /// # Errors
    /// When it does not come up again.
    pub async fn start_until_ready(&mut self) -> Result<serde_json::Value> {
        let (process, ready) = Self::start_ready(self.spec.clone()).await?;
        *self = process;
        Ok(ready)
    }

    /// Its process ID; `None` once it has ended.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Makes the process stand still, as SIGSTOP does, until [`Process::go_on`].
    ///
    /// # Errors
    /// When it has ended.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets the process go on after [`Process::pause`].
    ///
    /// # Errors
    /// When it has ended.
    pub fn go_on(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        let pid = id.and_then(Pid::from_raw);
        let pid = pid.with_context(|| format!("{} has ended", self.spec.name))?;
        Ok(kill_process(pid, signal)?)
    }

    /// Sends SIGTERM and waits for an orderly end, at most [`STOP_TIMEOUT`].
    ///
    /// # Errors
    /// When it had to be killed.
    pub async fn stop(mut self) -> Result<ExitStatus> {
        // It may have ended in the meantime, which is what is wanted.
        let _ = self.signal(Signal::TERM);
        match timeout(STOP_TIMEOUT, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => {
                self.child.kill().await?;
                bail!("{} did not end on SIGTERM and was killed", self.spec.name)
            }
        }
    }
}

/// Kills a process as `kill -9` does; whether it was still there.
#[must_use]
pub fn kill(process: u32) -> bool {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok())
}

/// Runs a program to its end and returns its standard output.
///
/// # Errors
/// When it cannot be started or fails; its output is quoted.
pub async fn run(spec: Spec) -> Result<String> {
    fs::create_dir_all(&spec.dir)?;
    let output = spec
        .command()
        .output()
        .await
        .with_context(|| format!("cannot start {}", spec.program.display()))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!(
            "{} failed with {}:\n{stdout}{}",
            spec.name,
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(stdout)
}

fn tail(log: &Path) -> String {
    const LINES: usize = 20;
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// Waits until something accepts connections at `address` (`host:port`).
///
/// # Errors
/// When the process ends first, or [`READY_TIMEOUT`] passes.
pub async fn until_listening(process: &mut Process, address: &str) -> Result<()> {
    const PAUSE: Duration = Duration::from_millis(20);
    let waiting = async {
        loop {
            if tokio::net::TcpStream::connect(address).await.is_ok() {
                return Ok(());
            }
            if !process.is_running() {
                bail!(
                    "{} ended before it was ready:\n{}",
                    process.name(),
                    tail(process.log())
                );
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    match timeout(READY_TIMEOUT, waiting).await {
        Ok(result) => result,
        Err(_) => bail!("nothing listens on {address}"),
    }
}
