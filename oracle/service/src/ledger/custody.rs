//! Wrapped keys, erasure and the channel's upkeep: what the oracle's jobs do in its own name.

use contract_interface::directory::{NoncesPurged, OrganizationClock, StaleNonces};
use contract_interface::names::{transactions, transient};
use contract_interface::record::{
    ErasingPage, Erasure, ErasureChanged, RegisteredFilter, RegisteredPage, WrapChanges,
    WrapsChanged,
};
use contract_interface::{ErrorCode, PageRequest, RecordId, Salt, UtcTime};
use fabric_gateway::Call;

use super::queries::absent_as_none;
use super::{Ledger, LedgerError, Receipt, Viewer, fresh_salt, json, query};

/// Public argument of `CompleteErasure` that does without the organisations still missing.
const FORCE: &str = "force";

impl Ledger {
    /// Changes wraps of records that the oracle's organisation registered. `request` is the signed
    /// `ChangeWraps` of the patient or a guardian, where only the patient holds the data key.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub async fn change_wraps(
        &self,
        changes: &WrapChanges,
        request: Option<&str>,
    ) -> Result<Receipt<WrapsChanged>, LedgerError> {
        let changes = json(changes)?;
        let salt = fresh_salt()?;
        self.submit(|| {
            let call = Call::new(transactions::CHANGE_WRAPS)
                .transient(transient::WRAP_CHANGES, changes.clone())
                .transient(transient::SALT, salt.as_bytes().to_vec());
            match request {
                Some(jws) => call.transient(transient::REQUEST, jws.as_bytes().to_vec()),
                None => call,
            }
        })
        .await
    }

    /// The public halves of the records that the oracle's organisation registered, by pages.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub async fn registered(
        &self,
        filter: &RegisteredFilter,
    ) -> Result<RegisteredPage, LedgerError> {
        let call = query(transactions::LIST_REGISTERED, Viewer::Oracle).argument(json(filter)?);
        self.evaluate(call).await
    }

    /// The versions of a record, oldest first, erased ones included; none if there is no such record
    /// or the viewer may not see it.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub async fn versions(
        &self,
        viewer: Viewer<'_>,
        id: &RecordId,
    ) -> Result<Option<RegisteredPage>, LedgerError> {
        let call = query(transactions::LIST_VERSIONS, viewer).argument(id.to_string());
        absent_as_none(self.evaluate(call).await, ErrorCode::RecordNotFound)
    }

    /// Carries a signed `EraseRecord`: keys and metadata are purged when this returns.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub async fn erase_record(&self, jws: &str) -> Result<Receipt<ErasureChanged>, LedgerError> {
        self.carry(transactions::ERASE_RECORD, jws).await
    }

    /// Records under erasure whose object the oracle's organisation has not yet removed.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub async fn erasures(&self, page: &PageRequest) -> Result<ErasingPage, LedgerError> {
        let call = query(transactions::LIST_ERASURES, Viewer::Oracle).argument(json(page)?);
        self.evaluate(call).await
    }

    /// Says for the oracle's organisation that it no longer holds the object.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub async fn confirm_removal(
        &self,
        id: &RecordId,
    ) -> Result<Receipt<ErasureChanged>, LedgerError> {
        let salt = fresh_salt()?;
        self.submit(|| about_record(transactions::CONFIRM_REMOVAL, id, &salt))
            .await
    }

    /// Purges what is left of a record whose object is gone everywhere. With `force`, the signed
    /// `CompleteErasure` of an administrator, it is done although organisations have not said so;
    /// the certificate of erasure then names them.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub async fn complete_erasure(
        &self,
        id: &RecordId,
        force: Option<&str>,
    ) -> Result<Receipt<ErasureChanged>, LedgerError> {
        let salt = fresh_salt()?;
        self.submit(|| {
            let call = about_record(transactions::COMPLETE_ERASURE, id, &salt);
            match force {
                Some(jws) => call
                    .argument(FORCE)
                    .transient(transient::REQUEST, jws.as_bytes().to_vec()),
                None => call.argument(""),
            }
        })
        .await
    }

    /// What the channel says of an erasure; none if the record is not erased.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub async fn erasure(
        &self,
        viewer: Viewer<'_>,
        id: &RecordId,
    ) -> Result<Option<Erasure>, LedgerError> {
        let call = query(transactions::GET_ERASURE, viewer).argument(id.to_string());
        absent_as_none(self.evaluate(call).await, ErrorCode::RecordNotFound)
    }

    /// Moves the organisation's clock on the channel forward to `time`.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub async fn tick(&self, time: UtcTime) -> Result<Receipt<OrganizationClock>, LedgerError> {
        let salt = fresh_salt()?;
        self.submit(|| {
            Call::new(transactions::TICK)
                .argument(time.to_string())
                .transient(transient::SALT, salt.as_bytes().to_vec())
        })
        .await
    }

    /// Keys of used nonces that no longer protect anything.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub async fn stale_nonces(&self) -> Result<StaleNonces, LedgerError> {
        self.evaluate(query(transactions::LIST_STALE_NONCES, Viewer::Oracle))
            .await
    }

    /// Purges used nonces that no longer protect anything; answers how many.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub async fn purge_nonces(
        &self,
        stale: &StaleNonces,
    ) -> Result<Receipt<NoncesPurged>, LedgerError> {
        let keys = json(&stale.keys)?;
        let salt = fresh_salt()?;
        self.submit(|| {
            Call::new(transactions::PURGE_NONCES)
                .transient(transient::NONCES, keys.clone())
                .transient(transient::SALT, salt.as_bytes().to_vec())
        })
        .await
    }
}

/// The call of `transaction` about a record, whose ID stays out of the public arguments.
fn about_record(transaction: &str, id: &RecordId, salt: &Salt) -> Call {
    Call::new(transaction)
        .transient(transient::RECORD_ID, id.to_string().into_bytes())
        .transient(transient::SALT, salt.as_bytes().to_vec())
}
