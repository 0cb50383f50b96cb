//! From content and what is known of it to a sealed object and everything its registration needs.
//!
//! Public keys only: what is sealed here cannot be opened here. Both ways into the ledger end here,
//! the pipeline's groups of readings and the uploads of people.

use contract_interface::{
    Digest, KeyWrap, MspId, Period, Pseudonym, RecordEntry, RecordId, RecordPrivate, RecordType,
    RecordWraps, Salt, Source, canonical_json,
};
use sealed_object::{AssociatedData, DataKey, PublicKey, WrapError, seal};
use thiserror::Error;

use crate::journal::Labels;
use crate::store::Object;

/// Why a draft cannot be sealed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum DraftError {
    /// A key refused to wrap.
    #[error("the data key cannot be wrapped")]
    Wrap(#[from] WrapError),
    /// The system has no random numbers to give.
    #[error("the system's random source failed")]
    Random,
}

/// A record before it is sealed.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) record_id: RecordId,
    pub(crate) patient: Pseudonym,
    pub(crate) record_type: RecordType,
    pub(crate) period: Period,
    pub(crate) readings: u32,
    pub(crate) source: Source,
    pub(crate) registrar: MspId,
    pub(crate) labels: Labels,
    /// The participant's signed `SubmitRecord`.
    pub(crate) submission: Option<String>,
    pub(crate) content_type: String,
    pub(crate) plaintext: Vec<u8>,
    pub(crate) merkle_root: Digest,
    pub(crate) version: u32,
    pub(crate) previous: Option<RecordId>,
}

/// A sealed record, ready to be stored and registered.
#[derive(Debug)]
pub(crate) struct SealedDraft {
    pub(crate) entry: RecordEntry,
    pub(crate) private: RecordPrivate,
    pub(crate) wraps: RecordWraps,
    pub(crate) object: Vec<u8>,
}

impl Draft {
    /// Seals the content under a key of its own, wrapped for each of `holders`. The key is
    /// forgotten when this returns.
    pub(crate) fn seal(self, holders: &[&PublicKey]) -> Result<SealedDraft, DraftError> {
        let mut private = RecordPrivate {
            record_id: self.record_id,
            patient: self.patient,
            record_type: self.record_type,
            period: self.period,
            readings: self.readings,
            source: self.source,
            registrar: self.registrar,
            context: self.labels.context,
            confidentiality: self.labels.confidentiality,
            sensitivity: self.labels.sensitivity.into_iter().collect(),
            submission: self.submission,
            content_type: self.content_type,
            cid: String::new(),
            size: 0,
            plaintext_size: self.plaintext.len() as u64,
            merkle_root: self.merkle_root,
            salt: Salt::from_bytes(random()?).map_err(|_| DraftError::Random)?,
        };
        // CID and size follow from the sealing and are not part of the commitment.
        let commitment = private.commitment();
        let bound = AssociatedData {
            record_id: *self.record_id.as_bytes(),
            commitment: *commitment.as_bytes(),
        };
        let data_key = DataKey::generate();
        let wraps = wrap(self.record_id, &data_key, holders)?;
        let object = seal(&data_key, &bound, &self.plaintext);
        private.cid = Object::new(&object).cid().to_string();
        private.size = object.len() as u64;
        let entry = RecordEntry {
            record_id: self.record_id,
            object_sha256: Digest::of(&object),
            commitment,
            version: self.version,
            previous: self.previous,
        };
        Ok(SealedDraft {
            entry,
            private,
            wraps,
            object,
        })
    }
}

fn wrap(
    record_id: RecordId,
    data_key: &DataKey,
    holders: &[&PublicKey],
) -> Result<RecordWraps, WrapError> {
    let mut wraps: Vec<KeyWrap> = Vec::with_capacity(holders.len());
    for holder in holders {
        let kid = holder.thumbprint().to_owned();
        if wraps.iter().all(|wrap| wrap.kid != kid) {
            let jwe = holder.wrap(data_key)?;
            wraps.push(KeyWrap::plain(kid, jwe));
        }
    }
    Ok(RecordWraps { record_id, wraps })
}

/// Canonical JSON as text.
pub(crate) fn json<T: serde::Serialize>(value: &T) -> String {
    let bytes = canonical_json(value).expect("strings and small integers are canonical JSON");
    String::from_utf8(bytes).expect("JSON is UTF-8")
}

/// Fresh random bytes.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], DraftError> {
    let mut bytes = [0_u8; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| DraftError::Random)?;
    Ok(bytes)
}
