//! A certificate authority of the consortium that does wrong: certificates and revocation lists that it should not
//! issue.

use std::{fs, path::Path};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SerialNumber, SigningKey as _,
};
use salus::signing;
use time::{Duration, OffsetDateTime};

/// An hour, in seconds.
pub(super) const HOUR: i64 = 3600;

/// Whoever holds a CA's key.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    key_pem: String,
    /// The certificates that a client shows beside its own: none of a root.
    chain: String,
    key_id: Vec<u8>,
}

/// What a certificate is to say.
pub(super) struct Wanted<'a> {
    pub(super) name: &'a str,
    pub(super) units: &'a [&'a str],
    pub(super) purposes: Vec<ExtendedKeyUsagePurpose>,
    /// Seconds since 1970.
    pub(super) from: i64,
    pub(super) until: i64,
    pub(super) is_ca: bool,
}

impl<'a> Wanted<'a> {
    /// A device's certificate as it should be.
    pub(super) fn device(name: &'a str) -> Self {
        let now = now();
        Self {
            name,
            units: &["client"],
            purposes: vec![ExtendedKeyUsagePurpose::ClientAuth],
            from: now - 60,
            until: now + HOUR,
            is_ca: false,
        }
    }
}

/// Seconds since 1970.
pub(super) fn now() -> i64 {
    signing::now().unwrap().unix_seconds()
}

fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::seconds(seconds)
}

impl Authority {
    /// The CA whose certificate and key are in a folder of an organisation, `ca` or `tlsca`.
    pub(super) fn of(folder: &Path) -> Self {
        let certificate = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.to_string_lossy().ends_with("-cert.pem"))
            .unwrap();
        let pem = fs::read_to_string(certificate).unwrap();
        let key_pem = fs::read_to_string(folder.join("priv_sk")).unwrap();
        Self::new(&pem, key_pem, String::new())
    }

    fn new(pem: &str, key_pem: String, chain: String) -> Self {
        let key = KeyPair::from_pem(&key_pem).unwrap();
        let certificate = fabric_msp::Certificate::from_pem(pem.as_bytes()).unwrap();
        Self {
            issuer: Issuer::from_ca_cert_pem(pem, key).unwrap(),
            key_pem,
            chain,
            key_id: certificate.subject_key_id().unwrap().to_vec(),
        }
    }

    /// A CA below this one, of which nobody was told.
    pub(super) fn intermediate(&self, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let wanted = Wanted {
            is_ca: true,
            purposes: vec![],
            units: &[],
            ..Wanted::device(name)
        };
        let pem = params(&wanted).signed_by(&key, &self.issuer).unwrap().pem();
        Self::new(&pem, key.serialize_pem(), pem.clone())
    }

    /// A certificate, with what the client shows beside it, and its key.
    pub(super) fn issue(&self, wanted: &Wanted<'_>) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let pem = params(wanted).signed_by(&key, &self.issuer).unwrap().pem();
        (pem + &self.chain, key.serialize_pem())
    }

    /// A list that revokes these, as PEM; valid for a time that ended long ago if it is `old`.
    pub(super) fn revoke(&self, certificates: &[&fabric_msp::Certificate], old: bool) -> String {
        let list = self.list(certificates, old);
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    /// A list that revokes these for some reasons only, of which it names none, as DER. `reasons` is the BIT STRING's
    /// content.
    pub(super) fn revoke_for_no_reason(
        &self,
        certificates: &[&fabric_msp::Certificate],
        reasons: &[u8],
    ) -> Vec<u8> {
        let list = self.list(certificates, false);
        let list = list.signed_by(&self.issuer).unwrap();
        let distribution = element(0x30, &element(0x83, reasons));
        // The extension issuingDistributionPoint, critical.
        let content = [
            &[0x06, 3, 0x55, 0x1d, 0x1c, 0x01, 1, 0xff][..],
            &element(0x04, &distribution),
        ]
        .concat();
        self.with_extension(list.der(), &element(0x30, &content))
    }

    /// A list whose signature was left out, as DER.
    pub(super) fn revoke_unsigned(&self, certificates: &[&fabric_msp::Certificate]) -> Vec<u8> {
        let list = self
            .list(certificates, false)
            .signed_by(&self.issuer)
            .unwrap();
        let [tbs, algorithm, _] = elements(content(list.der()))[..] else {
            panic!("a list has three parts");
        };
        element(0x30, &[tbs, algorithm, &[0x03, 1, 0]].concat())
    }

    fn list(
        &self,
        certificates: &[&fabric_msp::Certificate],
        old: bool,
    ) -> CertificateRevocationListParams {
        let issued = if old {
            at(now() - 400 * 24 * HOUR)
        } else {
            at(now() - 60)
        };
        let revoked = certificates.iter().map(|certificate| RevokedCertParams {
            serial_number: SerialNumber::from_slice(
                &hex::decode(even(&certificate.serial_hex())).unwrap(),
            ),
            revocation_time: issued,
            reason_code: None,
            invalidity_date: None,
        });
        CertificateRevocationListParams {
            this_update: issued,
            next_update: issued + Duration::days(1),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::PreSpecified(self.key_id.clone()),
        }
    }

    /// Adds an extension to a list and signs it again.
    fn with_extension(&self, list: &[u8], extension: &[u8]) -> Vec<u8> {
        let parts = elements(content(list));
        let mut members = elements(content(parts[0]));
        let extensions = members.pop().unwrap();
        assert_eq!(extensions[0], 0xa0, "a list with extensions");
        let before = content(content(extensions));
        let after = element(0xa0, &element(0x30, &[before, extension].concat()));
        let tbs = element(0x30, &[members.concat(), after].concat());
        let signature = KeyPair::from_pem(&self.key_pem)
            .unwrap()
            .sign(&tbs)
            .unwrap();
        let signature = element(0x03, &[&[0][..], &signature].concat());
        element(0x30, &[&tbs, parts[1], &signature].concat())
    }
}

fn params(wanted: &Wanted<'_>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = at(wanted.from);
    params.not_after = at(wanted.until);
    params.use_authority_key_identifier_extension = true;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, "org1.example.com");
    for unit in wanted.units {
        params
            .distinguished_name
            .push(DnType::OrganizationalUnitName, *unit);
    }
    params
        .distinguished_name
        .push(DnType::CommonName, wanted.name);
    params.extended_key_usages = wanted.purposes.clone();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    if wanted.is_ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    }
    params
}

fn even(digits: &str) -> String {
    let zero = if digits.len().is_multiple_of(2) {
        ""
    } else {
        "0"
    };
    format!("{zero}{digits}")
}

/// Tag, length and content in DER.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let length = match u16::try_from(length).unwrap() {
        short @ 0..=127 => vec![short.to_be_bytes()[1]],
        long @ 128..=255 => vec![0x81, long.to_be_bytes()[1]],
        long => [&[0x82][..], &long.to_be_bytes()].concat(),
    };
    [&[tag][..], &length, content].concat()
}

/// Bytes of tag and length of the first element, and of its content.
fn measure(bytes: &[u8]) -> (usize, usize) {
    match bytes[1] {
        short @ 0..=0x7f => (2, usize::from(short)),
        0x81 => (3, usize::from(bytes[2])),
        0x82 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
        other => panic!("a length of {other:x}"),
    }
}

fn content(bytes: &[u8]) -> &[u8] {
    let (header, length) = measure(bytes);
    &bytes[header..header + length]
}

fn elements(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let (header, length) = measure(bytes);
        let (first, rest) = bytes.split_at(header + length);
        all.push(first);
        bytes = rest;
    }
    all
}
