//! What the oracle does by itself, in the background, for the channel and for its organisation.
//!
//! | job | what it does |
//! |---|---|
//! | `clock` | moves the organisation's clock on the channel forward |
//! | `nonces` | purges used nonces that no longer protect anything |
//! | `wraps` | makes the wrapped keys of the organisation's records what grants and keys ask for |
//! | `erasures` | removes objects of erased records from the own node, and ends erasures |
//!
//! A job has no memory that matters: what is left to do is what the ledger says, so a job may be
//! stopped at any moment, and a restart goes on from there. Each works in passes, one step at a
//! time, with a bound on what it holds in memory; the [`Board`] says how far each is.

mod board;
mod clock;
mod erasures;
mod error;
mod nonces;
mod wraps;

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) use self::board::{Board, JobStatus};
pub(crate) use self::erasures::watch as watch_erasures;
pub(crate) use self::error::JobError;

use self::board::Progress;
use crate::config::JobsConfig;
use crate::journal::Journal;
use crate::keys::OracleKeys;
use crate::ledger::Ledger;
use crate::store::Kubo;

/// A pass takes at most one in so many parts of the time: after a long one comes a long pause.
const SHARE_OF_TIME: u32 = 4;

/// Longest pause after a pass that did not finish.
const RETRY: Duration = Duration::from_secs(15);

/// What the jobs work with.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) config: JobsConfig,
    pub(crate) ledger: Ledger,
    pub(crate) store: Kubo,
    /// Of this process, if it takes readings.
    pub(crate) journal: Option<Journal>,
    pub(crate) keys: OracleKeys,
    pub(crate) board: Board,
}

/// Jobs that do not run yet.
#[derive(Debug)]
pub(crate) struct Jobs(Parts);

/// Work done in passes.
trait Job: Send {
    /// Name on the board, in metrics and in the log.
    const NAME: &'static str;

    /// Does what there is to do, as far as it can be done now.
    fn pass(&mut self, progress: &Progress) -> impl Future<Output = Result<(), JobError>> + Send;
}

impl Jobs {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(parts)
    }

    /// Runs every job from when the oracle is `registered` until `stop`.
    pub(crate) async fn run(self, mut registered: watch::Receiver<bool>, stop: CancellationToken) {
        // Before that the contracts know nobody who could ask. If the sender is gone without a
        // word, the oracle stops anyway.
        tokio::select! {
            () = stop.cancelled() => return,
            Ok(_) = registered.wait_for(|done| *done) => {}
        }
        let Parts {
            config,
            ledger,
            store,
            journal,
            keys,
            board,
        } = self.0;
        let mut tasks = JoinSet::new();
        let clock = clock::Clock {
            ledger: ledger.clone(),
        };
        tasks.spawn(repeat(
            clock,
            config.tick_interval,
            board.clone(),
            stop.clone(),
        ));
        let nonces = nonces::Nonces {
            ledger: ledger.clone(),
        };
        tasks.spawn(repeat(nonces, config.interval, board.clone(), stop.clone()));
        let wraps = wraps::Wraps::new(ledger.clone(), keys);
        tasks.spawn(repeat(wraps, config.interval, board.clone(), stop.clone()));
        let erasures = erasures::Erasures {
            ledger,
            store,
            journal,
            interval: config.interval,
        };
        tasks.spawn(repeat(erasures, config.interval, board, stop));
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                // The others go on; the board shows what no longer moves.
                tracing::error!(%error, "a job broke");
            }
        }
    }
}

/// Passes of one job, with pauses that end early when someone wakes the jobs.
async fn repeat<J: Job>(mut job: J, interval: Duration, board: Board, stop: CancellationToken) {
    let progress = board.progress(J::NAME);
    let mut wakes = board.watch();
    loop {
        let begun = Instant::now();
        wakes.mark_unchanged();
        progress.begin();
        let ended = tokio::select! {
            () = stop.cancelled() => return,
            ended = job.pass(&progress) => ended,
        };
        if let Err(error) = &ended {
            tracing::warn!(
                job = J::NAME,
                error = error as &dyn std::error::Error,
                "a job did not finish, it goes on later"
            );
        }
        progress.end(ended.as_ref().err());
        let regular = if ended.is_ok() {
            interval
        } else {
            interval.min(RETRY)
        };
        let pause = regular.max(begun.elapsed() * (SHARE_OF_TIME - 1));
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            // The board lives as long as this task.
            _ = wakes.changed() => {}
        }
    }
}
