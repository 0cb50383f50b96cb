//! The oracle's configuration: one TOML file, read once, typed.
//!
//! Two levels. The module `raw` holds what the file says, key by key, and refuses keys nobody knows.
//! [`Config`] holds real types, built by one function that reports every problem it finds at
//! once, so that an operator mends a file in one go. Nothing here opens a socket; a relative path
//! is relative to the folder of the configuration file, never to the current folder.

mod build;
mod modes;
mod raw;
mod size;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fabric_msp::MspId;

pub use self::modes::{Custody, ServiceRole, UnknownMode};
pub use self::size::{ByteSize, ByteSizeError};

/// Everything the oracle is told at start.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// What this process does.
    pub role: ServiceRole,
    /// Whose oracle this is.
    pub organization: OrganizationConfig,
    /// The certificate and keys it acts with.
    pub identity: IdentityConfig,
    /// The channel it registers records on.
    pub fabric: FabricConfig,
    /// The store it pins sealed objects in.
    pub ipfs: IpfsConfig,
    /// Where devices publish; present if the role takes readings.
    pub mqtt: Option<MqttConfig>,
    /// Where people query; present if the role serves people.
    pub rest: Option<RestConfig>,
    /// How devices get certificates; absent, not from this oracle.
    pub enrolment: Option<EnrolmentConfig>,
    /// Where acknowledged readings wait until they are on the ledger; present if the role takes
    /// readings.
    pub journal: Option<JournalConfig>,
    /// How readings are gathered.
    pub pipeline: PipelineConfig,
    /// What is done in the background.
    pub jobs: JobsConfig,
    /// `[health] listen`: where programs of the same machine ask without TLS how a process is that
    /// takes readings; absent, nowhere.
    pub health: Option<SocketAddr>,
}

/// `[organization]`.
#[derive(Debug, Clone, PartialEq)]
pub struct OrganizationConfig {
    /// `msp_id`: the organisation's name on the channel.
    pub msp_id: MspId,
    /// `custody`: who can open records that this organisation registers from now on.
    pub custody: Custody,
}

/// `[identity]`.
#[derive(Debug, Clone, PartialEq)]
pub struct IdentityConfig {
    /// `msp_dir`: an MSP folder with `signcerts` and `keystore`; its certificate carries
    /// `salus.role=oracle`.
    pub msp_dir: PathBuf,
    /// `encryption_key_file`: the oracle's private RSA JWK, readable by its owner only; present if
    /// the role serves people. A process that only takes readings never looks at it.
    pub encryption_key_file: Option<PathBuf>,
    /// `previous_encryption_key_files`: private keys of before, which still open wraps until these
    /// are replaced.
    pub previous_encryption_key_files: Vec<PathBuf>,
    /// `encryption_public_key_files`: public keys of the oracles that serve people, for a process
    /// that only takes readings.
    pub encryption_public_key_files: Vec<PathBuf>,
}

/// `[fabric]`.
#[derive(Debug, Clone, PartialEq)]
pub struct FabricConfig {
    /// `channel`.
    pub channel: String,
    /// `chaincode`: the name it was deployed under.
    pub chaincode: String,
    /// `endpoints`: peers with a gateway, tried in this order.
    pub endpoints: Vec<FabricEndpoint>,
    /// `tls_ca_file`: PEM roots of those peers' TLS certificates.
    pub tls_ca_file: PathBuf,
}

/// One entry of `[fabric] endpoints`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FabricEndpoint {
    /// `address`: host and port.
    pub address: String,
    /// `server_name`: the name in the peer's certificate, when it is not the host.
    pub server_name: Option<String>,
}

/// `[ipfs]`.
#[derive(Debug, Clone, PartialEq)]
pub struct IpfsConfig {
    /// `api`: base URL of Kubo's RPC, `http://host:port`.
    pub api: http::Uri,
}

/// `[mqtt]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MqttConfig {
    /// `listen`: where devices connect with TLS.
    pub listen: SocketAddr,
    /// `websocket_listen`: where devices connect with TLS and WebSockets; absent, nowhere.
    pub websocket_listen: Option<SocketAddr>,
    /// `certificate_file`: PEM chain of the broker.
    pub certificate_file: PathBuf,
    /// `key_file`: PEM key of that certificate.
    pub key_file: PathBuf,
    /// `client_msp_dir`: MSP folder that device certificates are checked against.
    pub client_msp_dir: PathBuf,
    /// `insecure_listen`: a second port without TLS, for development on loopback only.
    pub insecure_listen: Option<SocketAddr>,
    /// `device_messages_per_second`, `device_burst`: what one device may publish, over all its connections.
    pub device_rate: Option<MessageRate>,
    /// `organization_messages_per_second`, `organization_burst`: what all devices may publish together.
    pub organization_rate: Option<MessageRate>,
}

/// Messages that may be published; what is above is read later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageRate {
    /// Messages a second in the long run.
    pub per_second: NonZeroU32,
    /// Messages at once after a pause; a second's worth unless configured.
    pub burst: NonZeroU32,
}

/// `[rest]`.
#[derive(Debug, Clone, PartialEq)]
pub struct RestConfig {
    /// `listen`: where people and programs connect with TLS.
    pub listen: SocketAddr,
    /// `certificate_file`: PEM chain of the server.
    pub certificate_file: PathBuf,
    /// `key_file`: PEM key of that certificate.
    pub key_file: PathBuf,
    /// `organizations`: whose people may call.
    pub organizations: Vec<CallerOrganization>,
    /// `open_for_readers`: whether this oracle opens an object for a permitted reader who asks
    /// for FHIR or for a segment, instead of handing out the sealed object only.
    pub open_for_readers: bool,
    /// `concurrent_requests`: more at once are answered 503.
    pub concurrent_requests: usize,
    /// `request_timeout`: a response begins within this time.
    pub request_timeout: Duration,
    /// `max_body`: bytes of a request body.
    pub max_body: u64,
    /// `idle_timeout`: a connection without a request is closed after this time.
    pub idle_timeout: Duration,
    /// `stall_timeout`: a connection whose peer takes nothing of an answer is closed after this
    /// time.
    pub stall_timeout: Duration,
    /// `refusal_log`: file for signed requests that could not be recorded on the ledger, because
    /// nothing proves who made them.
    pub refusal_log: Option<PathBuf>,
}

/// One entry of `[rest] organizations`.
#[derive(Debug, Clone, PartialEq)]
pub struct CallerOrganization {
    /// `msp_id`.
    pub msp_id: MspId,
    /// `msp_dir`: its verifying MSP (`cacerts`, `crls`, `config.yaml`, ...).
    pub msp_dir: PathBuf,
}

/// `[enrolment]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolmentConfig {
    /// `ca_certificate_file`: PEM of the CA that certifies devices; the devices' MSP must know it.
    pub ca_certificate_file: PathBuf,
    /// `ca_key_file`: PEM of its P-256 key, readable by its owner only.
    pub ca_key_file: PathBuf,
    /// `dir`: folder of open tokens and answered renewals.
    pub dir: PathBuf,
    /// `validity`: how long a device's certificate is good.
    pub validity: Duration,
    /// `token_lifetime`: how long a token is good at most, and unless less is asked for.
    pub token_lifetime: Duration,
}

/// `[journal]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalConfig {
    /// `dir`.
    pub dir: PathBuf,
    /// `max_bytes`: a fuller journal refuses publishes until the pipeline has caught up.
    pub max_bytes: u64,
    /// `fsync_window`: how long an append may wait for others to share its `fsync`.
    pub fsync_window: Duration,
    /// `objects_max_bytes`: bytes of all devices' unfinished large objects.
    pub objects_max_bytes: u64,
    /// `objects_expiry`: a large object to which nothing was added for so long is given up.
    pub objects_expiry: Duration,
}

/// `[pipeline]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineConfig {
    /// `segment_readings`: a segment closes at this many readings.
    pub segment_readings: usize,
    /// `segment_bytes`: a segment closes at this many payload bytes.
    pub segment_bytes: u64,
    /// `segment_age`: a segment closes when its first reading is this old.
    pub segment_age: Duration,
    /// `register_batch`: records in one transaction, at most.
    pub register_batch: usize,
}

/// `[jobs]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobsConfig {
    /// `interval`: time between two passes of a job.
    pub interval: Duration,
    /// `tick_interval`: time between two moves of the organisation's clock on the channel.
    pub tick_interval: Duration,
}

/// Port 0 of loopback: a safe local service.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:0";
/// Default of `[fabric] channel`, the test network's.
pub const DEFAULT_CHANNEL: &str = "mychannel";
/// Default of `[fabric] chaincode`.
pub const DEFAULT_CHAINCODE: &str = "salus";
/// Default of `[rest] concurrent_requests`.
pub const DEFAULT_CONCURRENT_REQUESTS: usize = 256;
/// Default of `[rest] request_timeout`; longer than the gateway's own deadlines together.
pub const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(90);
/// Default of `[rest] max_body`, bytes.
pub const DEFAULT_MAX_BODY: u64 = 256 << 10;
/// Default of `[rest] idle_timeout`; longer than `salus` keeps an unused connection.
pub const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Default of `[rest] stall_timeout`.
pub const DEFAULT_STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Default of `[enrolment] validity`.
pub const DEFAULT_DEVICE_VALIDITY: Duration = Duration::from_secs(365 * 86_400);
/// Default of `[enrolment] token_lifetime`.
pub const DEFAULT_TOKEN_LIFETIME: Duration = Duration::from_secs(86_400);
/// Default of `[journal] max_bytes`.
pub const DEFAULT_JOURNAL_BYTES: u64 = 4 << 30;
/// Default of `[journal] objects_max_bytes`.
pub const DEFAULT_OBJECTS_BYTES: u64 = 16 << 30;
/// Default of `[journal] objects_expiry`: three days.
pub const DEFAULT_OBJECTS_EXPIRY: Duration = Duration::from_secs(72 * 3600);
/// Default of `[journal] fsync_window`.
pub const DEFAULT_FSYNC_WINDOW: Duration = Duration::from_millis(2);
/// Default of `[pipeline] segment_readings`.
pub const DEFAULT_SEGMENT_READINGS: usize = 500;
/// Default of `[pipeline] segment_bytes`.
pub const DEFAULT_SEGMENT_BYTES: u64 = 512 << 10;
/// Default of `[pipeline] segment_age`.
pub const DEFAULT_SEGMENT_AGE: Duration = Duration::from_secs(2);
/// Default of `[pipeline] register_batch`.
pub const DEFAULT_REGISTER_BATCH: usize = 100;
/// Default of `[jobs] interval`.
pub const DEFAULT_JOB_INTERVAL: Duration = Duration::from_secs(60);
/// Default of `[jobs] tick_interval`.
pub const DEFAULT_TICK_INTERVAL: Duration = Duration::from_secs(300);

/// Why a configuration cannot be used. The program ends with code 64.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration file {} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("the configuration file {} is not valid TOML: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and what, in the parser's words.
        message: String,
    },
    /// The file is TOML but some keys are wrong; all of them are listed.
    #[error("the configuration file {} has {} problem(s){}", path.display(), problems.len(), ProblemList(problems))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Every problem found.
        problems: Vec<KeyProblem>,
    },
}

/// One wrong key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyProblem {
    /// The key as written in the file, for example `fabric.endpoints[0].address`.
    pub key: String,
    /// What is wrong, and what is expected.
    pub expected: String,
}

impl fmt::Display for KeyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.expected)
    }
}

/// Prints problems one a line below the message.
struct ProblemList<'a>(&'a [KeyProblem]);

impl fmt::Display for ProblemList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in self.0 {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl Config {
    /// Reads and checks a file, and that the files it names are there.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Read`], [`ConfigError::Syntax`] or [`ConfigError::Invalid`] with every
    /// problem.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::load_as(path, None)
    }

    /// The same for a process of another role than the file says.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn load_as(path: &Path, role: Option<ServiceRole>) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        let config = build::config(&text, path, role)?;
        let problems = config.missing_files();
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError::Invalid {
                path: path.to_owned(),
                problems,
            })
        }
    }

    /// Checks the text of a configuration; `path` names it in messages and is what relative
    /// paths start from. Touches no file.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Syntax`] or [`ConfigError::Invalid`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        build::config(text, path, None)
    }

    /// The files and folders that are named and absent. The journal's folder is made at start
    /// and may be absent.
    fn missing_files(&self) -> Vec<KeyProblem> {
        let Self {
            identity,
            fabric,
            mqtt,
            rest,
            enrolment,
            ..
        } = self;
        let mut wanted: Vec<(String, &Path)> = vec![("identity.msp_dir".into(), &identity.msp_dir)];
        if let Some(key_file) = &identity.encryption_key_file {
            wanted.push(("identity.encryption_key_file".into(), key_file));
        }
        for (name, files) in [
            (
                "previous_encryption_key_files",
                &identity.previous_encryption_key_files,
            ),
            (
                "encryption_public_key_files",
                &identity.encryption_public_key_files,
            ),
        ] {
            for (index, file) in files.iter().enumerate() {
                wanted.push((format!("identity.{name}[{index}]"), file));
            }
        }
        wanted.push(("fabric.tls_ca_file".into(), &fabric.tls_ca_file));
        if let Some(mqtt) = mqtt {
            wanted.push(("mqtt.certificate_file".into(), &mqtt.certificate_file));
            wanted.push(("mqtt.key_file".into(), &mqtt.key_file));
            wanted.push(("mqtt.client_msp_dir".into(), &mqtt.client_msp_dir));
        }
        if let Some(rest) = rest {
            wanted.push(("rest.certificate_file".into(), &rest.certificate_file));
            wanted.push(("rest.key_file".into(), &rest.key_file));
            for (index, organization) in rest.organizations.iter().enumerate() {
                wanted.push((
                    format!("rest.organizations[{index}].msp_dir"),
                    &organization.msp_dir,
                ));
            }
        }
        if let Some(enrolment) = enrolment {
            wanted.push((
                "enrolment.ca_certificate_file".into(),
                &enrolment.ca_certificate_file,
            ));
            wanted.push(("enrolment.ca_key_file".into(), &enrolment.ca_key_file));
        }
        wanted
            .into_iter()
            .filter(|(_, path)| !path.exists())
            .map(|(key, path)| KeyProblem {
                key,
                expected: format!("{} does not exist", path.display()),
            })
            .collect()
    }
}
