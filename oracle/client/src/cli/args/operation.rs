//! For those who run an oracle: jobs and dead letters.

use clap::{Args, Subcommand};
use contract_interface::RecordId;

#[derive(Debug, Subcommand)]
pub(crate) enum JobsCommand {
    /// One line for each job: what it did in its last pass, and what still waits.
    List,
    /// One job in words: key rotation and sharing are `wraps`, erasures are `erasures`. Status 4 while
    /// something waits, so that a script can ask until all is done.
    Status(JobsStatus),
}

#[derive(Debug, Args)]
pub(crate) struct JobsStatus {
    /// Which: wraps, erasures, nonces or clock.
    pub(crate) job: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersCommand {
    /// List what the ledger's contracts refuse, and readings that wait for something, with the reason.
    List,
    /// Try a refused record again now, after you have mended the cause; `all` tries every one.
    Retry(DeadLettersRetry),
    /// Give a refused record up for good. Its readings are LOST, although the device was told that
    /// they are kept.
    Drop(DeadLettersDrop),
}

#[derive(Debug, Args)]
pub(crate) struct DeadLettersRetry {
    /// The record, as the list names it, or `all`.
    #[arg(value_name = "RECORD|all", value_parser = which)]
    pub(crate) which: Which,
}

#[derive(Debug, Args)]
pub(crate) struct DeadLettersDrop {
    /// The record, as the list names it.
    pub(crate) record: RecordId,
    /// That you know what is lost.
    #[arg(long, required = true)]
    pub(crate) lose_the_readings: bool,
}

/// Which dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// Every one there is.
    All,
    /// This.
    One(RecordId),
}

fn which(text: &str) -> Result<Which, String> {
    match text {
        "all" => Ok(Which::All),
        id => id
            .parse()
            .map(Which::One)
            .map_err(|error| format!("neither `all` nor a record: {error}")),
    }
}
