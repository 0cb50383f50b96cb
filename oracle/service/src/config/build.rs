//! From what the file says to what the program uses, gathering every problem on the way.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use fabric_msp::MspId;
use figment::Figment;
use figment::providers::{Format, Toml};
use humantime_serde::re::humantime;
use serde::de::DeserializeOwned;

use super::raw::{
    RawCallerOrganization, RawEndpoint, RawFabric, RawIdentity, RawIpfs, RawJobs, RawJournal,
    RawMqtt, RawOrganization, RawPipeline, RawRest, RawService,
};
use super::*;

/// The sections there are.
const SECTIONS: [&str; 10] = [
    "service",
    "organization",
    "identity",
    "fabric",
    "ipfs",
    "mqtt",
    "rest",
    "journal",
    "pipeline",
    "jobs",
];
/// `[rest] concurrent_requests`: a number of requests.
const CONCURRENT_REQUESTS: RangeInclusive<u64> = 1..=65_536;
const MESSAGES: RangeInclusive<u32> = 1..=1_000_000;
/// `[pipeline] segment_readings`: a number of readings.
const SEGMENT_READINGS: RangeInclusive<u64> = 1..=100_000;
/// `[pipeline] register_batch`: records; the contract refuses more than 500 in one transaction.
const REGISTER_BATCH: RangeInclusive<u64> = 1..=500;
/// `[journal] max_bytes`: below one mebibyte a single large message would fill it.
const JOURNAL_BYTES: RangeInclusive<u64> = 1 << 20..=1 << 50;
/// `[pipeline] segment_bytes`.
const SEGMENT_BYTES: RangeInclusive<u64> = 1..=64 << 20;
/// `[rest] max_body`.
const MAX_BODY: RangeInclusive<u64> = 1 << 10..=16 << 20;
/// `[journal] fsync_window`: a device waits at least this long for its acknowledgement.
const FSYNC_WINDOW: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(1);
/// `[pipeline] segment_age`.
const SEGMENT_AGE: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(3600);
/// `[rest] request_timeout`.
const REQUEST_TIMEOUT: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(600);

/// `[jobs] interval` and `tick_interval`: the channel's clocks are to move every few minutes.
const JOB_INTERVAL: RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(86_400);

/// Builds the typed configuration; see [`Config::parse`].
pub(super) fn config(
    text: &str,
    path: &Path,
    role: Option<ServiceRole>,
) -> Result<Config, ConfigError> {
    let figment = Figment::from(Toml::string(text));
    // An empty extraction finds syntax errors before any key is looked at.
    let top: figment::value::Dict = figment.extract().map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        message: error.to_string(),
    })?;
    let mut sections = Sections {
        figment,
        folder: path.parent().unwrap_or(Path::new("")).to_owned(),
        problems: Vec::new(),
    };
    for key in top.keys().filter(|key| !SECTIONS.contains(&key.as_str())) {
        sections.problem(
            key,
            format!("no such section; there are {}", SECTIONS.join(", ")),
        );
    }
    let written = sections.service();
    let role = role.or(written).unwrap_or_default();
    let organization = sections.organization();
    let custody = organization.as_ref().map(|section| section.custody);
    let identity = sections.identity(role, custody.unwrap_or_default());
    let fabric = sections.fabric();
    let ipfs = sections.ipfs();
    // A section that the role does not use may be there, for one file serves both processes, and
    // is not looked at.
    let ingest = role.takes_readings();
    let mqtt = ingest.then(|| sections.mqtt()).flatten();
    let serve = role.serves_people();
    let rest = serve.then(|| sections.rest()).flatten();
    let journal = ingest.then(|| sections.journal()).flatten();
    let pipeline = sections.pipeline();
    let jobs = sections.jobs();
    match (organization, identity, fabric, ipfs, pipeline, jobs) {
        (
            Some(organization),
            Some(identity),
            Some(fabric),
            Some(ipfs),
            Some(pipeline),
            Some(jobs),
        ) if sections.problems.is_empty() => Ok(Config {
            role,
            organization,
            identity,
            fabric,
            ipfs,
            mqtt,
            rest,
            journal,
            pipeline,
            jobs,
        }),
        _ => Err(ConfigError::Invalid {
            path: path.to_owned(),
            problems: sections.problems,
        }),
    }
}

/// The file being read and what was found wrong so far.
///
/// Every method that returns `None` has added a problem, so a section that is `None` never goes
/// unexplained.
struct Sections {
    figment: Figment,
    folder: PathBuf,
    problems: Vec<KeyProblem>,
}

impl Sections {
    fn organization(&mut self) -> Option<OrganizationConfig> {
        let raw: RawOrganization = self.section("organization")?;
        let msp_id = self.msp_id("organization.msp_id", raw.msp_id);
        let custody = self.mode("organization.custody", raw.custody);
        Some(OrganizationConfig {
            msp_id: msp_id?,
            custody: custody?,
        })
    }

    fn service(&mut self) -> Option<ServiceRole> {
        let raw: RawService = self.section("service")?;
        self.mode("service.role", raw.role)
    }

    fn identity(&mut self, role: ServiceRole, custody: Custody) -> Option<IdentityConfig> {
        let raw: RawIdentity = self.section("identity")?;
        let msp_dir = self.path("identity.msp_dir", raw.msp_dir);
        let mut config = IdentityConfig {
            msp_dir: PathBuf::new(),
            encryption_key_file: None,
            previous_encryption_key_files: Vec::new(),
            encryption_public_key_files: Vec::new(),
        };
        if role.serves_people() {
            config.encryption_key_file =
                self.path("identity.encryption_key_file", raw.encryption_key_file);
            config.previous_encryption_key_files = self.paths(
                "identity.previous_encryption_key_files",
                raw.previous_encryption_key_files,
            );
        } else {
            let key = "identity.encryption_public_key_files";
            config.encryption_public_key_files = self.paths(key, raw.encryption_public_key_files);
            let missing = config.encryption_public_key_files.is_empty();
            if missing && custody == Custody::Organization {
                self.problem(
                    key,
                    "missing; a process that only takes readings wraps their keys for the public \
                     key of the oracle that serves people",
                );
            }
        }
        config.msp_dir = msp_dir?;
        Some(config)
    }

    fn fabric(&mut self) -> Option<FabricConfig> {
        let raw: RawFabric = self.section("fabric")?;
        let channel = self.name("fabric.channel", raw.channel, DEFAULT_CHANNEL);
        let chaincode = self.name("fabric.chaincode", raw.chaincode, DEFAULT_CHAINCODE);
        let endpoints = self.endpoints(raw.endpoints);
        let tls_ca_file = self.path("fabric.tls_ca_file", raw.tls_ca_file);
        Some(FabricConfig {
            channel: channel?,
            chaincode: chaincode?,
            endpoints: endpoints?,
            tls_ca_file: tls_ca_file?,
        })
    }

    fn endpoints(&mut self, raw: Option<Vec<RawEndpoint>>) -> Option<Vec<FabricEndpoint>> {
        let raw = raw.unwrap_or_default();
        if raw.is_empty() {
            self.problem(
                "fabric.endpoints",
                "missing; at least one peer, for example [{ address = \"localhost:7051\", \
                 server_name = \"peer0.org1.example.com\" }]",
            );
            return None;
        }
        let mut endpoints = Vec::with_capacity(raw.len());
        for (index, endpoint) in raw.into_iter().enumerate() {
            let key = format!("fabric.endpoints[{index}].address");
            match endpoint.address {
                Some(address) if is_host_and_port(&address) => endpoints.push(FabricEndpoint {
                    address,
                    server_name: endpoint.server_name,
                }),
                Some(_) => self.problem(&key, "is not host:port"),
                None => self.problem(&key, "missing"),
            }
        }
        Some(endpoints)
    }

    fn ipfs(&mut self) -> Option<IpfsConfig> {
        let raw: RawIpfs = self.section("ipfs")?;
        let api = self.required("ipfs.api", raw.api)?;
        match api.parse::<http::Uri>() {
            Ok(uri) if uri.scheme_str() == Some("http") && uri.authority().is_some() => {
                Some(IpfsConfig { api: uri })
            }
            _ => {
                self.problem("ipfs.api", "is not an address like http://127.0.0.1:5001");
                None
            }
        }
    }

    fn mqtt(&mut self) -> Option<MqttConfig> {
        let raw: RawMqtt = self.section("mqtt")?;
        let listen = self.address("mqtt.listen", raw.listen);
        let certificate_file = self.path("mqtt.certificate_file", raw.certificate_file);
        let key_file = self.path("mqtt.key_file", raw.key_file);
        let client_msp_dir = self.path("mqtt.client_msp_dir", raw.client_msp_dir);
        let websocket_listen = match raw.websocket_listen {
            None => None,
            Some(text) => Some(self.address("mqtt.websocket_listen", Some(text))?),
        };
        let insecure_listen = match raw.insecure_listen {
            None => None,
            Some(text) => {
                let address = self.address("mqtt.insecure_listen", Some(text))?;
                if !address.ip().is_loopback() {
                    self.problem(
                        "mqtt.insecure_listen",
                        "must be a loopback address, since nothing on it is encrypted",
                    );
                }
                Some(address)
            }
        };
        let device_rate = self.message_rate(
            ["mqtt.device_messages_per_second", "mqtt.device_burst"],
            [raw.device_messages_per_second, raw.device_burst],
        );
        let organization_rate = self.message_rate(
            [
                "mqtt.organization_messages_per_second",
                "mqtt.organization_burst",
            ],
            [raw.organization_messages_per_second, raw.organization_burst],
        );
        Some(MqttConfig {
            listen: listen?,
            websocket_listen,
            certificate_file: certificate_file?,
            key_file: key_file?,
            client_msp_dir: client_msp_dir?,
            insecure_listen,
            device_rate,
            organization_rate,
        })
    }

    /// No number means no limit; a burst without a number limits nothing and is a mistake.
    fn message_rate(&mut self, keys: [&str; 2], values: [Option<u32>; 2]) -> Option<MessageRate> {
        let [per_second, burst] = values;
        let Some(per_second) = per_second else {
            if burst.is_some() {
                self.problem(keys[1], format!("needs {}", keys[0]));
            }
            return None;
        };
        let per_second = self.within(keys[0], per_second, &MESSAGES, u32::to_string)?;
        let burst = self.within(
            keys[1],
            burst.unwrap_or(per_second),
            &MESSAGES,
            u32::to_string,
        )?;
        Some(MessageRate {
            per_second: NonZeroU32::new(per_second)?,
            burst: NonZeroU32::new(burst)?,
        })
    }

    fn rest(&mut self) -> Option<RestConfig> {
        let raw: RawRest = self.section("rest")?;
        let listen = self.address("rest.listen", raw.listen);
        let certificate_file = self.path("rest.certificate_file", raw.certificate_file);
        let key_file = self.path("rest.key_file", raw.key_file);
        let organizations = self.organizations(raw.organizations);
        let concurrent_requests = self.count(
            "rest.concurrent_requests",
            raw.concurrent_requests,
            DEFAULT_CONCURRENT_REQUESTS,
            &CONCURRENT_REQUESTS,
        );
        let request_timeout = self.duration(
            "rest.request_timeout",
            raw.request_timeout,
            DEFAULT_REQUEST_TIMEOUT,
            &REQUEST_TIMEOUT,
        );
        let max_body = self.size("rest.max_body", raw.max_body, DEFAULT_MAX_BODY, &MAX_BODY);
        Some(RestConfig {
            listen: listen?,
            certificate_file: certificate_file?,
            key_file: key_file?,
            organizations: organizations?,
            open_for_readers: raw.open_for_readers.unwrap_or(false),
            concurrent_requests: concurrent_requests?,
            request_timeout: request_timeout?,
            max_body: max_body?,
            refusal_log: raw.refusal_log.map(|file| self.folder.join(file)),
        })
    }

    fn organizations(
        &mut self,
        raw: Option<Vec<RawCallerOrganization>>,
    ) -> Option<Vec<CallerOrganization>> {
        let raw = raw.unwrap_or_default();
        if raw.is_empty() {
            self.problem(
                "rest.organizations",
                "missing; at least one organisation whose people may call, for example \
                 [{ msp_id = \"Org1MSP\", msp_dir = \"org1/msp\" }]",
            );
            return None;
        }
        let mut organizations: Vec<CallerOrganization> = Vec::with_capacity(raw.len());
        for (index, organization) in raw.into_iter().enumerate() {
            let id_key = format!("rest.organizations[{index}].msp_id");
            let msp_id = self.msp_id(&id_key, organization.msp_id);
            let dir_key = format!("rest.organizations[{index}].msp_dir");
            let msp_dir = self.path(&dir_key, organization.msp_dir);
            let (Some(msp_id), Some(msp_dir)) = (msp_id, msp_dir) else {
                continue;
            };
            if organizations.iter().any(|other| other.msp_id == msp_id) {
                self.problem(&id_key, "is named twice");
            }
            organizations.push(CallerOrganization { msp_id, msp_dir });
        }
        Some(organizations)
    }

    fn journal(&mut self) -> Option<JournalConfig> {
        let raw: RawJournal = self.section("journal")?;
        let dir = self.path("journal.dir", raw.dir);
        let max_bytes = self.size(
            "journal.max_bytes",
            raw.max_bytes,
            DEFAULT_JOURNAL_BYTES,
            &JOURNAL_BYTES,
        );
        let fsync_window = self.duration(
            "journal.fsync_window",
            raw.fsync_window,
            DEFAULT_FSYNC_WINDOW,
            &FSYNC_WINDOW,
        );
        Some(JournalConfig {
            dir: dir?,
            max_bytes: max_bytes?,
            fsync_window: fsync_window?,
        })
    }

    fn pipeline(&mut self) -> Option<PipelineConfig> {
        let raw: RawPipeline = self.section("pipeline")?;
        let segment_readings = self.count(
            "pipeline.segment_readings",
            raw.segment_readings,
            DEFAULT_SEGMENT_READINGS,
            &SEGMENT_READINGS,
        );
        let segment_bytes = self.size(
            "pipeline.segment_bytes",
            raw.segment_bytes,
            DEFAULT_SEGMENT_BYTES,
            &SEGMENT_BYTES,
        );
        let segment_age = self.duration(
            "pipeline.segment_age",
            raw.segment_age,
            DEFAULT_SEGMENT_AGE,
            &SEGMENT_AGE,
        );
        let register_batch = self.count(
            "pipeline.register_batch",
            raw.register_batch,
            DEFAULT_REGISTER_BATCH,
            &REGISTER_BATCH,
        );
        Some(PipelineConfig {
            segment_readings: segment_readings?,
            segment_bytes: segment_bytes?,
            segment_age: segment_age?,
            register_batch: register_batch?,
        })
    }

    fn jobs(&mut self) -> Option<JobsConfig> {
        let raw: RawJobs = self.section("jobs")?;
        let interval = self.duration(
            "jobs.interval",
            raw.interval,
            DEFAULT_JOB_INTERVAL,
            &JOB_INTERVAL,
        );
        let tick_interval = self.duration(
            "jobs.tick_interval",
            raw.tick_interval,
            DEFAULT_TICK_INTERVAL,
            &JOB_INTERVAL,
        );
        Some(JobsConfig {
            interval: interval?,
            tick_interval: tick_interval?,
        })
    }
}

/// Keys by kind.
impl Sections {
    /// One of a few words; absent, the first of them.
    fn mode<T>(&mut self, key: &str, value: Option<String>) -> Option<T>
    where
        T: FromStr<Err = UnknownMode> + Default,
    {
        match value {
            None => Some(T::default()),
            Some(text) => self.parsed(key, &text),
        }
    }

    fn paths(&mut self, key: &str, values: Option<Vec<String>>) -> Vec<PathBuf> {
        let values = values.unwrap_or_default();
        let paths = values
            .into_iter()
            .enumerate()
            .filter_map(|(index, text)| self.path(&format!("{key}[{index}]"), Some(text)));
        paths.collect()
    }

    fn problem(&mut self, key: &str, expected: impl Into<String>) {
        self.problems.push(KeyProblem {
            key: key.to_owned(),
            expected: expected.into(),
        });
    }

    /// Reads a whole section; an absent one is an empty one.
    fn section<T: DeserializeOwned + Default>(&mut self, name: &str) -> Option<T> {
        if !self.figment.contains(name) {
            return Some(T::default());
        }
        match self.figment.extract_inner(name) {
            Ok(section) => Some(section),
            Err(errors) => {
                for error in errors {
                    let key = key_of(name, &error);
                    self.problem(&key, error.kind.to_string());
                }
                None
            }
        }
    }

    fn required(&mut self, key: &str, value: Option<String>) -> Option<String> {
        match value {
            Some(text) if !text.is_empty() => Some(text),
            Some(_) => {
                self.problem(key, "is empty");
                None
            }
            None => {
                self.problem(key, "missing");
                None
            }
        }
    }

    fn parsed<T>(&mut self, key: &str, text: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        text.parse()
            .map_err(|error: T::Err| self.problem(key, error.to_string()))
            .ok()
    }

    fn msp_id(&mut self, key: &str, value: Option<String>) -> Option<MspId> {
        let text = self.required(key, value)?;
        self.parsed(key, &text)
    }

    fn path(&mut self, key: &str, value: Option<String>) -> Option<PathBuf> {
        let text = self.required(key, value)?;
        Some(self.folder.join(text))
    }

    /// A channel's or a chaincode's name, in the letters Fabric allows for either.
    fn name(&mut self, key: &str, value: Option<String>, default: &str) -> Option<String> {
        let text = self.required(key, Some(value.unwrap_or_else(|| default.to_owned())))?;
        if text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
        {
            Some(text)
        } else {
            self.problem(key, "may hold letters, digits, '.', '-' and '_' only");
            None
        }
    }

    fn address(&mut self, key: &str, value: Option<String>) -> Option<SocketAddr> {
        let text = value.unwrap_or_else(|| DEFAULT_LISTEN.to_owned());
        match text.parse() {
            Ok(address) => Some(address),
            Err(_) => {
                self.problem(key, "is not an address and port like 127.0.0.1:8443");
                None
            }
        }
    }

    fn size(
        &mut self,
        key: &str,
        value: Option<String>,
        default: u64,
        allowed: &RangeInclusive<u64>,
    ) -> Option<u64> {
        let Some(text) = value else {
            return Some(default);
        };
        let bytes = self.parsed::<ByteSize>(key, &text)?.bytes();
        self.within(key, bytes, allowed, |bytes| format!("{bytes}B"))
    }

    fn duration(
        &mut self,
        key: &str,
        value: Option<String>,
        default: Duration,
        allowed: &RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let Some(text) = value else {
            return Some(default);
        };
        match humantime::parse_duration(&text) {
            Ok(duration) => self.within(key, duration, allowed, |duration| {
                humantime::format_duration(*duration).to_string()
            }),
            Err(_) => {
                self.problem(key, "is not a duration with its unit, for example \"5s\"");
                None
            }
        }
    }

    fn count(
        &mut self,
        key: &str,
        value: Option<u64>,
        default: usize,
        allowed: &RangeInclusive<u64>,
    ) -> Option<usize> {
        let Some(number) = value else {
            return Some(default);
        };
        let number = self.within(key, number, allowed, u64::to_string)?;
        usize::try_from(number).ok()
    }

    fn within<T: PartialOrd>(
        &mut self,
        key: &str,
        value: T,
        allowed: &RangeInclusive<T>,
        show: impl Fn(&T) -> String,
    ) -> Option<T> {
        if allowed.contains(&value) {
            return Some(value);
        }
        let (least, most) = (show(allowed.start()), show(allowed.end()));
        self.problem(key, format!("must be from {least} to {most}"));
        None
    }
}

/// Whether a text is a host, a colon and a port; the host is resolved only when connecting.
fn is_host_and_port(text: &str) -> bool {
    text.rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|p| p > 0))
}

/// Where in the file an error is. Figment puts the section behind the key's own path.
fn key_of(section: &str, error: &figment::Error) -> String {
    let mut key = section.to_owned();
    for part in error.path.iter().filter(|part| *part != section) {
        if part.bytes().all(|byte| byte.is_ascii_digit()) {
            key.push_str(&format!("[{part}]"));
        } else {
            key.push('.');
            key.push_str(part);
        }
    }
    key
}
