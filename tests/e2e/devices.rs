//! A device's life: its certificate for a token, its readings through crashes, its suspension and its end.

use std::{path::Path, process::Stdio, time::Duration};

use contract_interface::Purpose;
use salus_tests::{
    binaries, readings,
    story::{self, Patient},
    system::{Part, Platform},
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::support::{Running, is_here};

/// Longer than anything here takes on a slow machine.
const EVER: Duration = Duration::from_secs(240);
/// Exit status of `salus` when the oracle refuses.
const REFUSED: i32 = 3;
/// Exit status of `salus` when nothing answers in time.
const UNREACHABLE: i32 = 4;

/// What `salus device ...` is told of the oracle and the device.
fn device_command(running: &Running, words: &[&str]) -> Command {
    let mut command = Command::new(binaries::ours("salus").unwrap());
    command
        .arg("--json")
        .args(words)
        .kill_on_drop(true)
        .stderr(Stdio::piped())
        .stdout(Stdio::piped());
    command.current_dir(running.dir.path());
    command
}

/// Runs a command to its end: exit status, what it printed, what it complained of.
async fn ended(mut command: Command) -> (i32, String, String) {
    let output = timeout(EVER, command.output()).await.unwrap().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let status = output.status.code().unwrap_or(-1);
    (status, text(output.stdout), text(output.stderr))
}

/// `salus device enrol` or `renew` with the device's own folder.
fn get_certificate(running: &Running, what: &str, id: &str, folder: &Path) -> Command {
    let oracle = &running.system.oracle;
    let mut command = device_command(running, &["device", what, "--device", id]);
    command
        .args(["--oracle", &format!("https://{}", localhost(oracle.rest()))])
        .arg("--ca-file")
        .arg(oracle.home.join("rest/ca.crt"))
        .arg("--folder")
        .arg(folder);
    command
}

fn localhost(address: &str) -> String {
    let (_, port) = address.rsplit_once(':').unwrap();
    format!("localhost:{port}")
}

/// `salus device publish` with an outbox, reading from standard input.
fn publish(running: &Running, id: &str, pem: (&Path, &Path), outbox: &Path) -> Command {
    let oracle = &running.system.oracle;
    let mut command = device_command(running, &["device", "publish", "--device", id]);
    command
        .args(["--broker", &format!("mqtts://{}", localhost(oracle.mqtt()))])
        .arg("--ca-file")
        .arg(oracle.home.join("mqtt/ca.crt"))
        .arg("--certificate")
        .arg(pem.0)
        .arg("--key")
        .arg(pem.1)
        .arg("--buffer")
        .arg(outbox)
        .args(["--file", "-"])
        .stdin(Stdio::piped());
    command
}

/// A running `salus device publish`.
struct Publisher {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl Publisher {
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        Self {
            stdin: child.stdin.take(),
            stdout: BufReader::new(child.stdout.take().unwrap()).lines(),
            child,
        }
    }

    async fn feed(&mut self, readings: &[String]) {
        let stdin = self.stdin.as_mut().unwrap();
        for reading in readings {
            stdin.write_all(reading.as_bytes()).await.unwrap();
            stdin.write_all(b"\n").await.unwrap();
        }
        stdin.flush().await.unwrap();
    }

    /// Waits until so many readings of this process are safe.
    async fn accepted(&mut self, count: u64) {
        self.until(|line| line["accepted"].as_u64() >= Some(count))
            .await;
    }

    async fn until(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        let found = async {
            loop {
                let line = self
                    .stdout
                    .next_line()
                    .await
                    .unwrap()
                    .expect("still running");
                let line: Value = serde_json::from_str(&line).unwrap();
                if is_it(&line) {
                    return line;
                }
            }
        };
        timeout(EVER, found).await.expect("in time")
    }

    /// As a loss of power.
    async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Lets it finish; its exit status and its last word.
    async fn finish(mut self) -> (i32, Option<Value>) {
        drop(self.stdin.take());
        let mut last = None;
        let reading = async {
            while let Some(line) = self.stdout.next_line().await.unwrap() {
                last = serde_json::from_str(&line).ok();
            }
        };
        timeout(EVER, reading).await.expect("in time");
        let status = self.child.wait().await.unwrap();
        (status.code().unwrap_or(-1), last)
    }
}

#[tokio::test]
async fn readings_accepted_by_a_device_survive_its_crash_and_the_oracles() {
    crash(Platform::EMBEDDED).await;
}

#[tokio::test]
async fn readings_accepted_by_a_device_survive_crashes_on_real_fabric_and_kubo() {
    if is_here(
        "readings_accepted_by_a_device_survive_crashes_on_real_fabric_and_kubo",
        Platform::REAL,
    ) {
        crash(Platform::REAL).await;
    }
}

/// The device's program is killed twice and the oracle once, each with readings on their way.
async fn crash(platform: Platform) {
    let mut running = Running::start(platform, 1).await;
    let patient = running.cast.patients[0].clone();
    let all = readings::generate(1, 48, 7).remove(0).observations;
    let outbox = running.dir.path().join("outbox");
    let pem = (
        patient.device.file("client.crt"),
        patient.device.file("client.key"),
    );
    let start = |running: &Running| {
        let pem = (pem.0.as_path(), pem.1.as_path());
        Publisher::start(publish(running, &patient.device.id, pem, &outbox))
    };
    // Killed as soon as the readings are safe: some are sent, some are not.
    let mut publisher = start(&running);
    publisher.feed(&all[..16]).await;
    publisher.accepted(16).await;
    publisher.kill().await;
    // Killed while receipts come.
    let mut publisher = start(&running);
    publisher.feed(&all[16..32]).await;
    publisher.accepted(16).await;
    publisher.until(|line| line["receipted"].is_u64()).await;
    publisher.kill().await;
    // The oracle is killed, and the device goes on accepting meanwhile.
    let mut publisher = start(&running);
    publisher.feed(&all[32..40]).await;
    publisher.accepted(8).await;
    running.system.kill_and_restart(Part::Oracle).await.unwrap();
    publisher.feed(&all[40..]).await;
    publisher.accepted(16).await;
    let (status, last) = publisher.finish().await;
    let last = last.expect("a summary");
    assert_eq!(status, 0, "{last}");
    assert_eq!(last["accepted"], 16, "{last}");
    assert_eq!(
        (&last["waiting"], &last["refused"]),
        (&0.into(), &0.into()),
        "{last}"
    );
    are_there_once(&patient, &all).await;
    running.system.stop().await.unwrap();
}

async fn are_there_once(patient: &Patient, published: &[String]) {
    let client = story::client(&patient.person).unwrap();
    let opened = story::read_patient(&client, patient.pseudonym, Purpose::Patrqt)
        .await
        .unwrap();
    story::check_all_there(&patient.device.id, &opened, published).unwrap();
    let count: usize = opened.iter().map(|record| record.readings.len()).sum();
    assert_eq!(count, published.len());
}

#[tokio::test]
async fn a_device_is_enrolled_with_a_token_renewed_suspended_and_revoked() {
    life(Platform::EMBEDDED).await;
}

#[tokio::test]
async fn a_device_is_enrolled_renewed_suspended_and_revoked_on_real_fabric_and_kubo() {
    let test = "a_device_is_enrolled_renewed_suspended_and_revoked_on_real_fabric_and_kubo";
    if is_here(test, Platform::REAL) {
        life(Platform::REAL).await;
    }
}

/// A device from its token to its end.
async fn life(platform: Platform) {
    let running = Running::start(platform, 1).await;
    let admin = running.cast.administrator.clone();
    let patient = running.cast.patients[0].clone();
    let pseudonym = patient.pseudonym.to_string();
    let folder = running.dir.path().join("cgm-9");
    let pem = folder.join("device.pem");
    let token = running.dir.path().join("token");
    let token_text = token.display().to_string();
    let from = "2020-01-01T00:00:00Z";
    let new = ["--device", "cgm-9", "--patient", &pseudonym, "--from", from];
    // Who looks at devices is somebody whom the channel knows.
    let certificate = admin.certificate_file().unwrap().display().to_string();
    let known = ["participants", "add", "--role", "admin", "--certificate"];
    running
        .salus(&admin, &[&known[..], &[&certificate]].concat())
        .await;
    let enrol = [&["devices", "enrol"], &new[..], &["--out", &token_text]].concat();
    running.salus(&admin, &enrol).await;

    // The token serves once: for the first key that shows it.
    let with_token = |folder: &Path| {
        let mut command = get_certificate(&running, "enrol", "cgm-9", folder);
        command.arg("--token-file").arg(&token);
        command
    };
    let (status, said, complaint) = ended(with_token(&folder)).await;
    assert_eq!(status, 0, "{complaint}");
    let enrolled: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(enrolled["device_id"], "cgm-9");
    let (status, _, complaint) = ended(with_token(&running.dir.path().join("thief"))).await;
    assert_eq!(status, REFUSED, "{complaint}");
    assert!(complaint.contains("TOKEN_INVALID"), "{complaint}");

    // It publishes, and is on the ledger.
    let all = readings::generate(1, 12, 11).remove(0).observations;
    let outbox = running.dir.path().join("outbox");
    let start = |pem: &Path| {
        let mut command = publish(&running, "cgm-9", (pem, pem), &outbox);
        command.args(["--patience", "20"]);
        Publisher::start(command)
    };
    let mut publisher = start(&pem);
    publisher.feed(&all[..4]).await;
    let (status, last) = publisher.finish().await;
    assert_eq!(status, 0, "{last:?}");

    // Suspended while it is connected: what it measures then stays with it.
    let mut publisher = start(&pem);
    publisher.feed(&all[4..6]).await;
    publisher.until(|line| line["receipted"].is_u64()).await;
    running
        .salus(&admin, &["devices", "suspend", "--device", "cgm-9"])
        .await;
    publisher.feed(&all[6..8]).await;
    publisher.accepted(4).await;
    let (status, _) = publisher.finish().await;
    assert_eq!(status, UNREACHABLE, "nothing of it is taken");
    let (status, _, complaint) = ended(get_certificate(&running, "renew", "cgm-9", &folder)).await;
    assert_eq!(status, REFUSED, "{complaint}");
    assert!(complaint.contains("DEVICE_INACTIVE"), "{complaint}");

    // Taken into use again and renewed: the readings it kept go out under the new certificate.
    running
        .salus(&admin, &["devices", "resume", "--device", "cgm-9"])
        .await;
    let old = running.dir.path().join("old.pem");
    std::fs::copy(&pem, &old).unwrap();
    let (status, _, complaint) = ended(get_certificate(&running, "renew", "cgm-9", &folder)).await;
    assert_eq!(status, 0, "{complaint}");
    assert_ne!(std::fs::read(&pem).unwrap(), std::fs::read(&old).unwrap());
    let mut publisher = start(&pem);
    publisher.feed(&all[8..]).await;
    let (status, last) = publisher.finish().await;
    assert_eq!(status, 0, "{last:?}");
    let client = story::client(&patient.person).unwrap();
    let opened = story::read_patient(&client, patient.pseudonym, Purpose::Patrqt)
        .await
        .unwrap();
    story::check_all_there("cgm-9", &opened, &all).unwrap();

    // The certificate before serves no more, and a revoked device is at its end.
    let publisher = start(&old);
    let mut publisher = publisher;
    publisher
        .feed(&readings::generate(1, 1, 12).remove(0).observations)
        .await;
    assert_eq!(publisher.finish().await.0, UNREACHABLE);
    running
        .salus(&admin, &["devices", "revoke", "--device", "cgm-9"])
        .await;
    let shown = running
        .salus(&admin, &["devices", "show", "--device", "cgm-9"])
        .await;
    assert_eq!(shown["status"], "revoked");
    assert_eq!(start(&pem).finish().await.0, UNREACHABLE);
    let again = story::salus(
        &running.system,
        &admin,
        &["devices", "token", "--device", "cgm-9"],
    )
    .await;
    let refused = format!("{:#}", again.unwrap_err());
    assert!(refused.contains("DEVICE_REVOKED"), "{refused}");
    running.system.stop().await.unwrap();
}
