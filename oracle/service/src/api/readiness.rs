//! Whether the oracle can do its work: the truth of a moment ago.
//!
//! One task asks every part once a second, and more often until the oracle is ready for the first
//! time, since that is waited for; `/readyz` tells what it last saw. So that anyone may
//! ask without a certificate, asking costs nothing and tells no host and no path.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::journal::Journal;
use crate::ledger::Ledger;
use crate::pipeline;
use crate::refusals::{RefusalLogState, Refusals};
use crate::store::Kubo;

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// Time between two looks of an oracle that was never ready.
const STARTING_INTERVAL: Duration = Duration::from_millis(100);
/// Time for an answer; a slower part counts as not ready.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// What the oracle depends on.
#[derive(Debug, Clone)]
pub(crate) struct Probes {
    pub(crate) ledger: Ledger,
    pub(crate) store: Kubo,
    /// Of a process that takes readings.
    pub(crate) journal: Option<Journal>,
    /// Of a process that takes readings.
    pub(crate) pipeline: Option<watch::Receiver<pipeline::Status>>,
    pub(crate) refusals: Refusals,
    /// Whether the oracle is in the channel's directory; without that, no contract knows it.
    pub(crate) registered: watch::Receiver<bool>,
}

/// What was last seen of each part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ReadyBody {
    /// Whether every part is.
    pub(crate) ready: bool,
    /// Part by part: `directory`, `fabric`, `ipfs`; `journal` and `pipeline` if it takes readings.
    pub(crate) parts: BTreeMap<&'static str, Part>,
    /// The log of refusals, if one is kept; reads do not wait for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refusal_log: Option<RefusalLogState>,
}

/// One part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Part {
    /// Whether it answers or can be used.
    pub(crate) ready: bool,
    /// Readings or records waiting in it, where that has a meaning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) waiting: Option<u64>,
}

/// The last look, for any number of readers.
#[derive(Debug, Clone)]
pub(crate) struct Readiness(watch::Receiver<ReadyBody>);

impl Readiness {
    /// One that never changes.
    #[cfg(test)]
    pub(crate) fn fixed(seen: ReadyBody) -> Self {
        Self(watch::channel(seen).1)
    }

    /// What was last seen.
    pub(crate) fn now(&self) -> ReadyBody {
        self.0.borrow().clone()
    }

    /// Waits until everything is ready.
    pub(crate) async fn all(&mut self) {
        // The sender ends only with the program, and then nobody waits any more.
        let _ = self.0.wait_for(|seen| seen.ready).await;
    }
}

impl Probes {
    /// Starts looking. The future looks until `stop` and must be run.
    pub(crate) fn watch(
        self,
        stop: CancellationToken,
    ) -> (Readiness, impl Future<Output = ()> + Send) {
        let nothing_seen = ReadyBody {
            ready: false,
            parts: BTreeMap::new(),
            refusal_log: None,
        };
        let (seen, readers) = watch::channel(nothing_seen);
        let looking = async move {
            let mut interval = STARTING_INTERVAL;
            loop {
                let look = self.look().await;
                if look.ready {
                    interval = INTERVAL;
                }
                seen.send_if_modified(|last| {
                    let changed = *last != look;
                    if changed && last.ready != look.ready {
                        tracing::info!(ready = look.ready, parts = ?look.parts, "readiness");
                    }
                    *last = look;
                    changed
                });
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(interval) => {}
                }
            }
        };
        (Readiness(readers), looking)
    }

    async fn look(&self) -> ReadyBody {
        let (fabric, ipfs) = tokio::join!(
            tokio::time::timeout(ANSWER_TIMEOUT, self.ledger.ping()),
            tokio::time::timeout(ANSWER_TIMEOUT, self.store.ping()),
        );
        let answered = |ready| Part {
            ready,
            waiting: None,
        };
        let mut parts = BTreeMap::from([
            ("directory", answered(*self.registered.borrow())),
            ("fabric", answered(matches!(fabric, Ok(Ok(()))))),
            ("ipfs", answered(matches!(ipfs, Ok(Ok(()))))),
        ]);
        if let Some(journal) = &self.journal {
            parts.insert("journal", answered(journal.is_writable()));
        }
        if let Some(pipeline) = &self.pipeline {
            parts.insert("pipeline", pipeline_part(*pipeline.borrow()));
        }
        ReadyBody {
            ready: parts.values().all(|part| part.ready),
            parts,
            refusal_log: self.refusals.state(),
        }
    }
}

fn pipeline_part(status: pipeline::Status) -> Part {
    Part {
        ready: status.running,
        waiting: Some(status.waiting),
    }
}
