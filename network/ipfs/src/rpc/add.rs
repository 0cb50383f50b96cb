//! `add`: files into UnixFS trees.

use std::collections::BTreeMap;

use cid::{Cid, Version};
use serde::Serialize;

use super::{
    answer::{Answer, RpcError},
    blocking,
    pin::pin_name,
    request::Request,
    upload::{Part, Parts},
};
use crate::{
    import::{FileImport, FolderImport, Layout, MAX_CHUNK_BYTES, Tree},
    store::{Batch, Pin},
};

/// Most blocks that one request may make: 64 GiB in default chunks, 256 KiB in chunks of a byte.
const MAX_BLOCKS: usize = 1 << 18;
/// A progress line for this many bytes, as Kubo does.
const PROGRESS_BYTES: u64 = 256 << 10;

const UNSUPPORTED: [&str; 11] = [
    "trickle",
    "nocopy",
    "fscache",
    "inline",
    "to-files",
    "max-file-links",
    "max-directory-links",
    "max-hamt-fanout",
    "preserve-mode",
    "preserve-mtime",
    "mode",
];

struct Options {
    layout: Layout,
    pin: bool,
    pin_name: String,
    only_hash: bool,
    wrap: bool,
    progress: bool,
    silent: bool,
}

impl Options {
    fn parse(request: &Request) -> Result<Self, RpcError> {
        for option in UNSUPPORTED {
            if !matches!(request.option(option), None | Some("false" | "0")) {
                return Err(RpcError::Unsupported(option));
            }
        }
        match request.option("hash") {
            None | Some("" | "sha2-256") => {}
            Some(other) => return Err(RpcError::Hash(other.to_owned())),
        }
        let version = match request.integer("cid-version", "int")? {
            None => None,
            Some(0) => Some(Version::V0),
            Some(1) => Some(Version::V1),
            Some(other) => return Err(RpcError::CidVersion(other)),
        };
        let mut layout = Layout::new(version, request.flag("raw-leaves")?);
        if let Some(chunker) = request.option("chunker").filter(|text| !text.is_empty()) {
            layout.chunk_bytes = chunk_bytes(chunker)?;
        }
        let only_hash = request.flag("only-hash")?.unwrap_or(false);
        Ok(Self {
            layout,
            pin: request.flag("pin")?.unwrap_or(true) && !only_hash,
            pin_name: pin_name(request.option("pin-name"))?,
            only_hash,
            wrap: request.flag("wrap-with-directory")?.unwrap_or(false),
            progress: request.flag("progress")?.unwrap_or(false),
            silent: request.flag("silent")?.unwrap_or(false),
        })
    }
}

fn chunk_bytes(chunker: &str) -> Result<usize, RpcError> {
    let size = match chunker {
        "default" => return Ok(256 << 10),
        other => other
            .strip_prefix("size-")
            .and_then(|size| size.parse::<usize>().ok()),
    };
    match size {
        None => Err(RpcError::Chunker(chunker.to_owned())),
        Some(0) => Err(RpcError::ChunkerZero),
        Some(size) if size > MAX_CHUNK_BYTES => Err(RpcError::ChunkerTooLarge),
        Some(size) => Ok(size),
    }
}

/// One line of the answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct AddEvent {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<String>,
}

pub(super) async fn add(request: Request) -> Result<Answer, RpcError> {
    let options = Options::parse(&request)?;
    let limits = request.limits;
    let mut adding = Adding::new(&request, options);
    let mut parts = Parts::new(request.files("path")?, &limits, "path");
    while let Some(part) = parts.next().await? {
        match part {
            Part::Folder(path) => adding.add_folder(path)?,
            Part::File(mut file) => {
                adding.begin();
                while let Some(piece) = file.piece().await? {
                    adding = blocking(move || adding.write(&piece)).await?;
                }
                let path = file.path;
                adding = blocking(move || adding.end(path)).await?;
            }
        }
    }
    let events = blocking(move || adding.finish()).await?;
    Answer::json_lines(events)
}

/// An upload in progress. Nothing of it is visible until [`Adding::finish`].
struct Adding {
    options: Options,
    /// Absent when only hashes are asked for.
    batch: Option<Batch>,
    file: Option<FileImport>,
    file_bytes: u64,
    progress_bytes: u64,
    folders: Option<FolderImport>,
    /// Roots to pin, with Kubo's rule that a file inside a folder is pinned by the folder.
    roots: Vec<Cid>,
    events: Vec<AddEvent>,
    /// Sizes are counted for the limit also when nothing is stored.
    blocks: usize,
}

impl Adding {
    fn new(request: &Request, options: Options) -> Self {
        let batch = (!options.only_hash).then(|| Batch::new(request.store.clone()));
        let folders = options.wrap.then(|| FolderImport::new(&options.layout));
        Self {
            options,
            batch,
            file: None,
            file_bytes: 0,
            progress_bytes: 0,
            folders,
            roots: Vec::new(),
            events: Vec::new(),
            blocks: 0,
        }
    }

    fn begin(&mut self) {
        self.file = Some(FileImport::new(&self.options.layout));
        self.file_bytes = 0;
        self.progress_bytes = 0;
    }

    fn write(mut self, bytes: &[u8]) -> Result<Self, RpcError> {
        self.file_bytes += bytes.len() as u64;
        if let Some(mut file) = self.file.take() {
            file.push(bytes, &mut |cid, block| self.store(cid, block))?;
            self.file = Some(file);
        }
        Ok(self)
    }

    fn end(mut self, path: String) -> Result<Self, RpcError> {
        let Some(file) = self.file.take() else {
            return Ok(self);
        };
        let tree = file.finish(&mut |cid, block| self.store(cid, block))?;
        self.report_progress(&path);
        if self.options.wrap || path.contains('/') {
            let name = if path.is_empty() {
                tree.root.to_string()
            } else {
                path.clone()
            };
            self.folders().add_file(&name, &tree)?;
        } else {
            self.roots.push(tree.root);
        }
        let name = if path.is_empty() {
            tree.root.to_string()
        } else {
            path
        };
        self.report(name, &tree);
        Ok(self)
    }

    fn add_folder(&mut self, path: String) -> Result<(), RpcError> {
        if path.is_empty() {
            return Ok(());
        }
        self.folders().add_folder(&path).map_err(Into::into)
    }

    fn finish(mut self) -> Result<Vec<AddEvent>, RpcError> {
        if let Some(folders) = self.folders.take() {
            for folder in folders.finish()? {
                let is_common_root = folder.path.is_empty();
                if is_common_root && !self.options.wrap {
                    continue;
                }
                self.store(&folder.tree.root, &folder.block)?;
                let is_top = if self.options.wrap {
                    is_common_root
                } else {
                    !folder.path.contains('/')
                };
                if is_top {
                    self.roots.push(folder.tree.root);
                }
                self.report(folder.path, &folder.tree);
            }
        }
        if let Some(batch) = self.batch {
            let pins: BTreeMap<Cid, Pin> = if self.options.pin {
                let name = &self.options.pin_name;
                let pins = self.roots.iter().map(|root| (*root, Pin::recursive(name)));
                pins.collect()
            } else {
                BTreeMap::new()
            };
            let pins: Vec<_> = pins.into_iter().collect();
            batch.commit(&pins)?;
        }
        Ok(self.events)
    }

    fn store(&mut self, cid: &Cid, block: &[u8]) -> Result<(), RpcError> {
        self.blocks += 1;
        if self.blocks > MAX_BLOCKS {
            return Err(RpcError::TooManyBlocks(MAX_BLOCKS));
        }
        match &mut self.batch {
            Some(batch) => batch.put_hashed(cid, block).map_err(Into::into),
            None => Ok(()),
        }
    }

    fn folders(&mut self) -> &mut FolderImport {
        let layout = &self.options.layout;
        self.folders
            .get_or_insert_with(|| FolderImport::new(layout))
    }

    fn report(&mut self, name: String, tree: &Tree) {
        if self.options.silent {
            return;
        }
        self.events.push(AddEvent {
            name,
            hash: Some(tree.root.to_string()),
            bytes: None,
            size: Some(tree.dag_size.to_string()),
        });
    }

    fn report_progress(&mut self, path: &str) {
        if !self.options.progress || self.options.silent {
            return;
        }
        while self.progress_bytes < self.file_bytes {
            self.progress_bytes = (self.progress_bytes + PROGRESS_BYTES).min(self.file_bytes);
            self.events.push(AddEvent {
                name: path.to_owned(),
                hash: None,
                bytes: Some(self.progress_bytes),
                size: None,
            });
        }
    }
}
