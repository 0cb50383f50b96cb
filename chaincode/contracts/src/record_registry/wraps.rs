//! Changes to wrapped data keys: who gets one, and who loses it.
//!
//! What may come is a question of the ledger alone: keys that are registered now, grants that
//! stand now. What may go is exactly what could not come. So the wraps of a record can be brought
//! to what they should be, and nowhere else, by whichever oracle of the registrar is at hand.
//! Whether a wrap opens, and to which key, only its holder can tell.
//!
//! A wrap does not say for which record it is, and every member of the collection sees all of them.
//! A patient who put a copy of another record's wrap into an own record would have the oracle open
//! that one's key for whoever may read this one. So by a patient's word no wrap for an oracle comes,
//! and a gated wrap serves the record for which it came first.
//!
//! A record whose data key no oracle holds has its patient for a custodian. Its wraps change by
//! the patient's word, except that what is dead may be removed and what is closed by a replaced
//! gate may be closed anew: these give nobody anything.

use std::collections::BTreeMap;

use contract_interface::access::Power;
use contract_interface::limits::WRAPS_MAX;
use contract_interface::names::{collections, transient};
use contract_interface::record::{WrapChange, WrapChanges, WrapsChanged};
use contract_interface::{
    ChangeWraps, Decision, ErrorCode, GrantEntry, GrantId, GrantStatus, Grantee, KeyWrap,
    Participant, Pseudonym, RecordId, RecordPrivate, RecordWraps, Role, UtcTime,
};
use fabric_shim::Stub;

use crate::access_control::{key_holders, reads::record_not_found};
use crate::actor::Creator;
use crate::failure::Failure;
use crate::input;
use crate::ledger::Ledger;
use crate::signed::Signed;

/// Changes the wraps of records that the creator's organisation registered.
pub(super) async fn change(stub: &Stub) -> Result<WrapsChanged, Failure> {
    let ledger = Ledger::open(stub).await?;
    let creator = Creator::of(stub)?;
    creator.require(&ledger, &[Role::Oracle]).await?;
    let changes: WrapChanges = input::json_transient(stub, transient::WRAP_CHANGES)?;
    check_sizes(&changes)?;
    let word = Word::take(&ledger, &changes).await?;
    let mut register = Register {
        ledger: &ledger,
        tx_time: input::transaction_time(stub)?,
        holders: BTreeMap::new(),
        claimed: BTreeMap::new(),
    };
    let ids: Vec<RecordId> = changes.changes.iter().map(|c| c.record_id).collect();
    let records = ledger.records_private(&ids).await?;
    let mut result = WrapsChanged {
        changed: 0,
        unchanged: 0,
    };
    for (change, record) in changes.changes.iter().zip(records) {
        let record = record.ok_or_else(record_not_found)?;
        if record.registrar != creator.msp_id {
            return Err(Failure::forbidden(
                "only the registrar changes a record's wraps",
            ));
        }
        let old = ledger
            .wraps(&record.record_id)
            .await?
            .ok_or_else(record_not_found)?;
        let held_by_oracle = register.held_by_oracle(&record, &old).await?;
        word.check(&record, held_by_oracle || is_upkeep(&old, change))?;
        word.check_plain(&mut register, &record, change).await?;
        let new = register.changed(&record, &old, change).await?;
        register.claim(&old, change).await?;
        if new == old {
            result.unchanged += 1;
        } else {
            let key = ledger.blinding.wraps(&record.record_id)?;
            ledger.put(collections::KEYS, &key, &new).await?;
            result.changed += 1;
        }
    }
    Ok(result)
}

fn check_sizes(changes: &WrapChanges) -> Result<(), Failure> {
    changes.validate()?;
    let fits =
        |change: &WrapChange| change.remove.len() <= WRAPS_MAX && change.add.len() <= WRAPS_MAX;
    if changes.changes.iter().all(fits) {
        Ok(())
    } else {
        Err(Failure::limit(format!(
            "more than {WRAPS_MAX} wraps of one record come or go"
        )))
    }
}

/// The word of a patient, if the transaction carries one.
struct Word(Option<Pseudonym>);

impl Word {
    /// Takes the signed request, which must be for these changes. All of them are then of one
    /// patient, for whom the signer may grant.
    async fn take(ledger: &Ledger<'_>, changes: &WrapChanges) -> Result<Self, Failure> {
        if input::optional_transient(ledger.stub, transient::REQUEST)?.is_none() {
            return Ok(Self(None));
        }
        let signed = Signed::<ChangeWraps>::take(ledger).await?;
        if signed.body.changes != *changes {
            return Err(Failure::argument("the signed changes are not these"));
        }
        let first = changes.changes.first().map(|change| change.record_id);
        let record = match first {
            Some(id) => ledger.record_private(&id).await?,
            None => None,
        };
        let patient = record.ok_or_else(record_not_found)?.patient;
        let acts = signed
            .acting_for(ledger, Some(patient), Power::Grant)
            .await?;
        Ok(Self(Some(acts.patient)))
    }

    fn check(&self, record: &RecordPrivate, may_be_absent: bool) -> Result<(), Failure> {
        match self.0 {
            Some(patient) if patient == record.patient => Ok(()),
            Some(_) => Err(Failure::argument("the records are of several patients")),
            None if may_be_absent => Ok(()),
            None => Err(Failure::forbidden(
                "only the patient holds the record's key, and must sign the changes",
            )),
        }
    }

    /// A patient's word brings plain wraps for the patient only: what an oracle of the registrar
    /// is to open, the registrar makes itself.
    async fn check_plain(
        &self,
        register: &mut Register<'_>,
        record: &RecordPrivate,
        change: &WrapChange,
    ) -> Result<(), Failure> {
        if self.0.is_none() {
            return Ok(());
        }
        for wrap in change.add.iter().filter(|wrap| is_plain(wrap)) {
            let holders = register.holders(&wrap.kid).await?;
            if holders.iter().any(|holder| is_oracle_of(holder, record)) {
                return Err(Failure::forbidden(
                    "a patient's word brings no wrap for an oracle",
                ));
            }
        }
        Ok(())
    }
}

const fn is_plain(wrap: &KeyWrap) -> bool {
    wrap.gate.is_none()
}

/// Whether a change removes gated wraps and closes others anew, and does nothing else.
fn is_upkeep(old: &RecordWraps, change: &WrapChange) -> bool {
    let removes_gated = change
        .remove
        .iter()
        .all(|kid| old.for_kid(kid).is_none_or(|wrap| !is_plain(wrap)));
    let closes_anew = change.add.iter().all(|new| {
        !is_plain(new)
            && old
                .for_kid(&new.kid)
                .is_some_and(|old| !is_plain(old) && old.grant_id == new.grant_id)
    });
    removes_gated && closes_anew
}

/// What the ledger says of holders of keys.
struct Register<'a> {
    ledger: &'a Ledger<'a>,
    tx_time: UtcTime,
    /// Who holds or held a key, by its thumbprint, each read once.
    holders: BTreeMap<String, Vec<Participant>>,
    /// Gated wraps of this transaction, by their keys on the ledger: it does not see its own
    /// writes.
    claimed: BTreeMap<String, RecordId>,
}

impl Register<'_> {
    /// Notes of each gated wrap that comes for which record it does, and refuses one that came for
    /// another. The note outlives the wrap, which everyone may have kept.
    async fn claim(&mut self, old: &RecordWraps, change: &WrapChange) -> Result<(), Failure> {
        let is_new = |wrap: &&KeyWrap| !is_plain(wrap) && old.for_kid(&wrap.kid) != Some(*wrap);
        let blinding = &self.ledger.blinding;
        let keys = change.add.iter().filter(is_new);
        let keys = keys
            .map(|wrap| blinding.gated_wrap(&wrap.jwe))
            .collect::<Result<Vec<_>, _>>()?;
        let noted: Vec<Option<RecordId>> =
            self.ledger.get_many_salted(&keys, "a gated wrap").await?;
        for (key, noted) in keys.into_iter().zip(noted) {
            match noted.or_else(|| self.claimed.get(&key).copied()) {
                Some(id) if id == change.record_id => {}
                Some(_) => {
                    return Err(Failure::forbidden(
                        "a wrap has been made for another record",
                    ));
                }
                None => {
                    let salt = input::salt(self.ledger.stub)?;
                    let id = change.record_id;
                    self.ledger.put_salted(&key, &id, &salt).await?;
                    self.claimed.insert(key, id);
                }
            }
        }
        Ok(())
    }

    async fn holders(&mut self, kid: &str) -> Result<&[Participant], Failure> {
        if !self.holders.contains_key(kid) {
            let found = key_holders::of(self.ledger, kid).await?;
            self.holders.insert(kid.to_owned(), found);
        }
        Ok(self.holders.get(kid).map_or(&[], Vec::as_slice))
    }

    /// Whether an oracle of the registrar can open the record, be it with a key that was replaced.
    async fn held_by_oracle(
        &mut self,
        record: &RecordPrivate,
        wraps: &RecordWraps,
    ) -> Result<bool, Failure> {
        for wrap in wraps.wraps.iter().filter(|wrap| is_plain(wrap)) {
            let holders = self.holders(&wrap.kid).await?;
            if holders.iter().any(|holder| is_oracle_of(holder, record)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The record's wraps after the change.
    async fn changed(
        &mut self,
        record: &RecordPrivate,
        old: &RecordWraps,
        change: &WrapChange,
    ) -> Result<RecordWraps, Failure> {
        let id = record.record_id;
        let mut new = old.clone();
        for kid in &change.remove {
            let Some(wrap) = new.for_kid(kid).cloned() else {
                continue;
            };
            if self.admits(record, &wrap).await? {
                return Err(conflict(&id, "has a wrap that is to stay"));
            }
            new.wraps.retain(|kept| kept.kid != *kid);
        }
        for wrap in &change.add {
            if !self.admits(record, wrap).await? {
                return Err(Failure::new(
                    ErrorCode::Forbidden,
                    format!("no key and no grant allows a wrap of record {id}"),
                ));
            }
            match new.wraps.iter_mut().find(|kept| kept.kid == wrap.kid) {
                Some(kept) if is_plain(kept) != is_plain(wrap) => {
                    return Err(conflict(&id, "has a wrap of another kind for this key"));
                }
                Some(kept) => kept.clone_from(wrap),
                None => new.wraps.push(wrap.clone()),
            }
        }
        new.validate()?;
        self.check_not_lost(record, old, &new).await?;
        Ok(new)
    }

    /// A plain wrap goes only if another one stays whose holder has the key now: a record that
    /// nobody opens alone would be lost.
    async fn check_not_lost(
        &mut self,
        record: &RecordPrivate,
        old: &RecordWraps,
        new: &RecordWraps,
    ) -> Result<(), Failure> {
        let lost = |wrap: &KeyWrap| is_plain(wrap) && new.for_kid(&wrap.kid).is_none();
        if !old.wraps.iter().any(lost) {
            return Ok(());
        }
        for wrap in new.wraps.iter().filter(|wrap| is_plain(wrap)) {
            if self.admits(record, wrap).await? {
                return Ok(());
            }
        }
        Err(conflict(&record.record_id, "would be lost"))
    }

    /// Whether the wrap may be there now.
    async fn admits(&mut self, record: &RecordPrivate, wrap: &KeyWrap) -> Result<bool, Failure> {
        match (&wrap.gate, &wrap.grant_id) {
            (None, None) => {
                let is_own = |holder: &Participant| {
                    holder.role == Role::Patient && record.patient == holder.participant_id.into()
                };
                let holders = self.current(&wrap.kid).await?;
                Ok(holders
                    .iter()
                    .any(|holder| is_own(holder) || is_oracle_of(holder, record)))
            }
            (None, Some(_)) => Ok(false),
            (Some(gate), grant_id) => {
                let gates = self.current(gate).await?;
                if !gates.iter().any(|holder| is_oracle_of(holder, record)) {
                    return Ok(false);
                }
                match grant_id {
                    Some(grant_id) => self.granted(record, &wrap.kid, grant_id).await,
                    None => self.guards(record, &wrap.kid).await,
                }
            }
        }
    }

    /// Who has the key now.
    async fn current(&mut self, kid: &str) -> Result<Vec<Participant>, Failure> {
        let holders = self.holders(kid).await?;
        Ok(holders
            .iter()
            .filter(|holder| key_holders::is_current(holder, kid))
            .cloned()
            .collect())
    }

    /// Whether the grant stands, names the key's holder, and covers the record.
    async fn granted(
        &mut self,
        record: &RecordPrivate,
        kid: &str,
        grant_id: &GrantId,
    ) -> Result<bool, Failure> {
        let Some(mut entry) = self.ledger.grant(&record.patient, grant_id).await? else {
            return Ok(false);
        };
        self.ledger.end_with_delegations([&mut entry]).await?;
        let stands = entry.status == GrantStatus::Active && self.tx_time < entry.grant.valid_until;
        if !stands || entry.grant.rule.decision != Decision::Permit {
            return Ok(false);
        }
        let Grantee::Participant(id) = &entry.grant.rule.grantee else {
            return Ok(false);
        };
        let holders = self.current(kid).await?;
        Ok(holders
            .iter()
            .any(|holder| holder.participant_id == *id && covers(&entry, holder, record)))
    }

    /// Whether the key's holder is a guardian who may read.
    async fn guards(&mut self, record: &RecordPrivate, kid: &str) -> Result<bool, Failure> {
        let times = [self.tx_time];
        for holder in self.current(kid).await? {
            let id = holder.participant_id;
            let delegation = self.ledger.delegation(&record.patient, &id).await?;
            if delegation.is_some_and(|entry| entry.gives(Power::Read, &times)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Whether the grant permits its grantee this record, for any of its purposes.
fn covers(entry: &GrantEntry, holder: &Participant, record: &RecordPrivate) -> bool {
    let rule = &entry.grant.rule;
    let project = rule.project.as_ref();
    let mut purposes = rule.purposes.iter();
    purposes.any(|purpose| rule.misses(holder, record, *purpose, project).is_none())
}

fn is_oracle_of(holder: &Participant, record: &RecordPrivate) -> bool {
    holder.role == Role::Oracle && holder.msp_id == record.registrar
}

fn conflict(id: &RecordId, what: &'static str) -> Failure {
    Failure::new(ErrorCode::StateConflict, format!("record {id} {what}"))
}
