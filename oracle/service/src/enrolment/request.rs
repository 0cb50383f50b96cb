//! A device's signing request (PKCS#10, RFC 2986): proof that it holds a key, and nothing else.
//!
//! Its subject must name the device; whatever more it asks for (other names, usages, extensions) is not looked at,
//! since what a certificate says is the issuer's to decide.

use contract_interface::DeviceId;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_SIG_ECDSA_WITH_SHA256,
};
use x509_parser::prelude::FromDer;

use super::error::EnrolmentError;

/// Bytes of a request; one for P-256 has about 300.
pub(crate) const REQUEST_BYTES_MAX: u64 = 8 << 10;
/// Bytes of an uncompressed point on P-256 (SEC 1, 2.3.3).
const POINT_BYTES: usize = 65;
/// How such a point begins.
const UNCOMPRESSED: u8 = 4;

/// A request whose key signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    key: Vec<u8>,
    common_name: String,
}

impl Request {
    /// Reads DER, or PEM, and checks the proof.
    ///
    /// # Errors
    ///
    /// [`EnrolmentError::Request`].
    pub(super) fn read(bytes: &[u8]) -> Result<Self, EnrolmentError> {
        let malformed = || refuse("it is no PKCS#10 signing request");
        let pem;
        let der = if bytes.starts_with(b"-----BEGIN") {
            pem = x509_parser::pem::parse_x509_pem(bytes)
                .map_err(|_| malformed())?
                .1;
            if pem.label != "CERTIFICATE REQUEST" {
                return Err(malformed());
            }
            pem.contents.as_slice()
        } else {
            bytes
        };
        let (rest, request) = X509CertificationRequest::from_der(der).map_err(|_| malformed())?;
        if !rest.is_empty() {
            return Err(malformed());
        }
        if request.signature_algorithm.algorithm != OID_SIG_ECDSA_WITH_SHA256 {
            return Err(refuse("it is not signed with ES256 (ECDSA P-256, SHA-256)"));
        }
        let info = &request.certification_request_info;
        let algorithm = &info.subject_pki.algorithm;
        let curve = algorithm
            .parameters
            .as_ref()
            .and_then(|any| any.as_oid().ok());
        let key = info.subject_pki.subject_public_key.data.as_ref();
        let is_p256 = algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY
            && curve == Some(OID_EC_P256)
            && key.len() == POINT_BYTES
            && key.first() == Some(&UNCOMPRESSED);
        if !is_p256 {
            return Err(refuse("its key is not an ECDSA key on P-256"));
        }
        let verifier = aws_lc_rs::signature::UnparsedPublicKey::new(
            &aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1,
            key,
        );
        verifier
            .verify(info.raw, &request.signature_value.data)
            .map_err(|_| refuse("its signature is not by its own key"))?;
        let mut names = info.subject.iter_common_name();
        let (Some(name), None) = (names.next(), names.next()) else {
            return Err(refuse("its subject does not have one common name"));
        };
        let common_name = name
            .as_str()
            .map_err(|_| refuse("its common name is no text"))?;
        Ok(Self {
            key: key.to_vec(),
            common_name: common_name.to_owned(),
        })
    }

    /// The public key: an uncompressed point.
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    /// Checks that it is the device's.
    ///
    /// # Errors
    ///
    /// [`EnrolmentError::Request`].
    pub(super) fn check_name(&self, device_id: &DeviceId) -> Result<(), EnrolmentError> {
        if self.common_name == device_id.as_str() {
            Ok(())
        } else {
            Err(refuse("its common name is not the device's ID"))
        }
    }
}

fn refuse(reason: &'static str) -> EnrolmentError {
    EnrolmentError::Request { reason }
}
