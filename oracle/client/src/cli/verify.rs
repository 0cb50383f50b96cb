//! `salus verify` and `salus records prove`.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use contract_interface::evidence::{EVIDENCE_BYTES_MAX, Evidence, ReadingProof};
use contract_interface::{AuthorizeRead, ProjectCode, Purpose, Record, RecordId, segment};
use salus::evidence::{Anchor, Anchors, Check, Expected, Outcome, Report, content, proof, verify};
use salus::{Client, ClientError, Profile, SealedRecord};
use sealed_object::{AssociatedData, Opener};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::args::{RecordsProve, VerifyArgs};
use crate::output::Output;
use crate::records::create_private;

/// What was checked does not hold.
#[derive(Debug, thiserror::Error)]
#[error("not verified: {}", names(failed))]
pub(crate) struct NotVerified {
    failed: Vec<Check>,
}

fn names(failed: &[Check]) -> String {
    let names: Vec<&str> = failed.iter().map(|check| check.name()).collect();
    names.join(", ")
}

/// `salus verify`: `profile` is needed to ask an oracle, and gives the anchor if none is named.
pub(crate) async fn verify_record(
    profile: Option<&Profile>,
    args: &VerifyArgs,
    out: Output,
) -> Result<()> {
    let anchors = anchors(profile, &args.anchors)?;
    let expected = Expected {
        record_id: args.record,
        channel: profile.map(|profile| profile.channel.as_str()),
        chaincode: &args.chaincode,
    };
    if let Some(file) = &args.proof {
        let proof: ReadingProof = load(file)?;
        let (report, item) = proof::verify(&proof, &expected, &anchors);
        let payload = item.map(|item| {
            json!({
                "device_id": item.device_id,
                "seq": item.seq,
                "received_ms": item.received_ms,
                "content_type": item.content_type,
                "payload": String::from_utf8_lossy(&item.payload),
            })
        });
        return conclude(&anchors, &report, payload, out);
    }
    let (evidence, sealed) = match (&args.bundle, args.record, profile) {
        (Some(file), _, _) => (load(file)?, None),
        (None, Some(id), Some(profile)) => ask(profile, &id, args).await?,
        _ => anyhow::bail!("asking an oracle needs a profile: --profile FILE or SALUS_PROFILE"),
    };
    if let Some(file) = &args.save {
        save(file, &evidence)?;
    }
    let mut report = verify(&evidence, &expected, &anchors);
    let open = |path: &Path| {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()));
        file.map(BufReader::new)
    };
    if let Some(path) = &args.sealed {
        report.extend(content::verify_object(&evidence.record, open(path)?)?);
    }
    if let Some(path) = &args.content {
        report.extend(content::verify_content(&evidence, open(path)?)?);
    }
    if let Some((client, sealed)) = sealed {
        let (mut object, mut opened) = receive(&client, sealed, &evidence.record).await?;
        report.extend(content::verify_object(&evidence.record, &mut object)?);
        report.extend(content::verify_content(&evidence, &mut opened)?);
    }
    conclude(&anchors, &report, None, out)
}

async fn ask(
    profile: &Profile,
    id: &RecordId,
    args: &VerifyArgs,
) -> Result<(Evidence, Option<(Client, SealedRecord)>)> {
    let client = Client::new(profile)?;
    let evidence = client.evidence(id).await?;
    let sealed = match args.purpose.filter(|_| args.read) {
        Some(purpose) => {
            let sealed = client.request_read(read_of(id, purpose, args.project.as_ref()));
            Some((client.clone(), sealed.await?))
        }
        None => None,
    };
    Ok((evidence, sealed))
}

fn read_of(id: &RecordId, purpose: Purpose, project: Option<&ProjectCode>) -> AuthorizeRead {
    AuthorizeRead {
        record_id: *id,
        purpose,
        project: project.cloned(),
    }
}

/// Takes a released object in and opens it, into two files without a name.
async fn receive(
    client: &Client,
    mut sealed: SealedRecord,
    record: &Record,
) -> Result<(File, File)> {
    let mut object = tempfile::tempfile()?;
    sealed.receive_into(&mut object).await?;
    object.seek(SeekFrom::Start(0))?;
    let unopened = |problem: String| ClientError::Key { problem };
    let key = client.key_for(&sealed.wrapped_key)?;
    let data_key = key.unwrap(&sealed.wrapped_key);
    let data_key = data_key.map_err(|error| unopened(error.to_string()))?;
    let bound = AssociatedData {
        record_id: *record.metadata.record_id.as_bytes(),
        commitment: *record.state.commitment.as_bytes(),
    };
    let mut opened = tempfile::tempfile()?;
    {
        let opener = Opener::new(BufReader::new(&object), &data_key, &bound);
        let mut opener = opener.map_err(|error| unopened(error.to_string()))?;
        opener.write_to(&mut opened)?;
    }
    object.seek(SeekFrom::Start(0))?;
    opened.seek(SeekFrom::Start(0))?;
    Ok((object, opened))
}

/// `salus records prove`.
pub(crate) async fn prove(client: &Client, args: &RecordsProve, out: Output) -> Result<()> {
    let evidence = client.evidence(&args.record).await?;
    let mut bytes = Vec::new();
    match (&args.content, args.purpose) {
        (Some(file), _) => {
            let file =
                File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
            file.take(content::CONTENT_BYTES_MAX)
                .read_to_end(&mut bytes)?;
        }
        (None, Some(purpose)) => {
            if evidence.record.metadata.content_type != segment::MEDIA_TYPE {
                return Err(proof::ProofError::NotReadings.into());
            }
            let read = read_of(&args.record, purpose, args.project.as_ref());
            let sealed = client.request_read(read).await?;
            let (_, mut opened) = receive(client, sealed, &evidence.record).await?;
            opened.read_to_end(&mut bytes)?;
        }
        (None, None) => anyhow::bail!("name the content, or why you read the record"),
    }
    let proof = proof::prove(evidence, &bytes, args.reading)?;
    save(&args.out, &proof)?;
    out.result(
        &json!({ "file": args.out, "record_id": args.record, "reading": args.reading }),
        &format!(
            "{}: proof of reading {} of record {}",
            args.out.display(),
            args.reading,
            args.record
        ),
    )?;
    Ok(())
}

/// What the user names, or the own organisation.
fn anchors(profile: Option<&Profile>, named: &[String]) -> Result<Anchors> {
    let mut anchors = Vec::new();
    for text in named {
        anchors.push(Anchor::read(text)?);
    }
    if let (true, Some(profile)) = (named.is_empty(), profile) {
        let own = Anchor::organization(profile.msp_id.parse()?, &profile.msp_dir);
        anchors.push(own.context("your own organisation's CA")?);
    }
    Ok(Anchors::new(anchors))
}

fn conclude(
    anchors: &Anchors,
    report: &Report,
    reading: Option<serde_json::Value>,
    out: Output,
) -> Result<()> {
    let trusted: Vec<String> = anchors.all().iter().map(ToString::to_string).collect();
    let mut lines = Vec::new();
    for anchor in &trusted {
        lines.push(format!("trusted      {anchor}"));
    }
    for finding in &report.findings {
        let outcome = match finding.outcome {
            Outcome::Passed => "ok",
            Outcome::Failed => "FAILED",
            Outcome::Skipped => "-",
        };
        let check = finding.check.name();
        lines.push(format!("{outcome:<7}{check:<14} {}", finding.detail));
    }
    if let Some(reading) = &reading {
        lines.push(reading.to_string());
    }
    let verdict = report.holds();
    lines.push(if verdict { "verified" } else { "NOT VERIFIED" }.to_owned());
    out.result(
        &json!({
            "verified": verdict,
            "trusted": trusted,
            "checks": report.findings,
            "reading": reading,
        }),
        &lines.join("\n"),
    )?;
    match verdict {
        true => Ok(()),
        false => Err(NotVerified {
            failed: report.failed(),
        }
        .into()),
    }
}

fn load<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut bytes = Vec::new();
    file.take(EVIDENCE_BYTES_MAX as u64)
        .read_to_end(&mut bytes)?;
    serde_json::from_slice(&bytes).with_context(|| format!("{} is malformed", path.display()))
}

/// Writes a file that only its owner may read: evidence holds metadata and its salt.
fn save(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    let partial = path.with_extension("partial");
    let file = create_private(&partial);
    let mut file =
        BufWriter::new(file.with_context(|| format!("cannot write {}", partial.display()))?);
    serde_json::to_writer(&mut file, value)?;
    file.flush()?;
    file.into_inner()?.sync_all()?;
    fs::rename(&partial, path)?;
    Ok(())
}
