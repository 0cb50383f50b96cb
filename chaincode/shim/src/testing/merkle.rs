//! The summary that stands in a read set for a range with many results.
//!
//! Up to 50 results are listed. Beyond that, every 51 are hashed, every 51 hashes again, and the
//! hashes of the highest level are kept. Fabric checks phantoms against the same summary.

use fabric_protos::kvrwset::{
    KvRead, QueryReads, QueryReadsMerkleSummary, range_query_info::ReadsInfo,
};
use prost::Message as _;

use super::state::sha256;

/// How many reads or hashes one level keeps apart.
const MAX_DEGREE: usize = 50;

/// The results of one range, as far as they have been read.
#[derive(Clone, Debug, Default)]
pub(super) struct Summary {
    pending: Vec<KvRead>,
    /// Hashes by level; the first is level 1.
    levels: Vec<Vec<Vec<u8>>>,
}

impl Summary {
    /// Adds the next result.
    pub(super) fn add(&mut self, read: KvRead) {
        self.pending.push(read);
        if self.pending.len() > MAX_DEGREE {
            self.fold_pending();
        }
    }

    fn fold_pending(&mut self) {
        let reads = QueryReads {
            kv_reads: std::mem::take(&mut self.pending),
        };
        let mut hash = sha256(&reads.encode_to_vec());
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(vec![]);
            }
            self.levels[level].push(hash);
            if self.levels[level].len() <= MAX_DEGREE {
                return;
            }
            hash = sha256(&std::mem::take(&mut self.levels[level]).concat());
        }
    }

    /// What goes into the read set; nothing when there were no results.
    pub(super) fn finish(mut self) -> Option<ReadsInfo> {
        if self.levels.is_empty() {
            let kv_reads = self.pending;
            return (!kv_reads.is_empty()).then_some(ReadsInfo::RawReads(QueryReads { kv_reads }));
        }
        if !self.pending.is_empty() {
            self.fold_pending();
        }
        let mut top = self.levels.len() - 1;
        for level in 0..top {
            let hash = match std::mem::take(&mut self.levels[level]) {
                hashes if hashes.is_empty() => continue,
                mut hashes if hashes.len() == 1 => hashes.remove(0),
                hashes => sha256(&hashes.concat()),
            };
            self.levels[level + 1].push(hash);
        }
        let mut hashes = std::mem::take(&mut self.levels[top]);
        if hashes.len() > MAX_DEGREE {
            hashes = vec![sha256(&hashes.concat())];
            top += 1;
        }
        Some(ReadsInfo::ReadsMerkleHashes(QueryReadsMerkleSummary {
            max_degree: u32::try_from(MAX_DEGREE).unwrap_or(u32::MAX),
            max_level: u32::try_from(top + 1).unwrap_or(u32::MAX),
            max_level_hashes: hashes,
        }))
    }
}
