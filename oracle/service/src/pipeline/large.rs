//! Large objects through the steps that need their content: streamed, one at a time, and beside the small records,
//! which do not wait for them.
//!
//! Memory holds a few chunks of one object, whatever its size.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::OptionFuture;
use sealed_object::PublicKey;
use tokio::sync::mpsc;

use super::gather::Group;
use super::parked::lot;
use super::seal::{SealError, seal_object};
use super::steps::{LAST_DELAY, append, discard};
use super::{PipelineError, Shared, measure, now_ms, retry_delays};
use crate::draft::DraftError;
use crate::journal::disk::is_out_of_room;
use crate::journal::{Entry, JournalError, RecordKey, SealedRecord, StageKind, UnfinishedRecord};
use crate::objects::{Finished, ObjectError, ObjectName};
use crate::store::ObjectHasher;

/// A sealed object of more bytes is streamed to the store.
const STREAMED_BYTES: u64 = 16 << 20;
/// Streamed objects that may be at one stage: as many as may be unfinished, and more.
pub(super) const STREAMED_MAX: usize = 1024;
/// An object that cannot be sealed now is tried again after this time.
const POSTPONED: Duration = Duration::from_secs(5);

/// An object to be sealed, and the key of its patient.
pub(super) type Job = (Group, Arc<PublicKey>);

/// Whether a record's object is streamed to the store.
pub(super) fn is_streamed(record: &UnfinishedRecord) -> bool {
    record.sealed.object_bytes > STREAMED_BYTES
}

/// Seals objects, one after the other.
pub(super) async fn seal(
    shared: Arc<Shared>,
    mut jobs: mpsc::UnboundedReceiver<Job>,
) -> Result<(), PipelineError> {
    let mut postponed: Vec<(Instant, Job)> = Vec::new();
    loop {
        let due = postponed.iter().map(|(at, _)| *at).min();
        let wait = OptionFuture::from(due.map(|at| tokio::time::sleep_until(at.into())));
        let job = tokio::select! {
            job = jobs.recv() => match job {
                Some(job) => job,
                // The gathering has ended, and so the pipeline.
                None => std::future::pending().await,
            },
            Some(()) = wait => {
                let now = Instant::now();
                match postponed.iter().position(|(at, _)| *at <= now) {
                    Some(at) => postponed.swap_remove(at).1,
                    None => continue,
                }
            }
        };
        if let Some(job) = seal_one(&shared, job).await? {
            postponed.push((Instant::now() + POSTPONED, job));
        }
    }
}

/// Seals one object; it comes back if that cannot be done now.
async fn seal_one(shared: &Arc<Shared>, job: Job) -> Result<Option<Job>, PipelineError> {
    let began = Instant::now();
    let worker = Arc::clone(shared);
    let work = tokio::task::spawn_blocking(move || {
        let sealed = seal_to_spool(&worker, &job);
        (job, sealed)
    });
    let (job, sealed) = work.await.map_err(|_| PipelineError::Panicked)?;
    let Some(record) = sealed? else {
        return Ok(Some(job));
    };
    let key = record.record;
    match shared.journal.append(Entry::Sealed(record)).await {
        Ok(()) => {}
        Err(JournalError::DiskRefused { .. }) => {
            shared.spool.remove(key);
            return Ok(Some(job));
        }
        Err(error) => return Err(error.into()),
    }
    let readings = shared.journal.readings_of(key);
    shared.stages.sealed(key, &readings, now_ms());
    measure("seal", began);
    shared.to_pin.notify_one();
    shared.to_pin_streamed.notify_one();
    Ok(None)
}

/// Seals an object into the spool; none if that cannot be done now.
fn seal_to_spool(
    shared: &Shared,
    (group, patient_key): &Job,
) -> Result<Option<SealedRecord>, PipelineError> {
    let mut readings = shared.journal.read(&group.entries)?;
    let reader = group.object.as_ref().and_then(|id| {
        let device = group.device.clone();
        let id = id.clone();
        shared.objects.reader(&ObjectName { device, id })
    });
    let (Some(reading), Some(reader)) = (readings.pop(), reader) else {
        tracing::error!(
            device = group.device,
            "an object's file is lost, its reading cannot be sealed"
        );
        return Ok(None);
    };
    let mut holders = vec![&**patient_key];
    holders.extend(&shared.oracle_keys);
    let (record, mut file) = match shared.spool.create() {
        Ok(created) => created,
        Err(error) if error.is_full() => {
            tracing::warn!(%error, "the spool is full");
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    let sealing = seal_object(
        (record, group),
        (reading, reader),
        (&shared.msp_id, &holders),
        &mut file,
    );
    let sealed = sealing.and_then(|sealed| match file.sync_data() {
        Ok(()) => Ok(sealed),
        Err(error) => Err(DraftError::Content(error).into()),
    });
    match sealed {
        Ok(sealed) => {
            shared.spool.sync()?;
            Ok(Some(sealed))
        }
        Err(error) => {
            shared.spool.remove(record);
            match &error {
                SealError::Draft(DraftError::Content(cause)) if is_out_of_room(cause) => {
                    tracing::warn!(%error, "the spool is full");
                }
                _ => {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(
                        device = group.device,
                        error,
                        "an object cannot be sealed, trying again"
                    );
                }
            }
            Ok(None)
        }
    }
}

/// Uploads large sealed objects and pins them, one after the other.
pub(super) async fn pin(shared: Arc<Shared>) -> Result<(), PipelineError> {
    let mut delays = retry_delays();
    loop {
        let parked = lot(&shared).keys();
        let waiting = shared
            .journal
            .at_stage(StageKind::Sealed, STREAMED_MAX, &parked);
        let Some(record) = waiting.into_iter().find(is_streamed) else {
            shared.to_pin_streamed.notified().await;
            continue;
        };
        let began = Instant::now();
        let key = record.sealed.record;
        match whole(&shared, &record).await? {
            Whole::Yes => {}
            Whole::Lost => {
                discard(&shared, vec![record]).await?;
                continue;
            }
            Whole::Unreadable => {
                let delay = delays.next().unwrap_or(LAST_DELAY);
                metrics::counter!("salus_pipeline_retries_total", "step" => "read").increment(1);
                tokio::time::sleep(delay).await;
                continue;
            }
        }
        if let Err(error) = upload(&shared, &record).await {
            let delay = delays.next().unwrap_or(LAST_DELAY);
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                ?delay,
                "a large object is not pinned, trying again"
            );
            metrics::counter!("salus_pipeline_retries_total", "step" => "pin").increment(1);
            tokio::time::sleep(delay).await;
            continue;
        }
        delays = retry_delays();
        append(&shared, Entry::Pinned(vec![key])).await?;
        shared.stages.reached("pinned", &[key]);
        measure("pin", began);
        shared.spool.remove(key);
        shared.to_register.notify_one();
    }
}

async fn upload(shared: &Shared, record: &UnfinishedRecord) -> Result<(), UploadError> {
    let file = shared.spool.file(record.sealed.record)?;
    let cid = record.sealed.cid.parse().map_err(|_| UploadError::Cid)?;
    let size = record.sealed.object_bytes;
    Ok(shared.store.pin_file(file, cid, size).await?)
}

#[derive(Debug, thiserror::Error)]
enum UploadError {
    #[error(transparent)]
    Spool(#[from] super::SpoolError),
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    #[error("the record's CID is none")]
    Cid,
}

enum Whole {
    Yes,
    Lost,
    Unreadable,
}

/// Whether a spooled object is the one that was sealed.
async fn whole(shared: &Arc<Shared>, record: &UnfinishedRecord) -> Result<Whole, PipelineError> {
    let (worker, key) = (Arc::clone(shared), record.sealed.record);
    let reading = tokio::task::spawn_blocking(move || hash(&worker, key));
    let record_id = key.to_hex();
    Ok(match reading.await.map_err(|_| PipelineError::Panicked)? {
        Ok(cid) if cid == record.sealed.cid => Whole::Yes,
        Ok(_) => {
            tracing::error!(
                record = record_id,
                "a sealed object has changed, it is sealed again"
            );
            Whole::Lost
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            tracing::error!(
                record = record_id,
                "a sealed object is lost, it is sealed again"
            );
            Whole::Lost
        }
        Err(error) => {
            tracing::error!(record = record_id, %error, "a sealed object cannot be read");
            Whole::Unreadable
        }
    })
}

fn hash(shared: &Shared, record: RecordKey) -> io::Result<String> {
    let mut file = shared
        .spool
        .file(record)
        .map_err(super::SpoolError::into_io)?;
    let mut hasher = ObjectHasher::default();
    io::copy(&mut file, &mut hasher)?;
    Ok(hasher.finish().0.to_string())
}

/// Writes down that the objects of a record are on the ledger, and removes their files, before the record is done:
/// nothing of an object is left here when its reading is forgotten.
pub(super) async fn finish(
    shared: &Shared,
    record: &UnfinishedRecord,
) -> Result<(), PipelineError> {
    let crate::journal::Stage::Committed(commitment) = &record.stage else {
        return Ok(());
    };
    let entries = &record.sealed.entries;
    let readings = shared.journal.pending(entries);
    if readings.iter().all(|reading| reading.object_id.is_none()) {
        return Ok(());
    }
    for (reading, entry) in readings.iter().zip(entries) {
        let Some(id) = reading.object_id.as_deref().map(str::to_owned) else {
            continue;
        };
        let device = reading.kind.device.clone();
        let Some(reader) = shared.objects.reader(&ObjectName { device, id }) else {
            // Removed before a crash.
            continue;
        };
        let begun = reader.begun();
        let finished = Finished {
            device: reading.kind.device.clone(),
            id: begun.id.clone(),
            manifest: begun.manifest,
            sha256: begun.sha256,
            sequence: reading.sequence,
            marks: reading.marks,
            record: record.sealed.record,
            commitment: commitment.clone(),
        };
        let mut delays = retry_delays();
        while let Err(error) = shared.objects.finish(finished.clone()).await {
            if error != ObjectError::DiskFull {
                return Err(JournalError::Failed.into());
            }
            let delay = delays.next().unwrap_or(LAST_DELAY);
            tracing::warn!(entry = entry.0, ?delay, "the objects' disk is full");
            tokio::time::sleep(delay).await;
        }
    }
    Ok(())
}
