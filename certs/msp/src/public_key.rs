//! Public keys of certificates, and what they verify.

use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::error::SignatureError;
use crate::low_s::{self, Curve};

const EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";
const CURVE_P256: &str = "1.2.840.10045.3.1.7";
const CURVE_P384: &str = "1.3.132.0.34";
const ED25519: &str = "1.3.101.112";
const ECDSA_SHA256: &str = "1.2.840.10045.4.3.2";
const ECDSA_SHA384: &str = "1.2.840.10045.4.3.3";

/// The key of a certificate. RSA and other curves can be read but verify nothing, as in Fabric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PublicKey {
    /// An uncompressed point.
    Ecdsa(Curve, Vec<u8>),
    Ed25519(Vec<u8>),
    Unsupported,
}

impl PublicKey {
    pub(crate) fn read(info: &SubjectPublicKeyInfo<'_>) -> Self {
        let bytes = info.subject_public_key.data.to_vec();
        match info.algorithm.algorithm.to_id_string().as_str() {
            ED25519 => Self::Ed25519(bytes),
            EC_PUBLIC_KEY => {
                let parameters = info.algorithm.parameters.as_ref();
                let curve = parameters.and_then(|any| any.as_oid().ok());
                match curve.map(|oid| oid.to_id_string()).as_deref() {
                    Some(CURVE_P256) => Self::Ecdsa(Curve::P256, bytes),
                    Some(CURVE_P384) => Self::Ecdsa(Curve::P384, bytes),
                    _ => Self::Unsupported,
                }
            }
            _ => Self::Unsupported,
        }
    }

    pub(crate) fn is_unsupported(&self) -> bool {
        *self == Self::Unsupported
    }

    /// Verifies a signature as Fabric does: SHA-256 with any curve, DER, low S; Ed25519 over the
    /// message itself.
    pub(crate) fn verify_der(&self, message: &[u8], der: &[u8]) -> Result<(), SignatureError> {
        match self {
            Self::Ecdsa(curve, point) => {
                let fixed = low_s::from_der(*curve, der)?;
                if !low_s::is_low(*curve, &fixed[curve.scalar_bytes()..]) {
                    return Err(SignatureError::HighS);
                }
                let algorithm: &'static dyn VerificationAlgorithm = match curve {
                    Curve::P256 => &signature::ECDSA_P256_SHA256_ASN1,
                    Curve::P384 => &signature::ECDSA_P384_SHA256_ASN1,
                };
                verify(algorithm, point, message, der)
            }
            Self::Ed25519(bytes) => verify(&signature::ED25519, bytes, message, der),
            Self::Unsupported => Err(SignatureError::UnsupportedKey),
        }
    }

    /// Verifies an ES256 signature (RFC 7518 section 3.4). JOSE sets no rule for S.
    pub(crate) fn verify_es256(&self, message: &[u8], fixed: &[u8]) -> Result<(), SignatureError> {
        let Self::Ecdsa(Curve::P256, point) = self else {
            return Err(SignatureError::UnsupportedKey);
        };
        if fixed.len() != 2 * Curve::P256.scalar_bytes() {
            return Err(SignatureError::Malformed);
        }
        verify(&signature::ECDSA_P256_SHA256_FIXED, point, message, fixed)
    }

    /// Verifies a signature inside a certificate or CRL, whose algorithm is given by its OID.
    /// High S is accepted there, as in Fabric, which normalises it.
    pub(crate) fn verify_x509(
        &self,
        algorithm_oid: &str,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureError> {
        let (algorithm, bytes): (&'static dyn VerificationAlgorithm, _) =
            match (self, algorithm_oid) {
                (Self::Ecdsa(Curve::P256, point), ECDSA_SHA256) => {
                    (&signature::ECDSA_P256_SHA256_ASN1, point)
                }
                (Self::Ecdsa(Curve::P256, point), ECDSA_SHA384) => {
                    (&signature::ECDSA_P256_SHA384_ASN1, point)
                }
                (Self::Ecdsa(Curve::P384, point), ECDSA_SHA256) => {
                    (&signature::ECDSA_P384_SHA256_ASN1, point)
                }
                (Self::Ecdsa(Curve::P384, point), ECDSA_SHA384) => {
                    (&signature::ECDSA_P384_SHA384_ASN1, point)
                }
                (Self::Ed25519(bytes), ED25519) => (&signature::ED25519, bytes),
                _ => return Err(SignatureError::UnsupportedKey),
            };
        verify(algorithm, bytes, message, signature)
    }
}

fn verify(
    algorithm: &'static dyn VerificationAlgorithm,
    key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureError> {
    UnparsedPublicKey::new(algorithm, key)
        .verify(message, signature)
        .map_err(|_| SignatureError::Mismatch)
}
