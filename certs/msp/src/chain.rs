//! An MSP's CAs, and the chains that lead to them.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{
    EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeIdIter, KeyUsage,
    RequiredEkuNotFoundContext,
};

use crate::certificate::Certificate;
use crate::error::MspError;
use crate::id::MspId;

/// Longest chain of intermediate CAs; webpki has the same limit.
const MAX_INTERMEDIATES: usize = 6;

/// id-kp-serverAuth, id-kp-clientAuth and anyExtendedKeyUsage (RFC 5280 section 4.2.1.12).
const SERVER_AUTH: &[usize] = &[1, 3, 6, 1, 5, 5, 7, 3, 1];
const CLIENT_AUTH: &[usize] = &[1, 3, 6, 1, 5, 5, 7, 3, 2];
const ANY_PURPOSE: &[usize] = &[2, 5, 29, 37, 0];

/// What the certificate is to be used for. A certificate without extended key usage, which is
/// what cryptogen and fabric-ca issue to signers, suits every purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Signing on a channel. Go's verifier asks for serverAuth unless told otherwise, and Fabric
    /// does not tell it otherwise; so a TLS client certificate is no channel identity.
    Channel,
    /// Connecting to a service of ours.
    Connection,
}

impl ExtendedKeyUsageValidator for Purpose {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        let mut present = Vec::new();
        for purpose in purposes {
            let oid = purpose?.to_decoded_oid();
            let suits = match self {
                Self::Channel => oid == SERVER_AUTH,
                Self::Connection => oid == CLIENT_AUTH || oid == SERVER_AUTH,
            };
            if suits || oid == ANY_PURPOSE {
                return Ok(());
            }
            present.push(oid);
        }
        if present.is_empty() {
            return Ok(());
        }
        let required = match self {
            Self::Channel => KeyUsage::server_auth(),
            Self::Connection => KeyUsage::client_auth(),
        };
        let context = RequiredEkuNotFoundContext { required, present };
        Err(Error::RequiredEkuNotFoundContext(context))
    }
}

/// Root and intermediate CAs of one kind (signing or TLS).
#[derive(Debug, Clone)]
pub(crate) struct Authorities {
    roots: Vec<Certificate>,
    intermediates: Vec<Certificate>,
    anchors: Vec<TrustAnchor<'static>>,
    intermediate_ders: Vec<CertificateDer<'static>>,
    /// Thumbprints of CAs that issued one of the intermediates. Fabric lets only the leaves of
    /// the tree of CAs issue identities.
    inner: BTreeSet<[u8; 32]>,
}

impl Authorities {
    /// Takes the CAs after checking that each may be one and that intermediates lead to a root.
    pub(crate) fn new(
        msp_id: &MspId,
        roots: Vec<Certificate>,
        intermediates: Vec<Certificate>,
    ) -> Result<Self, MspError> {
        for ca in roots.iter().chain(&intermediates) {
            check_ca(ca)?;
        }
        let mut authorities = Self {
            anchors: roots.iter().map(anchor).collect::<Result<_, _>>()?,
            intermediate_ders: intermediates
                .iter()
                .map(|ca| ca.der().to_vec().into())
                .collect(),
            roots,
            intermediates,
            inner: BTreeSet::new(),
        };
        for ca in authorities.intermediates.clone() {
            let issuers = authorities.issuers_of_ca(msp_id, &ca)?;
            authorities
                .inner
                .extend(issuers.iter().map(Certificate::thumbprint));
        }
        Ok(authorities)
    }

    pub(crate) fn roots(&self) -> &[Certificate] {
        &self.roots
    }

    pub(crate) fn intermediates(&self) -> &[Certificate] {
        &self.intermediates
    }

    pub(crate) fn all(&self) -> Vec<&Certificate> {
        self.roots.iter().chain(&self.intermediates).collect()
    }

    /// The issuers of an end-entity certificate, the nearest first and the root last.
    pub(crate) fn issuers(
        &self,
        msp_id: &MspId,
        certificate: &Certificate,
        unix_seconds: i64,
        purpose: Purpose,
    ) -> Result<Vec<Certificate>, MspError> {
        let untrusted = |source| MspError::Untrusted {
            subject: certificate.subject(),
            msp_id: msp_id.clone(),
            source,
        };
        let seconds = u64::try_from(unix_seconds).map_err(|_| untrusted(None))?;
        let der = CertificateDer::from(certificate.der());
        let leaf = EndEntityCert::try_from(&der).map_err(|e| untrusted(Some(e.into())))?;
        let path = leaf
            .verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &self.anchors,
                &self.intermediate_ders,
                UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
                purpose,
                None,
                None,
            )
            .map_err(|e| untrusted(Some(e.into())))?;
        let root = self
            .anchors
            .iter()
            .position(|anchor| anchor == path.anchor())
            .and_then(|index| self.roots.get(index))
            .filter(|root| (root.not_before()..=root.not_after()).contains(&unix_seconds))
            .ok_or_else(|| untrusted(None))?;
        let mut issuers: Vec<Certificate> = path
            .intermediate_certificates()
            .filter_map(|used| {
                let mut known = self.intermediates.iter();
                known.find(|ca| ca.der() == used.der().as_ref()).cloned()
            })
            .collect();
        issuers.push(root.clone());
        if self.inner.contains(&issuers[0].thumbprint()) {
            return Err(untrusted(None));
        }
        Ok(issuers)
    }

    /// The identifier that Fabric gives to a CA as certifier of OUs: SHA-256 over it and its
    /// issuers. `None` if it is none of these CAs.
    pub(crate) fn certifier_id(&self, msp_id: &MspId, ca: &Certificate) -> Option<[u8; 32]> {
        if self.roots.contains(ca) {
            return Some(chain_id(std::slice::from_ref(ca)));
        }
        if !self.intermediates.contains(ca) {
            return None;
        }
        let issuers = self.issuers_of_ca(msp_id, ca).ok()?;
        Some(chain_id(&[std::slice::from_ref(ca), &issuers].concat()))
    }

    /// The issuers of an intermediate CA, the nearest first and the root last.
    pub(crate) fn issuers_of_ca(
        &self,
        msp_id: &MspId,
        ca: &Certificate,
    ) -> Result<Vec<Certificate>, MspError> {
        let mut issuers: Vec<Certificate> = Vec::new();
        let mut current = ca;
        while issuers.len() <= MAX_INTERMEDIATES {
            let known = |issuer: &&Certificate| current.is_issued_by(issuer);
            if let Some(root) = self.roots.iter().find(known) {
                issuers.push(root.clone());
                return Ok(issuers);
            }
            let Some(next) = self.intermediates.iter().find(known) else {
                break;
            };
            issuers.push(next.clone());
            current = next;
        }
        Err(MspError::Untrusted {
            subject: ca.subject(),
            msp_id: msp_id.clone(),
            source: None,
        })
    }
}

/// SHA-256 over a chain, the nearest CA first.
pub(crate) fn chain_id(chain: &[Certificate]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for certificate in chain {
        context.update(certificate.der());
    }
    let mut id = [0; 32];
    id.copy_from_slice(context.finish().as_ref());
    id
}

fn anchor(root: &Certificate) -> Result<TrustAnchor<'static>, MspError> {
    webpki::anchor_from_trusted_cert(&CertificateDer::from(root.der()))
        .map(|anchor| anchor.to_owned())
        .map_err(|_| not_ca(root, "unreadable as a trust anchor"))
}

fn check_ca(ca: &Certificate) -> Result<(), MspError> {
    if !ca.is_ca() {
        return Err(not_ca(ca, "basic constraints do not say CA"));
    }
    if ca.subject_key_id().is_none() {
        return Err(not_ca(ca, "no subject key identifier"));
    }
    if !ca.may_sign_certificates() {
        return Err(not_ca(ca, "key usage does not include certificate signing"));
    }
    Ok(())
}

fn not_ca(ca: &Certificate, reason: &'static str) -> MspError {
    MspError::NotCa {
        subject: ca.subject(),
        reason,
    }
}
