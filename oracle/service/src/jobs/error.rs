//! Why a job's pass did not finish.

use crate::journal::JournalError;
use crate::keys::RewrapError;
use crate::ledger::LedgerError;
use crate::store::StoreError;

/// A pass that left something to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum JobError {
    /// The ledger could not be asked or changed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The store did not do what it was asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal could not be tidied.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A wrap could not be made.
    #[error(transparent)]
    Rewrap(#[from] RewrapError),
    /// What the ledger says cannot be used.
    #[error("{what} on the ledger cannot be used")]
    Unusable {
        /// What.
        what: &'static str,
    },
    /// The work was cut off by the oracle's shutdown.
    #[error("the work was cut off")]
    Cancelled(#[from] tokio::task::JoinError),
    /// Some items failed, each with a line in the log; the others are done.
    #[error("{items} item(s) are left for the next pass")]
    Left {
        /// How many.
        items: u64,
    },
}
