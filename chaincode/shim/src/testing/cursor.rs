//! A query's results, handed out in the portions in which a peer does.

use std::collections::VecDeque;

use fabric_protos::{
    kvrwset::{KvRead, RangeQueryInfo},
    protos::{QueryResponse, QueryResponseMetadata, QueryResultBytes},
};
use prost::Message as _;

use super::{Version, merkle::Summary};

/// Records in one message when the query is not paged.
const RECORDS_PER_MESSAGE: usize = 100;

/// Records that an unpaged query yields at most; what is beyond is cut off silently.
const TOTAL_QUERY_LIMIT: usize = 100_000;

/// One encoded result, with what the read set needs.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) key: String,
    pub(super) version: Option<Version>,
    pub(super) record: Vec<u8>,
}

/// A range of public state being read.
#[derive(Clone, Debug)]
pub(super) struct RangeRead {
    pub(super) namespace: String,
    end: String,
    info: RangeQueryInfo,
    summary: Summary,
}

impl RangeRead {
    pub(super) fn new(namespace: &str, start: &str, end: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            end: end.to_owned(),
            info: RangeQueryInfo {
                start_key: start.to_owned(),
                ..RangeQueryInfo::default()
            },
            summary: Summary::default(),
        }
    }

    /// Notes a result, or that there is none left. As long as there may be more, the range that
    /// counts ends at the last key seen.
    fn note(&mut self, found: Option<&Found>) {
        match found {
            Some(found) => {
                self.info.end_key.clone_from(&found.key);
                self.summary.add(KvRead {
                    key: found.key.clone(),
                    version: found.version.map(Into::into),
                });
            }
            None => {
                self.info.itr_exhausted = true;
                self.info.end_key.clone_from(&self.end);
            }
        }
    }

    pub(super) fn into_info(self) -> RangeQueryInfo {
        RangeQueryInfo {
            reads_info: self.summary.finish(),
            ..self.info
        }
    }
}

/// An open query.
#[derive(Debug)]
pub(super) struct Cursor {
    id: String,
    remaining: VecDeque<Found>,
    pending: Vec<QueryResultBytes>,
    total: usize,
    page_size: Option<usize>,
    /// Where the range is noted, when the query is one over public state.
    pub(super) range: Option<usize>,
}

impl Cursor {
    pub(super) fn new(
        id: String,
        remaining: VecDeque<Found>,
        page_size: Option<usize>,
        range: Option<usize>,
    ) -> Self {
        Self {
            id,
            remaining,
            pending: vec![],
            total: 0,
            page_size,
            range,
        }
    }

    /// The next portion. It is the last one unless `has_more` says so.
    pub(super) fn portion(&mut self, mut range: Option<&mut RangeRead>) -> QueryResponse {
        let limit = self.page_size.unwrap_or(TOTAL_QUERY_LIMIT);
        loop {
            if self.total >= limit {
                return self.last();
            }
            let found = self.remaining.pop_front();
            if let Some(range) = range.as_deref_mut() {
                range.note(found.as_ref());
            }
            let Some(found) = found else {
                return self.last();
            };
            self.total += 1;
            let record = QueryResultBytes {
                result_bytes: found.record,
            };
            // The record that does not fit any more has been read, and comes first next time.
            if self.page_size.is_none() && self.pending.len() == RECORDS_PER_MESSAGE {
                let results = std::mem::replace(&mut self.pending, vec![record]);
                return QueryResponse {
                    results,
                    has_more: true,
                    id: self.id.clone(),
                    metadata: vec![],
                };
            }
            self.pending.push(record);
        }
    }

    fn last(&mut self) -> QueryResponse {
        let metadata = self.page_size.map(|_| QueryResponseMetadata {
            fetched_records_count: i32::try_from(self.total).unwrap_or(i32::MAX),
            bookmark: self
                .remaining
                .front()
                .map(|next| next.key.clone())
                .unwrap_or_default(),
        });
        QueryResponse {
            results: std::mem::take(&mut self.pending),
            has_more: false,
            id: self.id.clone(),
            metadata: metadata.map(|m| m.encode_to_vec()).unwrap_or_default(),
        }
    }
}
