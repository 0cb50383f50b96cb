//! An object back from its blocks, in order.

use bytes::Bytes;
use cid::Cid;
use futures::{Stream, StreamExt, stream};
use rust_unixfs::file::visit::{FileVisit, IdleFileVisit};

use super::{Kubo, StoreError};

/// Multicodec of raw bytes.
const RAW: u64 = 0x55;
/// Multicodec of DAG-PB, the format of a file's inner nodes.
const DAG_PB: u64 = 0x70;

/// Fetches the root and goes on from there when polled.
pub(super) async fn start(
    kubo: Kubo,
    cid: Cid,
) -> Result<impl Stream<Item = Result<Bytes, StoreError>> + Send + Sync + use<>, StoreError> {
    let root = kubo.block(&cid).await?;
    let corrupt = || StoreError::Corrupt { cid };
    let visit = IdleFileVisit::default();
    let (content, _, _, rest) = match cid.codec() {
        RAW => visit.start_from_raw(&root),
        DAG_PB => visit.start(&root).map_err(|_| corrupt())?,
        _ => return Err(corrupt()),
    };
    let first = root.slice_ref(content);
    let walk = Walk { kubo, cid, rest };
    let others = stream::unfold(walk, Walk::step);
    Ok(stream::once(async move { Ok(first) })
        .chain(others)
        .filter(|chunk| {
            let links_only = matches!(chunk, Ok(bytes) if bytes.is_empty());
            std::future::ready(!links_only)
        }))
}

/// What is still to come of an object.
struct Walk {
    kubo: Kubo,
    cid: Cid,
    rest: Option<FileVisit>,
}

impl Walk {
    /// The bytes of the next block, none for one that only links.
    async fn step(mut self) -> Option<(Result<Bytes, StoreError>, Self)> {
        let visit = self.rest.take()?;
        let chunk = self.next(visit).await;
        Some((chunk, self))
    }

    async fn next(&mut self, visit: FileVisit) -> Result<Bytes, StoreError> {
        let block = self.kubo.block(visit.pending_links().0).await?;
        let (content, rest) = visit
            .continue_walk(&block, &mut None)
            .map_err(|_| StoreError::Corrupt { cid: self.cid })?;
        self.rest = rest;
        Ok(block.slice_ref(content))
    }
}
