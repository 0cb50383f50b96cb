//! No plaintext, no key, no name leaves its place: a canary in every payload is found nowhere.

use std::{fs, path::Path};

use base64::{Engine as _, engine::general_purpose};
use salus_tests::{
    readings::PatientReadings,
    story,
    system::{Platform, System},
};

use crate::support::{Silent, heart_rate};

const CANARY: &str = "canary-7f3d91c2b8";

#[tokio::test]
async fn a_canary_in_every_payload_is_found_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let observations = (0..20)
        .map(|n| {
            heart_rate(60 + n, n)
                .replace("\"final\"", &format!("\"final\",\"id\":\"{CANARY}-{n}\""))
        })
        .collect();
    let input = vec![PatientReadings {
        label: "p".to_owned(),
        observations,
    }];
    let mut system = System::start(Platform::EMBEDDED, dir.path()).await.unwrap();
    story::play(&mut system, &input, &mut Silent).await.unwrap();
    system.stop().await.unwrap();

    // What the test itself handed to the device.
    fs::remove_dir_all(dir.path().join("input")).unwrap();
    let needles = needles();
    let mut searched = 0;
    search(dir.path(), &needles, &mut searched);
    assert!(searched > 20, "only {searched} files were searched");
}

/// The canary as text, in hexadecimal, and in base64 at each of the three alignments.
fn needles() -> Vec<Vec<u8>> {
    let mut needles = vec![CANARY.as_bytes().to_vec(), hex::encode(CANARY).into_bytes()];
    for shift in 0..3 {
        let shifted = [&vec![b' '; shift][..], CANARY.as_bytes()].concat();
        for engine in [
            general_purpose::STANDARD_NO_PAD,
            general_purpose::URL_SAFE_NO_PAD,
        ] {
            let text = engine.encode(&shifted);
            // The outer characters depend on what stands beside the canary.
            needles.push(text.as_bytes()[4..text.len() - 4].to_vec());
        }
    }
    needles
}

fn search(dir: &Path, needles: &[Vec<u8>], searched: &mut usize) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            search(&path, needles, searched);
        } else if path.is_file() {
            let bytes = fs::read(&path).unwrap();
            *searched += 1;
            for needle in needles {
                let found = bytes.windows(needle.len()).any(|window| window == needle);
                assert!(
                    !found,
                    "{} holds {}",
                    path.display(),
                    String::from_utf8_lossy(needle)
                );
            }
        }
    }
}
