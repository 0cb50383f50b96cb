//! A reading that its device signed, from the device to a verification without any network.

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

    // Nothing runs any more; the evidence stands alone.
    let profile = patient.profile.clone();
    let dir = running.dir;
    running.system.stop().await.unwrap();
    let offline = |bundle: String| {
        let spec = Spec::new(
            "salus-offline",
            &binaries::ours("salus").unwrap(),
            dir.path(),
        )
        .option("--profile", &profile)
        .arg("--json")
        .arg("verify")
        .option("--bundle", bundle);
        run(spec)
    };
    let printed = offline(bundle.to_owned()).await.unwrap();
    let verified: Value = serde_json::from_str(printed.trim()).unwrap();
    assert_eq!(verified["verified"], true, "{verified}");
    let changed = change(bundle);
    assert!(offline(changed).await.is_err(), "a changed bundle held");
}

/// Publishes a compact reading signed by the first device, and returns its record.
async fn publish_signed(running: &Running) -> String {
    let device = &running.cast.patients[0].device;
    let reading = json!({
        "time": "2026-01-01T12:00:00Z", "code": "8867-4", "value": 61, "unit": "/min",
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

fn outcome<'a>(verified: &'a Value, check: &str) -> &'a str {
    let checks = verified["checks"].as_array().unwrap();
    let found = checks.iter().find(|found| found["check"] == check);
    found.map_or("absent", |found| found["outcome"].as_str().unwrap())
}

/// Writes the bundle with another object's hash in it, and returns the new file's path.
fn change(bundle: &str) -> String {
    let mut evidence: Value = serde_json::from_slice(&std::fs::read(bundle).unwrap()).unwrap();
    let hash = evidence.pointer_mut("/record/state/object_sha256").unwrap();
    *hash = Value::String("00".repeat(32));
    let path = format!("{bundle}.changed");
    std::fs::write(&path, evidence.to_string()).unwrap();
    path
}
