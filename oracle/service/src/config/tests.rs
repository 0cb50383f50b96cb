//! Empty, minimal, full, and one bad value per key.

use std::path::Path;

use super::*;

const MINIMAL: &str = r#"
[organization]
msp_id = "Org1MSP"
[identity]
msp_dir = "oracle/msp"
encryption_key_file = "oracle/key.jwk"
[fabric]
endpoints = [{ address = "localhost:7051" }]
tls_ca_file = "tls.pem"
[ipfs]
api = "http://127.0.0.1:5001"
[mqtt]
certificate_file = "mqtt.crt"
key_file = "mqtt.key"
client_msp_dir = "devices/msp"
[rest]
certificate_file = "rest.crt"
key_file = "rest.key"
organizations = [{ msp_id = "Org1MSP", msp_dir = "org1/msp" }]
[journal]
dir = "journal"
"#;

const FULL: &str = r#"
[service]
role = "all"
[organization]
msp_id = "Org1MSP"
custody = "patient"
[identity]
msp_dir = "/srv/oracle/msp"
encryption_key_file = "key.jwk"
previous_encryption_key_files = ["old.jwk"]
[fabric]
channel = "care"
chaincode = "salus_2"
endpoints = [
  { address = "peer0:7051", server_name = "peer0.org1.example.com" },
  { address = "[::1]:9051" },
]
tls_ca_file = "tls.pem"
[ipfs]
api = "http://kubo:5001"
[mqtt]
listen = "0.0.0.0:8883"
websocket_listen = "0.0.0.0:8884"
certificate_file = "mqtt.crt"
key_file = "mqtt.key"
client_msp_dir = "devices/msp"
insecure_listen = "127.0.0.1:1883"
device_messages_per_second = 200
device_burst = 1000
organization_messages_per_second = 5000
[rest]
listen = "0.0.0.0:8443"
certificate_file = "rest.crt"
key_file = "rest.key"
organizations = [
  { msp_id = "Org1MSP", msp_dir = "org1/msp" },
  { msp_id = "Org2MSP", msp_dir = "org2/msp" },
]
open_for_readers = true
concurrent_requests = 8
request_timeout = "30s"
max_body = "64KiB"
idle_timeout = "45s"
stall_timeout = "15s"
refusal_log = "refused.jsonl"
[journal]
dir = "journal"
max_bytes = "1GiB"
fsync_window = "5ms"
[pipeline]
segment_readings = 10
segment_bytes = "1MiB"
segment_age = "500ms"
register_batch = 50
[jobs]
interval = "200ms"
tick_interval = "1m"
[health]
listen = "127.0.0.1:9464"
"#;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("/etc/salus/oracle.toml"))
}

/// The sections of a process that does everything.
fn sections(config: &Config) -> (&MqttConfig, &RestConfig, &JournalConfig) {
    let Config {
        mqtt: Some(mqtt),
        rest: Some(rest),
        journal: Some(journal),
        ..
    } = config
    else {
        panic!("a section is missing");
    };
    (mqtt, rest, journal)
}

/// The keys with problems, in the order reported.
fn bad_keys(text: &str) -> Vec<String> {
    match parse(text) {
        Ok(config) => panic!("accepted: {config:?}"),
        Err(ConfigError::Invalid { problems, .. }) => {
            problems.into_iter().map(|problem| problem.key).collect()
        }
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn an_empty_file_lists_every_missing_key_at_once() {
    assert_eq!(
        bad_keys(""),
        [
            "organization.msp_id",
            "identity.msp_dir",
            "identity.encryption_key_file",
            "fabric.endpoints",
            "fabric.tls_ca_file",
            "ipfs.api",
            "mqtt.certificate_file",
            "mqtt.key_file",
            "mqtt.client_msp_dir",
            "rest.certificate_file",
            "rest.key_file",
            "rest.organizations",
            "journal.dir",
        ]
    );
}

#[test]
fn a_minimal_file_gets_the_defaults() {
    let config = parse(MINIMAL).expect("minimal is valid");
    let (mqtt, rest, journal) = sections(&config);
    assert_eq!(config.role, ServiceRole::All);
    assert_eq!(config.organization.custody, Custody::Organization);
    assert_eq!(config.jobs.interval, DEFAULT_JOB_INTERVAL);
    assert_eq!(config.jobs.tick_interval, DEFAULT_TICK_INTERVAL);
    assert_eq!(config.identity.msp_dir, Path::new("/etc/salus/oracle/msp"));
    assert_eq!(config.fabric.channel, DEFAULT_CHANNEL);
    assert_eq!(config.fabric.chaincode, DEFAULT_CHAINCODE);
    assert_eq!(mqtt.listen.to_string(), DEFAULT_LISTEN);
    assert_eq!(mqtt.insecure_listen, None);
    assert_eq!(mqtt.websocket_listen, None);
    assert_eq!((mqtt.device_rate, mqtt.organization_rate), (None, None));
    assert_eq!(rest.listen.to_string(), DEFAULT_LISTEN);
    assert!(!rest.open_for_readers);
    assert_eq!(rest.max_body, DEFAULT_MAX_BODY);
    assert_eq!(rest.idle_timeout, DEFAULT_IDLE_TIMEOUT);
    assert_eq!(config.health, None);
    assert_eq!(journal.max_bytes, DEFAULT_JOURNAL_BYTES);
    assert_eq!(config.pipeline.segment_readings, DEFAULT_SEGMENT_READINGS);
    assert_eq!(config.pipeline.segment_age, DEFAULT_SEGMENT_AGE);
}

#[test]
fn a_full_file_is_read_as_written() {
    let config = parse(FULL).expect("full is valid");
    let (mqtt, rest, journal) = sections(&config);
    assert_eq!(config.organization.custody, Custody::Patient);
    assert_eq!(
        config.identity.previous_encryption_key_files,
        [Path::new("/etc/salus/old.jwk")]
    );
    assert_eq!(config.jobs.interval, Duration::from_millis(200));
    assert_eq!(
        rest.refusal_log.as_deref(),
        Some(Path::new("/etc/salus/refused.jsonl"))
    );
    assert_eq!(config.identity.msp_dir, Path::new("/srv/oracle/msp"));
    assert_eq!(
        config.fabric.endpoints,
        [
            FabricEndpoint {
                address: "peer0:7051".into(),
                server_name: Some("peer0.org1.example.com".into()),
            },
            FabricEndpoint {
                address: "[::1]:9051".into(),
                server_name: None,
            },
        ]
    );
    assert_eq!(
        mqtt.insecure_listen.map(|address| address.port()),
        Some(1883)
    );
    assert_eq!(
        mqtt.websocket_listen.map(|address| address.port()),
        Some(8884)
    );
    let rate = |rate: Option<MessageRate>| {
        let rate = rate.expect("a rate is set");
        (rate.per_second.get(), rate.burst.get())
    };
    assert_eq!(rate(mqtt.device_rate), (200, 1000));
    assert_eq!(rate(mqtt.organization_rate), (5000, 5000));
    assert_eq!(rest.organizations.len(), 2);
    assert_eq!(rest.concurrent_requests, 8);
    assert_eq!(rest.request_timeout, Duration::from_secs(30));
    assert_eq!(rest.max_body, 64 << 10);
    assert_eq!(rest.idle_timeout, Duration::from_secs(45));
    assert_eq!(rest.stall_timeout, Duration::from_secs(15));
    assert_eq!(config.health, "127.0.0.1:9464".parse().ok());
    assert_eq!(journal.max_bytes, 1 << 30);
    assert_eq!(journal.fsync_window, Duration::from_millis(5));
    assert_eq!(config.pipeline.segment_bytes, 1 << 20);
    assert_eq!(config.pipeline.register_batch, 50);
}

#[test]
fn one_bad_value_for_each_key_names_that_key() {
    let table = [
        (
            r#"msp_id = "Org1MSP"
custody"#,
            r#"msp_id = "Org 1"
custody"#,
            "organization.msp_id",
        ),
        (r#""/srv/oracle/msp""#, r#""""#, "identity.msp_dir"),
        (r#"role = "all""#, r#"role = "mqtt""#, "service.role"),
        (
            r#"custody = "patient""#,
            r#"custody = "bank""#,
            "organization.custody",
        ),
        (r#""key.jwk""#, "7", "identity.encryption_key_file"),
        (
            r#"["old.jwk"]"#,
            r#"[""]"#,
            "identity.previous_encryption_key_files[0]",
        ),
        (r#""care""#, r#""a b""#, "fabric.channel"),
        (r#""salus_2""#, r#""""#, "fabric.chaincode"),
        (
            r#""peer0:7051""#,
            r#""peer0""#,
            "fabric.endpoints[0].address",
        ),
        (
            r#""[::1]:9051""#,
            r#""[::1]:0""#,
            "fabric.endpoints[1].address",
        ),
        (r#"tls_ca_file = "tls.pem""#, "", "fabric.tls_ca_file"),
        (
            r#""http://kubo:5001""#,
            r#""https://kubo:5001""#,
            "ipfs.api",
        ),
        (r#""0.0.0.0:8883""#, r#""8883""#, "mqtt.listen"),
        (
            r#"certificate_file = "mqtt.crt""#,
            "",
            "mqtt.certificate_file",
        ),
        (r#"key_file = "mqtt.key""#, "", "mqtt.key_file"),
        (r#""devices/msp""#, r#""""#, "mqtt.client_msp_dir"),
        (
            r#""127.0.0.1:1883""#,
            r#""0.0.0.0:1883""#,
            "mqtt.insecure_listen",
        ),
        (r#""0.0.0.0:8884""#, r#""8884""#, "mqtt.websocket_listen"),
        (
            "device_messages_per_second = 200",
            "device_messages_per_second = 0",
            "mqtt.device_messages_per_second",
        ),
        (
            "device_burst = 1000",
            "device_burst = 1000001",
            "mqtt.device_burst",
        ),
        (
            "organization_messages_per_second = 5000",
            "organization_burst = 5000",
            "mqtt.organization_burst",
        ),
        (r#""0.0.0.0:8443""#, r#""localhost:8443""#, "rest.listen"),
        (
            r#"certificate_file = "rest.crt""#,
            "",
            "rest.certificate_file",
        ),
        (r#"key_file = "rest.key""#, "", "rest.key_file"),
        (
            r#""Org2MSP""#,
            r#""Org1MSP""#,
            "rest.organizations[1].msp_id",
        ),
        (r#""org2/msp""#, r#""""#, "rest.organizations[1].msp_dir"),
        (
            "open_for_readers = true",
            "open_for_readers = 1",
            "rest.open_for_readers",
        ),
        (
            "concurrent_requests = 8",
            "concurrent_requests = 0",
            "rest.concurrent_requests",
        ),
        (r#""30s""#, r#""30""#, "rest.request_timeout"),
        (r#""64KiB""#, r#""64""#, "rest.max_body"),
        (r#""45s""#, r#""0s""#, "rest.idle_timeout"),
        (r#""15s""#, r#""1h""#, "rest.stall_timeout"),
        (r#""127.0.0.1:9464""#, r#""0.0.0.0:9464""#, "health.listen"),
        (r#"dir = "journal""#, "", "journal.dir"),
        (r#""1GiB""#, r#""1KiB""#, "journal.max_bytes"),
        (r#""5ms""#, r#""5m""#, "journal.fsync_window"),
        (
            "segment_readings = 10",
            "segment_readings = 0",
            "pipeline.segment_readings",
        ),
        (r#""1MiB""#, r#""1 megabyte""#, "pipeline.segment_bytes"),
        (r#""500ms""#, r#""0s""#, "pipeline.segment_age"),
        (
            "register_batch = 50",
            "register_batch = 501",
            "pipeline.register_batch",
        ),
        (
            "register_batch = 50",
            "register_bath = 50",
            "pipeline.register_bath",
        ),
        (r#""200ms""#, r#""1ms""#, "jobs.interval"),
        (r#""1m""#, r#""2d""#, "jobs.tick_interval"),
        ("[pipeline]", "[pipelines]\n[pipeline]", "pipelines"),
    ];
    for (good, bad, key) in table {
        assert!(FULL.contains(good), "the table's {good:?} is not in FULL");
        assert_eq!(bad_keys(&FULL.replacen(good, bad, 1)), [key], "{bad}");
    }
}

#[test]
fn problems_of_several_sections_are_reported_together() {
    let text = FULL
        .replacen("\"care\"", "\"a b\"", 1)
        .replacen("\"64KiB\"", "\"x\"", 1)
        .replacen("segment_readings = 10", "segment_readings = \"ten\"", 1);
    assert_eq!(
        bad_keys(&text),
        [
            "fabric.channel",
            "rest.max_body",
            "pipeline.segment_readings"
        ]
    );
}

#[test]
fn text_that_is_not_toml_is_a_syntax_error() {
    assert!(matches!(
        parse("[organization"),
        Err(ConfigError::Syntax { .. })
    ));
}

#[test]
fn a_missing_file_and_missing_named_files_are_told_apart() {
    let folder = tempfile::tempdir().expect("temp dir");
    let path = folder.path().join("oracle.toml");
    assert!(matches!(Config::load(&path), Err(ConfigError::Read { .. })));
    std::fs::write(&path, MINIMAL).expect("written");
    let Err(ConfigError::Invalid { problems, .. }) = Config::load(&path) else {
        panic!("files are missing");
    };
    let keys: Vec<&str> = problems
        .iter()
        .map(|problem| problem.key.as_str())
        .collect();
    assert_eq!(
        keys,
        [
            "identity.msp_dir",
            "identity.encryption_key_file",
            "fabric.tls_ca_file",
            "mqtt.certificate_file",
            "mqtt.key_file",
            "mqtt.client_msp_dir",
            "rest.certificate_file",
            "rest.key_file",
            "rest.organizations[0].msp_dir",
        ]
    );
}

#[test]
fn a_process_needs_only_what_its_role_uses() {
    let path = Path::new("/etc/salus/oracle.toml");
    let as_role = |text: &str, role| build::config(text, path, Some(role));
    let both = MINIMAL.replace(
        "[fabric]",
        "encryption_public_key_files = [\"oracle/key.pub.jwk\"]\n[fabric]",
    );
    let ingest = as_role(&both, ServiceRole::Ingest).expect("valid");
    assert!(ingest.rest.is_none() && ingest.mqtt.is_some() && ingest.journal.is_some());
    assert_eq!(
        ingest.identity.encryption_key_file, None,
        "a process that takes readings knows no private key's file"
    );
    assert_eq!(ingest.identity.encryption_public_key_files.len(), 1);
    let api = as_role(&both, ServiceRole::Api).expect("valid");
    assert!(api.rest.is_some() && api.mqtt.is_none() && api.journal.is_none());
    let health = format!("{both}[health]\nlisten = \"127.0.0.1:9464\"\n");
    let port = |role| as_role(&health, role).expect("valid").health;
    assert!(port(ServiceRole::Ingest).is_some() && port(ServiceRole::Api).is_none());
    assert!(api.identity.encryption_public_key_files.is_empty());

    let keys = |text: &str, role| match as_role(text, role) {
        Err(ConfigError::Invalid { problems, .. }) => {
            problems.into_iter().map(|problem| problem.key).collect()
        }
        _ => Vec::new(),
    };
    assert_eq!(
        keys(MINIMAL, ServiceRole::Ingest),
        ["identity.encryption_public_key_files"]
    );
    let custody = "msp_id = \"Org1MSP\"\ncustody = \"patient\"\n[identity]";
    let patients = MINIMAL.replace("msp_id = \"Org1MSP\"\n[identity]", custody);
    assert!(keys(&patients, ServiceRole::Ingest).is_empty());
    let without_key = MINIMAL.replace("encryption_key_file = \"oracle/key.jwk\"", "");
    assert_eq!(
        keys(&without_key, ServiceRole::Api),
        ["identity.encryption_key_file"]
    );
}
