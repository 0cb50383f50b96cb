//! The log of refusals: requests that were refused here and of which the ledger knows nothing.
//!
//! ```text
//! problem (4xx under /v1) ─▶ note ─▶ budget ─▶ line ─▶ write ─▶ answer goes out
//!                                                        └─▶ one fsync for all of a moment
//! ```
//!
//! A read that is denied is on the ledger for ever. A forged signature, another's certificate, a
//! request for something else than its address, a revoked certificate: of these the ledger learns
//! nothing, since nothing proves who made them. They are kept here, one line of JSON each, chained
//! by hashes so that a line that was taken out or changed is noticed. The log names no patient and
//! no record and repeats nothing of what was sent.
//!
//! It is bounded in size and in lines a second, and what it could not take is counted. It never
//! stands in the way: on a full disk the oracle answers as before and says in `/readyz` how many
//! refusals were lost.

mod budget;
mod file_set;
mod line;
mod log;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use contract_interface::UtcTime;
use serde::Serialize;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

pub(crate) use self::line::Line;
pub(crate) use self::log::Page;

use self::log::Log;

/// Time that an answer waits for its line to be written.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);
/// Time over which lines share one `fsync`.
const SYNC_INTERVAL: Duration = Duration::from_millis(200);

/// A refusal to be noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// When.
    pub(crate) time: UtcTime,
    /// The HTTP method.
    pub(crate) method: String,
    /// The address as the API describes it, without the IDs in it.
    pub(crate) path: String,
    /// The HTTP status.
    pub(crate) status: u16,
    /// The problem's code.
    pub(crate) code: String,
    /// SHA-256 of the certificate that the caller showed.
    pub(crate) caller: Option<String>,
    /// The organisation whose MSP accepts that certificate.
    pub(crate) msp_id: Option<String>,
    /// Names the request in the oracle's log.
    pub(crate) trace_id: String,
}

/// How the log of refusals stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct RefusalLogState {
    /// Whether the last line could be written.
    pub(crate) writable: bool,
    /// Whether every line fits the one before it.
    pub(crate) intact: bool,
    /// Refusals since the start that could not be kept.
    pub(crate) lost: u64,
}

/// The log of refusals, if one is kept; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Refusals(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    /// Std lock: only ever taken on blocking threads or for a glance, never across an await.
    log: Mutex<Log>,
    /// Told when there is something to `fsync`.
    written: Notify,
}

impl Shared {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Refusals {
    /// Opens the log and checks all of it; without a path, none is kept. What is wrong with it is
    /// in [`Refusals::state`]: it is no reason not to serve.
    pub(crate) async fn open(path: Option<PathBuf>) -> Self {
        let Some(path) = path else {
            return Self(None);
        };
        let opened = tokio::task::spawn_blocking(move || Self::open_now(path)).await;
        match opened {
            Ok(refusals) => refusals,
            Err(error) => {
                tracing::error!(%error, "opening the log of refusals broke");
                Self(None)
            }
        }
    }

    /// As [`Refusals::open`], blocking.
    pub(crate) fn open_now(path: PathBuf) -> Self {
        Self(Some(Arc::new(Shared {
            log: Mutex::new(Log::open(path)),
            written: Notify::new(),
        })))
    }

    /// Notes a refusal. When this returns the line is with the system, or counted as lost.
    pub(crate) async fn note(&self, refusal: Refusal) {
        let Some(shared) = &self.0 else {
            return;
        };
        let writing = Arc::clone(shared);
        let written = tokio::task::spawn_blocking(move || writing.log().append(refusal));
        match tokio::time::timeout(WRITE_TIMEOUT, written).await {
            Ok(Ok(())) => shared.written.notify_one(),
            Ok(Err(error)) => tracing::error!(%error, "noting a refusal broke"),
            Err(_) => tracing::warn!("noting a refusal takes long; its answer does not wait"),
        }
    }

    /// Lines after the one numbered `after`, of `from` or later, oldest first; none if no log is
    /// kept.
    pub(crate) async fn page(
        &self,
        after: u64,
        from: Option<UtcTime>,
        items: usize,
    ) -> Option<std::io::Result<Page>> {
        let shared = Arc::clone(self.0.as_ref()?);
        let reading = tokio::task::spawn_blocking(move || shared.log().page(after, from, items));
        Some(
            reading
                .await
                .map_err(std::io::Error::other)
                .and_then(|page| page),
        )
    }

    /// How it stands; none if no log is kept.
    pub(crate) fn state(&self) -> Option<RefusalLogState> {
        self.0.as_ref().map(|shared| shared.log().state())
    }

    /// Brings what was written to the disk, until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let Some(shared) = self.0 else {
            return stop.cancelled().await;
        };
        loop {
            let stopping = tokio::select! {
                () = stop.cancelled() => true,
                () = shared.written.notified() => false,
            };
            if !stopping {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(SYNC_INTERVAL) => {}
                }
            }
            let syncing = Arc::clone(&shared);
            if let Err(error) = tokio::task::spawn_blocking(move || syncing.log().sync()).await {
                tracing::error!(%error, "bringing refusals to the disk broke");
            }
            if stopping || stop.is_cancelled() {
                return;
            }
        }
    }
}
