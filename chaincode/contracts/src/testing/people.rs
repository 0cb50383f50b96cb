//! Who acts in the tests, with certificates of two organisations.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use contract_interface::names::attributes;
use contract_interface::{Digest, Jwk, KeyProof, ParticipantId, Pseudonym, Role};
use fabric_msp::{MspId, NodeOu, SigningIdentity, jws};
use fabric_mspgen::{Kind, Organization, UserProfile};

/// Everyone who acts in the tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    Oracle1,
    Oracle2,
    /// An administrator by NodeOU, without a salus.role.
    Admin1,
    Auditor1,
    Auditor2,
    Patient,
    OtherPatient,
    Provider1,
    /// Renewed certificate of `Provider1`.
    Provider1Renewed,
    Provider2,
    /// A client without a role.
    Nobody,
    /// A client without a role, registered by its admin as an oracle.
    PlainOracle,
    /// A patient who may become the guardian of another.
    Guardian,
    /// A provider whose certificate does not allow to declare emergencies.
    Provider3,
    Admin2,
}

use Who::{
    Admin1, Admin2, Auditor1, Auditor2, Guardian, Nobody, Oracle1, Oracle2, OtherPatient, Patient,
    PlainOracle, Provider1, Provider1Renewed, Provider2, Provider3,
};

impl Who {
    const ALL: [(Self, usize, Option<Role>); 15] = [
        (Oracle1, 0, Some(Role::Oracle)),
        (Oracle2, 1, Some(Role::Oracle)),
        (Admin1, 0, None),
        (Auditor1, 0, Some(Role::Auditor)),
        (Auditor2, 1, Some(Role::Auditor)),
        (Patient, 0, Some(Role::Patient)),
        (OtherPatient, 0, Some(Role::Patient)),
        (Provider1, 0, Some(Role::Provider)),
        (Provider1Renewed, 0, Some(Role::Provider)),
        (Provider2, 1, Some(Role::Provider)),
        (Nobody, 0, None),
        (PlainOracle, 0, None),
        (Guardian, 0, Some(Role::Patient)),
        (Provider3, 0, Some(Role::Provider)),
        (Admin2, 1, Some(Role::Admin)),
    ];

    pub(crate) fn id(self) -> ParticipantId {
        let seat = match self {
            Provider1Renewed => Provider1,
            other => other,
        };
        ParticipantId::from_bytes([0x10 + seat as u8; 16])
    }

    pub(crate) fn pseudonym(self) -> Pseudonym {
        self.id().into()
    }

    pub(crate) fn identity(self) -> &'static SigningIdentity {
        &identities()[&self].identity
    }

    pub(crate) fn pem(self) -> String {
        self.identity().certificate().pem()
    }

    /// The certificate of the CA that issued this one's.
    pub(crate) fn issuer_pem(self) -> &'static str {
        &identities()[&self].issuer
    }

    pub(crate) fn thumbprint(self) -> Digest {
        Digest::from_bytes(self.identity().certificate().thumbprint())
    }

    /// This one's word that `key` is its own.
    pub(crate) fn proof(self, key: &Jwk) -> String {
        self.proof_as(self.id(), key)
    }

    /// This one's word that `key` is the one of participant `id`.
    pub(crate) fn proof_as(self, id: ParticipantId, key: &Jwk) -> String {
        let proof = super::json(&KeyProof::new(id, key));
        jws::sign_as(self.identity(), KeyProof::TYPE, &proof).unwrap()
    }

    /// A public key of the right form, whose private half nobody has.
    pub(crate) fn key(self) -> Jwk {
        key(&format!("{self:?}"))
    }
}

/// A public key of the right form that is `name`'s alone.
pub(crate) fn key(name: &str) -> Jwk {
    let digits: String = (0_u8..8)
        .map(|n| Digest::of_parts(&[name.as_bytes(), &[n]]).to_string())
        .collect();
    Jwk::rsa(&format!("g{}B", &digits[..510]), "AQAB").unwrap()
}

/// Someone's identity and the certificate of its CA.
pub(super) struct Person {
    pub(super) identity: SigningIdentity,
    pub(super) issuer: String,
}

pub(super) fn identities() -> &'static BTreeMap<Who, Person> {
    static IDENTITIES: OnceLock<BTreeMap<Who, Person>> = OnceLock::new();
    IDENTITIES.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let organizations = [1, 2].map(|n| {
            let msp_id: MspId = format!("Org{n}MSP").parse().unwrap();
            let domain = format!("org{n}.example.com");
            Organization::create(dir.path(), msp_id, &domain, Kind::Peer).unwrap()
        });
        Who::ALL
            .into_iter()
            .map(|(who, n, role)| (who, issue(&organizations[n], who, role)))
            .collect()
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test's people come from files, a contract's never"
)]
fn issue(organization: &Organization, who: Who, role: Option<Role>) -> Person {
    let may_declare = matches!(who, Provider1 | Provider1Renewed | Provider2);
    let profile = UserProfile {
        node_ou: if who == Admin1 {
            NodeOu::Admin
        } else {
            NodeOu::Client
        },
        attributes: role
            .map(|role| (attributes::ROLE.to_owned(), role.to_string()))
            .into_iter()
            .chain(may_declare.then(|| (attributes::EMERGENCY.to_owned(), "true".to_owned())))
            .collect(),
        validity: None,
    };
    let folder = organization
        .issue_user(&format!("{who:?}"), &profile)
        .unwrap();
    let msp_dir: &Path = &folder.join("msp");
    let mut issuers = std::fs::read_dir(msp_dir.join("cacerts")).unwrap();
    let issuer = std::fs::read_to_string(issuers.next().unwrap().unwrap().path()).unwrap();
    let identity = SigningIdentity::from_msp_dir(organization.msp_id().clone(), msp_dir).unwrap();
    Person { identity, issuer }
}
