//! RSA keys as JSON (RFC 7517, RFC 7518 section 6.3) and as DER, without judging them.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use pkcs1::{RsaPrivateKeyRef, RsaPublicKeyRef};
use pkcs8::{
    AlgorithmIdentifierRef, PrivateKeyInfoRef, SecretDocument, SubjectPublicKeyInfoRef,
    der::{
        Decode, Encode,
        asn1::{BitStringRef, OctetStringRef, UintRef},
    },
};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::KeyError;

/// Longest JWK text that is parsed, in bytes: a private 8192-bit key has about 6,500.
pub(crate) const MAX_JWK_BYTES: usize = 16 * 1024;

/// The base64url text of the exponent 65537.
pub(crate) const EXPONENT_TEXT: &str = "AQAB";
const EXPONENT: [u8; 3] = [1, 0, 1];
pub(crate) const KEY_TYPE: &str = "RSA";
pub(crate) const WRAP_ALGORITHM: &str = "RSA-OAEP-256";
pub(crate) const ENCRYPTION_USE: &str = "enc";

/// The members of an RSA JWK. Texts are borrowed: what a key is written with needs no JSON
/// escapes, and private parts are not copied.
#[derive(Deserialize)]
pub(crate) struct RsaJwk<'a> {
    pub(crate) kty: &'a str,
    pub(crate) alg: Option<&'a str>,
    #[serde(rename = "use")]
    pub(crate) key_use: Option<&'a str>,
    pub(crate) n: Option<&'a str>,
    pub(crate) e: Option<&'a str>,
    pub(crate) d: Option<&'a str>,
    pub(crate) p: Option<&'a str>,
    pub(crate) q: Option<&'a str>,
    pub(crate) dp: Option<&'a str>,
    pub(crate) dq: Option<&'a str>,
    pub(crate) qi: Option<&'a str>,
    /// Primes past the second; such keys are refused.
    pub(crate) oth: Option<serde::de::IgnoredAny>,
}

impl<'a> RsaJwk<'a> {
    /// Parses the text and checks type and intended use.
    pub(crate) fn parse(json: &'a str) -> Result<Self, KeyError> {
        if json.len() > MAX_JWK_BYTES {
            return Err(KeyError::Malformed);
        }
        let jwk: Self = serde_json::from_str(json).map_err(|_| KeyError::Malformed)?;
        if jwk.kty != KEY_TYPE {
            return Err(KeyError::NotRsa);
        }
        let wrong_algorithm = jwk.alg.is_some_and(|alg| alg != WRAP_ALGORITHM);
        let wrong_use = jwk.key_use.is_some_and(|key_use| key_use != ENCRYPTION_USE);
        if wrong_algorithm || wrong_use {
            return Err(KeyError::WrongUse);
        }
        Ok(jwk)
    }

    /// The modulus, once the exponent is the only one accepted.
    pub(crate) fn modulus(&self) -> Result<Vec<u8>, KeyError> {
        let exponent = self.e.ok_or(KeyError::Malformed)?;
        if unsigned(exponent)?.as_slice() != EXPONENT {
            return Err(KeyError::Exponent);
        }
        Ok(unsigned(self.n.ok_or(KeyError::Malformed)?)?.to_vec())
    }

    /// True when any private member is present.
    pub(crate) fn has_private_part(&self) -> bool {
        [self.d, self.p, self.q, self.dp, self.dq, self.qi]
            .iter()
            .any(Option::is_some)
            || self.oth.is_some()
    }

    /// The PKCS#8 document of a private key; all of its members are required.
    pub(crate) fn to_pkcs8(&self) -> Result<SecretDocument, KeyError> {
        if self.oth.is_some() {
            return Err(KeyError::Malformed);
        }
        let modulus = self.modulus()?;
        let private = |member: Option<&str>| unsigned(member.ok_or(KeyError::Malformed)?);
        let (d, p, q) = (private(self.d)?, private(self.p)?, private(self.q)?);
        let (dp, dq, qi) = (private(self.dp)?, private(self.dq)?, private(self.qi)?);
        let key = RsaPrivateKeyRef {
            modulus: integer(&modulus)?,
            public_exponent: integer(&EXPONENT)?,
            private_exponent: integer(&d)?,
            prime1: integer(&p)?,
            prime2: integer(&q)?,
            exponent1: integer(&dp)?,
            exponent2: integer(&dq)?,
            coefficient: integer(&qi)?,
            other_prime_infos: None,
        };
        let key = Zeroizing::new(key.to_der().map_err(|_| KeyError::Malformed)?);
        let octets = OctetStringRef::new(&key).map_err(|_| KeyError::Malformed)?;
        SecretDocument::encode_msg(&PrivateKeyInfoRef::new(pkcs1::ALGORITHM_ID, octets))
            .map_err(|_| KeyError::Malformed)
    }
}

/// Writes the private JWK of a PKCS#8 document into memory that is wiped.
pub(crate) fn private_jwk(pkcs8: &[u8], thumbprint: &str) -> Result<Zeroizing<String>, KeyError> {
    let info = private_key_info(pkcs8)?;
    let key =
        RsaPrivateKeyRef::from_der(info.private_key.as_bytes()).map_err(|_| KeyError::Malformed)?;
    // Reserved once: growing would leave copies of the key behind in freed memory.
    let mut json = Zeroizing::new(String::with_capacity(MAX_JWK_BYTES));
    for (name, text) in [
        ("{\"alg\":\"", WRAP_ALGORITHM),
        ("\",\"kid\":\"", thumbprint),
        ("\",\"kty\":\"", KEY_TYPE),
        ("\",\"use\":\"", ENCRYPTION_USE),
    ] {
        json.push_str(name);
        json.push_str(text);
    }
    for (name, value) in [
        ("n", &key.modulus),
        ("e", &key.public_exponent),
        ("d", &key.private_exponent),
        ("p", &key.prime1),
        ("q", &key.prime2),
        ("dp", &key.exponent1),
        ("dq", &key.exponent2),
        ("qi", &key.coefficient),
    ] {
        json.push_str("\",\"");
        json.push_str(name);
        json.push_str("\":\"");
        URL_SAFE_NO_PAD.encode_string(value.as_bytes(), &mut json);
    }
    json.push_str("\"}");
    Ok(json)
}

/// The modulus inside a PKCS#8 document.
pub(crate) fn pkcs8_modulus(pkcs8: &[u8]) -> Result<Vec<u8>, KeyError> {
    let info = private_key_info(pkcs8)?;
    let key =
        RsaPrivateKeyRef::from_der(info.private_key.as_bytes()).map_err(|_| KeyError::Malformed)?;
    checked_modulus(&key.public_key())
}

/// The modulus inside an X.509 SubjectPublicKeyInfo.
pub(crate) fn spki_modulus(spki: &[u8]) -> Result<Vec<u8>, KeyError> {
    let info = SubjectPublicKeyInfoRef::from_der(spki).map_err(|_| KeyError::Malformed)?;
    if info.algorithm.oid != pkcs1::ALGORITHM_OID {
        return Err(KeyError::NotRsa);
    }
    let bits = info
        .subject_public_key
        .as_bytes()
        .ok_or(KeyError::Malformed)?;
    checked_modulus(&RsaPublicKeyRef::from_der(bits).map_err(|_| KeyError::Malformed)?)
}

/// The X.509 SubjectPublicKeyInfo of a modulus with the exponent 65537.
pub(crate) fn spki(modulus: &[u8]) -> Result<Vec<u8>, KeyError> {
    let key = RsaPublicKeyRef {
        modulus: integer(modulus)?,
        public_exponent: integer(&EXPONENT)?,
    };
    let key = key.to_der().map_err(|_| KeyError::Malformed)?;
    SubjectPublicKeyInfoRef {
        algorithm: pkcs1::ALGORITHM_ID,
        subject_public_key: BitStringRef::from_bytes(&key).map_err(|_| KeyError::Malformed)?,
    }
    .to_der()
    .map_err(|_| KeyError::Malformed)
}

fn private_key_info(pkcs8: &[u8]) -> Result<PrivateKeyInfoRef<'_>, KeyError> {
    let info = PrivateKeyInfoRef::from_der(pkcs8).map_err(|_| KeyError::Malformed)?;
    let AlgorithmIdentifierRef { oid, .. } = info.algorithm;
    if oid != pkcs1::ALGORITHM_OID {
        return Err(KeyError::NotRsa);
    }
    Ok(info)
}

fn checked_modulus(key: &RsaPublicKeyRef<'_>) -> Result<Vec<u8>, KeyError> {
    if key.public_exponent.as_bytes() != EXPONENT {
        return Err(KeyError::Exponent);
    }
    Ok(key.modulus.as_bytes().to_vec())
}

/// Decodes a Base64urlUInt (RFC 7518 section 2): unpadded, and without leading zero octets.
fn unsigned(text: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let bytes = URL_SAFE_NO_PAD
        .decode(text)
        .map(Zeroizing::new)
        .map_err(|_| KeyError::Malformed)?;
    match bytes.first() {
        None | Some(0) => Err(KeyError::Malformed),
        Some(_) => Ok(bytes),
    }
}

fn integer(bytes: &[u8]) -> Result<UintRef<'_>, KeyError> {
    UintRef::new(bytes).map_err(|_| KeyError::Malformed)
}
