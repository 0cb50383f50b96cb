//! The organisation's clock on the channel: it keeps submitters from going back in time.

use contract_interface::ErrorCode;

use super::board::Progress;
use super::{Job, JobError};
use crate::clock;
use crate::ledger::{Ledger, LedgerError};

#[derive(Debug)]
pub(super) struct Clock {
    pub(super) ledger: Ledger,
}

impl Job for Clock {
    const NAME: &'static str = "clock";

    async fn pass(&mut self, progress: &Progress) -> Result<(), JobError> {
        progress.seen();
        match self.ledger.tick(clock::now()).await {
            Ok(_) => progress.changed(1),
            // Another oracle of the organisation was a moment ahead: the clock stands well.
            Err(LedgerError::Contract {
                code: Some(ErrorCode::TimeRefused),
                ..
            }) => progress.waiting(),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}
