//! The later steps: pin, register, tell. Each loop asks the journal for work and never ends but by an error.

use std::sync::Arc;
use std::time::{Duration, Instant};

use contract_interface::RecordPrivate;

use super::large::{self, STREAMED_MAX, is_streamed};
use super::parked::{lot, reason_of};
use super::receipts::{receipts, refusals};
use super::{PipelineError, Shared, measure, now_ms, retry_delays};
use crate::ingest::topic;
use crate::journal::{
    Entry, JournalError, RecordKey, SealedRecord, Stage, StageKind, UnfinishedRecord,
};
use crate::ledger::{LedgerError, RegistrationBatch};
use crate::metrics::contract_code;
use crate::store::Object;

/// Objects in one upload.
const PIN_OBJECTS_MAX: usize = 128;
/// Bytes in one upload, unless a single object is larger.
const PIN_BYTES_MAX: u64 = 32 << 20;
/// Records told at once.
const TELL_MAX: usize = 256;
/// Readings whose records take a step in one entry of the journal. Its writer goes through them all, and devices
/// wait meanwhile.
const READINGS_A_STEP: usize = 2_000;
/// Wait between tries, should the growing waits ever end.
pub(super) const LAST_DELAY: Duration = Duration::from_secs(60);

/// Uploads sealed objects, many in one request, and pins them.
pub(super) async fn pin(shared: Arc<Shared>) -> Result<(), PipelineError> {
    let mut unreadable_delays = retry_delays();
    loop {
        let mut work = work(&shared, StageKind::Sealed, PIN_OBJECTS_MAX + STREAMED_MAX);
        work.retain(|record| !is_streamed(record));
        work.truncate(PIN_OBJECTS_MAX);
        let work = within_bytes(work);
        if work.is_empty() {
            shared.to_pin.notified().await;
            continue;
        }
        let reader = Arc::clone(&shared);
        let read = tokio::task::spawn_blocking(move || read_objects(&reader, work));
        let began = Instant::now();
        let Objects {
            keys,
            objects,
            lost,
            unreadable,
        } = read.await.map_err(|_| PipelineError::Panicked)?;
        if !lost.is_empty() {
            discard(&shared, lost).await?;
        }
        if keys.is_empty() {
            if unreadable > 0 {
                let delay = unreadable_delays.next().unwrap_or(LAST_DELAY);
                tracing::warn!(unreadable, ?delay, "sealed objects not read, trying again");
                tokio::select! {
                    () = tokio::time::sleep(delay) => {}
                    () = shared.to_pin.notified() => {}
                }
            }
            continue;
        }
        unreadable_delays = retry_delays();
        let mut delays = retry_delays();
        while let Err(error) = shared.store.pin(&objects).await {
            let delay = delays.next().unwrap_or(LAST_DELAY);
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                objects = objects.len(),
                ?delay,
                "objects not pinned, trying again"
            );
            metrics::counter!("salus_pipeline_retries_total", "step" => "pin").increment(1);
            tokio::time::sleep(delay).await;
        }
        append(&shared, Entry::Pinned(keys.clone())).await?;
        shared.stages.reached("pinned", &keys);
        measure("pin", began);
        for key in keys {
            shared.spool.remove(key);
        }
        shared.to_register.notify_one();
    }
}

/// As many as fit one upload, at least one.
fn within_bytes(work: Vec<UnfinishedRecord>) -> Vec<UnfinishedRecord> {
    let mut total = 0;
    work.into_iter()
        .enumerate()
        .take_while(|(at, record)| {
            total += record.sealed.object_bytes;
            *at == 0 || total <= PIN_BYTES_MAX
        })
        .map(|(_, record)| record)
        .collect()
}

/// What reading sealed objects gave.
#[derive(Debug, Default)]
struct Objects {
    keys: Vec<RecordKey>,
    /// Of the records in `keys`.
    objects: Vec<Object>,
    /// Records whose object is gone or changed.
    lost: Vec<UnfinishedRecord>,
    /// Objects that may be there, but cannot be read now.
    unreadable: usize,
}

/// Reads objects from the spool.
fn read_objects(shared: &Shared, work: Vec<UnfinishedRecord>) -> Objects {
    let mut read = Objects::default();
    for record in work {
        let key = record.sealed.record;
        let object = match shared.spool.read(key) {
            Ok(bytes) => Object::new(&bytes),
            Err(error) if error.is_missing() => {
                tracing::error!(record = key.to_hex(), %error, "a sealed object is lost, its readings are sealed again");
                read.lost.push(record);
                continue;
            }
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(
                    record = key.to_hex(),
                    error,
                    "a sealed object cannot be read"
                );
                metrics::counter!("salus_pipeline_retries_total", "step" => "read").increment(1);
                read.unreadable += 1;
                continue;
            }
        };
        if object.cid().to_string() == record.sealed.cid {
            read.keys.push(key);
            read.objects.push(object);
        } else {
            tracing::error!(
                record = key.to_hex(),
                "a sealed object has changed, its readings are sealed again"
            );
            read.lost.push(record);
        }
    }
    read
}

/// Forgets records of which nothing is outside yet; their readings are gathered again.
pub(super) async fn discard(
    shared: &Shared,
    lost: Vec<UnfinishedRecord>,
) -> Result<(), PipelineError> {
    let keys: Vec<RecordKey> = lost.iter().map(|record| record.sealed.record).collect();
    let readings: Vec<_> = keys
        .iter()
        .flat_map(|key| shared.journal.readings_of(*key))
        .collect();
    append(shared, Entry::Discarded(keys.clone())).await?;
    shared.stages.forget(&keys);
    for key in keys {
        shared.spool.remove(key);
    }
    for reading in readings {
        // The receiver lives as long as the sealing task; without it the pipeline ends anyway.
        drop(shared.again_tx.send(reading));
    }
    Ok(())
}

/// Registers pinned records, many in one transaction; between two batches also what was refused before and whose
/// time has come.
pub(super) async fn register(shared: Arc<Shared>) -> Result<(), PipelineError> {
    loop {
        let limit = shared.config.register_batch;
        let work = work(&shared, StageKind::Pinned, limit);
        let due = lot(&shared).take_due(tokio::time::Instant::now(), limit);
        if work.is_empty() && due.is_empty() {
            let next = lot(&shared).next_due();
            tokio::select! {
                () = shared.to_register.notified() => {}
                () = until(next) => {}
            }
            continue;
        }
        let began = Instant::now();
        if !work.is_empty() {
            let records = work.into_iter().map(|record| record.sealed).collect();
            submit(&shared, records).await?;
            measure("register", began);
        }
        let due = due
            .iter()
            .filter_map(|record| shared.journal.record(*record));
        let due: Vec<Arc<SealedRecord>> = due.map(|record| record.sealed).collect();
        submit(&shared, due).await?;
    }
}

async fn until(due: Option<tokio::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Registers records. When the contract refuses a batch, halves find out which record it means; that one is parked.
async fn submit(shared: &Shared, records: Vec<Arc<SealedRecord>>) -> Result<(), PipelineError> {
    let mut chunks = vec![records];
    let mut delays = retry_delays();
    while let Some(mut chunk) = chunks.pop() {
        let (readable, of_before) = chunk.into_iter().partition(|record| is_readable(record));
        chunk = readable;
        seal_again(shared, of_before).await?;
        if chunk.is_empty() {
            continue;
        }
        let error = match batch(&chunk) {
            Ok(batch) => match shared.registrar.register(&batch).await {
                Ok(registered) => {
                    let records: Vec<RecordKey> =
                        chunk.iter().map(|record| record.record).collect();
                    let commitment = crate::journal::Commitment {
                        transaction_id: registered.transaction_id,
                        block_number: registered.block_number,
                    };
                    for records in parts(&chunk) {
                        let commitment = commitment.clone();
                        let committed = Entry::Committed {
                            records,
                            commitment,
                        };
                        append(shared, committed).await?;
                    }
                    shared.stages.reached("committed", &records);
                    lot(shared).forget(chunk.iter().map(|record| &record.record));
                    metrics::counter!("salus_pipeline_registered_total")
                        .increment(chunk.len() as u64);
                    shared.to_tell.notify_one();
                    delays = retry_delays();
                    continue;
                }
                Err(error) => error,
            },
            Err(error) => error,
        };
        let refused = matches!(error, LedgerError::Contract { .. } | LedgerError::Answer(_));
        if refused && !error.is_retryable() {
            if chunk.len() > 1 {
                let half = chunk.split_off(chunk.len() / 2);
                chunks.extend([half, chunk]);
            } else {
                park(shared, &chunk, &error)?;
            }
        } else {
            let delay = delays.next().unwrap_or(LAST_DELAY);
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                records = chunk.len(),
                ?delay,
                "records not registered, trying again"
            );
            metrics::counter!("salus_pipeline_retries_total", "step" => "register").increment(1);
            tokio::time::sleep(delay).await;
            chunks.push(chunk);
        }
    }
    Ok(())
}

/// Lays refused records aside and tells their devices why no receipt comes.
fn park(
    shared: &Shared,
    chunk: &[Arc<SealedRecord>],
    error: &LedgerError,
) -> Result<(), PipelineError> {
    let (code, reason) = reason_of(error);
    for record in chunk {
        tracing::error!(
            record = record.record.to_hex(),
            device = record.device,
            error = error as &dyn std::error::Error,
            "the contract refuses a record, it stays in the journal"
        );
        let readings = shared.journal.readings_of(record.record);
        for refusal in refusals(Some(record.record), &code, &readings) {
            let topic = topic::receipts(&record.device);
            shared.delivery.publish(topic, refusal)?;
        }
        let now = tokio::time::Instant::now();
        let label = contract_code(&code);
        metrics::counter!("salus_pipeline_rejected_total", "reason" => label).increment(1);
        lot(shared).park(record, (code.clone(), reason.clone()), now, now_ms());
    }
    Ok(())
}

/// Whether a record was sealed by a version whose records the contracts still take.
fn is_readable(record: &SealedRecord) -> bool {
    serde_json::from_str::<RecordPrivate>(&record.private).is_ok()
}

/// Forgets records that an earlier version of the oracle sealed and never registered; their readings
/// are gathered again.
async fn seal_again(shared: &Shared, records: Vec<Arc<SealedRecord>>) -> Result<(), PipelineError> {
    let unfinished = records
        .iter()
        .filter_map(|record| shared.journal.record(record.record));
    let unfinished: Vec<UnfinishedRecord> = unfinished.collect();
    if unfinished.is_empty() {
        return Ok(());
    }
    tracing::warn!(
        records = unfinished.len(),
        "records of an earlier version are sealed again"
    );
    let keys: Vec<RecordKey> = unfinished
        .iter()
        .map(|record| record.sealed.record)
        .collect();
    discard(shared, unfinished).await?;
    lot(shared).forget(&keys);
    Ok(())
}

/// The batch that registers these records, as it was written down when they were sealed.
fn batch(records: &[Arc<SealedRecord>]) -> Result<RegistrationBatch, LedgerError> {
    let mut batch = RegistrationBatch::default();
    for record in records {
        batch
            .entries
            .push(serde_json::from_str(&record.public).map_err(LedgerError::Answer)?);
        batch
            .private
            .push(serde_json::from_str(&record.private).map_err(LedgerError::Answer)?);
        batch
            .wraps
            .push(serde_json::from_str(&record.wraps).map_err(LedgerError::Answer)?);
    }
    Ok(batch)
}

/// Publishes receipts of committed records and lets go of their readings.
pub(super) async fn tell(shared: Arc<Shared>) -> Result<(), PipelineError> {
    loop {
        let work = work(&shared, StageKind::Committed, TELL_MAX);
        if work.is_empty() {
            shared.to_tell.notified().await;
            continue;
        }
        let began = Instant::now();
        let mut done = Vec::with_capacity(work.len());
        for record in work {
            large::finish(&shared, &record).await?;
            let key = record.sealed.record;
            let Stage::Committed(commitment) = record.stage else {
                continue;
            };
            let readings = shared.journal.readings_of(key);
            for receipt in receipts(key, &commitment, &readings) {
                let topic = topic::receipts(&record.sealed.device);
                shared.delivery.publish(topic, receipt)?;
            }
            let now_ms = now_ms();
            for reading in &readings {
                let age_ms = now_ms.saturating_sub(reading.received_ms);
                metrics::histogram!("salus_pipeline_reading_seconds")
                    .record(age_ms as f64 / 1000.0);
            }
            done.push(record.sealed);
        }
        for done in parts(&done) {
            append(&shared, Entry::Done(done)).await?;
        }
        let done: Vec<RecordKey> = done.iter().map(|record| record.record).collect();
        shared.flow.moved(Instant::now());
        shared.stages.reached("receipted", &done);
        shared.stages.forget(&done);
        measure("tell", began);
    }
}

/// The records of a step, in as many parts as the journal takes well.
fn parts(records: &[Arc<SealedRecord>]) -> Vec<Vec<RecordKey>> {
    let mut parts = vec![Vec::new()];
    let mut readings = 0;
    for record in records {
        readings += record.entries.len();
        if readings > READINGS_A_STEP {
            readings = record.entries.len();
            parts.push(Vec::new());
        }
        if let Some(part) = parts.last_mut() {
            part.push(record.record);
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

fn work(shared: &Shared, stage: StageKind, limit: usize) -> Vec<UnfinishedRecord> {
    let parked = lot(shared).keys();
    shared.journal.at_stage(stage, limit, &parked)
}

/// Appends a stage, waiting while the disk is full.
pub(super) async fn append(shared: &Shared, entry: Entry) -> Result<(), PipelineError> {
    let mut delays = retry_delays();
    loop {
        match shared.journal.append(entry.clone()).await {
            Err(JournalError::DiskRefused { source }) => {
                let delay = delays.next().unwrap_or(LAST_DELAY);
                tracing::warn!(error = %source, ?delay, "the journal's disk is full");
                tokio::time::sleep(delay).await;
            }
            other => return Ok(other?),
        }
    }
}
