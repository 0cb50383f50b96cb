//! Short texts for named readers, such as the justification of an emergency.
//!
//! For one reader a compact JWE, for several a JWE in the general JSON serialisation (RFC 7516
//! section 7.2.1): one content, and its key encrypted for each.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use zeroize::Zeroizing;

use crate::{
    PrivateKey, PublicKey, UnwrapError, WrapError,
    jwe::{self, CONTENT_ALGORITHM, Cek, Content, Header},
    jwk::WRAP_ALGORITHM,
    wrap::{DATA_KEY_TYPE, GATED_TYPE},
};

/// Longest text that is sealed, in bytes.
pub const MAX_TEXT_BYTES: usize = 4096;

/// Longest sealed text that is made or parsed, in bytes.
pub const MAX_SEALED_TEXT_BYTES: usize = 16 * 1024;

/// Most readers of one sealed text. With 3072-bit keys that many fit around the longest text.
pub const MAX_TEXT_READERS: usize = 16;

/// Longest content type, in bytes.
const MAX_CONTENT_TYPE_BYTES: usize = 64;

/// JWE in general JSON serialisation. `aad` and `unprotected` change the meaning and are refused.
#[derive(Serialize, Deserialize)]
struct GeneralJwe {
    ciphertext: String,
    iv: String,
    protected: String,
    recipients: Vec<Recipient>,
    tag: String,
    #[serde(skip_serializing)]
    aad: Option<IgnoredAny>,
    #[serde(skip_serializing)]
    unprotected: Option<IgnoredAny>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recipient {
    encrypted_key: String,
    header: RecipientHeader,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecipientHeader {
    kid: String,
}

impl PublicKey {
    /// Seals a short text for this reader as a compact JWE whose `cty` is `content_type`, the
    /// media type of the text or what tells its use.
    ///
    /// # Errors
    /// [`WrapError::ContentType`], [`WrapError::TooLong`] (more than [`MAX_TEXT_BYTES`]) or
    /// [`WrapError::Encryption`].
    ///
    /// # Panics
    /// When the operating system has no random source.
    pub fn encrypt(&self, content_type: &str, plaintext: &[u8]) -> Result<String, WrapError> {
        check(content_type, plaintext)?;
        jwe::encrypt(content_type, plaintext, self.thumbprint(), |cek| {
            self.encrypt_cek(cek)
        })
    }
}

impl PrivateKey {
    /// Opens a text sealed with [`PublicKey::encrypt`] or [`encrypt_for`], if it was sealed as
    /// `content_type`.
    ///
    /// # Errors
    /// [`UnwrapError::OtherKey`] when it is for one other key, [`UnwrapError::Refused`] for
    /// everything else.
    pub fn decrypt(
        &self,
        content_type: &str,
        jwe: &str,
    ) -> Result<Zeroizing<Vec<u8>>, UnwrapError> {
        if jwe.len() > MAX_SEALED_TEXT_BYTES || !is_content_type(content_type) {
            return Err(UnwrapError::Refused);
        }
        let kid = self.public_key().thumbprint();
        let unwrap_cek = |encrypted: &[u8]| self.decrypt_cek(encrypted);
        if jwe.starts_with('{') {
            decrypt_general(content_type, jwe, kid, unwrap_cek)
        } else {
            jwe::decrypt(content_type, jwe, kid, unwrap_cek)
        }
    }
}

/// Seals a short text for several readers as one JWE in general JSON serialisation.
///
/// # Errors
/// As [`PublicKey::encrypt`]; [`WrapError::Readers`] if there are none or more than
/// [`MAX_TEXT_READERS`], [`WrapError::TooLong`] also if the result exceeds
/// [`MAX_SEALED_TEXT_BYTES`].
///
/// # Panics
/// When the operating system has no random source.
pub fn encrypt_for(
    readers: &[PublicKey],
    content_type: &str,
    plaintext: &[u8],
) -> Result<String, WrapError> {
    if readers.is_empty() || readers.len() > MAX_TEXT_READERS {
        return Err(WrapError::Readers);
    }
    check(content_type, plaintext)?;
    let protected = URL_SAFE_NO_PAD.encode(format!(
        "{{\"alg\":\"{WRAP_ALGORITHM}\",\"cty\":\"{content_type}\",\
         \"enc\":\"{CONTENT_ALGORITHM}\"}}"
    ));
    let (content, cek) = Content::encrypt(&protected, plaintext)?;
    let recipients = readers
        .iter()
        .map(|reader| Recipient::new(reader, &cek))
        .collect::<Result<_, _>>()?;
    let jwe = GeneralJwe {
        ciphertext: content.ciphertext,
        iv: content.iv,
        protected,
        recipients,
        tag: content.tag,
        aad: None,
        unprotected: None,
    };
    let json = serde_json::to_string(&jwe).expect("texts under fixed names are JSON");
    if json.len() > MAX_SEALED_TEXT_BYTES {
        return Err(WrapError::TooLong {
            max: MAX_SEALED_TEXT_BYTES,
        });
    }
    Ok(json)
}

impl Recipient {
    fn new(reader: &PublicKey, cek: &Cek) -> Result<Self, WrapError> {
        Ok(Self {
            encrypted_key: URL_SAFE_NO_PAD.encode(reader.encrypt_cek(cek)?),
            header: RecipientHeader {
                kid: reader.thumbprint().to_owned(),
            },
        })
    }
}

fn decrypt_general(
    content_type: &str,
    json: &str,
    kid: &str,
    unwrap_cek: impl FnOnce(&[u8]) -> Option<Cek>,
) -> Result<Zeroizing<Vec<u8>>, UnwrapError> {
    let jwe: GeneralJwe = serde_json::from_str(json).map_err(|_| UnwrapError::Refused)?;
    let header = Header::parse(&jwe.protected, content_type)?;
    let many = jwe.recipients.len() > MAX_TEXT_READERS;
    // A `kid` for all beside those of each would have to be equal to all of them.
    if many || jwe.aad.is_some() || jwe.unprotected.is_some() || header.kid.is_some() {
        return Err(UnwrapError::Refused);
    }
    let mine = jwe
        .recipients
        .iter()
        .find(|recipient| recipient.header.kid == kid)
        .ok_or(UnwrapError::Refused)?;
    let encrypted_key = jwe::decode(&mine.encrypted_key)?;
    Content::decrypt(&jwe.iv, &jwe.ciphertext, &jwe.tag, &jwe.protected, || {
        unwrap_cek(&encrypted_key)
    })
}

fn check(content_type: &str, plaintext: &[u8]) -> Result<(), WrapError> {
    if !is_content_type(content_type) {
        return Err(WrapError::ContentType);
    }
    if plaintext.len() > MAX_TEXT_BYTES {
        return Err(WrapError::TooLong {
            max: MAX_TEXT_BYTES,
        });
    }
    Ok(())
}

/// Characters of a media type with unquoted parameters, which JSON writes as they are; and never
/// the type of a wrapped or gated key.
fn is_content_type(text: &str) -> bool {
    let name = text.split_once(';').map_or(text, |(name, _)| name);
    let subtype = name
        .split_once('/')
        .filter(|(main, _)| main.eq_ignore_ascii_case("application"))
        .map_or(name, |(_, subtype)| subtype);
    let reserved = [DATA_KEY_TYPE, GATED_TYPE]
        .iter()
        .any(|reserved| subtype.eq_ignore_ascii_case(reserved));
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+/;=".contains(&byte);
    !reserved && (1..=MAX_CONTENT_TYPE_BYTES).contains(&text.len()) && text.bytes().all(fits)
}

#[cfg(test)]
mod tests;
