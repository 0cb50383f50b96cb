//! `salus reads`.

use std::fs;

use anyhow::{Context as _, Result};
use contract_interface::{PageRequest, ReadEntry, ReadFilter};
use salus::Client;
use serde_json::json;

use crate::{
    args::{ReadsExport, ReadsFilter, ReadsList, ReadsShow},
    output::Output,
    wording,
};

fn filter(args: &ReadsFilter) -> ReadFilter {
    ReadFilter {
        patient: args.patient,
        record_id: args.record,
        reader: args.reader,
        from: args.from,
        to: args.to,
        page: PageRequest::default(),
    }
}

pub(crate) async fn list(client: &Client, args: &ReadsList, out: Output) -> Result<()> {
    let reads = client.reads(filter(&args.filter)).await?;
    let heads = [
        "TIME",
        "DECISION",
        "REASON",
        "READER",
        "ORGANISATION",
        "PURPOSE",
        "RECORD",
    ];
    out.list(&reads, heads, |read: &ReadEntry| {
        [
            read.requested_at.to_string(),
            wording::decision(read.decision).to_owned(),
            read.reason.as_str().to_owned(),
            read.reader.to_string(),
            read.reader_msp.to_string(),
            read.purpose.to_string(),
            read.record_id.to_string(),
        ]
    })?;
    Ok(())
}

pub(crate) async fn show(client: &Client, args: &ReadsShow, out: Output) -> Result<()> {
    if args.fhir {
        let event = client.audit_event(&args.read).await?;
        let event: serde_json::Value =
            serde_json::from_slice(&event).context("the oracle's AuditEvent is not JSON")?;
        out.result(&event, &serde_json::to_string_pretty(&event)?)?;
        return Ok(());
    }
    let read = client.recorded_read(&args.read).await?;
    let mut lines = vec![
        format!("read {}", read.read_id),
        format!(
            "  {}: {} ({})",
            wording::decision(read.decision),
            wording::reason(read.reason),
            read.reason
        ),
        format!("  record    {} of patient {}", read.record_id, read.patient),
        format!("  reader    {} of {}", read.reader, read.reader_msp),
        format!("  purpose   {}", read.purpose),
        format!("  signed    {}", read.requested_at),
        format!("  recorded  {} through {}", read.tx_time, read.oracle_msp),
    ];
    if let Some(project) = &read.project {
        lines.push(format!("  project   {project}"));
    }
    if let Some(rule) = &read.rule {
        lines.push(format!("  by        {}", wording::rule_ref(rule)));
    }
    out.result(&read, &lines.join("\n"))?;
    Ok(())
}

pub(crate) async fn export(client: &Client, args: &ReadsExport, out: Output) -> Result<()> {
    let bundles = client.audit_bundles(&filter(&args.filter)).await?;
    fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make the folder {}", args.out.display()))?;
    let mut files = Vec::new();
    for (number, bundle) in bundles.iter().enumerate() {
        let path = args.out.join(format!("reads-{:05}.fhir.json", number + 1));
        fs::write(&path, bundle).with_context(|| format!("cannot write {}", path.display()))?;
        files.push(path);
    }
    let named: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
    out.result(&json!({ "files": files }), &named.join("\n"))?;
    Ok(())
}
