//! From what the file says to what the program uses, gathering every problem on the way.

mod doors;
mod enrolment;
mod keys;

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::Figment;
use figment::providers::{Format, Toml};

use super::raw::{
    RawEndpoint, RawFabric, RawIdentity, RawIpfs, RawJobs, RawJournal, RawOrganization,
    RawPipeline, RawService,
};
use super::*;

/// The sections there are.
const SECTIONS: [&str; 12] = [
    "service",
    "organization",
    "identity",
    "fabric",
    "ipfs",
    "mqtt",
    "rest",
    "enrolment",
    "journal",
    "pipeline",
    "jobs",
    "health",
];
/// `[pipeline] segment_readings`: a number of readings.
const SEGMENT_READINGS: RangeInclusive<u64> = 1..=100_000;
/// `[pipeline] register_batch`: records; the contract refuses more than 500 in one transaction.
const REGISTER_BATCH: RangeInclusive<u64> = 1..=500;
/// `[journal] max_bytes`: below one mebibyte a single large message would fill it.
const JOURNAL_BYTES: RangeInclusive<u64> = 1 << 20..=1 << 50;
/// `[pipeline] segment_bytes`.
const SEGMENT_BYTES: RangeInclusive<u64> = 1..=64 << 20;
/// `[journal] fsync_window`: so long a reading waits at most for others that share its sync.
const FSYNC_WINDOW: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(1);
/// `[journal] objects_max_bytes`.
const OBJECTS_BYTES: RangeInclusive<u64> = 1 << 20..=1 << 50;
/// `[journal] objects_expiry`.
const OBJECTS_EXPIRY: RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(90 * 86_400);
/// `[pipeline] segment_age`.
const SEGMENT_AGE: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(3600);
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
    let enrolment = serve.then(|| sections.enrolment()).flatten();
    let journal = ingest.then(|| sections.journal()).flatten();
    let pipeline = sections.pipeline();
    let jobs = sections.jobs();
    // A process without readings answers about its health on the REST port, and one file that serves
    // two processes names one port for one of them.
    let health = ingest.then(|| sections.health()).flatten();
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
            enrolment,
            journal,
            pipeline,
            jobs,
            health,
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
        let objects_max_bytes = self.size(
            "journal.objects_max_bytes",
            raw.objects_max_bytes,
            DEFAULT_OBJECTS_BYTES,
            &OBJECTS_BYTES,
        );
        let objects_expiry = self.duration(
            "journal.objects_expiry",
            raw.objects_expiry,
            DEFAULT_OBJECTS_EXPIRY,
            &OBJECTS_EXPIRY,
        );
        Some(JournalConfig {
            dir: dir?,
            max_bytes: max_bytes?,
            fsync_window: fsync_window?,
            objects_max_bytes: objects_max_bytes?,
            objects_expiry: objects_expiry?,
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

/// Whether a text is a host, a colon and a port; the host is resolved only when connecting.
fn is_host_and_port(text: &str) -> bool {
    text.rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|p| p > 0))
}
