//! Keys of records and reads.

use contract_interface::{Digest, Nonce, ReadId, RecordId, RecordPrivate, RecordType, UtcTime};
use fabric_shim::{KeyError, create_composite_key, split_composite_key};

use super::{Blinding, object_types as of};
use crate::failure::Failure;

/// Seconds of the longest period of a record that ends soon after it starts.
pub(crate) const LONG_RECORD_SECONDS: i64 = 24 * 60 * 60;

/// What a record index key says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RecordIndexEntry {
    pub(crate) end: UtcTime,
    pub(crate) start: UtcTime,
    pub(crate) record_type: RecordType,
    pub(crate) record_id: RecordId,
}

impl RecordIndexEntry {
    /// Reads a key of any of the indexes.
    pub(crate) fn parse(key: &str) -> Result<Self, Failure> {
        let corrupt = || Failure::corrupt("an index key");
        let (object_type, attributes) = split_composite_key(key).map_err(|_| corrupt())?;
        let [_, rest @ ..] = attributes.as_slice() else {
            return Err(corrupt());
        };
        let ((of::RECORD_BY_PATIENT | of::RECORD_LONG, [end, start, record_type, record_id])
        | (of::RECORD_BY_TYPE, [record_type, end, start, record_id])) =
            (object_type.as_str(), rest)
        else {
            return Err(corrupt());
        };
        Ok(Self {
            end: end.parse().map_err(|_| corrupt())?,
            start: start.parse().map_err(|_| corrupt())?,
            record_type: record_type.parse().map_err(|_| corrupt())?,
            record_id: record_id.parse().map_err(|_| corrupt())?,
        })
    }
}

impl Blinding {
    /// Collection `records`: a record's private half.
    pub(crate) fn record(&self, id: &RecordId) -> Result<String, KeyError> {
        self.key(of::RECORD, &[id.as_bytes()])
    }

    /// Collection `records`: the first version of a record that amends another. It stays when the
    /// record is erased, so that rules which name it are found; the public halves say no less.
    pub(crate) fn root(&self, id: &RecordId) -> Result<String, KeyError> {
        self.key(of::ROOT, &[id.as_bytes()])
    }

    /// Collection `keys`: a record's wrapped keys.
    pub(crate) fn wraps(&self, id: &RecordId) -> Result<String, KeyError> {
        self.key(of::WRAPS, &[id.as_bytes()])
    }

    /// Collection `records`: whose an object is, by its SHA-256.
    pub(crate) fn object(&self, hash: &[u8]) -> Result<String, KeyError> {
        self.key(of::OBJECT, &[hash])
    }

    /// Collection `records`: for which record a gated wrap came first.
    pub(crate) fn gated_wrap(&self, jwe: &str) -> Result<String, KeyError> {
        self.key(of::GATED_WRAP, &[jwe.as_bytes()])
    }

    /// Collection `records`: which record a participant's signed submission was for.
    pub(crate) fn submission(&self, signer: &Digest, nonce: &Nonce) -> Result<String, KeyError> {
        self.key(of::SUBMISSION, &[signer.as_bytes(), nonce.as_bytes()])
    }

    /// Collection `records`: what is left of a record while its erasure goes on.
    pub(crate) fn erasing(&self, id: &RecordId) -> Result<String, KeyError> {
        self.key(of::ERASING, &[id.as_bytes()])
    }

    /// Collection `records`: the index of a patient's records by the end of their periods.
    pub(crate) fn record_by_patient(&self, record: &RecordPrivate) -> Result<String, KeyError> {
        self.record_by_end(of::RECORD_BY_PATIENT, record)
    }

    /// Collection `records`: the same of a record over more than [`LONG_RECORD_SECONDS`], and of
    /// such only. With it, a query for an hour need not look at all that ended later.
    pub(crate) fn record_long(&self, record: &RecordPrivate) -> Result<Option<String>, KeyError> {
        let period = &record.period;
        let seconds = period.end.unix_seconds() - period.start.unix_seconds();
        (seconds > LONG_RECORD_SECONDS)
            .then(|| self.record_by_end(of::RECORD_LONG, record))
            .transpose()
    }

    fn record_by_end(&self, object_type: &str, record: &RecordPrivate) -> Result<String, KeyError> {
        create_composite_key(
            object_type,
            &[
                &self.patient(&record.patient),
                &record.period.end.to_string(),
                &record.period.start.to_string(),
                record.record_type.as_str(),
                &record.record_id.to_string(),
            ],
        )
    }

    /// Collection `records`: the same for one type.
    pub(crate) fn record_by_type(&self, record: &RecordPrivate) -> Result<String, KeyError> {
        create_composite_key(
            of::RECORD_BY_TYPE,
            &[
                &self.patient(&record.patient),
                record.record_type.as_str(),
                &record.period.end.to_string(),
                &record.period.start.to_string(),
                &record.record_id.to_string(),
            ],
        )
    }

    /// Collection `records`: a read decision.
    pub(crate) fn read(&self, id: &ReadId) -> Result<String, KeyError> {
        self.key(of::READ, &[id.as_bytes()])
    }

    /// The part under which the reads of a record are found.
    pub(crate) fn reads_of_record(&self, id: &RecordId) -> String {
        self.part(of::READ_BY_RECORD, &[id.as_bytes()])
    }

    /// Collection `records`: an index of reads by the transaction's time. `part` is that of whom
    /// the index is by; `more` lets one read stand in it more than once.
    pub(crate) fn read_index(
        object_type: &str,
        part: &str,
        at: UtcTime,
        id: &ReadId,
        more: &[&str],
    ) -> Result<String, KeyError> {
        let (at, id) = (at.to_string(), id.to_string());
        let mut attributes = vec![part, at.as_str()];
        attributes.extend(more);
        attributes.push(&id);
        create_composite_key(object_type, &attributes)
    }
}
