//! Compact JSON Web Signatures (RFC 7515), narrowed to what a signed request needs: ES256, and
//! the signer named by the SHA-256 thumbprint of its certificate.
//!
//! The header is `{"alg":"ES256","typ":"JOSE","x5t#S256":"…"}`. Other algorithms, `crit`, and
//! headers that bring their own key (`jwk`, `jku`, `x5c`, `x5u`) are refused: the key comes from
//! the ledger or an MSP, never from the message. Statements of another kind than a request have a
//! `typ` of their own ([`sign_as`], [`Jws::media_type`]).

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use crate::certificate::Certificate;
use crate::error::SignatureError;
use crate::signing::SigningIdentity;

/// Longest JWS that is read, in bytes of its compact form.
pub const MAX_JWS_BYTES: usize = 64 * 1024;

/// Header fields that may stand in a request, beside the three that must.
const HARMLESS_FIELDS: [&str; 2] = ["cty", "kid"];

/// Why a JWS was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwsError {
    /// Longer than [`MAX_JWS_BYTES`].
    #[error("signed request of {bytes} bytes is longer than allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not three base64url parts, or a header that is no JSON object without repeated fields.
    #[error("malformed compact JWS")]
    Malformed,
    /// The header names another algorithm than ES256, or none.
    #[error("algorithm of the JWS is not ES256")]
    Algorithm,
    /// The header has a field that this profile refuses, such as `crit` or `jwk`.
    #[error("header field {name} is not allowed in a signed request")]
    Field {
        /// The field.
        name: String,
    },
    /// The header's thumbprint is missing, or not that of the certificate.
    #[error("thumbprint of the JWS does not name the certificate")]
    Thumbprint,
    /// The signature does not hold.
    #[error("signature of the JWS: {0}")]
    Signature(#[from] SignatureError),
}

/// A parsed JWS, not yet verified: nothing of its payload may be believed before
/// [`Jws::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jws {
    /// SHA-256 of the certificate that is said to have signed.
    pub header_thumbprint: [u8; 32],
    /// The signed bytes.
    pub payload: Vec<u8>,
    media_type: Option<String>,
    signing_input: Vec<u8>,
    signature: Vec<u8>,
}

/// `typ` of a signed request.
const REQUEST_TYPE: &str = "JOSE";

/// Signs a payload and returns the compact form.
///
/// # Errors
/// [`SignatureError::UnsupportedKey`] unless the identity's key is on P-256.
pub fn sign(identity: &SigningIdentity, payload: &[u8]) -> Result<String, SignatureError> {
    sign_as(identity, REQUEST_TYPE, payload)
}

/// Signs a payload of a kind of its own, which `media_type` (the header's `typ`) names so that it
/// is taken for nothing else, and returns the compact form.
///
/// # Errors
/// [`SignatureError::UnsupportedKey`] unless the identity's key is on P-256.
pub fn sign_as(
    identity: &SigningIdentity,
    media_type: &str,
    payload: &[u8],
) -> Result<String, SignatureError> {
    let thumbprint = URL_SAFE_NO_PAD.encode(identity.certificate().thumbprint());
    let media_type = serde_json::Value::from(media_type);
    let header = format!(r#"{{"alg":"ES256","typ":{media_type},"x5t#S256":"{thumbprint}"}}"#);
    let mut compact = URL_SAFE_NO_PAD.encode(header);
    compact.push('.');
    URL_SAFE_NO_PAD.encode_string(payload, &mut compact);
    let signature = identity.sign_es256(compact.as_bytes())?;
    compact.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut compact);
    Ok(compact)
}

impl Jws {
    /// Reads the compact form.
    ///
    /// # Errors
    /// [`JwsError`] if it is too long, malformed, or outside the profile of this module.
    pub fn parse(compact: &str) -> Result<Self, JwsError> {
        if compact.len() > MAX_JWS_BYTES {
            return Err(JwsError::TooLong {
                bytes: compact.len(),
            });
        }
        let (signing_input, signature) = compact.rsplit_once('.').ok_or(JwsError::Malformed)?;
        let (header, payload) = signing_input.split_once('.').ok_or(JwsError::Malformed)?;
        let decode = |part: &str| {
            URL_SAFE_NO_PAD
                .decode(part)
                .map_err(|_| JwsError::Malformed)
        };
        let header: Header =
            serde_json::from_slice(&decode(header)?).map_err(|_| JwsError::Malformed)?;
        Ok(Self {
            header_thumbprint: header.thumbprint()?,
            media_type: header.media_type(),
            payload: decode(payload)?,
            signing_input: signing_input.as_bytes().to_vec(),
            signature: decode(signature)?,
        })
    }

    /// What the payload is said to be: the header's `typ`, if there is one.
    #[must_use]
    pub fn media_type(&self) -> Option<&str> {
        self.media_type.as_deref()
    }

    /// Verifies that the certificate's key signed, and that the header names the certificate.
    ///
    /// # Errors
    /// [`JwsError::Thumbprint`] or [`JwsError::Signature`].
    pub fn verify(&self, certificate: &Certificate) -> Result<(), JwsError> {
        if certificate.thumbprint() != self.header_thumbprint {
            return Err(JwsError::Thumbprint);
        }
        certificate.verify_es256(&self.signing_input, &self.signature)?;
        Ok(())
    }
}

/// A JOSE header's fields; a repeated one is an error (RFC 7515 section 4).
struct Header(BTreeMap<String, serde_json::Value>);

impl Header {
    fn media_type(&self) -> Option<String> {
        let media_type = self.0.get("typ")?.as_str()?;
        Some(media_type.to_owned())
    }

    fn thumbprint(&self) -> Result<[u8; 32], JwsError> {
        let text = |name| self.0.get(name).and_then(serde_json::Value::as_str);
        if text("alg") != Some("ES256") {
            return Err(JwsError::Algorithm);
        }
        for name in self.0.keys() {
            let expected = matches!(name.as_str(), "alg" | "typ" | "x5t#S256");
            if !expected && !HARMLESS_FIELDS.contains(&name.as_str()) {
                return Err(JwsError::Field { name: name.clone() });
            }
        }
        text("x5t#S256")
            .and_then(|encoded| URL_SAFE_NO_PAD.decode(encoded).ok())
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(JwsError::Thumbprint)
    }
}

impl<'de> de::Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JOSE header")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut fields = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, serde_json::Value>()? {
                    if fields.insert(name, value).is_some() {
                        return Err(de::Error::custom("repeated header field"));
                    }
                }
                Ok(Header(fields))
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Ca;

    fn encoded(header: &str) -> String {
        URL_SAFE_NO_PAD.encode(header)
    }

    #[test]
    fn a_signed_request_is_read_and_verified() {
        let identity = Ca::root("ca").client();
        let compact = sign(&identity, b"{\"action\":\"x\"}").unwrap();
        let jws = Jws::parse(&compact).unwrap();
        assert_eq!(jws.payload, b"{\"action\":\"x\"}");
        assert_eq!(jws.header_thumbprint, identity.certificate().thumbprint());
        assert_eq!(jws.verify(identity.certificate()), Ok(()));
        let other = Ca::root("ca").client();
        assert_eq!(jws.verify(other.certificate()), Err(JwsError::Thumbprint));
        assert_eq!(jws.media_type(), Some("JOSE"));
    }

    #[test]
    fn another_statement_says_what_it_is() {
        let identity = Ca::root("ca").client();
        for media_type in ["vnd.example", "with \"quotes\""] {
            let compact = sign_as(&identity, media_type, b"payload").unwrap();
            let jws = Jws::parse(&compact).unwrap();
            assert_eq!(jws.media_type(), Some(media_type));
            assert_eq!(jws.verify(identity.certificate()), Ok(()));
        }
        let thumbprint = URL_SAFE_NO_PAD.encode([7; 32]);
        for typ in ["", r#""typ":7,"#] {
            let header = format!(r#"{{"alg":"ES256",{typ}"x5t#S256":"{thumbprint}"}}"#);
            let jws = Jws::parse(&format!("{}.e30.c2ln", encoded(&header))).unwrap();
            assert_eq!(jws.media_type(), None);
        }
    }

    #[test]
    fn any_changed_character_is_noticed() {
        let identity = Ca::root("ca").client();
        let compact = sign(&identity, b"payload").unwrap();
        for at in 0..compact.len() {
            let mut changed = compact.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            let judged = Jws::parse(&changed).and_then(|jws| jws.verify(identity.certificate()));
            assert!(judged.is_err(), "at {at}");
        }
    }

    #[test]
    fn headers_outside_the_profile_are_refused() {
        let thumbprint = URL_SAFE_NO_PAD.encode([7; 32]);
        let check = |header: &str, expected: Result<(), JwsError>| {
            let header = header.replace("THUMB", &thumbprint);
            let compact = format!("{}.e30.c2ln", encoded(&header));
            assert_eq!(Jws::parse(&compact).map(drop), expected, "{header}");
        };
        let field = |name: &str| {
            Err(JwsError::Field {
                name: name.to_owned(),
            })
        };
        check(r#"{"alg":"ES256","x5t#S256":"THUMB"}"#, Ok(()));
        check(
            r#"{"alg":"ES256","kid":"1","cty":"json","x5t#S256":"THUMB"}"#,
            Ok(()),
        );
        for algorithm in ["none", "None", "HS256", "ES384", "es256", "RS256", ""] {
            let header = format!(r#"{{"alg":"{algorithm}","x5t#S256":"THUMB"}}"#);
            check(&header, Err(JwsError::Algorithm));
        }
        check(r#"{"x5t#S256":"THUMB"}"#, Err(JwsError::Algorithm));
        check(
            r#"{"alg":["ES256"],"x5t#S256":"THUMB"}"#,
            Err(JwsError::Algorithm),
        );
        check(
            r#"{"alg":"ES256","x5t#S256":"THUMB","crit":["exp"]}"#,
            field("crit"),
        );
        check(
            r#"{"alg":"ES256","x5t#S256":"THUMB","jwk":{}}"#,
            field("jwk"),
        );
        check(
            r#"{"alg":"ES256","x5t#S256":"THUMB","b64":false}"#,
            field("b64"),
        );
        check(r#"{"alg":"ES256"}"#, Err(JwsError::Thumbprint));
        check(
            r#"{"alg":"ES256","x5t#S256":"AAAA"}"#,
            Err(JwsError::Thumbprint),
        );
        let repeated = r#"{"alg":"none","alg":"ES256","x5t#S256":"THUMB"}"#;
        check(repeated, Err(JwsError::Malformed));
        check("[]", Err(JwsError::Malformed));
        check("", Err(JwsError::Malformed));
    }

    #[test]
    fn malformed_compact_forms_are_refused() {
        let header = encoded(r#"{"alg":"ES256","x5t#S256":"AAAA"}"#);
        for compact in [
            "",
            ".",
            "..",
            "a.b",
            "a.b.c.d",
            &format!("{header}=.e30.c2ln"),
        ] {
            assert!(Jws::parse(compact).is_err(), "{compact}");
        }
        let long = "a".repeat(MAX_JWS_BYTES + 1);
        assert_eq!(
            Jws::parse(&long),
            Err(JwsError::TooLong { bytes: long.len() })
        );
    }
}
