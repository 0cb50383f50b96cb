//! Ranges, rich queries and history: results that come in portions.

use std::{collections::VecDeque, marker::PhantomData};

use fabric_protos::{
    protos::{
        self, GetHistoryForKey, GetQueryResult, GetStateByRange, QueryMetadata, QueryResponse,
        QueryResultBytes, QueryStateClose, QueryStateNext, chaincode_message::Type,
    },
    queryresult,
};
use prost::Message as _;

use super::{Stub, state::check_not_empty};
use crate::{StubError, Timestamp, key};

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: String,
    /// The value as committed.
    pub value: Vec<u8>,
}

/// One change of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyModification {
    /// The transaction that made it.
    pub tx_id: String,
    /// The value from then on; empty after a deletion.
    pub value: Vec<u8>,
    /// The time stated in that transaction's proposal.
    pub timestamp: Timestamp,
    /// Whether the key was deleted.
    pub is_delete: bool,
}

/// Where a page ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryResponseMetadata {
    /// Records in this page.
    pub fetched_records_count: i32,
    /// What to pass for the next page; empty when there is none.
    pub bookmark: String,
}

/// A record that a query can yield.
pub trait QueryRecord: Sized + Send + private::Sealed {
    /// Decodes the record from the peer's bytes.
    #[doc(hidden)]
    fn decode_record(bytes: &[u8]) -> Result<Self, prost::DecodeError>;
}

mod private {
    /// Only this crate knows what a peer yields.
    pub trait Sealed {}
    impl Sealed for super::KeyValue {}
    impl Sealed for super::KeyModification {}
}

impl QueryRecord for KeyValue {
    fn decode_record(bytes: &[u8]) -> Result<Self, prost::DecodeError> {
        let queryresult::Kv { key, value, .. } = queryresult::Kv::decode(bytes)?;
        Ok(Self { key, value })
    }
}

impl QueryRecord for KeyModification {
    fn decode_record(bytes: &[u8]) -> Result<Self, prost::DecodeError> {
        let record = queryresult::KeyModification::decode(bytes)?;
        Ok(Self {
            tx_id: record.tx_id,
            value: record.value,
            timestamp: record.timestamp.map(Timestamp::from).unwrap_or_default(),
            is_delete: record.is_delete,
        })
    }
}

/// The records of a query, fetched from the peer a portion at a time. Dropping it closes the
/// query at the peer.
#[derive(Debug)]
pub struct QueryIterator<'s, R> {
    stub: &'s Stub,
    request: Type,
    results: VecDeque<QueryResultBytes>,
    /// The peer's name of the query, while it holds more.
    open: Option<String>,
    /// Set while a portion is on its way; if it stays set, that portion was thrown away.
    fetching: bool,
    record: PhantomData<fn() -> R>,
}

/// Keys and values of a query.
pub type StateIterator<'s> = QueryIterator<'s, KeyValue>;

/// Changes of a key, newest first.
pub type HistoryIterator<'s> = QueryIterator<'s, KeyModification>;

impl<'s, R: QueryRecord> QueryIterator<'s, R> {
    fn new(stub: &'s Stub, request: Type, response: QueryResponse) -> Self {
        let mut iterator = Self {
            stub,
            request,
            results: VecDeque::new(),
            open: None,
            fetching: false,
            record: PhantomData,
        };
        iterator.take(response);
        iterator
    }

    fn take(&mut self, response: QueryResponse) {
        self.results = response.results.into();
        self.open = response.has_more.then_some(response.id);
    }

    /// The next record, or `None` at the end. If the returned future is dropped before it is
    /// done, the portion it was fetching is lost and the query is over.
    ///
    /// # Errors
    ///
    /// [`StubError::QueryInterrupted`] after such a loss, and any [`StubError`] of a ledger call.
    pub async fn next(&mut self) -> Result<Option<R>, StubError> {
        loop {
            if let Some(result) = self.results.pop_front() {
                let record = R::decode_record(&result.result_bytes);
                return record
                    .map(Some)
                    .map_err(|source| StubError::MalformedReply {
                        request: self.request.as_str_name(),
                        source,
                    });
            }
            let Some(id) = self.open.clone() else {
                return Ok(None);
            };
            if self.fetching {
                return Err(StubError::QueryInterrupted);
            }
            self.fetching = true;
            let request = QueryStateNext { id };
            let response = self.stub.ask(Type::QueryStateNext, &request).await?;
            self.fetching = false;
            self.take(response);
        }
    }

    /// All records that are left. The peer's own limit (100 000 by default) bounds them.
    ///
    /// # Errors
    ///
    /// Any [`StubError`] of a ledger call.
    pub async fn collect(mut self) -> Result<Vec<R>, StubError> {
        let mut records = Vec::with_capacity(self.results.len());
        while let Some(record) = self.next().await? {
            records.push(record);
        }
        Ok(records)
    }

    /// Closes the query at the peer and waits for its answer. Dropping closes too, without
    /// waiting.
    ///
    /// # Errors
    ///
    /// Any [`StubError`] of a ledger call.
    pub async fn close(mut self) -> Result<(), StubError> {
        match self.open.take() {
            Some(id) => {
                let request = QueryStateClose { id };
                self.stub.tell(Type::QueryStateClose, &request).await
            }
            None => Ok(()),
        }
    }
}

impl<R> Drop for QueryIterator<'_, R> {
    fn drop(&mut self) {
        if let Some(id) = self.open.take() {
            let request = QueryStateClose { id };
            let payload = request.encode_to_vec();
            self.stub.link.post(Type::QueryStateClose, payload);
        }
    }
}

impl Stub {
    /// Keys from `start` up to but not including `end`; an empty bound is open. Composite keys
    /// are skipped. The transaction becomes invalid if the result changes before it is committed.
    ///
    /// # Errors
    ///
    /// Any [`StubError`] of a ledger call.
    pub async fn get_state_by_range(
        &self,
        start: &str,
        end: &str,
    ) -> Result<StateIterator<'_>, StubError> {
        let start = key::simple_range(start, end)?;
        self.range("", start, end).await
    }

    /// One page of [`Stub::get_state_by_range`]. Peers allow pages in transactions that write
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`StubError::PageSize`], or any [`StubError`] of a ledger call.
    pub async fn get_state_by_range_with_pagination(
        &self,
        start: &str,
        end: &str,
        page_size: i32,
        bookmark: &str,
    ) -> Result<(Vec<KeyValue>, QueryResponseMetadata), StubError> {
        let start = key::simple_range(start, end)?;
        self.range_page(start, end, page_size, bookmark).await
    }

    /// Composite keys that begin with these attributes.
    ///
    /// # Errors
    ///
    /// Any [`StubError`] of a ledger call.
    pub async fn get_state_by_partial_composite_key(
        &self,
        object_type: &str,
        attributes: &[&str],
    ) -> Result<StateIterator<'_>, StubError> {
        let (start, end) = key::partial_range(object_type, attributes)?;
        self.range("", &start, &end).await
    }

    /// One page of [`Stub::get_state_by_partial_composite_key`].
    ///
    /// # Errors
    ///
    /// [`StubError::PageSize`], or any [`StubError`] of a ledger call.
    pub async fn get_state_by_partial_composite_key_with_pagination(
        &self,
        object_type: &str,
        attributes: &[&str],
        page_size: i32,
        bookmark: &str,
    ) -> Result<(Vec<KeyValue>, QueryResponseMetadata), StubError> {
        let (start, end) = key::partial_range(object_type, attributes)?;
        self.range_page(&start, &end, page_size, bookmark).await
    }

    /// One page over all composite keys of the chaincode, whatever their type.
    ///
    /// # Errors
    ///
    /// [`StubError::PageSize`], or any [`StubError`] of a ledger call.
    pub async fn get_all_states_composite_key_with_pagination(
        &self,
        page_size: i32,
        bookmark: &str,
    ) -> Result<(Vec<KeyValue>, QueryResponseMetadata), StubError> {
        let start = key::SEPARATOR.to_string();
        let end = format!("{start}{}", key::LAST);
        self.range_page(&start, &end, page_size, bookmark).await
    }

    /// A rich query; needs peers with CouchDB. What it finds is checked again at commit, what it
    /// misses is not.
    ///
    /// # Errors
    ///
    /// Any [`StubError`] of a ledger call.
    pub async fn get_query_result(&self, query: &str) -> Result<StateIterator<'_>, StubError> {
        self.rich_query("", query).await
    }

    /// One page of [`Stub::get_query_result`].
    ///
    /// # Errors
    ///
    /// [`StubError::PageSize`], or any [`StubError`] of a ledger call.
    pub async fn get_query_result_with_pagination(
        &self,
        query: &str,
        page_size: i32,
        bookmark: &str,
    ) -> Result<(Vec<KeyValue>, QueryResponseMetadata), StubError> {
        let request = GetQueryResult {
            query: query.to_owned(),
            metadata: page(page_size, bookmark)?,
            ..GetQueryResult::default()
        };
        let response = self.ask(Type::GetQueryResult, &request).await?;
        self.collect_page(Type::GetQueryResult, response).await
    }

    /// All valid changes of a key, newest first. Needs peers that keep the history; changes that
    /// happen before commit do not make the transaction invalid.
    ///
    /// # Errors
    ///
    /// Any [`StubError`] of a ledger call.
    pub async fn get_history_for_key(&self, key: &str) -> Result<HistoryIterator<'_>, StubError> {
        check_not_empty(key)?;
        let request = GetHistoryForKey {
            key: key.to_owned(),
        };
        let response = self.ask(Type::GetHistoryForKey, &request).await?;
        Ok(QueryIterator::new(self, Type::GetHistoryForKey, response))
    }

    pub(super) async fn range(
        &self,
        collection: &str,
        start: &str,
        end: &str,
    ) -> Result<StateIterator<'_>, StubError> {
        let request = GetStateByRange {
            start_key: start.to_owned(),
            end_key: end.to_owned(),
            collection: collection.to_owned(),
            metadata: vec![],
        };
        let response = self.ask(Type::GetStateByRange, &request).await?;
        Ok(QueryIterator::new(self, Type::GetStateByRange, response))
    }

    pub(super) async fn rich_query(
        &self,
        collection: &str,
        query: &str,
    ) -> Result<StateIterator<'_>, StubError> {
        let request = GetQueryResult {
            query: query.to_owned(),
            collection: collection.to_owned(),
            metadata: vec![],
        };
        let response = self.ask(Type::GetQueryResult, &request).await?;
        Ok(QueryIterator::new(self, Type::GetQueryResult, response))
    }

    async fn range_page(
        &self,
        start: &str,
        end: &str,
        page_size: i32,
        bookmark: &str,
    ) -> Result<(Vec<KeyValue>, QueryResponseMetadata), StubError> {
        let request = GetStateByRange {
            start_key: start.to_owned(),
            end_key: end.to_owned(),
            metadata: page(page_size, bookmark)?,
            ..GetStateByRange::default()
        };
        let response = self.ask(Type::GetStateByRange, &request).await?;
        let (records, mut metadata) = self.collect_page(Type::GetStateByRange, response).await?;
        if !leads_on(&metadata.bookmark, start, end) {
            metadata.bookmark.clear();
        }
        Ok((records, metadata))
    }

    async fn collect_page(
        &self,
        kind: Type,
        response: QueryResponse,
    ) -> Result<(Vec<KeyValue>, QueryResponseMetadata), StubError> {
        let metadata = protos::QueryResponseMetadata::decode(response.metadata.as_slice());
        let metadata = metadata.map_err(|source| StubError::MalformedReply {
            request: kind.as_str_name(),
            source,
        })?;
        let iterator = StateIterator::new(self, kind, response);
        let records = iterator.collect().await?;
        let metadata = QueryResponseMetadata {
            fetched_records_count: metadata.fetched_records_count,
            bookmark: metadata.bookmark,
        };
        Ok((records, metadata))
    }
}

/// Whether a page's bookmark is a key of the range that was asked for. After the last page a peer
/// with LevelDB gives none; one with CouchDB gives the end of the range, spelt as in JSON, and that
/// as a bookmark leads nowhere. An empty end is the end of all keys.
fn leads_on(bookmark: &str, start: &str, end: &str) -> bool {
    !bookmark.is_empty() && start <= bookmark && (end.is_empty() || bookmark < end)
}

fn page(page_size: i32, bookmark: &str) -> Result<Vec<u8>, StubError> {
    if page_size <= 0 {
        return Err(StubError::PageSize { page_size });
    }
    let metadata = QueryMetadata {
        page_size,
        bookmark: bookmark.to_owned(),
    };
    Ok(metadata.encode_to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_key_of_the_range_leads_on() {
        let (start, end) = key::partial_range("TYPE", &[]).unwrap();
        let next = format!("{start}key\0");
        let json = serde_json::to_string(&end).unwrap();
        for (bookmark, start, end, expected) in [
            (next.as_str(), start.as_str(), end.as_str(), true),
            (start.as_str(), &start, &end, true),
            ("", &start, &end, false),
            (end.as_str(), &start, &end, false),
            (json.trim_matches('"'), &start, &end, false),
            ("c", "b", "d", true),
            ("d", "b", "d", false),
            ("z", "b", "", true),
            ("a", "b", "", false),
        ] {
            assert_eq!(leads_on(bookmark, start, end), expected, "{bookmark:?}");
        }
    }
}
