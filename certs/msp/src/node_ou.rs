//! Telling clients, peers, admins and orderers apart by organisational unit.

use std::collections::BTreeMap;

use fabric_protos::msp::{FabricMspConfig, FabricNodeOUs, FabricOuIdentifier};

use crate::certificate::Certificate;
use crate::chain::Authorities;
use crate::error::MspError;
use crate::id::MspId;
use crate::identity::NodeOu;

/// The OU rules of an MSP.
#[derive(Debug, Clone, Default)]
pub(crate) struct UnitRules {
    /// If not empty, an identity needs one of these units, certified by one of these chains.
    required: BTreeMap<String, Vec<[u8; 32]>>,
    /// Roles by OU name; empty when node OUs are off.
    roles: BTreeMap<String, Role>,
}

#[derive(Debug, Clone, Copy)]
struct Role {
    node_ou: NodeOu,
    certifier: Option<[u8; 32]>,
}

impl UnitRules {
    pub(crate) fn read(
        msp_id: &MspId,
        config: &FabricMspConfig,
        authorities: &Authorities,
    ) -> Result<Self, MspError> {
        let mut rules = Self::default();
        for identifier in &config.organizational_unit_identifiers {
            let id = certifier(msp_id, identifier, authorities)?;
            let unit = identifier.organizational_unit_identifier.clone();
            rules.required.entry(unit).or_default().extend(id);
        }
        if let Some(node_ous) = config.fabric_node_ous.as_ref().filter(|ous| ous.enable) {
            for (node_ou, identifier) in identifiers(node_ous) {
                let certifier = certifier(msp_id, identifier, authorities)?;
                let unit = identifier.organizational_unit_identifier.clone();
                rules.roles.insert(unit, Role { node_ou, certifier });
            }
        }
        Ok(rules)
    }

    /// Whether node OUs are on.
    pub(crate) fn enforced(&self) -> bool {
        !self.roles.is_empty()
    }

    /// Whether there is an OU that makes an admin.
    pub(crate) fn knows_admins(&self) -> bool {
        self.roles
            .values()
            .any(|role| role.node_ou == NodeOu::Admin)
    }

    /// The role that the units give; `Ok(None)` when node OUs are off, `Err(())` when the units
    /// break the rules. `chain` identifies the issuers of the certificate.
    pub(crate) fn role(&self, units: &[String], chain: [u8; 32]) -> Result<Option<NodeOu>, ()> {
        let certified = |unit: &String| {
            self.required
                .get(unit)
                .is_some_and(|certifiers| certifiers.contains(&chain))
        };
        if !self.required.is_empty() && !units.iter().any(certified) {
            return Err(());
        }
        if !self.enforced() {
            return Ok(None);
        }
        let mut roles = units.iter().filter_map(|unit| self.roles.get(unit));
        let (Some(role), None) = (roles.next(), roles.next()) else {
            return Err(());
        };
        if role.certifier.is_some_and(|certifier| certifier != chain) {
            return Err(());
        }
        Ok(Some(role.node_ou))
    }
}

fn identifiers(node_ous: &FabricNodeOUs) -> Vec<(NodeOu, &FabricOuIdentifier)> {
    [
        (NodeOu::Client, &node_ous.client_ou_identifier),
        (NodeOu::Peer, &node_ous.peer_ou_identifier),
        (NodeOu::Admin, &node_ous.admin_ou_identifier),
        (NodeOu::Orderer, &node_ous.orderer_ou_identifier),
    ]
    .into_iter()
    .filter_map(|(role, identifier)| identifier.as_ref().map(|identifier| (role, identifier)))
    .collect()
}

/// The chain that must certify the unit, if the identifier names a CA.
fn certifier(
    msp_id: &MspId,
    identifier: &FabricOuIdentifier,
    authorities: &Authorities,
) -> Result<Option<[u8; 32]>, MspError> {
    if identifier.certificate.is_empty() {
        return Ok(None);
    }
    let ca = Certificate::from_pem(&identifier.certificate)?;
    let id = authorities.certifier_id(msp_id, &ca);
    id.map(Some).ok_or_else(|| MspError::UnknownCertifier {
        unit: identifier.organizational_unit_identifier.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: [u8; 32] = [1; 32];
    const ELSEWHERE: [u8; 32] = [2; 32];

    fn rules() -> UnitRules {
        let role = |name: &str, node_ou, certifier| (name.to_owned(), Role { node_ou, certifier });
        UnitRules {
            required: BTreeMap::new(),
            roles: BTreeMap::from([
                role("client", NodeOu::Client, None),
                role("admin", NodeOu::Admin, Some(HERE)),
            ]),
        }
    }

    fn check(rules: &UnitRules, units: &[&str], expected: Result<Option<NodeOu>, ()>) {
        let units: Vec<String> = units.iter().map(|&unit| unit.to_owned()).collect();
        assert_eq!(rules.role(&units, HERE), expected, "{units:?}");
    }

    #[test]
    fn exactly_one_role_is_needed() {
        check(&rules(), &["client"], Ok(Some(NodeOu::Client)));
        check(&rules(), &["ward 3", "admin"], Ok(Some(NodeOu::Admin)));
        check(&rules(), &[], Err(()));
        check(&rules(), &["ward 3"], Err(()));
        check(&rules(), &["client", "admin"], Err(()));
        check(&rules(), &["client", "client"], Err(()));
    }

    #[test]
    fn the_named_ca_must_have_certified_the_unit() {
        assert_eq!(rules().role(&["admin".to_owned()], ELSEWHERE), Err(()));
        assert_eq!(
            rules().role(&["client".to_owned()], ELSEWHERE),
            Ok(Some(NodeOu::Client))
        );
    }

    #[test]
    fn required_units_apply_without_node_ous() {
        let required = UnitRules {
            required: BTreeMap::from([("ward".to_owned(), vec![HERE])]),
            roles: BTreeMap::new(),
        };
        check(&required, &["ward"], Ok(None));
        check(&required, &["client"], Err(()));
        check(&UnitRules::default(), &[], Ok(None));
    }
}
