//! Which organisations have to endorse: the smallest sets that satisfy a policy.

use std::collections::BTreeMap;

use fabric_msp::MspId;
use fabric_protos::common::msp_principal::Classification;
use fabric_protos::common::msp_role::MspRoleType;
use fabric_protos::common::signature_policy::Type;
use fabric_protos::common::{
    MspPrincipal, MspRole, OrganizationUnit, SignaturePolicy, SignaturePolicyEnvelope,
};
use prost::Message;

/// How many endorsers each organisation has to provide.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Layout {
    /// Endorsers wanted, by organisation; never zero.
    pub organizations: BTreeMap<MspId, u32>,
}

impl Layout {
    /// Endorsers wanted in all.
    #[must_use]
    pub fn endorsers(&self) -> u32 {
        self.organizations.values().sum()
    }

    fn of(organization: &MspId) -> Self {
        Self {
            organizations: BTreeMap::from([(organization.clone(), 1)]),
        }
    }

    /// Both at once by different endorsers.
    fn plus(&self, other: &Self) -> Self {
        self.merge(other, u32::saturating_add)
    }

    /// Both at once where one endorser may count for both.
    fn cover(&self, other: &Self) -> Self {
        self.merge(other, u32::max)
    }

    fn merge(&self, other: &Self, join: impl Fn(u32, u32) -> u32) -> Self {
        let mut organizations = self.organizations.clone();
        for (organization, wanted) in &other.organizations {
            organizations
                .entry(organization.clone())
                .and_modify(|count| *count = join(*count, *wanted))
                .or_insert(*wanted);
        }
        Self { organizations }
    }

    fn within(&self, other: &Self) -> bool {
        self.organizations
            .iter()
            .all(|(organization, wanted)| other.organizations.get(organization) >= Some(wanted))
    }
}

/// A policy reduced to what matters for choosing endorsers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// One endorser of the organisation.
    Organization(MspId),
    /// So many of these hold.
    OutOf(usize, Vec<Self>),
    /// Nothing a peer signs satisfies it.
    Never,
}

/// Layouts that are kept; the smallest survive.
pub const LAYOUTS_MAX: usize = 256;

impl Requirement {
    /// Reduces a signature policy. Principals that only an admin, a client or an orderer
    /// satisfies are out of reach for peers.
    #[must_use]
    pub fn from_signature_policy(policy: &SignaturePolicyEnvelope) -> Self {
        match &policy.rule {
            Some(rule) => reduce(rule, &policy.identities),
            None => Self::Never,
        }
    }

    /// The minimal layouts that satisfy it, fewest endorsers first, at most [`LAYOUTS_MAX`].
    /// Empty when nothing does.
    #[must_use]
    pub fn layouts(&self) -> Vec<Layout> {
        match self {
            Self::Never => Vec::new(),
            Self::Organization(organization) => vec![Layout::of(organization)],
            Self::OutOf(wanted, rules) => out_of(*wanted, rules),
        }
    }
}

/// Grows, rule by rule, the layouts that satisfy so many of the rules seen.
fn out_of(wanted: usize, rules: &[Requirement]) -> Vec<Layout> {
    let mut by_count = vec![Vec::new(); wanted + 1];
    by_count[0].push(Layout::default());
    for rule in rules {
        let layouts = rule.layouts();
        for count in (0..wanted).rev() {
            let grown = product(&by_count[count], &layouts, Layout::plus);
            by_count[count + 1].extend(grown);
            by_count[count + 1] = minimal(std::mem::take(&mut by_count[count + 1]));
        }
    }
    by_count.pop().unwrap_or_default()
}

fn product(a: &[Layout], b: &[Layout], join: impl Fn(&Layout, &Layout) -> Layout) -> Vec<Layout> {
    let pairs = a.iter().flat_map(|a| b.iter().map(move |b| (a, b)));
    pairs.map(|(a, b)| join(a, b)).collect()
}

/// Drops layouts that contain another one.
fn minimal(mut layouts: Vec<Layout>) -> Vec<Layout> {
    layouts.sort_by(|a, b| (a.endorsers(), a).cmp(&(b.endorsers(), b)));
    let mut kept: Vec<Layout> = Vec::new();
    for layout in layouts {
        if kept.len() == LAYOUTS_MAX {
            break;
        }
        if !kept.iter().any(|smaller| smaller.within(&layout)) {
            kept.push(layout);
        }
    }
    kept
}

/// The minimal layouts that satisfy all requirements at once, fewest endorsers first. An
/// endorser counts for every policy.
#[must_use]
pub fn combine(requirements: &[Requirement]) -> Vec<Layout> {
    let mut layouts = vec![Layout::default()];
    for requirement in requirements {
        let more = requirement.layouts();
        layouts = minimal(product(&layouts, &more, Layout::cover));
    }
    layouts
}

fn reduce(rule: &SignaturePolicy, principals: &[MspPrincipal]) -> Requirement {
    match &rule.r#type {
        None => Requirement::Never,
        Some(Type::SignedBy(index)) => usize::try_from(*index)
            .ok()
            .and_then(|index| principals.get(index))
            .and_then(organization)
            .map_or(Requirement::Never, Requirement::Organization),
        Some(Type::NOutOf(gate)) => {
            let rules = gate.rules.iter().map(|rule| reduce(rule, principals));
            Requirement::OutOf(usize::try_from(gate.n).unwrap_or(0), rules.collect())
        }
    }
}

/// The organisation whose peers satisfy the principal.
fn organization(principal: &MspPrincipal) -> Option<MspId> {
    let bytes = principal.principal.as_slice();
    let msp_id = match principal.principal_classification() {
        Classification::Role => {
            let role = MspRole::decode(bytes).ok()?;
            if !matches!(role.role(), MspRoleType::Member | MspRoleType::Peer) {
                return None;
            }
            role.msp_identifier
        }
        Classification::OrganizationUnit => OrganizationUnit::decode(bytes).ok()?.msp_identifier,
        Classification::Identity | Classification::Anonymity | Classification::Combined => {
            return None;
        }
    };
    MspId::parse(&msp_id).ok()
}

#[cfg(test)]
mod tests {
    use super::super::parse_policy;
    use super::*;

    fn requirement(text: &str) -> Requirement {
        Requirement::from_signature_policy(&parse_policy(text).unwrap())
    }

    fn show(layouts: &[Layout]) -> Vec<String> {
        layouts
            .iter()
            .map(|layout| {
                let parts = layout.organizations.iter();
                let parts: Vec<_> = parts.map(|(org, count)| format!("{org}{count}")).collect();
                parts.join("+")
            })
            .collect()
    }

    #[test]
    fn layouts_are_the_minimal_sets() {
        for (policy, expected) in [
            ("OR('A.peer','B.member')", &["A1", "B1"][..]),
            ("AND('A.peer','B.peer')", &["A1+B1"]),
            ("AND('A.peer','A.peer')", &["A2"]),
            (
                "OutOf(2,'A.peer','B.peer','C.peer')",
                &["A1+B1", "A1+C1", "B1+C1"],
            ),
            ("OR('A.peer',AND('A.peer','B.peer'))", &["A1"]),
            ("AND('A.peer',OR('B.peer','C.peer'))", &["A1+B1", "A1+C1"]),
            ("AND('A.admin','B.peer')", &[]),
            ("OutOf(2,'A.peer')", &[]),
            ("OutOf(0,'A.peer')", &[""]),
        ] {
            assert_eq!(show(&requirement(policy).layouts()), expected, "{policy}");
        }
    }

    #[test]
    fn policies_that_hold_together_share_endorsers() {
        let combined = combine(&[
            requirement("OR('A.peer','B.peer')"),
            requirement("OR('B.peer')"),
        ]);
        assert_eq!(show(&combined), ["B1"]);
        let impossible = combine(&[requirement("OR('A.peer')"), Requirement::Never]);
        assert!(impossible.is_empty());
    }

    #[test]
    fn many_organisations_stay_bounded() {
        let rules =
            (0..30).map(|i| Requirement::Organization(MspId::parse(&format!("O{i}")).unwrap()));
        let layouts = Requirement::OutOf(16, rules.collect()).layouts();
        assert_eq!(layouts.len(), LAYOUTS_MAX);
        assert!(layouts.iter().all(|layout| layout.endorsers() == 16));
    }
}
