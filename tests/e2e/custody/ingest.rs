//! An ingest process of its own: devices publish to it, and it cannot open what it seals.

use std::{
    fs,
    io::{Read as _, Seek as _, SeekFrom},
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use salus_tests::{
    oracle::{Duties, OracleSettings},
    story::{self, WaitFor},
    system::{Platform, Setup},
};

use crate::support::{Running, contains_any, heart_rate, is_here};

#[tokio::test]
async fn an_ingest_process_takes_readings_and_holds_no_decryption_key() {
    ingest_holds_no_key(Platform::EMBEDDED).await;
}

#[tokio::test]
async fn an_ingest_process_takes_readings_and_holds_no_decryption_key_on_real_fabric() {
    let test = "an_ingest_process_takes_readings_and_holds_no_decryption_key_on_real_fabric";
    if is_here(test, Platform::REAL) {
        ingest_holds_no_key(Platform::REAL).await;
    }
}

async fn ingest_holds_no_key(platform: Platform) {
    let setup = Setup {
        duties: Duties::Api,
        ..Setup::of(platform)
    };
    let running = Running::start_with(&setup, 1).await;
    let api = &running.system.oracle;
    let settings = OracleSettings {
        name: "ingest1".to_owned(),
        duties: Duties::Ingest,
        ipfs_api: running.system.ipfs.api.clone(),
        release_keys: vec![api.identity.public_key_file()],
        ..OracleSettings::default()
    };
    let ingest = running.system.start_oracle(&settings).await.unwrap();
    assert!(ingest.addresses.rest.is_none(), "it answers people");
    assert!(api.addresses.mqtt.is_none(), "it takes readings");

    let patient = running.cast.patients[0].clone();
    let line = heart_rate(64, 3);
    let file = running.file("reading.ndjson", &line);
    let answer = story::publish_file_at(
        &running.system,
        &ingest,
        &patient.device,
        &file,
        WaitFor::Receipts,
    )
    .await
    .unwrap();
    let record = answer["records"][0]["record_id"].as_str().unwrap();
    let grantee = format!("participant:{}", running.cast.provider_id);
    let give = ["grants", "give", "--to", &grantee, "--purpose", "TREAT"];
    running.salus(&patient.person, &give).await;
    let client = story::client(&running.cast.provider).unwrap();
    let opened = client
        .read(&record.parse().unwrap(), contract_interface::Purpose::Treat)
        .await
        .unwrap();
    assert_eq!(opened.readings[0].payload, line.as_bytes());

    // Every private key of the run: in no file of the ingest process, in none that it has open,
    // and nowhere in its memory. The API process holds its own, so the search finds what is there.
    let secret = Secret::of(&api.identity.private_key_file());
    assert!(!ingest.identity.private_key_file().exists());
    let found = contains_any(&ingest.home, &secret.needles);
    assert!(found.is_empty(), "a private key in {found:?}");
    let pid = ingest.process.id().unwrap();
    for open in open_files(pid) {
        if let Ok(bytes) = fs::read(&open) {
            for needle in &secret.needles {
                let at = memchr::memmem::find(&bytes, needle);
                assert!(at.is_none(), "a private key in {}", open.display());
            }
        }
    }
    assert!(
        !in_memory(pid, &secret.needles),
        "a private key in the memory of the ingest process"
    );
    assert!(
        in_memory(api.process.id().unwrap(), &secret.needles),
        "the search does not find the key of the process that has it"
    );
    ingest.process.stop().await.unwrap();
    running.system.stop().await.unwrap();
}

/// A private key in the forms in which it could lie about.
struct Secret {
    needles: Vec<Vec<u8>>,
}

impl Secret {
    fn of(file: &Path) -> Self {
        let jwk: serde_json::Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        let mut needles = Vec::new();
        for member in ["d", "p", "q", "dp", "dq", "qi"] {
            let text = jwk[member].as_str().unwrap();
            let bytes = URL_SAFE_NO_PAD.decode(text).unwrap();
            // Libraries keep numbers with their least word first.
            let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
            needles.extend([
                text.as_bytes()[..64].to_vec(),
                hex::encode(&bytes[..48]).into_bytes(),
                bytes[..48].to_vec(),
                reversed[..48].to_vec(),
            ]);
        }
        Self { needles }
    }
}

/// The regular files that a process has open.
fn open_files(pid: u32) -> Vec<std::path::PathBuf> {
    let folder = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let links = folder.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    links.filter(|path| path.is_file()).collect()
}

/// Whether a process has any of these bytes in its writable memory.
fn in_memory(pid: u32, needles: &[Vec<u8>]) -> bool {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut memory = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut found = false;
    for line in maps.lines() {
        let mut columns = line.split_whitespace();
        let (Some(range), Some(rights)) = (columns.next(), columns.next()) else {
            continue;
        };
        if !rights.starts_with("rw") {
            continue;
        }
        let (start, end) = range.split_once('-').unwrap();
        let start = u64::from_str_radix(start, 16).unwrap();
        let end = u64::from_str_radix(end, 16).unwrap();
        let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
        memory.seek(SeekFrom::Start(start)).unwrap();
        // A page may have gone since; what was read is searched.
        let _ = memory.read_exact(&mut bytes);
        found |= needles
            .iter()
            .any(|needle| memchr::memmem::find(&bytes, needle).is_some());
    }
    found
}
