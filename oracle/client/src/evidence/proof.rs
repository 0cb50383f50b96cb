//! One reading, shown without the others.

use contract_interface::evidence::{Base64, Evidence, PATH_HASHES_MAX, PROOF_FORMAT, ReadingProof};
use contract_interface::segment::{self, SegmentItem};
use ct_merkle::{InclusionProof, RootHash};
use sha2::Sha256;

use super::anchors::Anchors;
use super::content::{Readings, verify_signatures};
use super::report::{Check, Report};
use super::steps::{Expected, verify as verify_evidence};

/// A proof that cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The content is no segment.
    #[error("the record holds no readings that could be shown one by one")]
    NotReadings,
    /// The content is not the registered one.
    #[error("the content is not the registered one")]
    OtherContent,
    /// There is no such reading.
    #[error("the record has readings 0 to {last}")]
    NoReading {
        /// The last reading's place.
        last: u64,
    },
}

/// Makes a proof for the reading at `index` of the opened content of a record.
///
/// # Errors
/// [`ProofError`].
pub fn prove(evidence: Evidence, content: &[u8], index: u64) -> Result<ReadingProof, ProofError> {
    let metadata = &evidence.record.metadata;
    if metadata.content_type != segment::MEDIA_TYPE {
        return Err(ProofError::NotReadings);
    }
    let readings = Readings::split(content).map_err(|_| ProofError::NotReadings)?;
    let tree = readings.tree();
    if tree.root().as_bytes().as_slice() != metadata.merkle_root.as_bytes() {
        return Err(ProofError::OtherContent);
    }
    let missing = || ProofError::NoReading {
        last: tree.len().saturating_sub(1),
    };
    let place = usize::try_from(index).map_err(|_| missing())?;
    let (_, item) = readings.items.get(place).ok_or_else(missing)?;
    Ok(ReadingProof {
        format: PROOF_FORMAT.to_owned(),
        index,
        item: Base64(item.clone()),
        path: Base64(tree.prove_inclusion(place).as_bytes().to_vec()),
        evidence,
    })
}

/// Checks a proof, with the evidence in it, and gives the reading if it is the registered one's.
#[must_use]
pub fn verify(
    proof: &ReadingProof,
    expected: &Expected<'_>,
    anchors: &Anchors,
) -> (Report, Option<SegmentItem>) {
    let mut report = verify_evidence(&proof.evidence, expected, anchors);
    let found = report.judge(Check::Inclusion, inclusion(proof));
    if let Some(item) = &found {
        verify_signatures(&proof.evidence, std::iter::once(item), &mut report);
    }
    let item = found.filter(|_| report.holds());
    (report, item)
}

fn inclusion(proof: &ReadingProof) -> Result<(SegmentItem, String), String> {
    let metadata = &proof.evidence.record.metadata;
    if proof.format != PROOF_FORMAT {
        return Err(format!("the proof is not of the format {PROOF_FORMAT}"));
    }
    if metadata.content_type != segment::MEDIA_TYPE {
        return Err("the record holds no readings".to_owned());
    }
    if proof.path.0.len() > PATH_HASHES_MAX * 32 {
        return Err("the path is too long".to_owned());
    }
    let item = match &segment::decode(&proof.item.0).collect::<Result<Vec<_>, _>>() {
        Ok(items) if items.len() == 1 => items[0].item.clone(),
        _ => return Err("the item is not the encoding of one reading".to_owned()),
    };
    let root = RootHash::<Sha256>::new(
        (*metadata.merkle_root.as_bytes()).into(),
        metadata.readings.into(),
    );
    let path = InclusionProof::try_from_bytes(proof.path.0.clone());
    path.and_then(|path| root.verify_inclusion(&proof.item.0, proof.index, &path))
        .map_err(|_| "the reading is not at its place in the tree".to_owned())?;
    let found = format!(
        "reading {} of {} by {}",
        proof.index, metadata.readings, item.device_id
    );
    Ok((item, found))
}
