//! Public RSA keys for encryption, as JWK (RFC 7517).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::ParseError;
use crate::limits::{RSA_BITS_MAX, RSA_BITS_MIN};

/// The public half of an RSA key pair. Private members are refused, so a private key that is sent
/// by mistake never reaches the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, try_from = "RawJwk", into = "RawJwk")]
pub struct Jwk {
    modulus: String,
    exponent: String,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawJwk {
    kty: String,
    n: String,
    e: String,
    #[serde(default, skip_serializing)]
    kid: Option<String>,
    #[serde(default, rename = "use", skip_serializing)]
    key_use: Option<String>,
    #[serde(default, skip_serializing)]
    alg: Option<String>,
}

impl Jwk {
    /// The key with this modulus and exponent, both big-endian bytes in base64url without padding.
    ///
    /// # Errors
    ///
    /// If they are not in shortest form, the modulus is even or not of
    /// [`RSA_BITS_MIN`] to [`RSA_BITS_MAX`] bits, or the exponent is not 65537.
    pub fn rsa(modulus: &str, exponent: &str) -> Result<Self, ParseError> {
        const EXPECTED: ParseError =
            ParseError::new("an RSA public key of 3072 to 8192 bits with exponent 65537");
        let bytes = URL_SAFE_NO_PAD.decode(modulus).map_err(|_| EXPECTED)?;
        let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
            return Err(EXPECTED);
        };
        let bits = (bytes.len() * 8).saturating_sub(first.leading_zeros() as usize);
        let odd = last & 1 == 1;
        if *first == 0
            || !odd
            || !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits)
            || exponent != "AQAB"
        {
            return Err(EXPECTED);
        }
        Ok(Self {
            modulus: modulus.to_owned(),
            exponent: exponent.to_owned(),
        })
    }

    /// The modulus `n`, big-endian in base64url without padding.
    #[must_use]
    pub fn modulus(&self) -> &str {
        &self.modulus
    }

    /// The exponent `e`, big-endian in base64url without padding.
    #[must_use]
    pub fn exponent(&self) -> &str {
        &self.exponent
    }

    /// The key's thumbprint (RFC 7638, SHA-256) in base64url without padding; the `kid` of wraps.
    #[must_use]
    pub fn thumbprint(&self) -> String {
        let members = format!(
            r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#,
            self.exponent, self.modulus
        );
        URL_SAFE_NO_PAD.encode(Digest::of(members.as_bytes()).as_bytes())
    }
}

impl TryFrom<RawJwk> for Jwk {
    type Error = ParseError;

    fn try_from(raw: RawJwk) -> Result<Self, ParseError> {
        if raw.kty != "RSA" {
            return Err(ParseError::new("a JWK with kty RSA"));
        }
        if raw.key_use.is_some_and(|key_use| key_use != "enc")
            || raw.alg.is_some_and(|alg| alg != "RSA-OAEP-256")
        {
            return Err(ParseError::new("a JWK for encryption with RSA-OAEP-256"));
        }
        let key = Self::rsa(&raw.n, &raw.e)?;
        if raw.kid.is_some_and(|kid| kid != key.thumbprint()) {
            return Err(ParseError::new(
                "a JWK whose kid is its RFC 7638 thumbprint",
            ));
        }
        Ok(key)
    }
}

impl From<Jwk> for RawJwk {
    fn from(key: Jwk) -> Self {
        Self {
            kty: "RSA".to_owned(),
            n: key.modulus,
            e: key.exponent,
            kid: None,
            key_use: None,
            alg: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modulus(bits: usize) -> String {
        let mut bytes = vec![0x5a; bits / 8];
        bytes[0] = 0x80;
        bytes[bits / 8 - 1] = 0x01;
        URL_SAFE_NO_PAD.encode(bytes)
    }

    #[test]
    fn thumbprint_is_the_one_of_rfc_7638() {
        // The key of RFC 7638 section 3.1 has 2048 bits, which `rsa` refuses, so it is built here.
        let key = Jwk {
            modulus: "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw".to_owned(),
            exponent: "AQAB".to_owned(),
        };
        assert_eq!(
            key.thumbprint(),
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
        );
    }

    #[test]
    fn sizes_and_exponents() {
        for (bits, good) in [
            (2048, false),
            (3072, true),
            (4096, true),
            (8192, true),
            (16384, false),
        ] {
            assert_eq!(Jwk::rsa(&modulus(bits), "AQAB").is_ok(), good, "{bits}");
        }
        assert!(Jwk::rsa(&modulus(3072), "Aw").is_err(), "exponent 3");
        assert!(Jwk::rsa("", "AQAB").is_err());
        assert!(Jwk::rsa("!!", "AQAB").is_err());
    }

    #[test]
    fn json_refuses_private_members_and_other_keys() {
        let n = modulus(3072);
        let good = format!(r#"{{"kty":"RSA","n":"{n}","e":"AQAB"}}"#);
        let key: Jwk = serde_json::from_str(&good).unwrap();
        assert_eq!(
            serde_json::from_str::<Jwk>(&serde_json::to_string(&key).unwrap()).unwrap(),
            key
        );
        let labelled = format!(
            r#"{{"kty":"RSA","n":"{n}","e":"AQAB","use":"enc","alg":"RSA-OAEP-256","kid":"{}"}}"#,
            key.thumbprint()
        );
        assert_eq!(serde_json::from_str::<Jwk>(&labelled).unwrap(), key);
        for bad in [
            format!(r#"{{"kty":"RSA","n":"{n}","e":"AQAB","d":"AQAB"}}"#),
            format!(r#"{{"kty":"EC","n":"{n}","e":"AQAB"}}"#),
            format!(r#"{{"kty":"RSA","n":"{n}","e":"AQAB","use":"sig"}}"#),
            format!(r#"{{"kty":"RSA","n":"{n}","e":"AQAB","kid":"x"}}"#),
        ] {
            assert!(serde_json::from_str::<Jwk>(&bad).is_err(), "{bad}");
        }
    }
}
