//! From a group of readings to a sealed object and everything its registration needs.

use std::collections::BTreeMap;
use std::io;

use contract_interface::{
    DeviceId, Digest, MarkName, MspId, Period, Pseudonym, RecordId, RecordType, SignedManifest,
    Source, UtcTime, segment,
};
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use sealed_object::PublicKey;
use sha2_next::Sha256;
use thiserror::Error;

use super::gather::Group;
use crate::draft::{Draft, DraftError, SealedDraft, json, random};
use crate::journal::{EntryId, Reading, RecordKey, SealedRecord};
use crate::objects::ObjectReader;

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
    /// A key refused to wrap, or there are no random numbers.
    #[error(transparent)]
    Draft(#[from] DraftError),
}

/// A sealed object with what is to be written down of it.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) record: SealedRecord,
    pub(super) object: Vec<u8>,
}

/// Seals the readings of a group for `holders` of the key, which is the record's own.
pub(super) fn seal_group(
    group: &Group,
    readings: Vec<Reading>,
    registrar: &MspId,
    holders: &[&PublicKey],
) -> Result<Sealed, SealError> {
    let broken = || SealError::Entry {
        entry: group.entries.first().copied(),
    };
    let device: DeviceId = group.device.parse().map_err(|_| broken())?;
    let count = u32::try_from(readings.len()).map_err(|_| broken())?;
    let marks = marks(&readings);
    let content = content(group, &device, readings);
    let record_id = random()?;
    let draft = Draft {
        record_id: RecordId::from_bytes(record_id),
        marks,
        content_type: content.content_type,
        plaintext: content.plaintext,
        merkle_root: content.merkle_root,
        ..draft(group, device, count, registrar).ok_or_else(broken)?
    };
    let SealedDraft {
        entry,
        private,
        wraps,
        object,
    } = draft.seal(holders)?;
    Ok(Sealed {
        record: SealedRecord {
            record: RecordKey(record_id),
            entries: group.entries.clone(),
            cid: private.cid.clone(),
            object_bytes: private.size,
            public: json(&entry),
            private: json(&private),
            wraps: json(&wraps),
            device: group.device.clone(),
        },
        object,
    })
}

/// Seals an object that is read in pieces into `out`, which receives the sealed bytes.
pub(super) fn seal_object(
    (record, group): (RecordKey, &Group),
    (reading, content): (Reading, ObjectReader),
    (registrar, holders): (&MspId, &[&PublicKey]),
    out: &mut impl io::Write,
) -> Result<SealedRecord, SealError> {
    let broken = || SealError::Entry {
        entry: group.entries.first().copied(),
    };
    let device: DeviceId = group.device.parse().map_err(|_| broken())?;
    let marks = marks(std::slice::from_ref(&reading));
    let manifest = manifest(&reading).map_err(|_| broken())?;
    let object = reading.object.ok_or_else(broken)?;
    let draft = Draft {
        record_id: RecordId::from_bytes(record.0),
        manifest,
        marks,
        content_type: reading.content_type,
        plaintext: Vec::new(),
        // A tree of one leaf is its leaf.
        merkle_root: Digest::from_bytes(*object.leaf),
        ..draft(group, device, 1, registrar).ok_or_else(broken)?
    };
    let SealedDraft {
        entry,
        private,
        wraps,
        ..
    } = draft.seal_stream(holders, object.bytes, content, out)?;
    Ok(SealedRecord {
        record,
        entries: group.entries.clone(),
        cid: private.cid.clone(),
        object_bytes: private.size,
        public: json(&entry),
        private: json(&private),
        wraps: json(&wraps),
        device: group.device.clone(),
    })
}

/// What a group says of its record, as yet without content.
fn draft(group: &Group, device: DeviceId, readings: u32, registrar: &MspId) -> Option<Draft> {
    Some(Draft {
        record_id: RecordId::from_bytes([0; RecordId::BYTES]),
        patient: group.patient.parse::<Pseudonym>().ok()?,
        record_type: group.code.parse::<RecordType>().ok()?,
        period: Period {
            start: UtcTime::from_unix_seconds(group.period.0).ok()?,
            end: UtcTime::from_unix_seconds(group.period.1).ok()?,
        },
        readings,
        source: Source::DeviceId(device),
        registrar: registrar.clone(),
        labels: group.labels.clone(),
        submission: None,
        manifest: None,
        marks: BTreeMap::new(),
        content_type: String::new(),
        plaintext: Vec::new(),
        merkle_root: Digest::from_bytes([0; 32]),
        version: 1,
        previous: None,
    })
}

/// Of how many readings each oddity is.
fn marks(readings: &[Reading]) -> BTreeMap<MarkName, u32> {
    let mut marks = BTreeMap::new();
    for mark in readings.iter().flat_map(|reading| reading.marks.iter()) {
        let name = mark.name().parse().expect("a mark's name is a token");
        *marks.entry(name).or_insert(0) += 1;
    }
    marks
}

/// The manifest that the device signed; none if it did not.
fn manifest(reading: &Reading) -> Result<Option<SignedManifest>, serde_json::Error> {
    let payload = reading.payload.as_slice();
    let signed = (!payload.is_empty()).then(|| serde_json::from_slice(payload));
    signed.transpose()
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
