//! That an encryption key is the participant's own, by the word of its certificate's key.
//!
//! The contract checks the proof before it keeps a key, so that the directory holds none that a
//! wrapping client would refuse, and keeps the proof, so that clients need not believe whoever
//! shows them the directory.

use contract_interface::limits::KEY_PROOF_BYTES_MAX;
use contract_interface::{ErrorCode, KeyProof, Participant};
use fabric_shim::{
    Stub,
    x509::{Certificate, jws::Jws},
};

use crate::failure::Failure;
use crate::input;

/// Requires a proof that the encryption key is the participant's, signed with the key of its
/// certificate, which is valid now; and none where there is no key.
pub(super) fn check(
    stub: &Stub,
    participant: &Participant,
    certificate: &Certificate,
) -> Result<(), Failure> {
    let (key, compact) = match (&participant.encryption_key, &participant.key_proof) {
        (Some(key), Some(proof)) => (key, proof),
        (None, None) => return Ok(()),
        (Some(_), None) => return Err(invalid("the encryption key comes without a proof")),
        (None, Some(_)) => return Err(invalid("the proof comes without an encryption key")),
    };
    if compact.len() > KEY_PROOF_BYTES_MAX {
        return Err(invalid("the encryption key's proof is too long"));
    }
    let proof = Jws::parse(compact)
        .ok()
        .filter(|jws| jws.verify(certificate).is_ok())
        .ok_or_else(|| invalid("the certificate's key did not sign the encryption key's proof"))?;
    let statement = KeyProof::from_payload(proof.media_type(), &proof.payload)
        .map_err(|_| invalid("what was signed is not the proof of an encryption key"))?;
    if !statement.is_for(&participant.participant_id, key) {
        return Err(invalid(
            "the proof is for another key or another participant",
        ));
    }
    let validity = certificate.not_before()..=certificate.not_after();
    if !validity.contains(&input::transaction_time(stub)?.unix_seconds()) {
        return Err(invalid("the certificate behind the proof is not valid now"));
    }
    Ok(())
}

/// The participant with the proof that it keeps: of a key and certificate that are proven already
/// the proof there is, since another signature would say nothing new; else the new one, checked.
pub(super) fn kept_or_checked(
    stub: &Stub,
    old: &Participant,
    new: Participant,
    certificate: &Certificate,
) -> Result<Participant, Failure> {
    let same = old.encryption_key == new.encryption_key && old.thumbprint == new.thumbprint;
    if same && old.key_proof.is_some() {
        let key_proof = old.key_proof.clone();
        return Ok(Participant { key_proof, ..new });
    }
    check(stub, &new, certificate)?;
    Ok(new)
}

fn invalid(sentence: &'static str) -> Failure {
    Failure::new(ErrorCode::KeyProofInvalid, sentence)
}
