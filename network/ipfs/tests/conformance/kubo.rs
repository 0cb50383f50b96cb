//! A real Kubo, offline, on free ports, in a folder of its own.

use std::{
    env,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// Time for the daemon to begin answering.
const START_TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) struct Kubo {
    daemon: Child,
    address: SocketAddr,
    _repo: TempDir,
}

impl Kubo {
    /// Starts a daemon, or says by `None` that there is no Kubo here.
    pub(crate) fn start() -> Option<Self> {
        let ipfs = find()?;
        let repo = tempfile::tempdir().unwrap();
        for arguments in [
            &["init", "--profile=test"][..],
            &["config", "Addresses.API", "/ip4/127.0.0.1/tcp/0"],
            &["config", "Addresses.Gateway", "/ip4/127.0.0.1/tcp/0"],
            &["config", "--json", "Addresses.Swarm", "[]"],
        ] {
            let output = command(&ipfs, repo.path())
                .args(arguments)
                .output()
                .unwrap();
            assert!(output.status.success(), "ipfs {arguments:?}: {output:?}");
        }
        let daemon = command(&ipfs, repo.path())
            .args(["daemon", "--offline"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let address = wait_for_api(&repo.path().join("api"));
        Some(Self {
            daemon,
            address,
            _repo: repo,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Kubo {
    fn drop(&mut self) {
        // The folder goes with it, so nothing needs an orderly end.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

fn find() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::var_os("SALUS_FABRIC_BIN")
        .map(PathBuf::from)
        .into_iter()
        .chain(env::split_paths(&path))
        .map(|folder| folder.join("ipfs"))
        .find(|program| program.is_file())
}

fn command(ipfs: &Path, repo: &Path) -> Command {
    let mut command = Command::new(ipfs);
    command.env("IPFS_PATH", repo);
    command
}

/// The daemon writes the address that it took into its folder, as `/ip4/127.0.0.1/tcp/PORT`.
fn wait_for_api(file: &Path) -> SocketAddr {
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        let port = std::fs::read_to_string(file)
            .ok()
            .and_then(|text| text.trim().rsplit('/').next()?.parse::<u16>().ok());
        if let Some(port) = port {
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            if std::net::TcpStream::connect(address).is_ok() {
                return address;
            }
        }
        assert!(Instant::now() < deadline, "Kubo does not answer");
        thread::sleep(Duration::from_millis(20));
    }
}
