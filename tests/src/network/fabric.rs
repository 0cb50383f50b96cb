//! A real Fabric network on loopback: one Raft orderer and a peer for each organisation, from the
//! programs found. Its settings are the files of `network/fabric/`.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use fabric_mspgen::cryptogen;

use super::{CouchDb, Deployment, Endpoint, NetworkInfo, ORGANIZATIONS, OrganizationInfo};
use crate::{
    binaries, ports,
    process::{Process, Spec, run, until_listening},
};

const CHANNEL: &str = "mychannel";
const HOST: &str = "127.0.0.1";
/// Its presence in a network's folder says that all nodes have joined the channel.
const JOINED_FILE: &str = "joined";
const ORDERER_NAME: &str = "orderer.example.com";
/// How long a new orderer may take to elect its leader.
const ELECTION_TIMEOUT: Duration = Duration::from_secs(20);
/// How long peers may take to find each other; private data is endorsed only after that.
const GOSSIP_TIMEOUT: Duration = Duration::from_secs(30);

/// Ports of a network.
#[derive(Debug, Clone)]
struct Ports {
    orderer: u16,
    orderer_admin: u16,
    peers: Vec<u16>,
    peer_chaincode: Vec<u16>,
}

impl Ports {
    fn kept(dir: &Path, organizations: usize) -> Result<Self> {
        let [orderer, orderer_admin] = ports::kept(dir, "orderer")?;
        Ok(Self {
            orderer,
            orderer_admin,
            peers: ports::kept_list(dir, "peers", organizations)?,
            peer_chaincode: ports::kept_list(dir, "peer-chaincode", organizations)?,
        })
    }
}

/// Running processes of Hyperledger Fabric.
#[derive(Debug)]
pub struct RealFabric {
    /// Where its parts are.
    pub info: NetworkInfo,
    /// Orderer first, then the peers.
    pub processes: Vec<Process>,
    dir: PathBuf,
    ports: Ports,
}

impl RealFabric {
    /// Starts it with each peer's state in LevelDB, or in a CouchDB server of its own.
    pub(super) async fn start(
        dir: &Path,
        organizations: usize,
        couchdbs: Option<&[CouchDb]>,
    ) -> Result<Self> {
        let missing = binaries::missing(&binaries::FABRIC_PROGRAMS);
        if !missing.is_empty() {
            bail!(
                "a real Fabric network needs {}: not on PATH or in {}",
                missing.join(", "),
                binaries::FABRIC_BIN_VAR
            );
        }
        if let Some(servers) = couchdbs
            && servers.len() < organizations
        {
            bail!(
                "{organizations} peers need a CouchDB server each; {} lists {}",
                super::COUCHDB_VAR,
                servers.len()
            );
        }
        let dir = dir.join("network");
        let ports = Ports::kept(&dir, organizations)?;
        let is_new = !dir.join(JOINED_FILE).is_file();
        if is_new {
            for server in couchdbs.unwrap_or_default() {
                server.check_empty().await?;
            }
            prepare(&dir, &ports)?;
        }
        let mut fabric = Self {
            info: info(&dir, &ports),
            processes: Vec::new(),
            dir,
            ports,
        };
        fabric.start_orderer().await?;
        for number in 1..=organizations {
            let couchdb = couchdbs.and_then(|servers| servers.get(number - 1));
            fabric.start_peer(number, couchdb).await?;
        }
        if is_new {
            fabric.create_channel().await?;
            fs::write(fabric.dir.join(JOINED_FILE), CHANNEL)?;
        }
        Ok(fabric)
    }

    pub(super) async fn stop(self) -> Result<()> {
        // Peers first: they would only log that their orderer is gone.
        for process in self.processes.into_iter().rev() {
            process.stop().await?;
        }
        Ok(())
    }

    pub(super) async fn kill_and_restart(&mut self, number: usize) -> Result<()> {
        let address = self.address_of(number);
        self.processes[number].kill_and_listen(&address).await
    }

    pub(super) async fn restart(&mut self, number: usize) -> Result<()> {
        let address = self.address_of(number);
        self.processes[number].start_and_listen(&address).await
    }

    pub(super) fn peer_folder(&self, organization: usize) -> PathBuf {
        self.dir.join(format!("peer{}", organization + 1))
    }

    fn address_of(&self, number: usize) -> String {
        match number {
            0 => self.info.orderer.address.clone(),
            peer => self.info.organizations[peer - 1].peer.address.clone(),
        }
    }

    async fn start_orderer(&mut self) -> Result<()> {
        let home = orderer_home(&self.dir);
        let data = self.dir.join("orderer");
        let tls = |file: &str| home.join("tls").join(file).into_os_string();
        let tls_list = || bracketed(&home.join("tls/ca.crt"));
        let spec = self
            .spec("orderer", "orderer")?
            .env("ORDERER_GENERAL_LISTENADDRESS", HOST)
            .env("ORDERER_GENERAL_LISTENPORT", self.ports.orderer.to_string())
            .env("ORDERER_GENERAL_LOCALMSPDIR", home.join("msp"))
            .env("ORDERER_GENERAL_TLS_PRIVATEKEY", tls("server.key"))
            .env("ORDERER_GENERAL_TLS_CERTIFICATE", tls("server.crt"))
            .env("ORDERER_GENERAL_TLS_ROOTCAS", tls_list())
            .env(
                "ORDERER_GENERAL_CLUSTER_CLIENTCERTIFICATE",
                tls("server.crt"),
            )
            .env(
                "ORDERER_GENERAL_CLUSTER_CLIENTPRIVATEKEY",
                tls("server.key"),
            )
            .env("ORDERER_FILELEDGER_LOCATION", data.join("ledger"))
            .env("ORDERER_CONSENSUS_WALDIR", data.join("wal"))
            .env("ORDERER_CONSENSUS_SNAPDIR", data.join("snapshots"))
            .env("ORDERER_ADMIN_LISTENADDRESS", self.orderer_admin())
            .env("ORDERER_ADMIN_TLS_PRIVATEKEY", tls("server.key"))
            .env("ORDERER_ADMIN_TLS_CERTIFICATE", tls("server.crt"))
            .env("ORDERER_ADMIN_TLS_ROOTCAS", tls_list())
            .env("ORDERER_ADMIN_TLS_CLIENTROOTCAS", tls_list())
            .env("ORDERER_OPERATIONS_LISTENADDRESS", format!("{HOST}:0"));
        let mut process = Process::start(spec)?;
        until_listening(&mut process, &self.orderer_admin()).await?;
        self.processes.push(process);
        Ok(())
    }

    async fn start_peer(&mut self, number: usize, couchdb: Option<&CouchDb>) -> Result<()> {
        let organization = &self.info.organizations[number - 1];
        let name = organization.peer.server_name.clone();
        let address = organization.peer.address.clone();
        let home = peer_home(&self.dir, &organization.domain);
        let data = self.dir.join(format!("peer{number}"));
        let spec = self
            .spec(&name, "peer")?
            .arg("node")
            .arg("start")
            .env("CORE_PEER_ID", &name)
            .env("CORE_PEER_ADDRESS", &address)
            .env("CORE_PEER_LISTENADDRESS", &address)
            .env(
                "CORE_PEER_CHAINCODELISTENADDRESS",
                format!("{HOST}:{}", self.ports.peer_chaincode[number - 1]),
            )
            .env("CORE_PEER_GOSSIP_BOOTSTRAP", &address)
            .env("CORE_PEER_GOSSIP_ENDPOINT", &address)
            .env("CORE_PEER_GOSSIP_EXTERNALENDPOINT", &address)
            .env("CORE_PEER_LOCALMSPID", &organization.msp_id)
            .env("CORE_PEER_MSPCONFIGPATH", home.join("msp"))
            .env("CORE_PEER_TLS_CERT_FILE", home.join("tls/server.crt"))
            .env("CORE_PEER_TLS_KEY_FILE", home.join("tls/server.key"))
            .env("CORE_PEER_TLS_ROOTCERT_FILE", home.join("tls/ca.crt"))
            .env("CORE_PEER_FILESYSTEMPATH", &data)
            .env("CORE_LEDGER_SNAPSHOTS_ROOTDIR", data.join("snapshots"))
            .env("CORE_OPERATIONS_LISTENADDRESS", format!("{HOST}:0"));
        let spec = match couchdb {
            Some(couchdb) => couchdb.told_to(spec),
            None => spec,
        };
        let mut process = Process::start(spec)?;
        until_listening(&mut process, &address).await?;
        self.processes.push(process);
        Ok(())
    }

    async fn create_channel(&self) -> Result<()> {
        let block = self.dir.join("genesis.block");
        let configtxgen = self
            .spec("configtxgen", "configtxgen")?
            .option("-profile", "Consortium")
            .option("-channelID", CHANNEL)
            .option("-outputBlock", &block);
        run(configtxgen).await?;
        let tls = orderer_home(&self.dir).join("tls");
        let join = self
            .spec("osnadmin", "osnadmin")?
            .arg("channel")
            .arg("join")
            .option("--channelID", CHANNEL)
            .option("--config-block", &block)
            .option("-o", self.orderer_admin())
            .option("--ca-file", tls.join("ca.crt"))
            .option("--client-cert", tls.join("server.crt"))
            .option("--client-key", tls.join("server.key"));
        let answer = run(join).await?;
        // osnadmin exits with 0 whatever the orderer answered.
        if !answer.contains("\"status\": \"active\"") {
            bail!("the orderer did not join the channel: {answer}");
        }
        for organization in &self.info.organizations {
            let join = self.admin(organization)?.arg("channel").arg("join");
            run(join.option("-b", &block)).await?;
        }
        Ok(())
    }

    pub(super) async fn deploy(&self, deployment: &Deployment<'_>) -> Result<String> {
        let package = fabric_devnet::package::ccaas(deployment.name, deployment.address)?;
        let file = self.dir.join(format!("{}.tar.gz", deployment.name));
        fs::write(&file, &package.bytes)?;
        for organization in &self.info.organizations {
            let install = self.lifecycle(organization, "install")?;
            run(install.arg(&file)).await?;
            let approve = self.lifecycle(organization, "approveformyorg")?;
            let approve = self.definition(approve, deployment);
            let approve = self.to_orderer(approve).option("--package-id", &package.id);
            run_once_there_is_a_leader(approve).await?;
        }
        let commit = self.lifecycle(&self.info.organizations[0], "commit")?;
        let mut commit = self.to_orderer(self.definition(commit, deployment));
        for organization in &self.info.organizations {
            commit = commit
                .option("--peerAddresses", &organization.peer.address)
                .option("--tlsRootCertFiles", &organization.peer.tls_ca_file);
        }
        run(commit).await?;
        self.until_peers_meet().await?;
        Ok(package.id)
    }

    fn definition(&self, spec: Spec, deployment: &Deployment<'_>) -> Spec {
        let spec = spec
            .option("--channelID", CHANNEL)
            .option("--name", deployment.name)
            .option("--version", "1.0")
            .option("--sequence", "1");
        match deployment.collections {
            Some(file) => spec.option("--collections-config", file),
            None => spec,
        }
    }

    fn to_orderer(&self, spec: Spec) -> Spec {
        spec.option("-o", &self.info.orderer.address)
            .arg("--tls")
            .option("--cafile", &self.info.orderer.tls_ca_file)
    }

    /// Waits until each peer's discovery knows the other, as `requiredPeerCount` above 0 needs.
    async fn until_peers_meet(&self) -> Result<()> {
        const PAUSE: Duration = Duration::from_millis(100);
        const VIEW_OF_BOTH: &str = "Membership view has changed";
        let started = Instant::now();
        loop {
            let met = self.processes[1..].iter().all(|peer| {
                fs::read_to_string(peer.log()).is_ok_and(|log| log.contains(VIEW_OF_BOTH))
            });
            if met {
                return Ok(());
            }
            if started.elapsed() > GOSSIP_TIMEOUT {
                bail!("the peers did not find each other through gossip");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn lifecycle(&self, organization: &OrganizationInfo, step: &str) -> Result<Spec> {
        Ok(self
            .admin(organization)?
            .arg("lifecycle")
            .arg("chaincode")
            .arg(step))
    }

    /// The `peer` command as an organisation's administrator.
    ///
    /// # Errors
    /// When the program has gone.
    pub fn admin(&self, organization: &OrganizationInfo) -> Result<Spec> {
        Ok(self
            .spec("peer-command", "peer")?
            .env("FABRIC_LOGGING_SPEC", "error")
            .env("CORE_PEER_ADDRESS", &organization.peer.address)
            .env("CORE_PEER_LOCALMSPID", &organization.msp_id)
            .env("CORE_PEER_MSPCONFIGPATH", &organization.admin_msp_dir)
            .env("CORE_PEER_TLS_ENABLED", "true")
            .env(
                "CORE_PEER_TLS_ROOTCERT_FILE",
                &organization.peer.tls_ca_file,
            ))
    }

    fn spec(&self, name: &str, program: &str) -> Result<Spec> {
        let path = binaries::outside(program).with_context(|| format!("{program} has gone"))?;
        Ok(Spec::new(name, &path, &self.dir).env("FABRIC_CFG_PATH", self.dir.join("config")))
    }

    fn orderer_admin(&self) -> String {
        format!("{HOST}:{}", self.ports.orderer_admin)
    }
}

/// Runs a command that needs the orderer again until a new orderer has elected its Raft leader.
async fn run_once_there_is_a_leader(spec: Spec) -> Result<String> {
    const PAUSE: Duration = Duration::from_millis(100);
    let started = Instant::now();
    loop {
        match run(spec.clone()).await {
            Err(error)
                if started.elapsed() < ELECTION_TIMEOUT
                    && error.to_string().contains("SERVICE_UNAVAILABLE") =>
            {
                tokio::time::sleep(PAUSE).await;
            }
            result => return result,
        }
    }
}

/// Lays a new network's folder: certificates and settings.
fn prepare(dir: &Path, ports: &Ports) -> Result<()> {
    cryptogen(&dir.join("crypto"), ports.peers.len())?;
    let source = binaries::workspace_root().join("network/fabric");
    let config = dir.join("config");
    fs::create_dir_all(&config)?;
    let builder = source.join("builders/ccaas").canonicalize()?;
    let mut values = vec![
        ("orderer_host".to_owned(), HOST.to_owned()),
        ("peer_host".to_owned(), HOST.to_owned()),
        ("orderer_port".to_owned(), ports.orderer.to_string()),
        ("builder_dir".to_owned(), builder.display().to_string()),
    ];
    for (number, port) in (1..).zip(&ports.peers) {
        values.push((format!("org{number}_port"), port.to_string()));
    }
    for name in ["configtx.yaml", "core.yaml", "orderer.yaml"] {
        let text = fs::read_to_string(source.join(name))?;
        let mut text = with_organizations(text, ports.peers.len())?;
        for (key, value) in &values {
            text = text.replace(&format!("{{{{{key}}}}}"), value);
        }
        fs::write(config.join(name), text)?;
    }
    Ok(())
}

/// Adds organisations to the two that `configtx.yaml` describes, after the second's pattern.
fn with_organizations(text: String, organizations: usize) -> Result<String> {
    const SECOND: &str = "  - &Org2\n";
    const END: &str = "\nProfiles:\n";
    const MEMBERS: &str = "[*Org1, *Org2]";
    let (Some(start), Some(end)) = (text.find(SECOND), text.find(END)) else {
        return Ok(text);
    };
    let pattern = text.get(start..end).context("a section that ends")?;
    let (mut sections, mut members) = (String::new(), String::from("[*Org1, *Org2"));
    for number in ORGANIZATIONS + 1..=organizations {
        let section = pattern.replace("Org2", &format!("Org{number}"));
        sections.push_str(&section.replace("org2", &format!("org{number}")));
        members.push_str(&format!(", *Org{number}"));
    }
    members.push(']');
    let with_sections = format!("{}{sections}{}", &text[..end], &text[end..]);
    Ok(with_sections.replace(MEMBERS, &members))
}

fn info(dir: &Path, ports: &Ports) -> NetworkInfo {
    let crypto = dir.join("crypto");
    let organizations = (1..=ports.peers.len()).map(|number| {
        let domain = format!("org{number}.example.com");
        let home = crypto.join("peerOrganizations").join(&domain);
        OrganizationInfo {
            msp_id: format!("Org{number}MSP"),
            peer: Endpoint {
                address: format!("{HOST}:{}", ports.peers[number - 1]),
                server_name: format!("peer0.{domain}"),
                tls_ca_file: peer_home(dir, &domain).join("tls/ca.crt"),
            },
            msp_dir: home.join("msp"),
            admin_msp_dir: home.join(format!("users/Admin@{domain}/msp")),
            domain,
        }
    });
    NetworkInfo {
        channel: CHANNEL.to_owned(),
        orderer: Endpoint {
            address: format!("{HOST}:{}", ports.orderer),
            server_name: ORDERER_NAME.to_owned(),
            tls_ca_file: orderer_home(dir).join("tls/ca.crt"),
        },
        organizations: organizations.collect(),
        crypto_dir: crypto,
    }
}

fn orderer_home(dir: &Path) -> PathBuf {
    dir.join("crypto/ordererOrganizations/example.com/orderers")
        .join(ORDERER_NAME)
}

fn peer_home(dir: &Path, domain: &str) -> PathBuf {
    dir.join("crypto/peerOrganizations")
        .join(domain)
        .join("peers")
        .join(format!("peer0.{domain}"))
}

/// A list of one path as Fabric reads it from an environment variable.
fn bracketed(path: &Path) -> OsString {
    let mut list = OsString::from("[");
    list.push(path);
    list.push("]");
    list
}
