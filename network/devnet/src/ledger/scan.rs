//! Scans under way in a simulation.

use std::collections::VecDeque;
use std::ops::Bound;

use fabric_protos::kvrwset::range_query_info::ReadsInfo;
use fabric_protos::kvrwset::{KvRead, QueryReads, RangeQueryInfo};
use fabric_protos::queryresult::{KeyModification, Kv};

use super::error::SimulationError;
use super::range_reads::{CollectedReads, MAX_DEGREE, RangeReads};
use super::shared::{Snapshot, read};
use super::state::CollectionId;
use super::transaction::key_modification;
use super::version::Version;

/// Names a scan of one simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScanId(pub(super) usize);

/// What a scan yields.
#[derive(Clone, Debug, PartialEq)]
pub enum ScanItem {
    /// A key with its value, of a range.
    State(Kv),
    /// What a transaction made of the key, of a history.
    History(KeyModification),
}

/// Keys taken from the state under one lock.
const CHUNK: usize = 100;

#[derive(Debug)]
pub(super) struct Scan {
    open: bool,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Range(RangeScan),
    Private(PrivateScan),
    History(HistoryScan),
}

#[derive(Debug)]
struct RangeScan {
    namespace: String,
    cursor: Cursor<Version>,
    /// Items that may still be returned.
    remaining: Option<usize>,
    info: RangeQueryInfo,
    reads: RangeReads,
}

#[derive(Debug)]
struct PrivateScan {
    id: CollectionId,
    cursor: Cursor<()>,
    member: bool,
}

#[derive(Debug)]
struct HistoryScan {
    namespace: String,
    key: String,
    /// Oldest first; taken from the end.
    places: Vec<Version>,
}

/// A place in a range, with what was fetched ahead.
#[derive(Debug)]
struct Cursor<E> {
    after: Option<String>,
    start: String,
    end: String,
    ahead: VecDeque<(String, Vec<u8>, E)>,
    drained: bool,
}

impl<E> Cursor<E> {
    fn new(start: &str, end: &str) -> Self {
        Self {
            after: None,
            start: start.to_owned(),
            end: end.to_owned(),
            ahead: VecDeque::new(),
            drained: false,
        }
    }

    /// Fetches the next chunk if none is left. `fetch` gets the bounds.
    fn fill(&mut self, fetch: impl FnOnce(Bound<&str>, &str) -> Vec<(String, Vec<u8>, E)>) {
        if !self.ahead.is_empty() || self.drained {
            return;
        }
        let start = match &self.after {
            Some(after) => Bound::Excluded(after.as_str()),
            None => Bound::Included(self.start.as_str()),
        };
        let fetched = fetch(start, &self.end);
        self.drained = fetched.len() < CHUNK;
        if let Some((last, _, _)) = fetched.last() {
            self.after = Some(last.clone());
        }
        self.ahead.extend(fetched);
    }
}

impl Scan {
    fn new(kind: Kind) -> Self {
        Self { open: true, kind }
    }

    pub(super) fn range(namespace: &str, start: &str, end: &str, limit: Option<usize>) -> Self {
        Self::new(Kind::Range(RangeScan {
            namespace: namespace.to_owned(),
            cursor: Cursor::new(start, end),
            remaining: limit,
            info: RangeQueryInfo {
                start_key: start.to_owned(),
                ..RangeQueryInfo::default()
            },
            reads: RangeReads::new(MAX_DEGREE),
        }))
    }

    pub(super) fn private(id: CollectionId, start: &str, end: &str, member: bool) -> Self {
        Self::new(Kind::Private(PrivateScan {
            id,
            cursor: Cursor::new(start, end),
            member,
        }))
    }

    pub(super) fn history(namespace: &str, key: &str, places: Vec<Version>) -> Self {
        Self::new(Kind::History(HistoryScan {
            namespace: namespace.to_owned(),
            key: key.to_owned(),
            places,
        }))
    }

    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    pub(super) fn close(&mut self) {
        self.open = false;
    }

    pub(super) fn next(
        &mut self,
        snapshot: &Snapshot,
    ) -> Result<Option<ScanItem>, SimulationError> {
        match &mut self.kind {
            Kind::Range(scan) => Ok(scan.next(snapshot)),
            Kind::Private(scan) => Ok(scan.next(snapshot)),
            Kind::History(scan) => scan.next(snapshot),
        }
    }

    /// The key that would come next, page or not.
    pub(super) fn peek_key(&mut self, snapshot: &Snapshot) -> Option<String> {
        match &mut self.kind {
            Kind::Range(scan) => {
                scan.fill(snapshot);
                let (key, _, _) = scan.cursor.ahead.front()?;
                Some(key.clone())
            }
            Kind::Private(_) | Kind::History(_) => None,
        }
    }

    /// What the read set keeps of it; nothing of scans without phantom protection.
    pub(super) fn into_range_query(self) -> Option<(String, RangeQueryInfo)> {
        let Kind::Range(scan) = self.kind else {
            return None;
        };
        let mut info = scan.info;
        info.reads_info = match scan.reads.finish() {
            CollectedReads::Raw(reads) if reads.is_empty() => None,
            CollectedReads::Raw(kv_reads) => Some(ReadsInfo::RawReads(QueryReads { kv_reads })),
            CollectedReads::Summary(summary) => Some(ReadsInfo::ReadsMerkleHashes(summary)),
        };
        Some((scan.namespace, info))
    }
}

impl RangeScan {
    fn fill(&mut self, snapshot: &Snapshot) {
        let namespace = &self.namespace;
        self.cursor.fill(|start, end| {
            let state = read(&snapshot.shared.state);
            let keys = state.public_range(namespace, start, end, snapshot.height);
            keys.take(CHUNK)
                .map(|(key, value)| (key.clone(), value.value.clone(), value.version))
                .collect()
        });
    }

    fn next(&mut self, snapshot: &Snapshot) -> Option<ScanItem> {
        let item = if self.remaining == Some(0) {
            None
        } else {
            self.fill(snapshot);
            self.cursor.ahead.pop_front()
        };
        let Some((key, value, version)) = item else {
            self.info.itr_exhausted = true;
            self.info.end_key.clone_from(&self.cursor.end);
            return None;
        };
        self.remaining = self.remaining.map(|remaining| remaining - 1);
        self.info.end_key.clone_from(&key);
        self.reads.add(KvRead {
            key: key.clone(),
            version: Some(version.to_proto()),
        });
        Some(ScanItem::State(Kv {
            namespace: self.namespace.clone(),
            key,
            value,
        }))
    }
}

impl PrivateScan {
    fn next(&mut self, snapshot: &Snapshot) -> Option<ScanItem> {
        if !self.member {
            return None;
        }
        let id = &self.id;
        self.cursor.fill(|start, end| {
            let state = read(&snapshot.shared.state);
            let keys = state.private_range(id, start, end, snapshot.height);
            keys.take(CHUNK)
                .map(|(key, value)| (key.clone(), value.value.clone(), ()))
                .collect()
        });
        let (key, value, ()) = self.cursor.ahead.pop_front()?;
        Some(ScanItem::State(Kv {
            namespace: self.id.namespace.clone(),
            key,
            value,
        }))
    }
}

impl HistoryScan {
    fn next(&mut self, snapshot: &Snapshot) -> Result<Option<ScanItem>, SimulationError> {
        let Some(place) = self.places.pop() else {
            return Ok(None);
        };
        let unreadable = || SimulationError::Unreadable {
            what: "history",
            namespace: self.namespace.clone(),
            key: self.key.clone(),
        };
        let envelope = snapshot.shared.envelope(place).map_err(|_| unreadable())?;
        key_modification(&envelope, &self.namespace, &self.key)
            .map(|modification| Some(ScanItem::History(modification)))
            .ok_or_else(unreadable)
    }
}
