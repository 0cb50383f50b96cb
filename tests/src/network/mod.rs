//! A Fabric network for a run: `fabric-devnet`, or a real orderer and two real peers.
//!
//! Both are described by the same [`NetworkInfo`], so nothing after start-up knows which it is.

mod couchdb;
mod devnet;
mod fabric;

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Deserialize;

use crate::process::Process;

pub use couchdb::{COUCHDB_VAR, CouchDb};
pub use fabric::RealFabric;

/// Organisations of a network unless said otherwise.
pub const ORGANIZATIONS: usize = 2;

/// Which network to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// The embedded network, one process.
    Devnet,
    /// Hyperledger Fabric: an orderer and a peer for each of two organisations.
    Fabric,
    /// The same, with the peers' state in the CouchDB servers that `SALUS_COUCHDB` lists.
    FabricCouchdb,
}

/// Where a network's parts are and who belongs to it.
#[derive(Debug, Clone, Deserialize)]
pub struct NetworkInfo {
    /// The channel that all organisations have joined.
    pub channel: String,
    /// The ordering service.
    pub orderer: Endpoint,
    /// The organisations with their peers.
    pub organizations: Vec<OrganizationInfo>,
    /// Certificates and keys in cryptogen's layout.
    pub crypto_dir: PathBuf,
}

/// One TLS endpoint.
#[derive(Debug, Clone, Deserialize)]
pub struct Endpoint {
    /// `host:port` to connect to.
    pub address: String,
    /// The name its certificate carries.
    pub server_name: String,
    /// PEM file of the CA that issued its certificate.
    pub tls_ca_file: PathBuf,
}

/// One organisation of the channel.
#[derive(Debug, Clone, Deserialize)]
pub struct OrganizationInfo {
    /// Its MSP ID.
    pub msp_id: String,
    /// Its domain, as in `org1.example.com`.
    pub domain: String,
    /// Its peer.
    pub peer: Endpoint,
    /// Its verifying MSP folder.
    pub msp_dir: PathBuf,
    /// The signing MSP folder of its administrator.
    pub admin_msp_dir: PathBuf,
}

/// A chaincode to deploy.
#[derive(Debug, Clone)]
pub struct Deployment<'a> {
    /// Name on the channel.
    pub name: &'a str,
    /// `host:port` where the chaincode service listens.
    pub address: &'a str,
    /// Collection configuration file in the `peer` command's format.
    pub collections: Option<&'a Path>,
}

/// A running network.
#[derive(Debug)]
pub enum Network {
    /// The embedded one.
    Devnet(Box<devnet::Devnet>),
    /// The real one.
    Fabric(Box<RealFabric>),
}

impl Network {
    /// Starts a network with its data in `dir/network`; an earlier run's data is taken up again.
    ///
    /// # Errors
    /// When a program is missing (all missing ones are named) or a part does not come up.
    pub async fn start(kind: Kind, dir: &Path) -> Result<Self> {
        Self::start_with(kind, dir, ORGANIZATIONS).await
    }

    /// Starts as [`Network::start`], with so many organisations; at least [`ORGANIZATIONS`].
    ///
    /// # Errors
    /// As [`Network::start`].
    pub async fn start_with(kind: Kind, dir: &Path, organizations: usize) -> Result<Self> {
        Ok(match kind {
            Kind::Devnet => {
                Self::Devnet(Box::new(devnet::Devnet::start(dir, organizations).await?))
            }
            Kind::Fabric => {
                Self::Fabric(Box::new(RealFabric::start(dir, organizations, None).await?))
            }
            Kind::FabricCouchdb => {
                let servers = CouchDb::listed()?;
                let fabric = RealFabric::start(dir, organizations, Some(&servers)).await?;
                Self::Fabric(Box::new(fabric))
            }
        })
    }

    /// Where its parts are.
    #[must_use]
    pub fn info(&self) -> &NetworkInfo {
        match self {
            Self::Devnet(devnet) => &devnet.info,
            Self::Fabric(fabric) => &fabric.info,
        }
    }

    /// Installs, approves and commits a chaincode definition; returns the package ID that the
    /// chaincode service must be started with.
    ///
    /// # Errors
    /// When a step is refused.
    pub async fn deploy(&self, deployment: &Deployment<'_>) -> Result<String> {
        match self {
            Self::Devnet(devnet) => devnet.deploy(deployment).await,
            Self::Fabric(fabric) => fabric.deploy(deployment).await,
        }
    }

    /// Its processes, for measuring, killing and restarting.
    pub fn processes(&mut self) -> Vec<&mut Process> {
        match self {
            Self::Devnet(devnet) => vec![&mut devnet.process],
            Self::Fabric(fabric) => fabric.processes.iter_mut().collect(),
        }
    }

    /// How many processes it has.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Devnet(_) => 1,
            Self::Fabric(fabric) => fabric.processes.len(),
        }
    }

    /// Kills one of its processes as `kill -9` does, and starts it again.
    ///
    /// # Errors
    /// When it does not come up again.
    pub async fn kill_and_restart(&mut self, number: usize) -> Result<()> {
        match self {
            Self::Devnet(devnet) => {
                devnet.process.kill_and_start_ready().await?;
            }
            Self::Fabric(fabric) => fabric.kill_and_restart(number).await?,
        }
        Ok(())
    }

    /// Kills one of its processes as `kill -9` does.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub async fn kill(&mut self, number: usize) -> Result<()> {
        match self {
            Self::Devnet(devnet) => devnet.process.kill().await,
            Self::Fabric(fabric) => fabric.processes[number].kill().await,
        }
    }

    /// Starts a process again that [`Network::kill`] ended.
    ///
    /// # Errors
    /// When it does not come up again.
    pub async fn restart(&mut self, number: usize) -> Result<()> {
        match self {
            Self::Devnet(devnet) => devnet.process.start_until_ready().await.map(|_| ()),
            Self::Fabric(fabric) => fabric.restart(number).await,
        }
    }

    /// The folder of an organisation's peer, if it has one of its own.
    #[must_use]
    pub fn peer_folder(&self, organization: usize) -> Option<PathBuf> {
        match self {
            Self::Devnet(_) => None,
            Self::Fabric(fabric) => Some(fabric.peer_folder(organization)),
        }
    }

    /// Ends all its processes in order.
    ///
    /// # Errors
    /// When one had to be killed.
    pub async fn stop(self) -> Result<()> {
        match self {
            Self::Devnet(devnet) => devnet.process.stop().await.map(|_| ()),
            Self::Fabric(fabric) => fabric.stop().await,
        }
    }
}
