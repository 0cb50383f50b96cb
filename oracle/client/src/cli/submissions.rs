//! `salus records submit` and `amend`.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use contract_interface::{
    Digest, Period, Pseudonym, Record, RecordId, RecordStatus, SubmitRecord, UtcTime,
};
use salus::{Client, Submission, signing};
use serde_json::json;

use crate::{
    args::{Described, RecordsAmend, RecordsSubmit},
    output::Output,
};

/// Largest content, bytes: it is sent from memory.
const CONTENT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Media types by the ends of files' names; `--content-type` names any other.
const MEDIA_TYPES: [(&str, &str); 10] = [
    ("json", "application/fhir+json"),
    ("xml", "application/fhir+xml"),
    ("pdf", "application/pdf"),
    ("txt", "text/plain"),
    ("csv", "text/csv"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("dcm", "application/dicom"),
    ("edf", "application/x-edf"),
];

pub(crate) async fn submit(client: &Client, args: &RecordsSubmit, out: Output) -> Result<()> {
    let content = content(&args.file)?;
    let described = &args.described;
    let record_type = described
        .record_type
        .clone()
        .context("no type: say what it holds with --type, such as a LOINC code")?;
    let start = match described.start {
        Some(time) => time,
        None => signing::now()?,
    };
    let statement = SubmitRecord {
        patient: args.patient,
        record_type,
        period: period(start, described.end.unwrap_or(start))?,
        content_type: match &described.content_type {
            Some(content_type) => content_type.clone(),
            None => media_type(&args.file)?,
        },
        content_sha256: Digest::of(&content),
        context: described.context.clone(),
        confidentiality: described.confidentiality.unwrap_or_default(),
        sensitivity: described.sensitivity.clone(),
        previous: None,
    };
    send(client, statement, content, out).await
}

pub(crate) async fn amend(client: &Client, args: &RecordsAmend, out: Output) -> Result<()> {
    let content = content(&args.file)?;
    let before = client.record(&args.record).await?;
    ensure!(
        before.state.status == RecordStatus::Active,
        "record {} is not the current version: salus records versions --record {0}",
        args.record
    );
    let statement = amendment(&before, &args.described, Digest::of(&content))?;
    send(client, statement, content, out).await
}

/// What is said of the new version: what the arguments say, else what was said of the one before.
fn amendment(before: &Record, described: &Described, content: Digest) -> Result<SubmitRecord> {
    let metadata = &before.metadata;
    let start = described.start.unwrap_or(metadata.period.start);
    let end = match (described.end, described.start) {
        (Some(end), _) => end,
        (None, Some(start)) => start,
        (None, None) => metadata.period.end,
    };
    let or_before = |said: &[_], before: &[_]| if said.is_empty() { before } else { said }.to_vec();
    Ok(SubmitRecord {
        patient: metadata.patient,
        record_type: described
            .record_type
            .clone()
            .unwrap_or_else(|| metadata.record_type.clone()),
        period: period(start, end)?,
        content_type: described
            .content_type
            .clone()
            .unwrap_or_else(|| metadata.content_type.clone()),
        content_sha256: content,
        context: described
            .context
            .clone()
            .or_else(|| metadata.context.clone()),
        confidentiality: described
            .confidentiality
            .unwrap_or(metadata.confidentiality),
        sensitivity: or_before(&described.sensitivity, &metadata.sensitivity),
        previous: Some(metadata.record_id),
    })
}

async fn send(client: &Client, statement: SubmitRecord, content: Bytes, out: Output) -> Result<()> {
    let (patient, previous): (Pseudonym, Option<RecordId>) =
        (statement.patient, statement.previous);
    let submitted = client
        .submit_record(Submission { statement, content })
        .await?;
    let done = match previous {
        Some(previous) => format!("takes the place of {previous}"),
        None => format!("submitted for patient {patient}"),
    };
    out.result(
        &json!({
            "record_id": submitted.record_id,
            "previous": previous,
            "transaction_id": submitted.transaction_id,
            "block_number": submitted.block_number,
        }),
        &format!(
            "record {} {done}, transaction {} in block {}",
            submitted.record_id, submitted.transaction_id, submitted.block_number
        ),
    )?;
    Ok(())
}

fn content(file: &Path) -> Result<Bytes> {
    let cannot = || format!("cannot read {}", file.display());
    let size = fs::metadata(file).with_context(cannot)?.len();
    ensure!(size > 0, "{} is empty", file.display());
    ensure!(
        size <= CONTENT_BYTES_MAX,
        "{} is larger than {} MiB",
        file.display(),
        CONTENT_BYTES_MAX >> 20
    );
    Ok(fs::read(file).with_context(cannot)?.into())
}

fn period(start: UtcTime, end: UtcTime) -> Result<Period> {
    ensure!(start <= end, "the end {end} lies before the start {start}");
    Ok(Period { start, end })
}

fn media_type(file: &Path) -> Result<String> {
    let end = file
        .extension()
        .and_then(|end| end.to_str())
        .unwrap_or_default()
        .to_ascii_lowercase();
    MEDIA_TYPES
        .iter()
        .find(|(known, _)| *known == end)
        .map(|(_, media_type)| (*media_type).to_owned())
        .with_context(|| {
            format!(
                "the name of {} does not tell what it is: say it with --content-type",
                file.display()
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn before() -> Record {
        serde_json::from_value(json!({
            "state": {
                "object_sha256": "00".repeat(32),
                "commitment": "00".repeat(32),
                "msp_id": "Org1MSP",
                "tx_id": "00".repeat(32),
                "version": 1,
                "status": "active",
            },
            "metadata": {
                "record_id": "01".repeat(16),
                "patient": "02".repeat(16),
                "type": "11502-2",
                "period": { "start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z" },
                "readings": 1,
                "source": { "participant_id": "03".repeat(16) },
                "registrar": "Org1MSP",
                "context": "enc-1",
                "confidentiality": "R",
                "sensitivity": ["PSY"],
                "content_type": "application/pdf",
                "cid": "b",
                "size": 1,
                "plaintext_size": 1,
                "merkle_root": "00".repeat(32),
                "salt": format!("01{}", "00".repeat(31)),
            },
        }))
        .unwrap()
    }

    #[test]
    fn an_amendment_keeps_what_is_not_said() {
        let nothing = Described {
            record_type: None,
            start: None,
            end: None,
            content_type: None,
            context: None,
            confidentiality: None,
            sensitivity: vec![],
        };
        let content = Digest::of(b"new");
        let kept = amendment(&before(), &nothing, content).unwrap();
        let metadata = before().metadata;
        assert_eq!(kept.patient, metadata.patient);
        assert_eq!(kept.record_type, metadata.record_type);
        assert_eq!(kept.period, metadata.period);
        assert_eq!(kept.context, metadata.context);
        assert_eq!(kept.confidentiality, metadata.confidentiality);
        assert_eq!(kept.sensitivity, metadata.sensitivity);
        assert_eq!(kept.content_sha256, content);
        assert_eq!(kept.previous, Some(metadata.record_id));

        let moved = Described {
            start: Some("2026-02-01T00:00:00Z".parse().unwrap()),
            sensitivity: vec!["HIV".parse().unwrap()],
            ..nothing
        };
        let moved = amendment(&before(), &moved, content).unwrap();
        assert_eq!(moved.period.end, moved.period.start);
        assert_eq!(moved.sensitivity, ["HIV".parse().unwrap()]);
    }

    #[test]
    fn names_tell_media_types_or_are_asked_about() {
        assert_eq!(media_type(Path::new("a.PDF")).unwrap(), "application/pdf");
        for unknown in ["a", "a.b", ".pdf"] {
            let error = media_type(Path::new(unknown)).unwrap_err();
            assert!(error.to_string().contains("--content-type"), "{unknown}");
        }
    }
}
