//! Whose an encryption key is: a participant's word, signed with the key of its certificate.
//!
//! Who wraps a data key for someone learns the key from an oracle, and need not believe it: the
//! directory holds this proof beside each key, and the certificate behind it is known by its CA.
//! The proof is a compact JWS (ES256, header `x5t#S256`, `typ` [`KeyProof::TYPE`]) whose payload is
//! the canonical JSON of a [`KeyProof`].

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::error::ParseError;
use crate::ids::ParticipantId;
use crate::jwk::Jwk;
use crate::limits::KEY_PROOF_BYTES_MAX;

/// Bytes of a thumbprint.
const THUMBPRINT_BYTES: usize = 32;

/// What a participant signs: under this ID, this is my encryption key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, try_from = "RawKeyProof", into = "RawKeyProof")]
pub struct KeyProof {
    kid: String,
    participant_id: ParticipantId,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKeyProof {
    kid: String,
    participant_id: ParticipantId,
    version: u32,
}

impl KeyProof {
    /// `typ` of the JWS, which no request has.
    pub const TYPE: &'static str = "vnd.salus.key-proof";
    /// The form that this module knows.
    pub const VERSION: u32 = 1;

    /// The statement that `key` is the participant's.
    #[must_use]
    pub fn new(participant_id: ParticipantId, key: &Jwk) -> Self {
        Self {
            kid: key.thumbprint(),
            participant_id,
        }
    }

    /// Reads the payload of a JWS whose `typ` is `media_type`.
    ///
    /// # Errors
    ///
    /// If it is of another type, or not this statement: malformed, of another version, or with
    /// members missing, twice or unknown.
    pub fn from_payload(media_type: Option<&str>, payload: &[u8]) -> Result<Self, ParseError> {
        const EXPECTED: ParseError = ParseError::new("the proof of an encryption key");
        if media_type != Some(Self::TYPE) || payload.len() > KEY_PROOF_BYTES_MAX {
            return Err(EXPECTED);
        }
        serde_json::from_slice(payload).map_err(|_| EXPECTED)
    }

    /// Whether it says that `key` is the encryption key of this participant.
    #[must_use]
    pub fn is_for(&self, participant_id: &ParticipantId, key: &Jwk) -> bool {
        self.participant_id == *participant_id && self.kid == key.thumbprint()
    }

    /// Whose key it is said to be.
    #[must_use]
    pub const fn participant_id(&self) -> ParticipantId {
        self.participant_id
    }

    /// The key's thumbprint (RFC 7638), base64url.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }
}

impl TryFrom<RawKeyProof> for KeyProof {
    type Error = ParseError;

    fn try_from(raw: RawKeyProof) -> Result<Self, ParseError> {
        if raw.version != Self::VERSION {
            return Err(ParseError::new("a proof of version 1"));
        }
        let thumbprint = URL_SAFE_NO_PAD.decode(&raw.kid);
        if !thumbprint.is_ok_and(|bytes| bytes.len() == THUMBPRINT_BYTES) {
            return Err(ParseError::new("a key's thumbprint"));
        }
        Ok(Self {
            kid: raw.kid,
            participant_id: raw.participant_id,
        })
    }
}

impl From<KeyProof> for RawKeyProof {
    fn from(proof: KeyProof) -> Self {
        Self {
            kid: proof.kid,
            participant_id: proof.participant_id,
            version: KeyProof::VERSION,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical_json;

    const PAYLOAD: &str = concat!(
        r#"{"kid":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","#,
        r#""participant_id":"00112233445566778899aabbccddeeff","version":1}"#
    );
    const TYPE: Option<&str> = Some(KeyProof::TYPE);

    #[test]
    fn canonical_form_comes_back() {
        let proof = KeyProof::from_payload(TYPE, PAYLOAD.as_bytes()).unwrap();
        assert_eq!(canonical_json(&proof).unwrap(), PAYLOAD.as_bytes());
        assert_eq!(proof.kid(), "A".repeat(43));
    }

    #[test]
    fn other_forms_are_refused() {
        for (from, to) in [
            (r#""version":1"#, r#""version":2"#),
            (r#","version":1"#, ""),
            (r#""version":1"#, r#""version":1,"version":1"#),
            (r#""version":1"#, r#""version":1,"channel":"c""#),
            ("AAAA", "AAA"),
            ("AAAA", "!AAA"),
            ("0011", "001"),
            ("ccdd", "CCDD"),
        ] {
            let changed = PAYLOAD.replacen(from, to, 1);
            assert_ne!(changed, PAYLOAD);
            assert!(
                KeyProof::from_payload(TYPE, changed.as_bytes()).is_err(),
                "{changed}"
            );
        }
        for media_type in [None, Some("JOSE"), Some("application/vnd.salus.key-proof")] {
            assert!(KeyProof::from_payload(media_type, PAYLOAD.as_bytes()).is_err());
        }
        let long = format!("{PAYLOAD}{}", " ".repeat(KEY_PROOF_BYTES_MAX));
        assert!(KeyProof::from_payload(TYPE, long.as_bytes()).is_err());
    }
}
