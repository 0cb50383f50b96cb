//! `salus device publish --buffer`: by way of an outbox on this machine's disk.

use std::{
    io::BufRead as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use fabric_msp::SigningIdentity;
use salus::evidence::device;
use salus::publish::{self, Event, Message, Options, Outbox, Outgoing};
use serde_json::json;
use tokio::sync::mpsc;

use crate::{
    args::DevicePublish,
    output::Output,
    publish::{open_lines, signer},
};

/// Readings between standard input and the outbox.
const READINGS_WAITING_MAX: usize = 256;

/// Publishes by way of an outbox on this machine's disk.
pub(crate) async fn buffered(
    args: &DevicePublish,
    options: &Options,
    dir: &Path,
    out: Output,
) -> Result<()> {
    let mut outbox = Outbox::open(dir, args.buffer_bytes)?;
    if args.retry_refused {
        outbox.retry_refused();
    }
    if let Some(start) = args.seq_start {
        outbox.begin_at(start)?;
    }
    let first = args.seq_start.map(|_| outbox.next_id());
    let (readings_tx, readings) = mpsc::channel(READINGS_WAITING_MAX);
    let lines = Lines {
        file: args.file.clone(),
        content_type: args.content_type.clone(),
        next: first,
        identity: match args.sign {
            true => Some(signer(&args.session)?),
            false => None,
        },
    };
    // A thread and no task, since reading standard input may block for ever, and the program ends with the outbox.
    let reading = std::thread::Builder::new()
        .name("readings".to_owned())
        .spawn(move || lines.feed(&readings_tx))?;
    let told = |event| tell(event, out);
    let delivered = publish::deliver(options, &mut outbox, readings, told).await?;
    // Its sender is gone, so it has ended.
    let fed = reading.join();
    fed.map_err(|_| anyhow::anyhow!("reading the readings broke"))??;
    out.result(
        &json!({
            "accepted": delivered.accepted,
            "acknowledged": delivered.acknowledged,
            "receipted": delivered.receipted,
            "refused": delivered.refused,
            "waiting": outbox.len(),
            "connections": delivered.connections,
        }),
        &format!(
            "{} readings accepted, {} on the ledger, {} refused and kept",
            delivered.accepted, delivered.receipted, delivered.refused
        ),
    )?;
    match delivered.refused {
        0 => Ok(()),
        refused => Err(RefusedAndKept { refused }.into()),
    }
}

/// Readings of the outbox that the oracle does not take.
#[derive(Debug, thiserror::Error)]
#[error("the oracle refused {refused} readings, which are kept; --retry-refused sends them again")]
pub(crate) struct RefusedAndKept {
    refused: usize,
}

/// Says for programs, line by line, what is safe here and what is on the ledger.
fn tell(event: Event, out: Output) {
    let line = match event {
        Event::Accepted(accepted) => json!({ "accepted": accepted }),
        Event::Receipted { ids, receipt } => json!({
            "receipted": ids.len(),
            "record_id": receipt.record_id,
            "transaction_id": receipt.transaction_id,
            "block_number": receipt.block_number,
        }),
        Event::Refused { id, reason } => {
            tracing::error!(id, reason, "a reading is refused and kept");
            json!({ "refused": id, "reason": reason })
        }
        Event::NotRegistered { refused } => {
            tracing::warn!(refused, "readings are not on the ledger yet");
            return;
        }
        Event::Disconnected { reason } => {
            tracing::warn!(reason, "not connected, trying again");
            return;
        }
        _ => return,
    };
    if out.is_json() {
        // Who listened may have gone; the readings are safe all the same.
        let _ = out.lines(&[line]);
    }
}

/// Where readings come from, one a line.
struct Lines {
    file: PathBuf,
    content_type: String,
    /// The number of the next reading, if they are numbered.
    next: Option<u64>,
    identity: Option<SigningIdentity>,
}

impl Lines {
    /// Hands every line over, until the end or until nobody takes them any more.
    fn feed(mut self, readings: &mpsc::Sender<Outgoing>) -> Result<()> {
        for (index, line) in open_lines(&self.file)?.split(b'\n').enumerate() {
            let line = line?;
            if line.is_empty() {
                continue;
            }
            let payload = match &self.identity {
                Some(identity) => {
                    let signed = device::sign(identity, &line);
                    signed.with_context(|| format!("reading {index}"))?.into()
                }
                None => Bytes::from(line),
            };
            let seq = self.next;
            self.next = seq.map(|seq| seq + 1);
            let outgoing = Outgoing {
                content_type: self.content_type.clone(),
                message: Message { seq, payload },
            };
            if readings.blocking_send(outgoing).is_err() {
                break;
            }
        }
        Ok(())
    }
}
