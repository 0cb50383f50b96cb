//! UnixFS trees back into bytes.

use std::ops::Range;

use cid::Cid;
use rust_unixfs::{
    MaybeResolved, ResolveError,
    file::{
        FileReadFailed,
        visit::{FileVisit, IdleFileVisit},
    },
};

use crate::{Store, StoreError, block};

/// Reads a range of a file, one block at a time.
#[derive(Debug)]
pub(crate) struct FileRead {
    root: Cid,
    size: u64,
    /// What the first block held.
    first: Option<Vec<u8>>,
    rest: Option<FileVisit>,
}

impl FileRead {
    /// Opens the file and reads its first block.
    pub(crate) fn open(store: &Store, root: Cid, range: Range<u64>) -> Result<Self, StoreError> {
        let block = store.get(&root)?;
        let visit = IdleFileVisit::default().with_target_range(range);
        let (content, size, _, rest) = match root.codec() {
            block::RAW => visit.start_from_raw(&block),
            block::DAG_PB => visit.start(&block).map_err(|error| failed(root, &error))?,
            _ => return Err(StoreError::NotAFile { cid: root }),
        };
        Ok(Self {
            root,
            size,
            first: Some(content.to_vec()),
            rest,
        })
    }

    /// Size of the whole file in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The next bytes, possibly none of a block that only links; `None` at the end.
    pub(crate) fn next(&mut self, store: &Store) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        let Some(visit) = self.rest.take() else {
            return Ok(None);
        };
        let (cid, _) = visit.pending_links();
        let block = store.get(cid)?;
        let (content, rest) = visit
            .continue_walk(&block, &mut None)
            .map_err(|error| failed(self.root, &error))?;
        self.rest = rest;
        Ok(Some(content.to_vec()))
    }
}

fn failed(root: Cid, error: &FileReadFailed) -> StoreError {
    match error {
        FileReadFailed::UnexpectedType(found) if found.is_directory() => StoreError::IsDirectory,
        error => {
            tracing::warn!(cid = %root, %error, "unreadable file");
            StoreError::NotAFile { cid: root }
        }
    }
}

/// The CID behind a name in a directory, plain or sharded.
pub(crate) fn directory_entry(store: &Store, cid: &Cid, name: &str) -> Result<Cid, StoreError> {
    let absent = || StoreError::NoSuchLink {
        name: name.to_owned(),
        cid: *cid,
    };
    let unreadable = |error: ResolveError| {
        tracing::warn!(%cid, %error, "unreadable directory");
        absent()
    };
    let mut cache = None;
    let block = store.get(cid)?;
    let mut found = rust_unixfs::resolve(&block, name, &mut cache).map_err(unreadable)?;
    loop {
        found = match found {
            MaybeResolved::Found(cid) => return Ok(cid),
            MaybeResolved::NotFound => return Err(absent()),
            MaybeResolved::NeedToLoadMore(lookup) => {
                let (next, _) = lookup.pending_links();
                let shard = store.get(next)?;
                lookup
                    .continue_walk(&shard, &mut cache)
                    .map_err(|error| unreadable(error.into_resolve_error()))?
            }
        };
    }
}
