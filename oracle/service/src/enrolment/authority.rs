//! The organisation's device CA: certificates for keys that devices hold.
//!
//! They say what `fabric-mspgen issue device` would write (a test compares them): the device ID as common name, the
//! organisational unit of clients, good for TLS clients only.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use contract_interface::DeviceId;
use fabric_msp::{Certificate, Msp, NodeOu, PrivateKey};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyIdMethod, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SerialNumber,
    SignatureAlgorithm, SigningKey,
};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use super::error::{AuthorityError, EnrolmentError};

/// Permission bits of the key file that must be clear: it is the owner's alone.
const NOT_THE_OWNERS: u32 = 0o077;
/// How far a certificate is dated back, seconds, so that clocks that lag accept it.
const BACKDATE_SECONDS: i64 = 5 * 60;
/// Bytes of a serial number (RFC 5280 allows 20).
const SERIAL_BYTES: usize = 16;
/// Bytes of an uncompressed point on P-256.
const POINT_BYTES: usize = 65;

/// The CA's key. rcgen's own would leave S as it comes, and Fabric wants it low.
struct Key(PrivateKey);

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0
            .sign(message)
            .map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

/// A device's public key.
struct DeviceKey<'a>(&'a [u8]);

impl PublicKeyData for DeviceKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

/// The device CA.
pub(crate) struct Authority {
    certificate: Certificate,
    organization: String,
    issuer: Issuer<'static, Key>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// Reads the CA and checks that `msp`, the devices', accepts what it issues at `now`.
    ///
    /// # Errors
    ///
    /// [`AuthorityError`].
    pub(crate) fn load(
        certificate_file: &Path,
        key_file: &Path,
        msp: &Msp,
        now: i64,
    ) -> Result<Self, AuthorityError> {
        let authority = Self::read(certificate_file, key_file)?;
        let probe: DeviceId = "probe".parse().expect("a device ID");
        let key = authority.issuer.key().der_bytes().to_vec();
        let issued = authority
            .issue(&probe, &key, now, Duration::from_secs(3600))
            .map_err(|error| match error {
                EnrolmentError::Issue(source) => AuthorityError::Issue(source),
                _ => AuthorityError::Content {
                    path: certificate_file.to_owned(),
                    wanted: "certificate of a CA that is valid now",
                },
            })?;
        msp.validate_at(&issued, now)
            .map_err(AuthorityError::NotInMsp)?;
        Ok(authority)
    }

    fn read(certificate_file: &Path, key_file: &Path) -> Result<Self, AuthorityError> {
        let wrong = |path: &Path, wanted| AuthorityError::Content {
            path: path.to_owned(),
            wanted,
        };
        let pem = read_file(certificate_file)?;
        let certificate = Certificate::from_pem(&pem)
            .ok()
            .filter(Certificate::is_ca)
            .ok_or_else(|| wrong(certificate_file, "certificate of a CA"))?;
        let key = PrivateKey::from_pem(&Zeroizing::new(read_private(key_file)?))
            .ok()
            .filter(|key| key.public_key_bytes().len() == POINT_BYTES)
            .ok_or_else(|| wrong(key_file, "private key on P-256 (PEM)"))?;
        let (_, parsed) = X509Certificate::from_der(certificate.der())
            .map_err(|_| wrong(certificate_file, "certificate of a CA"))?;
        if parsed.public_key().subject_public_key.data != key.public_key_bytes() {
            return Err(AuthorityError::Mismatch {
                path: certificate_file.to_owned(),
            });
        }
        let organization = parsed.subject().iter_organization().next();
        let organization = organization.and_then(|name| name.as_str().ok());
        let organization = organization.unwrap_or_default().to_owned();
        let der = certificate.der().to_vec().into();
        let issuer = Issuer::from_ca_cert_der(&der, Key(key)).map_err(AuthorityError::Issue)?;
        Ok(Self {
            certificate,
            organization,
            issuer,
        })
    }

    /// The CA's certificate.
    pub(crate) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// A certificate for a device's key, valid from `now`, and no longer than the CA's own.
    ///
    /// # Errors
    ///
    /// [`EnrolmentError::Issue`], [`EnrolmentError::NoRandomness`], or [`EnrolmentError::Unreadable`] for a CA
    /// that has ended.
    pub(super) fn issue(
        &self,
        device_id: &DeviceId,
        key: &[u8],
        now: i64,
        validity: Duration,
    ) -> Result<Certificate, EnrolmentError> {
        let mut params = CertificateParams::default();
        params.serial_number = Some(serial()?);
        let life = i64::try_from(validity.as_secs()).unwrap_or(i64::MAX);
        let start = now
            .saturating_sub(BACKDATE_SECONDS)
            .max(self.certificate.not_before());
        let end = now.saturating_add(life).min(self.certificate.not_after());
        if end <= now {
            return Err(EnrolmentError::Unreadable);
        }
        params.not_before = date(start)?;
        params.not_after = date(end)?;
        let mut name = DistinguishedName::new();
        if !self.organization.is_empty() {
            name.push(DnType::OrganizationName, self.organization.as_str());
        }
        name.push(DnType::OrganizationalUnitName, NodeOu::Client.unit());
        name.push(DnType::CommonName, device_id.as_str());
        params.distinguished_name = name;
        params.use_authority_key_identifier_extension = true;
        // Fabric's own: SHA-256 over the point, not over the structure around it.
        let key_id = digest(&SHA256, key).as_ref().to_vec();
        params.key_identifier_method = KeyIdMethod::PreSpecified(key_id);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let issued = params
            .signed_by(&DeviceKey(key), &self.issuer)
            .map_err(EnrolmentError::Issue)?;
        Certificate::from_der(issued.der()).map_err(|_| EnrolmentError::Unreadable)
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, AuthorityError> {
    std::fs::read(path).map_err(|source| AuthorityError::Read {
        path: path.to_owned(),
        source,
    })
}

fn read_private(path: &Path) -> Result<Vec<u8>, AuthorityError> {
    let failed = |source| AuthorityError::Read {
        path: PathBuf::from(path),
        source,
    };
    let mode = std::fs::metadata(path)
        .map_err(failed)?
        .permissions()
        .mode()
        & 0o777;
    if mode & NOT_THE_OWNERS != 0 {
        return Err(AuthorityError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    read_file(path)
}

/// Positive and never zero.
fn serial() -> Result<SerialNumber, EnrolmentError> {
    let mut bytes = [0; SERIAL_BYTES];
    rand::fill(&mut bytes).map_err(|_| EnrolmentError::NoRandomness)?;
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn date(unix_seconds: i64) -> Result<OffsetDateTime, EnrolmentError> {
    OffsetDateTime::from_unix_timestamp(unix_seconds).map_err(|_| EnrolmentError::Unreadable)
}
