//! Private data collections: only hashes of keys and values go on the channel.
//!
//! Peers refuse private data in a chaincode's initialisation, and refuse range and rich queries
//! over private data in a transaction that also writes. They know no bookmarks for private data;
//! [`Stub::get_private_data_by_partial_composite_key_after`] pages by key instead.

use fabric_protos::protos::{GetState, PurgePrivateState, chaincode_message::Type, write_record};
use prost::Message as _;

use super::{
    StateIterator, Stub, check_collection,
    state::{check_not_empty, record},
};
use crate::{KeyError, StubError, key};

impl Stub {
    /// The value of a private key, or `None` when it does not exist.
    ///
    /// # Errors
    ///
    /// Any [`StubError`] of a ledger call. The peer refuses when it holds the hash but not yet
    /// the value.
    pub async fn get_private_data(
        &self,
        collection: &str,
        key: &str,
    ) -> Result<Option<Vec<u8>>, StubError> {
        check_collection(collection)?;
        self.read(collection, key).await
    }

    /// The values of several private keys, in their order.
    ///
    /// # Errors
    ///
    /// Any [`StubError`] of a ledger call.
    pub async fn get_multiple_private_data(
        &self,
        collection: &str,
        keys: &[&str],
    ) -> Result<Vec<Option<Vec<u8>>>, StubError> {
        check_collection(collection)?;
        self.read_multiple(collection, keys).await
    }

    /// SHA-256 of a private value, known to every peer of the channel; `None` when there is no
    /// such key.
    ///
    /// # Errors
    ///
    /// Any [`StubError`] of a ledger call.
    pub async fn get_private_data_hash(
        &self,
        collection: &str,
        key: &str,
    ) -> Result<Option<Vec<u8>>, StubError> {
        check_collection(collection)?;
        check_not_empty(key)?;
        let request = GetState {
            key: key.to_owned(),
            collection: collection.to_owned(),
        };
        let payload = request.encode_to_vec();
        let hash = self.link.request(Type::GetPrivateDataHash, payload).await?;
        Ok((!hash.is_empty()).then_some(hash))
    }

    /// Writes a private key.
    ///
    /// # Errors
    ///
    /// Any [`StubError`] of a ledger write.
    pub async fn put_private_data(
        &self,
        collection: &str,
        key: &str,
        value: impl Into<Vec<u8>>,
    ) -> Result<(), StubError> {
        check_collection(collection)?;
        self.write(collection, key, value.into(), "put_private_data")
            .await
    }

    /// Deletes a private key from the current state; its history stays in the peers' stores.
    ///
    /// # Errors
    ///
    /// Any [`StubError`] of a ledger write.
    pub async fn del_private_data(&self, collection: &str, key: &str) -> Result<(), StubError> {
        check_collection(collection)?;
        self.delete(collection, key, "del_private_data").await
    }

    /// Deletes a private key and every earlier value of it; what remains is its hash. Needs a
    /// channel with application capability V2_5.
    ///
    /// # Errors
    ///
    /// Any [`StubError`] of a ledger write.
    pub async fn purge_private_data(&self, collection: &str, key: &str) -> Result<(), StubError> {
        check_collection(collection)?;
        self.check_may_write("purge_private_data")?;
        check_not_empty(key)?;
        let record = record(collection, key, write_record::Type::PurgePrivateData);
        let Some(record) = self.gather(record) else {
            return Ok(());
        };
        let request = PurgePrivateState {
            key: record.key,
            collection: record.collection,
        };
        self.tell(Type::PurgePrivateData, &request).await
    }

    /// Private keys from `start` up to but not including `end`; an empty bound is open. Composite
    /// keys are skipped.
    ///
    /// # Errors
    ///
    /// Any [`StubError`] of a ledger call.
    pub async fn get_private_data_by_range(
        &self,
        collection: &str,
        start: &str,
        end: &str,
    ) -> Result<StateIterator<'_>, StubError> {
        check_collection(collection)?;
        let start = key::simple_range(start, end)?;
        self.range(collection, start, end).await
    }

    /// Private composite keys that begin with these attributes.
    ///
    /// # Errors
    ///
    /// Any [`StubError`] of a ledger call.
    pub async fn get_private_data_by_partial_composite_key(
        &self,
        collection: &str,
        object_type: &str,
        attributes: &[&str],
    ) -> Result<StateIterator<'_>, StubError> {
        check_collection(collection)?;
        let (start, end) = key::partial_range(object_type, attributes)?;
        self.range(collection, &start, &end).await
    }

    /// The same, from behind one key on: the next page. `after_key` is the last composite key of
    /// the page before, or empty for the first page.
    ///
    /// # Errors
    ///
    /// [`KeyError::OutsideRange`] when the key does not belong to the scan, and any [`StubError`]
    /// of a ledger call.
    pub async fn get_private_data_by_partial_composite_key_after(
        &self,
        collection: &str,
        object_type: &str,
        attributes: &[&str],
        after_key: &str,
    ) -> Result<StateIterator<'_>, StubError> {
        check_collection(collection)?;
        let (mut start, end) = key::partial_range(object_type, attributes)?;
        if !after_key.is_empty() {
            if !after_key.starts_with(&start) {
                return Err(KeyError::OutsideRange.into());
            }
            // The least string greater than the key.
            start = format!("{after_key}\0");
        }
        self.range(collection, &start, &end).await
    }

    /// A rich query over private data; needs peers with CouchDB.
    ///
    /// # Errors
    ///
    /// Any [`StubError`] of a ledger call.
    pub async fn get_private_data_query_result(
        &self,
        collection: &str,
        query: &str,
    ) -> Result<StateIterator<'_>, StubError> {
        check_collection(collection)?;
        self.rich_query(collection, query).await
    }
}
