//! MQTT clients that others wrote: mosquitto's and npm `mqtt`, of both protocol versions.

use std::{fs, path::Path};

use contract_interface::Purpose;
use salus_tests::{
    binaries, readings,
    story::{self, WaitFor},
    system::Platform,
};
use serde_json::{Value, json};

use crate::support::{Ended, Running, has, heart_rate, run};

#[tokio::test]
async fn mosquitto_publishes_in_both_versions_and_only_to_its_own_topic() {
    const TEST: &str = "mosquitto_publishes_in_both_versions_and_only_to_its_own_topic";
    if !has(TEST, "mosquitto_pub") {
        return;
    }
    let running = Running::start(Platform::EMBEDDED, 2).await;
    let patient = running.cast.patients[0].clone();
    let mut published = Vec::new();
    let ways = [
        ("mqttv311", 0),
        ("mqttv311", 1),
        ("mqttv311", 2),
        ("5", 0),
        ("5", 1),
        ("5", 2),
    ];
    for (minute, (version, qos)) in (0..).zip(ways) {
        let reading = heart_rate(70, minute);
        let topic = format!("v1/devices/{}/observations", patient.device.id);
        let ended = mosquitto_pub(&running, version, qos, &topic, &reading).await;
        assert!(ended.success, "{version} QoS {qos}: {ended:?}");
        published.push(reading);
    }

    let other = format!(
        "v1/devices/{}/observations",
        running.cast.patients[1].device.id
    );
    let refused = mosquitto_pub(&running, "5", 1, &other, &heart_rate(71, 0)).await;
    let said = format!("{}{}", refused.stdout, refused.stderr);
    assert!(said.contains("Not authorized"), "{refused:?}");
    // MQTT 3.1.1 has no answer for a refused publish but the end of the connection.
    let refused = mosquitto_pub(&running, "mqttv311", 1, &other, &heart_rate(71, 1)).await;
    assert!(!refused.success, "{refused:?}");

    // The refused ones are nowhere; all others are there, also those of QoS 0.
    let rest = running.file("rest.ndjson", &heart_rate(72, 30));
    story::publish_file(&running.system, &patient.device, &rest, WaitFor::Receipts)
        .await
        .unwrap();
    published.push(heart_rate(72, 30));
    let client = story::client(&patient.person).unwrap();
    let opened = until_count(&client, patient.pseudonym, published.len()).await;
    story::check_all_there(&patient.device.id, &opened, &published).unwrap();
    let second = &running.cast.patients[1];
    let client = story::client(&second.person).unwrap();
    assert!(
        story::records_of(&client, second.pseudonym)
            .await
            .unwrap()
            .is_empty()
    );
    running.system.stop().await.unwrap();
}

#[tokio::test]
async fn npm_mqtt_publishes_in_both_versions_and_gets_receipts() {
    const TEST: &str = "npm_mqtt_publishes_in_both_versions_and_gets_receipts";
    let node = binaries::workspace_root().join("tests/interop/node");
    if !has(TEST, "node") {
        return;
    }
    if !node.join("node_modules/mqtt").is_dir() {
        return binaries::report_skipped(TEST, &["npm mqtt"]);
    }
    let running = Running::start(Platform::EMBEDDED, 1).await;
    let patient = running.cast.patients[0].clone();
    let lines = readings::generate(1, 16, 5).remove(0).observations;
    for (version, half) in [(4, &lines[..8]), (5, &lines[8..])] {
        let topic = format!("v1/devices/{}/observations", patient.device.id);
        let answer = npm_mqtt(&running, &node, version, &topic, half, true).await;
        assert_eq!(answer["acknowledged"], 8, "{answer}");
        assert_eq!(answer["receipts"], 8, "{answer}");
    }
    let answer = npm_mqtt(
        &running,
        &node,
        5,
        "v1/devices/other/observations",
        &lines[..1],
        false,
    )
    .await;
    assert_eq!(answer["refused"], json!(["0x87"]), "{answer}");

    let client = story::client(&patient.person).unwrap();
    let opened = story::read_patient(&client, patient.pseudonym, Purpose::Patrqt)
        .await
        .unwrap();
    story::check_all_there(&patient.device.id, &opened, &lines).unwrap();
    running.system.stop().await.unwrap();
}

/// Publishes one message with `mosquitto_pub` as the first patient's device.
async fn mosquitto_pub(
    running: &Running,
    version: &str,
    qos: u8,
    topic: &str,
    payload: &str,
) -> Ended {
    let device = &running.cast.patients[0].device;
    let (_, port) = running.system.mqtt_address().rsplit_once(':').unwrap();
    let path = |name: &str| device.file(name).display().to_string();
    let args = [
        "-h",
        "localhost",
        "-p",
        port,
        "-V",
        version,
        "-q",
        &qos.to_string(),
        "-i",
        &device.id,
        "--cafile",
        &running
            .system
            .consortium
            .oracle_ca_file()
            .display()
            .to_string(),
        "--cert",
        &path("client.crt"),
        "--key",
        &path("client.key"),
        "-t",
        topic,
        "-m",
        payload,
    ]
    .map(str::to_owned);
    run("mosquitto_pub", &args).await
}

async fn npm_mqtt(
    running: &Running,
    node: &Path,
    version: u8,
    topic: &str,
    lines: &[String],
    receipts: bool,
) -> Value {
    let device = &running.cast.patients[0].device;
    let (_, port) = running.system.mqtt_address().rsplit_once(':').unwrap();
    let task = json!({
        "url": format!("mqtts://localhost:{port}"),
        "ca": running.system.consortium.oracle_ca_file(),
        "cert": device.file("client.crt"),
        "key": device.file("client.key"),
        "device": device.id,
        "topic": topic,
        "version": version,
        "qos": 1,
        "lines": lines,
        "receipts": receipts,
    });
    let file = running.file("task.json", &task.to_string());
    let script = node.join("publish.mjs").display().to_string();
    let ended = run("node", &[script, file.display().to_string()]).await;
    fs::remove_file(file).unwrap();
    serde_json::from_str(ended.stdout.lines().next().unwrap_or_default())
        .unwrap_or_else(|_| panic!("{ended:?}"))
}

/// Reads all of a patient's records once they hold `count` readings: QoS 0 has no receipt.
async fn until_count(
    client: &salus::Client,
    patient: contract_interface::Pseudonym,
    count: usize,
) -> Vec<salus::OpenedRecord> {
    const ATTEMPTS: usize = 100;
    const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);
    for _ in 0..ATTEMPTS {
        let records = story::records_of(client, patient).await.unwrap();
        let held: u32 = records.iter().map(|record| record.metadata.readings).sum();
        if usize::try_from(held).unwrap() >= count {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    story::read_patient(client, patient, Purpose::Patrqt)
        .await
        .unwrap()
}
