//! Evidence: everything that shows a record to be the registered one, in one JSON document that
//! can be checked offline, without asking whoever made it.
//!
//! | member | content |
//! |---|---|
//! | `format` | [`FORMAT`] |
//! | `channel`, `chaincode` | where the record is registered |
//! | `record` | public state and private half, with the salt of the commitment |
//! | `registration` | the block (`common.Block`) that holds the transaction `record.state.tx_id`, whole: it names nobody, other transactions in it are hashes and IDs too |
//! | `definition` | the block in which the chaincode's definition was committed that was in force then; its place is what the registration read under `_lifecycle` |
//! | `configurations` | the configuration blocks in force at `registration`, at `definition` and at the last header, each once, in order |
//! | `headers` | headers without gap from `registration`, or from block 0 if they are few enough, to the newest, at most [`HEADERS_MAX`] |
//! | `tip_signatures` | the orderers' signatures over the last header (`common.Metadata`) |
//! | `device` | the registered certificate of the device that measured |
//!
//! Blocks and signatures are standard Base64 with padding, hashes are lower-case hex.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::Digest;
use crate::ids::{DeviceId, MspId, ReadId, RecordId};
use crate::record::Record;

/// Value of [`Evidence::format`].
pub const FORMAT: &str = "salus-evidence/1";
/// Value of [`ReadingProof::format`].
pub const PROOF_FORMAT: &str = "salus-reading-proof/1";
/// Media type of [`Evidence`].
pub const MEDIA_TYPE: &str = "application/vnd.salus.evidence+json";
/// Headers in one document.
pub const HEADERS_MAX: usize = 4096;
/// Bytes of one block in a document.
pub const BLOCK_BYTES_MAX: usize = 16 << 20;
/// Configuration blocks in one document: those of three other blocks.
pub const CONFIGURATIONS_MAX: usize = 3;
/// Bytes of a document as JSON: five blocks in Base64, the headers, and the rest.
pub const EVIDENCE_BYTES_MAX: usize = 112 << 20;
/// Hashes in the proof for one reading: a tree of 2^32 leaves has no longer path.
pub const PATH_HASHES_MAX: usize = 32;

/// Key of a record's public state, in the chaincode's namespace: a composite key.
#[must_use]
pub fn public_record_key(id: &RecordId) -> String {
    format!("\0record\0{id}\0")
}

/// Bytes, written in standard Base64.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Base64(pub Vec<u8>);

impl std::fmt::Debug for Base64 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Base64({} bytes)", self.0.len())
    }
}

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text.as_bytes());
        bytes.map(Self).map_err(serde::de::Error::custom)
    }
}

/// A block's header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainHeader {
    /// The block's number.
    pub number: u64,
    /// Hash of the header before; absent in block 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_hash: Option<Digest>,
    /// Hash of the block's envelopes.
    pub data_hash: Digest,
}

/// A device as it is registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceEvidence {
    /// The device.
    pub device_id: DeviceId,
    /// The organisation that registered it.
    pub msp_id: MspId,
    /// SHA-256 of its certificate's DER.
    pub thumbprint: Digest,
}

/// What shows that a record is the registered one; see the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// [`FORMAT`].
    pub format: String,
    /// The channel.
    pub channel: String,
    /// The chaincode's name on it.
    pub chaincode: String,
    /// Both halves of the record.
    pub record: Record,
    /// The block of the registration.
    pub registration: Base64,
    /// The block of the chaincode's definition; absent if the registration does not tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<Base64>,
    /// Configuration blocks, at most [`CONFIGURATIONS_MAX`].
    pub configurations: Vec<Base64>,
    /// Headers without gap.
    pub headers: Vec<ChainHeader>,
    /// The orderers' signatures over the last header.
    pub tip_signatures: Base64,
    /// The device that measured, if there was one and it is known here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceEvidence>,
}

/// Shows one reading of a record without the others.
///
/// The tree is that of RFC 6962 with SHA-256: a leaf's hash is `SHA-256(0x00 ‖ item)`, a node's
/// `SHA-256(0x01 ‖ left ‖ right)`, and the left subtree of `n` leaves holds the largest power of
/// two below `n`. `path` is the audit path of section 2.1.1: 32 bytes for each sibling, from the
/// leaf's to the root's child, one after the other. The number of leaves is
/// `evidence.record.metadata.readings`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadingProof {
    /// [`PROOF_FORMAT`].
    pub format: String,
    /// The reading's place among the record's, from 0.
    pub index: u64,
    /// The reading as an item of [`crate::segment`], byte by byte: the leaf.
    pub item: Base64,
    /// The audit path, at most [`PATH_HASHES_MAX`] hashes of 32 bytes.
    pub path: Base64,
    /// What shows the record with the tree's root to be registered.
    pub evidence: Evidence,
}

/// Reads in a stretch of blocks, compared with those that are recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditCompleteness {
    /// The first block looked at.
    pub from_block: u64,
    /// Hash that its header has of the block before; absent in block 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_hash: Option<Digest>,
    /// The last block looked at.
    pub to_block: u64,
    /// Hash of the last block's header: who keeps it can tell later that nothing was changed.
    pub to_block_hash: Digest,
    /// Whether the numbers have no gap and each header carries the hash of the one before.
    pub chain_holds: bool,
    /// Whether each block's envelopes have the hash in its header.
    pub data_holds: bool,
    /// Valid `AuthorizeRead` transactions in these blocks.
    pub decided: u64,
    /// Of these, decisions that are recorded.
    pub recorded: u64,
    /// Decisions in the blocks of which no entry is kept, at most [`AUDIT_FINDINGS_MAX`].
    pub missing: Vec<ReadId>,
    /// Entries that say they were decided in these blocks and are not, at most
    /// [`AUDIT_FINDINGS_MAX`].
    pub unfounded: Vec<ReadId>,
    /// Whether nothing was found amiss.
    pub complete: bool,
}

/// Findings of one kind that are listed.
pub const AUDIT_FINDINGS_MAX: usize = 1000;
/// Blocks looked at in one answer.
pub const AUDIT_BLOCKS_MAX: u64 = 2000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_padded_base64_and_nothing_else() {
        let bytes = Base64(vec![0xfb, 0xff]);
        assert_eq!(serde_json::to_string(&bytes).unwrap(), r#""+/8=""#);
        assert_eq!(serde_json::from_str::<Base64>(r#""+\/8=""#).unwrap(), bytes);
        for bad in [r#""+/8""#, r#""-_8=""#, r#""+/9=""#, "[1]", "null"] {
            assert!(serde_json::from_str::<Base64>(bad).is_err(), "{bad}");
        }
    }
}
