//! A fleet of made-up devices at a running oracle, what the oracle counts of it, and what becomes of devices' statuses
//! and wills when the oracle is killed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    process::Stdio,
};

use contract_interface::Purpose;
use salus_tests::{
    binaries,
    story::{self, Patient},
    system::Platform,
};
use serde_json::Value;
use tokio::process::Command;

use super::edge_wire::{
    self, AT_LEAST_ONCE, CLEAN, CONNACK, Client, NOT_AUTHORIZED, RETAIN, V3, V5, connect,
    connect_with_will, hold, kill_and_restart, metrics, own, publish, reading, reason, series,
    with_plain_port,
};
use crate::support::Running;

/// Devices of each kind.
const KINDS: [&str; 3] = ["--vital-signs", "--ecg", "--glucose"];

/// Every reading that the simulated fleet measures gets its receipt and is there once, byte for byte, although some
/// come out of order and late; and `/metrics` says what happened, in the words of its table and no others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_simulated_fleet_is_receipted_readable_and_counted() {
    let mut running = Running::start(Platform::EMBEDDED, KINDS.len()).await;
    with_plain_port(&mut running).await;
    let fleet = fleet(&running);
    let measured = simulate(&running, &fleet, &["--print"]).await;
    let measured: Vec<&str> = measured.lines().collect();
    // Equal bytes would be one reading.
    let distinct: BTreeSet<&str> = measured.iter().copied().collect();
    assert_eq!(distinct.len(), measured.len());
    let told = simulate(&running, &fleet, &[]).await;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert!(measured.len() >= 30, "{told}");
    for member in ["sent", "acknowledged", "receipts"] {
        assert_eq!(told[member], measured.len(), "{member} of {told}");
    }
    assert_eq!(
        (&told["refused"], &told["waiting"]),
        (&0.into(), &0.into()),
        "{told}"
    );

    let mut published = Vec::new();
    for patient in &running.cast.patients {
        let client = story::client(&patient.person).unwrap();
        let opened = story::read_patient(&client, patient.pseudonym, Purpose::Patrqt)
            .await
            .unwrap();
        let readings = opened.iter().flat_map(|record| &record.readings);
        let payloads: Vec<String> = readings
            .map(|reading| String::from_utf8(reading.payload.to_vec()).unwrap())
            .collect();
        let (own, others): (BTreeSet<&str>, BTreeSet<&str>) = payloads
            .iter()
            .map(String::as_str)
            .partition(|payload| measured.contains(payload));
        assert!(others.is_empty(), "nobody measured {others:?}");
        assert_eq!(own.len(), payloads.len(), "a reading came back twice");
        assert!(
            own.len() >= 10,
            "{} readings of {}",
            own.len(),
            patient.device.id
        );
        published.push(payloads);
    }
    let count: usize = published.iter().map(Vec::len).sum();
    assert_eq!(count, measured.len());

    let [first, second] = [0, 1].map(|number| running.cast.patients[number].clone());
    published[0].push(odd_traffic(&running, &first, &second).await);
    crate::invariants::each_once(&first, &published[0]).await;
    let said = metrics(&running.system.oracle).await;
    the_catalogue_is_kept_to(&said);
    what_happened_was_counted(&said, measured.len() + 1);
    for patient in &running.cast.patients {
        let pseudonym = patient.pseudonym.to_string();
        assert!(
            !said.contains(&patient.device.id) && !said.contains(&pseudonym),
            "a name is in {said}"
        );
    }
    hold(running, &published).await;
}

/// The folder of a fleet: the patients' devices.
fn fleet(running: &Running) -> PathBuf {
    let fleet = running.dir.path().join("fleet");
    for patient in &running.cast.patients {
        let folder = fleet.join(&patient.device.id);
        fs::create_dir_all(&folder).unwrap();
        let pem = ["client.crt", "client.key"]
            .map(|name| fs::read_to_string(patient.device.file(name)).unwrap());
        fs::write(folder.join("device.pem"), pem.concat()).unwrap();
    }
    fleet
}

/// `salus device simulate`, to its end.
async fn simulate(running: &Running, fleet: &PathBuf, more: &[&str]) -> String {
    let oracle = &running.system.oracle;
    let (_, port) = oracle.mqtt().rsplit_once(':').unwrap();
    let mut command = Command::new(binaries::ours("salus").unwrap());
    command
        .args(["--json", "device", "simulate", "--fleet"])
        .arg(fleet);
    command.args([
        "--broker",
        &format!("mqtts://localhost:{port}"),
        "--ca-file",
    ]);
    command.arg(oracle.home.join("mqtt/ca.crt"));
    command.args([
        "--rate",
        "60",
        "--duration",
        "10",
        "--seed",
        "11",
        "--start",
        "2026-01-01T00:00:00Z",
    ]);
    command.args([
        "--outliers",
        "100",
        "--out-of-order",
        "200",
        "--late",
        "100",
    ]);
    for kind in KINDS {
        command.args([kind, "1"]);
    }
    command.args(more).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What the fleet does not do: both versions, a repetition, refusals, a marked reading, a status, a REST request
/// that is refused. Gives the reading that is kept.
async fn odd_traffic(running: &Running, patient: &Patient, other: &Patient) -> String {
    let id = &patient.device.id;
    let plain = running
        .system
        .oracle
        .addresses
        .mqtt_insecure
        .as_deref()
        .unwrap();
    let kept = reading(id, 0).replace("\"unit\":\"/min\"", "\"unit\":\"beats per minute\"");
    let kept = kept.replace("\"code\":\"/min\"", "\"code\":\"beats per minute\"");
    for level in [V3, V5] {
        let mut client = Client::plain(plain).await;
        assert_eq!(
            client.ask(&connect(level, id, CLEAN, 0)).await.unwrap()[3],
            0
        );
        // Once it is new, once it is known.
        let message = publish(level, AT_LEAST_ONCE, &own(id), 1, &[], kept.as_bytes());
        assert_eq!(client.ask(&message).await.unwrap()[0], 0x40);
        client.send(&[0xe0, 0]).await.unwrap();
    }
    let mut client = Client::plain(plain).await;
    client.enter(id).await;
    assert_eq!(client.publish(&own(id), b"no JSON").await, Some(0x99));
    assert_eq!(
        client.publish(&own(&other.device.id), b"{}").await,
        Some(NOT_AUTHORIZED)
    );
    let status = publish(V5, AT_LEAST_ONCE | RETAIN, &status_of(id), 1, &[], b"here");
    assert_eq!(reason(&client.ask(&status).await.unwrap()), 0);
    let mut stranger = Client::plain(plain).await;
    let refused = stranger
        .ask(&connect(V5, "nobody", CLEAN, 0))
        .await
        .unwrap();
    assert_eq!(refused[3], NOT_AUTHORIZED);
    let provider = story::client(&running.cast.provider).unwrap();
    let records = story::records_of(&story::client(&patient.person).unwrap(), patient.pseudonym)
        .await
        .unwrap();
    provider
        .read(&records[0].metadata.record_id, Purpose::Treat)
        .await
        .unwrap_err();
    kept
}

/// Type and labels of each metric of the README's table.
fn catalogue() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let file = binaries::workspace_root().join("oracle/service/README.md");
    let text = fs::read_to_string(file).unwrap();
    let rows = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `salus_"));
    let metrics: BTreeMap<_, _> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let labels = cells[2]
                .split(',')
                .map(|label| label.trim().trim_matches('`').to_owned());
            let labels = labels.filter(|label| !label.is_empty()).collect();
            (
                format!("salus_{}", cells[0].trim_matches('`')),
                (cells[1].to_owned(), labels),
            )
        })
        .collect();
    assert!(
        metrics.len() > 40,
        "only {} metrics in the table",
        metrics.len()
    );
    metrics
}

/// Every metric of the table is there, of its type and with its labels, and there is no other.
fn the_catalogue_is_kept_to(said: &str) {
    let catalogue = catalogue();
    let mut types = BTreeMap::new();
    for line in said.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.trim().split_once(' ').unwrap();
        types.insert(name.to_owned(), kind.to_owned());
    }
    let expected: BTreeMap<String, String> = catalogue
        .iter()
        .map(|(name, (kind, _))| (name.clone(), kind.clone()))
        .collect();
    assert_eq!(types, expected);
    let mut seen = BTreeSet::new();
    for line in said.lines().filter(|line| line.starts_with("salus_")) {
        let name_end = line.find(['{', ' ']).unwrap();
        let (name, labels) = (&line[..name_end], labels_of(&line[name_end..]));
        let base = ["_bucket", "_sum", "_count"]
            .iter()
            .filter_map(|end| name.strip_suffix(end))
            .find(|base| {
                catalogue
                    .get(*base)
                    .is_some_and(|(kind, _)| kind == "histogram")
            })
            .unwrap_or(name);
        let (_, expected) = catalogue
            .get(base)
            .unwrap_or_else(|| panic!("{line} is in no table"));
        let labels: BTreeSet<String> = labels.into_iter().filter(|label| label != "le").collect();
        assert_eq!(labels, *expected, "{line}");
        seen.insert(base.to_owned());
    }
    assert_eq!(seen, catalogue.into_keys().collect());
}

/// The names of the labels in `{a="b",c="d"} 1`; values hold no quotes here.
fn labels_of(rest: &str) -> Vec<String> {
    let Some((labels, _)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) else {
        return Vec::new();
    };
    let parts = labels
        .split("\",")
        .map(|label| label.split_once('=').unwrap().0);
    parts.map(|name| name.trim().to_owned()).collect()
}

/// What surely happened is in the numbers.
fn what_happened_was_counted(said: &str, kept: usize) {
    let kept = kept as f64;
    let exactly = [
        // The status is acknowledged too, and the repetition.
        ("salus_mqtt_taken_total{outcome=\"kept\"}", kept + 1.0),
        ("salus_mqtt_acknowledge_seconds_count", kept + 2.0),
        ("salus_pipeline_reading_seconds_count", kept),
        ("salus_pipeline_stage_seconds_count{stage=\"sealed\"}", kept),
        ("salus_mqtt_status_total", 1.0),
        ("salus_mqtt_retained", 1.0),
        ("salus_pipeline_keyless", 0.0),
        ("salus_pipeline_waiting{state=\"received\"}", 0.0),
        ("salus_pipeline_waiting{state=\"parked\"}", 0.0),
        ("salus_mqtt_refused_total{reason=\"payload-not-json\"}", 1.0),
        (
            "salus_mqtt_refused_total{reason=\"topic-not-allowed\"}",
            1.0,
        ),
        ("salus_mqtt_marked_total{mark=\"unit-not-ucum\"}", 2.0),
        ("salus_mqtt_connects_total{version=\"3.1.1\"}", 1.0),
        ("salus_ready{part=\"fabric\"}", 1.0),
    ];
    for (name, expected) in exactly {
        assert_eq!(series(said, name), expected, "{name} in {said}");
    }
    for name in [
        "salus_mqtt_taken_total{outcome=\"duplicate\"}",
        "salus_mqtt_connects_total{version=\"5\"}",
        "salus_mqtt_connects_refused_total{reason=\"device-not-authorized\"}",
        "salus_mqtt_received_total",
        "salus_journal_sync_seconds_count",
        "salus_journal_bytes",
        "salus_journal_disk_free_bytes",
        "salus_pipeline_registered_total",
        "salus_pipeline_step_seconds_count{step=\"register\"}",
        "salus_upstream_seconds_count{upstream=\"fabric\",call=\"submit\"}",
        "salus_rest_request_seconds_count",
        "salus_start_timestamp_seconds",
        "salus_certificate_expiry_timestamp_seconds{certificate=\"mqtt\"}",
        "salus_job_changed_total{job=\"clock\"}",
    ] {
        assert!(series(said, name) > 0.0, "{name} in {said}");
    }
}

fn status_of(device: &str) -> String {
    format!("v1/devices/{device}/status")
}

/// What a device said of itself stays when the oracle is killed. A device whose oracle is gone is not gone: its will is
/// not published. When it is gone itself, its will stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statuses_and_wills_outlive_a_killed_oracle() {
    let mut running = Running::start(Platform::EMBEDDED, 1).await;
    let patient = running.cast.patients[0].clone();
    let topic = status_of(&patient.device.id);
    let readings = vec![reading(&patient.device.id, 0)];
    // Will, QoS 1, retained.
    let hello = connect_with_will(
        V5,
        "monitor",
        CLEAN | 0x04 | 0x08 | 0x20,
        0,
        Some((&topic, b"offline")),
    );

    let mut device = edge_wire::secure(&running.system.oracle, &patient.device.home)
        .await
        .unwrap();
    let answer = device.ask(&hello).await.unwrap();
    assert_eq!((answer[0], answer[3]), (CONNACK, 0));
    let online = publish(V5, AT_LEAST_ONCE | RETAIN, &topic, 1, &[], b"online");
    assert_eq!(reason(&device.ask(&online).await.unwrap()), 0);
    assert_eq!(
        device
            .publish(&own(&patient.device.id), readings[0].as_bytes())
            .await,
        Some(0)
    );
    kill_and_restart(&mut running.system.oracle).await;
    assert_eq!(
        device.packet().await,
        None,
        "the connection went with the oracle"
    );
    assert_eq!(retained(&running, &patient).await, "online");

    // It comes back, and is then gone without a word: somebody hears so, and it stays.
    let mut device = edge_wire::secure(&running.system.oracle, &patient.device.home)
        .await
        .unwrap();
    assert_eq!(device.ask(&hello).await.unwrap()[3], 0);
    let mut service = edge_wire::secure(&running.system.oracle, &patient.device.home)
        .await
        .unwrap();
    service.enter("service").await;
    assert_eq!(service.subscribe(&topic, 1).await, 1);
    assert!(service.packet().await.unwrap().ends_with(b"online"));
    device.0.get_ref().0.set_zero_linger().unwrap();
    drop(device);
    assert!(service.packet().await.unwrap().ends_with(b"offline"));
    kill_and_restart(&mut running.system.oracle).await;
    assert_eq!(retained(&running, &patient).await, "offline");

    // Deleted is deleted.
    let mut device = edge_wire::secure(&running.system.oracle, &patient.device.home)
        .await
        .unwrap();
    device.enter("monitor").await;
    let empty = publish(V5, AT_LEAST_ONCE | RETAIN, &topic, 1, &[], b"");
    assert_eq!(reason(&device.ask(&empty).await.unwrap()), 0);
    kill_and_restart(&mut running.system.oracle).await;
    assert_eq!(retained(&running, &patient).await, "");
    hold(running, &[readings]).await;
}

/// What a new subscriber hears at once: nothing if the next thing is the answer to a ping.
async fn retained(running: &Running, patient: &Patient) -> String {
    let mut client = edge_wire::secure(&running.system.oracle, &patient.device.home)
        .await
        .unwrap();
    client.enter("reader").await;
    assert_eq!(client.subscribe(&status_of(&patient.device.id), 0).await, 0);
    let next = client.ask(&[0xc0, 0]).await.unwrap();
    if next == [0xd0, 0] {
        return String::new();
    }
    assert_eq!(next[0] & 0xf1, 0x31, "a retained message");
    // Topic, properties, payload.
    let topic = usize::from(u16::from_be_bytes([next[2], next[3]]));
    let properties = usize::from(next[4 + topic]);
    String::from_utf8(next[5 + topic + properties..].to_vec()).unwrap()
}
