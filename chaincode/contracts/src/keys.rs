//! Keys on the ledger.
//!
//! Fabric puts SHA-256 of every private key that a transaction reads or writes into the block,
//! where every member of the channel keeps it for ever. A key made of guessable or known parts
//! could therefore be found by trying: whether device `hr-0042` exists, which public record a read
//! was about, whether the person behind a pseudonym gave a grant. So every private key contains an
//! HMAC under the [`Blinding`] key, 256 secret bits that the first registration lays down in the
//! collection. Who knows a pseudonym, a record ID, a device ID or a type finds nothing.

use aws_lc_rs::hmac;
use contract_interface::{
    DeviceId, Digest, MspId, Nonce, ParticipantId, Pseudonym, RecordId, Salt,
};
use fabric_shim::{KeyError, create_composite_key, split_composite_key};

use crate::failure::Failure;

mod people;
mod records;
mod rules;

pub(crate) use records::{LONG_RECORD_SECONDS, RecordIndexEntry};
pub(crate) use rules::{Scope, Selector};

/// Object types, the first part of composite keys.
pub(crate) mod object_types {
    pub(crate) const ACCESS_REQUEST: &str = "request";
    pub(crate) const ACCESS_REQUESTS_OF_DAY: &str = "request~day";
    pub(crate) const ACCESS_REQUESTS_OPEN: &str = "request~open";
    pub(crate) const ACCESS_REQUEST_BY_REQUESTER: &str = "request~requester";
    pub(crate) const BLINDING: &str = "blinding";
    pub(crate) const CLOCK: &str = "clock";
    pub(crate) const CLOCKS: &str = "clocks";
    pub(crate) const DELEGATION: &str = "delegation";
    pub(crate) const DELEGATION_BY_GUARDIAN: &str = "delegation~guardian";
    pub(crate) const DELEGATION_ENDED: &str = "delegation~ended";
    pub(crate) const DEVICE: &str = "device";
    pub(crate) const EMERGENCY: &str = "emergency";
    pub(crate) const EMERGENCY_BY_ORGANIZATION: &str = "emergency~organization";
    pub(crate) const EMERGENCY_LATEST: &str = "emergency~latest";
    pub(crate) const ERASING: &str = "erasing";
    pub(crate) const ERASURE: &str = "erasure";
    pub(crate) const GATED_WRAP: &str = "gated";
    pub(crate) const GRANT: &str = "grant";
    pub(crate) const GRANT_BY_GRANTEE: &str = "grant~grantee";
    pub(crate) const GRANT_USES: &str = "grant~uses";
    pub(crate) const KEY_HOLDER: &str = "key";
    pub(crate) const NONCE: &str = "nonce";
    pub(crate) const NOTICE: &str = "notice";
    pub(crate) const OBJECT: &str = "object";
    pub(crate) const ORACLES: &str = "oracles";
    pub(crate) const PARTICIPANT: &str = "participant";
    pub(crate) const PATIENT: &str = "patient";
    pub(crate) const POLICY: &str = "policy";
    pub(crate) const READ: &str = "read";
    pub(crate) const READ_BY_ORGANIZATION: &str = "read~organization";
    pub(crate) const READ_BY_PATIENT: &str = "read~patient";
    pub(crate) const READ_BY_READER: &str = "read~reader";
    pub(crate) const READ_BY_RECORD: &str = "read~record";
    pub(crate) const RECORD: &str = "record";
    pub(crate) const RECORD_BY_PATIENT: &str = "record~patient";
    pub(crate) const RECORD_BY_TYPE: &str = "record~type";
    pub(crate) const RECORD_LONG: &str = "record~long";
    pub(crate) const REMOVAL: &str = "removal";
    pub(crate) const ROOT: &str = "root";
    pub(crate) const SLOT: &str = "slot";
    pub(crate) const SUBMISSION: &str = "submission";
    pub(crate) const THUMBPRINT: &str = "thumbprint";
    pub(crate) const WRAPS: &str = "wraps";
}

use object_types as of;

/// Domain of the hash that makes the blinding key of the first registration's salt.
const BLINDING_DOMAIN: &[u8] = b"salus blinding key 1";
/// Domain of the HMAC that makes the page tokens' key of the blinding key.
const TOKEN_DOMAIN: &[u8] = b"salus page token 1";
/// Domain of the HMAC that makes a value's own salt of the transaction's or record's.
const SALT_DOMAIN: &[u8] = b"salus value salt 1";

/// Public state: a participant that is not a patient.
pub(crate) fn public_participant(id: &ParticipantId) -> Result<String, KeyError> {
    create_composite_key(of::PARTICIPANT, &[&id.to_string()])
}

/// Public state: a record's public half.
pub(crate) fn public_record(id: &RecordId) -> Result<String, KeyError> {
    create_composite_key(of::RECORD, &[&id.to_string()])
}

/// Public state: a record's tombstone.
pub(crate) fn public_erasure(id: &RecordId) -> Result<String, KeyError> {
    create_composite_key(of::ERASURE, &[&id.to_string()])
}

/// Public state: an organisation's word that it no longer holds a record's object.
pub(crate) fn public_removal(id: &RecordId, msp_id: &MspId) -> Result<String, KeyError> {
    create_composite_key(of::REMOVAL, &[&id.to_string(), msp_id.as_str()])
}

/// Public state: an organisation's clock.
pub(crate) fn public_clock(msp_id: &MspId) -> Result<String, KeyError> {
    create_composite_key(of::CLOCK, &[msp_id.as_str()])
}

/// Public state: which organisations have a clock.
pub(crate) fn public_clocks() -> Result<String, KeyError> {
    create_composite_key(of::CLOCKS, &[])
}

/// Public state: the active oracles of each organisation.
pub(crate) fn public_oracles() -> Result<String, KeyError> {
    create_composite_key(of::ORACLES, &[])
}

/// Collection `records`: where the blinding key lies. The one private key that everyone knows;
/// its value is 256 random bits.
pub(crate) fn blinding() -> Result<String, KeyError> {
    create_composite_key(of::BLINDING, &[])
}

/// A salt for the value at `key`, unlike that of every other key, which only who holds `salt` can
/// make.
pub(crate) fn value_salt(salt: &Salt, key: &str) -> Digest {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, salt.as_bytes()));
    context.update(SALT_DOMAIN);
    context.update(key.as_bytes());
    digest(&context.sign())
}

fn digest(tag: &hmac::Tag) -> Digest {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(tag.as_ref());
    Digest::from_bytes(bytes)
}

/// The last attribute of an index key: what the entry points to.
pub(crate) fn last_attribute<T: std::str::FromStr>(key: &str) -> Result<T, Failure> {
    let corrupt = || Failure::corrupt("an index key");
    let (_, attributes) = split_composite_key(key).map_err(|_| corrupt())?;
    let last = attributes.last().ok_or_else(corrupt)?;
    last.parse().map_err(|_| corrupt())
}

/// Makes key parts that only members of the collection can make.
pub(crate) struct Blinding {
    key: hmac::Key,
    token_key: Digest,
}

impl Blinding {
    /// The secret that the first registration's salt gives.
    pub(crate) fn secret_from(salt: &Salt) -> Digest {
        Digest::of_parts(&[BLINDING_DOMAIN, salt.as_bytes()])
    }

    /// Blinds under this secret.
    pub(crate) fn new(secret: &Digest) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let token_key = digest(&hmac::sign(&key, TOKEN_DOMAIN));
        Self { key, token_key }
    }

    /// The key under which page tokens are sealed.
    pub(crate) fn token_key(&self) -> &[u8; 32] {
        self.token_key.as_bytes()
    }

    /// HMAC-SHA256 over the parts, each behind its length, so that no two lists of parts agree.
    pub(crate) fn part(&self, object_type: &str, parts: &[&[u8]]) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        for part in std::iter::once(&object_type.as_bytes()).chain(parts) {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        hex::encode(context.sign())
    }

    fn key(&self, object_type: &str, parts: &[&[u8]]) -> Result<String, KeyError> {
        create_composite_key(object_type, &[&self.part(object_type, parts)])
    }

    /// The part under which everything of a patient is found.
    pub(crate) fn patient(&self, patient: &Pseudonym) -> String {
        self.part(of::PATIENT, &[patient.as_bytes()])
    }

    /// The part of a participant in indexes of this object type.
    pub(crate) fn person(&self, object_type: &str, id: &ParticipantId) -> String {
        self.part(object_type, &[b"participant", id.as_bytes()])
    }

    /// The part of an organisation in indexes of this object type.
    pub(crate) fn organization(&self, object_type: &str, msp_id: &MspId) -> String {
        self.part(object_type, &[b"organization", msp_id.as_str().as_bytes()])
    }

    /// Collection `records`: a participant of any role.
    pub(crate) fn participant(&self, id: &ParticipantId) -> Result<String, KeyError> {
        self.key(of::PARTICIPANT, &[id.as_bytes()])
    }

    /// Collection `records`: a key like a participant's, at which never anything lies.
    pub(crate) fn nobody(&self, patient: &Pseudonym) -> Result<String, KeyError> {
        self.key(of::PARTICIPANT, &[b"nobody", patient.as_bytes()])
    }

    /// Collection `records`: from a certificate to its participant.
    pub(crate) fn thumbprint(&self, thumbprint: &Digest) -> Result<String, KeyError> {
        self.key(of::THUMBPRINT, &[thumbprint.as_bytes()])
    }

    /// Collection `records`: from an encryption key's thumbprint to who holds or held it.
    pub(crate) fn key_holder(&self, kid: &str) -> Result<String, KeyError> {
        self.key(of::KEY_HOLDER, &[kid.as_bytes()])
    }

    /// Collection `records`: a device, below its organisation.
    pub(crate) fn device(&self, msp_id: &MspId, id: &DeviceId) -> Result<String, KeyError> {
        let parts = [msp_id.as_str().as_bytes(), id.as_str().as_bytes()];
        create_composite_key(
            of::DEVICE,
            &[msp_id.as_str(), &self.part(of::DEVICE, &parts)],
        )
    }

    /// Collection `records`: a used nonce.
    pub(crate) fn nonce(&self, signer: &Digest, nonce: &Nonce) -> Result<String, KeyError> {
        self.key(of::NONCE, &[signer.as_bytes(), nonce.as_bytes()])
    }
}

impl std::fmt::Debug for Blinding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Blinding(..)")
    }
}

#[cfg(test)]
mod tests;
