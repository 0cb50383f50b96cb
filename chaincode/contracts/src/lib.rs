//! Salus's smart contracts.
//!
//! `record-registry` says which records there are, `access-control` who takes part, who may read
//! and who read. Both are one chaincode, [`chaincode`]. What they take and give is in
//! `contract-interface`.
//!
//! Several organisations run this program on the same input and must come to equal bytes. So
//! nothing here reads a clock, draws a random number, depends on the order of a hash map, or looks
//! at anything but the transaction and the ledger: time is what the proposal says, salts come in
//! the transient map, and `clippy.toml` bans the rest by name. The ledger is read as it was before
//! the transaction; a transaction does not see its own writes.
//!
//! What is public on the channel names no patient, no device, no record type and no reader: see
//! the README for what each key and value reveals.

mod access_control;
mod actor;
mod failure;
mod input;
mod keys;
mod ledger;
#[cfg(test)]
mod privacy_tests;
mod record_registry;
mod scan;
mod signed;
#[cfg(test)]
mod testing;

pub use access_control::AccessControl;
pub use record_registry::RecordRegistry;

/// The chaincode: both contracts. Transactions are called by their full names.
#[must_use]
pub fn chaincode() -> fabric_shim::Chaincode {
    fabric_shim::Chaincode::new()
        .with(RecordRegistry)
        .with(AccessControl)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use contract_interface::names::transactions::*;
    use fabric_shim::testing::{MemoryLedger, Tx};

    #[tokio::test]
    async fn transactions_are_those_of_the_interface() {
        let tx = Tx::evaluate("org.hyperledger.fabric:GetMetadata");
        let ledger = MemoryLedger::new("mychannel");
        let answer = ledger.invoke(&crate::chaincode(), tx).await.response;
        let metadata: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
        let contracts = metadata["contracts"].as_object().unwrap();
        let names: BTreeSet<String> = contracts
            .iter()
            .filter(|(contract, _)| !contract.starts_with("org.hyperledger"))
            .flat_map(|(contract, description)| {
                let transactions = description["transactions"].as_array().unwrap().iter();
                transactions.map(move |t| format!("{contract}:{}", t["name"].as_str().unwrap()))
            })
            .collect();
        let expected = [
            REGISTER_PARTICIPANT,
            REGISTER_DEVICE,
            GET_PARTICIPANT,
            GET_PARTICIPANT_BY_THUMBPRINT,
            LIST_PARTICIPANTS,
            GET_DEVICE,
            LIST_DEVICES,
            GRANT_ACCESS,
            REVOKE_ACCESS,
            LIST_GRANTS,
            GET_GRANT,
            EXPLAIN_READ,
            AUTHORIZE_READ,
            LIST_READS,
            GET_READ,
            SET_POLICY,
            WITHDRAW_POLICY,
            LIST_POLICIES,
            DELEGATE,
            REVOKE_DELEGATION,
            LIST_DELEGATIONS,
            REQUEST_ACCESS,
            REFUSE_ACCESS,
            LIST_ACCESS_REQUESTS,
            DECLARE_EMERGENCY,
            REVIEW_EMERGENCY,
            LIST_EMERGENCIES,
            LIST_NOTICES,
            ROTATE_KEY,
            TICK,
            LIST_STALE_NONCES,
            PURGE_NONCES,
            REGISTER_RECORDS,
            GET_RECORD,
            LIST_RECORDS,
            GET_WRAPS,
            LIST_REGISTERED,
            LIST_VERSIONS,
            CHANGE_WRAPS,
            ERASE_RECORD,
            LIST_ERASURES,
            CONFIRM_REMOVAL,
            COMPLETE_ERASURE,
            GET_ERASURE,
        ];
        assert_eq!(names, expected.map(str::to_owned).into());
    }
}
