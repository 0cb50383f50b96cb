//! What is trusted.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use fabric_msp::block::ChannelConfig;
use fabric_msp::{Certificate, CertificateError, Msp, MspError, MspId, NodeOu, ValidIdentity};

/// Largest file of an anchor, bytes.
const ANCHOR_BYTES_MAX: u64 = 1 << 20;

/// One thing that is trusted.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Anchor {
    /// A block whose header has this hash: a configuration block with the organisations and
    /// policies in it, or a later one with what the chain of headers leads back to.
    Configuration([u8; 32]),
    /// Root CAs of an organisation: the peers and orderers that they certified.
    Organization {
        /// The organisation.
        msp_id: MspId,
        /// Its root CAs.
        roots: Vec<Certificate>,
    },
}

/// An anchor that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnchorError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The MSP folder is none.
    #[error("{} is no MSP folder", path.display())]
    Msp {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: MspError,
    },
    /// The file is neither a certificate nor a hash.
    #[error("{} holds neither a CA certificate nor the hash of a configuration block", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why it is no certificate.
        #[source]
        source: CertificateError,
    },
    /// The file is for an organisation, and it is not said for which.
    #[error("say whose CA {} is: --anchor MSPID=FILE", path.display())]
    Nameless {
        /// The file.
        path: PathBuf,
    },
    /// The name is no MSP ID.
    #[error("{name:?} is no MSP ID")]
    Name {
        /// What was given.
        name: String,
    },
}

/// Everything that is trusted.
#[derive(Debug, Clone, Default)]
pub struct Anchors {
    anchors: Vec<Anchor>,
}

impl Anchors {
    /// Trusts these.
    #[must_use]
    pub fn new(anchors: Vec<Anchor>) -> Self {
        Self { anchors }
    }

    /// What is trusted.
    #[must_use]
    pub fn all(&self) -> &[Anchor] {
        &self.anchors
    }

    pub(super) fn pins(&self, hash: &[u8; 32]) -> bool {
        let pins = |anchor: &Anchor| matches!(anchor, Anchor::Configuration(own) if own == hash);
        self.anchors.iter().any(pins)
    }

    /// Whether a trusted organisation itself vouches for somebody in this role. The bundle's own
    /// configuration says which certificates are whose, so the role is read from the certificate,
    /// in the unit's usual spelling, and every root of the MSP must be trusted.
    pub(super) fn vouch_for(
        &self,
        identity: &ValidIdentity,
        role: NodeOu,
        config: &ChannelConfig,
    ) -> bool {
        let Some(msp) = config.msps().msp(&identity.msp_id) else {
            return false;
        };
        let units = identity.certificate.organizational_units();
        let has_role = units.iter().any(|unit| unit == role.unit());
        let trusted = self.anchors.iter().any(|anchor| match anchor {
            Anchor::Organization { msp_id, roots } => {
                *msp_id == identity.msp_id
                    && msp.ca_certificates().iter().all(|ca| roots.contains(ca))
            }
            Anchor::Configuration(_) => false,
        });
        has_role && trusted
    }
}

impl Anchor {
    /// Reads `FILE` with the hash of a configuration block in hex, or `MSPID=PATH` with an MSP
    /// folder or a CA certificate (PEM).
    ///
    /// # Errors
    /// [`AnchorError`] says what is wrong with it.
    pub fn read(text: &str) -> Result<Self, AnchorError> {
        match text.split_once('=') {
            Some((name, path)) => {
                let msp_id = name.parse().map_err(|_| AnchorError::Name {
                    name: name.to_owned(),
                })?;
                Self::organization(msp_id, Path::new(path))
            }
            None => Self::configuration(Path::new(text)),
        }
    }

    /// The root CAs of an organisation: of its MSP folder, or a certificate.
    ///
    /// # Errors
    /// [`AnchorError`] if there are none.
    pub fn organization(msp_id: MspId, path: &Path) -> Result<Self, AnchorError> {
        if path.is_dir() {
            let msp = Msp::from_dir(msp_id.clone(), path).map_err(|source| AnchorError::Msp {
                path: path.to_owned(),
                source,
            })?;
            let roots = msp.ca_certificates().to_vec();
            return Ok(Self::Organization { msp_id, roots });
        }
        let certificate =
            Certificate::from_pem(&read(path)?).map_err(|source| AnchorError::Certificate {
                path: path.to_owned(),
                source,
            })?;
        Ok(Self::Organization {
            msp_id,
            roots: vec![certificate],
        })
    }

    fn configuration(path: &Path) -> Result<Self, AnchorError> {
        let bytes = read(path)?;
        let text = String::from_utf8_lossy(&bytes);
        let hash: Option<contract_interface::Digest> = text.trim().parse().ok();
        match (hash, Certificate::from_pem(&bytes)) {
            (Some(hash), _) => Ok(Self::Configuration(*hash.as_bytes())),
            (None, Ok(_)) => Err(AnchorError::Nameless {
                path: path.to_owned(),
            }),
            (None, Err(source)) => Err(AnchorError::Certificate {
                path: path.to_owned(),
                source,
            }),
        }
    }
}

impl std::fmt::Display for Anchor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Configuration(hash) => {
                let hash = contract_interface::Digest::from_bytes(*hash);
                write!(f, "block {hash}")
            }
            Self::Organization { msp_id, roots } => {
                let names: Vec<String> = roots.iter().map(Certificate::subject).collect();
                write!(f, "{msp_id}, by its CA {}", names.join(" and "))
            }
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, AnchorError> {
    let problem = |source| AnchorError::Read {
        path: path.to_owned(),
        source,
    };
    let file = fs::File::open(path).map_err(problem)?;
    let mut bytes = Vec::new();
    file.take(ANCHOR_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(problem)?;
    Ok(bytes)
}
