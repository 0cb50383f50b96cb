//! What simulations and commits of one channel share, and the heights at which readers stand.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use fabric_protos::protos::TxValidationCode;

use super::log::{LogReader, RecordPlace};
use super::state::State;
use super::version::Version;
use crate::genesis::ChannelConfig;

/// Shared by all handles of a channel. Locks are std: each is held for a lookup or for the
/// update of one block, never across an await.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) channel_id: String,
    pub(crate) state: RwLock<State>,
    pub(crate) index: RwLock<Index>,
    pub(crate) config: RwLock<Arc<ChannelConfig>>,
    pub(crate) heights: Mutex<Heights>,
    pub(crate) reader: LogReader,
}

/// Where blocks and transactions are.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) records: Vec<RecordPlace>,
    /// Header hashes by number.
    pub(crate) hashes: Vec<Vec<u8>>,
    pub(crate) by_hash: HashMap<Vec<u8>, u64>,
    pub(crate) transactions: HashMap<String, TransactionPlace>,
}

/// Where a transaction first appeared and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TransactionPlace {
    pub(crate) version: Version,
    pub(crate) code: TxValidationCode,
}

/// The height everybody may see, and how many readers stand at which height.
#[derive(Debug, Default)]
pub(crate) struct Heights {
    visible: u64,
    readers: BTreeMap<u64, usize>,
}

impl Heights {
    pub(crate) fn visible(&self) -> u64 {
        self.visible
    }

    /// Shows the blocks below `height` to new readers.
    pub(crate) fn publish(&mut self, height: u64) {
        self.visible = height;
    }

    /// The lowest height at which a reader stands or can still start.
    pub(crate) fn oldest(&self) -> u64 {
        let oldest = self.readers.keys().next().copied();
        oldest.map_or(self.visible, |oldest| oldest.min(self.visible))
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// A reader that stands at one height until it is dropped.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) shared: Arc<Shared>,
    pub(crate) height: u64,
    pub(crate) config: Arc<ChannelConfig>,
}

impl Snapshot {
    /// Stands at the visible height.
    pub(crate) fn take(shared: &Arc<Shared>) -> Self {
        let mut heights = lock(&shared.heights);
        let height = heights.visible;
        *heights.readers.entry(height).or_default() += 1;
        drop(heights);
        Self {
            shared: Arc::clone(shared),
            height,
            config: Arc::clone(&read(&shared.config)),
        }
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        let mut heights = lock(&self.shared.heights);
        if let Some(readers) = heights.readers.get_mut(&self.height) {
            *readers -= 1;
            if *readers == 0 {
                heights.readers.remove(&self.height);
            }
        }
    }
}
