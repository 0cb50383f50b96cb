//! The later steps: pin, register, tell. Each loop asks the journal for work and never ends but by an error.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use contract_interface::RecordPrivate;
use tokio::time::Instant;

use super::receipts::receipts;
use super::{PipelineError, Shared, retry_delays};
use crate::ingest::topic;
use crate::journal::{
    Entry, JournalError, RecordKey, SealedRecord, Stage, StageKind, UnfinishedRecord,
};
use crate::ledger::{LedgerError, RegistrationBatch};
use crate::store::Object;

/// Objects in one upload.
const PIN_OBJECTS_MAX: usize = 128;
/// Bytes in one upload, unless a single object is larger.
const PIN_BYTES_MAX: u64 = 32 << 20;
/// Records told at once.
const TELL_MAX: usize = 256;
/// A record that the contract refuses is tried again after this time.
const PARKED: Duration = Duration::from_secs(60);

/// Uploads sealed objects, many in one request, and pins them.
pub(super) async fn pin(shared: Arc<Shared>) -> Result<(), PipelineError> {
    loop {
        let work = work(&shared, StageKind::Sealed, PIN_OBJECTS_MAX);
        let work = within_bytes(work);
        if work.is_empty() {
            shared.to_pin.notified().await;
            continue;
        }
        let reader = Arc::clone(&shared);
        let read = tokio::task::spawn_blocking(move || read_objects(&reader, work));
        let (keys, objects, lost) = read.await.map_err(|_| PipelineError::Panicked)?;
        if !lost.is_empty() {
            discard(&shared, lost).await?;
        }
        if keys.is_empty() {
            continue;
        }
        let mut delays = retry_delays();
        while let Err(error) = shared.store.pin(&objects).await {
            let delay = delays.next().unwrap_or(PARKED);
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

/// Reads objects from the spool; those that are gone or changed come back as the third part.
fn read_objects(
    shared: &Shared,
    work: Vec<UnfinishedRecord>,
) -> (Vec<RecordKey>, Vec<Object>, Vec<UnfinishedRecord>) {
    let mut keys = Vec::with_capacity(work.len());
    let mut objects = Vec::with_capacity(work.len());
    let mut lost = Vec::new();
    for record in work {
        let key = record.sealed.record;
        let object = match shared.spool.read(key) {
            Ok(bytes) => Object::new(&bytes),
            Err(error) => {
                tracing::error!(record = key.to_hex(), %error, "a sealed object is lost, its readings are sealed again");
                lost.push(record);
                continue;
            }
        };
        if object.cid().to_string() == record.sealed.cid {
            keys.push(key);
            objects.push(object);
        } else {
            tracing::error!(
                record = key.to_hex(),
                "a sealed object has changed, its readings are sealed again"
            );
            lost.push(record);
        }
    }
    (keys, objects, lost)
}

/// Forgets records of which nothing is outside yet; their readings are gathered again.
async fn discard(shared: &Shared, lost: Vec<UnfinishedRecord>) -> Result<(), PipelineError> {
    let keys: Vec<RecordKey> = lost.iter().map(|record| record.sealed.record).collect();
    let readings: Vec<_> = keys
        .iter()
        .flat_map(|key| shared.journal.readings_of(*key))
        .collect();
    append(shared, Entry::Discarded(keys.clone())).await?;
    for key in keys {
        shared.spool.remove(key);
    }
    for reading in readings {
        // The receiver lives as long as the sealing task; without it the pipeline ends anyway.
        drop(shared.again_tx.send(reading));
    }
    Ok(())
}

/// Registers pinned records, many in one transaction.
pub(super) async fn register(shared: Arc<Shared>) -> Result<(), PipelineError> {
    let mut retry_parked = Instant::now() + PARKED;
    loop {
        let work = work(&shared, StageKind::Pinned, shared.config.register_batch);
        if !work.is_empty() {
            let records = work.into_iter().map(|record| record.sealed).collect();
            submit(&shared, records).await?;
            continue;
        }
        tokio::select! {
            () = shared.to_register.notified() => {}
            () = tokio::time::sleep_until(retry_parked) => {
                retry_parked = Instant::now() + PARKED;
                let mut parked = shared.parked.lock().unwrap_or_else(PoisonError::into_inner);
                parked.clear();
            }
        }
    }
}

/// Registers records. When the contract refuses a batch, halves find out which record it means; that one is parked.
async fn submit(shared: &Shared, records: Vec<SealedRecord>) -> Result<(), PipelineError> {
    let mut chunks = vec![records];
    let mut delays = retry_delays();
    while let Some(mut chunk) = chunks.pop() {
        let (readable, of_before) = chunk.into_iter().partition(is_readable);
        chunk = readable;
        seal_again(shared, of_before).await?;
        if chunk.is_empty() {
            continue;
        }
        let error = match batch(&chunk) {
            Ok(batch) => match shared.registrar.register(&batch).await {
                Ok(registered) => {
                    let records = chunk.iter().map(|record| record.record).collect();
                    let commitment = crate::journal::Commitment {
                        transaction_id: registered.transaction_id,
                        block_number: registered.block_number,
                    };
                    append(
                        shared,
                        Entry::Committed {
                            records,
                            commitment,
                        },
                    )
                    .await?;
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
                park(shared, &chunk, &error);
            }
        } else {
            let delay = delays.next().unwrap_or(PARKED);
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

fn park(shared: &Shared, chunk: &[SealedRecord], error: &LedgerError) {
    let mut parked = shared.parked.lock().unwrap_or_else(PoisonError::into_inner);
    for record in chunk {
        tracing::error!(
            record = record.record.to_hex(),
            device = record.device,
            error = error as &dyn std::error::Error,
            "the contract refuses a record, it stays in the journal"
        );
        parked.insert(record.record);
    }
}

/// Whether a record was sealed by a version whose records the contracts still take.
fn is_readable(record: &SealedRecord) -> bool {
    serde_json::from_str::<RecordPrivate>(&record.private).is_ok()
}

/// Forgets records that an earlier version of the oracle sealed and never registered; their readings
/// are gathered again.
async fn seal_again(shared: &Shared, records: Vec<SealedRecord>) -> Result<(), PipelineError> {
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
    discard(shared, unfinished).await
}

/// The batch that registers these records, as it was written down when they were sealed.
fn batch(records: &[SealedRecord]) -> Result<RegistrationBatch, LedgerError> {
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
        let mut done = Vec::with_capacity(work.len());
        for record in work {
            let key = record.sealed.record;
            let Stage::Committed(commitment) = record.stage else {
                continue;
            };
            let readings = shared.journal.readings_of(key);
            for receipt in receipts(key, &commitment, &readings) {
                let topic = topic::receipts(&record.sealed.device);
                shared.delivery.publish(topic, receipt)?;
            }
            let mut book = shared.book.lock().unwrap_or_else(PoisonError::into_inner);
            book.insert(key, &commitment, &readings);
            drop(book);
            done.push(key);
        }
        append(&shared, Entry::Done(done)).await?;
    }
}

fn work(shared: &Shared, stage: StageKind, limit: usize) -> Vec<UnfinishedRecord> {
    let parked: HashSet<RecordKey> = shared
        .parked
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    shared.journal.at_stage(stage, limit, &parked)
}

/// Appends a stage, waiting while the disk is full.
async fn append(shared: &Shared, entry: Entry) -> Result<(), PipelineError> {
    let mut delays = retry_delays();
    loop {
        match shared.journal.append(entry.clone()).await {
            Err(JournalError::DiskRefused { source }) => {
                let delay = delays.next().unwrap_or(PARKED);
                tracing::warn!(error = %source, ?delay, "the journal's disk is full");
                tokio::time::sleep(delay).await;
            }
            other => return Ok(other?),
        }
    }
}
