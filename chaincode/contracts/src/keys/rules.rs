//! Keys of rules: grants, policies, and the slots in which a decision finds them.

use contract_interface::{GrantId, Grantee, MspId, PolicyId, Pseudonym, RecordId, RecordType};
use fabric_shim::{KeyError, create_composite_key};

use super::{Blinding, object_types as of};

/// Whose rules lie in a slot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// A patient's grants.
    Patient(Pseudonym),
    /// An organisation's policies.
    Organization(MspId),
}

/// What the rules of a slot are about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selector<'a> {
    /// Rules that name the record.
    Record(&'a RecordId),
    /// Denials that name any version of the record with this first version.
    Chain(&'a RecordId),
    /// Rules that name the type, and no record.
    Type(&'a RecordType),
    /// Rules that name neither.
    Every,
}

impl Blinding {
    /// Collection `records`: a grant.
    pub(crate) fn grant(&self, patient: &Pseudonym, id: &GrantId) -> Result<String, KeyError> {
        create_composite_key(of::GRANT, &[&self.patient(patient), &id.to_string()])
    }

    /// Collection `records`: how many reads were made under a grant that limits them.
    pub(crate) fn grant_uses(&self, patient: &Pseudonym, id: &GrantId) -> Result<String, KeyError> {
        create_composite_key(of::GRANT_USES, &[&self.patient(patient), &id.to_string()])
    }

    /// Collection `records`: a policy.
    pub(crate) fn policy(&self, msp_id: &MspId, id: &PolicyId) -> Result<String, KeyError> {
        create_composite_key(
            of::POLICY,
            &[&self.organization(of::POLICY, msp_id), &id.to_string()],
        )
    }

    /// The part of a grantee in keys of this object type.
    pub(crate) fn grantee(&self, object_type: &str, grantee: &Grantee) -> String {
        let mut parts = vec![];
        push_grantee(&mut parts, grantee);
        self.part(object_type, &parts)
    }

    /// Collection `records`: the index of grants by grantee.
    pub(crate) fn grant_by_grantee(
        &self,
        grantee: &Grantee,
        id: &GrantId,
    ) -> Result<String, KeyError> {
        create_composite_key(
            of::GRANT_BY_GRANTEE,
            &[
                &self.grantee(of::GRANT_BY_GRANTEE, grantee),
                &id.to_string(),
            ],
        )
    }

    /// Collection `records`: which rules stand for a grantee and a selector.
    pub(crate) fn slot(
        &self,
        scope: &Scope,
        grantee: &Grantee,
        selector: &Selector<'_>,
    ) -> Result<String, KeyError> {
        let mut parts: Vec<&[u8]> = match scope {
            Scope::Patient(patient) => vec![b"patient", patient.as_bytes()],
            Scope::Organization(msp_id) => vec![b"organization", msp_id.as_str().as_bytes()],
        };
        push_grantee(&mut parts, grantee);
        match selector {
            Selector::Record(id) => parts.extend([b"record".as_slice(), id.as_bytes()]),
            Selector::Chain(id) => parts.extend([b"chain".as_slice(), id.as_bytes()]),
            Selector::Type(code) => parts.extend([b"type".as_slice(), code.as_str().as_bytes()]),
            Selector::Every => parts.push(b"*"),
        }
        self.key(of::SLOT, &parts)
    }
}

fn push_grantee<'a>(parts: &mut Vec<&'a [u8]>, grantee: &'a Grantee) {
    match grantee {
        Grantee::Participant(id) => parts.extend([b"participant".as_slice(), id.as_bytes()]),
        Grantee::Organization(msp_id) => {
            parts.extend([b"organization".as_slice(), msp_id.as_str().as_bytes()]);
        }
        Grantee::Role { msp_id, role } => parts.extend([
            b"role".as_slice(),
            msp_id.as_str().as_bytes(),
            role.as_str().as_bytes(),
        ]),
        Grantee::Anyone => parts.push(b"anyone"),
    }
}
