//! Whether those who signed are enough.
//!
//! The evaluation is Fabric's, greedy and without going back: a principal takes the first signer
//! that it means and that no principal took before. `fabric-devnet` has an evaluator of its own,
//! which also plans endorsements; this one only judges.

use std::collections::BTreeSet;

use fabric_protos::common::signature_policy::Type;
use fabric_protos::common::{MspPrincipal, SignaturePolicy, SignaturePolicyEnvelope};

use super::error::BlockError;
use crate::identity::ValidIdentity;

/// Rules inside rules that are followed.
const MAX_DEPTH: usize = 32;
/// Rules of one policy.
const MAX_RULES: usize = 4096;

/// Whether the signers satisfy the policy.
///
/// # Errors
/// [`BlockError::Policy`] if it cannot be evaluated.
pub fn evaluate_signature_policy(
    policy: &SignaturePolicyEnvelope,
    signers: &[ValidIdentity],
) -> Result<bool, BlockError> {
    let rule = policy.rule.as_ref().ok_or(reason("it has no rule"))?;
    if policy.version != 0 {
        return Err(reason("its version is not 0"));
    }
    let mut evaluation = Evaluation {
        principals: &policy.identities,
        signers,
        rules_left: MAX_RULES,
    };
    let mut taken = vec![false; signers.len()];
    evaluation.holds(rule, &mut taken, MAX_DEPTH)
}

fn reason(reason: &'static str) -> BlockError {
    BlockError::Policy { reason }
}

struct Evaluation<'a> {
    principals: &'a [MspPrincipal],
    signers: &'a [ValidIdentity],
    rules_left: usize,
}

impl Evaluation<'_> {
    /// `taken` marks the signers that are used up; it is only meaningful if the rule holds.
    fn holds(
        &mut self,
        rule: &SignaturePolicy,
        taken: &mut Vec<bool>,
        depth: usize,
    ) -> Result<bool, BlockError> {
        let depth = depth
            .checked_sub(1)
            .ok_or(reason("it is nested too deep"))?;
        let left = self.rules_left.checked_sub(1);
        self.rules_left = left.ok_or(reason("it has too many rules"))?;
        match rule.r#type.as_ref().ok_or(reason("a rule is empty"))? {
            Type::SignedBy(index) => {
                let principal = usize::try_from(*index)
                    .ok()
                    .and_then(|index| self.principals.get(index))
                    .ok_or(reason("a principal's number is out of range"))?;
                let free = (0..taken.len())
                    .find(|at| !taken[*at] && self.signers[*at].satisfies(principal));
                if let Some(at) = free {
                    taken[at] = true;
                }
                Ok(free.is_some())
            }
            Type::NOutOf(gate) => {
                let mut held = 0_i32;
                for rule in &gate.rules {
                    let mut attempt = taken.clone();
                    if self.holds(rule, &mut attempt, depth)? {
                        held += 1;
                        *taken = attempt;
                    }
                }
                Ok(held >= gate.n)
            }
        }
    }
}

/// The identities without repetitions: signing twice does not make two.
pub(super) fn distinct(identities: Vec<ValidIdentity>) -> Vec<ValidIdentity> {
    let mut seen = BTreeSet::new();
    let mut distinct = Vec::with_capacity(identities.len());
    for identity in identities {
        if seen.insert((identity.msp_id.clone(), identity.certificate.thumbprint())) {
            distinct.push(identity);
        }
    }
    distinct
}
