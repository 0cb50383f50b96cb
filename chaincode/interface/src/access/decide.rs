//! The decision on a read, as a pure function of everything that has a say.
//!
//! Levels are asked in this order, and the first that has an answer gives it:
//!
//! 1. the reader's own standing: active, and of a role that reads;
//! 2. the patient's own records, and a guardian with the power to read, for PATRQT;
//! 3. an emergency (BTG): declared by the reader, still lasting, unless a rule names BTG to forbid
//!    it;
//! 4. policies of the organisation that registered the record: a denial first, then a permit;
//! 5. the patient's grants: a denial first, then a permit with reads left;
//! 6. nothing permits, so it is denied, with the reason of the permit that came nearest.
//!
//! Of several rules of one level and decision, the one with the least ID is named, so that every
//! endorser names the same.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{
    Decision, DelegationEntry, EmergencyEntry, GrantEntry, GrantStatus, PolicyEntry, Power,
    Purpose, ReasonCode, Rule,
};
use crate::directory::{Participant, Role, Status};
use crate::ids::{DelegationId, EmergencyId, GrantId, MspId, PolicyId, ProjectCode};
use crate::record::RecordPrivate;
use crate::time::UtcTime;

/// The rule that decided, with its version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "level", deny_unknown_fields)]
pub enum RuleRef {
    /// A patient's grant.
    Grant {
        /// Which.
        grant_id: GrantId,
        /// Its version.
        version: u32,
    },
    /// An organisation's policy.
    Policy {
        /// Which.
        policy_id: PolicyId,
        /// Whose.
        msp_id: MspId,
        /// Its version.
        version: u32,
    },
    /// A delegation to a guardian.
    Delegation {
        /// Which.
        delegation_id: DelegationId,
        /// Its version.
        version: u32,
    },
    /// A declared emergency.
    Emergency {
        /// Which.
        emergency_id: EmergencyId,
    },
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Who asks.
    pub reader: &'a Participant,
    /// For what.
    pub record: &'a RecordPrivate,
    /// Why.
    pub purpose: Purpose,
    /// For which project.
    pub project: Option<&'a ProjectCode>,
    /// Times at each of which a permission must hold: the reader's and the transaction's.
    pub times: &'a [UtcTime],
}

/// A grant, and how many reads were made under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountedGrant {
    /// The grant.
    pub entry: GrantEntry,
    /// Permitted reads that named it; counted only for grants with `max_reads`.
    pub used: u32,
}

/// Denials that are known to name a version of the record, earlier or later, if not the record
/// itself. A denial that names one version covers every one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VersionDenials {
    /// Of the policies.
    pub policies: BTreeSet<PolicyId>,
    /// Of the grants.
    pub grants: BTreeSet<GrantId>,
}

/// Everything that has a say on a [`Question`].
#[derive(Debug, Clone, Default)]
pub struct Basis {
    /// Policies of the record's registrar that may concern the reader.
    pub policies: Vec<PolicyEntry>,
    /// Grants of the record's patient that may concern the reader.
    pub grants: Vec<CountedGrant>,
    /// Which of these name another version of the record.
    pub version_denials: VersionDenials,
    /// The patient's delegation to the reader.
    pub delegation: Option<DelegationEntry>,
    /// The reader's latest declared emergency for the patient.
    pub emergency: Option<EmergencyEntry>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// Why; its [`ReasonCode::decision`] is the decision.
    pub reason: ReasonCode,
    /// The rule that decided, or that came nearest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleRef>,
}

/// One rule that was considered, and what it says to the question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Considered {
    /// Which rule.
    pub rule: RuleRef,
    /// Whether it is a permit or a denial.
    pub decision: Decision,
    /// What keeps it from applying; absent if it applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub misses: Option<ReasonCode>,
}

/// Result of `ExplainRead`: what `AuthorizeRead` would decide now, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Explanation {
    /// The verdict.
    pub verdict: Verdict,
    /// Every rule that was considered.
    pub considered: Vec<Considered>,
    /// The organisation that registered the record and releases its key.
    pub registrar: MspId,
    /// The patient's organisation, through which the patient can be asked.
    pub patient_msp: MspId,
}

impl Basis {
    /// Decides.
    #[must_use]
    pub fn decide(&self, question: &Question<'_>) -> Verdict {
        if let Some(verdict) = self.without_rules(question) {
            return verdict;
        }
        if question.purpose == Purpose::Btg {
            return self.in_emergency(question);
        }
        let policies = self.weighed_policies(question);
        if let Some(verdict) = settle(
            policies,
            ReasonCode::PolicyDenies,
            ReasonCode::PolicyPermits,
        ) {
            return verdict;
        }
        let grants = || self.weighed_grants(question);
        settle(grants(), ReasonCode::GrantDenies, ReasonCode::Granted)
            .unwrap_or_else(|| nearest(grants()))
    }

    /// Every rule with what it says to the question, in the order of levels.
    #[must_use]
    pub fn considered(&self, question: &Question<'_>) -> Vec<Considered> {
        self.weighed_policies(question)
            .chain(self.weighed_grants(question))
            .collect()
    }

    fn weighed_policies(&self, question: &Question<'_>) -> impl Iterator<Item = Considered> {
        let named = &self.version_denials.policies;
        self.policies.iter().map(|entry| {
            let names_version = named.contains(&entry.policy.policy_id);
            weigh_policy(entry, question, names_version)
        })
    }

    fn weighed_grants(&self, question: &Question<'_>) -> impl Iterator<Item = Considered> {
        let named = &self.version_denials.grants;
        self.grants.iter().map(|counted| {
            let names_version = named.contains(&counted.entry.grant.grant_id);
            weigh_grant(counted, question, names_version)
        })
    }

    /// The verdict where no rule has a say: `None` for a provider who may act.
    fn without_rules(&self, question: &Question<'_>) -> Option<Verdict> {
        let Question {
            reader,
            record,
            purpose,
            ..
        } = question;
        let plain = |reason| Some(Verdict { reason, rule: None });
        if reader.status != Status::Active {
            return plain(ReasonCode::ReaderNotActive);
        }
        let own = reader.role == Role::Patient && record.patient == reader.participant_id.into();
        if own {
            return plain(if *purpose == Purpose::Patrqt {
                ReasonCode::OwnRecord
            } else {
                ReasonCode::PurposeNotForPatients
            });
        }
        if *purpose == Purpose::Patrqt
            && let Some(verdict) = self.as_guardian(question)
        {
            return Some(verdict);
        }
        match reader.role {
            Role::Provider => None,
            Role::Patient | Role::Oracle | Role::Admin | Role::Auditor => {
                plain(ReasonCode::RoleNotAllowed)
            }
        }
    }

    /// The verdict on one who is or was the patient's guardian. A provider who no longer is one
    /// still reads by rules.
    fn as_guardian(&self, question: &Question<'_>) -> Option<Verdict> {
        let Question {
            reader,
            record,
            times,
            ..
        } = question;
        let entry = self.delegation.as_ref()?;
        let given = entry.delegation.patient == record.patient
            && entry.delegation.guardian == reader.participant_id
            && entry.gives(Power::Read, times);
        if !given && reader.role == Role::Provider {
            return None;
        }
        Some(Verdict {
            reason: if given {
                ReasonCode::Guardian
            } else {
                ReasonCode::GuardianNotAllowed
            },
            rule: Some(RuleRef::Delegation {
                delegation_id: entry.delegation.delegation_id,
                version: entry.version,
            }),
        })
    }

    fn in_emergency(&self, question: &Question<'_>) -> Verdict {
        let denied = settle(
            self.weighed_policies(question),
            ReasonCode::PolicyDenies,
            ReasonCode::PolicyPermits,
        )
        .filter(|verdict| verdict.reason == ReasonCode::PolicyDenies);
        let grants = self.weighed_grants(question);
        let denied = denied.or_else(|| {
            settle(grants, ReasonCode::GrantDenies, ReasonCode::Granted)
                .filter(|verdict| verdict.reason == ReasonCode::GrantDenies)
        });
        if let Some(verdict) = denied {
            return verdict;
        }
        let Some(entry) = &self.emergency else {
            return Verdict {
                reason: ReasonCode::EmergencyNotDeclared,
                rule: None,
            };
        };
        let reason = if entry.reader != question.reader.participant_id
            || entry.emergency.patient != question.record.patient
        {
            ReasonCode::EmergencyNotDeclared
        } else if entry.lasts(question.times) {
            ReasonCode::Emergency
        } else {
            ReasonCode::EmergencyOver
        };
        Verdict {
            reason,
            rule: Some(RuleRef::Emergency {
                emergency_id: entry.emergency.emergency_id,
            }),
        }
    }
}

/// The verdict of one level: an applying denial, else an applying permit, else none.
fn settle(
    rules: impl Iterator<Item = Considered>,
    deny: ReasonCode,
    permit: ReasonCode,
) -> Option<Verdict> {
    let mut applying: Vec<Considered> = rules.filter(|rule| rule.misses.is_none()).collect();
    applying.sort_by_key(|rule| (rule.decision != Decision::Deny, id_bytes(&rule.rule)));
    applying.into_iter().next().map(|rule| Verdict {
        reason: match rule.decision {
            Decision::Deny => deny,
            Decision::Permit => permit,
        },
        rule: Some(rule.rule),
    })
}

/// The permit that came nearest, by its reason and then its ID.
fn nearest(rules: impl Iterator<Item = Considered>) -> Verdict {
    let best = rules
        .filter(|rule| rule.decision == Decision::Permit)
        .filter_map(|rule| rule.misses.map(|reason| (reason, rule.rule)))
        .filter(|(reason, _)| *reason != ReasonCode::GranteeMismatch)
        .min_by_key(|(reason, rule)| (*reason, id_bytes(rule)));
    match best {
        Some((reason, rule)) => Verdict {
            reason,
            rule: Some(rule),
        },
        None => Verdict {
            reason: ReasonCode::NoGrant,
            rule: None,
        },
    }
}

fn id_bytes(rule: &RuleRef) -> [u8; 16] {
    match rule {
        RuleRef::Grant { grant_id, .. } => *grant_id.as_bytes(),
        RuleRef::Policy { policy_id, .. } => *policy_id.as_bytes(),
        RuleRef::Delegation { delegation_id, .. } => *delegation_id.as_bytes(),
        RuleRef::Emergency { emergency_id } => *emergency_id.as_bytes(),
    }
}

fn weigh_policy(entry: &PolicyEntry, question: &Question<'_>, names_version: bool) -> Considered {
    let policy = &entry.policy;
    let misses = if entry.msp_id != question.record.registrar {
        Some(ReasonCode::GrantOfOtherPatient)
    } else if entry.status == GrantStatus::Revoked {
        Some(ReasonCode::GrantRevoked)
    } else if question.times.iter().any(|time| *time < policy.valid_from) {
        Some(ReasonCode::GrantNotYetValid)
    } else if !question.times.iter().all(|time| policy.valid_at(*time)) {
        Some(ReasonCode::GrantExpired)
    } else {
        misses(&policy.rule, question, names_version)
    };
    Considered {
        rule: RuleRef::Policy {
            policy_id: policy.policy_id,
            msp_id: entry.msp_id.clone(),
            version: entry.version,
        },
        decision: policy.rule.decision,
        misses,
    }
}

fn weigh_grant(counted: &CountedGrant, question: &Question<'_>, names_version: bool) -> Considered {
    let CountedGrant { entry, used } = counted;
    let grant = &entry.grant;
    let misses = if entry.patient != question.record.patient {
        Some(ReasonCode::GrantOfOtherPatient)
    } else if entry.status == GrantStatus::Revoked {
        Some(ReasonCode::GrantRevoked)
    } else if question.times.iter().any(|time| *time < grant.valid_from) {
        Some(ReasonCode::GrantNotYetValid)
    } else if question.times.iter().any(|time| *time >= grant.valid_until) {
        Some(ReasonCode::GrantExpired)
    } else {
        misses(&grant.rule, question, names_version).or_else(|| {
            let exhausted = grant.max_reads.is_some_and(|max| *used >= max);
            exhausted.then_some(ReasonCode::ReadsExhausted)
        })
    };
    Considered {
        rule: RuleRef::Grant {
            grant_id: grant.grant_id,
            version: entry.version,
        },
        decision: grant.rule.decision,
        misses,
    }
}

fn misses(rule: &Rule, question: &Question<'_>, names_version: bool) -> Option<ReasonCode> {
    let Question {
        reader,
        record,
        purpose,
        project,
        ..
    } = question;
    if names_version {
        rule.misses_version(reader, record, *purpose, *project)
    } else {
        rule.misses(reader, record, *purpose, *project)
    }
}
