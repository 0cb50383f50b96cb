//! What the wraps of one record should be, and the way there. Pure but for [`Plan::make`], which
//! opens and closes wraps.

use contract_interface::access::Grant;
use contract_interface::limits::WRAPS_MAX;
use contract_interface::record::WrapChange;
use contract_interface::{
    Digest, GrantId, KeyWrap, Participant, RecordId, RecordPrivate, RecordWraps,
};
use sealed_object::{DataKey, PublicKey};

use crate::keys::{OracleKeys, RewrapError};

/// A person for whom a gated wrap may stand.
#[derive(Debug, Clone)]
pub(super) struct Holder {
    pub(super) reader: Participant,
    pub(super) key: PublicKey,
    /// The grant for whose sake; none for a guardian.
    pub(super) grant: Option<Grant>,
}

impl Holder {
    fn grant_id(&self) -> Option<GrantId> {
        self.grant.as_ref().map(|grant| grant.grant_id)
    }

    /// Whether the grant covers the record for any of its purposes; a guardian reads all.
    fn covers(&self, record: &RecordPrivate) -> bool {
        let Some(grant) = &self.grant else {
            return true;
        };
        let rule = &grant.rule;
        rule.purposes.iter().any(|purpose| {
            rule.misses(&self.reader, record, *purpose, rule.project.as_ref())
                .is_none()
        })
    }
}

/// Who is to hold keys of a patient's records.
#[derive(Debug, Clone, Default)]
pub(super) struct Wants {
    /// The patient, who opens wraps alone; none without a usable key.
    pub(super) patient: Option<PublicKey>,
    /// The organisation's oracles: each may be a gate, and opens wraps of the records that are in
    /// custody of the organisation.
    pub(super) oracles: Vec<PublicKey>,
    /// Those who read through the gate.
    pub(super) holders: Vec<Holder>,
}

impl Wants {
    /// Those who may open wraps alone, the patient first.
    fn plain(&self) -> impl Iterator<Item = &PublicKey> {
        self.patient.iter().chain(&self.oracles)
    }

    fn is_plain(&self, kid: &str) -> bool {
        self.plain().any(|key| key.thumbprint() == kid)
    }

    /// Stands for everything that decides what the wraps of the patient's records should be.
    pub(super) fn digest(&self, keys: &OracleKeys) -> Digest {
        let mut text = String::from(keys.current_kid());
        for key in self.plain() {
            text.push('\n');
            text.push_str(key.thumbprint());
        }
        for holder in &self.holders {
            let grant = holder.grant_id().map(|id| id.to_string());
            let line = [
                "\n",
                &holder.reader.participant_id.to_string(),
                " ",
                holder.key.thumbprint(),
                " ",
                grant.as_deref().unwrap_or("guardian"),
            ];
            text.push_str(&line.concat());
        }
        Digest::of(text.as_bytes())
    }
}

/// The way from the wraps that there are to those that there should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    record_id: RecordId,
    /// Key IDs whose wraps go.
    remove: Vec<String>,
    /// Positions in [`Wants::plain`] for which a wrap is made.
    plain: Vec<usize>,
    /// Positions in [`Wants::holders`] for which a wrap is made.
    gated: Vec<usize>,
}

impl Plan {
    pub(super) fn of(
        record: &RecordPrivate,
        wraps: &RecordWraps,
        wants: &Wants,
        keys: &OracleKeys,
    ) -> Self {
        let mut plan = Self {
            record_id: record.record_id,
            remove: Vec::new(),
            plain: Vec::new(),
            gated: Vec::new(),
        };
        let wanted = wanted_holders(record, wants);
        // A record is in custody of the organisation if its oracle opens a wrap of it, whatever
        // the configuration says of records to come. Without the data key nothing is made, and
        // what is plain is the patient's affair.
        let can_open = keys.own(&wraps.wraps).is_some();
        for wrap in &wraps.wraps {
            let goes = match wrap.gate {
                None => can_open && !wants.is_plain(&wrap.kid),
                Some(_) => !wanted.iter().any(|at| serves(wrap, &wants.holders[*at])),
            };
            if goes {
                plan.remove.push(wrap.kid.clone());
            }
        }
        if !can_open {
            return plan;
        }
        let missing = |key: &PublicKey| {
            !wraps
                .wraps
                .iter()
                .any(|wrap| wrap.gate.is_none() && wrap.kid == key.thumbprint())
        };
        plan.plain = (0..)
            .zip(wants.plain())
            .filter(|(_, key)| missing(key))
            .map(|(at, _)| at)
            .collect();
        let is_oracle = |kid: &String| wants.oracles.iter().any(|key| key.thumbprint() == kid);
        let current = |wrap: &KeyWrap| wrap.gate.as_ref().is_some_and(is_oracle);
        let stands = |holder: &Holder| {
            wraps
                .wraps
                .iter()
                .any(|wrap| serves(wrap, holder) && current(wrap))
        };
        plan.gated = wanted
            .into_iter()
            .filter(|at| !stands(&wants.holders[*at]))
            .collect();
        plan.within_limit(wraps, wants);
        plan
    }

    /// A record has room for so many wraps; gated ones beyond are made when there is a read.
    fn within_limit(&mut self, wraps: &RecordWraps, wants: &Wants) {
        let kid_of = |at: &usize| wants.holders[*at].key.thumbprint();
        let replaced = self
            .gated
            .iter()
            .filter(|at| wraps.for_kid(kid_of(at)).is_some())
            .count();
        let kept = wraps
            .wraps
            .iter()
            .filter(|wrap| !self.remove.contains(&wrap.kid))
            .count();
        let room = WRAPS_MAX.saturating_sub(kept + self.plain.len()) + replaced;
        self.gated.truncate(room);
        // What comes takes the place of what was there.
        let comes = |kid: &String| self.gated.iter().any(|at| kid_of(at) == kid);
        let remove = std::mem::take(&mut self.remove);
        self.remove = remove.into_iter().filter(|kid| !comes(kid)).collect();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.plain.is_empty() && self.gated.is_empty()
    }

    /// Makes the wraps. The data key is forgotten when this returns. Slow: for a blocking thread.
    pub(super) fn make(
        &self,
        wraps: &RecordWraps,
        wants: &Wants,
        keys: &OracleKeys,
    ) -> Result<WrapChange, RewrapError> {
        let mut add = Vec::with_capacity(self.plain.len() + self.gated.len());
        if !(self.plain.is_empty() && self.gated.is_empty()) {
            let own = keys.own(&wraps.wraps).ok_or(RewrapError::NotHere)?;
            let data_key: DataKey = keys.unwrap(own)?;
            for at in &self.plain {
                let key = wants.plain().nth(*at).ok_or(RewrapError::NotHere)?;
                let jwe = key.wrap(&data_key)?;
                add.push(KeyWrap::plain(key.thumbprint().to_owned(), jwe));
            }
            for at in &self.gated {
                let holder = &wants.holders[*at];
                let inner = holder.key.wrap(&data_key)?;
                add.push(KeyWrap {
                    kid: holder.key.thumbprint().to_owned(),
                    jwe: keys.gate(&inner)?,
                    gate: Some(keys.current_kid().to_owned()),
                    grant_id: holder.grant_id(),
                });
            }
        }
        Ok(WrapChange {
            record_id: self.record_id,
            remove: self.remove.clone(),
            add,
        })
    }
}

/// Whether the wrap is there for the holder, and for the sake of what the holder has now.
fn serves(wrap: &KeyWrap, holder: &Holder) -> bool {
    wrap.kid == holder.key.thumbprint() && wrap.grant_id == holder.grant_id()
}

/// The holders to whom the record is open, one for each key: the first grant of several, or the
/// one that a wrap is there for already would do as well, so the order of the ledger decides.
fn wanted_holders(record: &RecordPrivate, wants: &Wants) -> Vec<usize> {
    let mut wanted: Vec<usize> = Vec::new();
    for (at, holder) in wants.holders.iter().enumerate() {
        let kid = holder.key.thumbprint();
        let known = wanted
            .iter()
            .any(|at| wants.holders[*at].key.thumbprint() == kid)
            || wants.is_plain(kid);
        if !known && holder.covers(record) {
            wanted.push(at);
        }
    }
    wanted
}

#[cfg(test)]
mod tests;
