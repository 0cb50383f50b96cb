//! What a device signed, from the device to a verification without any network: a reading, and a large object.

use std::path::Path;

use salus_tests::{
    binaries,
    process::{Spec, run},
    story,
    system::Platform,
};
use serde_json::{Value, json};

use crate::support::{Running, is_here};

#[tokio::test]
async fn a_signed_reading_is_verified_offline() {
    verify(Platform::EMBEDDED).await;
}

#[tokio::test]
async fn a_signed_reading_is_verified_offline_on_real_fabric_and_kubo() {
    let test = "a_signed_reading_is_verified_offline_on_real_fabric_and_kubo";
    if is_here(test, Platform::REAL) {
        verify(Platform::REAL).await;
    }
}

async fn verify(platform: Platform) {
    let running = Running::start(platform, 1).await;
    let patient = running.cast.patients[0].person.clone();
    let record = publish_signed(&running).await;

    // Online, with a read, keeping the evidence.
    let bundle = running.file("evidence.json", "");
    std::fs::remove_file(&bundle).unwrap();
    let bundle = bundle.to_str().unwrap();
    let args = [
        "verify",
        &record,
        "--read",
        "--purpose",
        "PATRQT",
        "--save",
        bundle,
    ];
    let verified = story::salus(&running.system, &patient, &args)
        .await
        .unwrap();
    assert_eq!(verified["verified"], true, "{verified}");
    for check in [
        "device",
        "merkle",
        "object",
        "cid",
        "chain",
        "definition",
        "endorsements",
    ] {
        assert_eq!(outcome(&verified, check), "passed", "{check}: {verified}");
    }

    // The reader sees what the oracle found odd: the unit, and a reading that comes months late.
    let evidence: Value = serde_json::from_slice(&std::fs::read(bundle).unwrap()).unwrap();
    let marks = &evidence["record"]["metadata"]["marks"];
    assert_eq!(*marks, json!({ "clock-behind": 1, "unit-not-ucum": 1 }));

    // An object: its manifest is part of the record, and the content is compared with it.
    let object = running.file("scan.bin", &"a slice of a scan\n".repeat(9000));
    let record = publish_signed_object(&running, &object).await;
    let object_bundle = format!("{bundle}.object");
    let args = [
        "verify",
        &record,
        "--read",
        "--purpose",
        "PATRQT",
        "--save",
        &object_bundle,
    ];
    let verified = story::salus(&running.system, &patient, &args)
        .await
        .unwrap();
    assert_eq!(verified["verified"], true, "{verified}");
    for check in ["manifest", "device", "content", "object"] {
        assert_eq!(outcome(&verified, check), "passed", "{check}: {verified}");
    }

    // Nothing runs any more; the evidence stands alone.
    let profile = patient.profile.clone();
    let dir = running.dir;
    running.system.stop().await.unwrap();
    let offline = |bundle: &str, content: Option<&Path>| {
        let mut spec = Spec::new(
            "salus-offline",
            &binaries::ours("salus").unwrap(),
            dir.path(),
        )
        .option("--profile", &profile)
        .arg("--json")
        .arg("verify")
        .option("--bundle", bundle);
        if let Some(content) = content {
            spec = spec.option("--content", content);
        }
        run(spec)
    };
    for (bundle, content) in [(bundle, None), (&*object_bundle, Some(&*object))] {
        let printed = offline(bundle, content).await.unwrap();
        let verified: Value = serde_json::from_str(printed.trim()).unwrap();
        assert_eq!(verified["verified"], true, "{verified}");
        let changed = change(bundle, "/record/state/object_sha256", &"00".repeat(32));
        let held = offline(&changed, content).await.is_ok();
        assert!(!held, "a changed bundle held");
    }
    // Neither another manifest nor another content is what the device signed.
    let other_hash = change(
        &object_bundle,
        "/record/metadata/manifest/sha256",
        &"ab".repeat(32),
    );
    let refused = offline(&other_hash, Some(&object)).await.unwrap_err();
    let said = refused.to_string();
    let failed = "not verified: commitment, manifest, device\n";
    assert!(said.contains(failed), "{said}");
    let other = dir.path().join("other.bin");
    let mut content = std::fs::read(&object).unwrap();
    content[5] ^= 1;
    std::fs::write(&other, content).unwrap();
    let refused = offline(&object_bundle, Some(&other)).await.unwrap_err();
    let said = refused.to_string();
    assert!(said.contains("not verified: device\n"), "{said}");
}

/// Publishes a compact reading signed by the first device, in a unit that is none, and returns its record.
async fn publish_signed(running: &Running) -> String {
    let device = &running.cast.patients[0].device;
    let reading = json!({
        "time": "2026-01-01T12:00:00Z", "code": "8867-4", "value": 61, "unit": "beats",
    });
    let file = running.file("signed.ndjson", &reading.to_string());
    let oracle = &running.system.oracle;
    let spec = Spec::new(
        "publish-signed",
        &binaries::ours("salus").unwrap(),
        &running.system.dir,
    )
    .arg("--json")
    .arg("device")
    .arg("publish")
    .option("--device", &device.id)
    .option("--broker", format!("mqtts://{}", oracle.mqtt()))
    .option("--ca-file", oracle.home.join("mqtt/ca.crt"))
    .option("--certificate", device.file("client.crt"))
    .option("--key", device.file("client.key"))
    .option("--file", &file)
    .option("--content-type", "application/json")
    .arg("--sign")
    .arg("--wait-receipts");
    let answer: Value = serde_json::from_str(run(spec).await.unwrap().trim()).unwrap();
    answer["records"][0]["record_id"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// Publishes a file as an object that the first device signed, and returns its record.
async fn publish_signed_object(running: &Running, file: &Path) -> String {
    let device = &running.cast.patients[0].device;
    let oracle = &running.system.oracle;
    let spec = Spec::new(
        "publish-signed-object",
        &binaries::ours("salus").unwrap(),
        &running.system.dir,
    )
    .arg("--json")
    .arg("device")
    .arg("publish-object")
    .arg(file)
    .option("--content-type", "application/octet-stream")
    .option("--device", &device.id)
    .option("--broker", format!("mqtts://{}", oracle.mqtt()))
    .option("--ca-file", oracle.home.join("mqtt/ca.crt"))
    .option("--certificate", device.file("client.crt"))
    .option("--key", device.file("client.key"))
    .option("--chunk-size", "65536")
    .option("--time", "2026-01-01T12:30:00Z")
    .arg("--sign");
    let answer: Value = serde_json::from_str(run(spec).await.unwrap().trim()).unwrap();
    answer["record_id"].as_str().unwrap().to_owned()
}

fn outcome<'a>(verified: &'a Value, check: &str) -> &'a str {
    let checks = verified["checks"].as_array().unwrap();
    let found = checks.iter().find(|found| found["check"] == check);
    found.map_or("absent", |found| found["outcome"].as_str().unwrap())
}

/// Writes the bundle with another text in one place, and returns the new file's path.
fn change(bundle: &str, pointer: &str, text: &str) -> String {
    let mut evidence: Value = serde_json::from_slice(&std::fs::read(bundle).unwrap()).unwrap();
    let changed = evidence.pointer_mut(pointer).unwrap();
    assert_ne!(*changed, text, "nothing is changed");
    *changed = text.into();
    let path = format!("{bundle}.changed");
    std::fs::write(&path, evidence.to_string()).unwrap();
    path
}
