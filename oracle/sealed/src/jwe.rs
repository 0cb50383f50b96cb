//! Wrapped data keys: compact JWE (RFC 7516) with `RSA-OAEP-256` and `A256GCM`.
//!
//! The payload is the data key as a JWK of type `oct`. The protected header is authenticated as
//! associated data, so algorithm and `kid` cannot be exchanged.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    rand,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, de::IgnoredAny};
use zeroize::Zeroizing;

use crate::{
    DataKey, UnwrapError, WrapError, data_key::DATA_KEY_LEN, jwk::WRAP_ALGORITHM, segment::TAG_LEN,
};

/// The content encryption key of one JWE.
pub(crate) type Cek = Zeroizing<[u8; 32]>;

/// Longest compact JWE that is parsed, in bytes: one for an 8192-bit key has about 1,700.
const MAX_JWE_BYTES: usize = 4096;

const CONTENT_ALGORITHM: &str = "A256GCM";
const IV_LEN: usize = 12;
/// `{"k":"…","kty":"oct"}` around 43 characters of base64url.
const OCT_JWK_LEN: usize = 64;

/// The header members that are understood. Unknown ones are ignored, as RFC 7516 demands; `crit`
/// and `zip` change the meaning and are refused.
#[derive(Deserialize)]
struct Header {
    alg: String,
    enc: String,
    kid: String,
    crit: Option<IgnoredAny>,
    zip: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct OctJwk<'a> {
    kty: &'a str,
    k: &'a str,
}

/// Builds the JWE; `wrap_cek` encrypts the content encryption key for the reader.
pub(crate) fn encrypt(
    data_key: &DataKey,
    kid: &str,
    wrap_cek: impl FnOnce(&Cek) -> Result<Vec<u8>, WrapError>,
) -> Result<String, WrapError> {
    let mut cek = Cek::default();
    let mut iv = [0; IV_LEN];
    rand::fill(cek.as_mut_slice()).expect("the system's random source answers");
    rand::fill(&mut iv).expect("the system's random source answers");
    // A thumbprint is base64url, so it needs no JSON escapes.
    let header = format!(
        "{{\"alg\":\"{WRAP_ALGORITHM}\",\"cty\":\"jwk+json\",\"enc\":\"{CONTENT_ALGORITHM}\",\
         \"kid\":\"{kid}\"}}"
    );
    let header = URL_SAFE_NO_PAD.encode(header);
    let wrapped_cek = wrap_cek(&cek)?;
    let mut payload = oct_jwk(data_key);
    let tag = content_key(&cek)
        .and_then(|key| {
            let nonce = Nonce::assume_unique_for_key(iv);
            let aad = Aad::from(header.as_bytes());
            key.seal_in_place_separate_tag(nonce, aad, &mut payload)
                .ok()
        })
        .ok_or(WrapError::Encryption)?;
    Ok([
        header.as_str(),
        &URL_SAFE_NO_PAD.encode(wrapped_cek),
        &URL_SAFE_NO_PAD.encode(iv),
        &URL_SAFE_NO_PAD.encode(payload.as_slice()),
        &URL_SAFE_NO_PAD.encode(tag.as_ref()),
    ]
    .join("."))
}

/// Checks and opens the JWE; `unwrap_cek` decrypts the content encryption key.
pub(crate) fn decrypt(
    jwe: &str,
    kid: &str,
    unwrap_cek: impl FnOnce(&[u8]) -> Option<Cek>,
) -> Result<DataKey, UnwrapError> {
    if jwe.len() > MAX_JWE_BYTES {
        return Err(UnwrapError::Refused);
    }
    let parts: Vec<&str> = jwe.split('.').collect();
    let [header, wrapped_cek, iv, payload, tag] = parts[..] else {
        return Err(UnwrapError::Refused);
    };
    check_header(header, kid)?;
    let iv: [u8; IV_LEN] = decode(iv)?.try_into().map_err(|_| UnwrapError::Refused)?;
    let mut payload = Zeroizing::new(decode(payload)?);
    let tag = decode(tag)?;
    if tag.len() != TAG_LEN {
        return Err(UnwrapError::Refused);
    }
    payload.extend_from_slice(&tag);
    // RFC 7516 section 11.5: go on with a random key, so that time does not tell whether the key
    // or the content was wrong.
    let cek = unwrap_cek(&decode(wrapped_cek)?).unwrap_or_else(random_cek);
    let key = content_key(&cek).ok_or(UnwrapError::Refused)?;
    let plaintext = key
        .open_in_place(
            Nonce::assume_unique_for_key(iv),
            Aad::from(header.as_bytes()),
            payload.as_mut_slice(),
        )
        .map_err(|_| UnwrapError::Refused)?;
    data_key(plaintext).ok_or(UnwrapError::Refused)
}

fn check_header(header: &str, kid: &str) -> Result<(), UnwrapError> {
    let header: Header =
        serde_json::from_slice(&decode(header)?).map_err(|_| UnwrapError::Refused)?;
    let understood = header.alg == WRAP_ALGORITHM
        && header.enc == CONTENT_ALGORITHM
        && header.crit.is_none()
        && header.zip.is_none();
    if !understood {
        return Err(UnwrapError::Refused);
    }
    if header.kid != kid {
        return Err(UnwrapError::OtherKey { kid: header.kid });
    }
    Ok(())
}

fn random_cek() -> Cek {
    let mut cek = Cek::default();
    rand::fill(cek.as_mut_slice()).expect("the system's random source answers");
    cek
}

fn content_key(cek: &Cek) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, cek.as_slice())
        .ok()
        .map(LessSafeKey::new)
}

fn oct_jwk(data_key: &DataKey) -> Zeroizing<Vec<u8>> {
    let mut json = Zeroizing::new(String::with_capacity(OCT_JWK_LEN));
    json.push_str("{\"k\":\"");
    URL_SAFE_NO_PAD.encode_string(data_key.expose_secret(), &mut json);
    json.push_str("\",\"kty\":\"oct\"}");
    Zeroizing::new(json.as_bytes().to_vec())
}

fn data_key(json: &[u8]) -> Option<DataKey> {
    let jwk: OctJwk<'_> = serde_json::from_slice(json).ok()?;
    let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(jwk.k).ok()?);
    let bytes: Zeroizing<[u8; DATA_KEY_LEN]> = Zeroizing::new(bytes.as_slice().try_into().ok()?);
    (jwk.kty == "oct").then(|| DataKey::from_bytes(*bytes))
}

fn decode(text: &str) -> Result<Vec<u8>, UnwrapError> {
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| UnwrapError::Refused)
}
