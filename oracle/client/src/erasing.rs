//! Waiting until an erasure is complete.

use std::time::Duration;

use contract_interface::{RecordId, record::Erasure};
use tokio::time::{Instant, sleep};

use crate::{client::Client, error::ClientError};

/// How long to wait between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// Waits until every organisation has removed the object, or `patience` is over: then the erasure
/// is returned as it stands, without [`Erasure::completed_tx_id`].
///
/// # Errors
/// [`ClientError::Refused`] when the record is not being erased. That the oracle cannot be reached
/// for a moment is no error until `patience` is over.
pub async fn wait(
    client: &Client,
    record_id: &RecordId,
    patience: Duration,
) -> Result<Erasure, ClientError> {
    let deadline = Instant::now() + patience;
    loop {
        let is_over = Instant::now() >= deadline;
        match client.erasure(record_id).await {
            Ok(erasure) if erasure.completed_tx_id.is_some() || is_over => return Ok(erasure),
            Ok(_) => {}
            Err(error) if error.is_retryable() && !is_over => {}
            Err(error) => return Err(error),
        }
        sleep(PAUSE).await;
    }
}
