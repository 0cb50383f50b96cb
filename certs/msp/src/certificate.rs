//! One X.509 certificate, read once.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::asn1_rs::{BitString, FromDer, Sequence, ToDer};
use x509_parser::certificate::X509Certificate;

use crate::error::{CertificateError, SignatureError};
use crate::extensions::Extensions;
use crate::low_s;
use crate::name::DistinguishedName;
use crate::public_key::PublicKey;

/// Longest certificate that is read, in bytes of DER.
pub const MAX_CERTIFICATE_BYTES: usize = 64 * 1024;

/// Characters on a line of PEM (RFC 7468 section 2).
const PEM_LINE: usize = 64;

/// An X.509 certificate; cheap to clone, equal by its DER bytes.
///
/// Reading one says nothing about who issued it: ask [`crate::Msp::validate`].
#[derive(Clone)]
pub struct Certificate(Arc<Parsed>);

struct Parsed {
    der: Vec<u8>,
    thumbprint: [u8; 32],
    subject: DistinguishedName,
    issuer: DistinguishedName,
    raw_subject: Vec<u8>,
    raw_issuer: Vec<u8>,
    serial: Vec<u8>,
    not_before: i64,
    not_after: i64,
    public_key: PublicKey,
    extensions: Extensions,
    signed: Signed,
}

/// What the issuer signed, and how.
struct Signed {
    algorithm_oid: String,
    to_be_signed: Vec<u8>,
    signature: Vec<u8>,
}

impl Certificate {
    /// Reads the first PEM block labelled CERTIFICATE; text around it is ignored.
    ///
    /// # Errors
    /// [`CertificateError::NotPem`] without such a block, else as [`Certificate::from_der`].
    pub fn from_pem(pem: &[u8]) -> Result<Self, CertificateError> {
        let der = CertificateDer::from_pem_slice(pem).map_err(|_| CertificateError::NotPem)?;
        Self::from_der(&der)
    }

    /// Reads DER.
    ///
    /// # Errors
    /// [`CertificateError`] if it is too long, no single certificate, or holds an extension twice
    /// or one that Fabric reads and that is malformed.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > MAX_CERTIFICATE_BYTES {
            return Err(CertificateError::TooLong { bytes: der.len() });
        }
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|_| CertificateError::Malformed)?;
        if !rest.is_empty() {
            return Err(CertificateError::Malformed);
        }
        Ok(Self(Arc::new(Parsed {
            der: der.to_vec(),
            thumbprint: sha256(der),
            subject: DistinguishedName::read(certificate.subject()),
            issuer: DistinguishedName::read(certificate.issuer()),
            raw_subject: certificate.subject().as_raw().to_vec(),
            raw_issuer: certificate.issuer().as_raw().to_vec(),
            serial: significant(certificate.raw_serial()),
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
            public_key: PublicKey::read(certificate.public_key()),
            extensions: Extensions::read(&certificate)?,
            signed: Signed {
                algorithm_oid: certificate.signature_algorithm.algorithm.to_id_string(),
                to_be_signed: certificate.tbs_certificate.as_ref().to_vec(),
                signature: certificate.signature_value.data.to_vec(),
            },
        })))
    }

    /// The bytes as they were read.
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// The certificate as PEM with 64 characters a line, as Go and OpenSSL write it.
    pub fn pem(&self) -> String {
        let encoded = STANDARD.encode(self.der());
        let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
        let mut rest = encoded.as_str();
        while !rest.is_empty() {
            let (line, next) = rest.split_at(rest.len().min(PEM_LINE));
            pem.push_str(line);
            pem.push('\n');
            rest = next;
        }
        pem.push_str("-----END CERTIFICATE-----\n");
        pem
    }

    /// Common name of the subject.
    pub fn subject_common_name(&self) -> Option<&str> {
        self.0.subject.common_name.as_deref()
    }

    /// Organisational units of the subject, in the certificate's order.
    pub fn organizational_units(&self) -> &[String] {
        &self.0.subject.organizational_unit
    }

    /// The subject as Go's chaincode library prints it (RFC 2253 with Go's order of attributes).
    pub fn subject(&self) -> String {
        self.0.subject.to_string()
    }

    /// The issuer, printed like the subject.
    pub fn issuer(&self) -> String {
        self.0.issuer.to_string()
    }

    /// Serial number in lower-case hex without leading zero bytes.
    pub fn serial_hex(&self) -> String {
        hex::encode(&self.0.serial)
    }

    /// Start of validity, seconds since 1970.
    pub fn not_before(&self) -> i64 {
        self.0.not_before
    }

    /// Last second of validity, seconds since 1970.
    pub fn not_after(&self) -> i64 {
        self.0.not_after
    }

    /// SHA-256 of the DER, which a JWS names as `x5t#S256`.
    pub fn thumbprint(&self) -> [u8; 32] {
        self.0.thumbprint
    }

    /// Attributes that fabric-ca or fabric-mspgen put in (extension 1.2.3.4.5.6.7.8.1).
    pub fn attributes(&self) -> &BTreeMap<String, String> {
        &self.0.extensions.attributes
    }

    /// One attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.0.extensions.attributes.get(name).map(String::as_str)
    }

    /// DNS names among the subject's alternative names.
    pub fn dns_names(&self) -> &[String] {
        &self.0.extensions.dns_names
    }

    /// IP addresses among the subject's alternative names.
    pub fn ip_addresses(&self) -> &[IpAddr] {
        &self.0.extensions.ip_addresses
    }

    /// Subject key identifier.
    pub fn subject_key_id(&self) -> Option<&[u8]> {
        self.0.extensions.subject_key_id.as_deref()
    }

    /// Whether the basic constraints make it a CA.
    pub fn is_ca(&self) -> bool {
        self.0.extensions.is_ca
    }

    /// Checks a signature as Fabric does: ECDSA over SHA-256 in DER with low S, or Ed25519.
    ///
    /// # Errors
    /// [`SignatureError`]; a high S is an error of its own, and RSA keys verify nothing.
    pub fn verify_der(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        self.0.public_key.verify_der(message, signature)
    }

    /// Checks an ES256 signature: r and s, 32 bytes each (RFC 7518 section 3.4).
    ///
    /// # Errors
    /// [`SignatureError`]; only P-256 keys verify.
    pub fn verify_es256(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        self.0.public_key.verify_es256(message, signature)
    }

    /// The same certificate with the issuer's signature in low-S form, as Fabric keeps it.
    ///
    /// The issuer's signature is not covered by itself, so anybody can write one certificate in
    /// two ways; where certificates are counted or compared, only this form MUST be used.
    pub fn in_low_s_form(&self, issuer: &Self) -> Self {
        self.rewritten(issuer).unwrap_or_else(|| self.clone())
    }

    fn rewritten(&self, issuer: &Self) -> Option<Self> {
        let PublicKey::Ecdsa(curve, _) = issuer.public_key() else {
            return None;
        };
        let mut fixed = low_s::from_der(*curve, self.signature()).ok()?;
        low_s::normalize(*curve, &mut fixed);
        let signature = low_s::to_der(*curve, &fixed).ok()?;
        if signature == self.signature() {
            return None;
        }
        self.with_signature(&signature)
    }

    /// The certificate with another signature of its issuer in place; the signature is the last
    /// element of the outermost sequence.
    pub(crate) fn with_signature(&self, signature: &[u8]) -> Option<Self> {
        let (_, certificate) = Sequence::from_der(self.der()).ok()?;
        let tail = BitString::new(0, self.signature()).to_der_vec().ok()?;
        let kept = certificate.content.len().checked_sub(tail.len())?;
        let mut content = certificate.content[..kept].to_vec();
        content.extend(BitString::new(0, signature).to_der_vec().ok()?);
        let der = Sequence::new(content.into()).to_der_vec().ok()?;
        Self::from_der(&der).ok()
    }

    pub(crate) fn signature(&self) -> &[u8] {
        &self.0.signed.signature
    }

    pub(crate) fn public_key(&self) -> &PublicKey {
        &self.0.public_key
    }

    pub(crate) fn has_ed25519_key(&self) -> bool {
        matches!(self.public_key(), PublicKey::Ed25519(_))
    }

    pub(crate) fn may_sign_certificates(&self) -> bool {
        self.0.extensions.may_sign_certificates
    }

    pub(crate) fn to_be_signed(&self) -> &[u8] {
        &self.0.signed.to_be_signed
    }

    pub(crate) fn serial(&self) -> &[u8] {
        &self.0.serial
    }

    /// Whether `issuer` is named as the issuer and its key made the signature. It says nothing
    /// about whether the issuer may issue.
    pub fn is_issued_by(&self, issuer: &Self) -> bool {
        let signed = &self.0.signed;
        self.0.raw_issuer == issuer.0.raw_subject
            && issuer
                .public_key()
                .verify_x509(
                    &signed.algorithm_oid,
                    &signed.to_be_signed,
                    &signed.signature,
                )
                .is_ok()
    }
}

/// A serial number without its sign byte.
pub(crate) fn significant(serial: &[u8]) -> Vec<u8> {
    let start = serial.iter().position(|&byte| byte != 0);
    serial[start.unwrap_or(serial.len().saturating_sub(1))..].to_vec()
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der() == other.der()
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("subject", &self.subject())
            .field("issuer", &self.issuer())
            .field("serial", &self.serial_hex())
            .finish_non_exhaustive()
    }
}
