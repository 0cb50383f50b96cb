//! What the journal's frames say: readings received, records sealed, and how far each record has come.

use std::collections::BTreeSet;
use std::sync::Arc;

use contract_interface::{Confidentiality, ContextId, Sensitivity};
use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::data::Type;
use minicbor::{Decode, Encode};

use super::kept_object::KeptObject;
use super::marks::Marks;

/// Number of an entry: rises by one with each reading, never reused, also across restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct EntryId(#[n(0)] pub u64);

/// 128-bit identifier of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey(pub [u8; 16]);

impl RecordKey {
    /// The identifier as the ledger spells it: 32 lower-case hexadecimal digits.
    #[must_use]
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }
}

impl<C> Encode<C> for RecordKey {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.0)?;
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for RecordKey {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let bytes = d.bytes()?;
        <[u8; 16]>::try_from(bytes)
            .map(Self)
            .map_err(|_| minicbor::decode::Error::message("a record key has 16 bytes"))
    }
}

/// What decides, beside patient and type, who may read a reading: readings of other labels never
/// share a record.
///
/// As CBOR: an array of confidentiality code, list of sensitivity codes, context or null.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels {
    /// How confidential it is.
    pub confidentiality: Confidentiality,
    /// What it is sensitive for.
    pub sensitivity: BTreeSet<Sensitivity>,
    /// The encounter it belongs to.
    pub context: Option<ContextId>,
}

impl<C> Encode<C> for Labels {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.array(3)?
            .str(self.confidentiality.as_str())?
            .array(self.sensitivity.len() as u64)?;
        for code in &self.sensitivity {
            e.str(code.as_str())?;
        }
        match &self.context {
            Some(context) => e.str(context.as_str())?,
            None => e.null()?,
        };
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Labels {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let wrong = || minicbor::decode::Error::message("labels are code, codes and context");
        if d.array()? != Some(3) {
            return Err(wrong());
        }
        let confidentiality = d.str()?.parse().map_err(|_| wrong())?;
        let count = d.array()?.ok_or_else(wrong)?;
        let mut sensitivity = BTreeSet::new();
        for _ in 0..count {
            sensitivity.insert(d.str()?.parse().map_err(|_| wrong())?);
        }
        let context = if d.datatype()? == Type::Null {
            d.null()?;
            None
        } else {
            Some(d.str()?.parse().map_err(|_| wrong())?)
        };
        Ok(Self {
            confidentiality,
            sensitivity,
            context,
        })
    }
}

/// A reading as the MQTT front accepted it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Reading {
    /// The device, from its certificate.
    #[n(0)]
    pub device: String,
    /// The device's sequence number, if it gave one.
    #[n(1)]
    pub sequence: Option<u64>,
    /// When it was received, milliseconds since 1970.
    #[n(2)]
    pub received_ms: u64,
    /// Media type of the payload.
    #[n(3)]
    pub content_type: String,
    /// Record type: a LOINC code or a category.
    #[n(4)]
    pub code: String,
    /// First second of the period it covers, since 1970.
    #[n(5)]
    pub period_start: i64,
    /// Last second of the period it covers, since 1970.
    #[n(6)]
    pub period_end: i64,
    /// The patient the device was bound to when the reading was accepted.
    #[n(7)]
    pub patient: String,
    /// Whether it becomes a record of its own, whatever its size.
    #[n(8)]
    pub alone: bool,
    /// The message's exact bytes; of an object with a file of its own, those of its manifest, if that is signed.
    #[n(9)]
    pub payload: ByteVec,
    /// Whether the transport named the time, which the payload then does not hold.
    #[n(10)]
    #[cbor(default)]
    pub time_named: bool,
    /// Confidentiality, sensitivities and context; those of ordinary readings in frames of before.
    #[n(11)]
    #[cbor(default)]
    pub labels: Labels,
    /// What is odd about it.
    #[n(12)]
    #[cbor(default)]
    pub marks: Marks,
    /// The content, if it is in a file of its own.
    #[n(13)]
    #[cbor(default)]
    pub object: Option<KeptObject>,
}

impl Reading {
    /// By what the message is recognised when it comes again: its payload and, for bytes that do not say what they
    /// are, what the transport said of them. Two equal payloads of different times are two messages.
    #[must_use]
    pub fn identity(&self) -> Fingerprint {
        self.identity_of(self.fingerprint())
    }

    fn identity_of(&self, content: Fingerprint) -> Fingerprint {
        if self.sequence.is_some() || !self.alone {
            return content;
        }
        let time = self.time_named.then_some(self.period_start);
        let said = (&self.content_type, &self.code, time);
        let mut bytes = minicbor::to_vec(said).expect("encoding into memory cannot fail");
        bytes.extend_from_slice(&content);
        fingerprint(&bytes)
    }

    /// The fingerprint of its content, wherever that is.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        match &self.object {
            Some(object) => *object.sha256,
            None => fingerprint(&self.payload),
        }
    }
}

/// A reading on its way into the journal, with what it is recognised by, computed once. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The reading.
    pub reading: Arc<Reading>,
    /// [`Reading::fingerprint`].
    pub fingerprint: Fingerprint,
    /// [`Reading::identity`].
    pub identity: Fingerprint,
}

impl From<Reading> for Offer {
    fn from(reading: Reading) -> Self {
        let fingerprint = reading.fingerprint();
        Self {
            fingerprint,
            identity: reading.identity_of(fingerprint),
            reading: Arc::new(reading),
        }
    }
}

/// SHA-256 of a payload or of what stands for it.
pub type Fingerprint = [u8; 32];

/// The fingerprint of a payload.
#[must_use]
pub fn fingerprint(payload: &[u8]) -> Fingerprint {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, payload);
    let mut fingerprint = [0_u8; 32];
    fingerprint.copy_from_slice(digest.as_ref());
    fingerprint
}

/// A record whose sealed object is in the spool: all that later steps need.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SealedRecord {
    /// Its identifier.
    #[n(0)]
    pub record: RecordKey,
    /// The readings in it, in order.
    #[n(1)]
    pub entries: Vec<EntryId>,
    /// CID of the sealed object.
    #[n(2)]
    pub cid: String,
    /// Bytes of the sealed object.
    #[n(3)]
    pub object_bytes: u64,
    /// Canonical JSON of the public part of the registration.
    #[n(4)]
    pub public: String,
    /// Canonical JSON of the private part.
    #[n(5)]
    pub private: String,
    /// Canonical JSON of the wrapped keys.
    #[n(6)]
    pub wraps: String,
    /// The device the readings came from.
    #[n(7)]
    pub device: String,
}

/// Where a registered record stands on the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Commitment {
    /// Transaction that registered it.
    #[n(0)]
    pub transaction_id: String,
    /// Block of that transaction.
    #[n(1)]
    pub block_number: u64,
}

/// One frame's content.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Entry {
    /// A reading was accepted.
    #[n(0)]
    Received {
        /// Its number.
        #[n(0)]
        id: EntryId,
        /// The reading.
        #[n(1)]
        reading: Reading,
    },
    /// Readings were sealed into a record; its object is in the spool.
    #[n(1)]
    Sealed(#[n(0)] SealedRecord),
    /// Objects are pinned on IPFS.
    #[n(2)]
    Pinned(#[n(0)] Vec<RecordKey>),
    /// Records are on the ledger.
    #[n(3)]
    Committed {
        /// The records.
        #[n(0)]
        records: Vec<RecordKey>,
        /// Where they are.
        #[n(1)]
        commitment: Commitment,
    },
    /// Receipts went out; the readings may be forgotten.
    #[n(4)]
    Done(#[n(0)] Vec<RecordKey>),
    /// A message was refused where the protocol has no way to say so.
    #[n(5)]
    Refused(#[n(0)] Refused),
    /// Records were given up before they were pinned; their readings are in no record again.
    #[n(6)]
    Discarded(#[n(0)] Vec<RecordKey>),
    /// Records that the contract refuses were given up by an administrator, with their readings.
    #[n(7)]
    Dropped(#[n(0)] Vec<RecordKey>),
}

/// A dead letter: who, when and why, never what.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Refused {
    /// The device, from its certificate.
    #[n(0)]
    pub device: String,
    /// When, milliseconds since 1970.
    #[n(1)]
    pub refused_ms: u64,
    /// Named reason, e.g. `payload-not-json`.
    #[n(2)]
    pub reason: String,
    /// Bytes of the payload.
    #[n(3)]
    pub bytes: u64,
    /// SHA-256 of the payload, by which the device's owner finds it.
    #[n(4)]
    pub sha256: ByteArray<32>,
}

/// [`Entry::Received`] of a reading that others hold, too; the same bytes.
#[derive(Encode)]
pub(super) enum Received<'a> {
    #[n(0)]
    Received {
        #[n(0)]
        id: EntryId,
        #[n(1)]
        reading: &'a Reading,
    },
}

/// Appends a frame's plaintext.
pub(super) fn write(entry: &impl Encode<()>, out: &mut Vec<u8>) {
    minicbor::encode(entry, out).expect("encoding into memory cannot fail");
}

impl Entry {
    /// The frame's plaintext.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(self, &mut bytes);
        bytes
    }

    /// Reads a frame's plaintext; `None` when it is not exactly one entry.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut decoder = minicbor::Decoder::new(bytes);
        let entry = decoder.decode().ok()?;
        (decoder.position() == bytes.len()).then_some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::super::marks::Mark;
    use super::*;

    #[test]
    fn every_kind_of_entry_comes_back() {
        let record = RecordKey([7; 16]);
        let mut marks = Marks::default();
        marks.add(Mark::UnitNotUcum);
        let entries = [
            Entry::Received {
                id: EntryId(u64::MAX),
                reading: Reading {
                    device: "d".into(),
                    sequence: Some(1),
                    received_ms: 2,
                    content_type: "application/json".into(),
                    code: "8867-4".into(),
                    period_start: -1,
                    period_end: 3,
                    patient: "00".into(),
                    alone: true,
                    payload: vec![0, 255].into(),
                    time_named: true,
                    labels: Labels {
                        confidentiality: Confidentiality::V,
                        sensitivity: ["HIV", "PSY"].map(|code| code.parse().unwrap()).into(),
                        context: Some("enc-1".parse().unwrap()),
                    },
                    marks,
                    object: Some(KeptObject {
                        id: "o".into(),
                        bytes: 1 << 30,
                        sha256: [2; 32].into(),
                        leaf: [3; 32].into(),
                    }),
                },
            },
            Entry::Sealed(SealedRecord {
                record,
                entries: vec![EntryId(1), EntryId(2)],
                cid: "b".into(),
                object_bytes: 9,
                public: "{}".into(),
                private: "{}".into(),
                wraps: "{}".into(),
                device: "d".into(),
            }),
            Entry::Pinned(vec![record]),
            Entry::Committed {
                records: vec![record],
                commitment: Commitment {
                    transaction_id: "t".into(),
                    block_number: 4,
                },
            },
            Entry::Done(vec![record, record]),
            Entry::Discarded(vec![record]),
            Entry::Dropped(vec![record]),
            Entry::Refused(Refused {
                device: "d".into(),
                refused_ms: 1,
                reason: "payload-not-json".into(),
                bytes: 5,
                sha256: [1; 32].into(),
            }),
        ];
        for entry in entries {
            let bytes = entry.to_bytes();
            if let Entry::Received { id, reading } = &entry {
                let mut borrowed = Vec::new();
                write(&Received::Received { id: *id, reading }, &mut borrowed);
                assert_eq!(borrowed, bytes);
            }
            assert_eq!(Entry::from_bytes(&bytes), Some(entry));
            assert_eq!(Entry::from_bytes(&bytes[..bytes.len() - 1]), None);
            assert_eq!(Entry::from_bytes(&[&bytes[..], &[0]].concat()), None);
        }
    }

    #[test]
    fn a_frame_written_before_there_were_labels_is_an_ordinary_reading() {
        #[derive(Encode)]
        struct Before {
            #[n(0)]
            device: String,
            #[n(1)]
            sequence: Option<u64>,
            #[n(2)]
            received_ms: u64,
            #[n(3)]
            content_type: String,
            #[n(4)]
            code: String,
            #[n(5)]
            period_start: i64,
            #[n(6)]
            period_end: i64,
            #[n(7)]
            patient: String,
            #[n(8)]
            alone: bool,
            #[n(9)]
            payload: ByteVec,
            #[n(10)]
            time_named: bool,
        }
        let bytes = minicbor::to_vec(Before {
            device: "d".into(),
            sequence: None,
            received_ms: 1,
            content_type: "application/json".into(),
            code: "8867-4".into(),
            period_start: 1,
            period_end: 2,
            patient: "00".into(),
            alone: false,
            payload: vec![1].into(),
            time_named: false,
        })
        .unwrap();
        let reading: Reading = minicbor::decode(&bytes).unwrap();
        assert_eq!(reading.labels, Labels::default());
        assert_eq!((reading.marks, reading.object), (Marks::default(), None));
        assert_eq!(reading.period_end, 2);
    }
}
