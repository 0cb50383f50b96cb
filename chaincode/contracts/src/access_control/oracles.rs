//! Which organisations have an active oracle: those whose word an erasure waits for.
//!
//! One public key, since every organisation must come to the same answer in a transaction that
//! writes, where lists by range are not to be had for free. Oracles are public anyway.

use std::collections::{BTreeMap, BTreeSet};

use contract_interface::limits::CLOCKS_MAX;
use contract_interface::{MspId, Participant, ParticipantId, Role, Status};

use crate::failure::Failure;
use crate::keys;
use crate::ledger::{self, Ledger};

type Directory = BTreeMap<MspId, BTreeSet<ParticipantId>>;

/// Brings the directory up to date with a participant, if that is an oracle.
pub(super) async fn note(ledger: &Ledger<'_>, participant: &Participant) -> Result<(), Failure> {
    if participant.role != Role::Oracle {
        return Ok(());
    }
    let old = directory(ledger).await?;
    let mut new = old.clone();
    let oracles = new.entry(participant.msp_id.clone()).or_default();
    if participant.status == Status::Active {
        oracles.insert(participant.participant_id);
    } else {
        oracles.remove(&participant.participant_id);
    }
    new.retain(|_, oracles| !oracles.is_empty());
    if new.len() > CLOCKS_MAX {
        return Err(Failure::limit(format!(
            "{CLOCKS_MAX} organisations have oracles already"
        )));
    }
    if new == old {
        return Ok(());
    }
    ledger.put_public(&keys::public_oracles()?, &new).await
}

/// Organisations with an active oracle, in the order of their names.
pub(crate) async fn organizations(ledger: &Ledger<'_>) -> Result<Vec<MspId>, Failure> {
    Ok(directory(ledger).await?.into_keys().collect())
}

async fn directory(ledger: &Ledger<'_>) -> Result<Directory, Failure> {
    match ledger.stub.get_state(&keys::public_oracles()?).await? {
        Some(bytes) => ledger::parse("the list of oracles", &bytes),
        None => Ok(Directory::new()),
    }
}
