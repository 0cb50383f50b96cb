//! `salus records`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, IsTerminal as _, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use contract_interface::{
    AuthorizeRead, Decision, PageRequest, Pseudonym, Record, RecordFilter, RecordId, Role, segment,
};
use salus::{AccessExplained, Client, Profile, signing};
use serde_json::json;

use crate::{
    args::{RecordsExplain, RecordsList, RecordsRead, RecordsSignRead},
    output::Output,
    terminal, wording,
};

/// Readable by its owner only.
const PRIVATE_MODE: u32 = 0o600;

/// The caller's own pseudonym, if it is a patient.
async fn own(client: &Client) -> Result<Pseudonym> {
    let me = client.me().await?;
    ensure!(
        me.role == Role::Patient,
        "you are no patient: say whose records with --patient PSEUDONYM"
    );
    Ok(me.participant_id.into())
}

pub(crate) async fn list(client: &Client, args: &RecordsList, out: Output) -> Result<()> {
    let patient = match args.patient {
        Some(patient) => patient,
        None => own(client).await?,
    };
    let records = client
        .records(RecordFilter {
            patient,
            record_type: args.record_type.clone(),
            from: args.from,
            to: args.to,
            page: PageRequest::default(),
        })
        .await?;
    out.list(
        &records,
        ["RECORD", "TYPE", "FROM", "TO", "READINGS", "CID", "MARKS"],
        |record| {
            let metadata = &record.metadata;
            [
                metadata.record_id.to_string(),
                metadata.record_type.to_string(),
                metadata.period.start.to_string(),
                metadata.period.end.to_string(),
                metadata.readings.to_string(),
                metadata.cid.clone(),
                wording::marks(&metadata.marks),
            ]
        },
    )?;
    Ok(())
}

pub(crate) async fn read(client: &Client, args: &RecordsRead, out: Output) -> Result<()> {
    let ids: Vec<RecordId> = match (args.record, args.patient) {
        (Some(id), _) => vec![id],
        (None, Some(patient)) => {
            let filter = RecordFilter {
                patient,
                record_type: args.record_type.clone(),
                from: args.from,
                to: args.to,
                page: PageRequest::default(),
            };
            let records = client.records(filter).await?;
            records
                .iter()
                .map(|record: &Record| record.metadata.record_id)
                .collect()
        }
        (None, None) => Vec::new(),
    };
    for id in ids {
        read_one(client, &id, args, out).await?;
    }
    Ok(())
}

/// Reads one record to standard output or into the folder; a file appears whole or not at all.
async fn read_one(client: &Client, id: &RecordId, args: &RecordsRead, out: Output) -> Result<()> {
    let request = AuthorizeRead {
        record_id: *id,
        purpose: args.purpose,
        project: args.project.clone(),
    };
    let Some(folder) = &args.out else {
        return print_one(client, request).await;
    };
    fs::create_dir_all(folder)?;
    let mut sealed = client.request_read(request).await?;
    let is_segment = sealed.record.metadata.content_type == segment::MEDIA_TYPE;
    let path = folder.join(format!(
        "{id}.{}",
        if is_segment { "ndjson" } else { "bin" }
    ));
    let partial = path.with_extension("partial");
    let (read_id, block_number) = (sealed.read_id, sealed.block_number);
    let marks = sealed.record.metadata.marks.clone();
    let mut file = BufWriter::new(
        create_private(&partial).with_context(|| format!("cannot write {}", partial.display()))?,
    );
    let key = client.key_for(&sealed.wrapped_key)?;
    let readings = if is_segment {
        let opened = sealed.open(key).await?;
        for reading in &opened.readings {
            file.write_all(&reading.payload)?;
            file.write_all(b"\n")?;
        }
        opened.readings.len()
    } else {
        sealed.open_into(key, &mut file).await?;
        1
    };
    file.into_inner()?.sync_all()?;
    fs::rename(&partial, &path)?;
    out.result(
        &json!({
            "record_id": id,
            "readings": readings,
            "marks": marks,
            "file": path,
            "read_id": read_id,
            "block_number": block_number,
        }),
        &format!(
            "{}: {readings} readings{}, read receipt {read_id}",
            path.display(),
            match marks.is_empty() {
                true => String::new(),
                false => format!(" ({})", wording::marks(&marks)),
            }
        ),
    )?;
    Ok(())
}

/// Reads one record to standard output: readings one a line, anything else as it is, unless it
/// would spoil a terminal.
async fn print_one(client: &Client, request: AuthorizeRead) -> Result<()> {
    let sealed = client.request_read(request).await?;
    let key = client.key_for(&sealed.wrapped_key)?;
    let content_type = sealed.record.metadata.content_type.clone();
    let is_terminal = io::stdout().is_terminal();
    let is_readable =
        !is_terminal || content_type.starts_with("text/") || content_type.ends_with("json");
    if content_type == segment::MEDIA_TYPE || !is_readable {
        let opened = sealed.open(key).await?;
        let mut stdout = io::stdout().lock();
        for reading in &opened.readings {
            stdout.write_all(&terminal::content(&reading.payload, is_terminal))?;
            stdout.write_all(b"\n")?;
        }
    } else {
        let content = sealed.open_content(key).await?;
        let content = terminal::content(&content, is_terminal);
        io::stdout().lock().write_all(&content)?;
    }
    Ok(())
}

/// Makes a file for opened readings that only its owner may read, anew: one that lies there from
/// before keeps its mode and may be a link to elsewhere.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(PRIVATE_MODE)
        .open(path)
}

pub(crate) fn sign_read(profile: &Profile, args: &RecordsSignRead, out: Output) -> Result<()> {
    let identity =
        fabric_msp::SigningIdentity::from_msp_dir(profile.msp_id.parse()?, &profile.msp_dir)?;
    let body = AuthorizeRead {
        record_id: args.record,
        purpose: args.purpose,
        project: args.project.clone(),
    };
    let request = signing::sign(&identity, &profile.channel, body)?;
    out.result(&json!({ "request": request }), &request)?;
    Ok(())
}

pub(crate) async fn explain(client: &Client, args: &RecordsExplain, out: Output) -> Result<()> {
    let explanation = client
        .explain_read(
            &args.record,
            args.purpose,
            args.reader,
            args.project.as_ref(),
            args.at,
        )
        .await?;
    out.result(&explanation, &in_words(&explanation))?;
    Ok(())
}

fn in_words(explanation: &AccessExplained) -> String {
    let permitted = explanation.decision == Decision::Permit;
    let mut lines = vec![
        format!(
            "{}: {} ({})",
            if permitted { "permitted" } else { "denied" },
            wording::reason(explanation.reason),
            explanation.reason
        ),
        format!("  {}", explanation.sentence),
    ];
    if let Some(rule) = &explanation.rule {
        let role = if permitted {
            "by"
        } else {
            "decided by, or nearest"
        };
        lines.push(format!("  {role}: {}", wording::rule_ref(rule)));
    }
    if !permitted {
        lines.push(format!(
            "  what to do: {}",
            wording::advice(explanation.reason)
        ));
        lines.push(format!(
            "  the patient is with {}, the record is kept by {}",
            explanation.patient_msp, explanation.registrar
        ));
    }
    for considered in &explanation.considered {
        let says = match considered.misses {
            None => "applies".to_owned(),
            Some(reason) => format!("does not apply: {}", wording::reason(reason)),
        };
        lines.push(format!(
            "  {} by {}: {says}",
            wording::decision(considered.decision),
            wording::rule_ref(&considered.rule)
        ));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_denial_says_which_grant_is_missing_and_whom_to_ask() {
        let explanation: AccessExplained = serde_json::from_value(json!({
            "decision": "deny",
            "reason": "PURPOSE_NOT_COVERED",
            "rule": { "level": "grant", "grant_id": "0a".repeat(16), "version": 1 },
            "sentence": "Ask for it.",
            "considered": [
                {
                    "rule": { "level": "grant", "grant_id": "0a".repeat(16), "version": 1 },
                    "decision": "permit",
                    "misses": "PURPOSE_NOT_COVERED",
                },
                {
                    "rule": {
                        "level": "policy",
                        "policy_id": "0b".repeat(16),
                        "msp_id": "Org1MSP",
                        "version": 2,
                    },
                    "decision": "deny",
                },
            ],
            "registrar": "Org1MSP",
            "patient_msp": "Org3MSP",
        }))
        .unwrap();
        let words = in_words(&explanation);
        for part in [
            "denied: the grant is for other purposes",
            "Ask for it.",
            &format!("grant {}", "0a".repeat(16)),
            "salus access ask",
            "with Org3MSP, the record is kept by Org1MSP",
            "deny by the policy",
            "version 2): applies",
        ] {
            assert!(words.contains(part), "{part:?} is not in {words}");
        }
    }

    #[test]
    fn opened_readings_are_not_readable_by_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.partial");
        let elsewhere = folder.path().join("elsewhere");
        fs::write(&elsewhere, "kept").unwrap();
        for _ in 0..2 {
            drop(create_private(&path).unwrap());
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, PRIVATE_MODE);
            fs::remove_file(&path).unwrap();
            std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        }
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "kept");
    }
}
