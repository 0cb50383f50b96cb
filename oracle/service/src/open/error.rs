//! Why a record could not be handed to its reader.

use contract_interface::{MspId, ReasonCode, RecordId};
use sealed_object::{KeyError, OpenError, UnwrapError, WrapError};

use crate::ledger::LedgerError;
use crate::store::StoreError;

/// A read that did not end with data at the reader.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The ledger could not be asked or did not commit the decision.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The store has no answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No such record.
    #[error("no such record")]
    UnknownRecord,
    /// The contract denied the read; the denial is on the ledger.
    #[error("read {read_id} of record {record_id} was denied: {reason}")]
    Denied {
        /// The record.
        record_id: RecordId,
        /// The transaction that denied.
        read_id: String,
        /// The block it is in.
        block_number: u64,
        /// Why.
        reason: ReasonCode,
    },
    /// The data key is not wrapped for this oracle.
    #[error("the record's key is with the oracle of {msp_id}")]
    NoKeyHere {
        /// The organisation that registered the record.
        msp_id: MspId,
    },
    /// The reader registered no encryption key.
    #[error("the reader has registered no encryption key")]
    ReaderHasNoKey,
    /// The reader's registered key cannot be used.
    #[error("the reader's registered key cannot be used")]
    ReaderKey(#[source] KeyError),
    /// The oracle's own wrap does not open.
    #[error("the wrapped data key does not open")]
    Unwrap(#[from] UnwrapError),
    /// The data key cannot be wrapped for the reader.
    #[error("the data key cannot be wrapped for the reader")]
    Wrap(#[from] WrapError),
    /// The stored object is not the registered one.
    #[error("the stored object is not the registered one")]
    ObjectMismatch,
    /// The object is too large to be opened here.
    #[error("the object is too large to be opened here")]
    TooLarge,
    /// The object does not open with its key.
    #[error("the sealed object does not open")]
    Sealed(#[from] OpenError),
    /// The work was cut off by the oracle's shutdown.
    #[error("the work was cut off")]
    Cancelled(#[source] tokio::task::JoinError),
}
