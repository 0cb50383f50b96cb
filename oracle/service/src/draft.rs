//! From content and what is known of it to a sealed object and everything its registration needs.
//!
//! Public keys only: what is sealed here cannot be opened here. Both ways into the ledger end here,
//! the pipeline's groups of readings and the uploads of people.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use aws_lc_rs::digest::{Context, SHA256};
use cid::Cid;
use contract_interface::{
    Digest, KeyWrap, MarkName, MspId, Period, Pseudonym, RecordEntry, RecordId, RecordPrivate,
    RecordType, RecordWraps, Salt, SignedManifest, Source, canonical_json,
};
use sealed_object::{AssociatedData, DataKey, PublicKey, Sealer, WrapError, seal};
use thiserror::Error;

use crate::journal::Labels;
use crate::store::{Object, ObjectHasher};

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
    /// The content cannot be read, or the sealed object not written.
    #[error("the content cannot be sealed")]
    Content(#[source] io::Error),
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
    /// Of a device's object, if the device signed it.
    pub(crate) manifest: Option<SignedManifest>,
    /// What is odd about the readings, and of how many.
    pub(crate) marks: BTreeMap<MarkName, u32>,
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
    pub(crate) fn seal(mut self, holders: &[&PublicKey]) -> Result<SealedDraft, DraftError> {
        let plaintext = std::mem::take(&mut self.plaintext);
        let prepared = self.prepare(plaintext.len() as u64, holders)?;
        let object = seal(&prepared.data_key, &prepared.bound, &plaintext);
        let cid = *Object::new(&object).cid();
        let hash = Digest::of(&object);
        Ok(prepared.finish((cid, object.len() as u64, hash), object))
    }

    /// The same of content that is read in pieces; the sealed object goes into `out` and not into the answer.
    pub(crate) fn seal_stream(
        self,
        holders: &[&PublicKey],
        plaintext_len: u64,
        content: impl Read,
        out: impl Write,
    ) -> Result<SealedDraft, DraftError> {
        let prepared = self.prepare(plaintext_len, holders)?;
        let sink = HashingSink::new(out);
        let (key, bound) = (&prepared.data_key, &prepared.bound);
        let sealing = Sealer::new(sink, key, bound, plaintext_len).and_then(|mut sealer| {
            sealer.read_from(content)?;
            sealer.finish()
        });
        let sink = sealing.map_err(DraftError::Content)?;
        Ok(prepared.finish(sink.finish(), Vec::new()))
    }

    /// Everything but the content.
    fn prepare(self, plaintext_size: u64, holders: &[&PublicKey]) -> Result<Prepared, DraftError> {
        let private = RecordPrivate {
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
            manifest: self.manifest,
            marks: self.marks,
            content_type: self.content_type,
            cid: String::new(),
            size: 0,
            plaintext_size,
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
        let entry = RecordEntry {
            record_id: self.record_id,
            object_sha256: Digest::from_bytes([0; 32]),
            commitment,
            version: self.version,
            previous: self.previous,
        };
        Ok(Prepared {
            entry,
            private,
            wraps,
            data_key,
            bound,
        })
    }
}

/// A record whose content is still to be sealed.
struct Prepared {
    entry: RecordEntry,
    private: RecordPrivate,
    wraps: RecordWraps,
    data_key: DataKey,
    bound: AssociatedData,
}

impl Prepared {
    fn finish(mut self, (cid, size, hash): (Cid, u64, Digest), object: Vec<u8>) -> SealedDraft {
        self.private.cid = cid.to_string();
        self.private.size = size;
        self.entry.object_sha256 = hash;
        SealedDraft {
            entry: self.entry,
            private: self.private,
            wraps: self.wraps,
            object,
        }
    }
}

/// Passes bytes on and learns what is registered of them.
struct HashingSink<W> {
    out: W,
    blocks: ObjectHasher,
    hash: Context,
}

impl<W: Write> HashingSink<W> {
    fn new(out: W) -> Self {
        Self {
            out,
            blocks: ObjectHasher::default(),
            hash: Context::new(&SHA256),
        }
    }

    fn finish(self) -> (Cid, u64, Digest) {
        let mut hash = [0; 32];
        hash.copy_from_slice(self.hash.finish().as_ref());
        let (cid, size) = self.blocks.finish();
        (cid, size, Digest::from_bytes(hash))
    }
}

impl<W: Write> Write for HashingSink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write_all(bytes)?;
        self.blocks.write_all(bytes)?;
        self.hash.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
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
