//! No plaintext, no key, no name leaves its place: a canary in every payload is found nowhere.

use std::{fs, path::Path};

use base64::{Engine as _, engine::general_purpose};
use salus_tests::{
    readings::PatientReadings,
    story,
    system::{Platform, Setup, System},
};

use crate::support::{Silent, each_file, heart_rate};

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
    let setup = Setup {
        second_oracle: true,
        ..Setup::of(Platform::EMBEDDED)
    };
    let mut system = System::start_with(&setup, dir.path()).await.unwrap();
    story::play(&mut system, &input, &mut Silent).await.unwrap();
    system.stop().await.unwrap();

    // What the test itself handed to the devices and the patient.
    fs::remove_dir_all(dir.path().join("input")).unwrap();
    let mut needles = needles(CANARY);
    for text in story::CONFIDED {
        needles.extend(self::needles(text));
    }
    let mut searched = 0;
    search(dir.path(), &needles, &mut searched);
    assert!(searched > 20, "only {searched} files were searched");
}

/// A text as it is, in hexadecimal, and in base64 at each of the three alignments.
fn needles(text: &str) -> Vec<Vec<u8>> {
    let mut needles = vec![text.as_bytes().to_vec(), hex::encode(text).into_bytes()];
    for shift in 0..3 {
        let shifted = [&vec![b' '; shift][..], text.as_bytes()].concat();
        for engine in [
            general_purpose::STANDARD_NO_PAD,
            general_purpose::URL_SAFE_NO_PAD,
        ] {
            let text = engine.encode(&shifted);
            // The outer characters depend on what stands beside it.
            needles.push(text.as_bytes()[4..text.len() - 4].to_vec());
        }
    }
    needles
}

fn search(dir: &Path, needles: &[Vec<u8>], searched: &mut usize) {
    each_file(dir, &mut |path, bytes| {
        *searched += 1;
        for needle in needles {
            assert!(
                memchr::memmem::find(bytes, needle).is_none(),
                "{} holds {}",
                path.display(),
                String::from_utf8_lossy(needle)
            );
        }
    });
}
