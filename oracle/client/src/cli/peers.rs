//! `salus peers compact`.

use anyhow::Result;
use fabric_compact::{Compacted, compact};

use crate::{args::PeersCompact, output::Output};

/// Compacts each data base of a stopped peer and prints what was done with it.
pub(crate) fn compact_data(args: &PeersCompact, out: Output) -> Result<()> {
    let all = compact(&args.data)?;
    let heads = ["DATA BASE", "PAIRS", "DEAD", "TABLES", "BYTES", "SHA-256"];
    out.list(&all, heads, |one: &Compacted| {
        [
            one.path.display().to_string(),
            one.summary.pairs.to_string(),
            one.dead_entries.to_string(),
            change(one.tables_before, one.tables_after),
            change(one.bytes_before, one.bytes_after),
            one.summary.sha256[..16].to_owned(),
        ]
    })?;
    Ok(())
}

fn change(before: u64, after: u64) -> String {
    format!("{before} -> {after}")
}
