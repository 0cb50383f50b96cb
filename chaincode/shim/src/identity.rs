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
