//! The embedded network, run as its own process.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{Deployment, NetworkInfo};
use crate::{
    binaries, ports,
    process::{Process, Spec, run},
};

/// A running `fabric-devnet`.
#[derive(Debug)]
pub struct Devnet {
    /// What it said when it was ready.
    pub info: NetworkInfo,
    /// The process, so that tests can kill and restart it.
    pub process: Process,
    dir: PathBuf,
    parent: PathBuf,
}

impl Devnet {
    pub(super) async fn start(dir: &Path, organizations: usize) -> Result<Self> {
        let network = dir.join("network");
        let [orderer] = ports::kept(dir, "fabric-devnet")?;
        let peers: Vec<String> = ports::kept_list(dir, "fabric-devnet-peers", organizations)?
            .iter()
            .map(u16::to_string)
            .collect();
        let spec = Spec::new("fabric-devnet", &binaries::ours("fabric-devnet")?, dir)
            .arg("up")
            .option("--dir", &network)
            .option("--orgs", organizations.to_string())
            .option("--orderer-port", orderer.to_string())
            .option("--peer-ports", peers.join(","));
        let (process, ready) = Process::start_ready(spec).await?;
        let info = serde_json::from_value(ready).context("fabric-devnet's ready line")?;
        Ok(Self {
            info,
            process,
            dir: network,
            parent: dir.to_owned(),
        })
    }

    pub(super) async fn deploy(&self, deployment: &Deployment<'_>) -> Result<String> {
        let mut spec = Spec::new(
            "devnet-deploy",
            &binaries::ours("fabric-devnet")?,
            &self.parent,
        )
        .arg("deploy")
        .option("--dir", &self.dir)
        .option("--name", deployment.name)
        .option("--address", deployment.address);
        if let Some(collections) = deployment.collections {
            spec = spec.option("--collections", collections);
        }
        let output = run(spec).await?;
        let line: serde_json::Value = serde_json::from_str(output.trim())
            .with_context(|| format!("fabric-devnet deploy printed: {output}"))?;
        let package_id = line["package_id"].as_str().context("no package_id")?;
        Ok(package_id.to_owned())
    }
}
