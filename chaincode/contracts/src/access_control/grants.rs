//! Grants: given and ended by the patient's or a guardian's signed word.

use contract_interface::access::{GrantChanged, Power};
use contract_interface::names::{collections, events, transactions};
use contract_interface::{
    ErrorCode, Grant, GrantAccess, GrantEntry, GrantFilter, GrantId, GrantPage, GrantStatus,
    Grantee, ParticipantId, Pseudonym, RevokeAccess, Role, UtcTime, canonical_json,
};
use fabric_shim::{KeyValue, Stub};
use serde::{Deserialize, Serialize};

use super::slots::{self, SlotRule};
use super::{asking, notices};
use crate::actor::Viewer;
use crate::failure::Failure;
use crate::keys::{Scope, last_attribute, object_types};
use crate::ledger::{self, Ledger};
use crate::scan::{Prefix, Query, Scan};
use crate::signed::Signed;

/// Value of an index entry from a grantee to a grant.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GranteeIndexValue {
    patient: Pseudonym,
}

/// Keeps a grant.
///
/// Whether the grantee exists is not checked: a grant to nobody gives nothing.
pub(super) async fn give(stub: &Stub) -> Result<GrantChanged, Failure> {
    let ledger = Ledger::open(stub).await?;
    let signed = Signed::<GrantAccess>::take(&ledger).await?;
    let acts = signed
        .acting_for(&ledger, signed.body.patient, Power::Grant)
        .await?;
    let grant = &signed.body.grant;
    check(grant, signed.tx_time)?;
    if ledger
        .grant(&acts.patient, &grant.grant_id)
        .await?
        .is_some()
    {
        return Err(Failure::new(
            ErrorCode::GrantConflict,
            "a grant with this ID has been given",
        ));
    }
    let entry = GrantEntry {
        grant: grant.clone(),
        patient: acts.patient,
        patient_msp: acts.patient_msp,
        given_by: signed.signer.participant_id,
        delegation_id: acts.delegation_id,
        status: GrantStatus::Active,
        version: 1,
        given_at: signed.signed_at,
        revoked_at: None,
        requests: vec![signed.jws.clone()],
        salt: signed.salt,
    };
    put(&ledger, &entry).await?;
    list_for_grantee(&ledger, &entry).await?;
    let listed = SlotRule {
        id: grant.grant_id,
        until: Some(grant.valid_until),
    };
    let scope = Scope::Patient(entry.patient);
    let salt = &signed.salt;
    slots::add(&ledger, &scope, &grant.rule, listed, signed.tx_time, salt).await?;
    if grant.in_reply_to.is_some() {
        let (at, jws) = (signed.signed_at, &signed.jws);
        asking::mark_granted(&ledger, &entry.patient, grant, at, jws, salt).await?;
    }
    notices::grant_given(&ledger, &entry, signed.tx_time, salt).await?;
    announce(stub, events::GRANT_GIVEN, grant.grant_id)
}

fn check(grant: &Grant, now: UtcTime) -> Result<(), Failure> {
    grant.validate()?;
    if grant.valid_until <= now {
        return Err(Failure::argument("the grant's validity has ended"));
    }
    Ok(())
}

async fn list_for_grantee(ledger: &Ledger<'_>, entry: &GrantEntry) -> Result<(), Failure> {
    let grantee = &entry.grant.rule.grantee;
    let index = ledger
        .blinding
        .grant_by_grantee(grantee, &entry.grant.grant_id)?;
    let value = GranteeIndexValue {
        patient: entry.patient,
    };
    ledger.put_salted(&index, &value, &entry.salt).await
}

/// Ends a grant. It is found under the patient for whom the signer acts.
pub(super) async fn revoke(stub: &Stub) -> Result<GrantChanged, Failure> {
    let ledger = Ledger::open(stub).await?;
    let signed = Signed::<RevokeAccess>::take(&ledger).await?;
    let acts = signed
        .acting_for(&ledger, signed.body.patient, Power::Grant)
        .await?;
    let grant_id = signed.body.grant_id;
    let Some(mut entry) = ledger.grant(&acts.patient, &grant_id).await? else {
        return Err(not_found());
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
    entry.requests.push(signed.jws.clone());
    entry.salt = signed.salt;
    put(&ledger, &entry).await?;
    let (scope, rule) = (Scope::Patient(acts.patient), &entry.grant.rule);
    let salt = &signed.salt;
    slots::remove(&ledger, &scope, rule, &grant_id, signed.tx_time, salt).await?;
    notices::grant_revoked(&ledger, &entry, signed.tx_time, salt).await?;
    announce(stub, events::GRANT_REVOKED, grant_id)
}

fn not_found() -> Failure {
    Failure::new(ErrorCode::GrantNotFound, "the patient has no such grant")
}

async fn put(ledger: &Ledger<'_>, entry: &GrantEntry) -> Result<(), Failure> {
    let key = ledger
        .blinding
        .grant(&entry.patient, &entry.grant.grant_id)?;
    ledger.put(collections::RECORDS, &key, entry).await
}

fn announce(stub: &Stub, event: &str, grant_id: GrantId) -> Result<GrantChanged, Failure> {
    let changed = GrantChanged { grant_id };
    stub.set_event(event, canonical_json(&changed)?)?;
    Ok(changed)
}

/// One grant of a patient.
pub(super) async fn get(
    stub: &Stub,
    patient: &Pseudonym,
    id: &GrantId,
) -> Result<GrantEntry, Failure> {
    let ledger = Ledger::open(stub).await?;
    let viewer = Viewer::of(&ledger).await?;
    let mut found = ledger.grant(patient, id).await?;
    ledger.end_with_delegations(&mut found).await?;
    let guardian = viewer.acts_for(&ledger, patient, Power::Grant).await?;
    // A grant that the viewer may not see does not exist for it.
    found
        .filter(|entry| guardian || viewer.sees_grant(entry))
        .ok_or_else(not_found)
}

/// Grants by pages.
pub(super) async fn list(stub: &Stub, filter: &GrantFilter) -> Result<GrantPage, Failure> {
    let ledger = Ledger::open(stub).await?;
    let viewer = Viewer::of(&ledger).await?;
    let items = filter.page.items()?;
    let (prefixes, guardian) = match (filter.patient, filter.grantee) {
        (Some(patient), None) => (
            vec![Prefix::new(
                object_types::GRANT,
                vec![ledger.blinding.patient(&patient)],
            )],
            viewer.acts_for(&ledger, &patient, Power::Grant).await?,
        ),
        (None, Some(grantee)) => (by_grantee(&ledger, &grantee).await?, false),
        _ => return Err(Failure::argument("name either the patient or the grantee")),
    };
    let query = Query::new(transactions::LIST_GRANTS, filter, &viewer)?;
    let mut scan = Scan::new(&ledger, prefixes, &filter.page, query)?;
    let mut grants = Vec::new();
    while grants.len() < items
        && let Some(found) = scan.next().await?
    {
        let entry = if filter.patient.is_some() {
            ledger::parse("a grant", &found.value)?
        } else {
            behind_index(&ledger, &found).await?
        };
        if guardian || viewer.sees_grant(&entry) {
            grants.push(entry);
        }
    }
    ledger.end_with_delegations(&mut grants).await?;
    Ok(GrantPage {
        grants,
        next_page_token: scan.finish().await?,
    })
}

/// Where the grants lie that are given to a participant, by name and by what it belongs to.
async fn by_grantee(ledger: &Ledger<'_>, id: &ParticipantId) -> Result<Vec<Prefix>, Failure> {
    let grantee = ledger
        .participant(id)
        .await?
        .filter(|found| found.role != Role::Patient)
        .ok_or_else(|| Failure::new(ErrorCode::ParticipantNotFound, "no such participant"))?;
    let prefix = |grantee| {
        Prefix::new(
            object_types::GRANT_BY_GRANTEE,
            vec![
                ledger
                    .blinding
                    .grantee(object_types::GRANT_BY_GRANTEE, grantee),
            ],
        )
    };
    Ok(Grantee::all_of(&grantee).iter().map(prefix).collect())
}

async fn behind_index(ledger: &Ledger<'_>, found: &KeyValue) -> Result<GrantEntry, Failure> {
    let index: GranteeIndexValue = ledger::parse_salted("an index entry", &found.value)?;
    let grant_id = last_attribute(&found.key)?;
    let entry = ledger.grant(&index.patient, &grant_id).await?;
    entry.ok_or_else(|| Failure::corrupt("a grant"))
}
