//! Policies: rules of an organisation for the records that it registered, above the patients'.

use contract_interface::access::PolicyChanged;
use contract_interface::names::{collections, events, transactions};
use contract_interface::{
    ErrorCode, GrantStatus, MspId, Role, SetPolicy, WithdrawPolicy, canonical_json,
};
use contract_interface::{
    PolicyId,
    access::{PolicyEntry, PolicyFilter, PolicyPage},
};
use fabric_shim::Stub;

use super::slots::{self, SlotRule};
use crate::actor::Viewer;
use crate::failure::Failure;
use crate::keys::{Scope, object_types};
use crate::ledger::{self, Ledger};
use crate::scan::{Prefix, Query, Scan};
use crate::signed::Signed;

/// Keeps a policy of the signer's organisation.
pub(super) async fn set(stub: &Stub) -> Result<PolicyChanged, Failure> {
    let ledger = Ledger::open(stub).await?;
    let signed = Signed::<SetPolicy>::take(&ledger).await?;
    signed.require_role(&[Role::Admin])?;
    let policy = &signed.body.policy;
    policy.validate()?;
    if policy
        .valid_until
        .is_some_and(|until| until <= signed.tx_time)
    {
        return Err(Failure::argument("the policy's validity has ended"));
    }
    let msp_id = signed.signer.msp_id.clone();
    if find(&ledger, &msp_id, policy.policy_id).await?.is_some() {
        return Err(Failure::new(
            ErrorCode::StateConflict,
            "a policy with this ID has been set",
        ));
    }
    let entry = PolicyEntry {
        policy: policy.clone(),
        msp_id: msp_id.clone(),
        set_by: signed.signer.participant_id,
        status: GrantStatus::Active,
        version: 1,
        set_at: signed.signed_at,
        withdrawn_at: None,
        requests: vec![signed.jws.clone()],
        salt: signed.salt,
    };
    put(&ledger, &entry).await?;
    let listed = SlotRule {
        id: policy.policy_id,
        until: policy.valid_until,
    };
    let scope = Scope::Organization(msp_id);
    let (now, salt) = (signed.tx_time, &signed.salt);
    slots::add(&ledger, &scope, &policy.rule, listed, now, salt).await?;
    announce(stub, policy.policy_id)
}

/// Ends a policy of the signer's organisation.
pub(super) async fn withdraw(stub: &Stub) -> Result<PolicyChanged, Failure> {
    let ledger = Ledger::open(stub).await?;
    let signed = Signed::<WithdrawPolicy>::take(&ledger).await?;
    signed.require_role(&[Role::Admin])?;
    let id = signed.body.policy_id;
    let Some(mut entry) = find(&ledger, &signed.signer.msp_id, id).await? else {
        return Err(Failure::new(
            ErrorCode::PolicyNotFound,
            "the organisation has no such policy",
        ));
    };
    if entry.status == GrantStatus::Revoked {
        return Err(Failure::new(
            ErrorCode::StateConflict,
            "the policy has been withdrawn",
        ));
    }
    entry.status = GrantStatus::Revoked;
    entry.version += 1;
    entry.withdrawn_at = Some(signed.signed_at);
    entry.requests.push(signed.jws.clone());
    entry.salt = signed.salt;
    put(&ledger, &entry).await?;
    let scope = Scope::Organization(entry.msp_id);
    let (now, salt) = (signed.tx_time, &signed.salt);
    slots::remove(&ledger, &scope, &entry.policy.rule, &id, now, salt).await?;
    announce(stub, id)
}

async fn find(
    ledger: &Ledger<'_>,
    msp_id: &MspId,
    id: PolicyId,
) -> Result<Option<PolicyEntry>, Failure> {
    let found = ledger.policies(&[(msp_id.clone(), id)]).await?;
    Ok(found.into_iter().next().flatten())
}

async fn put(ledger: &Ledger<'_>, entry: &PolicyEntry) -> Result<(), Failure> {
    let key = ledger
        .blinding
        .policy(&entry.msp_id, &entry.policy.policy_id)?;
    ledger.put(collections::RECORDS, &key, entry).await
}

fn announce(stub: &Stub, policy_id: PolicyId) -> Result<PolicyChanged, Failure> {
    let changed = PolicyChanged { policy_id };
    stub.set_event(events::POLICY_CHANGED, canonical_json(&changed)?)?;
    Ok(changed)
}

/// An organisation's policies by pages.
pub(super) async fn list(stub: &Stub, filter: &PolicyFilter) -> Result<PolicyPage, Failure> {
    let ledger = Ledger::open(stub).await?;
    let viewer = Viewer::of(&ledger).await?;
    let items = filter.page.items()?;
    let query = Query::new(transactions::LIST_POLICIES, filter, &viewer)?;
    let prefix = Prefix::new(
        object_types::POLICY,
        vec![
            ledger
                .blinding
                .organization(object_types::POLICY, &filter.msp_id),
        ],
    );
    let mut scan = Scan::new(&ledger, vec![prefix], &filter.page, query)?;
    let mut policies = Vec::new();
    while policies.len() < items
        && let Some(found) = scan.next().await?
    {
        let entry = ledger::parse("a policy", &found.value)?;
        if viewer.sees_policy(&entry) {
            policies.push(entry);
        }
    }
    Ok(PolicyPage {
        policies,
        next_page_token: scan.finish().await?,
    })
}
