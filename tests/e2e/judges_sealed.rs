//! Tink and jwcrypto (Python) judge sealed objects, wrapped keys and sealed texts: they open what a
//! provider really receives, and we open what they seal. Both sides refuse what was changed.

mod texts;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use contract_interface::{Purpose, segment};
use salus_tests::{
    binaries,
    story::{self, WaitFor},
};
use sealed_object::{AssociatedData, DataKey, MIN_MODULUS_BITS, OpenError, PrivateKey};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::support::{Running, heart_rate, publish_bytes, run};

/// Exit status of `open_sealed.py` for an object or a wrapped key that does not open.
const REFUSED: i32 = 3;

/// Length of a message that is recorded alone, in bytes.
const LARGE_MESSAGE_BYTES: usize = 300_000;

#[tokio::test]
async fn tink_opens_what_a_provider_receives() {
    if !python_is_here("tink_opens_what_a_provider_receives") {
        return;
    }
    let running = Running::embedded().await;
    let patient = &running.cast.patients[0];
    let published: Vec<String> = (0..20).map(|n| heart_rate(60 + n, n)).collect();
    let file = running.file("readings.ndjson", &published.join("\n"));
    story::publish_file(&running.system, &patient.device, &file, WaitFor::Receipts)
        .await
        .unwrap();
    grant(&running).await;

    let client = story::client(&running.cast.provider).unwrap();
    let mut received = Vec::new();
    for record in story::records_of(&client, patient.pseudonym).await.unwrap() {
        let id = record.metadata.record_id;
        let mut released = client.request_content(&id, Purpose::Treat).await.unwrap();
        let mut sealed = Vec::new();
        released.receive_into(&mut sealed).await.unwrap();
        let record = &released.record;
        let task = Task {
            dir: running.dir.path(),
            record_id: record.metadata.record_id.to_string(),
            commitment: record.state.commitment.to_string(),
            sealed: &sealed,
        };
        let private_jwk = fs::read_to_string(running.cast.provider.private_key_file()).unwrap();
        let key = json!({ "private_jwk": private_jwk, "jwe": released.wrapped_key });
        let segment = task.open(&key).await.expect("Tink opens the object");
        let size = usize::try_from(record.metadata.plaintext_size).unwrap();
        assert_eq!(segment.len(), size);
        for item in segment::decode(&segment) {
            received.push(String::from_utf8(item.unwrap().item.payload).unwrap());
        }
        refused_when_changed(&task, &key).await;
    }
    assert_eq!(received, published);
    running.system.stop().await.unwrap();
}

/// A message that is too large for a segment is an object of its own.
#[tokio::test]
async fn tink_opens_a_large_message() {
    if !python_is_here("tink_opens_a_large_message") {
        return;
    }
    let running = Running::embedded().await;
    let patient = &running.cast.patients[0];
    let image: Vec<u8> = (0..LARGE_MESSAGE_BYTES).map(|n| (n % 251) as u8).collect();
    let published = publish_bytes(&running, patient, "image/png", image.clone()).await;
    grant(&running).await;

    let client = story::client(&running.cast.provider).unwrap();
    let mut released = client
        .request_content(&published[0], Purpose::Treat)
        .await
        .unwrap();
    assert_eq!(released.record.metadata.content_type, "image/png");
    let mut sealed = Vec::new();
    released.receive_into(&mut sealed).await.unwrap();
    let task = Task {
        dir: running.dir.path(),
        record_id: published[0].to_string(),
        commitment: released.record.state.commitment.to_string(),
        sealed: &sealed,
    };
    let private_jwk = fs::read_to_string(running.cast.provider.private_key_file()).unwrap();
    let key = json!({ "private_jwk": private_jwk, "jwe": released.wrapped_key });
    let opened = task.open(&key).await.expect("Tink opens the object");
    assert!(opened == image, "the message came back changed");
    refused_when_changed(&task, &key).await;
    running.system.stop().await.unwrap();
}

/// The judge itself says no: to another record's name, another commitment, and a changed byte.
async fn refused_when_changed(task: &Task<'_>, key: &Value) {
    let mut changed = task.sealed.to_vec();
    *changed.last_mut().unwrap() ^= 1;
    let others = [
        Task {
            record_id: "00".repeat(16),
            ..task.clone()
        },
        Task {
            commitment: "00".repeat(32),
            ..task.clone()
        },
        Task {
            sealed: &changed,
            ..task.clone()
        },
    ];
    for other in others {
        assert!(other.open(key).await.is_none(), "opened: {other:?}");
    }
}

#[tokio::test]
async fn we_open_what_tink_seals() {
    if !python_is_here("we_open_what_tink_seals") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let reader = PrivateKey::generate(MIN_MODULUS_BITS).unwrap();
    let associated_data = AssociatedData {
        record_id: [7; 16],
        commitment: [9; 32],
    };
    // One segment and, with the framing, just more than two.
    for length in [0, 18, 2 * sealed_object::SEGMENT_BYTES] {
        let plaintext: Vec<u8> = (0..=u8::MAX).cycle().take(length).collect();
        let data_key = DataKey::generate();
        let plaintext_file = dir.path().join("plaintext");
        fs::write(&plaintext_file, &plaintext).unwrap();
        let sealed_file = dir.path().join("sealed");
        let task = json!({
            "record_id": hex::encode(associated_data.record_id),
            "commitment": hex::encode(associated_data.commitment),
            "data_key": hex::encode(data_key.expose_secret()),
            "plaintext": plaintext_file,
            "sealed": sealed_file,
            "public_jwk": reader.public_key().to_jwk(),
        });
        let output = python("seal.py", &task).await;
        assert!(output.status.success(), "{output:?}");
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();

        let unwrapped = reader.unwrap(answer["jwe"].as_str().unwrap()).unwrap();
        assert!(unwrapped.expose_secret() == data_key.expose_secret());
        let mut sealed = fs::read(&sealed_file).unwrap();
        let opened = sealed_object::open(&unwrapped, &associated_data, &sealed).unwrap();
        assert!(opened == plaintext, "{length} bytes came back as others");
        let middle = sealed.len() / 2;
        sealed[middle] ^= 1;
        let refused = sealed_object::open(&unwrapped, &associated_data, &sealed);
        assert!(matches!(refused, Err(OpenError::Refused)), "{refused:?}");
    }
}

/// An object to open with Tink.
#[derive(Debug, Clone)]
struct Task<'a> {
    dir: &'a Path,
    record_id: String,
    commitment: String,
    sealed: &'a [u8],
}

impl Task<'_> {
    /// Opens it with the key given as members of the task; `None` if Tink or jwcrypto refuses.
    async fn open(&self, key: &Value) -> Option<Vec<u8>> {
        let plaintext = self.dir.join("opened");
        let sealed = self.dir.join("sealed");
        fs::write(&sealed, self.sealed).unwrap();
        let mut task = json!({
            "record_id": self.record_id,
            "commitment": self.commitment,
            "sealed": sealed,
            "plaintext": plaintext,
        });
        let members = task.as_object_mut().unwrap();
        members.extend(key.as_object().unwrap().clone());
        let output = python("open_sealed.py", &task).await;
        if output.status.code() == Some(REFUSED) {
            return None;
        }
        assert!(output.status.success(), "{output:?}");
        let opened = fs::read(&plaintext).unwrap();
        fs::remove_file(plaintext).unwrap();
        Some(opened)
    }
}

/// The patient grants the provider access with the `salus` command.
async fn grant(running: &Running) {
    let salus = binaries::ours("salus").unwrap().display().to_string();
    let patient = &running.cast.patients[0].person;
    let args = [
        "--profile",
        &patient.profile.display().to_string(),
        "grants",
        "give",
        "--to",
        &format!("participant:{}", running.cast.provider_id),
        "--purpose",
        "TREAT",
    ]
    .map(str::to_owned);
    let ended = run(&salus, &args).await;
    assert!(ended.success, "{ended:?}");
}

/// Runs one of the programs in `tests/interop/python` with a task on its standard input, since
/// the task holds a private key.
async fn python(program: &str, task: &Value) -> Output {
    let mut child = Command::new(interpreter())
        .arg(interop().join(program))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(task.to_string().as_bytes()).await.unwrap();
    drop(stdin);
    child.wait_with_output().await.unwrap()
}

fn python_is_here(test: &str) -> bool {
    // Written by `scripts/install-judges` once everything is installed.
    let found = interop().join(".venv/.installed").is_file() && interpreter().is_file();
    if !found {
        binaries::report_skipped(test, &["tests/interop/python/.venv"]);
    }
    found
}

fn interpreter() -> PathBuf {
    interop().join(".venv/bin/python")
}

fn interop() -> PathBuf {
    binaries::workspace_root().join("tests/interop/python")
}
