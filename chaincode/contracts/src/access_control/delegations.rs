//! Delegations: who may act for a patient.
//!
//! One key for one patient and one guardian, so that a decision finds it without a search, and a
//! later delegation takes the place of the one before. Whether the guardian is registered is not
//! checked: the look-up would show in the block who it is, and a delegation to nobody gives
//! nothing.

use contract_interface::access::{
    Delegation, DelegationBasis, DelegationChanged, DelegationEntry, DelegationFilter,
    DelegationPage, Happening, Recipient,
};
use contract_interface::names::{collections, events, transactions};
use contract_interface::{
    Delegate, ErrorCode, GrantStatus, MspId, Participant, ParticipantId, Pseudonym,
    RevokeDelegation, Role, Salt, UtcTime, canonical_json,
};
use fabric_shim::Stub;
use serde::{Deserialize, Serialize};

use super::notices;
use crate::actor::Viewer;
use crate::failure::Failure;
use crate::keys::object_types;
use crate::ledger::{self, Ledger};
use crate::scan::{Prefix, Query, Scan};
use crate::signed::Signed;

/// Value of an index entry from a guardian to a delegation.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GuardianIndexValue {
    patient: Pseudonym,
    guardian: ParticipantId,
    salt: Salt,
}

/// Keeps a delegation.
pub(super) async fn delegate(stub: &Stub) -> Result<DelegationChanged, Failure> {
    let ledger = Ledger::open(stub).await?;
    let signed = Signed::<Delegate>::take(&ledger).await?;
    signed.require_active()?;
    let delegation = &signed.body.delegation;
    delegation.validate()?;
    if delegation.valid_until <= signed.tx_time {
        return Err(Failure::argument("the delegation's validity has ended"));
    }
    let patient_msp = check_giver(&ledger, &signed.signer, delegation).await?;
    let old = ledger
        .delegation(&delegation.patient, &delegation.guardian)
        .await?;
    let version = match &old {
        None => 1,
        Some(old) => {
            check_later(old, signed.signed_at)?;
            if old.delegation.delegation_id == delegation.delegation_id {
                return Err(conflict("a delegation with this ID has been given"));
            }
            next_version(old)?
        }
    };
    let entry = DelegationEntry {
        delegation: delegation.clone(),
        patient_msp,
        given_by: signed.signer.participant_id,
        status: GrantStatus::Active,
        version,
        given_at: signed.signed_at,
        revoked_at: None,
        requests: vec![signed.jws.clone()],
        salt: signed.salt,
    };
    put(&ledger, &entry).await?;
    tell(&ledger, delegation, signed.tx_time, &signed.salt).await?;
    if old.is_none() {
        put_index(&ledger, delegation, signed.salt).await?;
    }
    announce(stub, delegation)
}

/// Ends a delegation: from the next transaction on, the guardian can do nothing.
///
/// What the guardian gave stays, as validly given, unless the request ends its permits too. That
/// may be asked for afterwards, whether the delegation was revoked, ran out or was replaced. One
/// mark does it, which every decision on such a permit looks for: a submitted transaction could not
/// search for them.
pub(super) async fn revoke(stub: &Stub) -> Result<DelegationChanged, Failure> {
    let ledger = Ledger::open(stub).await?;
    let signed = Signed::<RevokeDelegation>::take(&ledger).await?;
    let RevokeDelegation {
        delegation_id,
        patient,
        guardian,
        end_grants,
    } = signed.body;
    signed.require_active()?;
    let Some(mut entry) = ledger.delegation(&patient, &guardian).await? else {
        return Err(not_found());
    };
    let stands_here = entry.delegation.delegation_id == delegation_id;
    if !may_end(&signed.signer, &entry) || !(stands_here || end_grants) {
        return Err(not_found());
    }
    let stands = stands_here && entry.status == GrantStatus::Active;
    if !stands && !end_grants {
        return Err(conflict("the delegation has been revoked"));
    }
    if stands {
        entry.status = GrantStatus::Revoked;
        entry.version = next_version(&entry)?;
        entry.revoked_at = Some(signed.signed_at);
        entry.requests.push(signed.jws);
        entry.salt = signed.salt;
        put(&ledger, &entry).await?;
    }
    if end_grants {
        let mark = ledger
            .blinding
            .delegation_ended(&patient, &guardian, &delegation_id)?;
        let ended: Option<UtcTime> = ledger.get_salted(&mark, "an end of grants").await?;
        if ended.is_some() {
            return Err(conflict("what was given under the delegation has ended"));
        }
        ledger
            .put_salted(&mark, &signed.signed_at, &signed.salt)
            .await?;
    }
    let ended = Delegation {
        delegation_id,
        ..entry.delegation
    };
    tell(&ledger, &ended, signed.tx_time, &signed.salt).await?;
    announce(stub, &ended)
}

/// Who may give a delegation on its basis; tells the patient's organisation.
async fn check_giver(
    ledger: &Ledger<'_>,
    signer: &Participant,
    delegation: &Delegation,
) -> Result<MspId, Failure> {
    if delegation.basis == DelegationBasis::Patient {
        return if signer.role == Role::Patient && delegation.patient == signer.participant_id.into()
        {
            Ok(signer.msp_id.clone())
        } else {
            Err(Failure::forbidden(
                "the patient signs a delegation of the patient's own word",
            ))
        };
    }
    if delegation.guardian == signer.participant_id {
        return Err(Failure::forbidden(
            "nobody becomes a guardian by the own word",
        ));
    }
    if signer.role == Role::Admin {
        let patient = ledger.participant(&delegation.patient.into()).await?;
        if patient.is_some_and(|found| found.role == Role::Patient && found.msp_id == signer.msp_id)
        {
            return Ok(signer.msp_id.clone());
        }
    }
    Err(Failure::forbidden(
        "an administrator of the patient's organisation signs such a delegation",
    ))
}

fn may_end(signer: &Participant, entry: &DelegationEntry) -> bool {
    let id = signer.participant_id;
    entry.delegation.guardian == id
        || (signer.role == Role::Patient && entry.delegation.patient == id.into())
        || (signer.role == Role::Admin && signer.msp_id == entry.patient_msp)
}

/// An old request, whose nonce may have been purged, must not bring an old delegation back.
fn check_later(old: &DelegationEntry, signed_at: UtcTime) -> Result<(), Failure> {
    if signed_at < old.revoked_at.unwrap_or(old.given_at) {
        Err(conflict("a delegation of a later time stands in its place"))
    } else {
        Ok(())
    }
}

fn next_version(entry: &DelegationEntry) -> Result<u32, Failure> {
    let next = entry.version.checked_add(1);
    next.ok_or_else(|| Failure::corrupt("a delegation"))
}

async fn put(ledger: &Ledger<'_>, entry: &DelegationEntry) -> Result<(), Failure> {
    let Delegation {
        patient, guardian, ..
    } = entry.delegation;
    let key = ledger.blinding.delegation(&patient, &guardian)?;
    ledger.put(collections::RECORDS, &key, entry).await
}

/// Tells patient and guardian.
async fn tell(
    ledger: &Ledger<'_>,
    delegation: &Delegation,
    at: UtcTime,
    salt: &Salt,
) -> Result<(), Failure> {
    let Delegation {
        delegation_id,
        patient,
        guardian,
        ..
    } = *delegation;
    for told in [patient.into(), guardian] {
        let happening = Happening::DelegationChanged { delegation_id };
        let recipient = Recipient::Participant(told);
        notices::put(ledger, recipient, patient, at, happening, salt).await?;
    }
    Ok(())
}

async fn put_index(
    ledger: &Ledger<'_>,
    delegation: &Delegation,
    salt: Salt,
) -> Result<(), Failure> {
    let Delegation {
        patient, guardian, ..
    } = *delegation;
    let key = ledger
        .blinding
        .delegation_by_guardian(&guardian, &patient)?;
    let value = GuardianIndexValue {
        patient,
        guardian,
        salt,
    };
    ledger.put(collections::RECORDS, &key, &value).await
}

fn announce(stub: &Stub, delegation: &Delegation) -> Result<DelegationChanged, Failure> {
    let changed = DelegationChanged {
        delegation_id: delegation.delegation_id,
    };
    stub.set_event(events::DELEGATION_CHANGED, canonical_json(&changed)?)?;
    Ok(changed)
}

fn not_found() -> Failure {
    Failure::new(
        ErrorCode::DelegationNotFound,
        "the signer has no part in such a delegation",
    )
}

fn conflict(sentence: &'static str) -> Failure {
    Failure::new(ErrorCode::StateConflict, sentence)
}

/// Delegations by pages: of a patient, or to a guardian.
pub(super) async fn list(
    stub: &Stub,
    filter: &DelegationFilter,
) -> Result<DelegationPage, Failure> {
    let ledger = Ledger::open(stub).await?;
    let viewer = Viewer::of(&ledger).await?;
    let items = filter.page.items()?;
    let prefix = match (filter.patient, filter.guardian) {
        (Some(patient), None) => Prefix::new(
            object_types::DELEGATION,
            vec![ledger.blinding.patient(&patient)],
        ),
        (None, Some(guardian)) => Prefix::new(
            object_types::DELEGATION_BY_GUARDIAN,
            vec![
                ledger
                    .blinding
                    .person(object_types::DELEGATION_BY_GUARDIAN, &guardian),
            ],
        ),
        _ => return Err(Failure::argument("name either the patient or the guardian")),
    };
    let query = Query::new(transactions::LIST_DELEGATIONS, filter, &viewer)?;
    let mut scan = Scan::new(&ledger, vec![prefix], &filter.page, query)?;
    let mut delegations = Vec::new();
    while delegations.len() < items
        && let Some(found) = scan.next().await?
    {
        let entry: DelegationEntry = if filter.patient.is_some() {
            ledger::parse("a delegation", &found.value)?
        } else {
            let index: GuardianIndexValue = ledger::parse("an index entry", &found.value)?;
            let entry = ledger.delegation(&index.patient, &index.guardian).await?;
            entry.ok_or_else(|| Failure::corrupt("a delegation"))?
        };
        if sees(&viewer, &entry) {
            delegations.push(entry);
        }
    }
    Ok(DelegationPage {
        delegations,
        next_page_token: scan.finish().await?,
    })
}

fn sees(viewer: &Viewer, entry: &DelegationEntry) -> bool {
    match viewer {
        Viewer::Oracle { .. } => true,
        Viewer::Organization { msp_id } => entry.patient_msp == *msp_id,
        Viewer::Patient { participant, .. } | Viewer::Provider { participant, .. } => {
            let id = participant.participant_id;
            entry.delegation.guardian == id || entry.delegation.patient == id.into()
        }
    }
}
