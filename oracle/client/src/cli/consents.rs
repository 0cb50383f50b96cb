//! `salus grants import-consent` and `export-consent`.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use contract_interface::{Grant, GrantEntry, GrantFilter, GrantId, GrantStatus};
use salus::{
    Client,
    consent::{self, Imported, References, Signer},
    signing,
};
use serde_json::{Value, json};

use crate::{
    args::{GrantsExport, GrantsImport},
    grants::{named, share_keys, shares},
    guardians::patient,
    output::Output,
    participants::read,
    recipients::{Named, confirmed},
    wording,
};

pub(crate) async fn import(client: &Client, args: &GrantsImport, out: Output) -> Result<()> {
    let imported = consent::import(
        read(&args.file)?.as_bytes(),
        &references(args.map.as_deref())?,
    )
    .with_context(|| format!("{} cannot become grants", args.file.display()))?;
    let given_for = given_for(client, &imported).await?;
    let mut grants = Vec::new();
    for terms in imported.terms {
        grants.push(terms.grant(GrantId::from_bytes(signing::random()?)));
    }
    if !args.dry_run {
        ensure_not_over(&grants)?;
    }
    // Who gets keys is clear before the first grant is given.
    let mut recipients = Vec::with_capacity(grants.len());
    for grant in &grants {
        recipients.push(match named(&grant.rule) {
            Some(id) if !args.dry_run && shares(client, &grant.rule) => {
                Some(confirmed(client, &id, Named::Here, &args.whom).await?)
            }
            _ => None,
        });
    }
    let mut given = Vec::new();
    for (grant, recipient) in grants.iter().zip(&recipients) {
        let answer = if args.dry_run {
            json!({ "grant_id": grant.grant_id, "grant": grant })
        } else {
            let recorded = client
                .give_grant(grant.clone(), given_for)
                .await
                .with_context(|| {
                    format!(
                        "{} of {} grants were given; revoke them or give the rest",
                        given.len(),
                        grants.len()
                    )
                })?;
            if recipient.is_some() {
                share_keys(client, &grant.grant_id, given_for, recipient.as_ref(), out).await?;
            }
            json!({
                "grant_id": grant.grant_id,
                "grant": grant,
                "transaction_id": recorded.transaction_id,
                "block_number": recorded.block_number,
            })
        };
        given.push(answer);
    }
    out.result(
        &json!({
            "patient": imported.patient,
            "grants": given,
            "remarks": imported.remarks,
            "dry_run": args.dry_run,
        }),
        &in_words(&grants, &imported.remarks, args.dry_run),
    )?;
    Ok(())
}

/// A Consent that has run out gives nothing, not even in part.
fn ensure_not_over(grants: &[Grant]) -> Result<()> {
    let now = signing::now()?;
    match grants.iter().find(|grant| grant.valid_until <= now) {
        Some(over) => bail!(
            "the Consent ran out at {}: nothing is given",
            over.valid_until
        ),
        None => Ok(()),
    }
}

/// For whom the grants are given: another patient if the caller is the guardian who consented.
async fn given_for(
    client: &Client,
    imported: &Imported,
) -> Result<Option<contract_interface::Pseudonym>> {
    let me = client.me().await?.participant_id;
    match imported.signer {
        Signer::Patient if me == imported.patient.into() => Ok(None),
        Signer::Guardian(guardian) if me == guardian => Ok(Some(imported.patient)),
        Signer::Patient => bail!("the patient consented, so the patient has to sign the grants"),
        Signer::Guardian(guardian) => {
            bail!("participant {guardian} consented for the patient, and has to sign the grants")
        }
    }
}

fn in_words(grants: &[Grant], remarks: &[String], is_dry: bool) -> String {
    let mut lines = vec![match (grants.len(), is_dry) {
        (0, _) => "no grant is needed".to_owned(),
        (count, true) => format!("{count} grants would be given"),
        (count, false) => format!("{count} grants given"),
    }];
    for grant in grants {
        let rule = &grant.rule;
        lines.push(format!(
            "  {} {} to {}: {}, for {}, from {} until {}",
            grant.grant_id,
            wording::decision(rule.decision),
            wording::grantee(&rule.grantee),
            wording::data(rule),
            wording::purposes(rule),
            grant.valid_from,
            grant.valid_until
        ));
    }
    lines.extend(remarks.iter().map(|remark| format!("  note: {remark}")));
    lines.join("\n")
}

pub(crate) async fn export(client: &Client, args: &GrantsExport, out: Output) -> Result<()> {
    let references = references(args.map.as_deref())?;
    let entries = entries(client, args).await?;
    fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make the folder {}", args.out.display()))?;
    let mut refused = 0;
    for entry in &entries {
        let grant_id = entry.grant.grant_id;
        match consent::export(entry, &references) {
            Ok(consent) => {
                let path = args.out.join(format!("{grant_id}.fhir.json"));
                write(&path, &consent)?;
                out.result(
                    &json!({ "grant_id": grant_id, "file": path }),
                    &path.display().to_string(),
                )?;
            }
            Err(error) => {
                refused += 1;
                out.result(
                    &json!({ "grant_id": grant_id, "problem": error.to_string() }),
                    &format!("grant {grant_id} {error}"),
                )?;
            }
        }
    }
    ensure!(
        refused == 0,
        "{refused} of {} grants cannot be written as Consents",
        entries.len()
    );
    Ok(())
}

/// The grants to write: the one that is named, or all that stand.
async fn entries(client: &Client, args: &GrantsExport) -> Result<Vec<GrantEntry>> {
    if let Some(grant) = &args.grant {
        return Ok(vec![client.grant(grant, args.patient).await?]);
    }
    let filter = GrantFilter {
        patient: Some(patient(client, args.patient).await?),
        ..GrantFilter::default()
    };
    let mut entries = client.grants(filter).await?;
    entries.retain(|entry| entry.status == GrantStatus::Active);
    Ok(entries)
}

fn references(map: Option<&Path>) -> Result<References> {
    match map {
        Some(file) => Ok(read(file)?.parse()?),
        None => Ok(References::default()),
    }
}

fn write(path: &Path, consent: &Value) -> Result<()> {
    let mut text = serde_json::to_string_pretty(consent)?;
    text.push('\n');
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
