//! Renewal: new certificates for keys that stay.
//!
//! An orderer recognises its own TLS certificate by key when only dates change, and a peer's
//! folder can be renewed while it runs. Name, role, attributes and addresses are copied from the
//! old certificate; serial number and dates are new.

use std::path::{Path, PathBuf};

use fabric_msp::{Certificate, NodeOu};
use rcgen::SubjectPublicKeyInfo;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::authority::CertificateAuthority;
use crate::error::IssueError;
use crate::files;
use crate::organization::{Organization, default_validity};
use crate::profile::{Purpose, SanName, Validity};

impl Organization {
    /// Renews what lies in a folder of a node or user, such as `peers/peer0.org1.example.com`:
    /// the signing certificate and the TLS certificate. Returns the files replaced.
    ///
    /// # Errors
    /// [`IssueError::NotIssuedHere`] if a certificate is not this organisation's.
    pub fn renew(
        &self,
        folder: &Path,
        validity: Option<Validity>,
    ) -> Result<Vec<PathBuf>, IssueError> {
        let validity = validity.unwrap_or_else(default_validity);
        let mut renewed = Vec::new();
        let signing = files::find(&folder.join("msp/signcerts"), ".pem")?;
        let old = files::read_certificate(&signing)?;
        let purpose = Purpose::Signing(role(&old, &signing)?, old.attributes().clone());
        self.renew_file(self.signing_ca(), &signing, &old, purpose, validity)?;
        renewed.push(signing);
        for name in ["server.crt", "client.crt"] {
            let path = folder.join("tls").join(name);
            if !path.exists() {
                continue;
            }
            let old = files::read_certificate(&path)?;
            let names = old.dns_names().iter().cloned().map(SanName::Dns);
            let addresses = old.ip_addresses().iter().copied().map(SanName::Ip);
            let purpose = Purpose::Tls(names.chain(addresses).collect());
            self.renew_file(self.tls_ca(), &path, &old, purpose, validity)?;
            renewed.push(path);
        }
        Ok(renewed)
    }

    fn renew_file(
        &self,
        ca: &CertificateAuthority,
        path: &Path,
        old: &Certificate,
        purpose: Purpose,
        validity: Validity,
    ) -> Result<(), IssueError> {
        let foreign = || IssueError::NotIssuedHere {
            path: path.to_owned(),
        };
        if !old.is_issued_by(ca.certificate()) {
            return Err(foreign());
        }
        let name = old.subject_common_name().ok_or_else(foreign)?;
        let content = self.content(name, purpose, validity)?;
        let (_, parsed) = X509Certificate::from_der(old.der()).map_err(|_| foreign())?;
        let key = SubjectPublicKeyInfo::from_der(parsed.public_key().raw)?;
        let new = ca.certify(content, &key)?;
        files::replace_public(path, &new.pem())
    }
}

fn role(certificate: &Certificate, path: &Path) -> Result<NodeOu, IssueError> {
    let units = certificate.organizational_units();
    [NodeOu::Client, NodeOu::Peer, NodeOu::Admin, NodeOu::Orderer]
        .into_iter()
        .find(|role| units.iter().any(|unit| unit == role.unit()))
        .ok_or_else(|| IssueError::NotIssuedHere {
            path: path.to_owned(),
        })
}
