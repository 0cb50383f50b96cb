//! A query's results, handed out in the portions in which a peer does.

use std::collections::VecDeque;

use fabric_protos::{
    kvrwset::{KvRead, RangeQueryInfo},
    protos::{QueryResponse, QueryResponseMetadata, QueryResultBytes},
    queryresult,
};
use prost::Message as _;

use super::{
    Version,
    merkle::Summary,
    state::{Entry, State},
};

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

/// Where a query's results come from.
#[derive(Debug)]
pub(super) enum Source {
    /// All are known, such as a key's history.
    Known(VecDeque<Found>),
    /// The keys of a range, which are looked up when they are asked for.
    Range(KeyRange),
}

/// Keys from `next` up to but not including `end`; an empty end is open.
#[derive(Debug)]
pub(super) struct KeyRange {
    namespace: String,
    /// None for public state.
    collection: Option<String>,
    next: String,
    end: String,
}

impl KeyRange {
    pub(super) fn new(namespace: &str, collection: &str, start: &str, end: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            collection: (!collection.is_empty()).then(|| collection.to_owned()),
            next: start.to_owned(),
            end: end.to_owned(),
        }
    }

    /// The next keys, at most `count`.
    fn take(&mut self, state: &State, count: usize) -> VecDeque<Found> {
        let Self {
            namespace,
            collection,
            next,
            end,
        } = self;
        let taken: VecDeque<Found> = match collection {
            // A private value's version is not read with it.
            Some(collection) => state
                .range_private(namespace, collection, next, end)
                .take(count)
                .map(|(key, entry)| found(namespace, key, entry, None))
                .collect(),
            None => state
                .range(namespace, next, end)
                .take(count)
                .map(|(key, entry)| found(namespace, key, entry, Some(entry.version)))
                .collect(),
        };
        if let Some(last) = taken.back() {
            // The least text behind the last key.
            *next = format!("{}\0", last.key);
        }
        taken
    }
}

fn found(namespace: &str, key: &str, entry: &Entry, version: Option<Version>) -> Found {
    let record = queryresult::Kv {
        namespace: namespace.to_owned(),
        key: key.to_owned(),
        value: entry.value.clone(),
    };
    Found {
        key: key.to_owned(),
        version,
        record: record.encode_to_vec(),
    }
}

/// An open query.
#[derive(Debug)]
pub(super) struct Cursor {
    id: String,
    source: Source,
    /// Results that were looked up and not handed out yet.
    ahead: VecDeque<Found>,
    pending: Vec<QueryResultBytes>,
    total: usize,
    page_size: Option<usize>,
    /// Where the range is noted, when the query is one over public state.
    pub(super) range: Option<usize>,
}

impl Cursor {
    pub(super) fn new(
        id: String,
        source: Source,
        page_size: Option<usize>,
        range: Option<usize>,
    ) -> Self {
        Self {
            id,
            source,
            ahead: VecDeque::new(),
            pending: vec![],
            total: 0,
            page_size,
            range,
        }
    }

    /// The next portion. It is the last one unless `has_more` says so.
    pub(super) fn portion(
        &mut self,
        state: &State,
        mut range: Option<&mut RangeRead>,
    ) -> QueryResponse {
        let limit = self.limit();
        loop {
            self.look_ahead(state);
            if self.total >= limit {
                return self.last();
            }
            let found = self.ahead.pop_front();
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

    fn limit(&self) -> usize {
        self.page_size.unwrap_or(TOTAL_QUERY_LIMIT)
    }

    /// Sees to it that the next result is there, if there is one: no more results are copied than
    /// this page or message needs, and the one that follows.
    fn look_ahead(&mut self, state: &State) {
        if !self.ahead.is_empty() {
            return;
        }
        let wanted = (self.limit() - self.total).min(RECORDS_PER_MESSAGE) + 1;
        self.ahead = match &mut self.source {
            Source::Known(results) => std::mem::take(results),
            Source::Range(range) => range.take(state, wanted),
        };
    }

    fn last(&mut self) -> QueryResponse {
        let metadata = self.page_size.map(|_| QueryResponseMetadata {
            fetched_records_count: i32::try_from(self.total).unwrap_or(i32::MAX),
            bookmark: self
                .ahead
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

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: usize = 1_000;

    /// A state with a public and a private value for each of [`KEYS`] keys.
    fn state() -> State {
        let mut state = State::new();
        for number in 0..KEYS {
            let entry = Entry {
                value: vec![1],
                metadata: std::collections::BTreeMap::new(),
                version: Version {
                    block_num: 1,
                    tx_num: number as u64,
                },
            };
            let key = format!("k{number:04}");
            let public = state.public.entry("cc".to_owned()).or_default();
            public.insert(key.clone(), entry.clone());
            let place = super::super::state::place("cc", "people");
            let private = state.private.entry(place).or_default();
            private.insert(key, entry);
        }
        state
    }

    fn open(collection: &str, start: &str, page_size: Option<usize>) -> Cursor {
        let range = KeyRange::new("cc", collection, start, "");
        Cursor::new("q".to_owned(), Source::Range(range), page_size, None)
    }

    fn keys(response: &QueryResponse) -> Vec<String> {
        let key = |result: &QueryResultBytes| {
            let record = queryresult::Kv::decode(result.result_bytes.as_slice());
            record.unwrap().key
        };
        response.results.iter().map(key).collect()
    }

    fn all() -> Vec<String> {
        (0..KEYS).map(|number| format!("k{number:04}")).collect()
    }

    #[test]
    fn a_message_is_copied_with_the_record_after_it_and_no_more() {
        let state = state();
        for collection in ["", "people"] {
            let mut cursor = open(collection, "", None);
            let mut seen = vec![];
            loop {
                let response = cursor.portion(&state, None);
                assert!(cursor.ahead.len() <= RECORDS_PER_MESSAGE, "{collection}");
                seen.extend(keys(&response));
                if !response.has_more {
                    break;
                }
            }
            assert_eq!(seen, all(), "{collection}");
        }
    }

    #[test]
    fn a_page_is_copied_with_the_record_after_it_and_no_more() {
        let state = state();
        for page_size in [1, 10, 250, KEYS - 1, KEYS, KEYS + 1] {
            let (mut bookmark, mut seen) = (String::new(), vec![]);
            loop {
                let mut cursor = open("", &bookmark, Some(page_size));
                let response = cursor.portion(&state, None);
                assert!(cursor.ahead.len() <= 1, "{page_size}");
                let metadata = QueryResponseMetadata::decode(response.metadata.as_slice());
                let metadata = metadata.unwrap();
                assert_eq!(
                    metadata.fetched_records_count as usize,
                    response.results.len()
                );
                seen.extend(keys(&response));
                bookmark = metadata.bookmark;
                if bookmark.is_empty() {
                    break;
                }
            }
            assert_eq!(seen, all(), "{page_size}");
        }
    }
}
