//! Certificate revocation lists.
//!
//! As in Fabric a list has effect from the moment it is loaded, whatever dates it carries, and
//! applies to the CA whose subject key identifier is the list's authority key identifier. Unlike
//! Fabric, which skips them in silence, a list that no CA of the MSP signed is refused when it is
//! loaded: an administrator who revokes somebody must not be left believing it worked.

use std::collections::BTreeSet;

use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use crate::certificate::{Certificate, significant};
use crate::error::MspError;

/// The serial numbers that one CA revoked.
#[derive(Debug, Clone)]
pub(crate) struct RevocationList {
    authority_key_id: Vec<u8>,
    serials: BTreeSet<Vec<u8>>,
}

impl RevocationList {
    /// Reads a list in PEM or DER and checks its signature against the CAs.
    pub(crate) fn read(bytes: &[u8], authorities: &[&Certificate]) -> Result<Self, MspError> {
        let decoded = CertificateRevocationListDer::from_pem_slice(bytes);
        let der = decoded.as_ref().map_or(bytes, |der| der.as_ref());
        let refuse = |reason| MspError::Crl { reason };
        let (rest, list) =
            CertificateRevocationList::from_der(der).map_err(|_| refuse("malformed"))?;
        if !rest.is_empty() {
            return Err(refuse("trailing bytes"));
        }
        let authority_key_id =
            authority_key_id(&list).ok_or_else(|| refuse("no authority key identifier"))?;
        let signer = authorities
            .iter()
            .find(|ca| ca.subject_key_id() == Some(authority_key_id.as_slice()))
            .ok_or_else(|| refuse("signed by no CA of the MSP"))?;
        let oid = list.signature_algorithm.algorithm.to_id_string();
        signer
            .public_key()
            .verify_x509(
                &oid,
                list.tbs_cert_list.as_ref(),
                &list.signature_value.data,
            )
            .map_err(|_| refuse("signature does not match"))?;
        let serials = list
            .iter_revoked_certificates()
            .map(|revoked| significant(revoked.raw_serial()))
            .collect();
        Ok(Self {
            authority_key_id,
            serials,
        })
    }

    /// Whether the list says that `issuer` revoked `certificate`.
    pub(crate) fn revokes(&self, certificate: &Certificate, issuer: &Certificate) -> bool {
        issuer.subject_key_id() == Some(self.authority_key_id.as_slice())
            && self.serials.contains(certificate.serial())
    }
}

fn authority_key_id(list: &CertificateRevocationList<'_>) -> Option<Vec<u8>> {
    list.extensions()
        .iter()
        .find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                id.key_identifier.as_ref().map(|key| key.0.to_vec())
            }
            _ => None,
        })
}
