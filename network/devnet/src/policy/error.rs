//! What can be wrong with a policy, or with those who try to satisfy it.

use thiserror::Error;

/// Why a set of identities does not satisfy a policy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The identities are too few or the wrong ones.
    #[error("signature set did not satisfy policy")]
    NotSatisfied,
    /// An implicit meta policy found too few of its sub-policies satisfied.
    #[error(
        "implicit policy evaluation failed - {satisfied} sub-policies were satisfied, but this policy requires {required} of the '{sub_policy}' sub-policies to be satisfied"
    )]
    SubPoliciesNotSatisfied {
        /// Sub-policies that hold.
        satisfied: usize,
        /// Sub-policies that must hold.
        required: usize,
        /// Name of the policy asked of each group.
        sub_policy: String,
    },
    /// The channel configuration has no policy of this name.
    #[error("policy {path} is not defined on the channel")]
    Unknown {
        /// Path of the policy, such as `/Channel/Application/Writers`.
        path: String,
    },
    /// The policy itself cannot be evaluated.
    #[error("policy cannot be evaluated: {reason}")]
    Malformed {
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// What is wrong with the text of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PolicyParseError {
    /// Something else stands where the grammar wants one thing.
    #[error("expected {expected} at character {at} of the policy")]
    Unexpected {
        /// What the grammar wants.
        expected: &'static str,
        /// Offset in bytes, from zero.
        at: usize,
    },
    /// A name before a parenthesis is not a gate.
    #[error("unrecognized token '{token}' in policy string")]
    UnknownGate {
        /// The name.
        token: String,
    },
    /// A principal is not `MSPID.role`.
    #[error("error parsing principal {principal}")]
    Principal {
        /// The text between the quotes.
        principal: String,
    },
    /// A gate asks for more than it has, or has nothing.
    #[error("invalid t-out-of-n predicate, t {threshold}, n {rules}")]
    Threshold {
        /// How many must hold.
        threshold: i64,
        /// How many there are.
        rules: usize,
    },
    /// Gates are nested deeper than anything sensible.
    #[error("policy is nested deeper than {max} gates")]
    TooDeep {
        /// The limit.
        max: usize,
    },
}
