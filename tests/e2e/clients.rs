//! MQTT clients that others wrote: mosquitto's and npm `mqtt`, of both protocol versions.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use contract_interface::Purpose;
use salus_tests::{
    binaries, readings,
    story::{self, WaitFor},
    system::Platform,
};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

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
    let Some(node) = npm_mqtt_folder(TEST) else {
        return;
    };
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

/// Retained messages and wills, as Debian's clients know them.
#[tokio::test]
async fn mosquitto_retains_a_status_and_leaves_a_will() {
    const TEST: &str = "mosquitto_retains_a_status_and_leaves_a_will";
    const FAREWELL: Duration = Duration::from_secs(30);
    if !has(TEST, "mosquitto_pub") || !has(TEST, "mosquitto_sub") {
        return;
    }
    let mut running = Running::start(Platform::EMBEDDED, 2).await;
    let id = running.cast.patients[0].device.id.clone();
    let status = format!("v1/devices/{id}/status");
    for version in ["mqttv311", "5"] {
        for qos in 0..=2_u8 {
            let text = format!("online {qos}");
            let published = mosquitto(&running, "mosquitto_pub", version, "pub")
                .args(["-q", &qos.to_string(), "-r", "-t", &status, "-m", &text])
                .output()
                .await
                .unwrap();
            assert!(published.status.success(), "{published:?}");
            // QoS 0 is not acknowledged; what is retained comes after it.
            let expected = format!("1 {} {text}", qos.min(1));
            until_retained(&running, version, &status, &expected).await;
        }
        // It survives a kill of the oracle: what was acknowledged is on the disk.
        running.system.oracle.kill_and_restart().await.unwrap();
        until_retained(&running, version, &status, "1 1 online 2").await;

        // A client that is killed leaves its will. One that is interrupted says farewell, and asks for its will where
        // it can: mosquitto's of MQTT 5 do.
        let asked = if version == "5" { "-INT" } else { "online 2" };
        for (signal, expected) in [("-INT", asked), ("-KILL", "-KILL")] {
            let mut client = client_with_will(&running, version, &status, signal).await;
            let pid = client.id().unwrap().to_string();
            let sent = run("kill", &[signal.to_owned(), pid]).await;
            assert!(sent.success, "{sent:?}");
            tokio::time::timeout(FAREWELL, client.wait())
                .await
                .expect("mosquitto_sub goes on after a signal")
                .unwrap();
            until_retained(&running, version, &status, &format!("1 1 {expected}")).await;
        }
        let deleted = mosquitto(&running, "mosquitto_pub", version, "pub")
            .args(["-q", "1", "-r", "-n", "-t", &status])
            .output()
            .await
            .unwrap();
        assert!(deleted.status.success(), "{deleted:?}");
        assert_eq!(retained(&running, version, &status).await, "");

        // A will for another device's status is refused with the connection.
        let other = format!("v1/devices/{}/status", running.cast.patients[1].device.id);
        let refused = mosquitto(&running, "mosquitto_sub", version, "thief")
            .args(["--will-topic", &other, "--will-payload", "gone"])
            .args(["-t", &status, "-W", "10"])
            .output()
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&refused.stderr).to_lowercase();
        assert!(
            !refused.status.success() && said.contains("not authori"),
            "{refused:?}"
        );
    }
    running.system.stop().await.unwrap();
}

/// All of it with the client that browsers use, over TLS and over WebSockets.
#[tokio::test]
async fn npm_mqtt_retains_takes_over_and_leaves_wills_also_over_websockets() {
    const TEST: &str = "npm_mqtt_retains_takes_over_and_leaves_wills_also_over_websockets";
    let Some(node) = npm_mqtt_folder(TEST) else {
        return;
    };
    let running = Running::start(Platform::EMBEDDED, 2).await;
    let addresses = &running.system.oracle.addresses;
    let port = |address: &Option<String>| {
        let (_, port) = address.as_deref().unwrap().rsplit_once(':').unwrap();
        port.to_owned()
    };
    let tls = format!("mqtts://localhost:{}", port(&addresses.mqtt));
    let websocket = format!("wss://localhost:{}/mqtt", port(&addresses.mqtt_websocket));
    let device = |at: usize| {
        let device = &running.cast.patients[at].device;
        json!({ "id": device.id, "cert": device.file("client.crt"), "key": device.file("client.key") })
    };
    for url in [tls, websocket] {
        for version in [4, 5] {
            let task = json!({
                "url": url,
                "ca": running.system.consortium.oracle_ca_file(),
                "device": device(0),
                "other": device(1),
                "version": version,
            });
            let file = running.file("status.json", &task.to_string());
            let script = node.join("status.mjs").display().to_string();
            let ended = run("node", &[script, file.display().to_string()]).await;
            let answer: Value =
                serde_json::from_str(ended.stdout.lines().next().unwrap_or_default())
                    .unwrap_or_else(|_| panic!("{ended:?}"));
            let expected = json!({
                "retained": ["retained 0 online 0", "retained 1 online 1", "retained 1 online 2"],
                "live": ["live 0 online 0", "live 1 online 1", "live 1 online 2"],
                "otherLeftItAlone": true,
                "takenOver": true,
                "willOfTheFirst": ["live 1 gone"],
                "willOfTheSecond": ["live 1 gone"],
                "retainedWill": ["retained 1 gone"],
                "afterFarewell": ["live 1 "],
                "deleted": [],
                "refused": if version == 5 { "0x87" } else { "0x5" },
            });
            assert_eq!(answer, expected, "{url} {version}: {}", ended.stderr);
        }
    }
    running.system.stop().await.unwrap();
}

/// The folder of the scripts around npm's client, if Node and the client are here; says that the test is skipped if not.
fn npm_mqtt_folder(test: &str) -> Option<PathBuf> {
    let folder = binaries::workspace_root().join("tests/interop/node");
    if !has(test, "node") {
        return None;
    }
    if !folder.join("node_modules/mqtt").is_dir() {
        binaries::report_skipped(test, &["npm mqtt"]);
        return None;
    }
    Some(folder)
}

/// One of mosquitto's clients as the first patient's device.
fn mosquitto(running: &Running, program: &str, version: &str, client_id: &str) -> Command {
    let device = &running.cast.patients[0].device;
    let (_, port) = running.system.mqtt_address().rsplit_once(':').unwrap();
    let mut command = Command::new(program);
    if program == "stdbuf" {
        command.args(["-oL", "mosquitto_sub"]);
    }
    command
        .args([
            "-h",
            "localhost",
            "-p",
            port,
            "-V",
            version,
            "-i",
            client_id,
            "--cafile",
        ])
        .arg(running.system.consortium.oracle_ca_file())
        .arg("--cert")
        .arg(device.file("client.crt"))
        .arg("--key")
        .arg(device.file("client.key"))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// What is retained: flag, QoS and payload; nothing if nothing comes in two seconds.
async fn retained(running: &Running, version: &str, topic: &str) -> String {
    let heard = mosquitto(running, "mosquitto_sub", version, "reader")
        .args([
            "-q", "1", "-t", topic, "-C", "1", "-W", "2", "-F", "%r %q %p",
        ])
        .output()
        .await
        .unwrap();
    String::from_utf8_lossy(&heard.stdout).trim().to_owned()
}

/// Waits until this is retained, as [`retained`] says it.
async fn until_retained(running: &Running, version: &str, topic: &str, expected: &str) {
    const ATTEMPTS: usize = 50;
    const PAUSE: Duration = Duration::from_millis(100);
    let mut heard = String::new();
    for _ in 0..ATTEMPTS {
        heard = retained(running, version, topic).await;
        if heard == expected {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
    panic!("not {expected:?} is retained, but {heard:?}");
}

/// A connected client that will be missed. It has nothing more to do: mosquitto's clients say farewell from their signal
/// handler, which waits for ever if the signal comes while they hold a lock of their own.
async fn client_with_will(running: &Running, version: &str, topic: &str, will: &str) -> Child {
    let receipts = topic.replace("/status", "/receipts");
    // It would hold back what it says to a pipe.
    let mut client = mosquitto(running, "stdbuf", version, "mortal")
        .args([
            "--will-topic",
            topic,
            "--will-payload",
            will,
            "--will-retain",
        ])
        .args(["--will-qos", "1", "-d", "-t", &receipts])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(client.stdout.take().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        if line.starts_with("Subscribed (") {
            // Whatever more it says is not waited for.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return client;
        }
    }
    panic!("not subscribed");
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
