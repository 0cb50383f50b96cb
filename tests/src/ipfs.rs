//! An IPFS store for a run: `ipfs-devnode`, or a real Kubo that talks to nobody.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::{
    binaries, ports,
    process::{Process, Spec, run},
};

/// Which store to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Our development store.
    Devnode,
    /// Kubo, offline, from the `ipfs` program found.
    Kubo,
}

/// A running store.
#[derive(Debug)]
pub struct Ipfs {
    /// The process, so that tests can kill and restart it.
    pub process: Process,
    /// Base address of its RPC, e.g. `http://127.0.0.1:5001`.
    pub api: String,
    kind: Kind,
    folder: PathBuf,
}

impl Ipfs {
    /// Starts the store with its data in `dir/ipfs`, on a free loopback port, or on the port it
    /// had when `dir` was used before.
    ///
    /// # Errors
    /// When the program is missing or does not come up; Kubo's absence is named.
    pub async fn start(kind: Kind, dir: &Path) -> Result<Self> {
        let name = match kind {
            Kind::Devnode => "ipfs",
            Kind::Kubo => "kubo",
        };
        Self::start_named(kind, dir, name).await
    }

    /// Starts a store with its data in `dir/NAME`: one more of several.
    ///
    /// # Errors
    /// As [`Ipfs::start`].
    pub async fn start_named(kind: Kind, dir: &Path, name: &str) -> Result<Self> {
        match kind {
            Kind::Devnode => Self::start_devnode(dir, name).await,
            Kind::Kubo => Self::start_kubo(dir, name).await,
        }
    }

    /// Where its files are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder that holds the blocks.
    #[must_use]
    pub fn blocks(&self) -> PathBuf {
        self.folder.join("blocks")
    }

    /// Ends the store in order.
    ///
    /// # Errors
    /// When it had to be killed.
    pub async fn stop(self) -> Result<()> {
        self.process.stop().await.map(|_| ())
    }

    async fn start_devnode(dir: &Path, name: &str) -> Result<Self> {
        let [port] = ports::kept(dir, name)?;
        let folder = dir.join(name);
        let spec = Spec::new(name, &binaries::ours("ipfs-devnode")?, dir)
            .option("--dir", &folder)
            .option("--listen", format!("127.0.0.1:{port}"));
        let (process, ready) = Process::start_ready(spec).await?;
        let api = ready["api"]
            .as_str()
            .context("ipfs-devnode named no API address")?;
        Ok(Self {
            api: api.to_owned(),
            process,
            kind: Kind::Devnode,
            folder,
        })
    }

    async fn start_kubo(dir: &Path, name: &str) -> Result<Self> {
        let Some(ipfs) = binaries::outside("ipfs") else {
            bail!(
                "Kubo's program `ipfs` is not on PATH or in {}",
                binaries::FABRIC_BIN_VAR
            );
        };
        let repo = dir.join(name);
        let command = |name: &str| Spec::new(name, &ipfs, dir).env("IPFS_PATH", &repo);
        let [port] = ports::kept(dir, name)?;
        if !repo.join("config").is_file() {
            run(command("ipfs-init").arg("init").arg("--empty-repo")).await?;
            for (key, value) in [
                (
                    "Addresses.API",
                    serde_json::json!(format!("/ip4/127.0.0.1/tcp/{port}")),
                ),
                ("Addresses.Gateway", serde_json::json!([])),
                ("Addresses.Swarm", serde_json::json!([])),
                ("Bootstrap", serde_json::json!([])),
                ("AutoConf.Enabled", serde_json::json!(false)),
                ("Discovery.MDNS.Enabled", serde_json::json!(false)),
            ] {
                let set = command("ipfs-config").arg("config").arg("--json");
                run(set.arg(key).arg(value.to_string())).await?;
            }
        }
        let api = format!("http://127.0.0.1:{port}");
        let process = Process::start(command(name).arg("daemon").arg("--offline"))?;
        let mut ipfs = Self {
            process,
            api,
            kind: Kind::Kubo,
            folder: repo,
        };
        ipfs.wait_until_ready().await?;
        Ok(ipfs)
    }

    /// Kills the store as `kill -9` does, and starts it again.
    ///
    /// # Errors
    /// When it does not come up again.
    pub async fn kill_and_restart(&mut self) -> Result<()> {
        match self.kind {
            Kind::Devnode => self.process.kill_and_start_ready().await.map(|_| ()),
            Kind::Kubo => {
                let address = self.api.trim_start_matches("http://").to_owned();
                self.process.kill_and_listen(&address).await
            }
        }
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let address = self.api.trim_start_matches("http://").to_owned();
        crate::process::until_listening(&mut self.process, &address).await
    }
}
