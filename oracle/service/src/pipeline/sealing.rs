//! The first step: gathers readings and seals groups of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use contract_interface::Pseudonym;
use futures::future::join_all;
use sealed_object::PublicKey;
use tokio::sync::mpsc;

use super::gather::{Gatherer, Group, Rules};
use super::receipts::{again, refusal_again, refusals};
use super::seal::{Sealed, seal_group};
use super::{Arrival, PipelineError, READINGS_WAITING_MAX, Shared};
use super::{flow, keyless};
use crate::config::PipelineConfig;
use crate::ingest::topic;
use crate::journal::{Entry, Fingerprint, JournalError, Pending, RecordKey, SealedRecord};

/// Groups sealed in one go.
const GROUPS_MAX: usize = 64;
/// Patients without a key that are looked up again in one go.
const KEYS_ASKED_MAX: usize = 16;
/// Sealed objects are written together as long as they have no more bytes; a larger one alone.
const PACK_BYTES: usize = 1 << 20;
/// A group that cannot be sealed now is tried again after this time.
const POSTPONED: Duration = Duration::from_secs(5);

/// The gathering and sealing task.
#[derive(Debug)]
pub(super) struct Sealing {
    gatherer: Gatherer,
    postponed: Vec<(Instant, Group)>,
    readings_rx: mpsc::Receiver<Arrival>,
    again_rx: mpsc::UnboundedReceiver<Arc<Pending>>,
}

impl Sealing {
    pub(super) fn new(
        config: &PipelineConfig,
        readings_rx: mpsc::Receiver<Arrival>,
        again_rx: mpsc::UnboundedReceiver<Arc<Pending>>,
    ) -> Self {
        Self {
            gatherer: Gatherer::new(Rules {
                readings: config.segment_readings,
                bytes: config.segment_bytes,
                age: config.segment_age,
            }),
            postponed: Vec::new(),
            readings_rx,
            again_rx,
        }
    }

    /// Takes up readings that the journal holds from before.
    pub(super) fn take_up(&mut self, readings: Vec<Arc<Pending>>) {
        let now = Instant::now();
        for reading in readings {
            self.gatherer.push(reading, now);
        }
        self.gatherer.close_all();
    }

    pub(super) async fn run(mut self, shared: Arc<Shared>) -> Result<(), PipelineError> {
        let mut arrivals = Vec::new();
        let mut intake_gone = false;
        loop {
            self.revive();
            self.ask_for_keys(&shared).await;
            let groups = self.gatherer.take_ready(Instant::now(), GROUPS_MAX);
            if !groups.is_empty() {
                self.seal(&shared, groups).await?;
            }
            if self.gatherer.has_closed() {
                continue;
            }
            let due = self.next_due(&shared);
            let in_records = shared.journal.readings_in_records();
            let held = shared.flow.holds(in_records, Instant::now());
            tokio::select! {
                () = tokio::time::sleep(flow::PAUSE), if held => {}
                taken = self.readings_rx.recv_many(&mut arrivals, READINGS_WAITING_MAX), if !intake_gone && !held => {
                    intake_gone = taken == 0;
                }
                Some(again) = self.again_rx.recv() => arrivals.push(Arrival::New(again)),
                () = until(due) => {}
            }
            let now = Instant::now();
            for arrival in arrivals.drain(..) {
                match arrival {
                    Arrival::New(reading) => self.gatherer.push(reading, now),
                    Arrival::Again {
                        device,
                        sequence,
                        fingerprint,
                        identity,
                    } => {
                        let answer =
                            answer_again(&shared, (&device, sequence, identity), &fingerprint);
                        if let Some(answer) = answer {
                            shared.delivery.publish(topic::receipts(&device), answer)?;
                        }
                    }
                }
            }
        }
    }

    fn next_due(&self, shared: &Shared) -> Option<Instant> {
        let postponed = self.postponed.iter().map(|(at, _)| *at).min();
        let keyless = keyless::room(shared).next_due();
        [self.gatherer.next_due(), postponed, keyless]
            .into_iter()
            .flatten()
            .min()
    }

    /// Gives postponed groups back to the gatherer when their time has come.
    fn revive(&mut self) {
        let now = Instant::now();
        let due = self.postponed.extract_if(.., |(at, _)| *at <= now);
        for (_, group) in due {
            self.gatherer.give_back(group);
        }
    }

    /// Looks up again patients who had no key, and lets the readings of those go on who have one now.
    async fn ask_for_keys(&mut self, shared: &Shared) {
        let due = keyless::room(shared).take_due(Instant::now(), KEYS_ASKED_MAX);
        for patient in due {
            if let PatientKey::Registered(_) = patient_key(shared, &patient).await {
                for group in keyless::room(shared).release(&patient) {
                    self.gatherer.give_back(group);
                }
            }
        }
    }

    fn postpone(&mut self, group: Group) {
        self.postponed.push((Instant::now() + POSTPONED, group));
    }

    async fn seal(
        &mut self,
        shared: &Arc<Shared>,
        groups: Vec<Group>,
    ) -> Result<(), PipelineError> {
        let mut jobs = Vec::with_capacity(groups.len());
        for group in groups {
            // Known to have none: asked for when their time comes, not with each group.
            let known = keyless::room(shared).knows(&group.patient);
            let key = if known {
                PatientKey::Missing
            } else {
                patient_key(shared, &group.patient).await
            };
            match key {
                // The receiver lives as long as the pipeline's tasks.
                PatientKey::Registered(key) if group.object.is_some() => {
                    drop(shared.large_tx.send((group, key)));
                }
                PatientKey::Registered(key) => jobs.push((group, key)),
                PatientKey::Missing => keep_keyless(shared, group)?,
                PatientKey::Unknown => self.postpone(group),
            }
        }
        if jobs.is_empty() {
            return Ok(());
        }
        let began = Instant::now();
        let worker = Arc::clone(shared);
        let work = tokio::task::spawn_blocking(move || seal_all(&worker, jobs));
        let (sealed, failed) = work.await.map_err(|_| PipelineError::Panicked)??;
        for group in failed {
            self.postpone(group);
        }
        let appends = sealed.into_iter().map(|(group, record)| async move {
            let key = record.record;
            let appended = shared.journal.append(Entry::Sealed(record)).await;
            (group, key, appended)
        });
        for (group, key, appended) in join_all(appends).await {
            match appended {
                Ok(()) => {
                    let readings = shared.journal.readings_of(key);
                    shared.stages.sealed(key, &readings, super::now_ms());
                }
                Err(JournalError::DiskRefused { .. }) => {
                    shared.spool.remove(key);
                    self.postpone(group);
                }
                Err(error) => return Err(error.into()),
            }
        }
        super::measure("seal", began);
        shared.to_pin.notify_one();
        Ok(())
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// What is known of a patient's key.
enum PatientKey {
    Registered(Arc<PublicKey>),
    /// None is registered, or none that can be used.
    Missing,
    /// It cannot be looked up now.
    Unknown,
}

async fn patient_key(shared: &Shared, patient: &str) -> PatientKey {
    let Ok(patient) = patient.parse::<Pseudonym>() else {
        return PatientKey::Missing;
    };
    match shared.devices.patient_key(&patient).await {
        Ok(Some(key)) => PatientKey::Registered(key),
        Ok(None) => PatientKey::Missing,
        Err(error) => {
            tracing::warn!(%error, "a patient's key cannot be looked up");
            PatientKey::Unknown
        }
    }
}

/// Lays readings aside until their patient has a key, and tells the device why no receipt comes.
fn keep_keyless(shared: &Shared, group: Group) -> Result<(), PipelineError> {
    let device = group.device.clone();
    let readings = shared.journal.pending(&group.entries);
    tracing::warn!(
        device,
        readings = readings.len(),
        "the patient has no registered encryption key, the readings wait in the journal"
    );
    {
        let mut room = keyless::room(shared);
        room.take_in(group, &readings, Instant::now(), super::now_ms());
    }
    for refusal in refusals(None, keyless::CODE, &readings) {
        shared.delivery.publish(topic::receipts(&device), refusal)?;
    }
    Ok(())
}

/// What a device is told that sends a durable reading again: its receipt, or why there is none. Nothing when it is
/// on its way to the ledger: then the receipt comes by itself.
fn answer_again(
    shared: &Shared,
    (device, sequence, identity): (&str, Option<u64>, Fingerprint),
    fingerprint: &Fingerprint,
) -> Option<Vec<u8>> {
    if let Some(settled) = shared.journal.settled(device, sequence, identity) {
        return Some(again(&settled, sequence, fingerprint));
    }
    keyless::room(shared)
        .asks_again(device, sequence, identity)
        .then(|| refusal_again(keyless::CODE, sequence, fingerprint))
}

type SealedGroups = (Vec<(Group, SealedRecord)>, Vec<Group>);

/// Seals groups and writes their objects; those that could not be come back as the second part.
fn seal_all(
    shared: &Shared,
    jobs: Vec<(Group, Arc<PublicKey>)>,
) -> Result<SealedGroups, PipelineError> {
    let mut sealed = Vec::with_capacity(jobs.len());
    let mut failed = Vec::new();
    let mut pack = Pack::default();
    for (group, patient_key) in jobs {
        let readings = shared.journal.read(&group.entries)?;
        let mut holders = vec![&*patient_key];
        holders.extend(&shared.oracle_keys);
        match seal_group(&group, readings, &shared.msp_id, &holders) {
            Ok(Sealed { record, object }) => {
                if pack.bytes + object.len() > PACK_BYTES {
                    std::mem::take(&mut pack).write(shared, &mut sealed, &mut failed)?;
                }
                pack.push(group, record, object);
            }
            Err(error) => {
                tracing::error!(device = group.device, %error, "readings cannot be sealed");
                failed.push(group);
            }
        }
    }
    pack.write(shared, &mut sealed, &mut failed)?;
    Ok((sealed, failed))
}

/// What is sealed and not yet in the spool.
#[derive(Debug, Default)]
struct Pack {
    groups: Vec<(Group, SealedRecord)>,
    objects: Vec<(RecordKey, Vec<u8>)>,
    bytes: usize,
}

impl Pack {
    fn push(&mut self, group: Group, record: SealedRecord, object: Vec<u8>) {
        self.bytes += object.len();
        self.objects.push((record.record, object));
        self.groups.push((group, record));
    }

    fn write(
        self,
        shared: &Shared,
        sealed: &mut Vec<(Group, SealedRecord)>,
        failed: &mut Vec<Group>,
    ) -> Result<(), PipelineError> {
        match shared.spool.write(&self.objects) {
            Ok(()) => sealed.extend(self.groups),
            Err(error) if error.is_full() => {
                tracing::warn!(%error, "the spool is full");
                failed.extend(self.groups.into_iter().map(|(group, _)| group));
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}
