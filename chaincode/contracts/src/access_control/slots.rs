//! Slots: where a decision finds the rules that may have a say.
//!
//! A submitted transaction cannot search: peers refuse private ranges beside writes. So every rule
//! that stands is listed under keys that a decision can compute: for its patient or organisation,
//! its grantee, and what it selects (each record that it names, else each type, else everything).
//! A denial that names records lies besides under the first version of each, so that it is found for
//! every version; a permit is for the version that it names.
//! What a decision reads is bounded by [`RULES_PER_SLOT_MAX`], however many rules and records there
//! are.

use std::collections::BTreeSet;

use contract_interface::access::Rule;
use contract_interface::limits::{REQUEST_WINDOW_SECONDS, RULES_PER_SLOT_MAX};
use contract_interface::{Decision, ErrorCode, Salt, UtcTime};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::keys::{Scope, Selector};
use crate::ledger::Ledger;

/// Seconds for which an ended rule stays in its slots: two transactions' times may lie twice the
/// window apart, and the earlier one must still find what stood then.
const ENDED_KEPT_SECONDS: i64 = 2 * REQUEST_WINDOW_SECONDS;

/// A rule in a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SlotRule<I> {
    /// The grant or policy.
    pub(super) id: I,
    /// Until when it may be used; open if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<UtcTime>,
}

/// Value of a slot's key.
pub(super) type Slot<I> = Vec<SlotRule<I>>;

/// What a rule selects.
fn selectors(rule: &Rule) -> Vec<Selector<'_>> {
    if !rule.records.is_empty() {
        rule.records.iter().map(Selector::Record).collect()
    } else if !rule.types.is_empty() {
        rule.types.iter().map(Selector::Type).collect()
    } else {
        vec![Selector::Every]
    }
}

/// The slots of a rule.
async fn slot_keys(
    ledger: &Ledger<'_>,
    scope: &Scope,
    rule: &Rule,
) -> Result<Vec<String>, Failure> {
    let mut roots = BTreeSet::new();
    if rule.decision == Decision::Deny {
        roots.extend(ledger.roots(&rule.records).await?);
    }
    let keys = selectors(rule)
        .into_iter()
        .chain(roots.iter().map(Selector::Chain))
        .map(|selector| ledger.blinding.slot(scope, &rule.grantee, &selector));
    Ok(keys.collect::<Result<_, _>>()?)
}

/// The slot without rules that ended long enough before `now`.
fn kept<I>(slot: Slot<I>, now: UtcTime) -> Slot<I> {
    let ended = |until: UtcTime| now.unix_seconds() >= until.unix_seconds() + ENDED_KEPT_SECONDS;
    slot.into_iter()
        .filter(|rule| !rule.until.is_some_and(ended))
        .collect()
}

/// Lists a rule in its slots.
pub(super) async fn add<I: Clone + PartialEq + Serialize + DeserializeOwned>(
    ledger: &Ledger<'_>,
    scope: &Scope,
    rule: &Rule,
    listed: SlotRule<I>,
    now: UtcTime,
    salt: &Salt,
) -> Result<(), Failure> {
    let keys = slot_keys(ledger, scope, rule).await?;
    let slots: Vec<Option<Slot<I>>> = ledger.get_many_salted(&keys, "a slot").await?;
    for (key, slot) in keys.iter().zip(slots) {
        let mut slot = kept(slot.unwrap_or_default(), now);
        if slot.len() >= RULES_PER_SLOT_MAX {
            return Err(Failure::new(
                ErrorCode::TooManyRules,
                "too many rules stand for this grantee and these data: end one first",
            ));
        }
        slot.push(listed.clone());
        ledger.put_salted(key, &slot, salt).await?;
    }
    Ok(())
}

/// Takes a rule out of its slots.
pub(super) async fn remove<I: PartialEq + Serialize + DeserializeOwned>(
    ledger: &Ledger<'_>,
    scope: &Scope,
    rule: &Rule,
    id: &I,
    now: UtcTime,
    salt: &Salt,
) -> Result<(), Failure> {
    let keys = slot_keys(ledger, scope, rule).await?;
    let slots: Vec<Option<Slot<I>>> = ledger.get_many_salted(&keys, "a slot").await?;
    for (key, slot) in keys.iter().zip(slots) {
        let mut slot = kept(slot.unwrap_or_default(), now);
        slot.retain(|rule| rule.id != *id);
        ledger.put_salted(key, &slot, salt).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use contract_interface::access::Grantee;
    use contract_interface::{GrantId, Purpose, RecordId};

    use super::*;

    #[test]
    fn records_select_before_types_and_types_before_everything() {
        let mut rule = Rule::permit(Grantee::Anyone, vec![Purpose::Treat]);
        assert_eq!(selectors(&rule), [Selector::Every]);
        rule.types = vec!["a".parse().unwrap(), "b".parse().unwrap()];
        let types = rule.types.clone();
        assert_eq!(
            selectors(&rule),
            [Selector::Type(&types[0]), Selector::Type(&types[1])]
        );
        let record = RecordId::from_bytes([1; 16]);
        rule.records = vec![record];
        assert_eq!(selectors(&rule), [Selector::Record(&record)]);
    }

    #[test]
    fn a_rule_leaves_its_slot_when_no_transaction_can_reach_back_to_it() {
        let time = |seconds: i64| UtcTime::from_unix_seconds(1_767_225_600 + seconds).unwrap();
        let rule = |byte, until| SlotRule {
            id: GrantId::from_bytes([byte; 16]),
            until,
        };
        let slot = vec![
            rule(1, None),
            rule(2, Some(time(0))),
            rule(3, Some(time(1))),
        ];
        assert_eq!(kept(slot.clone(), time(599)).len(), 3);
        let left = kept(slot, time(600));
        assert_eq!(left, [rule(1, None), rule(3, Some(time(1)))]);
    }
}
