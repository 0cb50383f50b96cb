//! Why a record could not be handed to its reader.

use contract_interface::access::Explanation;
use contract_interface::{MspId, ReasonCode, RecordId};
use sealed_object::{KeyError, OpenError, WrapError};

use crate::keys::RewrapError;
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
        /// Which rules had a say, if the ledger could be asked again.
        explanation: Option<Box<Explanation>>,
    },
    /// The read was permitted, which is on the ledger, and then could not be served.
    #[error("read {read_id} was permitted and not served")]
    NotServed {
        /// The transaction that permitted.
        read_id: String,
        /// The block it is in.
        block_number: u64,
        /// Why it was not served.
        #[source]
        cause: Box<Self>,
    },
    /// The record was registered by another organisation, which releases its key.
    #[error("the record's key is with the oracle of {msp_id}")]
    NoKeyHere {
        /// The organisation that registered the record.
        msp_id: MspId,
    },
    /// Only the patient holds the data key, and has not shared it with this reader's key.
    #[error("the patient has not shared the record's key with the reader's key")]
    NotShared,
    /// The reader registered no encryption key.
    #[error("the reader has registered no encryption key")]
    ReaderHasNoKey,
    /// The reader's registered key cannot be used.
    #[error("the reader's registered key cannot be used")]
    ReaderKey(#[source] KeyError),
    /// A wrap of the oracle's does not open.
    #[error("the wrapped data key does not open")]
    Rewrap(#[from] RewrapError),
    /// The data key cannot be wrapped for the reader.
    #[error("the data key cannot be wrapped for the reader")]
    Wrap(#[source] WrapError),
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

impl ReadError {
    /// Whether there is no key to release, whatever the decision.
    pub(super) fn is_of_the_key(&self) -> bool {
        matches!(
            self,
            Self::NotShared | Self::ReaderHasNoKey | Self::ReaderKey(_)
        )
    }

    /// The same, of a read that is on the ledger as permitted.
    pub(super) fn after_permit(self, read_id: &str, block_number: u64) -> Self {
        Self::NotServed {
            read_id: read_id.to_owned(),
            block_number,
            cause: Box::new(self),
        }
    }
}
