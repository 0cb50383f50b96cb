//! The MSP folder on disk.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use fabric_protos::msp::{FabricCryptoConfig, FabricMspConfig, FabricNodeOUs, FabricOuIdentifier};
use saphyr::{LoadableYamlNode as _, Yaml};

use crate::error::{IdentityError, MspError};
use crate::id::MspId;

/// Longest file that is read, in bytes; revocation lists are the long ones.
const MAX_FILE_BYTES: u64 = 8 * 1024 * 1024;

/// A file or folder that could not be read.
pub(crate) struct ReadError {
    path: PathBuf,
    source: io::Error,
}

impl From<ReadError> for MspError {
    fn from(error: ReadError) -> Self {
        let ReadError { path, source } = error;
        Self::Read { path, source }
    }
}

impl From<ReadError> for IdentityError {
    fn from(error: ReadError) -> Self {
        let ReadError { path, source } = error;
        Self::Read { path, source }
    }
}

/// The configuration that an MSP folder describes, without a signing identity.
pub(crate) fn read(msp_id: &MspId, dir: &Path) -> Result<FabricMspConfig, MspError> {
    let (units, node_ous) = read_config_yaml(dir)?;
    Ok(FabricMspConfig {
        name: msp_id.to_string(),
        root_certs: read_files(&dir.join("cacerts"))?,
        intermediate_certs: read_optional(&dir.join("intermediatecerts"))?,
        admins: read_optional(&dir.join("admincerts"))?,
        revocation_list: read_crls(dir)?,
        signing_identity: None,
        organizational_unit_identifiers: units,
        crypto_config: Some(FabricCryptoConfig {
            signature_hash_family: "SHA2".to_owned(),
            identity_identifier_hash_function: "SHA256".to_owned(),
        }),
        tls_root_certs: read_optional(&dir.join("tlscacerts"))?,
        tls_intermediate_certs: read_optional(&dir.join("tlsintermediatecerts"))?,
        fabric_node_ous: node_ous,
    })
}

/// The revocation lists of an MSP folder; none if there is no folder `crls`.
pub(crate) fn read_crls(dir: &Path) -> Result<Vec<Vec<u8>>, ReadError> {
    read_optional(&dir.join("crls"))
}

fn read_optional(dir: &Path) -> Result<Vec<Vec<u8>>, ReadError> {
    match read_files(dir) {
        Err(error) if error.source.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        result => result,
    }
}

/// The files of a folder by name, without hidden ones and folders.
pub(crate) fn read_files(dir: &Path) -> Result<Vec<Vec<u8>>, ReadError> {
    let failed = |source| ReadError {
        path: dir.to_owned(),
        source,
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    paths
        .iter()
        .filter(|path| !path.is_dir())
        .map(|path| read_file(path))
        .collect()
}

fn read_file(path: &Path) -> Result<Vec<u8>, ReadError> {
    let failed = |source| ReadError {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    // In one piece, so that growing leaves no copy of a private key behind.
    let mut bytes = Vec::with_capacity(length.min(MAX_FILE_BYTES) as usize + 1);
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    Ok(bytes)
}

type OuConfig = (Vec<FabricOuIdentifier>, Option<FabricNodeOUs>);

fn read_config_yaml(dir: &Path) -> Result<OuConfig, MspError> {
    let path = dir.join("config.yaml");
    let bytes = match read_file(&path) {
        Err(error) if error.source.kind() == io::ErrorKind::NotFound => {
            return Ok((Vec::new(), None));
        }
        result => result?,
    };
    let text = String::from_utf8(bytes).map_err(|_| malformed("not UTF-8"))?;
    parse_config_yaml(&text, dir)
}

fn parse_config_yaml(text: &str, dir: &Path) -> Result<OuConfig, MspError> {
    let documents = Yaml::load_from_str(text).map_err(|e| malformed(&e.to_string()))?;
    let Some(root) = documents.first() else {
        return Ok((Vec::new(), None));
    };
    let mut units = Vec::new();
    if let Some(list) = field(root, "OrganizationalUnitIdentifiers") {
        let list = list
            .as_vec()
            .ok_or_else(|| malformed("OrganizationalUnitIdentifiers is no list"))?;
        for entry in list {
            units.extend(identifier(entry, dir)?);
        }
    }
    let Some(node_ous) = field(root, "NodeOUs") else {
        return Ok((units, None));
    };
    match field(node_ous, "Enable").map(|enable| enable.as_bool()) {
        Some(Some(true)) => {}
        Some(Some(false)) | None => return Ok((units, None)),
        Some(None) => return Err(malformed("NodeOUs.Enable is no boolean")),
    }
    let role = |name| match field(node_ous, name) {
        Some(entry) => identifier(entry, dir),
        None => Ok(None),
    };
    let node_ous = FabricNodeOUs {
        enable: true,
        client_ou_identifier: role("ClientOUIdentifier")?,
        peer_ou_identifier: role("PeerOUIdentifier")?,
        admin_ou_identifier: role("AdminOUIdentifier")?,
        orderer_ou_identifier: role("OrdererOUIdentifier")?,
    };
    Ok((units, Some(node_ous)))
}

/// One OU with the certificate that its entry names, if any.
fn identifier(entry: &Yaml<'_>, dir: &Path) -> Result<Option<FabricOuIdentifier>, MspError> {
    let text = |name| match field(entry, name) {
        Some(value) => value
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| malformed(&format!("{name} is no text"))),
        None => Ok(String::new()),
    };
    let unit = text("OrganizationalUnitIdentifier")?;
    if unit.is_empty() {
        return Ok(None);
    }
    let certificate = match text("Certificate")? {
        file if file.is_empty() => Vec::new(),
        file => read_file(&dir.join(file))?,
    };
    Ok(Some(FabricOuIdentifier {
        certificate,
        organizational_unit_identifier: unit,
    }))
}

/// A field of a mapping, unless it is absent or null.
fn field<'a, 'b>(node: &'a Yaml<'b>, name: &str) -> Option<&'a Yaml<'b>> {
    node.as_mapping_get(name).filter(|value| !value.is_null())
}

fn malformed(reason: &str) -> MspError {
    MspError::Config {
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(yaml: &str) -> Result<Option<Vec<String>>, MspError> {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("cacerts")).unwrap();
        fs::write(folder.path().join("cacerts/ca.pem"), "the CA").unwrap();
        let (_, node_ous) = parse_config_yaml(yaml, folder.path())?;
        Ok(node_ous.map(|ous| {
            [
                ous.client_ou_identifier,
                ous.peer_ou_identifier,
                ous.admin_ou_identifier,
            ]
            .into_iter()
            .flatten()
            .map(|ou| {
                let certificate = String::from_utf8(ou.certificate).unwrap();
                format!("{}:{certificate}", ou.organizational_unit_identifier)
            })
            .collect()
        }))
    }

    #[test]
    fn units_and_their_certifiers_are_read() {
        let yaml = "NodeOUs:\n  Enable: true\n  ClientOUIdentifier:\n    Certificate: \
                    cacerts/ca.pem\n    OrganizationalUnitIdentifier: client\n  \
                    PeerOUIdentifier: {OrganizationalUnitIdentifier: peer}\n  \
                    AdminOUIdentifier:\n    Certificate: cacerts/ca.pem\n";
        let units = check(yaml).unwrap().unwrap();
        assert_eq!(units, ["client:the CA", "peer:"]);
    }

    #[test]
    fn node_ous_are_off_unless_enabled() {
        for yaml in [
            "",
            "NodeOUs:\n",
            "NodeOUs:\n  Enable: false\n",
            "Other: 1\n",
            "# empty\n",
        ] {
            assert_eq!(check(yaml).unwrap(), None, "{yaml:?}");
        }
    }

    #[test]
    fn nonsense_is_refused_and_not_taken_for_off() {
        for yaml in [
            "NodeOUs:\n  Enable: yes please\n",
            "NodeOUs: [unclosed",
            "NodeOUs:\n  Enable: true\n  ClientOUIdentifier:\n    OrganizationalUnitIdentifier: [1]\n",
            "NodeOUs:\n  Enable: true\n  ClientOUIdentifier:\n    Certificate: no/such.pem\n    \
             OrganizationalUnitIdentifier: client\n",
            "OrganizationalUnitIdentifiers: 3\n",
        ] {
            assert!(check(yaml).is_err(), "{yaml:?}");
        }
    }
}
