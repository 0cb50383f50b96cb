//! Evaluation of signature policies over the identities that signed.

use std::collections::BTreeSet;

use fabric_msp::{MspManager, ValidIdentity};
use fabric_protos::common::signature_policy::Type;
use fabric_protos::common::{MspPrincipal, SignaturePolicy, SignaturePolicyEnvelope};

use super::error::PolicyError;

/// A message, who claims to have signed it, and the signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedData {
    /// The signed bytes.
    pub data: Vec<u8>,
    /// The signer as a marshalled `SerializedIdentity`.
    pub identity: Vec<u8>,
    /// DER signature.
    pub signature: Vec<u8>,
}

/// The distinct identities whose certificate is valid on the channel and whose signature holds,
/// in order of first appearance. An identity counts once, whatever number of times it signed.
#[must_use]
pub fn valid_identities(signed: &[SignedData], msps: &MspManager) -> Vec<ValidIdentity> {
    let mut seen = BTreeSet::new();
    let mut identities = Vec::new();
    for signed in signed {
        let Ok(identity) = msps.identity(&signed.identity) else {
            continue;
        };
        let key = (identity.msp_id.clone(), identity.certificate.thumbprint());
        if seen.contains(&key) {
            continue;
        }
        let certificate = &identity.certificate;
        if certificate
            .verify_der(&signed.data, &signed.signature)
            .is_ok()
        {
            seen.insert(key);
            identities.push(identity);
        }
    }
    identities
}

/// Evaluates a signature policy over distinct identities.
///
/// A principal uses up the first unused identity that satisfies it, and a gate tries its rules
/// in order, each on a copy of what is used. There is no backtracking: a policy that lists a
/// wide principal before a narrow one can fail although another assignment would succeed. This
/// is Fabric's rule, and endorsers and committers have to agree on it.
///
/// # Errors
/// [`PolicyError::NotSatisfied`], or [`PolicyError::Malformed`] for a policy of unknown version,
/// without rule, or with a principal out of range.
pub fn evaluate_signature_policy(
    policy: &SignaturePolicyEnvelope,
    identities: &[ValidIdentity],
) -> Result<(), PolicyError> {
    check(policy)?;
    let Some(rule) = &policy.rule else {
        return Err(malformed("it has no rule"));
    };
    let satisfies =
        |identity: usize, principal: &MspPrincipal| identities[identity].satisfies(principal);
    let mut used = vec![false; identities.len()];
    if holds(rule, &policy.identities, &satisfies, &mut used) {
        Ok(())
    } else {
        Err(PolicyError::NotSatisfied)
    }
}

/// Rules inside rules that are followed.
const MAX_DEPTH: usize = 64;

fn malformed(reason: &'static str) -> PolicyError {
    PolicyError::Malformed { reason }
}

/// Checks that a policy can be evaluated.
pub(crate) fn check(policy: &SignaturePolicyEnvelope) -> Result<(), PolicyError> {
    fn check_rule(
        rule: &SignaturePolicy,
        principals: usize,
        depth: usize,
    ) -> Result<(), PolicyError> {
        if depth > MAX_DEPTH {
            return Err(malformed("it is nested too deep"));
        }
        match &rule.r#type {
            None => Err(malformed("a rule is empty")),
            Some(Type::SignedBy(index)) => {
                let index = usize::try_from(*index).ok();
                if index.is_some_and(|index| index < principals) {
                    Ok(())
                } else {
                    Err(malformed("identity index out of range"))
                }
            }
            Some(Type::NOutOf(gate)) => gate
                .rules
                .iter()
                .try_for_each(|rule| check_rule(rule, principals, depth + 1)),
        }
    }
    if policy.version != 0 {
        return Err(malformed("its version is not 0"));
    }
    match &policy.rule {
        Some(rule) => check_rule(rule, policy.identities.len(), 0),
        None => Err(malformed("it has no rule")),
    }
}

/// Whether the rule holds; `used` marks the identities taken, also by a gate that fails.
fn holds(
    rule: &SignaturePolicy,
    principals: &[MspPrincipal],
    satisfies: &dyn Fn(usize, &MspPrincipal) -> bool,
    used: &mut Vec<bool>,
) -> bool {
    match &rule.r#type {
        None => false,
        Some(Type::SignedBy(index)) => {
            let principal = usize::try_from(*index)
                .ok()
                .and_then(|index| principals.get(index));
            let Some(principal) = principal else {
                return false;
            };
            let free =
                (0..used.len()).find(|&identity| !used[identity] && satisfies(identity, principal));
            if let Some(identity) = free {
                used[identity] = true;
            }
            free.is_some()
        }
        Some(Type::NOutOf(gate)) => {
            let mut verified = 0;
            for rule in &gate.rules {
                let mut trial = used.clone();
                if holds(rule, principals, satisfies, &mut trial) {
                    verified += 1;
                    *used = trial;
                }
            }
            verified >= gate.n
        }
    }
}

#[cfg(test)]
mod tests {
    use fabric_protos::common::MspRole;
    use prost::Message;

    use super::super::parse_policy;
    use super::*;

    /// Evaluates over identities written `MSP:role`; everybody is also a member of its MSP.
    fn check(policy: &str, identities: &[&str]) -> bool {
        let policy = parse_policy(policy).unwrap();
        let names = ["member", "admin", "client", "peer", "orderer"];
        let satisfies = |identity: usize, principal: &MspPrincipal| {
            let wanted = MspRole::decode(principal.principal.as_slice()).unwrap();
            let (msp, role) = identities[identity].split_once(':').unwrap();
            let wanted_role = names[usize::try_from(wanted.role).unwrap()];
            msp == wanted.msp_identifier && (wanted_role == "member" || wanted_role == role)
        };
        let mut used = vec![false; identities.len()];
        let rule = policy.rule.as_ref().unwrap();
        holds(rule, &policy.identities, &satisfies, &mut used)
    }

    #[test]
    fn gates_count_distinct_identities() {
        for (policy, identities, expected) in [
            ("AND('A.peer','B.peer')", &["A:peer", "B:peer"][..], true),
            ("AND('A.peer','B.peer')", &["A:peer"], false),
            ("AND('A.peer','A.peer')", &["A:peer"], false),
            ("AND('A.peer','A.peer')", &["A:peer", "A:peer"], true),
            ("OR('A.peer','B.peer')", &["B:peer"], true),
            ("OR('A.peer','B.peer')", &["B:client"], false),
            (
                "OutOf(2,'A.peer','B.peer','C.peer')",
                &["C:peer", "A:peer"],
                true,
            ),
            ("OutOf(2,'A.peer','B.peer','C.peer')", &["C:peer"], false),
            ("OutOf(0,'A.peer')", &[], true),
            ("OutOf(2,'A.peer')", &["A:peer"], false),
        ] {
            assert_eq!(
                check(policy, identities),
                expected,
                "{policy} {identities:?}"
            );
        }
    }

    #[test]
    fn evaluation_is_greedy_in_the_order_of_rules() {
        // The member rule takes the admin first, so the admin rule finds nobody.
        assert!(!check("AND('A.member','A.admin')", &["A:admin", "A:peer"]));
        assert!(check("AND('A.admin','A.member')", &["A:admin", "A:peer"]));
    }

    #[test]
    fn a_rule_that_fails_gives_its_identities_back() {
        // The inner gate takes A's peer, fails on B and must leave the peer to the next rule.
        let policy = "OR(AND('A.peer','B.peer'),'A.peer')";
        assert!(check(policy, &["A:peer"]));
    }

    #[test]
    fn a_policy_that_cannot_be_evaluated_is_an_error() {
        let mut policy = parse_policy("OR('A.peer')").unwrap();
        policy.version = 1;
        assert!(evaluate_signature_policy(&policy, &[]).is_err());
        let mut policy = parse_policy("OR('A.peer')").unwrap();
        policy.identities.clear();
        assert_eq!(
            evaluate_signature_policy(&policy, &[]),
            Err(malformed("identity index out of range"))
        );
        policy.rule = None;
        assert_eq!(
            evaluate_signature_policy(&policy, &[]),
            Err(malformed("it has no rule"))
        );
    }
}
