//! The open queries of one chaincode call, and how their results are cut into messages.

use std::collections::HashMap;

use fabric_protos::protos::{QueryResponse, QueryResponseMetadata, QueryResultBytes};
use prost::Message;

use super::error::RequestError;
use crate::ledger::{ScanId, ScanItem, SimulationError, Simulator};

/// Results in one message of an unpaginated query.
const RESULTS_PER_MESSAGE: usize = 100;
/// Results of one query after which it ends silently, as `totalQueryLimit` in a peer's settings.
const TOTAL_RESULTS: usize = 100_000;
/// Queries one call may have open at once.
const OPEN_QUERIES: usize = 1000;

/// Whether the whole page goes into one message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Paging {
    None,
    Page { size: usize },
}

#[derive(Debug)]
struct OpenQuery {
    scan: ScanId,
    /// Read already, belongs to the next message.
    pending: Option<QueryResultBytes>,
    returned: usize,
}

#[derive(Debug, Default)]
pub(super) struct Iterators {
    open: HashMap<String, OpenQuery>,
    /// Queries opened so far; makes IDs unique within the call, which is all they need to be.
    issued: u64,
}

impl Iterators {
    /// Registers a scan and gives its first message.
    pub(super) fn start(
        &mut self,
        simulator: &mut Simulator,
        scan: ScanId,
        paging: Paging,
    ) -> Result<QueryResponse, RequestError> {
        if self.open.len() >= OPEN_QUERIES {
            simulator.close(scan);
            return Err(RequestError::Denied(format!(
                "more than {OPEN_QUERIES} queries are open"
            )));
        }
        self.issued += 1;
        let id = format!("{:032x}", self.issued);
        let query = OpenQuery {
            scan,
            pending: None,
            returned: 0,
        };
        match paging {
            Paging::None => {
                self.open.insert(id.clone(), query);
                self.next(simulator, &id)
            }
            Paging::Page { size } => page(simulator, query, id, size),
        }
    }

    /// The next message of an open query; it is closed after its last result.
    pub(super) fn next(
        &mut self,
        simulator: &mut Simulator,
        id: &str,
    ) -> Result<QueryResponse, RequestError> {
        let query = self.open.get_mut(id).ok_or(RequestError::NoIterator)?;
        match fill(simulator, query) {
            Ok((results, has_more)) => {
                if !has_more {
                    self.close(simulator, id);
                }
                Ok(QueryResponse {
                    results,
                    has_more,
                    id: id.to_owned(),
                    metadata: Vec::new(),
                })
            }
            Err(error) => {
                self.close(simulator, id);
                Err(error.into())
            }
        }
    }

    /// Closes a query; closing one that is not open is no error.
    pub(super) fn close(&mut self, simulator: &mut Simulator, id: &str) {
        if let Some(query) = self.open.remove(id) {
            simulator.close(query.scan);
        }
    }

    /// Closes all, at the end of the call.
    pub(super) fn close_all(&mut self, simulator: &mut Simulator) {
        for (_, query) in self.open.drain() {
            simulator.close(query.scan);
        }
    }
}

fn fill(
    simulator: &mut Simulator,
    query: &mut OpenQuery,
) -> Result<(Vec<QueryResultBytes>, bool), SimulationError> {
    let mut results: Vec<_> = query.pending.take().into_iter().collect();
    loop {
        if query.returned >= TOTAL_RESULTS {
            return Ok((results, false));
        }
        let Some(item) = simulator.next(query.scan)? else {
            return Ok((results, false));
        };
        query.returned += 1;
        if results.len() == RESULTS_PER_MESSAGE {
            query.pending = Some(encode(item));
            return Ok((results, true));
        }
        results.push(encode(item));
    }
}

fn page(
    simulator: &mut Simulator,
    query: OpenQuery,
    id: String,
    size: usize,
) -> Result<QueryResponse, RequestError> {
    let mut results = Vec::new();
    while results.len() < size.min(TOTAL_RESULTS) {
        match simulator.next(query.scan) {
            Ok(Some(item)) => results.push(encode(item)),
            Ok(None) => break,
            Err(error) => {
                simulator.close(query.scan);
                return Err(error.into());
            }
        }
    }
    let metadata = QueryResponseMetadata {
        fetched_records_count: i32::try_from(results.len()).unwrap_or(i32::MAX),
        bookmark: simulator.bookmark(query.scan),
    };
    Ok(QueryResponse {
        results,
        has_more: false,
        id,
        metadata: metadata.encode_to_vec(),
    })
}

fn encode(item: ScanItem) -> QueryResultBytes {
    let result_bytes = match item {
        ScanItem::State(kv) => kv.encode_to_vec(),
        ScanItem::History(modification) => modification.encode_to_vec(),
    };
    QueryResultBytes { result_bytes }
}
