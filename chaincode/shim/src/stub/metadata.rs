//! Metadata of single keys, above all their own endorsement policy.

use fabric_protos::protos::{
    GetStateMetadata, MetaDataKeys, PutStateMetadata, StateMetadata, StateMetadataResult,
    WriteRecord, chaincode_message::Type, write_record,
};

use super::{
    Stub, check_collection,
    state::{check_not_empty, record},
};
use crate::{StubError, key};

impl Stub {
    /// Lets this endorsement policy, instead of the chaincode's, decide over changes of a key.
    /// [`crate::KeyEndorsementPolicy`] makes one.
    ///
    /// # Errors
    ///
    /// Any [`StubError`] of a ledger write.
    pub async fn set_state_validation_parameter(
        &self,
        key: &str,
        policy: impl Into<Vec<u8>>,
    ) -> Result<(), StubError> {
        self.write_metadata("", key, policy.into()).await
    }

    /// The endorsement policy of a key, or `None` when the chaincode's holds.
    ///
    /// # Errors
    ///
    /// Any [`StubError`] of a ledger call.
    pub async fn get_state_validation_parameter(
        &self,
        key: &str,
    ) -> Result<Option<Vec<u8>>, StubError> {
        self.read_metadata("", key).await
    }

    /// [`Stub::set_state_validation_parameter`] for a private key.
    ///
    /// # Errors
    ///
    /// Any [`StubError`] of a ledger write.
    pub async fn set_private_data_validation_parameter(
        &self,
        collection: &str,
        key: &str,
        policy: impl Into<Vec<u8>>,
    ) -> Result<(), StubError> {
        check_collection(collection)?;
        self.write_metadata(collection, key, policy.into()).await
    }

    /// [`Stub::get_state_validation_parameter`] for a private key.
    ///
    /// # Errors
    ///
    /// Any [`StubError`] of a ledger call.
    pub async fn get_private_data_validation_parameter(
        &self,
        collection: &str,
        key: &str,
    ) -> Result<Option<Vec<u8>>, StubError> {
        check_collection(collection)?;
        self.read_metadata(collection, key).await
    }

    async fn write_metadata(
        &self,
        collection: &str,
        key: &str,
        value: Vec<u8>,
    ) -> Result<(), StubError> {
        self.check_may_write("set_state_validation_parameter")?;
        key::check_written(key)?;
        let metadata = StateMetadata {
            metakey: MetaDataKeys::ValidationParameter.as_str_name().to_owned(),
            value,
        };
        let record = WriteRecord {
            metadata: Some(metadata),
            ..record(collection, key, write_record::Type::PutStateMetadata)
        };
        let Some(record) = self.gather(record) else {
            return Ok(());
        };
        let request = PutStateMetadata {
            key: record.key,
            collection: record.collection,
            metadata: record.metadata,
        };
        self.tell(Type::PutStateMetadata, &request).await
    }

    async fn read_metadata(
        &self,
        collection: &str,
        key: &str,
    ) -> Result<Option<Vec<u8>>, StubError> {
        check_not_empty(key)?;
        let request = GetStateMetadata {
            key: key.to_owned(),
            collection: collection.to_owned(),
        };
        let reply: StateMetadataResult = self.ask(Type::GetStateMetadata, &request).await?;
        let name = MetaDataKeys::ValidationParameter.as_str_name();
        let entry = reply
            .entries
            .into_iter()
            .find(|entry| entry.metakey == name);
        Ok(entry.map(|entry| entry.value))
    }
}
