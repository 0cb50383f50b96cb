//! What stands in which kind of certificate. Pure: time and randomness come in as arguments.

use std::collections::BTreeMap;
use std::net::IpAddr;

use aws_lc_rs::digest::{SHA256, digest};
use fabric_msp::NodeOu;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyUsagePurpose, SanType, SerialNumber,
};
use time::OffsetDateTime;

use crate::error::IssueError;

/// Seconds of a day.
pub const DAY_SECONDS: i64 = 24 * 60 * 60;

/// Validity of a CA, in days; cryptogen has the same.
pub(crate) const CA_DAYS: i64 = 3650;

/// Validity of every other certificate unless said otherwise, in days.
pub(crate) const DEFAULT_DAYS: i64 = 365;

/// How far a certificate is dated back, in seconds, so that peers whose clocks lag accept it.
const BACKDATE_SECONDS: i64 = 5 * 60;

/// Where fabric-ca writes attributes.
const ATTRIBUTES_OID: &[u64] = &[1, 2, 3, 4, 5, 6, 7, 8, 1];

/// Longest common name (X.520, ub-common-name).
const MAX_NAME_CHARACTERS: usize = 64;

/// The time in which a certificate is valid, in seconds since 1970, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// First second.
    pub not_before: i64,
    /// Last second.
    pub not_after: i64,
}

impl Validity {
    /// So many days from `now`, dated back five minutes against slow clocks elsewhere.
    pub fn days(now: i64, days: i64) -> Self {
        Self {
            not_before: now.saturating_sub(BACKDATE_SECONDS),
            not_after: now.saturating_add(days.saturating_mul(DAY_SECONDS)),
        }
    }

    /// The part of the validity that lies in that of the CA.
    pub(crate) fn within(self, ca: Self) -> Result<Self, IssueError> {
        let not_before = self.not_before.max(ca.not_before);
        let not_after = self.not_after.min(ca.not_after);
        if not_before >= not_after {
            let Self {
                not_before,
                not_after,
            } = self;
            return Err(IssueError::Validity {
                not_before,
                not_after,
            });
        }
        Ok(Self {
            not_before,
            not_after,
        })
    }
}

/// A name under which a TLS server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SanName {
    /// A DNS name.
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

impl SanName {
    /// Reads an IP address, or else takes the text as DNS name.
    pub fn parse(text: &str) -> Self {
        text.parse()
            .map_or_else(|_| Self::Dns(text.to_owned()), Self::Ip)
    }

    fn to_rcgen(&self) -> Result<SanType, IssueError> {
        match self {
            Self::Ip(address) => Ok(SanType::IpAddress(*address)),
            Self::Dns(name) => name
                .as_str()
                .try_into()
                .map(SanType::DnsName)
                .map_err(|_| IssueError::DnsName { name: name.clone() }),
        }
    }
}

/// What a user's certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserProfile {
    /// The role in the MSP.
    pub node_ou: NodeOu,
    /// Attributes for contracts to read, such as `salus.role`.
    pub attributes: BTreeMap<String, String>,
    /// Validity; a year from now if `None`.
    pub validity: Option<Validity>,
}

impl Default for UserProfile {
    fn default() -> Self {
        Self {
            node_ou: NodeOu::Client,
            attributes: BTreeMap::new(),
            validity: None,
        }
    }
}

/// What a certificate is for.
#[derive(Debug, Clone)]
pub(crate) enum Purpose {
    /// Issuing certificates.
    Authority,
    /// Signing on the channel, in a role and with attributes.
    Signing(NodeOu, BTreeMap<String, String>),
    /// TLS, both ends, under these names.
    Tls(Vec<SanName>),
    /// TLS client only, vouched for by the signing CA: a device.
    Device,
}

/// Everything that is to stand in a certificate but key and serial number.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    pub(crate) organization: String,
    pub(crate) common_name: String,
    pub(crate) purpose: Purpose,
    pub(crate) validity: Validity,
}

impl Content {
    /// The parameters for the encoder.
    pub(crate) fn params(
        &self,
        public_key: &[u8],
        serial: [u8; 16],
    ) -> Result<CertificateParams, IssueError> {
        let mut params = CertificateParams::default();
        params.serial_number = Some(positive(serial));
        params.not_before = date(self.validity.not_before)?;
        params.not_after = date(self.validity.not_after)?;
        params.distinguished_name = self.distinguished_name();
        params.use_authority_key_identifier_extension = true;
        // Fabric's own: SHA-256 over the point, not over the structure around it.
        let key_id = digest(&SHA256, public_key).as_ref().to_vec();
        params.key_identifier_method = KeyIdMethod::PreSpecified(key_id);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let tls = [
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        match &self.purpose {
            Purpose::Authority => {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                params.use_authority_key_identifier_extension = false;
                params.key_usages.extend([
                    KeyUsagePurpose::KeyEncipherment,
                    KeyUsagePurpose::KeyCertSign,
                    KeyUsagePurpose::CrlSign,
                ]);
                params.extended_key_usages.extend(tls);
            }
            Purpose::Signing(_, attributes) if attributes.is_empty() => {}
            Purpose::Signing(_, attributes) => {
                let json = serde_json::json!({ "attrs": attributes }).to_string();
                params.custom_extensions = vec![CustomExtension::from_oid_content(
                    ATTRIBUTES_OID,
                    json.into_bytes(),
                )];
            }
            Purpose::Tls(names) => {
                params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
                params.extended_key_usages.extend(tls);
                params.subject_alt_names = names
                    .iter()
                    .map(SanName::to_rcgen)
                    .collect::<Result<_, _>>()?;
            }
            Purpose::Device => {
                params
                    .extended_key_usages
                    .push(ExtendedKeyUsagePurpose::ClientAuth);
            }
        }
        Ok(params)
    }

    fn distinguished_name(&self) -> DistinguishedName {
        let unit = match &self.purpose {
            Purpose::Signing(node_ou, _) => Some(node_ou.unit()),
            Purpose::Device => Some(NodeOu::Client.unit()),
            Purpose::Authority | Purpose::Tls(_) => None,
        };
        let mut name = DistinguishedName::new();
        name.push(DnType::OrganizationName, self.organization.as_str());
        if let Some(unit) = unit {
            name.push(DnType::OrganizationalUnitName, unit);
        }
        name.push(DnType::CommonName, self.common_name.as_str());
        name
    }
}

/// Checks a name that becomes a common name and part of a path.
pub(crate) fn check_name(name: &str) -> Result<(), IssueError> {
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphanumeric());
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_@".contains(&byte);
    if starts_well && name.len() <= MAX_NAME_CHARACTERS && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(IssueError::Name {
        name: name.to_owned(),
    })
}

/// A positive serial number that is never zero.
fn positive(mut serial: [u8; 16]) -> SerialNumber {
    serial[0] = serial[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&serial)
}

fn date(unix_seconds: i64) -> Result<OffsetDateTime, IssueError> {
    OffsetDateTime::from_unix_timestamp(unix_seconds).map_err(|_| IssueError::Validity {
        not_before: unix_seconds,
        not_after: unix_seconds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_their_folder_are_refused() {
        for good in ["peer0.org1.example.com", "Admin@org1.example.com", "a_b-1"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "-a",
            "@a",
            "é",
            "a b",
            &"a".repeat(65),
        ] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_validity_is_cut_to_that_of_the_ca() {
        let ca = Validity {
            not_before: 100,
            not_after: 200,
        };
        let check = |not_before, not_after, expected: Option<(i64, i64)>| {
            let cut = Validity {
                not_before,
                not_after,
            }
            .within(ca)
            .ok();
            assert_eq!(cut.map(|cut| (cut.not_before, cut.not_after)), expected);
        };
        check(120, 150, Some((120, 150)));
        check(0, 900, Some((100, 200)));
        check(0, 100, None);
        check(200, 300, None);
        check(150, 140, None);
    }

    #[test]
    fn addresses_and_names_are_told_apart() {
        assert_eq!(
            SanName::parse("127.0.0.1"),
            SanName::Ip([127, 0, 0, 1].into())
        );
        assert_eq!(SanName::parse("::1"), SanName::Ip("::1".parse().unwrap()));
        assert_eq!(SanName::parse("peer0"), SanName::Dns("peer0".to_owned()));
    }
}
