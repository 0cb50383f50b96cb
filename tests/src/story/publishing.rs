//! Devices publish.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;

use super::{
    Cast, READS_AT_ONCE,
    command::{run_json, text},
};
use crate::{
    binaries, consortium::Device, oracle::Oracle, process::Spec, readings::PatientReadings,
    system::System,
};

/// What publishing came to.
#[derive(Debug, Default)]
pub struct Receipts {
    /// Readings acknowledged.
    pub acknowledged: usize,
    /// IDs of the records that hold them.
    pub records: BTreeSet<String>,
    pub(super) first: Vec<String>,
}

/// Publishes each patient's readings from the patient's device, all devices at once, and waits
/// for the receipts.
///
/// # Errors
/// When a reading is refused or gets no receipt.
pub async fn publish(system: &System, cast: &Cast, input: &[PatientReadings]) -> Result<Receipts> {
    let folder = system.dir.join("input");
    std::fs::create_dir_all(&folder)?;
    let publishing = cast.patients.iter().zip(input).map(|(patient, readings)| {
        let file = folder.join(format!("{}.ndjson", patient.device.id));
        async move {
            std::fs::write(&file, readings.observations.join("\n"))?;
            publish_file(system, &patient.device, &file, WaitFor::Receipts).await
        }
    });
    let answers: Vec<Value> = stream::iter(publishing)
        .buffered(READS_AT_ONCE)
        .try_collect()
        .await?;
    let mut receipts = Receipts::default();
    for answer in &answers {
        receipts.acknowledged += answer["acknowledged"]
            .as_u64()
            .and_then(|n| usize::try_from(n).ok())
            .context("salus counted no acknowledgements")?;
        for record in answer["records"].as_array().into_iter().flatten() {
            receipts.records.insert(text(record, "record_id")?);
        }
    }
    if let Some(record) = answers.first().and_then(|answer| answer["records"].get(0)) {
        receipts.first = vec![format!(
            "first record {}, transaction {} in block {}",
            text(record, "record_id")?,
            text(record, "transaction_id")?,
            record["block_number"]
        )];
    }
    Ok(receipts)
}

/// How long publishing waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitFor {
    /// Until all readings are acknowledged.
    Acknowledgements,
    /// Until all readings are on the ledger.
    Receipts,
}

/// Publishes a file's lines from a device with `salus device publish`, at the first oracle.
///
/// # Errors
/// When a reading is refused or gets no receipt.
pub async fn publish_file(
    system: &System,
    device: &Device,
    file: &Path,
    wait_for: WaitFor,
) -> Result<Value> {
    publish_file_at(system, &system.oracle, device, file, wait_for).await
}

/// Publishes as [`publish_file`] at an oracle.
///
/// # Errors
/// When a reading is refused or gets no receipt.
pub async fn publish_file_at(
    system: &System,
    oracle: &Oracle,
    device: &Device,
    file: &Path,
    wait_for: WaitFor,
) -> Result<Value> {
    let spec = Spec::new(
        &format!("publish-{}", device.id),
        &binaries::ours("salus")?,
        &system.dir,
    )
    .arg("--json")
    .arg("device")
    .arg("publish")
    .option("--device", &device.id)
    .option("--broker", format!("mqtts://{}", oracle.mqtt()))
    .option("--ca-file", oracle.home.join("mqtt/ca.crt"))
    .option("--certificate", device.file("client.crt"))
    .option("--key", device.file("client.key"))
    .option("--file", file);
    run_json(match wait_for {
        WaitFor::Receipts => spec.arg("--wait-receipts"),
        WaitFor::Acknowledgements => spec,
    })
    .await
}
