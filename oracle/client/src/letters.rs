//! Words that only named people can read: the justification of an emergency for the patient and
//! the privacy officers, the message of a request for access for the patient.
//!
//! One reader makes a compact JWE, several make one JWE in general JSON serialisation
//! (RFC 7516), of content type [`CONTENT_TYPE`].

use contract_interface::{Jwk, Participant};
use sealed_object::{MAX_TEXT_BYTES, MAX_TEXT_READERS, PrivateKey, PublicKey, encrypt_for};

use crate::error::ClientError;

/// `cty` of a sealed letter.
pub const CONTENT_TYPE: &str = "text/plain;charset=utf-8";

/// Seals `text` for those of `readers` who have registered a key, at most [`MAX_TEXT_READERS`],
/// the first ones.
///
/// # Errors
/// [`ClientError::Letter`] when nobody has a key, or the text is empty or too long.
pub fn seal(readers: &[Participant], text: &str) -> Result<String, ClientError> {
    let problem = |problem: String| ClientError::Letter { problem };
    if text.trim().is_empty() {
        return Err(problem("it is empty".to_owned()));
    }
    if text.len() > MAX_TEXT_BYTES {
        return Err(problem(format!("it is longer than {MAX_TEXT_BYTES} bytes")));
    }
    let keys = readers
        .iter()
        .filter_map(|reader| reader.encryption_key.as_ref())
        .take(MAX_TEXT_READERS)
        .map(public_key)
        .collect::<Result<Vec<_>, _>>()?;
    let sealed = match &keys[..] {
        [] => {
            return Err(problem(
                "nobody who may read it has registered an encryption key".to_owned(),
            ));
        }
        [key] => key.encrypt(CONTENT_TYPE, text.as_bytes()),
        keys => encrypt_for(keys, CONTENT_TYPE, text.as_bytes()),
    };
    sealed.map_err(|error| problem(error.to_string()))
}

/// Opens a letter with the key of one of its readers.
///
/// # Errors
/// [`ClientError::Key`] when the key does not open it.
pub fn open(key: &PrivateKey, letter: &str) -> Result<String, ClientError> {
    let problem = |problem: String| ClientError::Key { problem };
    let bytes = key
        .decrypt(CONTENT_TYPE, letter)
        .map_err(|error| problem(error.to_string()))?;
    String::from_utf8(bytes.to_vec()).map_err(|_| problem("what it says is not text".to_owned()))
}

/// A registered key, for encrypting.
pub(crate) fn public_key(key: &Jwk) -> Result<PublicKey, ClientError> {
    let malformed = |_| ClientError::Malformed {
        what: "a public RSA key",
    };
    let json = serde_json::to_string(key).map_err(|_| ClientError::Malformed {
        what: "a public RSA key",
    })?;
    PublicKey::from_jwk(&json).map_err(malformed)
}

#[cfg(test)]
mod tests {
    use contract_interface::{Digest, ParticipantId, Role, Status};

    use super::*;

    fn reader(number: u8, key: Option<&PrivateKey>) -> Participant {
        Participant {
            participant_id: ParticipantId::from_bytes([number; 16]),
            msp_id: "Org1MSP".parse().unwrap(),
            role: Role::Auditor,
            certificate: String::new(),
            thumbprint: Digest::of(b""),
            encryption_key: key
                .map(|key| serde_json::from_str(&key.public_key().to_jwk()).unwrap()),
            key_proof: None,
            status: Status::Active,
            version: 1,
            salt: None,
        }
    }

    #[test]
    fn only_its_readers_open_a_letter() {
        let [one, two, other] = [(); 3].map(|()| PrivateKey::generate(3072).unwrap());
        let words = "Kein Puls, niemand zu fragen — Notfall.";
        let alone = seal(&[reader(1, Some(&one)), reader(2, None)], words).unwrap();
        let both = seal(&[reader(1, Some(&one)), reader(2, Some(&two))], words).unwrap();
        assert_eq!(open(&one, &alone).unwrap(), words);
        assert_eq!(open(&one, &both).unwrap(), words);
        assert_eq!(open(&two, &both).unwrap(), words);
        for letter in [&alone, &both] {
            assert!(!letter.contains("Notfall"));
            assert!(matches!(open(&other, letter), Err(ClientError::Key { .. })));
        }
        for (readers, text) in [
            (vec![], words.to_owned()),
            (vec![reader(2, None)], words.to_owned()),
            (vec![reader(1, Some(&one))], " ".to_owned()),
            (vec![reader(1, Some(&one))], "x".repeat(MAX_TEXT_BYTES + 1)),
        ] {
            assert!(matches!(
                seal(&readers, &text),
                Err(ClientError::Letter { .. })
            ));
        }
    }
}
