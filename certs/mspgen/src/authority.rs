//! A CA: one certificate and its key.

use std::path::Path;

use aws_lc_rs::rand;
use fabric_msp::Certificate;
use rcgen::{CertificateParams, CertificateSigningRequestParams, Issuer, PublicKeyData};
use zeroize::Zeroizing;

use crate::error::IssueError;
use crate::files;
use crate::key::Key;
use crate::profile::{Content, Purpose, Validity};

/// A new certificate, its private key, and the certificate of the TLS CA that its holder needs to
/// check servers with.
pub struct KeyAndCert {
    /// The certificate.
    pub certificate: Certificate,
    /// The certificate as PEM.
    pub certificate_pem: String,
    /// The private key as PKCS#8 PEM; wiped on drop.
    pub key_pem: Zeroizing<String>,
    /// The organisation's TLS CA as PEM.
    pub tls_ca_pem: String,
}

impl std::fmt::Debug for KeyAndCert {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyAndCert")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

impl KeyAndCert {
    /// Writes `ca.crt`, `server.crt` and `server.key` into a folder, making it if need be.
    ///
    /// # Errors
    /// [`IssueError::File`], also when a file is there already.
    pub fn write_server(&self, folder: &Path) -> Result<(), IssueError> {
        self.write(folder, "server")
    }

    /// Writes `ca.crt`, `client.crt` and `client.key` into a folder, making it if need be.
    ///
    /// # Errors
    /// [`IssueError::File`], also when a file is there already.
    pub fn write_client(&self, folder: &Path) -> Result<(), IssueError> {
        self.write(folder, "client")
    }

    fn write(&self, folder: &Path, name: &str) -> Result<(), IssueError> {
        files::create_folder(folder)?;
        files::write_private(&folder.join(format!("{name}.key")), &self.key_pem)?;
        files::write_public(&folder.join(format!("{name}.crt")), &self.certificate_pem)?;
        files::write_public(&folder.join("ca.crt"), &self.tls_ca_pem)
    }
}

/// One CA of an organisation, either for signing or for TLS.
pub struct CertificateAuthority {
    certificate: Certificate,
    issuer: Issuer<'static, Key>,
}

impl std::fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertificateAuthority")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

impl CertificateAuthority {
    /// Makes a self-signed CA and writes it and its key as cryptogen does: `NAME-cert.pem` and
    /// `priv_sk`.
    pub(crate) fn create(
        folder: &Path,
        organization: &str,
        common_name: &str,
        validity: Validity,
    ) -> Result<Self, IssueError> {
        let (key, key_pem) = Key::generate()?;
        let content = Content {
            organization: organization.to_owned(),
            common_name: common_name.to_owned(),
            purpose: Purpose::Authority,
            validity,
        };
        let params = content.params(key.der_bytes(), random_serial()?)?;
        let certificate = params.self_signed(&key)?;
        files::create_private_folder(folder)?;
        files::write_private(&folder.join("priv_sk"), &key_pem)?;
        let certificate = read_back(certificate.der())?;
        let path = folder.join(format!("{common_name}-cert.pem"));
        files::write_public(&path, &certificate.pem())?;
        Self::new(certificate, key)
    }

    /// Opens a CA in a folder that [`crate::cryptogen`] or Fabric's cryptogen wrote.
    ///
    /// # Errors
    /// [`IssueError`] if certificate or key are missing or malformed.
    pub fn open(folder: &Path) -> Result<Self, IssueError> {
        let certificate = files::read_certificate(&files::find(folder, "-cert.pem")?)?;
        let key = Key::from_pem(&files::read_private(&files::find(folder, "_sk")?)?)?;
        Self::new(certificate, key)
    }

    fn new(certificate: Certificate, key: Key) -> Result<Self, IssueError> {
        let der = certificate.der().to_vec().into();
        let issuer = Issuer::from_ca_cert_der(&der, key)?;
        Ok(Self {
            certificate,
            issuer,
        })
    }

    /// The CA's certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    pub(crate) fn issuer(&self) -> &Issuer<'static, Key> {
        &self.issuer
    }

    /// Issues a certificate for a new key.
    pub(crate) fn issue(
        &self,
        content: Content,
    ) -> Result<(Certificate, Zeroizing<String>), IssueError> {
        let (key, key_pem) = Key::generate()?;
        Ok((self.certify(content, &key)?, key_pem))
    }

    /// Issues a certificate for a key that somebody else holds.
    pub(crate) fn certify(
        &self,
        content: Content,
        key: &impl PublicKeyData,
    ) -> Result<Certificate, IssueError> {
        let certificate = self
            .params(content, key.der_bytes())?
            .signed_by(key, &self.issuer)?;
        read_back(certificate.der())
    }

    /// Issues a certificate for the key of a signing request; everything else in the request is
    /// disregarded, since what a certificate says is the issuer's to decide.
    pub(crate) fn certify_request(
        &self,
        content: Content,
        request_pem: &str,
    ) -> Result<Certificate, IssueError> {
        let refuse = |reason| IssueError::Request { reason };
        let mut request = CertificateSigningRequestParams::from_pem(request_pem)
            .map_err(|_| refuse("malformed, or its signature does not hold"))?;
        if request.public_key.algorithm() != &rcgen::PKCS_ECDSA_P256_SHA256 {
            return Err(refuse("key is not ECDSA P-256"));
        }
        request.params = self.params(content, request.public_key.der_bytes())?;
        let certificate = request.signed_by(&self.issuer)?;
        read_back(certificate.der())
    }

    fn params(&self, mut content: Content, key: &[u8]) -> Result<CertificateParams, IssueError> {
        content.validity = content.validity.within(Validity {
            not_before: self.certificate.not_before(),
            not_after: self.certificate.not_after(),
        })?;
        content.params(key, random_serial()?)
    }
}

fn read_back(der: &[u8]) -> Result<Certificate, IssueError> {
    Certificate::from_der(der).map_err(|error| IssueError::Encoding(Box::new(error)))
}

fn random_serial() -> Result<[u8; 16], IssueError> {
    let mut serial = [0; 16];
    rand::fill(&mut serial).map_err(|unspecified| IssueError::Encoding(Box::new(unspecified)))?;
    Ok(serial)
}
