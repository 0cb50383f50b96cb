//! From a group of readings to a sealed object and everything its registration needs.
//!
//! Public keys only: what is sealed here cannot be opened here.

use contract_interface::{
    DeviceId, Digest, KeyWrap, Period, Pseudonym, RecordEntry, RecordId, RecordPrivate, RecordType,
    RecordWraps, Salt, Source, UtcTime, canonical_json, segment,
};
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use sealed_object::{AssociatedData, DataKey, PublicKey, WrapError, seal};
use serde::Serialize;
use sha2_next::Sha256;
use thiserror::Error;

use super::gather::Group;
use crate::journal::{EntryId, Reading, RecordKey, SealedRecord};
use crate::store::Object;

/// Why a group cannot be sealed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(super) enum SealError {
    /// What the journal holds is not what the front put there.
    #[error("the journal's entry {entry:?} cannot be part of a record")]
    Entry {
        /// Which.
        entry: Option<EntryId>,
    },
    /// A key refused to wrap.
    #[error("the data key cannot be wrapped")]
    Wrap(#[from] WrapError),
    /// The system has no random numbers to give.
    #[error("the system's random source failed")]
    Random,
}

/// A sealed object with what is to be written down of it.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) record: SealedRecord,
    pub(super) object: Vec<u8>,
}

/// Seals the readings of a group for the patient and the organisation's oracle, under a key of its own.
pub(super) fn seal_group(
    group: &Group,
    readings: Vec<Reading>,
    readers: &[&PublicKey],
) -> Result<Sealed, SealError> {
    let broken = || SealError::Entry {
        entry: group.entries.first().copied(),
    };
    let device: DeviceId = group.device.parse().map_err(|_| broken())?;
    let count = u32::try_from(readings.len()).map_err(|_| broken())?;
    let content = content(group, &device, readings);
    let record_id = random()?;
    let salt = Salt::from_bytes(random()?).map_err(|_| SealError::Random)?;
    let mut private = RecordPrivate {
        record_id: RecordId::from_bytes(record_id),
        patient: group.patient.parse::<Pseudonym>().map_err(|_| broken())?,
        record_type: group.code.parse::<RecordType>().map_err(|_| broken())?,
        period: Period {
            start: UtcTime::from_unix_seconds(group.period.0).map_err(|_| broken())?,
            end: UtcTime::from_unix_seconds(group.period.1).map_err(|_| broken())?,
        },
        readings: count,
        source: Source::DeviceId(device),
        content_type: content.content_type,
        cid: String::new(),
        size: 0,
        plaintext_size: content.plaintext.len() as u64,
        merkle_root: content.merkle_root,
        salt,
    };
    // CID and size follow from the sealing and are not part of the commitment.
    let commitment = private.commitment();
    let bound = AssociatedData {
        record_id,
        commitment: *commitment.as_bytes(),
    };
    let data_key = DataKey::generate();
    let wraps = wrap(private.record_id, &data_key, readers)?;
    let sealed = seal(&data_key, &bound, &content.plaintext);
    let sha256 = Digest::of(&sealed);
    private.cid = Object::new(&sealed).cid().to_string();
    private.size = sealed.len() as u64;
    let public = RecordEntry {
        record_id: private.record_id,
        object_sha256: sha256,
        commitment,
        version: 1,
        previous: None,
    };
    Ok(Sealed {
        record: SealedRecord {
            record: RecordKey(record_id),
            entries: group.entries.clone(),
            cid: private.cid.clone(),
            object_bytes: private.size,
            public: json(&public),
            private: json(&private),
            wraps: json(&wraps),
            device: group.device.clone(),
        },
        object: sealed,
    })
}

struct Content {
    plaintext: Vec<u8>,
    content_type: String,
    merkle_root: Digest,
}

/// The opened form: a segment, or the message's own bytes when it is alone. The leaves are items either way.
fn content(group: &Group, device: &DeviceId, readings: Vec<Reading>) -> Content {
    let mut tree = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    let mut plaintext = Vec::new();
    for reading in readings {
        let item = segment::SegmentItem {
            device_id: device.clone(),
            seq: reading.sequence,
            received_ms: reading.received_ms,
            content_type: reading.content_type,
            payload: reading.payload.into(),
        };
        let leaf = item.encode();
        match group.alone {
            Some(_) => plaintext = item.payload,
            None => plaintext.extend_from_slice(&leaf),
        }
        tree.push(leaf);
    }
    let mut root = [0_u8; 32];
    root.copy_from_slice(tree.root().as_bytes());
    let segment = || segment::MEDIA_TYPE.to_owned();
    Content {
        plaintext,
        content_type: group.alone.clone().unwrap_or_else(segment),
        merkle_root: Digest::from_bytes(root),
    }
}

fn wrap(
    record_id: RecordId,
    data_key: &DataKey,
    readers: &[&PublicKey],
) -> Result<RecordWraps, SealError> {
    let mut wraps: Vec<KeyWrap> = Vec::with_capacity(readers.len());
    for reader in readers {
        let kid = reader.thumbprint().to_owned();
        if wraps.iter().all(|wrap| wrap.kid != kid) {
            let jwe = reader.wrap(data_key)?;
            wraps.push(KeyWrap { kid, jwe });
        }
    }
    Ok(RecordWraps { record_id, wraps })
}

fn json<T: Serialize>(value: &T) -> String {
    let bytes = canonical_json(value).expect("strings and small integers are canonical JSON");
    String::from_utf8(bytes).expect("JSON is UTF-8")
}

fn random<const N: usize>() -> Result<[u8; N], SealError> {
    let mut bytes = [0_u8; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| SealError::Random)?;
    Ok(bytes)
}
