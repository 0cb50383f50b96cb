//! What was opened, and the sealed object it came from. Both stay with their reader: the bundle
//! holds neither.

use std::io::{self, Read};

use contract_interface::segment::{self, SegmentItem};
use contract_interface::{Record, SignedManifest, Source};
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use fabric_msp::Certificate;
use fabric_msp::block::{Block, ChannelConfig};
use rust_unixfs::file::adder::{Chunker, FileAdder};
use sha2::{Digest as _, Sha256};

use super::device;
use super::report::{Check, Report};
use contract_interface::evidence::Evidence;

/// Largest content that is taken into memory to be split into readings, bytes.
pub const CONTENT_BYTES_MAX: u64 = crate::opening::MEMORY_BYTES_MAX;

/// Bytes of one leaf of an object in IPFS.
const CHUNK_BYTES: usize = 256 << 10;
/// Bytes read at a time.
const BUFFER_BYTES: usize = 64 << 10;
/// Why a certificate is not taken for the device's.
const NOT_THE_DEVICES: &str = "its certificate is neither registered nor of the registrar";
/// First byte of what a leaf's hash is over (RFC 6962).
const LEAF: [u8; 1] = [0];

/// The readings of a segment, each with its bytes, which are a leaf of the record's tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readings {
    /// The readings with their encodings, in order.
    pub items: Vec<(SegmentItem, Vec<u8>)>,
}

impl Readings {
    /// Splits the content of a record.
    ///
    /// # Errors
    /// If it is no segment.
    pub fn split(content: &[u8]) -> Result<Self, segment::SegmentError> {
        let items = segment::decode(content);
        let items = items.map(|item| item.map(|item| (item.item, item.bytes.to_vec())));
        Ok(Self {
            items: items.collect::<Result<_, _>>()?,
        })
    }

    /// The tree over the readings (RFC 6962).
    pub(super) fn tree(&self) -> MemoryBackedTree<Sha256, Vec<u8>> {
        let mut tree = MemoryBackedTree::new();
        for (_, bytes) in &self.items {
            tree.push(bytes.clone());
        }
        tree
    }
}

/// Compares a sealed object with the registered one: SHA-256, size and CID.
///
/// # Errors
/// When it cannot be read.
pub fn verify_object(record: &Record, mut object: impl Read) -> io::Result<Report> {
    let mut report = Report::default();
    let mut hash = Sha256::new();
    let mut size = 0_u64;
    let mut adder = FileAdder::builder()
        .with_chunker(Chunker::Size(CHUNK_BYTES))
        .with_cid_version(cid::Version::V1)
        .with_raw_leaves(true)
        .build();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = object.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
        size += count as u64;
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            let (blocks, consumed) = adder.push(rest);
            blocks.for_each(drop);
            rest = &rest[consumed..];
        }
    }
    let found = contract_interface::Digest::from_bytes(hash.finalize().into());
    let expected = record.state.object_sha256;
    if found == expected && size == record.metadata.size {
        report.passed(Check::Object, format!("{size} bytes with SHA-256 {found}"));
    } else {
        report.failed_with(
            Check::Object,
            format!("{size} bytes with SHA-256 {found}, registered are {expected}"),
        );
    }
    match adder.finish().last() {
        Some((cid, _)) if cid.to_string() == record.metadata.cid => {
            report.passed(Check::Cid, cid.to_string());
        }
        Some((cid, _)) => report.failed_with(
            Check::Cid,
            format!(
                "the object's CID is {cid}, registered is {}",
                record.metadata.cid
            ),
        ),
        None => report.failed_with(Check::Cid, "the object has no CID"),
    }
    Ok(report)
}

/// Compares opened content with what is registered: size, readings, Merkle root, and the
/// signatures of readings that their device signed.
///
/// # Errors
/// When it cannot be read.
pub fn verify_content(evidence: &Evidence, mut content: impl Read) -> io::Result<Report> {
    let metadata = &evidence.record.metadata;
    let mut report = Report::default();
    if metadata.content_type != segment::MEDIA_TYPE {
        return verify_single(evidence, content);
    }
    if metadata.plaintext_size > CONTENT_BYTES_MAX {
        report.failed_with(
            Check::Content,
            "the content is too large to be checked here",
        );
        return Ok(report);
    }
    let mut bytes = Vec::new();
    let limit = metadata.plaintext_size.saturating_add(1);
    content.by_ref().take(limit).read_to_end(&mut bytes)?;
    let readings = match Readings::split(&bytes) {
        _ if bytes.len() as u64 != metadata.plaintext_size => {
            report.failed_with(
                Check::Content,
                "the content has another size than registered",
            );
            return Ok(report);
        }
        Ok(readings) if readings.items.len() as u64 == u64::from(metadata.readings) => readings,
        Ok(readings) => {
            let count = readings.items.len();
            report.failed_with(
                Check::Content,
                format!("{count} readings, registered are {}", metadata.readings),
            );
            return Ok(report);
        }
        Err(error) => {
            report.failed_with(Check::Content, error);
            return Ok(report);
        }
    };
    report.passed(
        Check::Content,
        format!("{} bytes, {} readings", bytes.len(), metadata.readings),
    );
    if readings.tree().root().as_bytes().as_slice() == metadata.merkle_root.as_bytes() {
        report.passed(Check::Merkle, format!("root {}", metadata.merkle_root));
    } else {
        report.failed_with(
            Check::Merkle,
            "the readings have another root than registered",
        );
    }
    let items = readings.items.iter().map(|(item, _)| item);
    verify_signatures(evidence, items, &mut report);
    Ok(report)
}

/// Content that is no segment. The tree of what a participant submitted has the content as its one
/// leaf; of a device's message, the leaf also holds time and sequence number of its arrival, which
/// the content does not have, and the object's hash alone binds it, or a manifest that the device signed.
fn verify_single(evidence: &Evidence, mut content: impl Read) -> io::Result<Report> {
    let metadata = &evidence.record.metadata;
    let mut report = Report::default();
    let mut leaf = Sha256::new_with_prefix(LEAF);
    let mut hash = Sha256::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut size = 0_u64;
    loop {
        let count = content.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        leaf.update(&buffer[..count]);
        hash.update(&buffer[..count]);
        size += count as u64;
    }
    if size == metadata.plaintext_size {
        report.passed(Check::Content, format!("{size} bytes"));
    } else {
        report.failed_with(
            Check::Content,
            "the content has another size than registered",
        );
    }
    match &metadata.source {
        Source::ParticipantId(_)
            if leaf.finalize().as_slice() == metadata.merkle_root.as_bytes() =>
        {
            report.passed(Check::Merkle, format!("root {}", metadata.merkle_root));
        }
        Source::ParticipantId(_) => {
            report.failed_with(
                Check::Merkle,
                "the content has another root than registered",
            );
        }
        Source::DeviceId(_) => report.skipped(
            Check::Merkle,
            "a single message: the sealed object's SHA-256 binds it",
        ),
    }
    if let Some(manifest) = &metadata.manifest {
        let found = contract_interface::Digest::from_bytes(hash.finalize().into());
        match signed_manifest(evidence, manifest) {
            Err(problem) => report.failed_with(Check::Device, problem),
            Ok(_) if manifest.describes(size, &found) => report.passed(
                Check::Device,
                format!("the content has the SHA-256 that its device signed, {found}"),
            ),
            Ok(_) => report.failed_with(
                Check::Device,
                format!("the content has SHA-256 {found}, its device signed another"),
            ),
        }
    }
    Ok(report)
}

/// The certificate with which the record's device signed a manifest, if it had that.
pub(super) fn signed_manifest(
    evidence: &Evidence,
    manifest: &SignedManifest,
) -> Result<Certificate, String> {
    let Source::DeviceId(device) = &evidence.record.metadata.source else {
        return Err("the record is no device's".to_owned());
    };
    let certificate = device::manifest_signer(manifest, device);
    let certificate = certificate.map_err(|error| error.to_string())?;
    match device_had(evidence, &certificate) {
        true => Ok(certificate),
        false => Err(NOT_THE_DEVICES.to_owned()),
    }
}

/// Checks the signatures of signed readings.
pub(super) fn verify_signatures<'a>(
    evidence: &Evidence,
    items: impl Iterator<Item = &'a SegmentItem>,
    report: &mut Report,
) {
    let (mut signed, mut all) = (0, 0);
    for (index, item) in items.enumerate() {
        all += 1;
        let problem = match device::signer(item) {
            Ok(None) => continue,
            Ok(Some(certificate)) => match device_had(evidence, &certificate) {
                true => None,
                false => Some(NOT_THE_DEVICES.to_owned()),
            },
            Err(error) => Some(error.to_string()),
        };
        signed += 1;
        if let Some(problem) = problem {
            report.failed_with(Check::Device, format!("reading {index}: {problem}"));
            return;
        }
    }
    match signed {
        0 => report.skipped(Check::Device, "no reading is signed by its device"),
        _ => report.passed(
            Check::Device,
            format!("{signed} of {all} readings are signed by their device"),
        ),
    }
}

/// Whether a certificate is the device's: the registered one, or, since certificates are renewed,
/// one that the organisation which registered the record certified under the device's name.
fn device_had(evidence: &Evidence, certificate: &Certificate) -> bool {
    let registered = evidence.device.as_ref();
    if registered.is_some_and(|device| *device.thumbprint.as_bytes() == certificate.thumbprint()) {
        return true;
    }
    let Ok(registrar) = evidence.record.state.msp_id.as_str().parse() else {
        return false;
    };
    let configs = evidence.configurations.iter().filter_map(|bytes| {
        let block = Block::decode(&bytes.0).ok()?;
        ChannelConfig::from_block(&block).ok()
    });
    let mut msps = configs.filter_map(|config| config.msps().msp(&registrar).cloned());
    msps.any(|msp| msp.issued(certificate))
}
