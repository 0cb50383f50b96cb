//! Large objects over MQTT: killed midway, resumed, on the ledger once, and read back byte for byte.

use std::{path::PathBuf, sync::Arc, time::Duration};

use contract_interface::Purpose;
use salus::publish::{ObjectOptions, Options, Receipt, publish_object};
use salus_tests::{
    story::{self, Patient},
    system::{Part, Platform},
};
use tokio::sync::Notify;

use crate::support::{Running, device_options, is_here};

/// Far larger than what is uploaded from memory.
const LARGE_BYTES: usize = 40 << 20;
const CHUNK_BYTES: u32 = 256 << 10;

#[tokio::test]
async fn objects_survive_a_killed_oracle_and_come_back_equal() {
    killed_midway(Platform::EMBEDDED).await;
}

#[tokio::test]
async fn objects_survive_a_killed_oracle_on_real_fabric_and_kubo() {
    if is_here(
        "objects_survive_a_killed_oracle_on_real_fabric_and_kubo",
        Platform::REAL,
    ) {
        killed_midway(Platform::REAL).await;
    }
}

async fn killed_midway(platform: Platform) {
    let mut running = Running::start(platform, 1).await;
    let patient = running.cast.patients[0].clone();
    let provider = format!("participant:{}", running.cast.provider_id);
    let give = ["grants", "give", "--to", &provider, "--purpose", "TREAT"];
    running.salus(&patient.person, &give).await;
    let scan = [&[0; 128][..], b"DICM", &noise(3 << 20, 2)].concat();
    for (name, content_type, content) in [
        ("raw", "application/octet-stream", noise(LARGE_BYTES, 1)),
        ("scan", "application/dicom", scan),
    ] {
        let object = written(&running, name, &content);
        let options = Options {
            patience: Duration::from_secs(120),
            ..device_options(&running, &patient, content_type)
        };
        let receipt = publish_and_kill(&mut running, options.clone(), object.clone()).await;
        // The same object again is the same record.
        let again = publish_object(&options, &object, |_| ()).await.unwrap();
        assert_eq!(again, receipt, "{name}");
        reads_back(&running, &patient, &receipt, content_type, &content).await;
        // Another content under its name is refused.
        let other = written(&running, name, &content[..content.len() - 1]);
        let refused = publish_object(&options, &other, |_| ()).await.unwrap_err();
        assert!(refused.to_string().contains("object-differs"), "{refused}");
    }
    nothing_is_left(&running);
    running.system.stop().await.unwrap();
}

/// Publishes an object, and kills the oracle when a third of it is durable and again when all of it is.
async fn publish_and_kill(
    running: &mut Running,
    options: Options,
    object: ObjectOptions,
) -> Receipt {
    let third = Arc::new(Notify::new());
    let all = Arc::new(Notify::new());
    let (tell_third, tell_all) = (Arc::clone(&third), Arc::clone(&all));
    let publishing = tokio::spawn(async move {
        publish_object(&options, &object, |progress| {
            if progress.chunks_done * 3 >= progress.chunks {
                tell_third.notify_one();
            }
            if progress.chunks_done == progress.chunks {
                tell_all.notify_one();
            }
        })
        .await
    });
    for moment in [third, all] {
        moment.notified().await;
        running.system.kill_and_restart(Part::Oracle).await.unwrap();
    }
    publishing.await.unwrap().unwrap()
}

async fn reads_back(
    running: &Running,
    patient: &Patient,
    receipt: &Receipt,
    content_type: &str,
    content: &[u8],
) {
    let client = story::client(&running.cast.provider).unwrap();
    let asking = client.request_content(&receipt.record_id, Purpose::Treat);
    let mut sealed = asking.await.unwrap();
    let record = sealed.record.metadata.clone();
    assert_eq!(record.content_type, content_type);
    assert_eq!(record.plaintext_size, content.len() as u64);
    assert_eq!((record.readings, record.patient), (1, patient.pseudonym));
    let key = client.key_for(&sealed.wrapped_key).unwrap();
    let mut opened = Vec::new();
    sealed.open_into(key, &mut opened).await.unwrap();
    assert!(opened == content, "another content came back");
    let own = story::client(&patient.person).unwrap();
    let records = story::records_of(&own, patient.pseudonym).await.unwrap();
    let same = records
        .iter()
        .filter(|one| one.metadata.plaintext_size == content.len() as u64);
    assert_eq!(same.count(), 1, "an object is one record");
}

/// What is on the ledger leaves no file of an object behind.
fn nothing_is_left(running: &Running) {
    let mut left = Vec::new();
    let mut folders = vec![running.system.dir.clone()];
    while let Some(folder) = folders.pop() {
        for item in std::fs::read_dir(folder).unwrap() {
            let path = item.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "object")
            {
                left.push(path);
            }
        }
    }
    assert_eq!(left, Vec::<PathBuf>::new());
}

fn written(running: &Running, name: &str, content: &[u8]) -> ObjectOptions {
    let folder = running.dir.path().join("input");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join(format!("{name}-{}", content.len()));
    std::fs::write(&file, content).unwrap();
    ObjectOptions {
        file,
        object_id: Some(name.parse().unwrap()),
        chunk_bytes: CHUNK_BYTES,
        seq: None,
        record_type: None,
        time: None,
        signer: None,
    }
}

/// Bytes without a pattern.
fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed ^ 0x9e37_79b9_7f4a_7c15;
    let mut noise = Vec::with_capacity(bytes + 8);
    while noise.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend_from_slice(&state.to_le_bytes());
    }
    noise.truncate(bytes);
    noise
}
