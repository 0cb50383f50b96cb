//! Endorsement policies of single keys (state-based endorsement).

use std::collections::BTreeMap;

use fabric_protos::common::{
    MspPrincipal, MspRole, SignaturePolicy, SignaturePolicyEnvelope,
    msp_principal::Classification,
    msp_role::MspRoleType,
    signature_policy::{NOutOf, Type},
};
use prost::Message as _;

/// Who of an organisation has to endorse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndorserRole {
    /// Any member.
    Member,
    /// A peer.
    Peer,
}

/// Bytes that are not a key's endorsement policy.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("the bytes are not a signature policy")]
pub struct PolicyError(#[from] prost::DecodeError);

/// A policy that asks every listed organisation for one endorsement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyEndorsementPolicy {
    organizations: BTreeMap<String, i32>,
}

impl KeyEndorsementPolicy {
    /// A policy without organisations.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a key's policy, as [`crate::Stub::get_state_validation_parameter`] returns it. Its
    /// organisations are kept, a rule other than "all of them" is not.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] when it cannot be decoded.
    pub fn parse(policy: &[u8]) -> Result<Self, PolicyError> {
        let envelope = SignaturePolicyEnvelope::decode(policy)?;
        let mut organizations = BTreeMap::new();
        for principal in &envelope.identities {
            if principal.principal_classification() == Classification::Role {
                let role = MspRole::decode(principal.principal.as_slice())?;
                organizations.insert(role.msp_identifier, role.role);
            }
        }
        Ok(Self { organizations })
    }

    /// Adds organisations, or changes the role asked of them.
    pub fn add<S: AsRef<str>>(&mut self, role: EndorserRole, msp_ids: &[S]) {
        let role = match role {
            EndorserRole::Member => MspRoleType::Member,
            EndorserRole::Peer => MspRoleType::Peer,
        };
        for msp_id in msp_ids {
            let msp_id = msp_id.as_ref().to_owned();
            self.organizations.insert(msp_id, role.into());
        }
    }

    /// Removes organisations.
    pub fn remove<S: AsRef<str>>(&mut self, msp_ids: &[S]) {
        for msp_id in msp_ids {
            self.organizations.remove(msp_id.as_ref());
        }
    }

    /// The organisations, sorted.
    pub fn organizations(&self) -> impl Iterator<Item = &str> {
        self.organizations.keys().map(String::as_str)
    }

    /// The bytes for [`crate::Stub::set_state_validation_parameter`]; equal policies give equal
    /// bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let principal = |(msp_id, role): (&String, &i32)| MspPrincipal {
            principal_classification: Classification::Role.into(),
            principal: MspRole {
                msp_identifier: msp_id.clone(),
                role: *role,
            }
            .encode_to_vec(),
        };
        let identities: Vec<MspPrincipal> = self.organizations.iter().map(principal).collect();
        let rules = (0_i32..)
            .zip(&identities)
            .map(|(index, _)| SignaturePolicy {
                r#type: Some(Type::SignedBy(index)),
            });
        let rules: Vec<SignaturePolicy> = rules.collect();
        let all = NOutOf {
            n: i32::try_from(rules.len()).unwrap_or(i32::MAX),
            rules,
        };
        let envelope = SignaturePolicyEnvelope {
            version: 0,
            rule: Some(SignaturePolicy {
                r#type: Some(Type::NOutOf(all)),
            }),
            identities,
        };
        envelope.encode_to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn organizations_come_back_sorted_whatever_the_order_of_adding() {
        let mut one = KeyEndorsementPolicy::new();
        one.add(EndorserRole::Peer, &["Org2MSP", "Org1MSP"]);
        let mut other = KeyEndorsementPolicy::new();
        other.add(EndorserRole::Member, &["Org1MSP", "Org3MSP"]);
        other.add(EndorserRole::Peer, &["Org1MSP", "Org2MSP"]);
        other.remove(&["Org3MSP"]);
        assert_eq!(one.to_bytes(), other.to_bytes());
        let parsed = KeyEndorsementPolicy::parse(&one.to_bytes()).unwrap();
        assert_eq!(parsed, one);
        assert_eq!(
            parsed.organizations().collect::<Vec<_>>(),
            ["Org1MSP", "Org2MSP"]
        );
    }

    #[test]
    fn bytes_are_those_of_the_go_helper() {
        let mut policy = KeyEndorsementPolicy::new();
        policy.add(EndorserRole::Peer, &["A"]);
        // Rule: 1 out of [signed by 0]; identity: role PEER of MSP "A". Version 0 is left out.
        let rule = [0x12, 0x08, 0x12, 0x06, 0x08, 0x01, 0x12, 0x02, 0x08, 0x00];
        let identity = [0x1a, 0x07, 0x12, 0x05, 0x0a, 0x01, b'A', 0x10, 0x03];
        assert_eq!(policy.to_bytes(), [rule.as_slice(), &identity].concat());
    }

    #[test]
    fn other_bytes_are_refused() {
        assert!(KeyEndorsementPolicy::parse(b"\xff").is_err());
    }
}
