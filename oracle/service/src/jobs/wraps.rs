//! Wrapped keys as grants and keys ask for: the one job behind re-wrapping on a grant, removal on
//! a revocation or expiry, and the rotation of a person's or an oracle's key.
//!
//! For each patient the wraps of the organisation's records are compared with what they should be
//! ([`plan`]), and the differences go to the ledger in batches. A patient for whom nothing changed
//! since the last comparison, by a digest over everything that matters, is passed over, so a quiet
//! pass costs two queries a patient. A record that is registered under a grant that stands already
//! has no gated wrap until the next comparison; in custody of the organisation it needs none, for
//! the oracle wraps the key when it is read.
//!
//! In custody of the patient the oracle has no data key: it only removes gated wraps, and the
//! patient's client does the rest.

mod persons;
mod plan;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use contract_interface::limits::PAGE_ITEMS_MAX;
use contract_interface::record::{WrapChange, WrapChanges};
use contract_interface::{
    Digest, PageRequest, Participant, ParticipantFilter, Pseudonym, Record, RecordFilter,
    RecordStatus, Role,
};

use self::persons::Persons;
use self::plan::{Plan, Wants};
use super::board::Progress;
use super::{Job, JobError};
use crate::keys::OracleKeys;
use crate::ledger::{Ledger, LedgerError, Viewer};

/// Changes in one transaction. Each may bring 64 wraps of 4 KiB, and a transient field is bounded.
const BATCH_CHANGES: usize = 24;
/// Patients whose digest is remembered; others are compared in every pass.
const REMEMBERED_MAX: usize = 100_000;
/// After this time everyone's records are compared again: one may have been sealed for a key that
/// was replaced before it was registered.
const REMEMBERED_FOR: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug)]
pub(super) struct Wraps {
    ledger: Ledger,
    keys: OracleKeys,
    /// What the wraps of a patient's records were last made to fit.
    fitted: HashMap<Pseudonym, Digest>,
    fitted_since: Instant,
}

impl Job for Wraps {
    const NAME: &'static str = "wraps";

    async fn pass(&mut self, progress: &Progress) -> Result<(), JobError> {
        if self.fitted_since.elapsed() > REMEMBERED_FOR {
            self.fitted.clear();
            self.fitted_since = Instant::now();
        }
        let mut persons = Persons::new(self.ledger.clone()).await?;
        let mut left = 0;
        let mut page_token = None;
        loop {
            let filter = ParticipantFilter {
                role: Some(Role::Patient),
                msp_id: None,
                page: PageRequest {
                    page_size: Some(PAGE_ITEMS_MAX),
                    page_token: page_token.take(),
                },
            };
            let page = self.ledger.participants(Viewer::Oracle, &filter).await?;
            for patient in page.participants {
                progress.seen();
                match self.fit(&patient, &mut persons, progress).await {
                    Ok(of_patient) => left += of_patient,
                    // What the contract refuses of one patient hinders no other.
                    Err(JobError::Ledger(error @ LedgerError::Contract { .. }))
                        if !error.is_retryable() =>
                    {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "the wrapped keys of a patient's records cannot be compared"
                        );
                        left += 1;
                    }
                    Err(error) => return Err(error),
                }
            }
            page_token = page.next_page_token;
            if page_token.is_none() {
                break;
            }
        }
        if left > 0 {
            return Err(JobError::Left { items: left });
        }
        if self.keys.is_rotating() {
            tracing::info!(
                "no record needs the previous encryption keys any more, as far as the ledger's \
                 patients go; they can leave the configuration"
            );
        }
        Ok(())
    }
}

impl Wraps {
    pub(super) fn new(ledger: Ledger, keys: OracleKeys) -> Self {
        Self {
            ledger,
            keys,
            fitted: HashMap::new(),
            fitted_since: Instant::now(),
        }
    }

    /// Makes the wraps of a patient's records fit, unless they do. Returns how many do not yet.
    async fn fit(
        &mut self,
        patient: &Participant,
        persons: &mut Persons,
        progress: &Progress,
    ) -> Result<u64, JobError> {
        let pseudonym = Pseudonym::from(patient.participant_id);
        let wants = Arc::new(persons.wants(patient).await?);
        let digest = wants.digest(&self.keys);
        if self.fitted.get(&pseudonym) == Some(&digest) {
            return Ok(0);
        }
        let left = self.compare(&pseudonym, &wants, progress).await?;
        if left == 0 && (self.fitted.len() < REMEMBERED_MAX || self.fitted.contains_key(&pseudonym))
        {
            self.fitted.insert(pseudonym, digest);
        }
        Ok(left)
    }

    async fn compare(
        &self,
        patient: &Pseudonym,
        wants: &Arc<Wants>,
        progress: &Progress,
    ) -> Result<u64, JobError> {
        let mut left = 0;
        let mut batch = Vec::new();
        let mut page_token = None;
        loop {
            let filter = RecordFilter {
                patient: *patient,
                record_type: None,
                from: None,
                to: None,
                page: PageRequest {
                    page_size: None,
                    page_token: page_token.take(),
                },
            };
            let page = self.ledger.records(Viewer::Oracle, &filter).await?;
            let own = self.ledger.msp_id().as_str();
            for record in page.records {
                let registered_here = record.state.msp_id.as_str() == own;
                if !registered_here || record.state.status == RecordStatus::Erased {
                    continue;
                }
                match self.change(record, Arc::clone(wants)).await {
                    Ok(Some(change)) => batch.push(change),
                    Ok(None) => {}
                    Err(error) => {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "the wrapped keys of a record cannot be made"
                        );
                        left += 1;
                    }
                }
                if batch.len() >= BATCH_CHANGES {
                    left += self.submit(std::mem::take(&mut batch), progress).await?;
                }
            }
            page_token = page.next_page_token;
            if page_token.is_none() {
                break;
            }
        }
        if !batch.is_empty() {
            left += self.submit(batch, progress).await?;
        }
        Ok(left)
    }

    /// What has to change for one record.
    async fn change(
        &self,
        record: Record,
        wants: Arc<Wants>,
    ) -> Result<Option<WrapChange>, JobError> {
        let wraps = self.ledger.wraps(&record.metadata.record_id).await?;
        let plan = Plan::of(&record.metadata, &wraps, &wants, &self.keys);
        if plan.is_empty() {
            return Ok(None);
        }
        let keys = self.keys.clone();
        let making = tokio::task::spawn_blocking(move || plan.make(&wraps, &wants, &keys));
        Ok(Some(making.await??))
    }

    /// Submits changes. When the contract refuses some, halves find out which; those are left.
    async fn submit(&self, changes: Vec<WrapChange>, progress: &Progress) -> Result<u64, JobError> {
        let mut left = 0;
        let mut parts = vec![changes];
        while let Some(mut part) = parts.pop() {
            let changes = WrapChanges {
                changes: part.clone(),
            };
            match self.ledger.change_wraps(&changes, None).await {
                Ok(receipt) => progress.changed(u64::from(receipt.result.changed)),
                Err(error @ LedgerError::Contract { .. }) if !error.is_retryable() => {
                    if part.len() > 1 {
                        let half = part.split_off(part.len() / 2);
                        parts.extend([half, part]);
                    } else {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "the contract refuses changed wraps of a record"
                        );
                        left += 1;
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(left)
    }
}
