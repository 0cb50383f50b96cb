//! Erased records: the object leaves the own node, the organisation says so, and the registrar
//! ends the erasure when everyone has said so.
//!
//! The keys are gone from the ledger when an erasure begins. Sealed keys may still be in the
//! journal of the process that sealed the record, in frames that are done. The organisation says
//! that it no longer holds the record only when those are off its disk, too: the process that has
//! the journal tidies it first, and a process without waits until the other has had the time to
//! look twice.

use std::collections::HashSet;
use std::time::Duration;

use cid::Cid;
use contract_interface::record::{ErasingPage, ErasingRecord};
use contract_interface::{
    EraseRecord, ErrorCode, PageRequest, PageToken, RecordId, SignedRequest, UtcTime,
};
use fabric_msp::jws::Jws;
use tokio_util::sync::CancellationToken;

use super::board::Progress;
use super::{Job, JobError};
use crate::clock;
use crate::journal::Journal;
use crate::ledger::{Ledger, LedgerError, Viewer};
use crate::store::Kubo;

/// Looks that a process with a journal of its own is given to tidy it.
const LOOKS: u32 = 2;
/// Erasures that are remembered as tidied for; beyond, the journal is tidied once more than needed.
const REMEMBERED_MAX: usize = 10_000;

#[derive(Debug)]
pub(super) struct Erasures {
    pub(super) ledger: Ledger,
    pub(super) store: Kubo,
    pub(super) journal: Option<Journal>,
    pub(super) interval: Duration,
}

impl Job for Erasures {
    const NAME: &'static str = "erasures";

    async fn pass(&mut self, progress: &Progress) -> Result<(), JobError> {
        let mut left = 0;
        let mut tidied = false;
        let mut pages = Pages::default();
        while let Some(records) = pages.next(&self.ledger).await? {
            for record in records {
                progress.seen();
                let step = self.advance(&record, &mut tidied, progress).await;
                if let Err(error) = step {
                    tracing::warn!(
                        record_id = %record.record_id,
                        error = &error as &dyn std::error::Error,
                        "an erasure did not advance"
                    );
                    progress.waiting();
                    left += 1;
                }
            }
        }
        match left {
            0 => Ok(()),
            items => Err(JobError::Left { items }),
        }
    }
}

impl Erasures {
    async fn advance(
        &self,
        record: &ErasingRecord,
        tidied: &mut bool,
        progress: &Progress,
    ) -> Result<(), JobError> {
        let own = self.ledger.msp_id().as_str();
        let id = &record.record_id;
        let Some(erasure) = self.ledger.erasure(Viewer::Oracle, id).await? else {
            return Ok(());
        };
        let confirmed = erasure
            .removals
            .iter()
            .any(|removal| removal.msp_id.as_str() == own);
        if !confirmed {
            if self.journal.is_none() && !self.journals_are_tidy(record)? {
                progress.waiting();
                return Ok(());
            }
            if let Some(journal) = &self.journal
                && !*tidied
            {
                journal.tidy().await?;
                *tidied = true;
            }
            self.remove(record).await?;
            let receipt = self.ledger.confirm_removal(id).await?;
            tracing::info!(record_id = %id, tx_id = receipt.transaction_id, "removal confirmed");
            progress.changed(1);
        }
        if record.registrar.as_str() == own && erasure.completed_tx_id.is_none() {
            self.complete(id, progress).await?;
        }
        Ok(())
    }

    async fn remove(&self, record: &ErasingRecord) -> Result<(), JobError> {
        let cid: Cid = record.cid.parse().map_err(|_| JobError::Unusable {
            what: "the CID of an erased record",
        })?;
        let removal = self.store.remove(&cid).await?;
        tracing::info!(
            record_id = %record.record_id,
            blocks = removal.blocks,
            collected = removal.collected,
            "the object of an erased record is gone from the node"
        );
        Ok(())
    }

    async fn complete(&self, id: &RecordId, progress: &Progress) -> Result<(), JobError> {
        match self.ledger.complete_erasure(id, None).await {
            Ok(receipt) => {
                tracing::info!(record_id = %id, tx_id = receipt.transaction_id, "erasure completed");
                progress.changed(1);
                Ok(())
            }
            // Another organisation has still to remove the object.
            Err(LedgerError::Contract {
                code: Some(ErrorCode::StateConflict),
                ..
            }) => {
                progress.waiting();
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the erasure is old enough that a process with a journal has tidied it meanwhile.
    fn journals_are_tidy(&self, record: &ErasingRecord) -> Result<bool, JobError> {
        let signed_at = signed_at(record).ok_or(JobError::Unusable {
            what: "the signed request of an erasure",
        })?;
        let looks = u64::from(LOOKS) * self.interval.as_secs().saturating_add(1);
        Ok(clock::now() > signed_at && clock::now().abs_diff(signed_at) > looks)
    }
}

/// When an erasure was asked for.
fn signed_at(record: &ErasingRecord) -> Option<UtcTime> {
    let jws = Jws::parse(&record.request).ok()?;
    let request = SignedRequest::<EraseRecord>::from_payload(&jws.payload).ok()?;
    Some(request.iat)
}

/// Pages of records under erasure.
#[derive(Debug)]
struct Pages {
    next: Option<Option<PageToken>>,
}

impl Default for Pages {
    fn default() -> Self {
        Self { next: Some(None) }
    }
}

impl Pages {
    async fn next(&mut self, ledger: &Ledger) -> Result<Option<Vec<ErasingRecord>>, LedgerError> {
        let Some(page_token) = self.next.take() else {
            return Ok(None);
        };
        let request = PageRequest {
            page_size: None,
            page_token,
        };
        let ErasingPage {
            records,
            next_page_token,
        } = ledger.erasures(&request).await?;
        self.next = next_page_token.map(Some);
        Ok(Some(records))
    }
}

/// Tidies the journal of a process that does not serve people whenever a record of the own
/// organisation is being erased, until `stop`.
pub(crate) async fn watch(
    ledger: Ledger,
    journal: Journal,
    interval: Duration,
    stop: CancellationToken,
) {
    let mut tidied_for: HashSet<RecordId> = HashSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(interval) => {}
        }
        if let Err(error) = tidy_for_erased(&ledger, &journal, &mut tidied_for).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the journal is not yet tidied for an erasure"
            );
        }
    }
}

async fn tidy_for_erased(
    ledger: &Ledger,
    journal: &Journal,
    tidied_for: &mut HashSet<RecordId>,
) -> Result<(), JobError> {
    let own = ledger.msp_id().as_str();
    let mut pages = Pages::default();
    let mut fresh = Vec::new();
    while let Some(records) = pages.next(ledger).await? {
        let registered_here = records
            .into_iter()
            .filter(|record| record.registrar.as_str() == own)
            .map(|record| record.record_id)
            .filter(|id| !tidied_for.contains(id));
        fresh.extend(registered_here);
    }
    if fresh.is_empty() {
        return Ok(());
    }
    journal.tidy().await?;
    if tidied_for.len() + fresh.len() > REMEMBERED_MAX {
        tidied_for.clear();
    }
    tidied_for.extend(fresh);
    Ok(())
}

#[cfg(test)]
mod tests {
    use contract_interface::Salt;
    use contract_interface::record::ErasureBasis;

    use super::*;

    #[test]
    fn a_request_that_cannot_be_read_has_no_time() {
        let record = ErasingRecord {
            record_id: RecordId::from_bytes([1; 16]),
            patient: contract_interface::Pseudonym::from_bytes([2; 16]),
            registrar: "Org1MSP".parse().unwrap(),
            cid: "b".to_owned(),
            size: 1,
            basis: ErasureBasis::PatientRequest,
            request: "no.jws.here".to_owned(),
            salt: Salt::from_bytes(std::array::from_fn(|n| u8::try_from(n).unwrap())).unwrap(),
        };
        assert_eq!(signed_at(&record), None);
    }
}
