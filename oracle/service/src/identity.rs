//! Who the oracle is: its certificate and signing key, its encryption keys, and its entry in the
//! channel's directory.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use contract_interface::{
    Digest, Jwk, KeyProof, ParticipantId, ParticipantRegistration, Role, Status, canonical_json,
};
use fabric_msp::{Certificate, IdentityError, Msp, MspError, MspId, SigningIdentity, jws};
use sealed_object::{KeyError, PrivateKey, PublicKey};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::config::{Config, Custody};
use crate::keys::OracleKeys;
use crate::ledger::{Ledger, LedgerError, Viewer};

/// Permission bits of the key file that must be clear: it is the owner's alone.
const NOT_THE_OWNERS: u32 = 0o077;
/// Bytes of the key file; an RSA key of 8192 bits needs about 6 KiB.
const KEY_FILE_BYTES_MAX: u64 = 64 << 10;
/// First wait before the channel is asked again at start; doubles.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// Longest wait before the channel is asked again at start.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// What the name of an oracle's ID is derived from, in front of MSP ID and subject.
const ID_LABEL: &[u8] = b"salus oracle participant\0";

/// The oracle's keys.
#[derive(Clone)]
pub(crate) struct Identity {
    /// Signs transactions.
    pub(crate) signing: SigningIdentity,
    /// The CA certificate that issued its own.
    pub(crate) issuer: Certificate,
    /// Opens data keys and gates; none in a process that only takes readings.
    pub(crate) keys: Option<OracleKeys>,
    /// For whom data keys are wrapped beside the patient; none in custody of the patient.
    pub(crate) holders: Vec<PublicKey>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("msp_id", self.signing.msp_id())
            .finish_non_exhaustive()
    }
}

/// Why the oracle cannot be who it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityLoadError {
    /// Certificate or signing key.
    #[error("the MSP folder {} cannot be used", path.display())]
    Signing {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: IdentityError,
    },
    /// The CA certificates of the own organisation.
    #[error("the CA certificates in the MSP folder {} cannot be used", path.display())]
    Authorities {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: MspError,
    },
    /// None of the CA certificates issued the oracle's own.
    #[error("no CA certificate in {} issued the oracle's own certificate", path.display())]
    Issuer {
        /// The folder.
        path: PathBuf,
    },
    /// The key file cannot be read.
    #[error("the encryption key file {} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Others than its owner may read the key file.
    #[error(
        "the encryption key file {} may be read by others than its owner (mode {mode:o}); \
         set its mode to 600",
        path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key file holds no private RSA key as JWK.
    #[error("the encryption key file {} holds no usable private RSA key (JWK)", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// A public key file holds no public RSA key as JWK.
    #[error("the public key file {} holds no usable public RSA key (JWK)", path.display())]
    PublicKey {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: KeyError,
    },
}

impl Identity {
    /// Reads certificate and keys.
    ///
    /// # Errors
    ///
    /// [`IdentityLoadError`].
    pub(crate) fn load(config: &Config) -> Result<Self, IdentityLoadError> {
        let msp_dir = &config.identity.msp_dir;
        let signing = SigningIdentity::from_msp_dir(config.organization.msp_id.clone(), msp_dir)
            .map_err(|source| IdentityLoadError::Signing {
                path: msp_dir.clone(),
                source,
            })?;
        let issuer = issuer(signing.msp_id(), signing.certificate(), msp_dir)?;
        let keys = match &config.identity.encryption_key_file {
            Some(file) => {
                let previous = config.identity.previous_encryption_key_files.iter();
                let previous: Vec<PrivateKey> = previous
                    .map(|file| decryption_key(file))
                    .collect::<Result<_, _>>()?;
                Some(OracleKeys::new(decryption_key(file)?, previous))
            }
            None => None,
        };
        let holders = match (&keys, config.organization.custody) {
            (_, Custody::Patient) => Vec::new(),
            (Some(keys), Custody::Organization) => vec![keys.public().clone()],
            (None, Custody::Organization) => {
                let files = config.identity.encryption_public_key_files.iter();
                files
                    .map(|file| public_key(file))
                    .collect::<Result<_, _>>()?
            }
        };
        Ok(Self {
            signing,
            issuer,
            keys,
            holders,
        })
    }
}

/// The CA certificate in an MSP folder that issued `certificate`.
fn issuer(
    msp_id: &MspId,
    certificate: &Certificate,
    folder: &Path,
) -> Result<Certificate, IdentityLoadError> {
    let msp =
        Msp::from_dir(msp_id.clone(), folder).map_err(|source| IdentityLoadError::Authorities {
            path: folder.to_owned(),
            source,
        })?;
    let authorities = msp.ca_certificates().iter();
    authorities
        .chain(msp.intermediate_certificates())
        .find(|authority| certificate.is_issued_by(authority))
        .cloned()
        .ok_or_else(|| IdentityLoadError::Issuer {
            path: folder.to_owned(),
        })
}

/// The public key in a file; a private one is refused, so that it stays where it belongs.
fn public_key(path: &Path) -> Result<PublicKey, IdentityLoadError> {
    let text = read_small(path)?;
    PublicKey::from_jwk(&text).map_err(|source| IdentityLoadError::PublicKey {
        path: path.to_owned(),
        source,
    })
}

fn decryption_key(path: &Path) -> Result<PrivateKey, IdentityLoadError> {
    let metadata = std::fs::metadata(path).map_err(|source| IdentityLoadError::Read {
        path: path.to_owned(),
        source,
    })?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & NOT_THE_OWNERS != 0 {
        return Err(IdentityLoadError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    let text = read_small(path)?;
    PrivateKey::from_jwk(&text).map_err(|source| IdentityLoadError::Key {
        path: path.to_owned(),
        source,
    })
}

fn read_small(path: &Path) -> Result<Zeroizing<String>, IdentityLoadError> {
    let read = |source| IdentityLoadError::Read {
        path: path.to_owned(),
        source,
    };
    if std::fs::metadata(path).map_err(read)?.len() > KEY_FILE_BYTES_MAX {
        return Err(read(std::io::ErrorKind::FileTooLarge.into()));
    }
    Ok(Zeroizing::new(std::fs::read_to_string(path).map_err(read)?))
}

/// Enters the oracle with its certificate and public key into the channel's directory, unless it
/// is there as it should be. Asks until the channel answers or `stop`.
///
/// # Errors
///
/// [`LedgerError`] that asking again will not mend.
pub(crate) async fn register(
    ledger: &Ledger,
    identity: &Identity,
    stop: &CancellationToken,
) -> Result<(), LedgerError> {
    let mut wait = FIRST_WAIT;
    loop {
        let error = match register_once(ledger, identity).await {
            Ok(()) => return Ok(()),
            Err(error) if error.is_retryable() => error,
            Err(error) => return Err(error),
        };
        tracing::warn!(%error, ?wait, "the channel does not answer yet");
        tokio::select! {
            () = stop.cancelled() => return Err(error),
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(LONGEST_WAIT),
        }
    }
}

async fn register_once(ledger: &Ledger, identity: &Identity) -> Result<(), LedgerError> {
    let certificate = identity.signing.certificate();
    let own_key: Option<Jwk> = match &identity.keys {
        Some(keys) => {
            Some(serde_json::from_str(&keys.public().to_jwk()).map_err(LedgerError::Answer)?)
        }
        None => None,
    };
    let thumbprint = Digest::from_bytes(certificate.thumbprint());
    let known = match ledger
        .participant_by_thumbprint(Viewer::Oracle, &thumbprint)
        .await
    {
        // Nobody is registered on a fresh channel: the first registration sets it up.
        Err(LedgerError::Contract { code: Some(_), .. }) => None,
        answer => answer?,
    };
    let participant_id = match &known {
        Some(participant) => participant.participant_id,
        None => participant_id(ledger.msp_id(), certificate),
    };
    // A process without private keys leaves alone what is registered: the process that serves
    // people may act with the same certificate.
    let registered_key = known
        .as_ref()
        .and_then(|known| known.encryption_key.clone());
    let encryption_key = own_key.or_else(|| registered_key.clone());
    if known.is_some_and(|participant| {
        registered_key == encryption_key
            && participant.key_proof.is_some() == encryption_key.is_some()
            && participant.role == Role::Oracle
            && participant.status == Status::Active
    }) {
        return Ok(());
    }
    let registered = ledger
        .register_participant(&ParticipantRegistration {
            participant_id,
            role: Role::Oracle,
            certificate: certificate.pem(),
            key_proof: key_proof(&identity.signing, participant_id, encryption_key.as_ref())?,
            encryption_key,
            status: Status::Active,
        })
        .await?;
    tracing::info!(
        %participant_id,
        tx_id = registered.transaction_id,
        block = registered.block_number,
        "registered this oracle"
    );
    Ok(())
}

/// The oracle's own word that the key is its own, for who wraps data keys behind it.
fn key_proof(
    signing: &SigningIdentity,
    participant_id: ParticipantId,
    key: Option<&Jwk>,
) -> Result<Option<String>, LedgerError> {
    let Some(key) = key else { return Ok(None) };
    let statement = canonical_json(&KeyProof::new(participant_id, key));
    let statement = statement.map_err(LedgerError::Argument)?;
    let proof = jws::sign_as(signing, KeyProof::TYPE, &statement);
    proof.map(Some).map_err(LedgerError::Signature)
}

/// The oracle's ID: the same for every certificate of one subject, so that a renewed certificate
/// renews the entry instead of making a second one. It identifies an organisation's server, so
/// nothing is lost by its not being random.
fn participant_id(msp_id: &MspId, certificate: &Certificate) -> ParticipantId {
    let subject = certificate.subject();
    let name = Digest::of_parts(&[
        ID_LABEL,
        msp_id.as_str().as_bytes(),
        b"\0",
        subject.as_bytes(),
    ]);
    let mut bytes = [0; ParticipantId::BYTES];
    bytes.copy_from_slice(&name.as_bytes()[..ParticipantId::BYTES]);
    ParticipantId::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().expect("temp dir");
        let path = folder.path().join("key.jwk");
        std::fs::write(&path, "{}").expect("written");
        let set = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set");
        };
        set(0o640);
        assert!(matches!(
            decryption_key(&path),
            Err(IdentityLoadError::Exposed { mode: 0o640, .. })
        ));
        set(0o600);
        assert!(matches!(
            decryption_key(&path),
            Err(IdentityLoadError::Key { .. })
        ));
        assert!(matches!(
            decryption_key(&folder.path().join("absent")),
            Err(IdentityLoadError::Read { .. })
        ));
    }

    #[test]
    fn a_private_key_is_no_public_key_file() {
        let folder = tempfile::tempdir().expect("temp dir");
        let path = folder.path().join("key.jwk");
        let [key, ..] = &*crate::keys::tests::KEYS;
        std::fs::write(&path, key.to_jwk().as_str()).expect("written");
        assert!(matches!(
            public_key(&path),
            Err(IdentityLoadError::PublicKey {
                source: KeyError::PrivateKeyGiven,
                ..
            })
        ));
        std::fs::write(&path, key.public_key().to_jwk()).expect("written");
        assert_eq!(&public_key(&path).expect("public"), key.public_key());
    }
}
