//! The orderer: envelopes in, blocks out, in one place and one order.
//!
//! An envelope is acknowledged only after the block that holds it is on the disk, so an
//! acknowledged transaction survives `kill -9`. While one block is being written, envelopes
//! gather for the next; [`cutter`] says when a block is full.

mod admission;
mod cutter;

use std::time::Duration;

use fabric_msp::SigningIdentity;
use fabric_protos::common::{Block, Envelope, Status};
use prost::Message;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::NetworkError;
use crate::ledger::{Channel, CommittedBlock, chain_block, sign_block};
pub(crate) use cutter::BatchLimits;
use cutter::Cutter;

/// Envelopes waiting to be ordered; more are refused as unavailable.
const QUEUED_ENVELOPES: usize = 20_000;
/// The channel's configuration never changes after its first block.
const LAST_CONFIG_BLOCK: u64 = 0;
/// Blocks written together with one flush to disk.
const BLOCKS_PER_COMMIT: usize = 32;

/// An envelope that was not ordered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Rejection {
    pub(crate) status: Status,
    pub(crate) info: String,
}

/// Where envelopes go.
#[derive(Clone, Debug)]
pub(crate) struct Orderer {
    channel: Channel,
    queue: mpsc::Sender<Submission>,
}

#[derive(Debug)]
struct Submission {
    envelope: Vec<u8>,
    ordered: oneshot::Sender<()>,
}

/// The loop that makes blocks.
#[derive(Debug)]
pub(crate) struct BlockMaker {
    channel: Channel,
    signer: SigningIdentity,
    limits: BatchLimits,
    batch_timeout: Duration,
    queue: mpsc::Receiver<Submission>,
    heights: watch::Sender<u64>,
}

/// An orderer, the loop that works for it, and the height of the chain as it grows.
pub(crate) fn orderer(
    channel: Channel,
    signer: SigningIdentity,
    limits: BatchLimits,
    batch_timeout: Duration,
) -> (Orderer, BlockMaker, watch::Receiver<u64>) {
    let (sender, queue) = mpsc::channel(QUEUED_ENVELOPES);
    let (heights, height) = watch::channel(channel.height());
    let orderer = Orderer {
        channel: channel.clone(),
        queue: sender,
    };
    let maker = BlockMaker {
        channel,
        signer,
        limits,
        batch_timeout,
        queue,
        heights,
    };
    (orderer, maker, height)
}

impl Orderer {
    /// Orders an envelope; returns when it is in a durable block.
    ///
    /// # Errors
    /// [`Rejection`] with the status and text that an orderer answers.
    pub(crate) async fn order(&self, envelope: &Envelope) -> Result<(), Rejection> {
        admission::admit(&self.channel.config(), envelope)?;
        let unavailable = |info: &str| Rejection {
            status: Status::ServiceUnavailable,
            info: info.to_owned(),
        };
        let (ordered, done) = oneshot::channel();
        let submission = Submission {
            envelope: envelope.encode_to_vec(),
            ordered,
        };
        let queued = self.queue.try_send(submission);
        queued.map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => unavailable("too many envelopes are waiting"),
            mpsc::error::TrySendError::Closed(_) => unavailable("orderer is shutting down"),
        })?;
        done.await
            .map_err(|_| unavailable("orderer stopped before the envelope was ordered"))
    }
}

impl BlockMaker {
    /// Makes blocks until told to stop; what was queued by then is still ordered.
    ///
    /// # Errors
    /// [`NetworkError`] when a block cannot be written: the process must end, since what is on
    /// the disk is no longer known.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) -> Result<(), NetworkError> {
        loop {
            let first = tokio::select! {
                biased;
                first = self.queue.recv() => first,
                () = shutdown.cancelled() => {
                    self.queue.close();
                    self.queue.recv().await
                }
            };
            let Some(first) = first else {
                return Ok(());
            };
            let (batches, waiting) = self.gather(first).await;
            self = self.commit(batches).await?;
            for ordered in waiting {
                // A client that no longer waits learns the outcome from the ledger.
                let _ = ordered.send(());
            }
        }
    }

    /// Collects batches until one is full and nothing is pending, or time is over.
    async fn gather(&mut self, first: Submission) -> (Vec<Vec<Vec<u8>>>, Vec<oneshot::Sender<()>>) {
        let deadline = Instant::now() + self.batch_timeout;
        let mut cutter = Cutter::new(self.limits);
        let mut waiting = vec![first.ordered];
        let mut batches = cutter.push(first.envelope);
        while !cutter.is_empty() && batches.len() < BLOCKS_PER_COMMIT {
            let next = tokio::select! {
                biased;
                next = self.queue.recv() => next,
                () = tokio::time::sleep_until(deadline) => None,
            };
            let Some(submission) = next else {
                break;
            };
            waiting.push(submission.ordered);
            batches.extend(cutter.push(submission.envelope));
        }
        batches.extend(cutter.cut());
        (batches, waiting)
    }

    async fn commit(self, batches: Vec<Vec<Vec<u8>>>) -> Result<Self, NetworkError> {
        let work = tokio::task::spawn_blocking(move || {
            let blocks = self.blocks(batches)?;
            let committed = self.channel.commit(blocks)?;
            report(&committed);
            self.heights.send_replace(self.channel.height());
            Ok(self)
        });
        match work.await {
            Ok(result) => result,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    fn blocks(&self, batches: Vec<Vec<Vec<u8>>>) -> Result<Vec<Block>, NetworkError> {
        let mut blocks: Vec<Block> = Vec::with_capacity(batches.len());
        for envelopes in batches {
            let mut block = match blocks.last() {
                None => self.channel.next_block(envelopes),
                Some(previous) => chain_block(previous, envelopes),
            };
            let mut nonce = [0; 24];
            aws_lc_rs::rand::fill(&mut nonce).map_err(|_| NetworkError::Random)?;
            sign_block(&mut block, &self.signer, nonce, LAST_CONFIG_BLOCK)?;
            blocks.push(block);
        }
        Ok(blocks)
    }
}

fn report(committed: &[CommittedBlock]) {
    for block in committed {
        let number = block
            .block
            .header
            .as_ref()
            .map_or(0, |header| header.number);
        tracing::debug!(
            number,
            transactions = block.transactions.len(),
            "block committed"
        );
        for transaction in &block.transactions {
            let code = transaction.code.as_str_name();
            if let Some(detail) = &transaction.detail {
                tracing::warn!(
                    number,
                    tx_id = transaction.tx_id,
                    code,
                    detail,
                    "invalid transaction"
                );
            }
        }
    }
}
