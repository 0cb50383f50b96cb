//! Compact JWE (RFC 7516) with `RSA-OAEP-256` and `A256GCM`, for one reader.
//!
//! The protected header is authenticated as associated data, so algorithm, `kid` and `cty` cannot
//! be exchanged. `cty` says what is inside, and a reader names the one that it expects: what was
//! made as one kind never opens as another.

use aws_lc_rs::rand;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, de::IgnoredAny};
use zeroize::Zeroizing;

use crate::{
    UnwrapError, WrapError,
    aead::{Aes256Gcm, KEY_LEN, NONCE_LEN, TAG_LEN},
    jwk::WRAP_ALGORITHM,
};

/// The content encryption key of one JWE.
pub(crate) type Cek = Zeroizing<[u8; KEY_LEN]>;

pub(crate) const CONTENT_ALGORITHM: &str = "A256GCM";

/// The header members that are understood. Unknown ones are ignored, as RFC 7516 demands; `crit`
/// and `zip` change the meaning and are refused.
#[derive(Deserialize)]
pub(crate) struct Header {
    alg: String,
    enc: String,
    cty: String,
    pub(crate) kid: Option<String>,
    crit: Option<IgnoredAny>,
    zip: Option<IgnoredAny>,
}

impl Header {
    /// Parses a protected header and checks everything in it but the `kid`.
    pub(crate) fn parse(encoded: &str, content_type: &str) -> Result<Self, UnwrapError> {
        let header: Self =
            serde_json::from_slice(&decode(encoded)?).map_err(|_| UnwrapError::Refused)?;
        let understood = header.alg == WRAP_ALGORITHM
            && header.enc == CONTENT_ALGORITHM
            && header.cty == content_type
            && header.crit.is_none()
            && header.zip.is_none();
        understood.then_some(header).ok_or(UnwrapError::Refused)
    }
}

/// The parts of a JWE that do not depend on the reader, as base64url.
pub(crate) struct Content {
    pub(crate) iv: String,
    pub(crate) ciphertext: String,
    pub(crate) tag: String,
}

impl Content {
    /// Encrypts the payload with a fresh key, which is returned to be encrypted for each reader.
    pub(crate) fn encrypt(header: &str, payload: &[u8]) -> Result<(Self, Cek), WrapError> {
        let cek = random_cek();
        let mut iv = [0; NONCE_LEN];
        rand::fill(&mut iv).expect("the system's random source answers");
        let sealed_len = payload.len() + TAG_LEN;
        let mut sealed = Zeroizing::new(Vec::with_capacity(sealed_len));
        sealed.extend_from_slice(payload);
        sealed.resize(sealed_len, 0);
        Aes256Gcm::new(&cek)
            .seal(iv, header.as_bytes(), &mut sealed)
            .ok_or(WrapError::Encryption)?;
        let (ciphertext, tag) = sealed.split_at(payload.len());
        let content = Self {
            iv: URL_SAFE_NO_PAD.encode(iv),
            ciphertext: URL_SAFE_NO_PAD.encode(ciphertext),
            tag: URL_SAFE_NO_PAD.encode(tag),
        };
        Ok((content, cek))
    }

    /// Decrypts the payload. Without a content encryption key it goes on with a random one, so
    /// that time does not tell whether the key or the content was wrong (RFC 7516 section 11.5).
    pub(crate) fn decrypt(
        iv: &str,
        ciphertext: &str,
        tag: &str,
        header: &str,
        unwrap_cek: impl FnOnce() -> Option<Cek>,
    ) -> Result<Zeroizing<Vec<u8>>, UnwrapError> {
        let iv: [u8; NONCE_LEN] = decode(iv)?.try_into().map_err(|_| UnwrapError::Refused)?;
        let mut payload = Zeroizing::new(decode(ciphertext)?);
        let tag = decode(tag)?;
        if tag.len() != TAG_LEN {
            return Err(UnwrapError::Refused);
        }
        let plaintext_len = payload.len();
        payload.extend_from_slice(&tag);
        let cek = unwrap_cek().unwrap_or_else(random_cek);
        Aes256Gcm::new(&cek)
            .open(iv, header.as_bytes(), &mut payload)
            .ok_or(UnwrapError::Refused)?;
        payload.truncate(plaintext_len);
        Ok(payload)
    }
}

/// Builds the JWE; `wrap_cek` encrypts the content encryption key for the reader. Neither text
/// needs JSON escapes: a thumbprint is base64url, and content types are checked before.
pub(crate) fn encrypt(
    content_type: &str,
    payload: &[u8],
    kid: &str,
    wrap_cek: impl FnOnce(&Cek) -> Result<Vec<u8>, WrapError>,
) -> Result<String, WrapError> {
    let header = URL_SAFE_NO_PAD.encode(format!(
        "{{\"alg\":\"{WRAP_ALGORITHM}\",\"cty\":\"{content_type}\",\
         \"enc\":\"{CONTENT_ALGORITHM}\",\"kid\":\"{kid}\"}}"
    ));
    let (content, cek) = Content::encrypt(&header, payload)?;
    let encrypted_key = URL_SAFE_NO_PAD.encode(wrap_cek(&cek)?);
    let Content {
        iv,
        ciphertext,
        tag,
    } = &content;
    Ok([&header, &encrypted_key, iv, ciphertext, tag]
        .map(String::as_str)
        .join("."))
}

/// Checks and opens the JWE, which the caller found not to be too long; `unwrap_cek` decrypts the
/// content encryption key.
pub(crate) fn decrypt(
    content_type: &str,
    jwe: &str,
    kid: &str,
    unwrap_cek: impl FnOnce(&[u8]) -> Option<Cek>,
) -> Result<Zeroizing<Vec<u8>>, UnwrapError> {
    let [header, encrypted_key, iv, ciphertext, tag] = parts(jwe)?;
    let named = Header::parse(header, content_type)?
        .kid
        .ok_or(UnwrapError::Refused)?;
    if named != kid {
        return Err(UnwrapError::OtherKey { kid: named });
    }
    let encrypted_key = decode(encrypted_key)?;
    Content::decrypt(iv, ciphertext, tag, header, || unwrap_cek(&encrypted_key))
}

/// The `kid` of a JWE whose form and header are those of `content_type`.
pub(crate) fn kid_of(content_type: &str, jwe: &str) -> Option<String> {
    let parts = parts(jwe).ok()?;
    let header = Header::parse(parts[0], content_type).ok()?;
    parts
        .iter()
        .all(|part| decode(part).is_ok())
        .then_some(())?;
    header.kid
}

fn parts(jwe: &str) -> Result<[&str; 5], UnwrapError> {
    // One more than there may be, so that a text of dots makes no long list.
    let parts: Vec<&str> = jwe.splitn(6, '.').collect();
    parts.try_into().map_err(|_| UnwrapError::Refused)
}

pub(crate) fn decode(text: &str) -> Result<Vec<u8>, UnwrapError> {
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| UnwrapError::Refused)
}

fn random_cek() -> Cek {
    let mut cek = Cek::default();
    rand::fill(cek.as_mut_slice()).expect("the system's random source answers");
    cek
}
