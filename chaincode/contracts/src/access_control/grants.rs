//! Grants: given and ended by the patient's signed word.

use contract_interface::access::GrantChanged;
use contract_interface::limits::GRANTS_PER_PATIENT_MAX;
use contract_interface::names::{collections, events};
use contract_interface::{
    ErrorCode, GrantAccess, GrantEntry, GrantFilter, GrantId, GrantPage, GrantProposal,
    GrantStatus, Grantee, PageRequest, Participant, ParticipantId, Pseudonym, Purpose, ReasonCode,
    RecordId, RevokeAccess, Role, Status, UtcTime, canonical_json,
};
use fabric_shim::{KeyValue, Stub};
use serde::{Deserialize, Serialize};

use super::reads;
use crate::actor::{Creator, Viewer};
use crate::failure::Failure;
use crate::keys::{self, object_types};
use crate::ledger::{self, Ledger};
use crate::scan::{Prefix, Scan};
use crate::signed::Signed;

/// Value of an index entry from a grantee to a grant. The pseudonym keeps its hash from being
/// guessed, the grant's ID makes it unlike any other.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GranteeIndexValue {
    patient: Pseudonym,
    grant_id: GrantId,
}

/// Keeps a grant.
///
/// Whether the grantee exists is not checked: the look-up would show in the block to whom the
/// grant is given, and a grant to nobody gives nothing.
pub(super) async fn give(stub: &Stub) -> Result<GrantChanged, Failure> {
    let ledger = Ledger::open(stub).await?;
    let signed = Signed::<GrantAccess>::take(&ledger).await?;
    let patient = signing_patient(&signed)?;
    let grant = &signed.body.grant;
    grant.validate()?;
    if grant.valid_until <= signed.tx_time {
        return Err(Failure::argument("the grant's validity has ended"));
    }
    if ledger.grant(&patient, &grant.grant_id).await?.is_some() {
        return Err(Failure::new(
            ErrorCode::GrantConflict,
            "a grant with this ID has been given",
        ));
    }
    let entry = GrantEntry {
        grant: grant.clone(),
        patient,
        patient_msp: signed.signer.msp_id.clone(),
        status: GrantStatus::Active,
        version: 1,
        given_at: signed.signed_at,
        revoked_at: None,
        requests: vec![signed.jws.clone()],
        salt: signed.salt,
    };
    put(&ledger, &entry).await?;
    let index = ledger
        .blinding
        .grant_by_grantee(&grant.grantee, &grant.grant_id)?;
    let value = GranteeIndexValue {
        patient,
        grant_id: grant.grant_id,
    };
    ledger.put(collections::RECORDS, &index, &value).await?;
    announce(stub, events::GRANT_GIVEN, grant.grant_id)
}

/// Ends a grant. Only its patient finds it, since the key begins with the pseudonym.
pub(super) async fn revoke(stub: &Stub) -> Result<GrantChanged, Failure> {
    let ledger = Ledger::open(stub).await?;
    let signed = Signed::<RevokeAccess>::take(&ledger).await?;
    let patient = signing_patient(&signed)?;
    let grant_id = signed.body.grant_id;
    let Some(mut entry) = ledger.grant(&patient, &grant_id).await? else {
        return Err(Failure::new(
            ErrorCode::GrantNotFound,
            "the signer has given no such grant",
        ));
    };
    if entry.status == GrantStatus::Revoked {
        return Err(Failure::new(
            ErrorCode::GrantConflict,
            "the grant has been revoked",
        ));
    }
    entry.status = GrantStatus::Revoked;
    entry.version += 1;
    entry.revoked_at = Some(signed.signed_at);
    entry.requests.push(signed.jws);
    entry.salt = signed.salt;
    put(&ledger, &entry).await?;
    announce(stub, events::GRANT_REVOKED, grant_id)
}

fn signing_patient<B>(signed: &Signed<B>) -> Result<Pseudonym, Failure> {
    if signed.signer.role != Role::Patient {
        return Err(Failure::forbidden("only a patient gives or revokes grants"));
    }
    if signed.signer.status != Status::Active {
        return Err(Failure::forbidden("the signer is suspended or revoked"));
    }
    Ok(signed.signer.participant_id.into())
}

async fn put(ledger: &Ledger<'_>, entry: &GrantEntry) -> Result<(), Failure> {
    let key = keys::grant(&entry.patient, &entry.grant.grant_id)?;
    ledger.put(collections::RECORDS, &key, entry).await
}

fn announce(stub: &Stub, event: &str, grant_id: GrantId) -> Result<GrantChanged, Failure> {
    let changed = GrantChanged { grant_id };
    stub.set_event(event, canonical_json(&changed)?)?;
    Ok(changed)
}

/// Grants by pages.
pub(super) async fn list(stub: &Stub, filter: &GrantFilter) -> Result<GrantPage, Failure> {
    let ledger = Ledger::open(stub).await?;
    let viewer = Viewer::of(&ledger).await?;
    let items = filter.page.items()?;
    let prefixes = match (filter.patient, filter.grantee) {
        (Some(patient), None) => vec![by_patient(&patient)],
        (None, Some(grantee)) => by_grantee(&ledger, &grantee).await?,
        _ => return Err(Failure::argument("name either the patient or the grantee")),
    };
    let mut scan = Scan::new(stub, prefixes, &filter.page)?;
    let mut grants = Vec::new();
    while grants.len() < items
        && let Some(found) = scan.next().await?
    {
        let entry = if filter.patient.is_some() {
            ledger::parse("a grant", &found.value)?
        } else {
            behind_index(&ledger, &found).await?
        };
        if viewer.sees_grant(&entry) {
            grants.push(entry);
        }
    }
    Ok(GrantPage {
        grants,
        next_page_token: scan.finish().await?,
    })
}

fn by_patient(patient: &Pseudonym) -> Prefix {
    Prefix::new(object_types::GRANT, vec![patient.to_string()])
}

/// Where the grants lie that are given to a participant, by name and by what it belongs to.
async fn by_grantee(ledger: &Ledger<'_>, id: &ParticipantId) -> Result<Vec<Prefix>, Failure> {
    let grantee = ledger
        .participant(id)
        .await?
        .filter(|found| found.role != Role::Patient);
    let Some(Participant { msp_id, role, .. }) = grantee else {
        return Err(Failure::new(
            ErrorCode::ParticipantNotFound,
            "no such participant",
        ));
    };
    let mut grantees = vec![Grantee::Participant(*id)];
    if role == Role::Provider {
        grantees.push(Grantee::Organization(msp_id.clone()));
    }
    grantees.push(Grantee::Role { msp_id, role });
    let prefix = |grantee| {
        Prefix::new(
            object_types::GRANT_BY_GRANTEE,
            vec![ledger.blinding.grantee(grantee)],
        )
    };
    Ok(grantees.iter().map(prefix).collect())
}

async fn behind_index(ledger: &Ledger<'_>, found: &KeyValue) -> Result<GrantEntry, Failure> {
    let index: GranteeIndexValue = ledger::parse("an index entry", &found.value)?;
    let entry = ledger.grant(&index.patient, &index.grant_id).await?;
    entry.ok_or_else(|| Failure::corrupt("a grant"))
}

/// The grant to name in `AuthorizeRead`: the one whose answer is nearest to a permit, of several
/// the one with the least ID.
pub(super) async fn find(
    stub: &Stub,
    record_id: &RecordId,
    reader_id: &ParticipantId,
    purpose: Purpose,
    at: UtcTime,
) -> Result<GrantProposal, Failure> {
    let ledger = Ledger::open(stub).await?;
    Creator::of(stub)?.require(&ledger, &[Role::Oracle]).await?;
    let record = ledger
        .record_private(record_id)
        .await?
        .ok_or_else(reads::record_not_found)?;
    let reader = ledger
        .participant(reader_id)
        .await?
        .ok_or_else(|| Failure::new(ErrorCode::ParticipantNotFound, "no such participant"))?;
    if let Some(reason) = reads::decide_without_grant(&reader, &record, purpose) {
        return Ok(GrantProposal {
            grant_id: None,
            expected: reason,
        });
    }
    let mut best: Option<(ReasonCode, GrantId)> = None;
    for entry in of_patient(&ledger, &record.patient).await? {
        let reason = entry.decide(&reader, &record, purpose, &[at]);
        let names_reader = entry.grant.grantee.includes(&reader);
        if names_reader && best.is_none_or(|(nearest, _)| reason < nearest) {
            best = Some((reason, entry.grant.grant_id));
        }
    }
    Ok(match best {
        Some((expected, grant_id)) => GrantProposal {
            grant_id: Some(grant_id),
            expected,
        },
        None => GrantProposal {
            grant_id: None,
            expected: ReasonCode::NoGrant,
        },
    })
}

/// A patient's grants, up to a limit.
pub(crate) async fn of_patient(
    ledger: &Ledger<'_>,
    patient: &Pseudonym,
) -> Result<Vec<GrantEntry>, Failure> {
    let page = PageRequest::default();
    let mut scan = Scan::new(ledger.stub, vec![by_patient(patient)], &page)?;
    let mut grants = Vec::new();
    while grants.len() < GRANTS_PER_PATIENT_MAX
        && let Some(found) = scan.next().await?
    {
        grants.push(ledger::parse("a grant", &found.value)?);
    }
    scan.finish().await?;
    Ok(grants)
}
