//! Key pairs that sign certificates in low-S form.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fabric_msp::PrivateKey;
use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm, SigningKey};
use zeroize::Zeroizing;

use crate::error::IssueError;

/// Characters on a line of PEM (RFC 7468 section 2).
const PEM_LINE: usize = 64;

/// A key pair on P-256. rcgen's own would leave S as it comes, and Fabric would rewrite the
/// certificate on every use.
pub(crate) struct Key(PrivateKey);

impl Key {
    /// Makes a new pair; returns it with its PKCS#8 PEM, which goes to a file and nowhere else.
    pub(crate) fn generate() -> Result<(Self, Zeroizing<String>), IssueError> {
        let document =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                .map_err(|unspecified| IssueError::Encoding(Box::new(unspecified)))?;
        let key = PrivateKey::from_der(document.as_ref()).map_err(IssueError::CaKey)?;
        Ok((Self(key), private_key_pem(document.as_ref())))
    }

    pub(crate) fn from_pem(pem: &[u8]) -> Result<Self, IssueError> {
        PrivateKey::from_pem(pem)
            .map(Self)
            .map_err(IssueError::CaKey)
    }
}

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

fn private_key_pem(der: &[u8]) -> Zeroizing<String> {
    let encoded = Zeroizing::new(STANDARD.encode(der));
    // Sized beforehand, so that growing leaves no copy behind.
    let mut pem = Zeroizing::new(String::with_capacity(2 * encoded.len() + 64));
    pem.push_str("-----BEGIN PRIVATE KEY-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, next) = rest.split_at(rest.len().min(PEM_LINE));
        pem.push_str(line);
        pem.push('\n');
        rest = next;
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    pem
}
