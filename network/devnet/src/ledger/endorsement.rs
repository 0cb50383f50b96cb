//! Whether a transaction has the endorsements its writes need.
//!
//! The invoked chaincode's policy, or what replaces it for the keys written, must hold, and so
//! must that of every other namespace written to. A key with a validation parameter is judged by
//! it alone; other keys by the policy of their collection, or else of the chaincode.

use std::collections::{BTreeMap, BTreeSet};

use fabric_msp::ValidIdentity;
use fabric_protos::common::SignaturePolicyEnvelope;
use fabric_protos::kvrwset::KvMetadataWrite;
use fabric_protos::protos::{
    ApplicationPolicy, MetaDataKeys, TxValidationCode, application_policy,
};
use prost::Message;

use super::definition::{ChaincodeDefinition, LIFECYCLE_NAMESPACE};
use super::rwset::{NamespaceRwSet, TxRwSet};
use super::state::{CollectionId, State};
use super::transaction::{EndorsedTransaction, Outcome, Rejection, reject};
use crate::genesis::ChannelConfig;
use crate::policy::{SignedData, evaluate_signature_policy, valid_identities};

/// Judges the endorsements of the transactions of one block, in block order.
#[derive(Debug)]
pub(crate) struct EndorsementCheck<'l> {
    state: &'l State,
    height: u64,
    config: &'l ChannelConfig,
    definitions: BTreeMap<String, Option<ChaincodeDefinition>>,
    /// Keys whose metadata an endorsed transaction of this block changes.
    changed_metadata: BTreeSet<KeyId>,
}

/// Namespace, collection (empty: public), key or key hash.
type KeyId = (String, String, Vec<u8>);

impl<'l> EndorsementCheck<'l> {
    /// Judges by the state at `height`.
    pub(crate) fn new(state: &'l State, height: u64, config: &'l ChannelConfig) -> Self {
        Self {
            state,
            height,
            config,
            definitions: BTreeMap::new(),
            changed_metadata: BTreeSet::new(),
        }
    }

    /// Checks one transaction. Later ones may not write keys whose metadata it changes.
    pub(crate) fn check(
        &mut self,
        transaction: &EndorsedTransaction,
        outcome: &Outcome,
    ) -> Result<(), Rejection> {
        let written = outcome.rwset.namespaces.iter();
        let written = written.filter(|set| set.writes());
        let mut namespaces: BTreeSet<&str> = written.map(|set| set.namespace.as_str()).collect();
        namespaces.insert(&outcome.chaincode);
        let endorsers = self.endorsers(transaction);
        for namespace in namespaces {
            self.check_namespace(namespace, &outcome.rwset, &endorsers)?;
            self.note_metadata_writes(namespace, &outcome.rwset);
        }
        Ok(())
    }

    fn endorsers(&self, transaction: &EndorsedTransaction) -> Vec<ValidIdentity> {
        let payload = transaction.proposal_response_payload.as_slice();
        let signed = transaction
            .endorsements
            .iter()
            .map(|endorsement| SignedData {
                data: [payload, &endorsement.endorser].concat(),
                identity: endorsement.endorser.clone(),
                signature: endorsement.signature.clone(),
            });
        valid_identities(&signed.collect::<Vec<_>>(), self.config.msps())
    }

    fn definition(&mut self, namespace: &str) -> Option<ChaincodeDefinition> {
        if let Some(known) = self.definitions.get(namespace) {
            return known.clone();
        }
        let definition = if namespace == LIFECYCLE_NAMESPACE {
            Some(ChaincodeDefinition::lifecycle())
        } else {
            ChaincodeDefinition::from_state(namespace, |key| {
                let value = self.state.public(LIFECYCLE_NAMESPACE, key, self.height)?;
                Some(value.value.clone())
            })
        };
        self.definitions
            .insert(namespace.to_owned(), definition.clone());
        definition
    }

    fn check_namespace(
        &mut self,
        namespace: &str,
        rwset: &TxRwSet,
        endorsers: &[ValidIdentity],
    ) -> Result<(), Rejection> {
        let invalid = |detail: String| reject(TxValidationCode::InvalidChaincode, detail);
        let definition = self
            .definition(namespace)
            .ok_or_else(|| invalid(format!("chaincode {namespace} is not defined")))?;
        if definition.validation_plugin.is_empty() || definition.validation_parameter.is_empty() {
            return Err(invalid(format!(
                "chaincode definition for [{namespace}] is invalid, plugin and policy must be set"
            )));
        }
        let mut policies = NamespacePolicies {
            check: self,
            definition: &definition,
            endorsers,
            checked: BTreeSet::new(),
            any_checked: false,
        };
        let sets = rwset.namespaces.iter();
        for set in sets.filter(|set| set.namespace == namespace) {
            policies.check_writes(set)?;
        }
        // A transaction that writes nothing still needs the chaincode's endorsement.
        if policies.any_checked {
            Ok(())
        } else {
            policies.check_chaincode_policy()
        }
    }

    fn note_metadata_writes(&mut self, namespace: &str, rwset: &TxRwSet) {
        let sets = rwset.namespaces.iter();
        for set in sets.filter(|set| set.namespace == namespace) {
            for write in &set.public.metadata_writes {
                let key = write.key.clone().into_bytes();
                self.changed_metadata
                    .insert((namespace.to_owned(), String::new(), key));
            }
            for collection in &set.collections {
                for write in &collection.hashed.metadata_writes {
                    self.changed_metadata.insert((
                        namespace.to_owned(),
                        collection.collection.clone(),
                        write.key_hash.clone(),
                    ));
                }
            }
        }
    }

    /// The validation parameter of a key, as committed.
    fn key_policy(&self, namespace: &str, collection: &str, key: &[u8]) -> Option<Vec<u8>> {
        let metadata = if collection.is_empty() {
            let key = std::str::from_utf8(key).ok()?;
            let value = self.state.public(namespace, key, self.height)?;
            value.metadata.as_deref()?
        } else {
            let id = CollectionId::new(namespace, collection);
            let value = self.state.hashed(&id, key, self.height)?;
            value.metadata.as_deref()?
        };
        let metadata = KvMetadataWrite::decode(metadata).ok()?;
        let name = MetaDataKeys::ValidationParameter.as_str_name();
        let mut entries = metadata.entries.into_iter();
        let entry = entries.find(|entry| entry.name == name)?;
        (!entry.value.is_empty()).then_some(entry.value)
    }
}

/// The policies of one namespace for one transaction; each is evaluated once.
struct NamespacePolicies<'c, 'l> {
    check: &'c EndorsementCheck<'l>,
    definition: &'c ChaincodeDefinition,
    endorsers: &'c [ValidIdentity],
    /// Collections whose policy holds; the empty name is the chaincode's.
    checked: BTreeSet<String>,
    any_checked: bool,
}

fn failure(detail: impl Into<String>) -> Rejection {
    reject(TxValidationCode::EndorsementPolicyFailure, detail)
}

impl NamespacePolicies<'_, '_> {
    fn check_writes(&mut self, set: &NamespaceRwSet) -> Result<(), Rejection> {
        for write in &set.public.writes {
            self.check_key("", write.key.as_bytes())?;
        }
        for write in &set.public.metadata_writes {
            self.check_key("", write.key.as_bytes())?;
        }
        for collection in &set.collections {
            for write in &collection.hashed.hashed_writes {
                self.check_key(&collection.collection, &write.key_hash)?;
            }
        }
        for collection in &set.collections {
            for write in &collection.hashed.metadata_writes {
                self.check_key(&collection.collection, &write.key_hash)?;
            }
        }
        Ok(())
    }

    fn check_key(&mut self, collection: &str, key: &[u8]) -> Result<(), Rejection> {
        let namespace = &self.definition.name;
        let id = (namespace.clone(), collection.to_owned(), key.to_vec());
        if self.check.changed_metadata.contains(&id) {
            return Err(failure(format!(
                "validation parameters of {} have been updated earlier in the block",
                show_key(namespace, collection, key)
            )));
        }
        let Some(policy) = self.check.key_policy(namespace, collection, key) else {
            return self.check_collection_policy(collection);
        };
        let policy = SignaturePolicyEnvelope::decode(policy.as_slice())
            .map_err(|_| failure("a validation parameter cannot be decoded"))?;
        evaluate_signature_policy(&policy, self.endorsers).map_err(|error| {
            let key = show_key(namespace, collection, key);
            failure(format!("validation of {key} failed: {error}"))
        })?;
        self.any_checked = true;
        Ok(())
    }

    fn check_collection_policy(&mut self, collection: &str) -> Result<(), Rejection> {
        if self.checked.contains(collection) {
            return Ok(());
        }
        if collection.is_empty() {
            return self.check_chaincode_policy();
        }
        let namespace = &self.definition.name;
        let config = self.definition.collection(collection, self.check.config);
        let config = config.ok_or_else(|| {
            failure(format!(
                "collection {collection} of chaincode {namespace} is not defined"
            ))
        })?;
        let policy = config.endorsement_policy.filter(|policy| {
            // A collection without policy of its own is under the chaincode's.
            policy.r#type.is_some()
        });
        let Some(policy) = policy else {
            return self.check_chaincode_policy();
        };
        self.evaluate(&policy).map_err(|error| {
            failure(format!(
                "validation of endorsement policy for collection {collection} chaincode \
                 {namespace} failed: {error}"
            ))
        })?;
        self.checked.insert(collection.to_owned());
        self.any_checked = true;
        Ok(())
    }

    fn check_chaincode_policy(&mut self) -> Result<(), Rejection> {
        if self.checked.contains("") {
            return Ok(());
        }
        let namespace = &self.definition.name;
        let policy = self
            .definition
            .endorsement_policy()
            .ok_or_else(|| failure(format!("policy of chaincode {namespace} is malformed")))?;
        self.evaluate(&policy).map_err(|error| {
            failure(format!(
                "validation of endorsement policy for chaincode {namespace} failed: {error}"
            ))
        })?;
        self.checked.insert(String::new());
        self.any_checked = true;
        Ok(())
    }

    fn evaluate(&self, policy: &ApplicationPolicy) -> Result<(), crate::policy::PolicyError> {
        if let Some(application_policy::Type::SignaturePolicy(policy)) = &policy.r#type {
            return evaluate_signature_policy(policy, self.endorsers);
        }
        self.check
            .config
            .evaluate_application_policy(policy, self.endorsers)
    }
}

/// A key for people: public ones as they are, private ones by their hash.
pub(crate) fn show_key(namespace: &str, collection: &str, key: &[u8]) -> String {
    if collection.is_empty() {
        let key = String::from_utf8_lossy(key);
        format!("key {key:?} of chaincode {namespace}")
    } else {
        let hash = hex::encode(key);
        format!("key with hash {hash} of collection {collection} of chaincode {namespace}")
    }
}
