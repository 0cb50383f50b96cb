//! Transactions that a patient or reader signed and the oracle only carries.
//!
//! The contract checks the signature against the registered certificate, so an oracle can neither
//! invent such a request nor change it; the JWS travels in the transient map and is kept with the
//! decision in private data.

use contract_interface::access::GrantChanged;
use contract_interface::names::{transactions, transient};
use contract_interface::{GrantId, ReadDecision, ReasonCode, Salt};
use fabric_gateway::Call;

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
    /// Carries a patient's signed `GrantAccess`.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub async fn grant_access(&self, jws: &str) -> Result<Receipt<GrantChanged>, LedgerError> {
        let salt = fresh_salt()?;
        self.submit(|| signed(transactions::GRANT_ACCESS, jws, &salt))
            .await
    }

    /// Carries a patient's signed `RevokeAccess`.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub async fn revoke_access(&self, jws: &str) -> Result<Receipt<GrantChanged>, LedgerError> {
        let salt = fresh_salt()?;
        self.submit(|| signed(transactions::REVOKE_ACCESS, jws, &salt))
            .await
    }

    /// Carries a reader's signed `AuthorizeRead`, naming the grant that `find_grant` proposed. The
    /// decision is on the ledger when this returns, whatever it is.
    ///
    /// # Errors
    ///
    /// [`LedgerError`]; nothing may be released then.
    pub async fn authorize_read(
        &self,
        jws: &str,
        grant: Option<GrantId>,
    ) -> Result<DecidedRead, LedgerError> {
        let salt = fresh_salt()?;
        let hint = grant.map(|id| id.to_string()).unwrap_or_default();
        let receipt: Receipt<ReadDecision> = self
            .submit(|| {
                signed(transactions::AUTHORIZE_READ, jws, &salt)
                    .transient(transient::GRANT_HINT, hint.clone().into_bytes())
            })
            .await?;
        let reason = receipt
            .result
            .reason(&salt)
            .ok_or(LedgerError::DecisionUnreadable)?;
        Ok(DecidedRead { receipt, reason })
    }
}

fn signed(transaction: &str, jws: &str, salt: &Salt) -> Call {
    Call::new(transaction)
        .transient(transient::REQUEST, jws.as_bytes().to_vec())
        .transient(transient::SALT, salt.as_bytes().to_vec())
}
