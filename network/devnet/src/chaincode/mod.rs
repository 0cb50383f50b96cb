//! The peer's side of the stream to a chaincode that runs as a service.
//!
//! A peer is the gRPC *client* of a chaincode. [`ChaincodeHost`] keeps at most one stream per
//! package ID, opened at the first invocation and again after the stream ended, so a restarted
//! chaincode works at the next proposal. [`stream`] carries messages, [`requests`] answers what
//! a running transaction asks of the ledger, [`invoke`] puts the two together.

pub(crate) mod dial;
pub(crate) mod error;
pub(crate) mod invoke;
pub(crate) mod iterators;
pub(crate) mod requests;
pub(crate) mod stream;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::package::ExpandedConnection;
use error::LaunchError;
use stream::ChaincodeStream;

/// The streams of one peer to its chaincodes.
#[derive(Debug)]
pub(crate) struct ChaincodeHost {
    /// Held only to look up or insert a slot, never across an await.
    slots: Mutex<HashMap<String, Slot>>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

/// Async, because whoever comes second must wait while the first one dials.
type Slot = Arc<tokio::sync::Mutex<Option<Arc<ChaincodeStream>>>>;

impl ChaincodeHost {
    pub(crate) fn new(shutdown: CancellationToken) -> Self {
        Self {
            slots: Mutex::default(),
            tasks: TaskTracker::new(),
            shutdown,
        }
    }

    /// The live stream of a package, dialled now if there is none.
    pub(crate) async fn launch(
        &self,
        package_id: &str,
        connection: &ExpandedConnection,
    ) -> Result<Arc<ChaincodeStream>, LaunchError> {
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry(package_id.to_owned()).or_default())
        };
        let mut slot = slot.lock().await;
        if let Some(stream) = slot.as_ref().filter(|stream| !stream.is_terminated()) {
            return Ok(Arc::clone(stream));
        }
        *slot = None;
        let dialled = dial::dial(package_id, connection).await;
        let (outgoing, incoming) = dialled.map_err(|cause| LaunchError {
            package_id: package_id.to_owned(),
            cause,
        })?;
        let ended = self.shutdown.child_token();
        let stream = ChaincodeStream::spawn(outgoing, incoming, ended, &self.tasks);
        *slot = Some(Arc::clone(&stream));
        tracing::info!(
            package_id,
            address = connection.address,
            "chaincode is ready"
        );
        Ok(stream)
    }

    /// Ends every stream and waits until their tasks are done.
    pub(crate) async fn close(&self) {
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
