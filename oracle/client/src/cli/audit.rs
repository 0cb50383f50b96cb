//! `salus audit`.

use anyhow::Result;
use contract_interface::evidence::AuditCompleteness;
use salus::Client;

use crate::args::AuditCheck;
use crate::output::Output;

/// Compares blocks with recorded reads, stretch by stretch, and fails if something is amiss.
pub(crate) async fn check(client: &Client, args: &AuditCheck, out: Output) -> Result<()> {
    let mut from = args.from_block;
    let mut complete = true;
    let mut before = None;
    let (mut blocks, mut decided) = (0, 0);
    loop {
        let found = client.audit_completeness(from, args.to_block).await?;
        out.result(&found, &sentence(&found))?;
        // The stretches must join: the same chain of blocks answered each question.
        let joins = before.is_none() || before == found.previous_hash;
        complete &= found.complete && joins;
        before = Some(found.to_block_hash);
        blocks += found.to_block - found.from_block + 1;
        decided += found.decided;
        // A stretch that is cut short has the largest size; the newest block may be its end by
        // chance, which the next question answers.
        let cut =
            found.to_block - found.from_block + 1 >= contract_interface::evidence::AUDIT_BLOCKS_MAX;
        if !cut || args.to_block == Some(found.to_block) {
            break;
        }
        from = found.to_block + 1;
    }
    if complete {
        return Ok(());
    }
    Err(Incomplete { blocks, decided }.into())
}

/// The record of reads has a gap.
#[derive(Debug, thiserror::Error)]
#[error(
    "the record of reads is not complete: {decided} decisions in {blocks} blocks were compared"
)]
pub(crate) struct Incomplete {
    blocks: u64,
    decided: u64,
}

fn sentence(found: &AuditCompleteness) -> String {
    let mut lines = vec![format!(
        "blocks {} to {} ({}): {} reads decided, {} of them recorded",
        found.from_block, found.to_block, found.to_block_hash, found.decided, found.recorded
    )];
    if !found.chain_holds {
        lines.push("  a block is missing, or the chain of their hashes is broken".to_owned());
    }
    if !found.data_holds {
        lines.push("  a block's transactions do not have the hash in its header".to_owned());
    }
    for id in &found.missing {
        lines.push(format!("  not recorded: {id}"));
    }
    for id in &found.unfounded {
        lines.push(format!(
            "  recorded, but never decided on the channel: {id}"
        ));
    }
    lines.join("\n")
}
