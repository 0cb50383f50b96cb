//! Used nonces protect against replay as long as their requests could still be accepted; after
//! that they only fill the ledger.

use contract_interface::ErrorCode;
use contract_interface::limits::NONCE_BATCH_MAX;

use super::board::Progress;
use super::{Job, JobError};
use crate::ledger::{Ledger, LedgerError};

/// Batches in one pass.
const BATCHES_MAX: usize = 50;

#[derive(Debug)]
pub(super) struct Nonces {
    pub(super) ledger: Ledger,
}

impl Job for Nonces {
    const NAME: &'static str = "nonces";

    async fn pass(&mut self, progress: &Progress) -> Result<(), JobError> {
        for _ in 0..BATCHES_MAX {
            let stale = self.ledger.stale_nonces().await?;
            let found = stale.keys.len();
            if found == 0 {
                return Ok(());
            }
            progress.seen();
            match self.ledger.purge_nonces(&stale).await {
                Ok(_) => progress.changed(found as u64),
                // Without clocks on the channel nothing tells a stale nonce.
                Err(LedgerError::Contract {
                    code: Some(ErrorCode::TimeRefused),
                    ..
                }) => {
                    progress.waiting();
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
            if found < NONCE_BATCH_MAX {
                return Ok(());
            }
        }
        Ok(())
    }
}
