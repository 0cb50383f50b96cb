//! Whole networks, as Fabric's cryptogen lays them out.

use std::path::Path;

use fabric_msp::{MspId, NodeOu};

use crate::error::IssueError;
use crate::organization::{Kind, Organization};
use crate::profile::UserProfile;

/// An organisation to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrganizationSpec {
    /// Its MSP ID.
    pub msp_id: MspId,
    /// Its domain.
    pub domain: String,
    /// Its peers or ordering nodes, without domain.
    pub nodes: Vec<String>,
    /// Its users besides `Admin`, without domain; they are clients.
    pub users: Vec<String>,
}

/// The organisations of a network.
#[derive(Debug)]
pub struct CryptoConfig {
    /// Organisations with peers.
    pub peers: Vec<Organization>,
    /// Organisations with ordering nodes.
    pub orderers: Vec<Organization>,
}

/// Makes organisations with their nodes and users under `dir`: `peerOrganizations/DOMAIN` and
/// `ordererOrganizations/DOMAIN`.
///
/// # Errors
/// [`IssueError`]; nothing that is there already is overwritten.
pub fn crypto_config(
    dir: &Path,
    peers: &[OrganizationSpec],
    orderers: &[OrganizationSpec],
) -> Result<CryptoConfig, IssueError> {
    let make = |specs: &[OrganizationSpec], kind| -> Result<Vec<_>, IssueError> {
        specs
            .iter()
            .map(|spec| organization(dir, spec, kind))
            .collect()
    };
    Ok(CryptoConfig {
        peers: make(peers, Kind::Peer)?,
        orderers: make(orderers, Kind::Orderer)?,
    })
}

/// Makes the network of Fabric's samples with so many peer organisations: `org1.example.com` of
/// `Org1MSP` and so on, each with `peer0`, `Admin` and `User1`, and `orderer.example.com` of
/// `OrdererMSP`.
///
/// # Errors
/// As [`crypto_config`].
pub fn cryptogen(dir: &Path, peer_orgs: usize) -> Result<CryptoConfig, IssueError> {
    let spec = |msp_id: &str, domain: &str, node: &str, users: &[&str]| {
        Ok::<_, IssueError>(OrganizationSpec {
            msp_id: MspId::parse(msp_id)?,
            domain: domain.to_owned(),
            nodes: vec![node.to_owned()],
            users: users.iter().map(|&user| user.to_owned()).collect(),
        })
    };
    let peers: Vec<_> = (1..=peer_orgs)
        .map(|n| {
            spec(
                &format!("Org{n}MSP"),
                &format!("org{n}.example.com"),
                "peer0",
                &["User1"],
            )
        })
        .collect::<Result<_, _>>()?;
    let orderer = spec("OrdererMSP", "example.com", "orderer", &[])?;
    crypto_config(dir, &peers, &[orderer])
}

fn organization(
    dir: &Path,
    spec: &OrganizationSpec,
    kind: Kind,
) -> Result<Organization, IssueError> {
    let organization = Organization::create(dir, spec.msp_id.clone(), &spec.domain, kind)?;
    for node in &spec.nodes {
        match kind {
            Kind::Peer => organization.issue_peer(node)?,
            Kind::Orderer => organization.issue_orderer(node)?,
        };
    }
    let admin = UserProfile {
        node_ou: NodeOu::Admin,
        ..UserProfile::default()
    };
    organization.issue_user("Admin", &admin)?;
    for user in &spec.users {
        organization.issue_user(user, &UserProfile::default())?;
    }
    Ok(organization)
}
