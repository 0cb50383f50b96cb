//! Everything that has a say on a read, gathered by key.
//!
//! One decision asks for the slots of the record's patient and registrar, of every grantee that may
//! include the reader, of the record, its first version, its type and everything: 32 keys in one
//! message. Then for the rules in them, then for the counters of those that limit their reads. The patient's delegation
//! to the reader and the reader's emergency are found by key. Listing gathers for many records at
//! once and asks for nothing twice.

use std::collections::{BTreeMap, BTreeSet};

use contract_interface::access::{
    Basis, CountedGrant, DelegationEntry, EmergencyEntry, Question, VersionDenials,
};
use contract_interface::{
    Decision, GrantEntry, GrantId, Grantee, MspId, Participant, PolicyEntry, PolicyId, ProjectCode,
    Pseudonym, Purpose, RecordId, RecordPrivate, Role, UtcTime,
};
use serde::de::DeserializeOwned;

use super::slots::Slot;
use crate::failure::Failure;
use crate::keys::{Scope, Selector};
use crate::ledger::Ledger;

/// What stands between a patient and a reader personally.
#[derive(Debug, Default)]
struct Ties {
    delegation: Option<DelegationEntry>,
    emergency: Option<EmergencyEntry>,
}

/// The rules that may concern one reader, for the records that were asked about.
#[derive(Debug)]
pub(crate) struct RuleBook<'a> {
    ledger: &'a Ledger<'a>,
    reader: Participant,
    /// The first version of each record.
    roots: BTreeMap<RecordId, RecordId>,
    /// IDs of grants, by slot key.
    grant_slots: BTreeMap<String, Vec<GrantId>>,
    /// IDs of policies, by slot key.
    policy_slots: BTreeMap<String, Vec<PolicyId>>,
    grants: BTreeMap<(Pseudonym, GrantId), CountedGrant>,
    policies: BTreeMap<(MspId, PolicyId), PolicyEntry>,
    ties: BTreeMap<Pseudonym, Ties>,
}

impl<'a> RuleBook<'a> {
    /// Nothing gathered yet.
    pub(crate) fn new(ledger: &'a Ledger<'a>, reader: &Participant) -> Self {
        Self {
            ledger,
            reader: reader.clone(),
            roots: BTreeMap::new(),
            grant_slots: BTreeMap::new(),
            policy_slots: BTreeMap::new(),
            grants: BTreeMap::new(),
            policies: BTreeMap::new(),
            ties: BTreeMap::new(),
        }
    }

    /// Gathers what may have a say on these records.
    pub(crate) async fn gather(&mut self, records: &[RecordPrivate]) -> Result<(), Failure> {
        self.read_roots(records).await?;
        let mut wanted_grants = BTreeSet::new();
        let mut wanted_policies = BTreeSet::new();
        let mut grant_keys = BTreeMap::new();
        let mut policy_keys = BTreeMap::new();
        for record in records {
            for key in self.slot_keys(&Scope::Patient(record.patient), record)? {
                grant_keys.insert(key, record.patient);
            }
            let registrar = Scope::Organization(record.registrar.clone());
            for key in self.slot_keys(&registrar, record)? {
                policy_keys.insert(key, record.registrar.clone());
            }
        }
        read_slots(self.ledger, &mut self.grant_slots, grant_keys.keys()).await?;
        read_slots(self.ledger, &mut self.policy_slots, policy_keys.keys()).await?;
        for (key, patient) in &grant_keys {
            let ids = self.grant_slots.get(key).into_iter().flatten();
            wanted_grants.extend(ids.map(|id| (*patient, *id)));
        }
        for (key, msp_id) in &policy_keys {
            let ids = self.policy_slots.get(key).into_iter().flatten();
            wanted_policies.extend(ids.map(|id| (msp_id.clone(), *id)));
        }
        self.read_grants(wanted_grants).await?;
        self.read_policies(wanted_policies).await?;
        for record in records {
            self.read_ties(&record.patient).await?;
        }
        Ok(())
    }

    /// The slots that may hold rules on a record for the reader. They are as many for every
    /// reader, so that their number does not tell in the block what the reader is.
    fn slot_keys(&self, scope: &Scope, record: &RecordPrivate) -> Result<Vec<String>, Failure> {
        let mut keys = self.version_slot_keys(scope, record)?;
        let selectors = [
            Selector::Record(&record.record_id),
            Selector::Type(&record.record_type),
            Selector::Every,
        ];
        for grantee in grantees(&self.reader) {
            for selector in &selectors {
                keys.push(self.ledger.blinding.slot(scope, &grantee, selector)?);
            }
        }
        Ok(keys)
    }

    /// Those of them that may hold denials which name another version of the record.
    fn version_slot_keys(
        &self,
        scope: &Scope,
        record: &RecordPrivate,
    ) -> Result<Vec<String>, Failure> {
        let id = &record.record_id;
        let selector = Selector::Chain(self.roots.get(id).unwrap_or(id));
        let blinding = &self.ledger.blinding;
        let keys = grantees(&self.reader)
            .into_iter()
            .map(|grantee| blinding.slot(scope, &grantee, &selector));
        Ok(keys.collect::<Result<_, _>>()?)
    }

    async fn read_roots(&mut self, records: &[RecordPrivate]) -> Result<(), Failure> {
        let missing: BTreeSet<RecordId> = records
            .iter()
            .map(|record| record.record_id)
            .filter(|id| !self.roots.contains_key(id))
            .collect();
        let missing: Vec<RecordId> = missing.into_iter().collect();
        let roots = self.ledger.roots(&missing).await?;
        self.roots.extend(missing.into_iter().zip(roots));
        Ok(())
    }

    async fn read_grants(&mut self, wanted: BTreeSet<(Pseudonym, GrantId)>) -> Result<(), Failure> {
        let missing: Vec<_> = wanted
            .into_iter()
            .filter(|id| !self.grants.contains_key(id))
            .collect();
        let mut found: Vec<((Pseudonym, GrantId), GrantEntry)> = Vec::new();
        for (id, entry) in missing.iter().zip(self.ledger.grants(&missing).await?) {
            found.push((*id, entry.ok_or_else(|| Failure::corrupt("a grant"))?));
        }
        let entries = found.iter_mut().map(|(_, entry)| entry);
        self.ledger.end_with_delegations(entries).await?;
        let limited: Vec<_> = found
            .iter()
            .filter(|(_, entry)| entry.grant.max_reads.is_some())
            .map(|(id, _)| *id)
            .collect();
        let uses = self.ledger.grant_uses(&limited).await?;
        let uses: BTreeMap<_, _> = limited.into_iter().zip(uses).collect();
        for (id, entry) in found {
            let used = uses.get(&id).copied().unwrap_or_default();
            self.grants.insert(id, CountedGrant { entry, used });
        }
        Ok(())
    }

    async fn read_policies(&mut self, wanted: BTreeSet<(MspId, PolicyId)>) -> Result<(), Failure> {
        let missing: Vec<_> = wanted
            .into_iter()
            .filter(|id| !self.policies.contains_key(id))
            .collect();
        let found = self.ledger.policies(&missing).await?;
        for (id, entry) in missing.into_iter().zip(found) {
            let entry = entry.ok_or_else(|| Failure::corrupt("a policy"))?;
            self.policies.insert(id, entry);
        }
        Ok(())
    }

    async fn read_ties(&mut self, patient: &Pseudonym) -> Result<(), Failure> {
        if !self.ties.contains_key(patient) {
            let reader = &self.reader.participant_id;
            let ties = Ties {
                delegation: self.ledger.delegation(patient, reader).await?,
                emergency: self.ledger.emergency(patient, reader).await?,
            };
            self.ties.insert(*patient, ties);
        }
        Ok(())
    }

    /// Rules that were found by another version of the record. Only denials lie in these slots.
    fn version_denials(&self, record: &RecordPrivate) -> Result<VersionDenials, Failure> {
        let mut denials = VersionDenials::default();
        for key in self.version_slot_keys(&Scope::Patient(record.patient), record)? {
            denials
                .grants
                .extend(self.grant_slots.get(&key).into_iter().flatten());
        }
        let registrar = Scope::Organization(record.registrar.clone());
        for key in self.version_slot_keys(&registrar, record)? {
            denials
                .policies
                .extend(self.policy_slots.get(&key).into_iter().flatten());
        }
        Ok(denials)
    }

    /// Everything that has a say on a record that was gathered for, in the order of IDs.
    pub(crate) fn basis(&self, record: &RecordPrivate) -> Result<Basis, Failure> {
        let mut grants = BTreeMap::new();
        for key in self.slot_keys(&Scope::Patient(record.patient), record)? {
            for id in self.grant_slots.get(&key).into_iter().flatten() {
                if let Some(grant) = self.grants.get(&(record.patient, *id)) {
                    grants.insert(*id, grant.clone());
                }
            }
        }
        let mut policies = BTreeMap::new();
        let registrar = Scope::Organization(record.registrar.clone());
        for key in self.slot_keys(&registrar, record)? {
            for id in self.policy_slots.get(&key).into_iter().flatten() {
                if let Some(policy) = self.policies.get(&(record.registrar.clone(), *id)) {
                    policies.insert(*id, policy.clone());
                }
            }
        }
        let ties = self.ties.get(&record.patient);
        Ok(Basis {
            policies: policies.into_values().collect(),
            grants: grants.into_values().collect(),
            version_denials: self.version_denials(record)?,
            delegation: ties.and_then(|ties| ties.delegation.clone()),
            emergency: ties.and_then(|ties| ties.emergency.clone()),
        })
    }

    /// Whether the reader may know of a record that was gathered for: some purpose and project
    /// would permit a read at `now`, or an emergency that it declared lasts.
    pub(crate) fn shows(&self, record: &RecordPrivate, now: UtcTime) -> Result<bool, Failure> {
        let basis = self.basis(record)?;
        let times = [now];
        Ok(ways(&basis).into_iter().any(|(purpose, project)| {
            let question = Question {
                reader: &self.reader,
                record,
                purpose,
                project: project.as_ref(),
                times: &times,
            };
            basis.decide(&question).reason.decision() == Decision::Permit
        }))
    }
}

/// Every purpose and project under which something in `basis` might permit.
fn ways(basis: &Basis) -> BTreeSet<(Purpose, Option<ProjectCode>)> {
    let policies = basis.policies.iter().map(|entry| &entry.policy.rule);
    let grants = basis.grants.iter().map(|counted| &counted.entry.grant.rule);
    policies
        .chain(grants)
        .filter(|rule| rule.decision == Decision::Permit)
        .flat_map(|rule| {
            let project = rule.project.clone();
            rule.purposes
                .iter()
                .map(move |purpose| (*purpose, project.clone()))
        })
        .chain([(Purpose::Patrqt, None), (Purpose::Btg, None)])
        .collect()
}

/// Every grantee that might include someone of the reader's organisation and role.
fn grantees(reader: &Participant) -> [Grantee; 4] {
    [
        Grantee::Participant(reader.participant_id),
        Grantee::Organization(reader.msp_id.clone()),
        Grantee::Role {
            msp_id: reader.msp_id.clone(),
            role: Role::Provider,
        },
        Grantee::Anyone,
    ]
}

async fn read_slots<'k, I: Clone + DeserializeOwned>(
    ledger: &Ledger<'_>,
    slots: &mut BTreeMap<String, Vec<I>>,
    keys: impl Iterator<Item = &'k String>,
) -> Result<(), Failure>
where
    super::slots::SlotRule<I>: DeserializeOwned,
{
    let missing: Vec<String> = keys
        .filter(|key| !slots.contains_key(*key))
        .cloned()
        .collect();
    let found: Vec<Option<Slot<I>>> = ledger.get_many_salted(&missing, "a slot").await?;
    for (key, slot) in missing.into_iter().zip(found) {
        let ids = slot.unwrap_or_default().into_iter().map(|rule| rule.id);
        slots.insert(key, ids.collect());
    }
    Ok(())
}
