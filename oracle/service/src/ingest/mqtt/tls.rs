//! TLS with client certificates, checked against the organisation's MSP: chain, expiry, revocation.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use fabric_msp::{Certificate, Msp, MspError, MspId};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    SignatureScheme,
};
use thiserror::Error;

/// Why the TLS side cannot be set up.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A PEM file cannot be read.
    #[error("{} holds no usable PEM", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// The clients' MSP cannot be read.
    #[error("the MSP in {} cannot be used", path.display())]
    Msp {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: MspError,
    },
    /// Certificate and key cannot serve.
    #[error("the server's certificate and key cannot be used")]
    Server(#[from] Error),
}

/// The MSP that device certificates must belong to; read again when its folder changed.
#[derive(Debug)]
pub struct DeviceMsp {
    msp_id: MspId,
    dir: PathBuf,
    /// Replaced as a whole; held for a clone.
    current: RwLock<Arc<Msp>>,
}

impl DeviceMsp {
    /// Reads the MSP.
    ///
    /// # Errors
    ///
    /// [`TlsError::Msp`].
    pub fn open(msp_id: MspId, dir: &Path) -> Result<Self, TlsError> {
        let msp = read_msp(&msp_id, dir)?;
        Ok(Self {
            msp_id,
            dir: dir.to_path_buf(),
            current: RwLock::new(Arc::new(msp)),
        })
    }

    /// Reads it again, for a new CRL or CA. A folder that cannot be read leaves the last one in force.
    ///
    /// # Errors
    ///
    /// [`TlsError::Msp`].
    pub fn reload(&self) -> Result<(), TlsError> {
        let msp = read_msp(&self.msp_id, &self.dir)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(msp);
        Ok(())
    }

    /// Checks a certificate: chain, expiry, revocation.
    ///
    /// # Errors
    ///
    /// [`MspError`].
    pub fn check(&self, certificate: &Certificate, unix_seconds: i64) -> Result<(), MspError> {
        self.msp().validate_at(certificate, unix_seconds).map(drop)
    }

    fn msp(&self) -> Arc<Msp> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn read_msp(msp_id: &MspId, dir: &Path) -> Result<Msp, TlsError> {
    Msp::from_dir(msp_id.clone(), dir).map_err(|source| TlsError::Msp {
        path: dir.to_path_buf(),
        source,
    })
}

/// A server configuration for TLS 1.2 and 1.3 that demands a device certificate.
///
/// # Errors
///
/// [`TlsError`].
pub(super) fn server_config(
    certificate_file: &Path,
    key_file: &Path,
    msp: &Arc<DeviceMsp>,
) -> Result<ServerConfig, TlsError> {
    let pem = |path: &Path, source| TlsError::Pem {
        path: path.to_path_buf(),
        source,
    };
    let read = |path: &Path| {
        fs::read(path)
            .map_err(|error: io::Error| pem(path, rustls::pki_types::pem::Error::Io(error)))
    };
    let chain = CertificateDer::pem_slice_iter(&read(certificate_file)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| pem(certificate_file, source))?;
    let key =
        PrivateKeyDer::from_pem_slice(&read(key_file)?).map_err(|source| pem(key_file, source))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = Arc::new(DeviceVerifier {
        msp: Arc::clone(msp),
        provider: Arc::clone(&provider),
        hints: hints(msp),
    });
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    // A resumed session would skip the check for revocation and expiry.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// Names of the CAs, by which a client chooses its certificate.
fn hints(msp: &DeviceMsp) -> Vec<DistinguishedName> {
    let msp = msp.msp();
    let authorities = msp.ca_certificates().iter();
    authorities
        .chain(msp.intermediate_certificates())
        .filter_map(|ca| {
            let der = CertificateDer::from(ca.der());
            let anchor = webpki_anchor_subject(&der)?;
            Some(anchor)
        })
        .collect()
}

fn webpki_anchor_subject(der: &CertificateDer<'_>) -> Option<DistinguishedName> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(der.clone().into_owned()).ok()?;
    roots.subjects().pop()
}

#[derive(Debug)]
struct DeviceVerifier {
    msp: Arc<DeviceMsp>,
    provider: Arc<CryptoProvider>,
    hints: Vec<DistinguishedName>,
}

impl ClientCertVerifier for DeviceVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let certificate = Certificate::from_der(end_entity)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        match self.msp.check(&certificate, seconds) {
            Ok(()) => Ok(ClientCertVerified::assertion()),
            Err(error) => {
                tracing::info!(serial = certificate.serial_hex(), %error, "device certificate refused");
                Err(Error::InvalidCertificate(reason(
                    &certificate,
                    seconds,
                    &error,
                )))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// The certificate error whose TLS alert says what is wrong.
fn reason(certificate: &Certificate, seconds: i64, error: &MspError) -> CertificateError {
    if seconds > certificate.not_after() {
        CertificateError::Expired
    } else if seconds < certificate.not_before() {
        CertificateError::NotValidYet
    } else if matches!(error, MspError::Revoked { .. }) {
        CertificateError::Revoked
    } else {
        CertificateError::UnknownIssuer
    }
}
