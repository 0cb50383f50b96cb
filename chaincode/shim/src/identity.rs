//! Who called: the creator of a transaction, its certificate and attributes.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use fabric_msp::{Certificate, MspId, parse_serialized_identity};

use crate::ClientIdentityError;

/// The identity that signed the proposal.
#[derive(Clone, Debug)]
pub struct ClientIdentity {
    msp_id: MspId,
    certificate: Certificate,
}

impl ClientIdentity {
    /// Reads a serialised identity, as [`crate::Stub::creator`] gives it.
    ///
    /// # Errors
    ///
    /// [`ClientIdentityError::Unreadable`] when the bytes hold no X.509 identity.
    pub fn parse(creator: &[u8]) -> Result<Self, ClientIdentityError> {
        let (msp_id, certificate) = parse_serialized_identity(creator).map_err(|error| {
            ClientIdentityError::Unreadable {
                reason: error.to_string(),
            }
        })?;
        Ok(Self {
            msp_id,
            certificate,
        })
    }

    /// The organisation that vouches for the caller.
    #[must_use]
    pub fn msp_id(&self) -> &str {
        self.msp_id.as_ref()
    }

    /// The caller's ID as the Go shim forms it: base64 of `x509::<subject>::<issuer>`. The Node
    /// and Java shims form other strings from the same certificate.
    #[must_use]
    pub fn id(&self) -> String {
        let subject = self.certificate.subject();
        let issuer = self.certificate.issuer();
        STANDARD.encode(format!("x509::{subject}::{issuer}"))
    }

    /// The caller's certificate.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// An attribute that the CA wrote into the certificate (OID 1.2.3.4.5.6.7.8.1).
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.certificate.attribute(name)
    }

    /// Checks that an attribute has a value.
    ///
    /// # Errors
    ///
    /// [`ClientIdentityError::AttributeMismatch`] when it is absent or different.
    pub fn assert_attribute(&self, name: &str, value: &str) -> Result<(), ClientIdentityError> {
        if self.attribute(name) == Some(value) {
            return Ok(());
        }
        Err(ClientIdentityError::AttributeMismatch {
            name: name.to_owned(),
        })
    }

    /// Whether the certificate's subject has this organisational unit.
    #[must_use]
    pub fn has_ou(&self, ou: &str) -> bool {
        let units = self.certificate.organizational_units();
        units.iter().any(|unit| *unit == ou)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, IsCa,
        KeyPair,
    };

    use super::*;

    type Names<'n> = &'n [(DnType, &'n str)];

    fn params(names: Names<'_>) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in names {
            params.distinguished_name.push(kind.clone(), *value);
        }
        params
    }

    fn identity(subject: Names<'_>, issuer: Names<'_>, attributes: &str) -> ClientIdentity {
        let mut ca = params(issuer);
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
        let mut client = params(subject);
        let oid = [1, 2, 3, 4, 5, 6, 7, 8, 1];
        let extension = CustomExtension::from_oid_content(&oid, attributes.as_bytes().to_vec());
        client.custom_extensions.push(extension);
        let client = client
            .signed_by(&KeyPair::generate().unwrap(), &ca)
            .unwrap();
        let certificate = Certificate::from_pem(client.pem().as_bytes()).unwrap();
        let msp_id = MspId::parse("Org1MSP").unwrap();
        let creator = fabric_msp::serialized_identity(&msp_id, &certificate);
        ClientIdentity::parse(&creator).unwrap()
    }

    /// The ID that programs in Go print for a user of Fabric's test network.
    #[test]
    fn the_id_is_the_one_that_the_go_shim_forms() {
        let subject = [
            (DnType::CountryName, "US"),
            (DnType::StateOrProvinceName, "North Carolina"),
            (DnType::OrganizationName, "Hyperledger"),
            (DnType::OrganizationalUnitName, "client"),
            (DnType::CommonName, "user1"),
        ];
        let issuer = [
            (DnType::CountryName, "US"),
            (DnType::StateOrProvinceName, "North Carolina"),
            (DnType::LocalityName, "Durham"),
            (DnType::OrganizationName, "org1.example.com"),
            (DnType::CommonName, "ca.org1.example.com"),
        ];
        assert_eq!(
            identity(&subject, &issuer, "{}").id(),
            "eDUwOTo6Q049dXNlcjEsT1U9Y2xpZW50LE89SHlwZXJsZWRnZXIsU1Q9Tm9ydGggQ2Fyb2xpbmEsQz1VUzo6\
             Q049Y2Eub3JnMS5leGFtcGxlLmNvbSxPPW9yZzEuZXhhbXBsZS5jb20sTD1EdXJoYW0sU1Q9Tm9ydGggQ2Fy\
             b2xpbmEsQz1VUw=="
        );
    }

    #[test]
    fn attributes_and_units_are_read_from_the_certificate() {
        let subject = [
            (DnType::OrganizationalUnitName, "client"),
            (DnType::CommonName, "u"),
        ];
        let attributes = r#"{"attrs":{"role":"doctor","empty":""}}"#;
        let identity = identity(&subject, &[(DnType::CommonName, "ca")], attributes);
        assert_eq!(identity.msp_id(), "Org1MSP");
        assert!(identity.has_ou("client") && !identity.has_ou("Client") && !identity.has_ou(""));
        assert_eq!(identity.attribute("role"), Some("doctor"));
        assert_eq!(identity.attribute("Role"), None);
        assert!(identity.assert_attribute("role", "doctor").is_ok());
        assert!(identity.assert_attribute("empty", "").is_ok());
        for (name, value) in [("role", "nurse"), ("absent", ""), ("absent", "x")] {
            assert!(
                identity.assert_attribute(name, value).is_err(),
                "{name}={value}"
            );
        }
    }

    #[test]
    fn what_is_no_identity_is_refused() {
        for creator in [&b""[..], b"\xff", b"\x0a\x07Org1MSP"] {
            let error = ClientIdentity::parse(creator).unwrap_err();
            assert!(matches!(error, ClientIdentityError::Unreadable { .. }));
        }
    }
}
