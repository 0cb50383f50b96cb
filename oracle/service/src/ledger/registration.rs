//! Transactions that the oracle makes in its own name: who takes part, and which records there are.

use contract_interface::names::{transactions, transient};
use contract_interface::{
    DeviceRegistration, ParticipantRegistration, RecordEntry, RecordPrivate, RecordWraps,
    RegisterRecords, RegisterRecordsResult, RegistrationOutcome,
};
use fabric_gateway::Call;

use super::{Ledger, LedgerError, Receipt, fresh_salt, json};

/// Records to register in one transaction, in three parts of one order: what everyone may see,
/// what the collections' members may see, and the wrapped keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistrationBatch {
    /// The public half of each record.
    pub entries: Vec<RecordEntry>,
    /// The private half of each record, each with a salt of its own.
    pub private: Vec<RecordPrivate>,
    /// The wrapped keys of each record.
    pub wraps: Vec<RecordWraps>,
}

/// Proof that records are on the ledger.
pub type Registered = Receipt<RegisterRecordsResult>;

impl Ledger {
    /// Registers records. Doing so twice with equal content is a no-op, so a batch MAY be given
    /// again whenever its fate is not known.
    ///
    /// # Errors
    ///
    /// [`LedgerError`]; `is_retryable` says whether the same batch may succeed later.
    pub async fn register_records(
        &self,
        batch: &RegistrationBatch,
    ) -> Result<Registered, LedgerError> {
        let argument = json(&RegisterRecords {
            records: batch.entries.clone(),
        })?;
        let private = json(&batch.private)?;
        let wraps = json(&batch.wraps)?;
        self.submit(|| {
            Call::new(transactions::REGISTER_RECORDS)
                .argument(argument.clone())
                .transient(transient::RECORDS, private.clone())
                .transient(transient::WRAPS, wraps.clone())
        })
        .await
    }

    /// Registers a participant, or renews or changes a registration. The contract is shown the CA
    /// certificate that issued the oracle's own, so that it can tell whether the same CA issued the
    /// participant's.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub async fn register_participant(
        &self,
        participant: &ParticipantRegistration,
    ) -> Result<Receipt<RegistrationOutcome>, LedgerError> {
        let registration = json(participant)?;
        let salt = fresh_salt()?;
        self.submit(|| {
            Call::new(transactions::REGISTER_PARTICIPANT)
                .transient(transient::PARTICIPANT, registration.clone())
                .transient(transient::ISSUER, self.issuer.as_bytes().to_vec())
                .transient(transient::SALT, salt.as_bytes().to_vec())
        })
        .await
    }

    /// Registers a device, or binds, suspends or revokes it.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub async fn register_device(
        &self,
        device: &DeviceRegistration,
    ) -> Result<Receipt<RegistrationOutcome>, LedgerError> {
        let registration = json(device)?;
        let salt = fresh_salt()?;
        self.submit(|| {
            Call::new(transactions::REGISTER_DEVICE)
                .transient(transient::DEVICE, registration.clone())
                .transient(transient::SALT, salt.as_bytes().to_vec())
        })
        .await
    }
}
