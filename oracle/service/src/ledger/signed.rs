//! Transactions that a person signed and the oracle only carries.
//!
//! The contract checks the signature against the registered certificate, so an oracle can neither
//! invent such a request nor change it; the JWS travels in the transient map and is kept with what
//! came of it in private data.

use contract_interface::names::{transactions, transient};
use contract_interface::{ReadDecision, ReasonCode, Salt};
use fabric_gateway::Call;
use serde::de::DeserializeOwned;

use super::{Ledger, LedgerError, Receipt, fresh_salt};

/// A decision on a read, committed, with its reason opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecidedRead {
    /// What is on the ledger.
    pub receipt: Receipt<ReadDecision>,
    /// Why it was decided so.
    pub reason: ReasonCode,
}

impl Ledger {
    /// Carries a reader's signed `AuthorizeRead`. The decision is on the ledger when this returns,
    /// whatever it is.
    ///
    /// # Errors
    ///
    /// [`LedgerError`]; nothing may be released then.
    pub async fn authorize_read(&self, jws: &str) -> Result<DecidedRead, LedgerError> {
        let salt = fresh_salt()?;
        let receipt: Receipt<ReadDecision> = self
            .submit(|| signed(transactions::AUTHORIZE_READ, jws, &salt))
            .await?;
        let reason = receipt
            .result
            .reason(&salt)
            .ok_or(LedgerError::DecisionUnreadable)?;
        Ok(DecidedRead { receipt, reason })
    }

    /// Carries a signed request with a fresh salt.
    pub(super) async fn carry<T: DeserializeOwned>(
        &self,
        transaction: &str,
        jws: &str,
    ) -> Result<Receipt<T>, LedgerError> {
        let salt = fresh_salt()?;
        self.submit(|| signed(transaction, jws, &salt)).await
    }
}

/// The call of `transaction` with a signed request.
pub(super) fn signed(transaction: &str, jws: &str, salt: &Salt) -> Call {
    Call::new(transaction)
        .transient(transient::REQUEST, jws.as_bytes().to_vec())
        .transient(transient::SALT, salt.as_bytes().to_vec())
}
