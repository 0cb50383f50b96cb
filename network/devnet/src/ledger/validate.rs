//! Validation of a block: what becomes of each of its transactions.

use std::collections::BTreeSet;

use fabric_protos::protos::TxValidationCode;

use super::conflict::BlockUpdates;
use super::endorsement::EndorsementCheck;
use super::rwset::TxRwSet;
use super::state::{State, UpdateBatch};
use super::transaction::{Rejection, check_envelope, envelope_tx_id, reject};
use super::version::Version;
use crate::genesis::ChannelConfig;

/// What became of one transaction.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// Its ID, if it has one; also when it is not valid.
    pub(crate) tx_id: Option<String>,
    pub(crate) outcome: Result<TxRwSet, Rejection>,
}

/// What a block does.
#[derive(Debug)]
pub(crate) struct Validated {
    pub(crate) verdicts: Vec<Verdict>,
    /// Public and hashed changes of the valid transactions.
    pub(crate) batch: UpdateBatch,
}

/// Validates the envelopes of block `number` on the state before it.
///
/// All transactions first pass the checks that do not depend on each other's effects, then, in
/// order, those for conflicts; so a transaction that fails for a conflict still counts as the
/// first use of its ID and still bars later ones from keys whose metadata it would have changed.
pub(crate) fn validate(
    envelopes: &[Vec<u8>],
    number: u64,
    state: &State,
    config: &ChannelConfig,
    known: impl Fn(&str) -> bool,
) -> Validated {
    let mut endorsements = EndorsementCheck::new(state, number, config);
    let mut used = BTreeSet::new();
    let mut verdicts = Vec::with_capacity(envelopes.len());
    for envelope in envelopes {
        let outcome = check_alone(envelope, config, &known, &mut endorsements);
        let tx_id = envelope_tx_id(envelope);
        let outcome = outcome.and_then(|rwset| match &tx_id {
            Some(tx_id) if !used.insert(tx_id.clone()) => Err(reject(
                TxValidationCode::DuplicateTxid,
                "an earlier transaction of the block has the same ID",
            )),
            _ => Ok(rwset),
        });
        verdicts.push(Verdict { tx_id, outcome });
    }
    let mut updates = BlockUpdates::new(state, number);
    for (index, verdict) in (0..).zip(&mut verdicts) {
        let Ok(rwset) = &verdict.outcome else {
            continue;
        };
        match updates.check_reads(rwset) {
            Ok(()) => updates.apply(rwset, Version::new(number, index)),
            Err(rejection) => verdict.outcome = Err(rejection),
        }
    }
    Validated {
        verdicts,
        batch: updates.batch,
    }
}

fn check_alone(
    envelope: &[u8],
    config: &ChannelConfig,
    known: impl Fn(&str) -> bool,
    endorsements: &mut EndorsementCheck<'_>,
) -> Result<TxRwSet, Rejection> {
    let transaction = check_envelope(envelope, config.msps())?;
    if transaction.channel_id != config.channel_id() {
        return Err(reject(
            TxValidationCode::TargetChainNotFound,
            format!("the transaction is for channel {}", transaction.channel_id),
        ));
    }
    if known(&transaction.tx_id) {
        return Err(reject(
            TxValidationCode::DuplicateTxid,
            "an earlier block has a transaction with this ID",
        ));
    }
    let outcome = transaction.outcome()?;
    endorsements.check(&transaction, &outcome)?;
    Ok(outcome.rwset)
}
