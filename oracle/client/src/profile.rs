//! Who is calling and which oracle: one small TOML file.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

/// Channel name when the profile has none.
const DEFAULT_CHANNEL: &str = "mychannel";

/// Largest profile, bytes.
const PROFILE_BYTES_MAX: u64 = 64 * 1024;

/// A person's profile. Paths in the file are relative to the file's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// `oracle_url`: base address of the oracle's REST API, `https://host:port`.
    pub oracle_url: String,
    /// `oracle_ca_file`: PEM certificates of the CA behind the oracle's TLS certificate.
    pub oracle_ca_file: PathBuf,
    /// `msp_id`: the person's organisation.
    pub msp_id: String,
    /// `msp_dir`: MSP folder with the person's certificate (`signcerts`) and key (`keystore`).
    pub msp_dir: PathBuf,
    /// `encryption_key_file`: private RSA key (JWK) that opens records; without it nothing can be
    /// opened here.
    pub encryption_key_file: Option<PathBuf>,
    /// `channel`: the Fabric channel that signed requests name.
    pub channel: String,
    /// `custody`: who holds the data keys of this person's records.
    pub custody: Custody,
    /// `anchors`: the CAs of the channel's organisations, each `MSPID=PATH` with an MSP folder or a
    /// CA certificate (PEM), by which the keys that an oracle shows are judged. The own
    /// organisation's is in `msp_dir`.
    pub anchors: Vec<String>,
}

/// Who holds the data keys of a patient's records, beside those to whom they were released.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Custody {
    /// The organisation's oracle too: it hands keys to those whom a grant permits.
    #[default]
    Organization,
    /// The patient alone: this client wraps keys for those to whom a grant is given.
    Patient,
}

/// What is wrong with a profile.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// The file cannot be read.
    #[error("cannot read the profile {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is too large to be a profile.
    #[error("{} is larger than a profile may be ({PROFILE_BYTES_MAX} bytes)", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is not TOML with the keys of a profile.
    #[error("the profile {} is malformed", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// The oracle's address is not one of an HTTPS server.
    #[error("oracle_url is {url:?}, not an address like https://oracle.example.com:8443")]
    OracleUrl {
        /// What it says.
        url: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProfile {
    oracle_url: String,
    oracle_ca_file: PathBuf,
    msp_id: String,
    msp_dir: PathBuf,
    encryption_key_file: Option<PathBuf>,
    channel: Option<String>,
    #[serde(default)]
    custody: Custody,
    #[serde(default)]
    anchors: Vec<String>,
}

impl Profile {
    /// Reads a profile.
    ///
    /// # Errors
    /// When the file cannot be read, is too large, is not a profile, or names no HTTPS address.
    pub fn load(path: &Path) -> Result<Self, ProfileError> {
        let read = |source| ProfileError::Read {
            path: path.to_owned(),
            source,
        };
        if fs::metadata(path).map_err(read)?.len() > PROFILE_BYTES_MAX {
            return Err(ProfileError::TooLarge {
                path: path.to_owned(),
            });
        }
        let text = fs::read_to_string(path).map_err(read)?;
        let raw: RawProfile = toml::from_str(&text).map_err(|source| ProfileError::Malformed {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        Self::from_raw(raw, path.parent().unwrap_or(Path::new(".")))
    }

    fn from_raw(raw: RawProfile, folder: &Path) -> Result<Self, ProfileError> {
        let url = raw.oracle_url.trim_end_matches('/');
        let is_https = url
            .parse::<::http::Uri>()
            .is_ok_and(|uri| uri.scheme_str() == Some("https") && matches!(uri.path(), "" | "/"));
        if !is_https {
            return Err(ProfileError::OracleUrl {
                url: raw.oracle_url,
            });
        }
        Ok(Self {
            oracle_url: url.to_owned(),
            oracle_ca_file: folder.join(raw.oracle_ca_file),
            msp_id: raw.msp_id,
            msp_dir: folder.join(raw.msp_dir),
            encryption_key_file: raw.encryption_key_file.map(|file| folder.join(file)),
            channel: raw.channel.unwrap_or_else(|| DEFAULT_CHANNEL.to_owned()),
            custody: raw.custody,
            anchors: raw
                .anchors
                .iter()
                .map(|text| anchor(text, folder))
                .collect(),
        })
    }
}

/// An anchor with its path made one of the profile's folder.
fn anchor(text: &str, folder: &Path) -> String {
    let (name, path) = text.split_once('=').unwrap_or(("", text));
    format!("{name}={}", folder.join(path).display())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = "oracle_url = \"https://localhost:8443\"\noracle_ca_file = \"ca.crt\"\n\
                           msp_id = \"Org1MSP\"\nmsp_dir = \"msp\"\n";

    fn load(text: &str) -> Result<Profile, ProfileError> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("p.toml");
        fs::write(&file, text).unwrap();
        let mut profile = Profile::load(&file)?;
        profile.msp_dir = profile.msp_dir.strip_prefix(dir.path()).unwrap().to_owned();
        Ok(profile)
    }

    #[test]
    fn a_minimal_profile_has_defaults_and_relative_paths() {
        let profile = load(MINIMAL).unwrap();
        assert_eq!(profile.channel, DEFAULT_CHANNEL);
        assert_eq!(profile.msp_dir, Path::new("msp"));
        assert_eq!(profile.encryption_key_file, None);
        assert_eq!(profile.custody, Custody::Organization);
        let own = load(&format!("{MINIMAL}custody = \"patient\"\n")).unwrap();
        assert_eq!(own.custody, Custody::Patient);
        assert!(load(&format!("{MINIMAL}custody = \"nobody\"\n")).is_err());
        assert!(own.anchors.is_empty());
        let pinned = format!("{MINIMAL}anchors = [\"Org1MSP=ca.pem\", \"Org2MSP=/org2/msp\"]\n");
        let pinned = load(&pinned).unwrap().anchors;
        assert!(pinned[0].starts_with("Org1MSP=/") && pinned[0].ends_with("/ca.pem"));
        assert_eq!(pinned[1], "Org2MSP=/org2/msp");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let http = MINIMAL.replace("https", "http");
        assert!(matches!(load(&http), Err(ProfileError::OracleUrl { .. })));
        let path = MINIMAL.replace("8443", "8443/v1");
        assert!(matches!(load(&path), Err(ProfileError::OracleUrl { .. })));
        let unknown = format!("{MINIMAL}chanel = \"x\"\n");
        let Err(ProfileError::Malformed { source, .. }) = load(&unknown) else {
            panic!("an unknown key was taken")
        };
        assert!(source.to_string().contains("chanel"));
        let large = format!("{MINIMAL}#{}", "x".repeat(70_000));
        assert!(matches!(load(&large), Err(ProfileError::TooLarge { .. })));
        assert!(matches!(
            Profile::load(Path::new("/nowhere/p.toml")),
            Err(ProfileError::Read { .. })
        ));
    }
}
