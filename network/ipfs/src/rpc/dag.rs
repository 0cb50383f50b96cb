//! `cat`, `dag/export`, `dag/import`: whole trees.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use cid::Cid;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;

use super::{
    answer::{Answer, RpcError},
    blocking,
    request::Request,
    upload::{Part, Parts},
};
use crate::{
    Store, StoreError, block,
    car::{self, Item},
    path::ContentPath,
    read::FileRead,
    store::{Batch, DagWalk},
};

/// Most files in one `cat`.
const MAX_CAT_PATHS: usize = 1000;
/// Most blocks in one CAR upload.
const MAX_CAR_BLOCKS: usize = 1 << 18;

pub(super) async fn cat(request: Request) -> Result<Answer, RpcError> {
    let mut skip = bound(&request, "offset")?.unwrap_or(0);
    let mut left = bound(&request, "length")?.unwrap_or(u64::MAX);
    let paths = request.required_arguments("ipfs-path")?;
    if paths.len() > MAX_CAT_PATHS {
        return Err(RpcError::BodyTooLarge);
    }
    let mut files = Vec::new();
    let mut length = 0;
    for path in paths {
        if left == 0 {
            break;
        }
        let path = ContentPath::parse(&path)?;
        let store = Arc::clone(&request.store);
        let range = skip..skip.saturating_add(left);
        let (file, found) = blocking(move || open(&store, &path, range)).await?;
        length += found;
        left -= found;
        skip = skip.saturating_sub(file.size());
        files.push(file);
    }
    // Popped from the end.
    files.reverse();
    let mut pieces = Box::pin(pieces(request.store, files));
    // What fails before the first byte can still be answered with an error.
    let first = pieces.try_next().await?;
    let pieces = stream::iter(first.map(Ok)).chain(pieces);
    Ok(Answer::stream("text/plain", Some(length), pieces))
}

fn bound(request: &Request, option: &'static str) -> Result<Option<u64>, RpcError> {
    request
        .integer(option, "int64")?
        .map(|value| u64::try_from(value).map_err(|_| RpcError::Negative(option)))
        .transpose()
}

/// Opens a file and says how many of its bytes lie in the range.
fn open(
    store: &Store,
    path: &ContentPath,
    range: Range<u64>,
) -> Result<(FileRead, u64), StoreError> {
    let cid = path.resolve(store)?;
    let file = FileRead::open(store, cid, range.clone())?;
    let found = file.size().min(range.end).saturating_sub(range.start);
    Ok((file, found))
}

/// One block is read for each piece that the client takes, so a slow client holds one block.
fn pieces(
    store: Arc<Store>,
    files: Vec<FileRead>,
) -> impl Stream<Item = Result<Bytes, RpcError>> + Send {
    stream::try_unfold((store, files), |(store, mut files)| async {
        loop {
            let Some(mut file) = files.pop() else {
                return Ok(None);
            };
            let reader = Arc::clone(&store);
            let (file, piece) = blocking(move || {
                let piece = file.next(&reader)?;
                Ok::<_, StoreError>((file, piece))
            })
            .await?;
            if let Some(piece) = piece {
                files.push(file);
                if !piece.is_empty() {
                    return Ok(Some((Bytes::from(piece), (store, files))));
                }
            }
        }
    })
}

pub(super) async fn export(request: Request) -> Result<Answer, RpcError> {
    let path = ContentPath::parse(&request.required_argument("root")?)?;
    let store = Arc::clone(&request.store);
    let root = blocking(move || {
        let root = path.resolve(&store)?;
        store.get(&root)?;
        Ok::<_, RpcError>(root)
    })
    .await?;
    let sections = sections(request.store, root);
    Ok(Answer::stream("application/vnd.ipld.car", None, sections))
}

fn sections(store: Arc<Store>, root: Cid) -> impl Stream<Item = Result<Bytes, RpcError>> + Send {
    let header = stream::iter([Ok(car::header(root))]);
    let walk = DagWalk::new(root);
    let blocks = stream::try_unfold((store, walk), |(store, mut walk)| async {
        let reader = Arc::clone(&store);
        let (walk, block) = blocking(move || {
            let block = walk.next(&reader)?;
            Ok::<_, StoreError>((walk, block))
        })
        .await?;
        Ok(block.map(|(cid, bytes)| (car::block_section(&cid, &bytes), (store, walk))))
    });
    header.chain(blocks)
}

#[derive(Debug, Serialize)]
struct Link {
    #[serde(rename = "/")]
    cid: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct RootMeta {
    cid: Link,
    pin_error_msg: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ImportStats {
    block_count: u64,
    block_bytes_count: u64,
}

#[derive(Debug, Serialize)]
enum ImportEvent {
    Root(RootMeta),
    Stats(ImportStats),
}

pub(super) async fn import(request: Request) -> Result<Answer, RpcError> {
    let local_only = request.flag("local-only")?.unwrap_or(false);
    let pin_roots = request.flag("pin-roots")?.unwrap_or(true) && !local_only;
    let with_stats = request.flag("stats")?.unwrap_or(false);
    let limits = request.limits;
    let mut importing = Importing::new(Arc::clone(&request.store));
    let mut parts = Parts::new(request.files("path")?, &limits, "path");
    while let Some(part) = parts.next().await? {
        let Part::File(mut file) = part else {
            return Err(RpcError::FileType("application/x-directory".to_owned()));
        };
        importing.begin();
        while let Some(piece) = file.piece().await? {
            importing = blocking(move || importing.write(&piece)).await?;
        }
        importing.end()?;
    }
    let events = blocking(move || importing.finish(pin_roots, with_stats)).await?;
    Answer::json_lines(events)
}

/// CARs being taken in. Nothing of them is visible until [`Importing::finish`].
struct Importing {
    batch: Batch,
    parser: car::Parser,
    roots: Vec<Cid>,
    previous: Option<Cid>,
    stats: ImportStats,
}

impl Importing {
    fn new(store: Arc<Store>) -> Self {
        Self {
            batch: Batch::new(store),
            parser: car::Parser::default(),
            roots: Vec::new(),
            previous: None,
            stats: ImportStats {
                block_count: 0,
                block_bytes_count: 0,
            },
        }
    }

    fn begin(&mut self) {
        self.parser = car::Parser::default();
        self.previous = None;
    }

    fn write(mut self, bytes: &[u8]) -> Result<Self, RpcError> {
        self.parser.push(bytes);
        while let Some(item) = self.parser.next().map_err(|error| self.failed(error))? {
            match item {
                Item::Roots(roots) => {
                    for root in roots {
                        if !self.roots.contains(&root) {
                            self.roots.push(root);
                        }
                    }
                }
                Item::Block(cid, block) => self.take_block(cid, &block)?,
            }
        }
        Ok(self)
    }

    /// Stores a block after checking its hash and that its links can be found.
    fn take_block(&mut self, cid: Cid, bytes: &[u8]) -> Result<(), RpcError> {
        if self.batch.len() >= MAX_CAR_BLOCKS {
            return Err(RpcError::TooManyBlocks(MAX_CAR_BLOCKS));
        }
        self.batch
            .put(&cid, bytes)
            .and_then(|()| block::links(&cid, bytes))
            .map_err(|source| RpcError::CarBlock {
                cid: Box::new(cid),
                source: Box::new(source),
            })?;
        self.stats.block_count += 1;
        self.stats.block_bytes_count += bytes.len() as u64;
        self.previous = Some(cid);
        Ok(())
    }

    fn end(&self) -> Result<(), RpcError> {
        self.parser.finish().map_err(|error| self.failed(error))
    }

    fn finish(self, pin_roots: bool, with_stats: bool) -> Result<Vec<ImportEvent>, RpcError> {
        let roots = if pin_roots { self.roots } else { Vec::new() };
        let pinned = self.batch.commit_and_try_roots(&roots)?;
        let mut events: Vec<_> = roots
            .iter()
            .zip(pinned)
            .map(|(root, pinned)| {
                ImportEvent::Root(RootMeta {
                    cid: Link {
                        cid: root.to_string(),
                    },
                    pin_error_msg: pinned.err().map(|e| e.to_string()).unwrap_or_default(),
                })
            })
            .collect();
        if with_stats {
            events.push(ImportEvent::Stats(self.stats));
        }
        Ok(events)
    }

    fn failed(&self, source: car::CarError) -> RpcError {
        match self.previous {
            Some(previous) => RpcError::CarAfter {
                previous: Box::new(previous),
                source,
            },
            None => RpcError::Car(source),
        }
    }
}
