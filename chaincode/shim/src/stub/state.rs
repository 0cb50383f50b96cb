//! Single keys of the world state, several at once, and batches of writes.

use fabric_protos::protos::{
    DelState, GetState, GetStateMultiple, GetStateMultipleResult, PutState, WriteRecord,
    chaincode_message::Type, write_record,
};
use prost::Message as _;

use super::{Stub, lock};
use crate::{KeyError, StubError, key};

impl Stub {
    /// The value of a key, or `None` when it does not exist.
    ///
    /// # Errors
    ///
    /// Any [`StubError`] of a ledger call.
    pub async fn get_state(&self, key: &str) -> Result<Option<Vec<u8>>, StubError> {
        self.read("", key).await
    }

    /// The values of several keys, in their order. One message to a peer of version 3.1 or later,
    /// one message per key to an older one.
    ///
    /// # Errors
    ///
    /// Any [`StubError`] of a ledger call.
    pub async fn get_multiple_states(
        &self,
        keys: &[&str],
    ) -> Result<Vec<Option<Vec<u8>>>, StubError> {
        self.read_multiple("", keys).await
    }

    /// Writes a key. An empty value deletes it: the ledger makes no difference.
    ///
    /// # Errors
    ///
    /// Any [`StubError`] of a ledger write.
    pub async fn put_state(&self, key: &str, value: impl Into<Vec<u8>>) -> Result<(), StubError> {
        self.write("", key, value.into(), "put_state").await
    }

    /// Deletes a key. Deleting what does not exist is no error.
    ///
    /// # Errors
    ///
    /// Any [`StubError`] of a ledger write.
    pub async fn del_state(&self, key: &str) -> Result<(), StubError> {
        self.delete("", key, "del_state").await
    }

    /// From now on writes are gathered, and sent together by [`Stub::finish_write_batch`] or when
    /// the transaction ends well. Does nothing when the peer takes no batches. A refusal of a
    /// single write then shows up only when the batch is sent.
    pub fn start_write_batch(&self) {
        if self.capabilities.write_batch.is_some() {
            lock(&self.batch).get_or_insert_default();
        }
    }

    /// Sends the gathered writes, if any, and ends gathering.
    ///
    /// # Errors
    ///
    /// Any [`StubError`] of a ledger write; earlier writes of the batch may have been done.
    pub async fn finish_write_batch(&self) -> Result<(), StubError> {
        let batch = lock(&self.batch).take();
        let Some((batch, records_max)) = batch.zip(self.capabilities.write_batch) else {
            return Ok(());
        };
        for message in batch.into_messages(records_max) {
            self.tell(Type::WriteBatchState, &message).await?;
        }
        Ok(())
    }

    pub(super) async fn read(
        &self,
        collection: &str,
        key: &str,
    ) -> Result<Option<Vec<u8>>, StubError> {
        check_not_empty(key)?;
        let request = GetState {
            key: key.to_owned(),
            collection: collection.to_owned(),
        };
        let payload = request.encode_to_vec();
        let value = self.link.request(Type::GetState, payload).await?;
        Ok(present(value))
    }

    pub(super) async fn read_multiple(
        &self,
        collection: &str,
        keys: &[&str],
    ) -> Result<Vec<Option<Vec<u8>>>, StubError> {
        let mut values = Vec::with_capacity(keys.len());
        let Some(keys_max) = self.capabilities.get_multiple else {
            for key in keys {
                values.push(self.read(collection, key).await?);
            }
            return Ok(values);
        };
        for keys in keys.chunks(keys_max) {
            for key in keys {
                check_not_empty(key)?;
            }
            let request = GetStateMultiple {
                keys: keys.iter().map(|key| (*key).to_owned()).collect(),
                collection: collection.to_owned(),
            };
            let reply: GetStateMultipleResult = self.ask(Type::GetStateMultiple, &request).await?;
            if reply.values.len() != keys.len() {
                return Err(StubError::ReplyCount {
                    request: Type::GetStateMultiple.as_str_name(),
                    expected: keys.len(),
                    found: reply.values.len(),
                });
            }
            values.extend(reply.values.into_iter().map(present));
        }
        Ok(values)
    }

    pub(super) async fn write(
        &self,
        collection: &str,
        key: &str,
        value: Vec<u8>,
        operation: &'static str,
    ) -> Result<(), StubError> {
        self.check_may_write(operation)?;
        key::check_written(key)?;
        let record = record(collection, key, write_record::Type::PutState);
        let record = WriteRecord { value, ..record };
        let Some(record) = self.gather(record) else {
            return Ok(());
        };
        let request = PutState {
            key: record.key,
            value: record.value,
            collection: record.collection,
        };
        self.tell(Type::PutState, &request).await
    }

    pub(super) async fn delete(
        &self,
        collection: &str,
        key: &str,
        operation: &'static str,
    ) -> Result<(), StubError> {
        self.check_may_write(operation)?;
        check_not_empty(key)?;
        let record = record(collection, key, write_record::Type::DelState);
        let Some(record) = self.gather(record) else {
            return Ok(());
        };
        let request = DelState {
            key: record.key,
            collection: record.collection,
        };
        self.tell(Type::DelState, &request).await
    }

    /// Puts a write into the batch, or gives it back when there is none.
    pub(super) fn gather(&self, record: WriteRecord) -> Option<WriteRecord> {
        match lock(&self.batch).as_mut() {
            Some(batch) => {
                batch.add(record);
                None
            }
            None => Some(record),
        }
    }
}

pub(super) fn record(collection: &str, key: &str, kind: write_record::Type) -> WriteRecord {
    WriteRecord {
        key: key.to_owned(),
        collection: collection.to_owned(),
        r#type: kind.into(),
        ..WriteRecord::default()
    }
}

pub(super) fn check_not_empty(key: &str) -> Result<(), StubError> {
    if key.is_empty() {
        return Err(KeyError::Empty.into());
    }
    Ok(())
}

/// The ledger stores no empty values, so an empty one means that there is none.
fn present(value: Vec<u8>) -> Option<Vec<u8>> {
    (!value.is_empty()).then_some(value)
}
