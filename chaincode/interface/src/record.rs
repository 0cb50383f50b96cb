//! Records: what is public, what is private, and how the one commits to the other.
//!
//! Public (argument, state, event): [`RecordEntry`], [`RecordState`], [`RecordsRegistered`].
//! Private (transient map, collections): [`RecordPrivate`], [`RecordWraps`].

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::access::Confidentiality;
use crate::canonical::canonical_json;
use crate::digest::{Digest, Salt};
use crate::error::ParseError;
use crate::ids::{
    ContextId, DeviceId, GrantId, MarkName, MspId, ParticipantId, Pseudonym, RecordId, RecordType,
    Sensitivity,
};
use crate::limits::{
    CID_BYTES_MAX, CONTENT_TYPE_BYTES_MAX, JSON_INTEGER_MAX, RECORD_MARKS_MAX,
    RECORD_SENSITIVITIES_MAX, WRAP_BATCH_MAX, WRAP_BYTES_MAX, WRAPS_MAX,
};
use crate::manifest::SignedManifest;
use crate::page::{PageRequest, PageToken};
use crate::time::UtcTime;

/// First byte of what a commitment hashes: the scheme's number.
const COMMITMENT_SCHEME: u8 = 1;
/// Members that the commitment leaves out: the salt goes in front, and the CID and size are known
/// only after sealing, which needs the commitment. The public `object_sha256` binds both.
const UNCOMMITTED: [&str; 3] = ["salt", "cid", "size"];

/// A record's public half, as the argument of `RegisterRecords` has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordEntry {
    /// The record's random ID.
    pub record_id: RecordId,
    /// SHA-256 of the sealed object.
    pub object_sha256: Digest,
    /// [`RecordPrivate::commitment`].
    pub commitment: Digest,
    /// 1, or one more than the previous version.
    pub version: u32,
    /// The record that this one amends; none for version 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<RecordId>,
}

/// The public argument of `RegisterRecords`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterRecords {
    /// 1 to [`crate::limits::BATCH_RECORDS_MAX`] records with different IDs.
    pub records: Vec<RecordEntry>,
}

/// The public result of `RegisterRecords`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterRecordsResult {
    /// Records that this transaction adds.
    pub registered: u32,
    /// Records that were there before with the same content.
    pub unchanged: u32,
}

/// Payload of the event `RecordsRegistered`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordsRegistered {
    /// The records that this transaction adds.
    pub record_ids: Vec<RecordId>,
}

/// The period that a record's readings cover, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Period {
    /// The earliest reading.
    pub start: UtcTime,
    /// The latest reading, not before `start`.
    pub end: UtcTime,
}

/// Where a record's readings come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A device of the registering organisation.
    DeviceId(DeviceId),
    /// A provider of the registering organisation, or the patient.
    ParticipantId(ParticipantId),
}

/// A record's private half, kept in the collection `records`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordPrivate {
    /// The record's random ID.
    pub record_id: RecordId,
    /// Whose record it is.
    pub patient: Pseudonym,
    /// What it holds.
    #[serde(rename = "type")]
    pub record_type: RecordType,
    /// The period of the readings.
    pub period: Period,
    /// Number of readings, at least 1.
    pub readings: u32,
    /// Where the readings come from.
    pub source: Source,
    /// The organisation that registers the record: keeps its object, releases its key.
    pub registrar: MspId,
    /// The encounter, care plan or episode that the readings belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<ContextId>,
    /// How confidential the readings are.
    #[serde(default)]
    pub confidentiality: Confidentiality,
    /// What they are sensitive for, at most [`RECORD_SENSITIVITIES_MAX`], none twice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sensitivity: Vec<Sensitivity>,
    /// The participant's signed [`crate::SubmitRecord`], as compact JWS; absent for a device's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submission: Option<String>,
    /// Of a device's large object: the manifest, if the device signed it; absent for all else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<SignedManifest>,
    /// What the oracle found odd about a device's readings, at most [`RECORD_MARKS_MAX`] kinds, and
    /// of how many readings each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub marks: BTreeMap<MarkName, u32>,
    /// Media type of the opened object.
    pub content_type: String,
    /// CID of the sealed object.
    pub cid: String,
    /// Bytes of the sealed object.
    pub size: u64,
    /// Bytes of the opened object, without padding.
    pub plaintext_size: u64,
    /// Root of the Merkle tree (RFC 6962) over the readings' encoded items.
    pub merkle_root: Digest,
    /// Salt of the commitment; also keeps the stored value's public hash from being guessed.
    pub salt: Salt,
}

impl RecordPrivate {
    /// The public commitment to this metadata:
    /// `SHA-256(0x01 ‖ salt ‖ canonical JSON without salt, cid and size)`.
    ///
    /// # Panics
    ///
    /// Never: the type has a canonical JSON form.
    #[must_use]
    pub fn commitment(&self) -> Digest {
        #[expect(
            clippy::expect_used,
            reason = "the type's members are strings and small integers"
        )]
        let canonical = {
            let mut value = serde_json::to_value(self).expect("a record is JSON");
            if let Some(members) = value.as_object_mut() {
                members.retain(|name, _| !UNCOMMITTED.contains(&name.as_str()));
            }
            canonical_json(&value).expect("JSON has a canonical form")
        };
        Digest::of_parts(&[&[COMMITMENT_SCHEME], self.salt.as_bytes(), &canonical])
    }

    /// Checks what the members' types do not.
    ///
    /// # Errors
    ///
    /// If a number or text is out of range, or the period ends before it starts.
    pub fn validate(&self) -> Result<(), ParseError> {
        let content_type = self.content_type.as_bytes();
        let printable = |bytes: &[u8]| bytes.iter().all(|b| (0x20..0x7f).contains(b));
        if self.period.end < self.period.start {
            Err(ParseError::new("a period that ends after it starts"))
        } else if self.readings == 0 {
            Err(ParseError::new("a record of at least one reading"))
        } else if self.size > JSON_INTEGER_MAX || self.plaintext_size > JSON_INTEGER_MAX {
            Err(ParseError::new("a size below 2^53 bytes"))
        } else if !(1..=CONTENT_TYPE_BYTES_MAX).contains(&content_type.len())
            || !content_type.contains(&b'/')
            || !printable(content_type)
        {
            Err(ParseError::new(
                "a content type of at most 255 printable characters",
            ))
        } else if self.sensitivity.len() > RECORD_SENSITIVITIES_MAX
            || self.sensitivity.iter().collect::<BTreeSet<_>>().len() != self.sensitivity.len()
        {
            Err(ParseError::new("at most 16 different sensitivities"))
        } else if !self.is_manifest_in_place() {
            Err(ParseError::new(
                "a manifest of the one object that the record holds",
            ))
        } else if !self.are_marks_in_place() {
            Err(ParseError::new(
                "at most 16 marks, each of some of a device's readings",
            ))
        } else if !(1..=CID_BYTES_MAX).contains(&self.cid.len())
            || !self.cid.bytes().all(|b| b.is_ascii_alphanumeric())
        {
            Err(ParseError::new("a CID of at most 128 letters and digits"))
        } else {
            self.manifest
                .as_ref()
                .map_or(Ok(()), SignedManifest::validate)
        }
    }

    /// Only one object of a device has a manifest, which is about as many bytes.
    fn is_manifest_in_place(&self) -> bool {
        self.manifest.as_ref().is_none_or(|manifest| {
            matches!(self.source, Source::DeviceId(_))
                && self.readings == 1
                && manifest.size == self.plaintext_size
        })
    }

    fn are_marks_in_place(&self) -> bool {
        let mut counts = self.marks.values();
        self.marks.is_empty()
            || matches!(self.source, Source::DeviceId(_))
                && self.marks.len() <= RECORD_MARKS_MAX
                && counts.all(|count| (1..=self.readings).contains(count))
    }
}

/// A data key, wrapped for one holder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyWrap {
    /// RFC 7638 thumbprint of the holder's public key.
    pub kid: String,
    /// The wrapped key, a compact JWE. If the wrap is gated, its payload is the grantee's compact
    /// JWE, and the gate's holder opens it only after a permitted read.
    pub jwe: String,
    /// Of a gated wrap: RFC 7638 thumbprint of the registrar's key, under which `jwe` is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<String>,
    /// The grant for whose sake the wrap is here; absent for patient and oracle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant_id: Option<GrantId>,
}

impl KeyWrap {
    /// A wrap that its holder opens alone.
    #[must_use]
    pub const fn plain(kid: String, jwe: String) -> Self {
        Self {
            kid,
            jwe,
            gate: None,
            grant_id: None,
        }
    }
}

/// The wrapped data keys of one record, kept in the collection `keys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordWraps {
    /// The record.
    pub record_id: RecordId,
    /// 1 to [`WRAPS_MAX`] wraps with different `kid`s.
    pub wraps: Vec<KeyWrap>,
}

impl RecordWraps {
    /// Checks number, size and form of the wraps; what is inside only their holders can check.
    ///
    /// # Errors
    ///
    /// If there is none, too many, two with one `kid`, or one that is not a compact JWE.
    pub fn validate(&self) -> Result<(), ParseError> {
        let kids: BTreeSet<&str> = self.wraps.iter().map(|wrap| wrap.kid.as_str()).collect();
        if !(1..=WRAPS_MAX).contains(&self.wraps.len()) || kids.len() != self.wraps.len() {
            return Err(ParseError::new("1 to 64 wraps with different kids"));
        }
        let base64url = |text: &str| {
            text.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        let kid = |kid: &str| kid.len() == 43 && base64url(kid);
        let well_formed = self.wraps.iter().all(|wrap| {
            kid(&wrap.kid)
                && wrap.gate.as_deref().is_none_or(kid)
                && wrap.jwe.len() <= WRAP_BYTES_MAX
                && wrap.jwe.split('.').count() == 5
                && wrap
                    .jwe
                    .split('.')
                    .all(|part| !part.is_empty() && base64url(part))
        });
        if well_formed {
            Ok(())
        } else {
            Err(ParseError::new(
                "a compact JWE of at most 4096 bytes under a SHA-256 kid",
            ))
        }
    }

    /// The wrap for the key with thumbprint `kid`.
    #[must_use]
    pub fn for_kid(&self, kid: &str) -> Option<&KeyWrap> {
        self.wraps.iter().find(|wrap| wrap.kid == kid)
    }
}

/// Whether a record is the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordStatus {
    /// Current.
    Active,
    /// A later version has taken its place; it stays readable.
    Amended,
    /// Its private half and keys are gone for good.
    Erased,
}

/// A record's public state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordState {
    /// SHA-256 of the sealed object.
    pub object_sha256: Digest,
    /// Commitment to the private half.
    pub commitment: Digest,
    /// The organisation that registered it.
    pub msp_id: MspId,
    /// ID of the transaction that registered it.
    pub tx_id: String,
    /// 1, or one more than the previous version.
    pub version: u32,
    /// The record that this one amends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<RecordId>,
    /// Whether it is the current version.
    pub status: RecordStatus,
}

/// Both halves of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The public half.
    pub state: RecordState,
    /// The private half.
    pub metadata: RecordPrivate,
}

/// Which records to list, in the order of their periods' ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordFilter {
    /// Whose records.
    pub patient: Pseudonym,
    /// Only this type.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub record_type: Option<RecordType>,
    /// Only records with a reading at or after this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<UtcTime>,
    /// Only records with a reading at or before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<UtcTime>,
    /// Which page.
    #[serde(default)]
    pub page: PageRequest,
}

/// A page of records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordPage {
    /// The records that the caller may see.
    pub records: Vec<Record>,
    /// Present if there may be more; a page may be short, even empty, and yet have a next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<PageToken>,
}

/// Changes to one record's wraps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrapChange {
    /// The record.
    pub record_id: RecordId,
    /// Holders whose wraps go, by `kid`; one that is not there is passed over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
    /// Wraps that come; one with a `kid` that is there takes its place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<KeyWrap>,
}

/// Transient field `wrap_changes` of `ChangeWraps`, which the registrar's oracle submits.
///
/// Of plain wraps it takes those for the registered encryption keys of the record's patient and of
/// the registrar's oracles; of gated ones those for the person whom a standing permit names and
/// that covers the record. What is removed must be of an ended grant or a key that is no longer
/// registered. Whoever holds the data key in custody mode `patient` signs the changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrapChanges {
    /// 1 to [`WRAP_BATCH_MAX`] records, none twice.
    pub changes: Vec<WrapChange>,
}

impl WrapChanges {
    /// Checks what the members' types do not.
    ///
    /// # Errors
    ///
    /// If there are none, too many, or a record twice.
    pub fn validate(&self) -> Result<(), ParseError> {
        let ids: BTreeSet<_> = self.changes.iter().map(|change| change.record_id).collect();
        if (1..=WRAP_BATCH_MAX).contains(&self.changes.len()) && ids.len() == self.changes.len() {
            Ok(())
        } else {
            Err(ParseError::new("changes to 1 to 200 different records"))
        }
    }
}

/// The public result of `ChangeWraps`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrapsChanged {
    /// Records whose wraps are others now.
    pub changed: u32,
    /// Records whose wraps are as they were.
    pub unchanged: u32,
}

/// Which of the organisation's own records to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisteredFilter {
    /// Which page.
    #[serde(default)]
    pub page: PageRequest,
}

/// A record's ID and public half.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredRecord {
    /// The record.
    pub record_id: RecordId,
    /// Its public half.
    pub state: RecordState,
}

/// A page of public halves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredPage {
    /// The records; a page may be short, even empty, and yet have a next one.
    pub records: Vec<RegisteredRecord>,
    /// Present if there may be more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<PageToken>,
}

/// Why a record is erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErasureBasis {
    /// The patient, or a guardian with the power to erase, asks for it (GDPR Art. 17).
    PatientRequest,
    /// The time for which it must be kept is over; an administrator of the registrar signs.
    RetentionEnded,
    /// It should not have been registered; an administrator of the registrar signs.
    RegisteredInError,
}

/// What is left of a record while its erasure goes on, in the collection `records`: enough for
/// every organisation to find and remove the object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErasingRecord {
    /// The record.
    pub record_id: RecordId,
    /// Whose record it was.
    pub patient: Pseudonym,
    /// Who registered it.
    pub registrar: MspId,
    /// CID of the object that is to go.
    pub cid: String,
    /// Bytes of the sealed object.
    pub size: u64,
    /// Why.
    pub basis: ErasureBasis,
    /// The signed request, as compact JWS.
    pub request: String,
    /// Keeps the stored value's public hash from being guessed.
    pub salt: Salt,
}

/// Payload of the events `RecordErased` and `ErasureCompleted`, and public result of the
/// transactions of an erasure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasureChanged {
    /// The record.
    pub record_id: RecordId,
}

/// An organisation's word that it no longer holds an object, in the public state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Removal {
    /// The organisation.
    pub msp_id: MspId,
    /// The transaction in which it said so.
    pub tx_id: String,
}

/// The tombstone of a record, in the public state, with the organisations' words: what a
/// certificate of erasure names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erasure {
    /// The record.
    pub record_id: RecordId,
    /// Who registered it.
    pub registrar: MspId,
    /// The transaction that registered it.
    pub registered_tx_id: String,
    /// SHA-256 of the sealed object.
    pub object_sha256: Digest,
    /// The transaction that purged keys and metadata.
    pub erased_tx_id: String,
    /// The transaction that purged what was left; absent while organisations still have to remove
    /// the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_tx_id: Option<String>,
    /// Organisations that removed the object, in the order of their names.
    #[serde(default)]
    pub removals: Vec<Removal>,
    /// Organisations with an oracle that had not confirmed when an administrator ended the
    /// erasure; what they hold opens with no key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<MspId>,
}

/// A page of records under erasure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasingPage {
    /// The records.
    pub records: Vec<ErasingRecord>,
    /// Present if there may be more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<PageToken>,
}

#[cfg(test)]
mod tests;
