//! What a running chaincode asks of the ledger, and the answers.

use std::collections::BTreeMap;

use fabric_msp::ValidIdentity;
use fabric_protos::protos::chaincode_message::Type;
use fabric_protos::protos::write_record::Type as WriteType;
use fabric_protos::protos::{
    ChaincodeMessage, DelState, GetHistoryForKey, GetQueryResult, GetState, GetStateByRange,
    GetStateMetadata, GetStateMultiple, GetStateMultipleResult, PurgePrivateState, PutState,
    PutStateMetadata, QueryMetadata, QueryResponse, QueryStateClose, QueryStateNext, StateMetadata,
    StateMetadataResult, WriteBatchState, WriteRecord,
};
use prost::Message;

use super::error::RequestError;
use super::iterators::{Iterators, Paging};
use crate::ledger::Simulator;

/// Results of a paginated query that names no page size.
const UNLIMITED_PAGE: usize = usize::MAX;

/// One call of one chaincode, while it runs.
#[derive(Debug)]
pub(super) struct Call {
    namespace: String,
    is_init: bool,
    iterators: Iterators,
}

impl Call {
    pub(super) fn new(namespace: &str, is_init: bool) -> Self {
        Self {
            namespace: namespace.to_owned(),
            is_init,
            iterators: Iterators::default(),
        }
    }

    /// Closes what the call left open.
    pub(super) fn finish(&mut self, ledger: &mut Simulator) {
        self.iterators.close_all(ledger);
    }

    /// Answers any request except INVOKE_CHAINCODE, which needs the peer.
    pub(super) fn answer(
        &mut self,
        request: &ChaincodeMessage,
        ledger: &mut Simulator,
        creator: &ValidIdentity,
    ) -> Result<Vec<u8>, RequestError> {
        let payload = request.payload.as_slice();
        let mut access = Access {
            namespace: &self.namespace,
            is_init: self.is_init,
            ledger,
            creator,
        };
        match request.r#type() {
            Type::GetState => access.get(&GetState::decode(payload)?),
            Type::GetStateMultiple => access.get_multiple(&GetStateMultiple::decode(payload)?),
            Type::GetPrivateDataHash => access.private_hash(&GetState::decode(payload)?),
            Type::GetStateMetadata => access.metadata(&GetStateMetadata::decode(payload)?),
            Type::PutState => access.put(PutState::decode(payload)?),
            Type::DelState => access.delete(&DelState::decode(payload)?),
            Type::PurgePrivateData => access.purge(&PurgePrivateState::decode(payload)?),
            Type::PutStateMetadata => access.put_metadata(PutStateMetadata::decode(payload)?),
            Type::WriteBatchState => access.write_batch(WriteBatchState::decode(payload)?),
            Type::GetStateByRange => {
                let request = GetStateByRange::decode(payload)?;
                let (scan, paging) = access.range(&request)?;
                self.iterators.start(ledger, scan, paging).map(encoded)
            }
            Type::GetHistoryForKey => {
                let request = GetHistoryForKey::decode(payload)?;
                let scan = ledger.history(&self.namespace, &request.key)?;
                self.iterators
                    .start(ledger, scan, Paging::None)
                    .map(encoded)
            }
            Type::QueryStateNext => {
                let id = QueryStateNext::decode(payload)?.id;
                self.iterators.next(ledger, &id).map(encoded)
            }
            Type::QueryStateClose => {
                let id = QueryStateClose::decode(payload)?.id;
                self.iterators.close(ledger, &id);
                let closed = QueryResponse {
                    id,
                    ..QueryResponse::default()
                };
                Ok(encoded(closed))
            }
            Type::GetQueryResult => {
                let query = GetQueryResult::decode(payload)?.query;
                let scan = ledger.query(&query)?;
                self.iterators
                    .start(ledger, scan, Paging::None)
                    .map(encoded)
            }
            _ => Err(RequestError::UnknownOperation),
        }
    }
}

/// The ledger as one chaincode may use it for one creator.
struct Access<'a> {
    namespace: &'a str,
    is_init: bool,
    ledger: &'a mut Simulator,
    creator: &'a ValidIdentity,
}

impl Access<'_> {
    fn may_read(&mut self, collection: &str) -> Result<(), RequestError> {
        self.private_allowed()?;
        let check = self
            .ledger
            .check_private_read(self.namespace, collection, self.creator);
        Ok(check?)
    }

    fn may_write(&mut self, collection: &str) -> Result<(), RequestError> {
        self.private_allowed()?;
        let check = self
            .ledger
            .check_private_write(self.namespace, collection, self.creator);
        Ok(check?)
    }

    fn private_allowed(&self) -> Result<(), RequestError> {
        if self.is_init {
            return Err(RequestError::PrivateInInit);
        }
        Ok(())
    }

    fn get(&mut self, request: &GetState) -> Result<Vec<u8>, RequestError> {
        let value = if request.collection.is_empty() {
            self.ledger.get_state(self.namespace, &request.key)?
        } else {
            self.may_read(&request.collection)?;
            self.ledger
                .get_private(self.namespace, &request.collection, &request.key)?
        };
        Ok(value.unwrap_or_default())
    }

    fn get_multiple(&mut self, request: &GetStateMultiple) -> Result<Vec<u8>, RequestError> {
        let values = if request.collection.is_empty() {
            self.ledger.get_states(self.namespace, &request.keys)?
        } else {
            self.may_read(&request.collection)?;
            self.ledger
                .get_privates(self.namespace, &request.collection, &request.keys)?
        };
        let values = values.into_iter().map(Option::unwrap_or_default).collect();
        Ok(GetStateMultipleResult { values }.encode_to_vec())
    }

    fn private_hash(&mut self, request: &GetState) -> Result<Vec<u8>, RequestError> {
        self.private_allowed()?;
        let hash = self
            .ledger
            .private_hash(self.namespace, &request.collection, &request.key)?;
        Ok(hash.unwrap_or_default())
    }

    fn metadata(&mut self, request: &GetStateMetadata) -> Result<Vec<u8>, RequestError> {
        let metadata = if request.collection.is_empty() {
            self.ledger.state_metadata(self.namespace, &request.key)?
        } else {
            self.may_read(&request.collection)?;
            self.ledger
                .private_metadata(self.namespace, &request.collection, &request.key)?
        };
        let entries = metadata
            .into_iter()
            .map(|(metakey, value)| StateMetadata { metakey, value })
            .collect();
        Ok(StateMetadataResult { entries }.encode_to_vec())
    }

    fn put(&mut self, request: PutState) -> Result<Vec<u8>, RequestError> {
        if request.collection.is_empty() {
            self.ledger
                .put_state(self.namespace, &request.key, request.value)?;
        } else {
            self.may_write(&request.collection)?;
            let PutState {
                key,
                value,
                collection,
            } = request;
            self.ledger
                .put_private(self.namespace, &collection, &key, value)?;
        }
        Ok(Vec::new())
    }

    fn delete(&mut self, request: &DelState) -> Result<Vec<u8>, RequestError> {
        if request.collection.is_empty() {
            self.ledger.del_state(self.namespace, &request.key)?;
        } else {
            self.may_write(&request.collection)?;
            self.ledger
                .del_private(self.namespace, &request.collection, &request.key)?;
        }
        Ok(Vec::new())
    }

    fn purge(&mut self, request: &PurgePrivateState) -> Result<Vec<u8>, RequestError> {
        if request.collection.is_empty() {
            return Err(RequestError::OnlyPrivate);
        }
        self.may_write(&request.collection)?;
        self.ledger
            .purge_private(self.namespace, &request.collection, &request.key)?;
        Ok(Vec::new())
    }

    fn put_metadata(&mut self, request: PutStateMetadata) -> Result<Vec<u8>, RequestError> {
        let metadata = request.metadata.unwrap_or_default();
        let metadata = BTreeMap::from([(metadata.metakey, metadata.value)]);
        if request.collection.is_empty() {
            self.ledger
                .set_state_metadata(self.namespace, &request.key, metadata)?;
        } else {
            self.may_write(&request.collection)?;
            let PutStateMetadata {
                key, collection, ..
            } = request;
            self.ledger
                .set_private_metadata(self.namespace, &collection, &key, metadata)?;
        }
        Ok(Vec::new())
    }

    /// Records apply in order; the first error stops, and what was written stays written.
    fn write_batch(&mut self, batch: WriteBatchState) -> Result<Vec<u8>, RequestError> {
        for record in batch.rec {
            self.write_record(record)?;
        }
        Ok(Vec::new())
    }

    fn write_record(&mut self, record: WriteRecord) -> Result<Vec<u8>, RequestError> {
        let kind = record.r#type();
        let WriteRecord {
            key,
            value,
            collection,
            metadata,
            ..
        } = record;
        match kind {
            WriteType::PutState => self.put(PutState {
                key,
                value,
                collection,
            }),
            WriteType::DelState => self.delete(&DelState { key, collection }),
            WriteType::PurgePrivateData => self.purge(&PurgePrivateState { key, collection }),
            WriteType::PutStateMetadata => self.put_metadata(PutStateMetadata {
                key,
                collection,
                metadata,
            }),
            WriteType::Undefined => Err(RequestError::UnknownOperation),
        }
    }

    fn range(
        &mut self,
        request: &GetStateByRange,
    ) -> Result<(crate::ledger::ScanId, Paging), RequestError> {
        let GetStateByRange {
            start_key,
            end_key,
            collection,
            metadata,
        } = request;
        let query = QueryMetadata::decode(metadata.as_slice())?;
        if !collection.is_empty() {
            self.may_read(collection)?;
            let scan = self
                .ledger
                .private_range(self.namespace, collection, start_key, end_key)?;
            return Ok((scan, Paging::None));
        }
        if query.page_size == 0 && query.bookmark.is_empty() {
            let scan = self.ledger.range(self.namespace, start_key, end_key)?;
            return Ok((scan, Paging::None));
        }
        let start = match query.bookmark.as_str() {
            "" => start_key,
            bookmark => bookmark,
        };
        let scan = self
            .ledger
            .range_page(self.namespace, start, end_key, query.page_size)?;
        let size = match usize::try_from(query.page_size) {
            Ok(0) | Err(_) => UNLIMITED_PAGE,
            Ok(size) => size,
        };
        Ok((scan, Paging::Page { size }))
    }
}

fn encoded(response: QueryResponse) -> Vec<u8> {
    response.encode_to_vec()
}
