//! The certificates of a network: made at the first start, read at every one.

use std::fs;
use std::path::{Path, PathBuf};

use fabric_msp::{Msp, MspId, SigningIdentity};
use fabric_protos::msp::FabricMspConfig;

use crate::config::{DEFAULT_ORGANIZATIONS, ORGANIZATIONS_MAX};
use crate::error::NetworkError;

/// One node with its keys.
#[derive(Debug)]
pub(crate) struct Node {
    /// Host name, as in its TLS certificate.
    pub(crate) name: String,
    pub(crate) signer: SigningIdentity,
    pub(crate) tls_certificate: Vec<u8>,
    pub(crate) tls_key: Vec<u8>,
    pub(crate) tls_ca_file: PathBuf,
}

/// One organisation with its node.
#[derive(Debug)]
pub(crate) struct OrganizationMaterial {
    pub(crate) msp_id: MspId,
    pub(crate) domain: String,
    pub(crate) folder: PathBuf,
    pub(crate) msp: FabricMspConfig,
    pub(crate) node: Node,
}

/// All organisations of a network.
#[derive(Debug)]
pub(crate) struct Material {
    pub(crate) peers: Vec<OrganizationMaterial>,
    pub(crate) orderer: OrganizationMaterial,
}

/// Reads the material in `dir`, after making it if there is none.
pub(crate) fn open(dir: &Path, organizations: Option<usize>) -> Result<Material, NetworkError> {
    let peers_dir = dir.join("peerOrganizations");
    if !peers_dir.exists() {
        let count = organizations.unwrap_or(DEFAULT_ORGANIZATIONS);
        if count == 0 || count > ORGANIZATIONS_MAX {
            return Err(NetworkError::Organizations { count });
        }
        fabric_mspgen::cryptogen(dir, count)?;
    }
    let peers = subfolders(&peers_dir)?
        .into_iter()
        .map(|folder| organization(&folder, "peers", "peer0"))
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(wanted) = organizations
        && wanted != peers.len()
    {
        return Err(NetworkError::OtherOrganizations {
            wanted,
            found: peers.len(),
        });
    }
    let orderers = subfolders(&dir.join("ordererOrganizations"))?;
    let folder = orderers.first().ok_or_else(|| NetworkError::NoOrderer {
        dir: dir.to_owned(),
    })?;
    Ok(Material {
        peers,
        orderer: organization(folder, "orderers", "orderer")?,
    })
}

/// Folders in the order in which people number organisations: org2 before org10.
fn subfolders(dir: &Path) -> Result<Vec<PathBuf>, NetworkError> {
    let failed = |source| NetworkError::File {
        path: dir.to_owned(),
        source,
    };
    let mut folders = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    folders.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
    Ok(folders)
}

fn organization(
    folder: &Path,
    nodes: &str,
    node: &str,
) -> Result<OrganizationMaterial, NetworkError> {
    let organization = match fabric_mspgen::Organization::open(folder) {
        Err(fabric_mspgen::IssueError::NoOrganization { .. }) => {
            fabric_mspgen::Organization::open_as(folder, conventional_id(folder)?)?
        }
        organization => organization?,
    };
    let msp_id = organization.msp_id().clone();
    let domain = organization.domain().to_owned();
    let msp = Msp::from_dir(msp_id.clone(), &organization.msp_folder())?;
    let name = format!("{node}.{domain}");
    let node_dir = folder.join(nodes).join(&name);
    let read = |file: &str| {
        let path = node_dir.join("tls").join(file);
        fs::read(&path).map_err(|source| NetworkError::File { path, source })
    };
    Ok(OrganizationMaterial {
        node: Node {
            name,
            signer: SigningIdentity::from_msp_dir(msp_id.clone(), &node_dir.join("msp"))?,
            tls_certificate: read("server.crt")?,
            tls_key: read("server.key")?,
            tls_ca_file: node_dir.join("tls").join("ca.crt"),
        },
        msp: msp.to_config(),
        msp_id,
        domain,
        folder: folder.to_owned(),
    })
}

/// The MSP ID that Fabric's samples give the organisation of a folder: cryptogen notes none.
fn conventional_id(folder: &Path) -> Result<MspId, NetworkError> {
    let domain = folder.file_name().unwrap_or_default().to_string_lossy();
    let is_orderer = folder
        .parent()
        .is_some_and(|parent| parent.ends_with("ordererOrganizations"));
    let id = if is_orderer {
        "OrdererMSP".to_owned()
    } else {
        let label = domain.split('.').next().unwrap_or_default();
        let mut letters = label.chars();
        let first: String = letters
            .next()
            .into_iter()
            .flat_map(char::to_uppercase)
            .collect();
        format!("{first}{}MSP", letters.as_str())
    };
    MspId::parse(&id).map_err(|_| NetworkError::NoMspId {
        folder: folder.to_owned(),
    })
}
