//! A transaction being simulated: the peer's answers to a stub's requests.
//!
//! Requests and replies are the messages of the stream, refusals are the peer's texts.

use std::{collections::BTreeMap, sync::Arc};

use fabric_protos::{
    protos::{
        DelState, GetHistoryForKey, GetState, GetStateByRange, GetStateMetadata, GetStateMultiple,
        GetStateMultipleResult, PurgePrivateState, PutState, PutStateMetadata, QueryMetadata,
        QueryResponse, QueryStateClose, QueryStateNext, StateMetadata, StateMetadataResult,
        WriteBatchState, WriteRecord, chaincode_message::Type, write_record,
    },
    queryresult,
    rwset::{TxPvtReadWriteSet, TxReadWriteSet},
};
use prost::Message;

use super::{
    CollectionConfig, Version,
    cursor::{Cursor, Found, KeyRange, RangeRead, Source},
    rwset::RwSetBuilder,
    state::{Metadata, State, sha256},
};
use crate::handler::Request;

/// What a peer says to a query over private data in a transaction that has written.
const PRIVATE_QUERY_AFTER_WRITE: &str =
    "unsuppored transaction. Queries on pvt data is supported only in a read-only transaction";
/// What a peer says to a write in a transaction that has queried private data.
const WRITE_AFTER_PRIVATE_QUERY: &str = "unsuppored transaction. Transaction has already \
    performed queries on pvt data. Writes are not allowed";
/// What a peer says to a page in a transaction that has written.
const PAGE_AFTER_WRITE: &str =
    "unsuppored transaction. Paginated queries are supported only in a read-only transaction";
/// What a peer says to a write in a transaction that has read a page.
const WRITE_AFTER_PAGE: &str = "unsuppored transaction. Transaction has already performed a \
    paginated query. Writes are not allowed";

/// How the names of organisations' own collections begin.
const IMPLICIT_COLLECTION: &str = "_implicit_org_";

type Reply = Result<Vec<u8>, String>;

/// The simulation of one transaction, over a state that does not change meanwhile.
#[derive(Debug)]
pub(super) struct Simulation {
    state: Arc<State>,
    channel_id: String,
    tx_id: String,
    creator_msp: String,
    collections: BTreeMap<String, CollectionConfig>,
    rwset: RwSetBuilder,
    ranges: Vec<RangeRead>,
    cursors: BTreeMap<String, Cursor>,
    queries: u64,
    written: bool,
    queried_private: bool,
    paged: bool,
}

impl Simulation {
    pub(super) fn new(
        state: Arc<State>,
        channel_id: &str,
        tx_id: &str,
        creator_msp: String,
        collections: BTreeMap<String, CollectionConfig>,
    ) -> Self {
        Self {
            state,
            channel_id: channel_id.to_owned(),
            tx_id: tx_id.to_owned(),
            creator_msp,
            collections,
            rwset: RwSetBuilder::default(),
            ranges: vec![],
            cursors: BTreeMap::new(),
            queries: 0,
            written: false,
            queried_private: false,
            paged: false,
        }
    }

    /// Reads and writes so far.
    pub(super) fn results(&self) -> (TxReadWriteSet, TxPvtReadWriteSet) {
        let mut rwset = self.rwset.clone();
        for range in self.ranges.iter().cloned() {
            rwset.range(&range.namespace.clone(), range.into_info());
        }
        rwset.build()
    }

    /// Answers a request of the chaincode that is called `namespace`.
    pub(super) fn answer(&mut self, namespace: &str, request: &Request) -> Reply {
        let payload = request.payload.as_slice();
        match request.kind {
            Type::GetState => self.get_state(namespace, &decode(payload)?),
            Type::GetStateMultiple => self.get_multiple(namespace, decode(payload)?),
            Type::GetPrivateDataHash => self.get_hash(namespace, &decode(payload)?),
            Type::GetStateMetadata => self.get_metadata(namespace, &decode(payload)?),
            Type::GetStateByRange => self.get_range(namespace, &decode(payload)?),
            Type::GetHistoryForKey => self.get_history(namespace, &decode(payload)?),
            Type::GetQueryResult => Err("ExecuteQuery not supported for leveldb".to_owned()),
            Type::QueryStateNext => self.query_next(&decode(payload)?),
            Type::QueryStateClose => self.query_close(&decode(payload)?),
            Type::PutState => {
                let PutState {
                    key,
                    value,
                    collection,
                } = decode(payload)?;
                let kind = write_record::Type::PutState.into();
                self.write(
                    namespace,
                    WriteRecord {
                        key,
                        value,
                        collection,
                        r#type: kind,
                        metadata: None,
                    },
                )
            }
            Type::DelState => {
                let DelState { key, collection } = decode(payload)?;
                let kind = write_record::Type::DelState;
                self.write(namespace, record(key, collection, kind))
            }
            Type::PurgePrivateData => {
                let PurgePrivateState { key, collection } = decode(payload)?;
                let kind = write_record::Type::PurgePrivateData;
                self.write(namespace, record(key, collection, kind))
            }
            Type::PutStateMetadata => {
                let PutStateMetadata {
                    key,
                    collection,
                    metadata,
                } = decode(payload)?;
                let kind = write_record::Type::PutStateMetadata;
                let record = record(key, collection, kind);
                self.write(namespace, WriteRecord { metadata, ..record })
            }
            Type::WriteBatchState => {
                let batch: WriteBatchState = decode(payload)?;
                for record in batch.rec {
                    self.write(namespace, record)?;
                }
                Ok(vec![])
            }
            other => Err(format!(
                "the memory ledger does not know {}",
                other.as_str_name()
            )),
        }
    }

    fn get_state(&mut self, namespace: &str, request: &GetState) -> Reply {
        if request.collection.is_empty() {
            return Ok(self.read_public(namespace, &request.key));
        }
        self.check_read(namespace, &request.collection)?;
        let (collection, key) = (request.collection.as_str(), request.key.as_str());
        let hash = self
            .state
            .get_hash(namespace, collection, &sha256(key.as_bytes()));
        let hash_version = hash.map(|entry| entry.version);
        let value = self.state.get_private(namespace, collection, key).cloned();
        let version = value.as_ref().map(|entry| entry.version);
        if hash_version != version {
            return Err(format!(
                "private data matching public hash version is not available. Public hash \
                 version = {}, Private data version = {}",
                show(hash_version),
                show(version)
            ));
        }
        self.rwset.read_private(namespace, collection, key, version);
        Ok(value.map(|entry| entry.value).unwrap_or_default())
    }

    fn read_public(&mut self, namespace: &str, key: &str) -> Vec<u8> {
        let entry = self.state.get(namespace, key).cloned();
        let version = entry.as_ref().map(|entry| entry.version);
        self.rwset.read(namespace, key, version);
        entry.map(|entry| entry.value).unwrap_or_default()
    }

    /// A peer does not compare private values with their hashes here.
    fn get_multiple(&mut self, namespace: &str, request: GetStateMultiple) -> Reply {
        let GetStateMultiple { keys, collection } = request;
        if !collection.is_empty() {
            self.check_read(namespace, &collection)?;
        }
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            if collection.is_empty() {
                values.push(self.read_public(namespace, &key));
                continue;
            }
            let entry = self
                .state
                .get_private(namespace, &collection, &key)
                .cloned();
            let version = entry.as_ref().map(|entry| entry.version);
            self.rwset
                .read_private(namespace, &collection, &key, version);
            values.push(entry.map(|entry| entry.value).unwrap_or_default());
        }
        Ok(GetStateMultipleResult { values }.encode_to_vec())
    }

    fn get_hash(&mut self, namespace: &str, request: &GetState) -> Reply {
        self.check_collection(namespace, &request.collection)?;
        let entry = self.read_hash(namespace, &request.collection, &request.key);
        Ok(entry.map(|(value, _)| value).unwrap_or_default())
    }

    fn read_hash(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
    ) -> Option<(Vec<u8>, Metadata)> {
        let key_hash = sha256(key.as_bytes());
        let entry = self
            .state
            .get_hash(namespace, collection, &key_hash)
            .cloned();
        let version = entry.as_ref().map(|entry| entry.version);
        self.rwset.read_private(namespace, collection, key, version);
        entry.map(|entry| (entry.value, entry.metadata))
    }

    fn get_metadata(&mut self, namespace: &str, request: &GetStateMetadata) -> Reply {
        let metadata = if request.collection.is_empty() {
            self.read_public(namespace, &request.key);
            let entry = self.state.get(namespace, &request.key);
            entry.map(|entry| entry.metadata.clone())
        } else {
            self.check_read(namespace, &request.collection)?;
            let found = self.read_hash(namespace, &request.collection, &request.key);
            found.map(|(_, metadata)| metadata)
        };
        let entries = metadata.unwrap_or_default().into_iter();
        let entries = entries.map(|(metakey, value)| StateMetadata { metakey, value });
        let result = StateMetadataResult {
            entries: entries.collect(),
        };
        Ok(result.encode_to_vec())
    }

    fn get_range(&mut self, namespace: &str, request: &GetStateByRange) -> Reply {
        let (start, end) = (request.start_key.as_str(), request.end_key.as_str());
        if !request.collection.is_empty() {
            self.check_read(namespace, &request.collection)?;
            if self.written {
                return Err(self.unsupported(PRIVATE_QUERY_AFTER_WRITE));
            }
            self.queried_private = true;
            let keys = KeyRange::new(namespace, &request.collection, start, end);
            return Ok(self.open(Source::Range(keys), None, None).encode_to_vec());
        }
        let page: QueryMetadata = decode(&request.metadata)?;
        let paged = page.page_size != 0 || !page.bookmark.is_empty();
        if paged && self.written {
            return Err(self.unsupported(PAGE_AFTER_WRITE));
        }
        self.paged |= paged;
        let start = if paged && !page.bookmark.is_empty() {
            page.bookmark.as_str()
        } else {
            start
        };
        let keys = KeyRange::new(namespace, "", start, end);
        self.ranges.push(RangeRead::new(namespace, start, end));
        let range = self.ranges.len() - 1;
        let page_size = usize::try_from(page.page_size).ok().filter(|_| paged);
        let response = self.open(Source::Range(keys), page_size, Some(range));
        Ok(response.encode_to_vec())
    }

    fn get_history(&mut self, namespace: &str, request: &GetHistoryForKey) -> Reply {
        let place = (namespace.to_owned(), request.key.clone());
        let changes = self.state.history.get(&place).cloned().unwrap_or_default();
        let found = changes.into_iter().rev().map(|change| Found {
            key: request.key.clone(),
            version: None,
            record: queryresult::KeyModification {
                tx_id: change.tx_id,
                value: change.value,
                timestamp: Some(change.timestamp.into()),
                is_delete: change.is_delete,
            }
            .encode_to_vec(),
        });
        let known = Source::Known(found.collect());
        Ok(self.open(known, None, None).encode_to_vec())
    }

    fn open(
        &mut self,
        source: Source,
        page_size: Option<usize>,
        range: Option<usize>,
    ) -> QueryResponse {
        self.queries += 1;
        let id = format!("query-{}", self.queries);
        let cursor = Cursor::new(id, source, page_size, range);
        self.portion(cursor)
    }

    fn portion(&mut self, mut cursor: Cursor) -> QueryResponse {
        let range = cursor.range.and_then(|index| self.ranges.get_mut(index));
        let response = cursor.portion(&self.state, range);
        if response.has_more {
            self.cursors.insert(response.id.clone(), cursor);
        }
        response
    }

    fn query_next(&mut self, request: &QueryStateNext) -> Reply {
        let cursor = self.cursors.remove(&request.id);
        let cursor = cursor.ok_or("query iterator not found")?;
        Ok(self.portion(cursor).encode_to_vec())
    }

    fn query_close(&mut self, request: &QueryStateClose) -> Reply {
        self.cursors.remove(&request.id);
        let response = QueryResponse {
            id: request.id.clone(),
            ..QueryResponse::default()
        };
        Ok(response.encode_to_vec())
    }

    fn write(&mut self, namespace: &str, record: WriteRecord) -> Reply {
        let kind = record.r#type();
        let WriteRecord {
            key,
            value,
            collection,
            metadata,
            ..
        } = record;
        if !collection.is_empty() {
            self.check_write(namespace, &collection)?;
        } else if kind == write_record::Type::PurgePrivateData {
            return Err("only applicable for private data".to_owned());
        }
        if self.queried_private {
            return Err(self.unsupported(WRITE_AFTER_PRIVATE_QUERY));
        }
        if self.paged {
            return Err(self.unsupported(WRITE_AFTER_PAGE));
        }
        self.written = true;
        let value = if kind == write_record::Type::PutState {
            value
        } else {
            vec![]
        };
        match kind {
            write_record::Type::PutStateMetadata => {
                let metadata = metadata.unwrap_or_default();
                let metadata = Metadata::from([(metadata.metakey, metadata.value)]);
                if collection.is_empty() {
                    self.rwset.write_metadata(namespace, &key, metadata);
                } else {
                    self.rwset
                        .write_private_metadata(namespace, &collection, &key, metadata);
                }
            }
            write_record::Type::Undefined => return Err("unknown operation type".to_owned()),
            _ if collection.is_empty() => self.rwset.write(namespace, &key, value),
            _ => {
                let purge = kind == write_record::Type::PurgePrivateData;
                self.rwset
                    .write_private(namespace, &collection, &key, value, purge);
            }
        }
        Ok(vec![])
    }

    /// Organisations' own collections exist without definition.
    fn check_collection(&self, namespace: &str, collection: &str) -> Result<(), String> {
        if collection.starts_with(IMPLICIT_COLLECTION) || self.collections.contains_key(collection)
        {
            return Ok(());
        }
        if self.collections.is_empty() {
            return Err(format!(
                "collection config not defined for chaincode [{namespace}], pass the collection \
                 configuration upon chaincode definition/instantiation"
            ));
        }
        Err(format!(
            "collection [{collection}] not defined in the collection config for chaincode \
             [{namespace}]"
        ))
    }

    fn check_read(&self, namespace: &str, collection: &str) -> Result<(), String> {
        let config = self.permissions(namespace, collection)?;
        if config.is_none_or(|config| config.may_read(&self.creator_msp)) {
            return Ok(());
        }
        Err(format!(
            "tx creator does not have read access permission on privatedata in \
             chaincodeName:{namespace} collectionName: {collection}"
        ))
    }

    fn check_write(&self, namespace: &str, collection: &str) -> Result<(), String> {
        let config = self.permissions(namespace, collection)?;
        if config.is_none_or(|config| config.may_write(&self.creator_msp)) {
            return Ok(());
        }
        Err(format!(
            "tx creator does not have write access permission on privatedata in \
             chaincodeName:{namespace} collectionName: {collection}"
        ))
    }

    /// A collection's rules; an organisation's own collection has none.
    fn permissions(
        &self,
        namespace: &str,
        collection: &str,
    ) -> Result<Option<&CollectionConfig>, String> {
        let config = self.collections.get(collection);
        if config.is_some() || collection.starts_with(IMPLICIT_COLLECTION) {
            return Ok(config);
        }
        let channel_id = &self.channel_id;
        Err(format!(
            "collection {channel_id}/{namespace}/{collection} could not be found"
        ))
    }

    fn unsupported(&self, text: &str) -> String {
        format!("txid [{}]: {text}", self.tx_id)
    }
}

fn record(key: String, collection: String, kind: write_record::Type) -> WriteRecord {
    WriteRecord {
        key,
        collection,
        r#type: kind.into(),
        ..WriteRecord::default()
    }
}

fn show(version: Option<Version>) -> String {
    match version {
        Some(Version { block_num, tx_num }) => {
            format!("{{BlockNum: {block_num}, TxNum: {tx_num}}}")
        }
        None => "<nil>".to_owned(),
    }
}

fn decode<M: Message + Default>(payload: &[u8]) -> Result<M, String> {
    M::decode(payload).map_err(|error| format!("unmarshal failed: {error}"))
}
