//! Detached JSON Web Signatures (RFC 7515, appendix F) that bring their certificate: for
//! statements that are checked long after, by whoever holds them.
//!
//! The header is `{"alg":"ES256","x5c":["…"],"x5t#S256":"…"}`, or with `EdDSA` (RFC 8037) for
//! Ed25519. `x5c` is one certificate, standard Base64 of its DER; `x5t#S256` its SHA-256. The
//! certificate only says by which key the signature is to be checked: that it is the one of a
//! registered device, or valid in an MSP, is for the caller to ask.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::certificate::Certificate;
use crate::error::{CertificateError, SignatureError};
use crate::signing::SigningIdentity;

/// Longest detached signature that is read, in bytes of its compact form.
pub const MAX_DETACHED_BYTES: usize = 16 * 1024;

/// Why a detached signature was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DetachedError {
    /// Longer than [`MAX_DETACHED_BYTES`], not two base64url parts around an empty one, or a
    /// header with other members than those of this profile.
    #[error("malformed detached signature")]
    Malformed,
    /// The algorithm is neither ES256 nor EdDSA, or not the one of the certificate's key.
    #[error("algorithm of the detached signature is not that of the key")]
    Algorithm,
    /// The certificate cannot be read.
    #[error("certificate of the detached signature: {0}")]
    Certificate(#[from] CertificateError),
    /// The thumbprint is not the certificate's.
    #[error("thumbprint of the detached signature does not name its certificate")]
    Thumbprint,
    /// The signature does not hold.
    #[error("detached signature: {0}")]
    Signature(#[from] SignatureError),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: Algorithm,
    x5c: [String; 1],
    #[serde(rename = "x5t#S256")]
    thumbprint: String,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum Algorithm {
    #[serde(rename = "ES256")]
    Es256,
    #[serde(rename = "EdDSA")]
    EdDsa,
}

/// Signs content and returns the compact form without it.
///
/// # Errors
/// [`SignatureError::UnsupportedKey`] if the key is neither on P-256 nor Ed25519.
pub fn sign(identity: &SigningIdentity, content: &[u8]) -> Result<String, SignatureError> {
    let certificate = identity.certificate();
    let mut header = Header {
        alg: Algorithm::Es256,
        x5c: [STANDARD.encode(certificate.der())],
        thumbprint: URL_SAFE_NO_PAD.encode(certificate.thumbprint()),
    };
    let (encoded, signature) = match identity.sign_es256(&signing_input(&encode(&header), content))
    {
        Ok(signature) => (encode(&header), signature.to_vec()),
        Err(SignatureError::UnsupportedKey) => {
            header.alg = Algorithm::EdDsa;
            let encoded = encode(&header);
            let signature = identity.sign(&signing_input(&encoded, content))?;
            (encoded, signature)
        }
        Err(error) => return Err(error),
    };
    Ok(format!("{encoded}..{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// Verifies a detached signature over content and returns the certificate that it names.
///
/// # Errors
/// [`DetachedError`].
pub fn verify(compact: &str, content: &[u8]) -> Result<Certificate, DetachedError> {
    if compact.len() > MAX_DETACHED_BYTES {
        return Err(DetachedError::Malformed);
    }
    let malformed = DetachedError::Malformed;
    let (encoded, signature) = compact.split_once("..").ok_or(malformed)?;
    let decode = |part: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(part);
        bytes.map_err(|_| DetachedError::Malformed)
    };
    let header: Header =
        serde_json::from_slice(&decode(encoded)?).map_err(|_| DetachedError::Malformed)?;
    let signature = decode(signature)?;
    let [certificate] = &header.x5c;
    let certificate = STANDARD.decode(certificate);
    let certificate = Certificate::from_der(&certificate.map_err(|_| DetachedError::Malformed)?)?;
    if decode(&header.thumbprint)? != certificate.thumbprint() {
        return Err(DetachedError::Thumbprint);
    }
    let signed = signing_input(encoded, content);
    match (header.alg, certificate.has_ed25519_key()) {
        (Algorithm::Es256, false) => certificate.verify_es256(&signed, &signature)?,
        (Algorithm::EdDsa, true) => certificate.verify_der(&signed, &signature)?,
        _ => return Err(DetachedError::Algorithm),
    }
    Ok(certificate)
}

fn encode(header: &Header) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(header).unwrap_or_default())
}

fn signing_input(header: &str, content: &[u8]) -> Vec<u8> {
    let mut input = header.to_owned();
    input.push('.');
    URL_SAFE_NO_PAD.encode_string(content, &mut input);
    input.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Ca;

    #[test]
    fn content_is_signed_without_being_carried() {
        let identity = Ca::root("ca").client();
        let compact = sign(&identity, b"content").unwrap();
        assert!(!compact.contains(&URL_SAFE_NO_PAD.encode("content")));
        assert_eq!(
            verify(&compact, b"content").as_ref(),
            Ok(identity.certificate())
        );
        assert_eq!(
            verify(&compact, b"contents"),
            Err(DetachedError::Signature(SignatureError::Mismatch))
        );
    }

    #[test]
    fn any_changed_character_is_noticed() {
        let identity = Ca::root("ca").client();
        let compact = sign(&identity, b"content").unwrap();
        for at in 0..compact.len() {
            let mut changed = compact.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            let judged = verify(&changed, b"content");
            // The certificate's own signature by its CA is for its MSP to judge, but the
            // thumbprint covers it; nothing else of the text is free.
            assert!(judged.is_err(), "at {at}");
        }
    }

    #[test]
    fn other_profiles_are_refused() {
        let identity = Ca::root("ca").client();
        let good = sign(&identity, b"content").unwrap();
        let (header, signature) = good.split_once("..").unwrap();
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
        for (from, to) in [
            (r#""alg":"ES256""#, r#""alg":"none""#),
            (r#""alg":"ES256""#, r#""alg":"HS256""#),
            (r#""alg":"ES256""#, r#""alg":"ES256","alg":"ES256""#),
            (r#""alg":"ES256""#, r#""alg":"ES256","crit":["b64"]"#),
            (r#""alg":"ES256""#, r#""alg":"ES256","jwk":{}"#),
            (r#""x5c":["#, r#""x5c":["","#),
        ] {
            let changed = URL_SAFE_NO_PAD.encode(text.replace(from, to));
            let changed = format!("{changed}..{signature}");
            assert_eq!(
                verify(&changed, b"content"),
                Err(DetachedError::Malformed),
                "{to}"
            );
        }
        let eddsa = URL_SAFE_NO_PAD.encode(text.replace("ES256\",\"x5c", "EdDSA\",\"x5c"));
        let eddsa = format!("{eddsa}..{signature}");
        assert_eq!(verify(&eddsa, b"content"), Err(DetachedError::Algorithm));
        for compact in ["", "..", ".", "a.b.c", &format!("{header}.{signature}")] {
            assert_eq!(
                verify(compact, b""),
                Err(DetachedError::Malformed),
                "{compact}"
            );
        }
        let long = "a".repeat(MAX_DETACHED_BYTES + 1);
        assert_eq!(verify(&long, b""), Err(DetachedError::Malformed));
    }
}
