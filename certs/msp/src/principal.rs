//! Whom a policy means.

use fabric_protos::common::msp_principal::Classification;
use fabric_protos::common::msp_role::MspRoleType;
use fabric_protos::common::{MspPrincipal, MspRole, OrganizationUnit};
use prost::Message as _;

use crate::identity::{NodeOu, ValidIdentity, parse_serialized_identity};

impl ValidIdentity {
    /// Whether a policy's principal means this identity. Principals that are malformed, unknown
    /// or of another MSP mean nobody; so do anonymity and combined principals, which only Idemix
    /// MSPs make use of.
    pub fn satisfies(&self, principal: &MspPrincipal) -> bool {
        let bytes = principal.principal.as_slice();
        match Classification::try_from(principal.principal_classification) {
            Ok(Classification::Role) => {
                MspRole::decode(bytes).is_ok_and(|role| self.has_role(&role))
            }
            Ok(Classification::OrganizationUnit) => {
                OrganizationUnit::decode(bytes).is_ok_and(|unit| self.is_in(&unit))
            }
            Ok(Classification::Identity) => {
                parse_serialized_identity(bytes).is_ok_and(|(msp_id, other)| {
                    msp_id == self.msp_id
                        && other.public_key() == self.certificate.public_key()
                        && other.to_be_signed() == self.certificate.to_be_signed()
                })
            }
            Ok(Classification::Anonymity | Classification::Combined) | Err(_) => false,
        }
    }

    fn has_role(&self, role: &MspRole) -> bool {
        if role.msp_identifier != self.msp_id.as_str() {
            return false;
        }
        match MspRoleType::try_from(role.role) {
            Ok(MspRoleType::Member) => true,
            Ok(MspRoleType::Admin) => self.is_admin(),
            Ok(MspRoleType::Client) => self.node_ou == Some(NodeOu::Client),
            Ok(MspRoleType::Peer) => self.node_ou == Some(NodeOu::Peer),
            Ok(MspRoleType::Orderer) => self.node_ou == Some(NodeOu::Orderer),
            Err(_) => false,
        }
    }

    fn is_in(&self, unit: &OrganizationUnit) -> bool {
        unit.msp_identifier == self.msp_id.as_str()
            && unit.certifiers_identifier == self.certifier
            && self
                .certificate
                .organizational_units()
                .contains(&unit.organizational_unit_identifier)
    }
}
