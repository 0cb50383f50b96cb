//! Calling a chaincode.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand;
use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder, Retryable as _};
use prost_types::Timestamp;
use tokio::time::Instant;

use crate::call::Call;
use crate::error::{CommitError, EvaluateError, TransactionError};
use crate::flow::{Commit, CommitStatus, Proposal, Transaction, UnsignedProposal};
use crate::network::Network;
use crate::proposal::{self, NONCE_BYTES, Uniqueness};
use crate::rpc_status::{RpcCode, RpcStatus};
use crate::validation_code::ValidationCode;

/// The pause before the second time an envelope is sent, as a part of [`crate::Deadlines::resend`]; it
/// doubles.
const FIRST_PAUSE_DIVISOR: u32 = 25;
/// Longest pause before an envelope is sent again, or a commit asked about again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A chaincode on a channel; cheap to clone.
#[derive(Debug, Clone)]
pub struct Contract {
    network: Network,
    chaincode: Arc<str>,
}

/// A transaction that took effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The transaction.
    pub transaction_id: String,
    /// The block it is in.
    pub block_number: u64,
    /// What the chaincode answered.
    pub result: Vec<u8>,
}

/// How often and how soon [`Contract::submit_with_retry`] endorses anew. Pauses double and are
/// jittered, so that rivals do not meet again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Proposals after the first.
    pub retries: usize,
    /// First pause.
    pub first_pause: Duration,
    /// Longest pause.
    pub longest_pause: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            retries: 5,
            first_pause: Duration::from_millis(50),
            longest_pause: Duration::from_secs(2),
        }
    }
}

impl Contract {
    pub(crate) fn new(network: Network, chaincode: String) -> Self {
        Self {
            network,
            chaincode: chaincode.into(),
        }
    }

    /// The chaincode's name.
    pub fn chaincode(&self) -> &str {
        &self.chaincode
    }

    /// Asks a peer; nothing is written, and the answer is that of one peer only.
    ///
    /// # Errors
    /// [`EvaluateError`] with what the peers said.
    pub async fn evaluate(&self, call: Call) -> Result<Vec<u8>, EvaluateError> {
        let prepared = self.prepare(call);
        let transaction_id = prepared.transaction_id().to_owned();
        let proposal = prepared.sign().map_err(|error| EvaluateError {
            transaction_id,
            status: RpcStatus::new(RpcCode::Unauthenticated, error.to_string()),
        })?;
        proposal.evaluate().await
    }

    /// Submits a transaction and waits until it has taken effect.
    ///
    /// If it is not known whether the orderer got the envelope (no connection, no answer), the
    /// commit is asked about by ID and the *same* envelope sent again, to another peer if there
    /// is one. Fabric commits an envelope at most once, so this is safe.
    ///
    /// # Errors
    /// [`TransactionError`]. When [`TransactionError::is_outcome_unknown`], the transaction may
    /// still take effect; otherwise it did not and will not.
    pub async fn submit(&self, call: Call) -> Result<Committed, TransactionError> {
        let transaction = self.propose(call)?.endorse().await?.sign()?;
        let status = settle(&transaction).await?;
        if !status.code.is_valid() {
            return Err(CommitError {
                transaction_id: status.transaction_id,
                block_number: status.block_number,
                code: status.code,
            }
            .into());
        }
        Ok(Committed {
            transaction_id: status.transaction_id,
            block_number: status.block_number,
            result: transaction.result().to_vec(),
        })
    }

    /// Submits as [`Contract::submit`], and again with a new proposal whenever the last one is
    /// known to be void for a reason that may pass: a conflict with another transaction, or
    /// peers that could not be reached to endorse.
    ///
    /// # Errors
    /// The last attempt's [`TransactionError`].
    pub async fn submit_with_retry(
        &self,
        call: impl Fn() -> Call,
        policy: RetryPolicy,
    ) -> Result<Committed, TransactionError> {
        let pauses = ExponentialBuilder::default()
            .with_min_delay(policy.first_pause)
            .with_max_delay(policy.longest_pause)
            .with_max_times(policy.retries)
            .with_jitter();
        (|| async { self.submit(call()).await })
            .retry(pauses)
            .when(TransactionError::is_retryable)
            .notify(|error, pause| tracing::debug!(%error, ?pause, "endorsing anew"))
            .await
    }

    /// Makes a proposal, to be endorsed step by step.
    ///
    /// # Errors
    /// [`TransactionError::Sign`] if the key lies elsewhere.
    pub fn propose(&self, call: Call) -> Result<Proposal, TransactionError> {
        Ok(self.prepare(call).sign()?)
    }

    /// Makes a proposal to be signed elsewhere.
    pub fn prepare(&self, call: Call) -> UnsignedProposal {
        let creator = self.network.gateway.inner.signer.creator();
        let uniqueness = unique();
        let channel = &self.network.channel;
        let proposal = proposal::build(channel, &self.chaincode, &call, &creator, &uniqueness);
        UnsignedProposal {
            network: self.network.clone(),
            proposal,
            organizations: call.organizations.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Sends an envelope until it is known to be in a block, for as long as a commit may take.
async fn settle(transaction: &Transaction) -> Result<CommitStatus, TransactionError> {
    let commit = transaction.commit();
    let deadlines = commit.network.gateway.inner.deadlines;
    let started = Instant::now();
    let mut pauses = new_pauses(&commit);
    let mut sends = 1;
    while let Err(error) = transaction.submit().await {
        if sends == 1 && !error.is_outcome_unknown() {
            return Err(error.into());
        }
        // A refusal of a later copy says nothing about the first.
        tracing::warn!(
            tx_id = transaction.transaction_id(), %error, sends, "outcome unknown, asking"
        );
        if let Ok(status) = commit.status_within(deadlines.resend).await {
            return settled(&commit, status).await;
        }
        let pause = pauses.next().unwrap_or(LONGEST_PAUSE);
        if started.elapsed() + pause >= deadlines.commit_status {
            return Err(error.into());
        }
        sends += 1;
        tokio::time::sleep(pause).await;
    }
    let status = await_commit(&commit).await?;
    if sends == 1 {
        return Ok(status);
    }
    settled(&commit, status).await
}

/// The status of a transaction that was perhaps sent more than once: where a peer told of the
/// copy, it tells of the first when asked again.
async fn settled(commit: &Commit, status: CommitStatus) -> Result<CommitStatus, TransactionError> {
    if status.code == ValidationCode::DUPLICATE_TXID {
        return await_commit(commit).await;
    }
    Ok(status)
}

/// Waits for a commit as long as its deadline allows, through losses of connection.
async fn await_commit(commit: &Commit) -> Result<CommitStatus, TransactionError> {
    let deadline = commit.network.gateway.inner.deadlines.commit_status;
    let started = Instant::now();
    let mut pauses = new_pauses(commit);
    loop {
        let left = deadline.saturating_sub(started.elapsed());
        let error = match commit.status_within(left).await {
            Ok(status) => return Ok(status),
            Err(error) => error,
        };
        let pause = pauses.next().unwrap_or(LONGEST_PAUSE);
        let lost = error.status.code == RpcCode::Unavailable;
        if !lost || started.elapsed() + pause >= deadline {
            return Err(error.into());
        }
        tokio::time::sleep(pause).await;
    }
}

fn new_pauses(commit: &Commit) -> ExponentialBackoff {
    let patience = commit.network.gateway.inner.deadlines.resend;
    ExponentialBuilder::default()
        .with_min_delay(patience / FIRST_PAUSE_DIVISOR)
        .with_max_delay(LONGEST_PAUSE)
        .without_max_times()
        .with_jitter()
        .build()
}

/// A fresh nonce and the time. The system's random source failing is not survivable: without it
/// no transaction could be told from another.
pub(crate) fn unique() -> Uniqueness {
    let mut nonce = [0; NONCE_BYTES];
    rand::fill(&mut nonce).expect("the operating system provides random bytes");
    Uniqueness {
        nonce,
        timestamp: now(),
    }
}

pub(crate) fn now() -> Timestamp {
    let elapsed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(elapsed.subsec_nanos()).unwrap_or(0),
    }
}
