//! What is kept in memory of a reading that is not done.

use std::sync::Arc;

use super::entry::{EntryId, Fingerprint, Labels, Offer, Reading};
use super::marks::Marks;

/// What readings of a device have in common. One of it serves many of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// The device that they came from.
    pub device: String,
    /// The patient they belong to.
    pub patient: String,
    /// Record type.
    pub code: String,
    /// Media type of the payload.
    pub content_type: String,
    /// Confidentiality, sensitivities and context.
    pub labels: Labels,
}

impl Kind {
    pub(super) fn of(reading: &Reading) -> Self {
        Self {
            device: reading.device.clone(),
            patient: reading.patient.clone(),
            code: reading.code.clone(),
            content_type: reading.content_type.clone(),
            labels: reading.labels.clone(),
        }
    }

    /// Whether a reading is of this kind. Its device is known to be the same.
    pub(super) fn is_of(&self, reading: &Reading) -> bool {
        self.code == reading.code
            && self.patient == reading.patient
            && self.content_type == reading.content_type
            && self.labels == reading.labels
    }
}

/// A reading that is not yet done, without its payload. There are many: small.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Its number.
    pub id: EntryId,
    /// What it shares with others of its device.
    pub kind: Arc<Kind>,
    /// The device's sequence number, if it gave one.
    pub sequence: Option<u64>,
    /// Fingerprint of the payload.
    pub fingerprint: Fingerprint,
    /// By what the message is recognised, where that is not the fingerprint.
    pub(crate) other_identity: Option<Box<Fingerprint>>,
    /// When it was received, milliseconds since 1970.
    pub received_ms: u64,
    /// First and last second of the period it covers, since 1970.
    pub period: (i64, i64),
    /// Bytes of the payload.
    pub payload_bytes: u64,
    /// Whether it becomes a record of its own.
    pub alone: bool,
    /// What is odd about it.
    pub marks: Marks,
    /// The device's name for it, if its content is in a file of its own.
    pub object_id: Option<Box<str>>,
}

impl Pending {
    /// What is kept in memory of a reading.
    pub(super) fn of(id: EntryId, offer: &Offer, kind: Arc<Kind>) -> Self {
        let reading = &offer.reading;
        let object = reading.object.as_ref();
        Self {
            id,
            kind,
            sequence: reading.sequence,
            fingerprint: offer.fingerprint,
            other_identity: (offer.identity != offer.fingerprint).then(|| offer.identity.into()),
            received_ms: reading.received_ms,
            period: (reading.period_start, reading.period_end),
            payload_bytes: object.map_or(reading.payload.len() as u64, |object| object.bytes),
            alone: reading.alone,
            marks: reading.marks,
            object_id: object.map(|object| object.id.as_str().into()),
        }
    }

    /// By what the message is recognised: [`Reading::identity`].
    #[must_use]
    pub fn identity(&self) -> Fingerprint {
        let other = self.other_identity.as_deref();
        other.copied().unwrap_or(self.fingerprint)
    }
}
