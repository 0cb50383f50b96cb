//! Consent: the signed requests that the oracle carries for patients, guardians, providers and
//! administrators.
//!
//! The contract checks each signature against the registered certificate, so an oracle can neither
//! invent such a request nor change it.

use contract_interface::RegistrationOutcome;
use contract_interface::access::{
    AccessRequestChanged, DelegationChanged, EmergencyChanged, GrantChanged, PolicyChanged,
};
use contract_interface::names::transactions;

use super::{Ledger, LedgerError, Receipt};

macro_rules! carried {
    ($($(#[$doc:meta])* $name:ident = $transaction:ident -> $result:ty;)+) => {
        impl Ledger {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                ///
                /// [`LedgerError`].
                pub async fn $name(&self, jws: &str) -> Result<Receipt<$result>, LedgerError> {
                    self.carry(transactions::$transaction, jws).await
                }
            )+
        }
    };
}

carried! {
    /// Carries a signed `GrantAccess`.
    grant_access = GRANT_ACCESS -> GrantChanged;
    /// Carries a signed `RevokeAccess`.
    revoke_access = REVOKE_ACCESS -> GrantChanged;
    /// Carries an administrator's signed `SetPolicy`.
    set_policy = SET_POLICY -> PolicyChanged;
    /// Carries an administrator's signed `WithdrawPolicy`.
    withdraw_policy = WITHDRAW_POLICY -> PolicyChanged;
    /// Carries a signed `Delegate`.
    delegate = DELEGATE -> DelegationChanged;
    /// Carries a signed `RevokeDelegation`.
    revoke_delegation = REVOKE_DELEGATION -> DelegationChanged;
    /// Carries a provider's signed `RequestAccess`.
    request_access = REQUEST_ACCESS -> AccessRequestChanged;
    /// Carries a signed `RefuseAccess`.
    refuse_access = REFUSE_ACCESS -> AccessRequestChanged;
    /// Carries a provider's signed `DeclareEmergency`.
    declare_emergency = DECLARE_EMERGENCY -> EmergencyChanged;
    /// Carries a signed `ReviewEmergency`.
    review_emergency = REVIEW_EMERGENCY -> EmergencyChanged;
    /// Carries a participant's signed `RotateKey`.
    rotate_key = ROTATE_KEY -> RegistrationOutcome;
}
