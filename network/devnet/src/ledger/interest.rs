//! What a transaction touched, in the form the gateway needs to choose endorsers.

use std::collections::{BTreeMap, BTreeSet};

use fabric_protos::common::SignaturePolicyEnvelope;
use fabric_protos::protos::{ChaincodeCall, ChaincodeInterest, MetaDataKeys};
use prost::Message;

use super::rwset::Metadata;

/// Namespaces of Fabric's own chaincodes, which no endorsement policy of an application covers.
const SYSTEM_CHAINCODES: [&str; 4] = ["_lifecycle", "cscc", "lscc", "qscc"];

/// Notes, while a transaction is simulated, what decides who must endorse it.
#[derive(Clone, Debug, Default)]
pub(crate) struct InterestBuilder {
    /// Committed metadata of written keys: namespace, then collection (empty: public), then key.
    written: BTreeMap<String, BTreeMap<String, BTreeMap<String, Metadata>>>,
    private_reads: BTreeSet<(String, String)>,
}

/// Namespace to collection (empty: public) to whether its policy is asked for.
type Policies = BTreeMap<String, BTreeMap<String, bool>>;

impl InterestBuilder {
    pub(crate) fn wrote(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
        metadata: Metadata,
    ) {
        self.written
            .entry(namespace.to_owned())
            .or_default()
            .entry(collection.to_owned())
            .or_default()
            .insert(key.to_owned(), metadata);
    }

    pub(crate) fn read_private(&mut self, namespace: &str, collection: &str) {
        let read = (namespace.to_owned(), collection.to_owned());
        self.private_reads.insert(read);
    }

    /// The interest, given the namespaces that appear in the read-write set.
    pub(crate) fn build<'n>(&self, namespaces: impl Iterator<Item = &'n str>) -> ChaincodeInterest {
        let (mut required, key_policies) = self.written_policies();
        for namespace in namespaces {
            if !required.contains_key(namespace) {
                let only_reads = BTreeMap::from([(String::new(), true)]);
                required.insert(namespace.to_owned(), only_reads);
            }
        }
        for (namespace, collection) in &self.private_reads {
            let collections = required.entry(namespace.clone()).or_default();
            collections.insert(collection.clone(), true);
        }
        let mut chaincodes = Vec::new();
        for (namespace, collections) in &required {
            if SYSTEM_CHAINCODES.contains(&namespace.as_str()) {
                continue;
            }
            for (collection, required) in collections {
                let call = if collection.is_empty() {
                    let policies = key_policies.get(namespace).cloned().unwrap_or_default();
                    public_call(namespace, *required, policies)
                } else {
                    Some(self.collection_call(namespace, collection))
                };
                chaincodes.extend(call);
            }
        }
        ChaincodeInterest { chaincodes }
    }

    fn written_policies(&self) -> (Policies, BTreeMap<String, Vec<SignaturePolicyEnvelope>>) {
        let mut required = Policies::new();
        let mut key_policies: BTreeMap<String, Vec<SignaturePolicyEnvelope>> = BTreeMap::new();
        for (namespace, collections) in &self.written {
            let asked = required.entry(namespace.clone()).or_default();
            asked.insert(String::new(), false);
            for (collection, keys) in collections {
                for metadata in keys.values() {
                    match key_policy(metadata) {
                        Some(policy) => key_policies
                            .entry(namespace.clone())
                            .or_default()
                            .push(policy),
                        None => {
                            asked.insert(collection.clone(), true);
                        }
                    }
                }
            }
        }
        (required, key_policies)
    }

    fn collection_call(&self, namespace: &str, collection: &str) -> ChaincodeCall {
        let read = (namespace.to_owned(), collection.to_owned());
        ChaincodeCall {
            name: namespace.to_owned(),
            collection_names: vec![collection.to_owned()],
            no_private_reads: !self.private_reads.contains(&read),
            ..ChaincodeCall::default()
        }
    }
}

/// The call for the public part: nothing to ask when neither the chaincode's policy nor a key's
/// is needed.
fn public_call(
    namespace: &str,
    required: bool,
    key_policies: Vec<SignaturePolicyEnvelope>,
) -> Option<ChaincodeCall> {
    if key_policies.is_empty() && !required {
        return None;
    }
    Some(ChaincodeCall {
        name: namespace.to_owned(),
        disregard_namespace_policy: !key_policies.is_empty() && !required,
        key_policies,
        ..ChaincodeCall::default()
    })
}

fn key_policy(metadata: &Metadata) -> Option<SignaturePolicyEnvelope> {
    let bytes = metadata.get(MetaDataKeys::ValidationParameter.as_str_name())?;
    SignaturePolicyEnvelope::decode(bytes.as_slice()).ok()
}
