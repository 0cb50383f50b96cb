//! `kill -9` of each process, at each step: nothing acknowledged is lost, nothing is doubled.

use std::collections::BTreeSet;

use contract_interface::Purpose;
use salus_tests::{
    readings,
    story::{self, WaitFor},
    system::{Part, Platform},
};
use serde_json::Value;

use crate::support::{Running, is_here};

#[tokio::test]
async fn any_process_of_the_embedded_system_may_be_killed() {
    kill_each(Platform::EMBEDDED).await;
}

#[tokio::test]
async fn any_process_on_real_fabric_and_kubo_may_be_killed() {
    if is_here(
        "any_process_on_real_fabric_and_kubo_may_be_killed",
        Platform::REAL,
    ) {
        kill_each(Platform::REAL).await;
    }
}

/// For each process: publishes until acknowledged, kills the process at once, publishes the same
/// readings again (as a device does that is not sure), waits for the receipts, kills it again, and
/// has the device, which lost them, ask for the same receipts before the readings are read.
async fn kill_each(platform: Platform) {
    let mut running = Running::start(platform, 1).await;
    let patient = running.cast.patients[0].clone();
    let mut published = Vec::new();
    for (round, part) in running.system.parts().into_iter().enumerate() {
        let batch = readings::generate(1, 12, 100 + round as u64)
            .remove(0)
            .observations;
        let file = running.file(&format!("{round}.ndjson"), &batch.join("\n"));
        let publish = |wait| story::publish_file(&running.system, &patient.device, &file, wait);
        publish(WaitFor::Acknowledgements).await.unwrap();
        running.system.kill_and_restart(part).await.unwrap();
        let publish = |wait| story::publish_file(&running.system, &patient.device, &file, wait);
        let answer = publish(WaitFor::Receipts)
            .await
            .unwrap_or_else(|error| panic!("after {part:?} was killed: {error:#}"));
        assert_eq!(answer["acknowledged"], 12, "after {part:?} was killed");
        running.system.kill_and_restart(part).await.unwrap();
        let publish =
            || story::publish_file(&running.system, &patient.device, &file, WaitFor::Receipts);
        let again = retry(publish).await;
        assert_eq!(places(&again), places(&answer), "after {part:?} was killed");
        published.extend(batch);
        all_are_there_once(&patient, &published, part).await;
    }
    running.system.stop().await.unwrap();
}

/// The records of a device's receipts, and where they are on the ledger.
fn places(answer: &Value) -> BTreeSet<String> {
    let records = answer["records"].as_array().unwrap();
    assert!(!records.is_empty(), "no receipt in {answer}");
    let place = |record: &Value| {
        let members = ["record_id", "transaction_id", "block_number"];
        members.map(|member| record[member].to_string()).join(" ")
    };
    records.iter().map(place).collect()
}

async fn all_are_there_once(patient: &story::Patient, published: &[String], part: Part) {
    let client = story::client(&patient.person).unwrap();
    let opened = retry(|| story::read_patient(&client, patient.pseudonym, Purpose::Patrqt)).await;
    story::check_all_there(&patient.device.id, &opened, published)
        .unwrap_or_else(|error| panic!("after {part:?} was killed: {error:#}"));
    let count: usize = opened.iter().map(|record| record.readings.len()).sum();
    assert_eq!(count, published.len(), "after {part:?} was killed");
}

/// A part that has just come back may not have found the others yet.
async fn retry<T, F>(mut attempt: impl FnMut() -> F) -> T
where
    F: Future<Output = anyhow::Result<T>>,
{
    const ATTEMPTS: usize = 60;
    const PAUSE: std::time::Duration = std::time::Duration::from_millis(500);
    for _ in 1..ATTEMPTS {
        if let Ok(value) = attempt().await {
            return value;
        }
        tokio::time::sleep(PAUSE).await;
    }
    attempt().await.unwrap()
}
