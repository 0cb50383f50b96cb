//! What a range query leaves in the read set: the keys it saw, or a summary of them.
//!
//! Up to [`MAX_DEGREE`] results are listed one by one. Beyond that they are hashed in groups of
//! `MAX_DEGREE + 1` into the leaves of a tree, whose levels are folded when they grow past the
//! degree, so that a long scan costs a bounded read set. Simulation and validation run the same
//! code over what they see and compare.

use fabric_protos::kvrwset::{KvRead, QueryReads, QueryReadsMerkleSummary};
use prost::Message;

use super::hash::sha256;

/// Results listed before hashing starts, and hashes on a level before it is folded.
pub(crate) const MAX_DEGREE: u32 = 50;

/// Collects the results of one range query.
#[derive(Clone, Debug)]
pub(crate) struct RangeReads {
    pending: Vec<KvRead>,
    tree: MerkleTree,
}

/// The outcome of a range query.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum CollectedReads {
    /// Every key with its version.
    Raw(Vec<KvRead>),
    /// The tree over them.
    Summary(QueryReadsMerkleSummary),
}

impl RangeReads {
    /// Starts a collection. A degree below two cannot make a tree and is taken as two.
    pub(crate) fn new(max_degree: u32) -> Self {
        Self {
            pending: Vec::new(),
            tree: MerkleTree::new(max_degree.max(2)),
        }
    }

    pub(crate) fn add(&mut self, read: KvRead) {
        self.pending.push(read);
        if self.pending.len() > self.tree.degree() {
            self.hash_pending();
        }
    }

    /// The tree so far, whose top level only ever grows to the right.
    pub(crate) fn summary(&self) -> QueryReadsMerkleSummary {
        self.tree.summary()
    }

    pub(crate) fn finish(mut self) -> CollectedReads {
        if self.tree.is_empty() {
            return CollectedReads::Raw(self.pending);
        }
        if !self.pending.is_empty() {
            self.hash_pending();
        }
        self.tree.complete();
        CollectedReads::Summary(self.tree.summary())
    }

    fn hash_pending(&mut self) {
        let reads = QueryReads {
            kv_reads: std::mem::take(&mut self.pending),
        };
        self.tree.push(sha256(&reads.encode_to_vec()));
    }
}

/// A tree of which only the unfolded right edge is kept; `levels[0]` holds the leaves.
#[derive(Clone, Debug)]
struct MerkleTree {
    max_degree: u32,
    levels: Vec<Vec<Vec<u8>>>,
}

impl MerkleTree {
    fn new(max_degree: u32) -> Self {
        Self {
            max_degree,
            levels: vec![Vec::new()],
        }
    }

    fn degree(&self) -> usize {
        self.max_degree as usize
    }

    fn is_empty(&self) -> bool {
        self.levels.len() == 1 && self.levels[0].is_empty()
    }

    fn push(&mut self, leaf: Vec<u8>) {
        self.levels[0].push(leaf);
        let mut level = 0;
        while self.levels[level].len() > self.degree() {
            let folded = sha256(&self.levels[level].concat());
            self.levels[level].clear();
            level += 1;
            self.push_to(level, folded);
        }
    }

    fn push_to(&mut self, level: usize, hash: Vec<u8>) {
        if level == self.levels.len() {
            self.levels.push(Vec::new());
        }
        self.levels[level].push(hash);
    }

    /// Lifts what is left below the top level; a single hash is lifted as it is.
    fn complete(&mut self) {
        let top = self.levels.len() - 1;
        for level in 0..top {
            let mut hashes = std::mem::take(&mut self.levels[level]);
            let lifted = match hashes.len() {
                0 => continue,
                1 => hashes.remove(0),
                _ => sha256(&hashes.concat()),
            };
            self.push_to(level + 1, lifted);
        }
        if self.levels[top].len() > self.degree() {
            let folded = sha256(&self.levels[top].concat());
            self.levels[top].clear();
            self.push_to(top + 1, folded);
        }
    }

    fn summary(&self) -> QueryReadsMerkleSummary {
        QueryReadsMerkleSummary {
            max_degree: self.max_degree,
            max_level: u32::try_from(self.levels.len()).unwrap_or(u32::MAX),
            max_level_hashes: self.levels.last().cloned().unwrap_or_default(),
        }
    }
}
