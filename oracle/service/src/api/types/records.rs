//! Which records there are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::scalars::{Confidentiality, Hash, Id, Name, PageToken, RecordStatus, Time};

/// The public half of a record.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordState {
    /// SHA-256 of the sealed object.
    object_sha256: Hash,
    /// Commitment to the metadata.
    commitment: Hash,
    msp_id: Name,
    tx_id: Hash,
    version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<Id>,
    status: RecordStatus,
}

/// The period that a record's readings cover, both ends included.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Period {
    start: Time,
    end: Time,
}

/// Where readings come from; one member is present.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Source {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device_id: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    participant_id: Option<Id>,
}

/// What a device signed of a large object: a JWS with detached content, over the canonical JSON of the other
/// members.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignedManifest {
    /// Media type of the content, as the device has it.
    content_type: String,
    /// Bytes of the content.
    size: u64,
    /// SHA-256 of the content, hex digits of either case.
    sha256: String,
    /// Bytes of the pieces in which it was sent.
    chunk_size: u32,
    /// The device's sequence number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    /// LOINC code or category.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    r#type: Option<Name>,
    /// RFC 3339 time of the measurement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    /// Compact JWS whose middle part is empty.
    sig: String,
}

/// The private half of a record.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordMetadata {
    record_id: Id,
    patient: Id,
    /// LOINC code or category.
    r#type: Name,
    period: Period,
    readings: u32,
    source: Source,
    /// The organisation that registers the record.
    registrar: Name,
    /// The encounter, care plan or episode of care.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    context: Option<Name>,
    confidentiality: Confidentiality,
    /// Codes of HL7 v3 InformationSensitivityPolicy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sensitivity: Vec<Name>,
    /// Of a participant's record: the signed `SubmitRecord`, compact JWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    submission: Option<String>,
    /// Of a device's large object: the manifest that the device signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    manifest: Option<SignedManifest>,
    /// What the oracle found odd about a device's readings, by the mark's name: of how many readings.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    marks: BTreeMap<String, u32>,
    /// Media type of the opened object.
    content_type: String,
    cid: String,
    /// Bytes of the sealed object.
    size: u64,
    /// Bytes of the opened object.
    plaintext_size: u64,
    /// RFC 6962 root over the readings' items.
    merkle_root: Hash,
    /// Salt of the commitment.
    salt: Hash,
}

/// Both halves of a record.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    state: RecordState,
    metadata: RecordMetadata,
}

/// A page of records; it may be short, even empty, and yet have a next one.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordPage {
    records: Vec<Record>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next_page_token: Option<PageToken>,
}

/// A record's ID and public half.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordVersion {
    record_id: Id,
    state: RecordState,
}

/// The versions of a record.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VersionPage {
    records: Vec<RecordVersion>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next_page_token: Option<PageToken>,
}
