//! From a complete object to a reading in the journal, and what becomes of objects that never get there.
//!
//! One at a time: the content is read once, its SHA-256 compared with the manifest's, and the hash of the Merkle
//! leaf made on the way. The journal then gets the reading. A crash in between has the start do it again; the
//! journal knows the reading then.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use contract_interface::segment::SegmentItem;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::error::ObjectError;
use super::reader::ObjectReader;
use super::shelf::{ObjectName, Phase};
use super::writer::{Command, Removal};
use super::{Objects, now_ms};
use crate::ingest::decode;
use crate::ingest::dicom::{self, DICOM, HEAD_BYTES, Verdict};
use crate::journal::{Accepted, Entry, Journal, JournalError, KeptObject, Offer, Reading, Refused};
use crate::pipeline::Arrival;

/// Time between two looks for objects to give up.
const INTERVAL: Duration = Duration::from_secs(60);
/// Wait before an object is tried again that could not be read, or that the journal has no room for.
const RETRY: Duration = Duration::from_secs(2);
/// First byte of what a leaf of a Merkle tree hashes (RFC 6962, 2.1).
const LEAF: &[u8] = &[0];

/// What the objects' task works with.
#[derive(Debug)]
pub struct Parts {
    /// Takes the readings.
    pub journal: Journal,
    /// The pipeline's gathering.
    pub readings_tx: mpsc::Sender<Arrival>,
}

/// What a look at the whole content found.
enum Checked {
    /// It is what the manifest says; the reading names it.
    Right(Box<Reading>),
    /// These chunks are damaged on the disk.
    Damaged(Vec<u32>),
    /// It is not, for this reason.
    Wrong(&'static str),
}

impl Objects {
    /// Checks complete objects and gives old ones up, until `stop`. Stopping at any point is safe.
    pub async fn run(self, parts: Parts, stop: CancellationToken) {
        let receiver = {
            let mut slot = self
                .complete_rx
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            slot.take()
        };
        let Some(mut complete_rx) = receiver else {
            return tracing::error!("the objects' task was started twice");
        };
        let mut interval = tokio::time::interval(INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // Objects that could not be read; all wait equally long, so the first is due first.
        let mut again: VecDeque<(Instant, ObjectName)> = VecDeque::new();
        loop {
            let due = again.front().map(|(at, _)| *at);
            let step = async {
                tokio::select! {
                    Some(name) = complete_rx.recv() => self.complete(&parts, name).await,
                    () = until(due) => match again.pop_front() {
                        Some((_, name)) => self.complete(&parts, name).await,
                        None => Ok(None),
                    },
                    _ = interval.tick() => self.give_up(&parts).await.map(|()| None),
                }
            };
            let done = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                done = step => done,
            };
            match done {
                Ok(unreadable) => {
                    again.extend(unreadable.map(|name| (Instant::now() + RETRY, name)));
                }
                Err(error) => {
                    // The writer has failed, which ends the process, or the journal has.
                    tracing::error!(%error, "objects are not looked after any more");
                    return stop.cancelled().await;
                }
            }
        }
    }

    /// Checks one object and hands it to the journal; it comes back if it cannot be read now.
    async fn complete(
        &self,
        parts: &Parts,
        name: ObjectName,
    ) -> Result<Option<ObjectName>, ObjectError> {
        let Some(reader) = self.reader(&name) else {
            return Ok(None);
        };
        let began = Instant::now();
        let checking = tokio::task::spawn_blocking(move || check(&reader)).await;
        let checked = match checking {
            Ok(Ok(checked)) => checked,
            Ok(Err(error)) => {
                tracing::error!(device = name.device, %error, "an object cannot be read, trying again");
                return Ok(Some(name));
            }
            Err(error) => {
                tracing::error!(device = name.device, %error, "checking an object broke");
                Checked::Wrong("object-unreadable")
            }
        };
        metrics::histogram!("salus_object_check_seconds").record(began.elapsed().as_secs_f64());
        match checked {
            Checked::Right(reading) => self.hand_over(parts, &name, *reading).await?,
            Checked::Damaged(chunks) => {
                tracing::error!(
                    device = name.device,
                    chunks = chunks.len(),
                    "chunks are damaged on the disk and asked for again"
                );
                self.ask(|answer| Command::Forget(name, chunks, answer))
                    .await?;
            }
            Checked::Wrong(reason) => self.refuse(parts, &name, reason).await?,
        }
        Ok(None)
    }

    async fn hand_over(
        &self,
        parts: &Parts,
        name: &ObjectName,
        reading: Reading,
    ) -> Result<(), ObjectError> {
        let offer = Offer::from(reading);
        let accepted = loop {
            match parts.journal.receive(offer.clone()).await {
                Ok(accepted) => break accepted,
                Err(JournalError::Full | JournalError::DiskRefused { .. }) => {
                    tokio::time::sleep(RETRY).await;
                }
                Err(_) => return Err(ObjectError::NotDurable),
            }
        };
        match accepted {
            Accepted::New(pending) => {
                self.ask(|answer| Command::Keep(name.clone(), answer))
                    .await?;
                metrics::counter!("salus_objects_total", "outcome" => "kept").increment(1);
                // A closed pipeline finds it in the journal at the next start.
                drop(parts.readings_tx.send(Arrival::New(pending)).await);
                Ok(())
            }
            Accepted::Duplicate => {
                let again = Arrival::again(&offer);
                self.remove(name, Removal::Duplicate).await?;
                metrics::counter!("salus_objects_total", "outcome" => "duplicate").increment(1);
                drop(parts.readings_tx.send(again).await);
                Ok(())
            }
            Accepted::SequenceReused => self.refuse(parts, name, "sequence-reused").await,
            Accepted::SequenceTooOld => self.refuse(parts, name, "sequence-too-old").await,
        }
    }

    async fn remove(&self, name: &ObjectName, removal: Removal) -> Result<(), ObjectError> {
        self.ask(|answer| Command::Remove(name.clone(), removal, answer))
            .await
    }

    /// Gives an object up whose chunks were acknowledged: the device is told, and a dead letter says so for good.
    async fn refuse(
        &self,
        parts: &Parts,
        name: &ObjectName,
        reason: &'static str,
    ) -> Result<(), ObjectError> {
        metrics::counter!("salus_objects_total", "outcome" => "refused").increment(1);
        self.letter(parts, name, reason).await;
        self.remove(name, Removal::Refused(reason)).await
    }

    async fn letter(&self, parts: &Parts, name: &ObjectName, reason: &'static str) {
        tracing::warn!(
            device = name.device,
            object = name.id,
            reason,
            "an object is given up"
        );
        let begun = self.reader(name).map(|reader| reader.begun().clone());
        let Some(begun) = begun else { return };
        let refused = Refused {
            device: name.device.clone(),
            refused_ms: now_ms(),
            reason: reason.to_owned(),
            bytes: begun.bytes,
            sha256: begun.sha256,
        };
        if let Err(error) = parts.journal.append(Entry::Refused(refused)).await {
            tracing::error!(device = name.device, %error, "dead letter could not be written");
        }
    }

    /// Gives up objects to which nothing came for long, and those whose record was dropped.
    pub(super) async fn give_up(&self, parts: &Parts) -> Result<(), ObjectError> {
        let expiry = u64::try_from(self.shared.limits.expiry.as_millis()).unwrap_or(u64::MAX);
        let stale = self.shared.shelf().stale(now_ms().saturating_sub(expiry));
        for name in stale {
            metrics::counter!("salus_objects_total", "outcome" => "expired").increment(1);
            self.letter(parts, &name, "object-expired").await;
            self.remove(&name, Removal::Expired).await?;
        }
        // First the shelf: what is kept there now has its reading in the journal until it is done or dropped.
        let kept = self.shared.shelf().at(Phase::Kept);
        let known = parts.journal.objects();
        for name in kept {
            if !known.contains(&(name.device.clone(), name.id.clone())) {
                self.remove(&name, Removal::Dropped).await?;
            }
        }
        Ok(())
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Reads the whole content.
fn check(reader: &ObjectReader) -> io::Result<Checked> {
    let begun = reader.begun();
    let mut content = Context::new(&SHA256);
    let mut leaf = Context::new(&SHA256);
    let mut reading = begun.reading.clone();
    let mut damaged = Vec::new();
    for number in 0..begun.chunks() {
        let Some(chunk) = reader.chunk(number)? else {
            damaged.push(number);
            continue;
        };
        if number == 0 {
            // A chunk is longer than what is looked at, or the whole content.
            if let Err(error) = look_at(&mut reading, &chunk) {
                return Ok(Checked::Wrong(error.name()));
            }
            let Some(head) = leaf_head(&reading, begun.bytes) else {
                return Ok(Checked::Wrong("object-unreadable"));
            };
            leaf.update(LEAF);
            leaf.update(&head);
        }
        content.update(&chunk);
        leaf.update(&chunk);
    }
    if !damaged.is_empty() {
        return Ok(Checked::Damaged(damaged));
    }
    if content.finish().as_ref() != begun.sha256.as_slice() {
        return Ok(Checked::Wrong("hash-mismatch"));
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(leaf.finish().as_ref());
    reading.object = Some(KeptObject {
        id: begun.id.clone(),
        bytes: begun.bytes,
        sha256: begun.sha256,
        leaf: hash.into(),
    });
    Ok(Checked::Right(Box::new(reading)))
}

/// Compares the content's beginning with its media type; what came as any bytes is called what it is.
fn look_at(reading: &mut Reading, chunk: &[u8]) -> Result<(), ObjectError> {
    let essence = decode::essence(&reading.content_type);
    let head = &chunk[..chunk.len().min(HEAD_BYTES)];
    match dicom::judge(&essence, head) {
        Verdict::AsNamed => {}
        Verdict::Mismatch => return Err(ObjectError::ContentType),
        Verdict::Dicom => {
            if reading.code == decode::category(&essence).as_str() {
                reading.code = decode::category(DICOM).as_str().to_owned();
            }
            reading.content_type = DICOM.to_owned();
        }
    }
    Ok(())
}

/// A segment item's encoding up to where the content begins, which is its end.
fn leaf_head(reading: &Reading, bytes: u64) -> Option<Vec<u8>> {
    let item = SegmentItem {
        device_id: reading.device.parse().ok()?,
        seq: reading.sequence,
        received_ms: reading.received_ms,
        content_type: reading.content_type.clone(),
        payload: Vec::new(),
    };
    let mut head = item.encode();
    // The last byte says that nothing follows.
    head.pop();
    let mut encoder = minicbor::Encoder::new(&mut head);
    encoder.bytes_len(bytes).ok()?;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_made_in_pieces_is_the_leaf_of_the_whole_item() {
        for length in [1, 23, 24, 255, 256, 65_535, 65_536] {
            let reading = Reading {
                sequence: (length % 2 == 0).then_some(length as u64),
                content_type: "application/dicom".to_owned(),
                ..super::super::tests::reading(&[])
            };
            let payload = vec![7; length];
            let whole = SegmentItem {
                device_id: reading.device.parse().unwrap(),
                seq: reading.sequence,
                received_ms: reading.received_ms,
                content_type: reading.content_type.clone(),
                payload: payload.clone(),
            };
            let pieces = [leaf_head(&reading, length as u64).unwrap(), payload].concat();
            assert_eq!(pieces, whole.encode(), "{length}");
        }
    }
}
