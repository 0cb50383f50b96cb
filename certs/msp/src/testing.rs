//! Certificates for the tests of this crate: a CA that can be told to do wrong.

use fabric_protos::msp::{FabricMspConfig, FabricNodeOUs, FabricOuIdentifier};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension,
    DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};

use crate::{Certificate, Msp, MspId, SigningIdentity};

/// A moment at which certificates of [`Ca::issue`] are valid: 2026-06-01.
pub(crate) const NOW: i64 = 1_780_272_000;
/// A moment after their end: 2031-01-01.
pub(crate) const LATER: i64 = 1_925_000_000;

pub(crate) fn msp_id() -> MspId {
    MspId::parse("Org1MSP").unwrap()
}

/// A CA.
pub(crate) struct Ca {
    pub(crate) certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// What is asked of a CA.
pub(crate) struct Wanted<'a> {
    pub(crate) name: &'a str,
    pub(crate) unit: Option<&'a str>,
    pub(crate) attributes: Option<&'a str>,
    pub(crate) purpose: Option<ExtendedKeyUsagePurpose>,
}

impl Default for Wanted<'_> {
    fn default() -> Self {
        Self {
            name: "User1@org1.example.com",
            unit: Some("client"),
            attributes: None,
            purpose: None,
        }
    }
}

fn params(name: &str, unit: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2030, 1, 1);
    params.use_authority_key_identifier_extension = true;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, "org1.example.com");
    if let Some(unit) = unit {
        params
            .distinguished_name
            .push(DnType::OrganizationalUnitName, unit);
    }
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

impl Ca {
    pub(crate) fn root(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = Self::params(name);
        let certificate = params.self_signed(&key).unwrap();
        Self::new(certificate.der(), key)
    }

    pub(crate) fn intermediate(&self, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = Self::params(name).signed_by(&key, &self.issuer).unwrap();
        Self::new(certificate.der(), key)
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = params(name, None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
    }

    fn new(der: &rustls_pki_types::CertificateDer<'_>, key: KeyPair) -> Self {
        Self {
            certificate: Certificate::from_der(der).unwrap(),
            issuer: Issuer::from_ca_cert_der(der, key).unwrap(),
        }
    }

    pub(crate) fn issue(&self, wanted: &Wanted<'_>) -> SigningIdentity {
        self.issue_in(msp_id(), wanted)
    }

    /// A member of an MSP of another name.
    pub(crate) fn issue_in(&self, msp_id: MspId, wanted: &Wanted<'_>) -> SigningIdentity {
        let mut params = params(wanted.name, wanted.unit);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages.extend(wanted.purpose.clone());
        if let Some(json) = wanted.attributes {
            let oid = &[1, 2, 3, 4, 5, 6, 7, 8, 1];
            let content = json.as_bytes().to_vec();
            params.custom_extensions = vec![CustomExtension::from_oid_content(oid, content)];
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        let key = key.serialize_pem();
        SigningIdentity::from_pem(msp_id, certificate.as_bytes(), key.as_bytes()).unwrap()
    }

    pub(crate) fn client(&self) -> SigningIdentity {
        self.issue(&Wanted::default())
    }

    /// A revocation list as PEM.
    pub(crate) fn revoke(&self, certificates: &[&Certificate]) -> Vec<u8> {
        let revoked = certificates.iter().map(|certificate| RevokedCertParams {
            serial_number: SerialNumber::from_slice(certificate.serial()),
            revocation_time: date_time_ymd(2026, 2, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 2, 1),
            // Long past: Fabric does not look at it.
            next_update: date_time_ymd(2026, 2, 2),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params
            .signed_by(&self.issuer)
            .unwrap()
            .pem()
            .unwrap()
            .into_bytes()
    }

    /// The configuration of an MSP with this root and the usual OUs.
    pub(crate) fn config(&self) -> FabricMspConfig {
        let unit = |name: &str| {
            Some(FabricOuIdentifier {
                certificate: Vec::new(),
                organizational_unit_identifier: name.to_owned(),
            })
        };
        FabricMspConfig {
            name: "Org1MSP".to_owned(),
            root_certs: vec![self.certificate.pem().into_bytes()],
            fabric_node_ous: Some(FabricNodeOUs {
                enable: true,
                client_ou_identifier: unit("client"),
                peer_ou_identifier: unit("peer"),
                admin_ou_identifier: unit("admin"),
                orderer_ou_identifier: unit("orderer"),
            }),
            ..FabricMspConfig::default()
        }
    }

    pub(crate) fn msp(&self) -> Msp {
        Msp::from_config(&self.config()).unwrap()
    }
}
