//! Who holds which encryption key, so that a wrap's `kid` leads to a person.
//!
//! An entry stays when the key is replaced: it then tells whose old wraps are to be replaced, and
//! that the key must not come back.

use std::collections::BTreeSet;

use contract_interface::limits::KEY_HOLDERS_MAX;
use contract_interface::{ErrorCode, MspId, Participant, ParticipantId, Role, Salt, Status};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::ledger::Ledger;

/// Value of a key holder's entry.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyHolders {
    msp_id: MspId,
    role: Role,
    /// One; of oracles of one organisation, several.
    participant_ids: BTreeSet<ParticipantId>,
}

/// Notes that the participant holds its encryption key. A key belongs to one participant, but
/// oracles of one organisation may share one.
pub(super) async fn note(
    ledger: &Ledger<'_>,
    participant: &Participant,
    salt: &Salt,
) -> Result<(), Failure> {
    let Some(kid) = current_kid(participant) else {
        return Ok(());
    };
    let key = ledger.blinding.key_holder(&kid)?;
    let id = participant.participant_id;
    let holders = match ledger.get_salted::<KeyHolders>(&key, WHAT).await? {
        None => KeyHolders {
            msp_id: participant.msp_id.clone(),
            role: participant.role,
            participant_ids: BTreeSet::from([id]),
        },
        Some(holders) if holders.participant_ids.contains(&id) => return Ok(()),
        Some(mut holders) => {
            let shared = holders.role == Role::Oracle
                && participant.role == Role::Oracle
                && holders.msp_id == participant.msp_id;
            if !shared {
                return Err(Failure::new(
                    ErrorCode::ParticipantConflict,
                    "the encryption key belongs to another participant",
                ));
            }
            if holders.participant_ids.len() >= KEY_HOLDERS_MAX {
                return Err(Failure::limit(format!(
                    "{KEY_HOLDERS_MAX} oracles share this encryption key already"
                )));
            }
            holders.participant_ids.insert(id);
            holders
        }
    };
    ledger.put_salted(&key, &holders, salt).await
}

const WHAT: &str = "an encryption key's holder";

/// Whether the participant holds or held the key.
pub(super) async fn held_by(
    ledger: &Ledger<'_>,
    kid: &str,
    id: &ParticipantId,
) -> Result<bool, Failure> {
    let key = ledger.blinding.key_holder(kid)?;
    let holders: Option<KeyHolders> = ledger.get_salted(&key, WHAT).await?;
    Ok(holders.is_some_and(|holders| holders.participant_ids.contains(id)))
}

/// Who holds or held the key; nobody if it was never registered.
pub(crate) async fn of(ledger: &Ledger<'_>, kid: &str) -> Result<Vec<Participant>, Failure> {
    let key = ledger.blinding.key_holder(kid)?;
    let Some(holders) = ledger.get_salted::<KeyHolders>(&key, WHAT).await? else {
        return Ok(vec![]);
    };
    let mut participants = Vec::with_capacity(holders.participant_ids.len());
    for id in &holders.participant_ids {
        let participant = ledger.participant(id).await?;
        participants.push(participant.ok_or_else(|| Failure::corrupt("a participant"))?);
    }
    Ok(participants)
}

/// The thumbprint of the participant's encryption key now.
fn current_kid(participant: &Participant) -> Option<String> {
    let key = participant.encryption_key.as_ref();
    key.map(contract_interface::Jwk::thumbprint)
}

/// Whether wraps for the key may be made for the participant: it is the participant's key now, and
/// the participant is not gone for good.
pub(crate) fn is_current(participant: &Participant, kid: &str) -> bool {
    participant.status != Status::Revoked && current_kid(participant).as_deref() == Some(kid)
}
