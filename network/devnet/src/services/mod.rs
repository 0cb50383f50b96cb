//! The gRPC services of peers and orderer: each maps the wire to the parts behind it.

pub(crate) mod broadcast;
pub(crate) mod deliver;
pub(crate) mod endorser;
pub(crate) mod gateway;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ledger::Channel;
use crate::ordering::Orderer;
use crate::peer::Peer;

/// What all services of a network share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) channel: Channel,
    /// In the order of their organisations.
    pub(crate) peers: Vec<Arc<Peer>>,
    pub(crate) orderer: Orderer,
    pub(crate) orderer_address: String,
    pub(crate) orderer_msp_id: String,
    /// Grows with every durable block.
    pub(crate) heights: watch::Receiver<u64>,
    /// How far a proposal's time may be from the peer's; unchecked when absent.
    pub(crate) time_window: Option<Duration>,
    pub(crate) shutdown: CancellationToken,
    /// The tasks behind open streams.
    pub(crate) tasks: TaskTracker,
}

impl Shared {
    /// Waits until the chain is at least this high; false when the network stops first.
    pub(crate) async fn wait_for_height(&self, height: u64) -> bool {
        let mut heights = self.heights.clone();
        tokio::select! {
            reached = heights.wait_for(|current| *current >= height) => reached.is_ok(),
            () = self.shutdown.cancelled() => false,
        }
    }
}

/// Now, as clients' timestamps count.
pub(crate) fn unix_now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}
