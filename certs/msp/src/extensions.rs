//! What Fabric reads from a certificate's extensions.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};

use crate::error::CertificateError;

/// Where fabric-ca writes attributes: bare JSON, `{"attrs":{"name":"value"}}`.
const ATTRIBUTES_OID: &str = "1.2.3.4.5.6.7.8.1";

/// The extensions of one certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Extensions {
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) dns_names: Vec<String>,
    pub(crate) ip_addresses: Vec<IpAddr>,
    pub(crate) subject_key_id: Option<Vec<u8>>,
    pub(crate) is_ca: bool,
    /// Whether the key usage, if there is one, allows signing certificates.
    pub(crate) may_sign_certificates: bool,
}

#[derive(Deserialize)]
struct AttributeJson {
    #[serde(default)]
    attrs: BTreeMap<String, String>,
}

impl Extensions {
    pub(crate) fn read(certificate: &X509Certificate<'_>) -> Result<Self, CertificateError> {
        let mut read = Self {
            may_sign_certificates: true,
            ..Self::default()
        };
        let mut seen = Vec::new();
        for extension in certificate.extensions() {
            let oid = extension.oid.to_id_string();
            if seen.contains(&oid) {
                return Err(CertificateError::Extension { oid });
            }
            match extension.parsed_extension() {
                ParsedExtension::BasicConstraints(constraints) => read.is_ca = constraints.ca,
                ParsedExtension::KeyUsage(usage) => {
                    read.may_sign_certificates = usage.key_cert_sign();
                }
                ParsedExtension::SubjectKeyIdentifier(id) => {
                    read.subject_key_id = Some(id.0.to_vec());
                }
                ParsedExtension::SubjectAlternativeName(names) => {
                    read.alternative_names(&names.general_names);
                }
                ParsedExtension::ParseError { .. } => {
                    return Err(CertificateError::Extension { oid });
                }
                _ if oid == ATTRIBUTES_OID => {
                    let json: AttributeJson = serde_json::from_slice(extension.value)
                        .map_err(|_| CertificateError::Extension { oid: oid.clone() })?;
                    read.attributes = json.attrs;
                }
                _ => {}
            }
            seen.push(oid);
        }
        Ok(read)
    }

    fn alternative_names(&mut self, names: &[GeneralName<'_>]) {
        for name in names {
            match name {
                GeneralName::DNSName(dns) => self.dns_names.push((*dns).to_owned()),
                GeneralName::IPAddress(bytes) => {
                    if let Ok(octets) = <[u8; 4]>::try_from(*bytes) {
                        self.ip_addresses.push(octets.into());
                    } else if let Ok(octets) = <[u8; 16]>::try_from(*bytes) {
                        self.ip_addresses.push(octets.into());
                    }
                }
                _ => {}
            }
        }
    }
}
