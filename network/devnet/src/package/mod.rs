//! Chaincode packages: the `.tar.gz` that an administrator installs on a peer.
//!
//! A package is a gzip-compressed tar of `metadata.json` (type, path, label) and
//! `code.tar.gz`, which for chaincode as a service holds `connection.json`. Its ID is
//! `label:` and the SHA-256 of the outer file, so the same content must give the same bytes
//! everywhere: [`build`] writes no time, owner or host into it.

mod connection;
#[cfg(test)]
mod tests;

use std::io::Read;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use connection::{
    Connection, ConnectionError, ConnectionTls, ExpandedConnection,
    parse_go_duration as parse_duration,
};

/// The package type that this network runs: chaincode as a service.
pub const CCAAS: &str = "ccaas";
/// Largest package accepted, in bytes.
pub const MAX_PACKAGE_BYTES: usize = 16 << 20;
/// Largest size of one file inside a package once decompressed, in bytes.
const MAX_ENTRY_BYTES: u64 = 64 << 20;

const METADATA_FILE: &str = "metadata.json";
const CODE_FILE: &str = "code.tar.gz";
const CONNECTION_FILE: &str = "connection.json";

/// Why bytes are not a chaincode package, or a package cannot be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PackageError {
    /// The package is larger than [`MAX_PACKAGE_BYTES`].
    #[error("package of {bytes} bytes is larger than the limit of {MAX_PACKAGE_BYTES} bytes")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The gzip or tar layer is damaged.
    #[error("error reading as gzip stream")]
    Archive(#[source] std::io::Error),
    /// A file that every package has is missing.
    #[error("did not find a {0} inside the package")]
    Missing(&'static str),
    /// `metadata.json` is not what it should be.
    #[error("could not unmarshal metadata.json as json")]
    Metadata(#[source] serde_json::Error),
    /// The label has characters that Fabric does not allow.
    #[error(
        "invalid label '{0}'. Label must be non-empty, can only consist of alphanumerics, symbols from '.+-_', and can only begin with alphanumerics"
    )]
    Label(String),
    /// The package is of a type that this network cannot run.
    #[error("chaincode type should be ccaas, it is {0}")]
    Type(String),
    /// `connection.json` is not what it should be.
    #[error("malformed connection.json")]
    Connection(#[source] serde_json::Error),
}

/// What `metadata.json` says.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// Package type; `ccaas` here.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// Source path of other package types.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Name the administrator gave the package.
    #[serde(default)]
    pub label: String,
}

/// A package as it is installed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Package {
    /// `label:hash`; the chaincode needs it as `CORE_CHAINCODE_ID_NAME`.
    pub id: String,
    /// The `.tar.gz`.
    pub bytes: Vec<u8>,
}

/// Makes the package of a chaincode that listens at `address` without TLS.
///
/// # Errors
/// As [`build`].
pub fn ccaas(label: &str, address: &str) -> Result<Package, PackageError> {
    let bytes = build(label, &Connection::plain(address))?;
    Ok(Package {
        id: package_id(label, &bytes),
        bytes,
    })
}

/// A package taken apart.
#[derive(Clone, Debug)]
pub struct ParsedPackage {
    /// Its `metadata.json`.
    pub metadata: Metadata,
    /// How the peer reaches the chaincode, templates not yet filled in.
    pub connection: Connection,
    /// `label:hash`, under which the chaincode registers.
    pub package_id: String,
}

/// Makes the package of a chaincode that listens at `connection`; equal input gives equal bytes.
///
/// # Errors
/// [`PackageError::Label`] when Fabric would refuse the label.
pub fn build(label: &str, connection: &Connection) -> Result<Vec<u8>, PackageError> {
    check_label(label)?;
    let metadata = Metadata {
        kind: CCAAS.to_owned(),
        path: String::new(),
        label: label.to_owned(),
    };
    let connection = serde_json::to_vec(connection).map_err(PackageError::Connection)?;
    let metadata = serde_json::to_vec(&metadata).map_err(PackageError::Metadata)?;
    let code = archive(&[(CONNECTION_FILE, &connection)])?;
    archive(&[(METADATA_FILE, &metadata), (CODE_FILE, &code)])
}

/// Takes a package apart and checks it as a peer does at installation.
///
/// # Errors
/// [`PackageError`], naming what is wrong.
pub fn parse(bytes: &[u8]) -> Result<ParsedPackage, PackageError> {
    if bytes.len() > MAX_PACKAGE_BYTES {
        return Err(PackageError::TooLarge { bytes: bytes.len() });
    }
    let metadata = entry(bytes, METADATA_FILE)?.ok_or(PackageError::Missing(METADATA_FILE))?;
    let code = entry(bytes, CODE_FILE)?.ok_or(PackageError::Missing("code package"))?;
    let metadata: Metadata = serde_json::from_slice(&metadata).map_err(PackageError::Metadata)?;
    check_label(&metadata.label)?;
    if !metadata.kind.eq_ignore_ascii_case(CCAAS) {
        return Err(PackageError::Type(metadata.kind));
    }
    let connection =
        entry(&code, CONNECTION_FILE)?.ok_or(PackageError::Missing(CONNECTION_FILE))?;
    let connection = serde_json::from_slice(&connection).map_err(PackageError::Connection)?;
    let package_id = package_id(&metadata.label, bytes);
    Ok(ParsedPackage {
        metadata,
        connection,
        package_id,
    })
}

/// The ID under which a package of these bytes is installed.
#[must_use]
pub fn package_id(label: &str, bytes: &[u8]) -> String {
    format!("{label}:{}", hex::encode(digest(&SHA256, bytes)))
}

fn check_label(label: &str) -> Result<(), PackageError> {
    let starts_well = label.starts_with(|first: char| first.is_ascii_alphanumeric());
    let rest = |c: char| c.is_ascii_alphanumeric() || "_.+-".contains(c);
    if starts_well && label.chars().all(rest) {
        Ok(())
    } else {
        Err(PackageError::Label(label.to_owned()))
    }
}

fn archive(files: &[(&str, &[u8])]) -> Result<Vec<u8>, PackageError> {
    let encoder = flate2::GzBuilder::new()
        .mtime(0)
        .operating_system(255)
        .write(Vec::new(), flate2::Compression::default());
    let mut tar = tar::Builder::new(encoder);
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        tar.append_data(&mut header, name, *content)
            .map_err(PackageError::Archive)?;
    }
    let encoder = tar.into_inner().map_err(PackageError::Archive)?;
    encoder.finish().map_err(PackageError::Archive)
}

/// The content of one regular file of a gzip-compressed tar.
fn entry(archive: &[u8], wanted: &str) -> Result<Option<Vec<u8>>, PackageError> {
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(archive));
    for entry in tar.entries().map_err(PackageError::Archive)? {
        let entry = entry.map_err(PackageError::Archive)?;
        let path = entry.path().map_err(PackageError::Archive)?;
        let name = path.strip_prefix("./").unwrap_or(&path);
        if name != std::path::Path::new(wanted) || !entry.header().entry_type().is_file() {
            continue;
        }
        let mut content = Vec::new();
        entry
            .take(MAX_ENTRY_BYTES)
            .read_to_end(&mut content)
            .map_err(PackageError::Archive)?;
        return Ok(Some(content));
    }
    Ok(None)
}
