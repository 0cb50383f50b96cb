//! UnixFS trees out of files, as Kubo builds them: balanced, 174 links a node.

use std::cmp::Ordering;

use cid::{Cid, Version};
use rust_unixfs::{
    Metadata,
    dir::builder::{BufferingTreeBuilder, TreeBuildingFailed, TreeConstructionFailed, TreeOptions},
    file::adder::{Chunker, FileAdder},
};

/// Largest chunk, in bytes: 2 MiB less 256 bytes, which Kubo reserves for framing.
pub(crate) const MAX_CHUNK_BYTES: usize = (2 << 20) - 256;

/// Default chunk, in bytes (256 KiB).
const DEFAULT_CHUNK_BYTES: usize = 256 << 10;

/// How files become trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) cid_version: Version,
    pub(crate) raw_leaves: bool,
    pub(crate) chunk_bytes: usize,
}

impl Layout {
    /// Kubo's rules for what is not said: version 0 unless raw leaves are asked for, which have no
    /// version 0; raw leaves when the version is 1.
    pub(crate) fn new(version: Option<Version>, raw_leaves: Option<bool>) -> Self {
        let cid_version = version.unwrap_or(Version::V0);
        Self {
            cid_version,
            raw_leaves: raw_leaves.unwrap_or(cid_version == Version::V1),
            chunk_bytes: DEFAULT_CHUNK_BYTES,
        }
    }
}

/// The finished tree of a file or folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tree {
    pub(crate) root: Cid,
    /// Bytes of all blocks of the tree, counting each as often as it is linked.
    pub(crate) dag_size: u64,
}

/// Builds the tree of one file that arrives in pieces.
pub(crate) struct FileImport {
    adder: FileAdder,
    dag_size: u64,
    /// The newest block: the root of a file whose only chunk was full, for which nothing is left
    /// to do at the end.
    newest: Option<Cid>,
}

impl FileImport {
    pub(crate) fn new(layout: &Layout) -> Self {
        let adder = FileAdder::builder()
            .with_chunker(Chunker::Size(layout.chunk_bytes))
            .with_cid_version(layout.cid_version)
            .with_raw_leaves(layout.raw_leaves)
            .build();
        Self {
            adder,
            dag_size: 0,
            newest: None,
        }
    }

    /// Takes bytes of the file and hands each finished block to `sink`.
    pub(crate) fn push<E>(
        &mut self,
        mut bytes: &[u8],
        sink: &mut impl FnMut(&Cid, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        while !bytes.is_empty() {
            let (blocks, consumed) = self.adder.push(bytes);
            for (cid, block) in blocks {
                self.dag_size += block.len() as u64;
                self.newest = Some(cid);
                sink(&cid, &block)?;
            }
            bytes = &bytes[consumed..];
        }
        Ok(())
    }

    /// Ends the file and hands the last blocks to `sink`.
    pub(crate) fn finish<E>(
        self,
        sink: &mut impl FnMut(&Cid, &[u8]) -> Result<(), E>,
    ) -> Result<Tree, E> {
        let mut root = self.newest;
        let mut dag_size = self.dag_size;
        for (cid, block) in self.adder.finish() {
            dag_size += block.len() as u64;
            sink(&cid, &block)?;
            root = Some(cid);
        }
        Ok(Tree {
            root: root.expect("the last block of a file is its root"),
            dag_size,
        })
    }
}

/// Why folders could not be built.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    /// The names do not make a tree.
    #[error("{0}")]
    Names(TreeBuildingFailed),
    /// A folder node could not be written.
    #[error("{0}")]
    Node(TreeConstructionFailed),
}

/// A folder node with its path below the common root, which is the empty path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Folder {
    pub(crate) path: String,
    pub(crate) tree: Tree,
    pub(crate) block: Vec<u8>,
}

/// Gathers files by path and builds the folders above them.
pub(crate) struct FolderImport(BufferingTreeBuilder);

impl FolderImport {
    pub(crate) fn new(layout: &Layout) -> Self {
        let mut options = TreeOptions::default();
        options.wrap_with_directory();
        options.cid_version(layout.cid_version);
        Self(BufferingTreeBuilder::new(options))
    }

    pub(crate) fn add_file(&mut self, path: &str, tree: &Tree) -> Result<(), FolderError> {
        self.0
            .put_link(path, tree.root, tree.dag_size)
            .map_err(FolderError::Names)
    }

    /// A folder that is there even when nothing is put into it.
    pub(crate) fn add_folder(&mut self, path: &str) -> Result<(), FolderError> {
        self.0
            .set_metadata(path, Metadata::default())
            .map_err(FolderError::Names)
    }

    /// All folder nodes, each after those inside it, by name among its neighbours, and the common
    /// root last.
    pub(crate) fn finish(self) -> Result<Vec<Folder>, FolderError> {
        let mut folders = self.build()?;
        folders.sort_by(|one, other| {
            one.path
                .is_empty()
                .cmp(&other.path.is_empty())
                .then_with(|| inner_first(&one.path, &other.path))
        });
        Ok(folders)
    }

    fn build(self) -> Result<Vec<Folder>, FolderError> {
        self.0
            .build()
            .map(|node| {
                let node = node.map_err(FolderError::Node)?;
                Ok(Folder {
                    path: node.path,
                    tree: Tree {
                        root: node.cid,
                        dag_size: node.total_size,
                    },
                    block: node.block.into(),
                })
            })
            .collect()
    }
}

/// Orders paths by name, a path after all paths below it.
fn inner_first(one: &str, other: &str) -> Ordering {
    let mut one = one.split('/');
    let mut other = other.split('/');
    loop {
        match (one.next(), other.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Greater,
            (Some(_), None) => return Ordering::Less,
            (Some(one), Some(other)) if one != other => return one.cmp(other),
            _ => {}
        }
    }
}
