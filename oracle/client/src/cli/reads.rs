//! `salus reads`.

use anyhow::Result;
use contract_interface::{PageRequest, ReadEntry, ReadFilter};
use salus::Client;

use crate::{args::ReadsList, output::Output};

pub(crate) async fn list(client: &Client, args: &ReadsList, out: Output) -> Result<()> {
    let filter = ReadFilter {
        patient: args.patient,
        record_id: args.record,
        reader: args.reader,
        from: args.from,
        to: args.to,
        page: PageRequest::default(),
    };
    let reads = client.reads(filter).await?;
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
            format!("{:?}", read.decision).to_lowercase(),
            read.reason.as_str().to_owned(),
            read.reader.to_string(),
            read.reader_msp.to_string(),
            read.purpose.to_string(),
            read.record_id.to_string(),
        ]
    })?;
    Ok(())
}
