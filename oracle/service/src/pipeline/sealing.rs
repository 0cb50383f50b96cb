//! The first step: gathers readings and seals groups of them.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use contract_interface::Pseudonym;
use futures::future::join_all;
use sealed_object::PublicKey;
use tokio::sync::mpsc;

use super::gather::{Gatherer, Group, Rules};
use super::seal::{Sealed, seal_group};
use super::{Arrival, PipelineError, Shared};
use crate::config::PipelineConfig;
use crate::ingest::topic;
use crate::journal::{Entry, JournalError, Pending};

/// Groups sealed in one go.
const GROUPS_MAX: usize = 64;
/// Arrivals taken at once.
const ARRIVALS_MAX: usize = 1024;
/// A group that cannot be sealed now is tried again after this time.
const POSTPONED: Duration = Duration::from_secs(5);

/// The gathering and sealing task.
#[derive(Debug)]
pub(super) struct Sealing {
    gatherer: Gatherer,
    postponed: Vec<(Instant, Group)>,
    readings_rx: mpsc::Receiver<Arrival>,
    again_rx: mpsc::UnboundedReceiver<Pending>,
}

impl Sealing {
    pub(super) fn new(
        config: &PipelineConfig,
        readings_rx: mpsc::Receiver<Arrival>,
        again_rx: mpsc::UnboundedReceiver<Pending>,
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
    pub(super) fn take_up(&mut self, readings: Vec<Pending>) {
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
            let groups = self.gatherer.take_ready(Instant::now(), GROUPS_MAX);
            if !groups.is_empty() {
                self.seal(&shared, groups).await?;
            }
            if self.gatherer.has_closed() {
                continue;
            }
            let due = self.next_due();
            tokio::select! {
                taken = self.readings_rx.recv_many(&mut arrivals, ARRIVALS_MAX), if !intake_gone => {
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
                    } => {
                        let book = shared.book.lock().unwrap_or_else(PoisonError::into_inner);
                        let again = book.again(&device, sequence, fingerprint);
                        drop(book);
                        if let Some(receipt) = again {
                            shared.delivery.publish(topic::receipts(&device), receipt)?;
                        }
                    }
                }
            }
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let postponed = self.postponed.iter().map(|(at, _)| *at).min();
        [self.gatherer.next_due(), postponed]
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
            match patient_key(shared, &group).await {
                Some(key) => jobs.push((group, key)),
                None => self.postpone(group),
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
                Ok(()) => {}
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

/// The patient's key, if it can be had now.
async fn patient_key(shared: &Shared, group: &Group) -> Option<Arc<PublicKey>> {
    let patient: Pseudonym = group.patient.parse().ok()?;
    match shared.devices.patient_key(&patient).await {
        Ok(Some(key)) => Some(key),
        Ok(None) => {
            tracing::warn!(
                device = group.device,
                "the patient has no registered encryption key"
            );
            None
        }
        Err(error) => {
            tracing::warn!(device = group.device, %error, "the patient's key cannot be looked up");
            None
        }
    }
}

type SealedGroups = (Vec<(Group, crate::journal::SealedRecord)>, Vec<Group>);

/// Seals groups and writes their objects; those that could not be come back as the second part.
fn seal_all(
    shared: &Shared,
    jobs: Vec<(Group, Arc<PublicKey>)>,
) -> Result<SealedGroups, PipelineError> {
    let mut sealed = Vec::with_capacity(jobs.len());
    let mut failed = Vec::new();
    for (group, patient_key) in jobs {
        let readings = shared.journal.read(&group.entries)?;
        let mut holders = vec![&*patient_key];
        holders.extend(&shared.oracle_keys);
        let sealing = seal_group(&group, readings, &shared.msp_id, &holders);
        let Sealed { record, object } = match sealing {
            Ok(sealed) => sealed,
            Err(error) => {
                tracing::error!(device = group.device, %error, "readings cannot be sealed");
                failed.push(group);
                continue;
            }
        };
        match shared.spool.write(record.record, &object) {
            Ok(()) => sealed.push((group, record)),
            Err(error) if error.is_full() => {
                tracing::warn!(%error, "the spool is full");
                failed.push(group);
            }
            Err(error) => return Err(error.into()),
        }
    }
    if !sealed.is_empty() {
        shared.spool.sync()?;
    }
    Ok((sealed, failed))
}
