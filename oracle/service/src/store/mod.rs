//! Sealed objects in IPFS, by Kubo's RPC.
//!
//! Objects are made into blocks here, so their CIDs are known before anything is sent; many go
//! into the store with one request (a CAR), pinned, and the pins that the store reports are
//! compared with what was computed. An object that is erased is unpinned and its blocks are removed
//! one by one. On the way back every block is checked against its CID before
//! a byte of it is used. The store is trusted with keeping bytes and with nothing else: what it
//! holds is sealed.

mod car;
mod error;
mod fetch;
mod object;
mod remove;
mod rpc;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cid::Cid;
use futures::Stream;
use tokio::sync::mpsc;

pub use self::error::StoreError;
pub use self::object::{Object, ObjectHasher};
pub use self::remove::Removal;

use self::rpc::Rpc;
use crate::config::IpfsConfig;

/// Time for a sign of life.
const PING_TIMEOUT: Duration = Duration::from_secs(3);
/// Time for one block; Kubo may have to ask another organisation's node for it.
const BLOCK_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for an import, whose blocks Kubo writes to disk.
const IMPORT_TIMEOUT: Duration = Duration::from_secs(120);
/// Bytes a second that a node is expected to take at least.
const IMPORT_BYTES_A_SECOND: u64 = 2 << 20;
/// Pieces of a streamed file that wait for the connection.
const PIECES_WAITING_MAX: usize = 8;
/// Bytes of the largest block that IPFS nodes exchange.
const BLOCK_BYTES_MAX: usize = 2 << 20;
/// Bytes of the answer to an import: about 150 for each root.
const IMPORT_ANSWER_BYTES_MAX: usize = 1 << 20;
/// Bytes of the answer to a sign of life.
const PING_ANSWER_BYTES_MAX: usize = 16 << 10;

/// A node's RPC; cheap to clone, and its connections are shared.
#[derive(Debug, Clone)]
pub struct Kubo {
    rpc: Arc<Rpc>,
}

impl Kubo {
    /// The node at the configured address; spoken to by the first call.
    #[must_use]
    pub fn new(config: &IpfsConfig) -> Self {
        Self {
            rpc: Arc::new(Rpc::new(config.api.clone())),
        }
    }

    /// Whether the node answers.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn ping(&self) -> Result<(), StoreError> {
        let body = rpc::empty();
        self.rpc
            .call("version", body, PING_ANSWER_BYTES_MAX, PING_TIMEOUT)
            .await?;
        Ok(())
    }

    /// Stores and pins objects with one request. Done twice, it changes nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; whichever it is, no object may be taken for pinned.
    pub async fn import(&self, objects: &[Object]) -> Result<(), StoreError> {
        if objects.is_empty() {
            return Ok(());
        }
        let body = rpc::file(car::chunks(objects));
        let answer = self
            .rpc
            .call(
                "dag/import?pin-roots=true",
                body,
                IMPORT_ANSWER_BYTES_MAX,
                IMPORT_TIMEOUT,
            )
            .await?;
        car::check_pins(objects, &answer)
    }

    /// Stores and pins one object of `size` bytes from a file whose content MUST have this CID. Memory holds a few
    /// blocks.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; whichever it is, the object may not be taken for pinned.
    pub async fn import_file(&self, file: File, cid: Cid, size: u64) -> Result<(), StoreError> {
        let (pieces_tx, pieces_rx) = mpsc::channel(PIECES_WAITING_MAX);
        let writing = tokio::task::spawn_blocking(move || car::send_file(file, cid, &pieces_tx));
        let timeout = IMPORT_TIMEOUT + Duration::from_secs(size / IMPORT_BYTES_A_SECOND);
        let answer = self
            .rpc
            .call(
                "dag/import?pin-roots=true",
                rpc::streamed_file(pieces_rx),
                IMPORT_ANSWER_BYTES_MAX,
                timeout,
            )
            .await;
        // A file that broke off is the cause of whatever the node says of it.
        match writing.await {
            Ok(Ok(())) => car::check_pin(&cid, &answer?),
            Ok(Err(error)) => Err(error),
            Err(error) => Err(StoreError::File(std::io::Error::other(error))),
        }
    }

    /// The bytes of an object in order, each block verified against its CID. Memory holds one
    /// block at a time.
    ///
    /// # Errors
    ///
    /// [`StoreError`], here for the first block and in the stream for the others.
    pub async fn fetch(
        &self,
        cid: &Cid,
    ) -> Result<impl Stream<Item = Result<Bytes, StoreError>> + Send + Sync + use<>, StoreError>
    {
        fetch::start(self.clone(), *cid).await
    }

    /// One block, verified.
    async fn block(&self, cid: &Cid) -> Result<Bytes, StoreError> {
        let command = format!("block/get?arg={cid}");
        let block = self
            .rpc
            .call(&command, rpc::empty(), BLOCK_BYTES_MAX, BLOCK_TIMEOUT)
            .await?;
        object::verify(cid, &block)?;
        Ok(block)
    }
}
