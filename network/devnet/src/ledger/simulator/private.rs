//! The private side of a simulation.

use fabric_msp::ValidIdentity;
use fabric_protos::protos::{StaticCollectionConfig, collection_policy_config};

use super::{Simulator, decode_metadata};
use crate::ledger::definition::member_organizations;
use crate::ledger::error::SimulationError;
use crate::ledger::hash::sha256;
use crate::ledger::rwset::Metadata;
use crate::ledger::shared::read;
use crate::ledger::state::{CollectionId, HashedValue, PrivateValue};
use crate::ledger::version::Version;
use crate::policy::evaluate_signature_policy;

impl Simulator {
    /// The value of a private key.
    ///
    /// # Errors
    /// When the collection is not defined, or the channel has a hash for a value that this
    /// peer's organisation does not hold.
    pub fn get_private(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
    ) -> Result<Option<Vec<u8>>, SimulationError> {
        let config = self.collection(namespace, collection)?;
        let value = self.private_value(namespace, collection, key, &config);
        let version = value.as_ref().map(|value| value.version);
        let hash = self.hashed_value(namespace, collection, key);
        let hash_version = hash.map(|hash| hash.version);
        if version != hash_version {
            return Err(SimulationError::PrivateDataNotAvailable {
                hash_version,
                private_version: version,
            });
        }
        self.sets.read_private(namespace, collection, key, version);
        self.interest.read_private(namespace, collection);
        Ok(value.map(|value| value.value))
    }

    /// The values of several private keys, in the order of the keys. As in Fabric, a value this
    /// peer does not hold is simply missing here.
    ///
    /// # Errors
    /// When the collection is not defined.
    pub fn get_privates(
        &mut self,
        namespace: &str,
        collection: &str,
        keys: &[String],
    ) -> Result<Vec<Option<Vec<u8>>>, SimulationError> {
        let config = self.collection(namespace, collection)?;
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            let value = self.private_value(namespace, collection, key, &config);
            let version = value.as_ref().map(|value| value.version);
            self.sets.read_private(namespace, collection, key, version);
            self.interest.read_private(namespace, collection);
            values.push(value.map(|value| value.value));
        }
        Ok(values)
    }

    /// SHA-256 of the value of a private key, which every peer knows.
    ///
    /// # Errors
    /// When the collection is not defined.
    pub fn private_hash(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
    ) -> Result<Option<Vec<u8>>, SimulationError> {
        self.collection(namespace, collection)?;
        let hash = self.read_hashed(namespace, collection, key);
        Ok(hash.map(|hash| hash.value_hash))
    }

    /// Writes a private key. An empty value deletes it.
    ///
    /// # Errors
    /// When the collection is not defined or a query that excludes writes came before.
    pub fn put_private(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
        value: Vec<u8>,
    ) -> Result<(), SimulationError> {
        self.collection(namespace, collection)?;
        self.check_write()?;
        self.sets.write_private(namespace, collection, key, value);
        self.note_private_write(namespace, collection, key)
    }

    /// Deletes a private key; its old values stay with the members.
    ///
    /// # Errors
    /// As [`Simulator::put_private`].
    pub fn del_private(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
    ) -> Result<(), SimulationError> {
        self.put_private(namespace, collection, key, Vec::new())
    }

    /// Deletes a private key and erases every value it ever had from the members' disks.
    ///
    /// # Errors
    /// As [`Simulator::put_private`].
    pub fn purge_private(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
    ) -> Result<(), SimulationError> {
        self.collection(namespace, collection)?;
        self.check_write()?;
        self.sets.purge_private(namespace, collection, key);
        self.note_private_write(namespace, collection, key)
    }

    /// Metadata of a private key, empty when it has none.
    ///
    /// # Errors
    /// When the collection is not defined or the stored metadata cannot be decoded.
    pub fn private_metadata(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
    ) -> Result<Metadata, SimulationError> {
        self.collection(namespace, collection)?;
        let metadata = self
            .read_hashed(namespace, collection, key)
            .and_then(|hash| hash.metadata);
        decode_metadata(metadata.as_deref(), namespace, key)
    }

    /// Replaces the metadata of a private key.
    ///
    /// # Errors
    /// As [`Simulator::put_private`].
    pub fn set_private_metadata(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
        metadata: Metadata,
    ) -> Result<(), SimulationError> {
        self.collection(namespace, collection)?;
        self.check_write()?;
        self.sets
            .write_private_metadata(namespace, collection, key, metadata);
        self.note_private_write(namespace, collection, key)
    }

    /// Checks that the creator may read the collection: everybody, or members only.
    ///
    /// # Errors
    /// [`SimulationError::NoReadAccess`], or when the collection is not defined.
    pub fn check_private_read(
        &mut self,
        namespace: &str,
        collection: &str,
        creator: &ValidIdentity,
    ) -> Result<(), SimulationError> {
        let config = self.collection(namespace, collection)?;
        if !config.member_only_read || is_member(&config, creator) {
            return Ok(());
        }
        Err(SimulationError::NoReadAccess {
            namespace: namespace.to_owned(),
            collection: collection.to_owned(),
        })
    }

    /// Checks that the creator may write to the collection: everybody, or members only.
    ///
    /// # Errors
    /// [`SimulationError::NoWriteAccess`], or when the collection is not defined.
    pub fn check_private_write(
        &mut self,
        namespace: &str,
        collection: &str,
        creator: &ValidIdentity,
    ) -> Result<(), SimulationError> {
        let config = self.collection(namespace, collection)?;
        if !config.member_only_write || is_member(&config, creator) {
            return Ok(());
        }
        Err(SimulationError::NoWriteAccess {
            namespace: namespace.to_owned(),
            collection: collection.to_owned(),
        })
    }

    fn read_hashed(&mut self, namespace: &str, collection: &str, key: &str) -> Option<HashedValue> {
        let hash = self.hashed_value(namespace, collection, key);
        let version: Option<Version> = hash.as_ref().map(|hash| hash.version);
        self.sets.read_private(namespace, collection, key, version);
        hash
    }

    fn hashed_value(&self, namespace: &str, collection: &str, key: &str) -> Option<HashedValue> {
        let id = CollectionId::new(namespace, collection);
        let state = read(&self.snapshot.shared.state);
        let key_hash = sha256(key.as_bytes());
        state.hashed(&id, &key_hash, self.snapshot.height).cloned()
    }

    fn private_value(
        &self,
        namespace: &str,
        collection: &str,
        key: &str,
        config: &StaticCollectionConfig,
    ) -> Option<PrivateValue> {
        if !self.peer_is_member(config) {
            return None;
        }
        let id = CollectionId::new(namespace, collection);
        let state = read(&self.snapshot.shared.state);
        state.private(&id, key, self.snapshot.height).cloned()
    }

    pub(super) fn peer_is_member(&self, config: &StaticCollectionConfig) -> bool {
        let members = member_organizations(config);
        members.iter().any(|member| member == self.peer.as_str())
    }

    fn note_private_write(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
    ) -> Result<(), SimulationError> {
        let metadata = self
            .hashed_value(namespace, collection, key)
            .and_then(|hash| hash.metadata);
        let metadata = decode_metadata(metadata.as_deref(), namespace, key)?;
        self.interest.wrote(namespace, collection, key, metadata);
        Ok(())
    }
}

/// Whether the identity satisfies the collection's member policy.
fn is_member(config: &StaticCollectionConfig, identity: &ValidIdentity) -> bool {
    let payload = config
        .member_orgs_policy
        .as_ref()
        .and_then(|policy| policy.payload.as_ref());
    let Some(collection_policy_config::Payload::SignaturePolicy(policy)) = payload else {
        return false;
    };
    evaluate_signature_policy(policy, std::slice::from_ref(identity)).is_ok()
}
