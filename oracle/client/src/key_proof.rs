//! Whose an encryption key is, by the word of the certificate's key: a compact JWS over a
//! [`KeyProof`], made here and verified here. The directory carries it from one to the other.

use contract_interface::{Jwk, KeyProof, ParticipantId, canonical_json};
use fabric_msp::{
    Certificate, SigningIdentity,
    jws::{self, Jws},
};

use crate::error::ClientError;

/// What keeps a proof from showing whose a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyProofError {
    /// It is not a compact JWS of the proof's form.
    #[error("it is not the proof of an encryption key")]
    Malformed,
    /// The certificate's key did not sign it.
    #[error("another than the certificate's key has signed it")]
    Signature,
    /// It is for another encryption key.
    #[error("it is for another key")]
    Key,
    /// It is for another participant.
    #[error("it is for another participant")]
    Participant,
}

/// Signs that `key` is one's own, under the ID with which one is, or is to be, registered.
///
/// # Errors
/// [`ClientError::Identity`] when the certificate's key cannot sign.
pub fn sign(
    identity: &SigningIdentity,
    participant_id: ParticipantId,
    key: &Jwk,
) -> Result<String, ClientError> {
    let payload = canonical_json(&KeyProof::new(participant_id, key)).map_err(|_| {
        ClientError::Malformed {
            what: "a proof with a canonical form",
        }
    })?;
    jws::sign_as(identity, KeyProof::TYPE, &payload).map_err(|error| ClientError::Identity {
        problem: error.to_string(),
    })
}

/// What a proof says, not yet verified.
///
/// # Errors
/// [`KeyProofError::Malformed`].
pub fn statement(proof: &str) -> Result<KeyProof, KeyProofError> {
    parsed(proof).map(|(_, statement)| statement)
}

/// Verifies that the certificate's key says: under this ID, this is my encryption key.
///
/// # Errors
/// [`KeyProofError`] says what is wrong.
pub fn verify(
    proof: &str,
    certificate: &Certificate,
    participant_id: &ParticipantId,
    key: &Jwk,
) -> Result<(), KeyProofError> {
    let (jws, statement) = parsed(proof)?;
    jws.verify(certificate)
        .map_err(|_| KeyProofError::Signature)?;
    if statement.participant_id() != *participant_id {
        return Err(KeyProofError::Participant);
    }
    match statement.is_for(participant_id, key) {
        true => Ok(()),
        false => Err(KeyProofError::Key),
    }
}

fn parsed(proof: &str) -> Result<(Jws, KeyProof), KeyProofError> {
    let jws = Jws::parse(proof.trim_end()).map_err(|_| KeyProofError::Malformed)?;
    let statement = KeyProof::from_payload(jws.media_type(), &jws.payload)
        .map_err(|_| KeyProofError::Malformed)?;
    Ok((jws, statement))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs, path::Path};

    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Vector {
        description: String,
        outcome: String,
        participant_id: ParticipantId,
        encryption_key: Jwk,
        proof: String,
    }

    /// The vectors that Node's crypto made, of the doctor whose certificate OpenSSL made.
    #[test]
    fn vectors_come_to_what_they_say() {
        let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors");
        let doctor = fs::read(vectors.join("msp/openssl/signcerts/doctor.pem")).unwrap();
        let doctor = Certificate::from_pem(&doctor).unwrap();
        let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
        for file in fs::read_dir(vectors.join("key_proof")).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let vector: Vector = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            let verified = verify(
                &vector.proof,
                &doctor,
                &vector.participant_id,
                &vector.encryption_key,
            );
            let outcome = match verified {
                Ok(()) => "right",
                Err(KeyProofError::Malformed) => "malformed",
                Err(KeyProofError::Signature) => "signature",
                Err(KeyProofError::Participant) => "participant",
                Err(KeyProofError::Key) => "key",
            };
            assert_eq!(outcome, vector.outcome, "{}", vector.description);
            *outcomes.entry(vector.outcome).or_default() += 1;
        }
        let kinds = ["key", "malformed", "participant", "right", "signature"];
        assert!(outcomes.keys().eq(kinds), "{outcomes:?}");
    }
}
