//! Oracles of a run: what each is told, as a configuration file, and its process.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use fabric_mspgen::SanName;
use serde::Deserialize;

use crate::{
    binaries,
    consortium::{Consortium, Person, path, quoted},
    network::NetworkInfo,
    ports,
    process::{Process, Spec},
    system::CHAINCODE,
};

/// How often the background jobs of an oracle in a run look for work.
const JOBS_INTERVAL: &str = "500ms";

/// Who holds the keys of the records that an oracle registers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Custody {
    /// The patient and the organisation's oracle.
    #[default]
    Organization,
    /// The patient alone.
    Patient,
}

impl Custody {
    /// The word for it in configuration files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Organization => "organization",
            Self::Patient => "patient",
        }
    }
}

/// What a process of an oracle does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Duties {
    /// Everything.
    #[default]
    All,
    /// Takes readings in and registers them; holds no private decryption key.
    Ingest,
    /// Answers people.
    Api,
}

/// What an oracle is told, apart from what follows from the run's folder.
#[derive(Debug, Clone, Default)]
pub struct OracleSettings {
    /// Name of the process, its certificate and its files.
    pub name: String,
    /// Number of its organisation.
    pub organization: usize,
    /// Who holds the keys.
    pub custody: Custody,
    /// What it does.
    pub duties: Duties,
    /// Its IPFS node's RPC.
    pub ipfs_api: String,
    /// The folder of its encryption keys, if not the one it was enrolled with.
    pub keys: Option<PathBuf>,
    /// The private keys it had before, newest first.
    pub previous_keys: Vec<PathBuf>,
    /// Of an ingest process: the public keys of the processes that answer people.
    pub release_keys: Vec<PathBuf>,
    /// Where it reaches its organisation's peer, `host:port`, if not where the peer is.
    pub peer: Option<String>,
    /// The folder of its journal, if not one of its own.
    pub journal: Option<PathBuf>,
    /// Whether it also has a port for devices without TLS, and one for health and metrics.
    pub insecure: bool,
}

/// Where an oracle serves, as it said when it was ready.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct OracleAddresses {
    /// MQTT over TLS, `host:port`.
    #[serde(default)]
    pub mqtt: Option<String>,
    /// MQTT in WebSockets over TLS, `host:port`.
    #[serde(default)]
    pub mqtt_websocket: Option<String>,
    /// REST over mutual TLS, `host:port`.
    #[serde(default)]
    pub rest: Option<String>,
    /// MQTT without TLS, `host:port`.
    #[serde(default)]
    pub mqtt_insecure: Option<String>,
    /// Health and metrics, `host:port`.
    #[serde(default)]
    pub health: Option<String>,
}

/// A running oracle.
#[derive(Debug)]
pub struct Oracle {
    /// The process.
    pub process: Process,
    /// Where it serves.
    pub addresses: OracleAddresses,
    /// The certificate and keys it acts with.
    pub identity: Person,
    /// Its configuration file.
    pub config: PathBuf,
    /// Its folder: journal, TLS certificates, log of refusals.
    pub home: PathBuf,
}

impl Oracle {
    /// Enrols an oracle's certificate and keys, writes its configuration and starts it.
    ///
    /// # Errors
    /// When a file cannot be written or the oracle does not come up.
    pub async fn start(
        consortium: &Consortium,
        info: &NetworkInfo,
        settings: &OracleSettings,
    ) -> Result<Self> {
        let mut identity = match settings.duties {
            Duties::Ingest => consortium.certify_oracle(&settings.name, settings.organization)?,
            Duties::All | Duties::Api => {
                consortium.enrol_oracle(&settings.name, settings.organization)?
            }
        };
        if let Some(keys) = &settings.keys {
            identity.keys = keys.clone();
        }
        let config = consortium.write_oracle_config(info, settings, &identity)?;
        let (process, addresses) = serve(&settings.name, &config, consortium.run_dir()).await?;
        Ok(Self {
            process,
            addresses,
            identity,
            config,
            home: consortium.oracle_home(&settings.name),
        })
    }

    /// Kills it as `kill -9` does and starts it again.
    ///
    /// # Errors
    /// When it does not come up again.
    pub async fn kill_and_restart(&mut self) -> Result<()> {
        self.process.kill_and_start_ready().await?;
        Ok(())
    }

    /// Where devices publish, `host:port`; empty if it takes no readings.
    #[must_use]
    pub fn mqtt(&self) -> &str {
        self.addresses.mqtt.as_deref().unwrap_or_default()
    }

    /// Where people query, `host:port`; empty if it answers nobody.
    #[must_use]
    pub fn rest(&self) -> &str {
        self.addresses.rest.as_deref().unwrap_or_default()
    }
}

async fn serve(name: &str, config: &Path, dir: &Path) -> Result<(Process, OracleAddresses)> {
    let spec = Spec::new(name, &binaries::ours("oracle")?, dir)
        .arg("serve")
        .option("--config", config);
    let (process, ready) = Process::start_ready(spec).await?;
    let addresses = serde_json::from_value(ready).context("the oracle's ready line")?;
    Ok((process, addresses))
}

impl Consortium {
    /// The folder of an oracle.
    #[must_use]
    pub fn oracle_home(&self, name: &str) -> PathBuf {
        self.dir.join("oracles").join(name)
    }

    /// The port of an oracle's REST API, the same in every run on one folder.
    ///
    /// # Errors
    /// When no port is free.
    pub fn rest_port(&self, oracle: &str) -> Result<u16> {
        let [rest, _] = ports::kept(self.run_dir(), oracle)?;
        Ok(rest)
    }

    /// Writes the configuration of an oracle and returns its path; issues its TLS certificates
    /// the first time.
    ///
    /// # Errors
    /// When a file cannot be written or a certificate not be issued.
    pub fn write_oracle_config(
        &self,
        info: &NetworkInfo,
        settings: &OracleSettings,
        identity: &Person,
    ) -> Result<PathBuf> {
        let home = self.oracle_home(&settings.name);
        self.issue_server_certificates(settings, &home)?;
        let mut text = self.common_sections(info, settings, identity);
        if settings.duties != Duties::Api {
            text.push_str(&self.ingest_sections(settings, &home)?);
        }
        if settings.duties != Duties::Ingest {
            text.push_str(&self.rest_section(settings, &home)?);
        }
        let file = home.join("oracle.toml");
        fs::write(&file, text)?;
        Ok(file)
    }

    fn issue_server_certificates(&self, settings: &OracleSettings, home: &Path) -> Result<()> {
        for server in ["rest", "mqtt"] {
            let folder = home.join(server);
            if !folder.join("server.key").is_file() {
                let names = ["localhost", "127.0.0.1"].map(SanName::parse);
                let issued = self
                    .organization(settings.organization)?
                    .issue_tls_server(server, &names)?;
                issued.write_server(&folder)?;
            }
        }
        Ok(())
    }

    fn common_sections(
        &self,
        info: &NetworkInfo,
        settings: &OracleSettings,
        identity: &Person,
    ) -> String {
        let own = &self.organizations[settings.organization];
        let custody = settings.custody.as_str();
        let role = match settings.duties {
            Duties::All => "all",
            Duties::Ingest => "ingest",
            Duties::Api => "api",
        };
        let list = |files: &[PathBuf]| {
            let files: Vec<String> = files.iter().map(|file| path(file)).collect();
            format!("[{}]", files.join(", "))
        };
        let keys = match settings.duties {
            Duties::Ingest => format!(
                "encryption_public_key_files = {}",
                list(&settings.release_keys)
            ),
            Duties::All | Duties::Api => format!(
                "encryption_key_file = {}\nprevious_encryption_key_files = {}",
                path(&identity.private_key_file()),
                list(&settings.previous_keys)
            ),
        };
        format!(
            "[organization]\nmsp_id = {msp_id}\ncustody = \"{custody}\"\n\n\
             [service]\nrole = \"{role}\"\n\n\
             [identity]\nmsp_dir = {msp_dir}\n{keys}\n\n\
             [fabric]\nchannel = {channel}\nchaincode = {chaincode}\n\
             endpoints = [{{ address = {peer}, server_name = {peer_name} }}]\n\
             tls_ca_file = {tls_ca}\n\n\
             [ipfs]\napi = {ipfs}\n\n\
             [jobs]\ninterval = \"{JOBS_INTERVAL}\"\n\n",
            msp_id = quoted(&own.msp_id),
            msp_dir = path(&identity.home.join("msp")),
            channel = quoted(&info.channel),
            chaincode = quoted(CHAINCODE),
            peer = quoted(settings.peer.as_ref().unwrap_or(&own.peer.address)),
            peer_name = quoted(&own.peer.server_name),
            tls_ca = path(&own.peer.tls_ca_file),
            ipfs = quoted(&settings.ipfs_api),
        )
    }

    fn ingest_sections(&self, settings: &OracleSettings, home: &Path) -> Result<String> {
        let [_, port] = ports::kept(self.run_dir(), &settings.name)?;
        let journal = match &settings.journal {
            Some(folder) => folder.clone(),
            None => home.join("journal"),
        };
        let insecure = match settings.insecure {
            true => "insecure_listen = \"127.0.0.1:0\"\n\n[health]\nlisten = \"127.0.0.1:0\"\n",
            false => "",
        };
        Ok(format!(
            "[mqtt]\nlisten = \"127.0.0.1:{port}\"\nwebsocket_listen = \"127.0.0.1:0\"\n\
             certificate_file = {certificate}\nkey_file = {key}\n\
             client_msp_dir = {device_msp}\n{insecure}\n\
             [journal]\ndir = {journal}\n\n",
            certificate = path(&home.join("mqtt/server.crt")),
            key = path(&home.join("mqtt/server.key")),
            device_msp = path(&self.organizations[settings.organization].msp_dir),
            journal = path(&journal),
        ))
    }

    fn rest_section(&self, settings: &OracleSettings, home: &Path) -> Result<String> {
        let port = self.rest_port(&settings.name)?;
        let callers: Vec<String> = self
            .organizations
            .iter()
            .map(|o| {
                format!(
                    "{{ msp_id = {}, msp_dir = {} }}",
                    quoted(&o.msp_id),
                    path(&o.msp_dir)
                )
            })
            .collect();
        let organization = self.organization(settings.organization)?;
        let ca = organization.folder().join("ca");
        let ca_certificate = format!("ca.{}-cert.pem", organization.domain());
        Ok(format!(
            "[rest]\nlisten = \"127.0.0.1:{port}\"\n\
             certificate_file = {certificate}\nkey_file = {key}\n\
             organizations = [{callers}]\nopen_for_readers = true\n\
             refusal_log = {refusals}\n\n\
             [enrolment]\nca_certificate_file = {ca_certificate}\nca_key_file = {ca_key}\n\
             dir = {enrolments}\n\n",
            certificate = path(&home.join("rest/server.crt")),
            key = path(&home.join("rest/server.key")),
            callers = callers.join(", "),
            refusals = path(&home.join("refusals.jsonl")),
            ca_certificate = path(&ca.join(ca_certificate)),
            ca_key = path(&ca.join("priv_sk")),
            enrolments = path(&home.join("enrolments")),
        ))
    }
}
