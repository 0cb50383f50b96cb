//! The whole of Salus running: network, chaincode, IPFS store and oracle, each its own process.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::{
    binaries,
    consortium::{Consortium, FIRST_ORACLE, SECOND_ORACLE},
    ipfs::{self, Ipfs},
    network::{self, Deployment, Network},
    oracle::{Custody, Duties, Oracle, OracleSettings},
    ports,
    process::{Process, Spec},
};

/// The name that the chaincode is deployed under.
pub const CHAINCODE: &str = "salus";

/// The file of a run that remembers how the contracts were deployed.
const DEPLOYMENT_FILE: &str = "deployment.json";

/// Which network and store to run on.
#[derive(Debug, Clone, Copy)]
pub struct Platform {
    /// Embedded network or real Fabric.
    pub network: network::Kind,
    /// Our store or Kubo.
    pub ipfs: ipfs::Kind,
}

impl Platform {
    /// What comes with this repository and needs nothing else.
    pub const EMBEDDED: Self = Self {
        network: network::Kind::Devnet,
        ipfs: ipfs::Kind::Devnode,
    };
    /// Hyperledger Fabric and Kubo.
    pub const REAL: Self = Self {
        network: network::Kind::Fabric,
        ipfs: ipfs::Kind::Kubo,
    };

    /// The outside programs that this platform needs and that are not to be found.
    #[must_use]
    pub fn missing(self) -> Vec<&'static str> {
        let mut names = Vec::new();
        if self.network != network::Kind::Devnet {
            names.extend(binaries::FABRIC_PROGRAMS);
        }
        if self.ipfs == ipfs::Kind::Kubo {
            names.push("ipfs");
        }
        binaries::missing(&names)
    }

    /// Checks that all programs are there.
    ///
    /// # Errors
    /// Names those that are missing.
    pub fn check(self) -> Result<()> {
        let missing = self.missing();
        if missing.is_empty() {
            return Ok(());
        }
        anyhow::bail!(
            "{} not found on PATH or in {}",
            missing.join(", "),
            binaries::FABRIC_BIN_VAR
        )
    }
}

/// How a system is set up.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// Network and store.
    pub platform: Platform,
    /// Organisations on the channel.
    pub organizations: usize,
    /// Who holds the keys of what the first oracle registers.
    pub custody: Custody,
    /// What the first oracle does.
    pub duties: Duties,
    /// Whether the second organisation has an oracle and a store too.
    pub second_oracle: bool,
}

impl Setup {
    /// Two organisations, one oracle for everything that holds keys beside the patients.
    #[must_use]
    pub fn of(platform: Platform) -> Self {
        Self {
            platform,
            organizations: network::ORGANIZATIONS,
            custody: Custody::Organization,
            duties: Duties::All,
            second_oracle: false,
        }
    }
}

/// A running system. Dropping it kills its processes.
#[derive(Debug)]
pub struct System {
    /// The folder of everything: data, certificates, logs.
    pub dir: PathBuf,
    /// The Fabric network.
    pub network: Network,
    /// The chaincode service.
    pub chaincode: Process,
    /// The IPFS store.
    pub ipfs: Ipfs,
    /// The oracle of the first organisation.
    pub oracle: Oracle,
    /// The second organisation's oracle and its own store, if they were asked for.
    pub second: Option<(Oracle, Ipfs)>,
    /// Who takes part.
    pub consortium: Consortium,
}

/// A process of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The oracle.
    Oracle,
    /// The chaincode service.
    Chaincode,
    /// The IPFS store.
    Ipfs,
    /// A process of the network, by number.
    Network(usize),
}

/// What a folder remembers of its system between runs, besides each part's own data.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    chaincode_address: String,
    package_id: String,
}

impl System {
    /// Starts the network with the contracts deployed, the store and the oracle; data of an
    /// earlier run in `dir` is taken up again.
    ///
    /// # Errors
    /// When a part does not come up; the message quotes its log.
    pub async fn start(platform: Platform, dir: &Path) -> Result<Self> {
        Self::start_with(&Setup::of(platform), dir).await
    }

    /// Starts as [`System::start`], set up as told.
    ///
    /// # Errors
    /// As [`System::start`].
    pub async fn start_with(setup: &Setup, dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let dir = dir.canonicalize()?;
        let (network, ipfs) = tokio::try_join!(
            Network::start_with(setup.platform.network, &dir, setup.organizations),
            Ipfs::start(setup.platform.ipfs, &dir)
        )?;
        let chaincode = start_contracts(&network, &dir).await?;
        let consortium = Consortium::open(network.info(), &dir)?.with_custody(setup.custody);
        let settings = OracleSettings {
            name: FIRST_ORACLE.to_owned(),
            custody: setup.custody,
            duties: setup.duties,
            ipfs_api: ipfs.api.clone(),
            ..OracleSettings::default()
        };
        // The second oracle's store and keys take their time beside the first oracle's start.
        let (oracle, store) = tokio::try_join!(
            Oracle::start(&consortium, network.info(), &settings),
            prepare_second(setup, &consortium)
        )?;
        let second = match store {
            Some(store) => Some(start_second(&consortium, network.info(), store).await?),
            None => None,
        };
        Ok(Self {
            dir,
            network,
            chaincode,
            ipfs,
            oracle,
            second,
            consortium,
        })
    }

    /// Starts one more oracle.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start_oracle(&self, settings: &OracleSettings) -> Result<Oracle> {
        Oracle::start(&self.consortium, self.network.info(), settings).await
    }

    /// Ends all processes, each after those that use it.
    ///
    /// # Errors
    /// When one had to be killed.
    pub async fn stop(self) -> Result<()> {
        if let Some((oracle, store)) = self.second {
            oracle.process.stop().await?;
            store.stop().await?;
        }
        self.oracle.process.stop().await?;
        self.ipfs.process.stop().await?;
        self.chaincode.stop().await?;
        self.network.stop().await
    }

    /// The parts that can be killed.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        let mut parts = vec![Part::Oracle, Part::Chaincode, Part::Ipfs];
        parts.extend((0..self.network.size()).map(Part::Network));
        parts
    }

    /// Kills a part as `kill -9` does, and starts it again.
    ///
    /// # Errors
    /// When it does not come up again.
    pub async fn kill_and_restart(&mut self, part: Part) -> Result<()> {
        match part {
            Part::Oracle => self.oracle.kill_and_restart().await?,
            Part::Chaincode => {
                self.chaincode.kill_and_start_ready().await?;
            }
            Part::Ipfs => self.ipfs.kill_and_restart().await?,
            Part::Network(number) => self.network.kill_and_restart(number).await?,
        }
        Ok(())
    }

    /// The process of a part.
    pub fn process(&mut self, part: Part) -> &mut Process {
        match part {
            Part::Oracle => &mut self.oracle.process,
            Part::Chaincode => &mut self.chaincode,
            Part::Ipfs => &mut self.ipfs.process,
            Part::Network(number) => self.network.processes().swap_remove(number),
        }
    }

    /// Where the contracts listen for the peers, `host:port`.
    ///
    /// # Errors
    /// When the folder no longer says so.
    pub fn contracts_address(&self) -> Result<String> {
        let bytes = std::fs::read(self.dir.join(DEPLOYMENT_FILE))?;
        Ok(serde_json::from_slice::<Remembered>(&bytes)?.chaincode_address)
    }

    /// Where devices publish, `host:port`.
    #[must_use]
    pub fn mqtt_address(&self) -> &str {
        self.oracle.mqtt()
    }

    /// Where people query, `host:port`.
    #[must_use]
    pub fn rest_address(&self) -> &str {
        self.oracle.rest()
    }

    /// Names and processes of all parts.
    pub fn processes(&mut self) -> Vec<&mut Process> {
        let mut all = vec![
            &mut self.oracle.process,
            &mut self.chaincode,
            &mut self.ipfs.process,
        ];
        if let Some((oracle, store)) = &mut self.second {
            all.extend([&mut oracle.process, &mut store.process]);
        }
        all.extend(self.network.processes());
        all
    }
}

async fn prepare_second(setup: &Setup, consortium: &Consortium) -> Result<Option<Ipfs>> {
    if !setup.second_oracle {
        return Ok(None);
    }
    let keys = consortium.clone();
    let enrolled = tokio::task::spawn_blocking(move || keys.enrol_oracle(SECOND_ORACLE, 1));
    let store = Ipfs::start_named(setup.platform.ipfs, consortium.run_dir(), "ipfs-2").await?;
    enrolled.await??;
    Ok(Some(store))
}

async fn start_second(
    consortium: &Consortium,
    info: &network::NetworkInfo,
    store: Ipfs,
) -> Result<(Oracle, Ipfs)> {
    let settings = OracleSettings {
        name: SECOND_ORACLE.to_owned(),
        organization: 1,
        ipfs_api: store.api.clone(),
        ..OracleSettings::default()
    };
    Ok((Oracle::start(consortium, info, &settings).await?, store))
}

/// Deploys the contracts, the first time, and starts them.
///
/// # Errors
/// When the deployment is refused or the chaincode service does not come up.
pub async fn start_contracts(network: &Network, dir: &Path) -> Result<Process> {
    start_chaincode(&deployed(network, dir).await?, dir).await
}

async fn deployed(network: &Network, dir: &Path) -> Result<Remembered> {
    let file = dir.join(DEPLOYMENT_FILE);
    if let Ok(bytes) = std::fs::read(&file) {
        return serde_json::from_slice(&bytes).with_context(|| file.display().to_string());
    }
    let [port] = ports::kept(dir, "contracts")?;
    let chaincode_address = format!("127.0.0.1:{port}");
    let collections = binaries::workspace_root().join("chaincode/contracts/collections.json");
    let package_id = network
        .deploy(&Deployment {
            name: CHAINCODE,
            address: &chaincode_address,
            collections: Some(&collections.canonicalize()?),
        })
        .await?;
    let remembered = Remembered {
        chaincode_address,
        package_id,
    };
    std::fs::write(&file, serde_json::to_vec(&remembered)?)?;
    Ok(remembered)
}

async fn start_chaincode(remembered: &Remembered, dir: &Path) -> Result<Process> {
    let spec = Spec::new("contracts", &binaries::ours("contracts")?, dir)
        .env("CHAINCODE_SERVER_ADDRESS", &remembered.chaincode_address)
        .env("CORE_CHAINCODE_ID_NAME", &remembered.package_id);
    Ok(Process::start_ready(spec).await?.0)
}
