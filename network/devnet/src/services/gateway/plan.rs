//! Which organisations have to endorse a transaction, once it is known what it touches.

use std::collections::BTreeSet;

use fabric_msp::MspId;
use fabric_protos::protos::{
    ApplicationPolicy, ChaincodeCall, ChaincodeInterest, CollectionConfigPackage,
    StaticCollectionConfig, application_policy, collection_config, collection_policy_config,
};
use prost::Message;

use crate::genesis::ChannelConfig;
use crate::ledger::{ChaincodeDefinition, Channel};
use crate::lifecycle::LIFECYCLE;
use crate::peer::Peer;
use crate::policy::{Layout, Requirement, combine, implicit_collection_organization};
use crate::system::SystemChaincode;

const LIFECYCLE_POLICY: &str = "/Channel/Application/LifecycleEndorsement";
const DEFAULT_POLICY: &str = "/Channel/Application/Endorsement";

/// The interest of a proposal of which nothing but the chaincode is known.
pub(super) fn default_interest(chaincode: &str) -> ChaincodeInterest {
    let call = ChaincodeCall {
        name: chaincode.to_owned(),
        ..ChaincodeCall::default()
    };
    ChaincodeInterest {
        chaincodes: vec![call],
    }
}

/// The sets of organisations that satisfy all policies an interest names, those with the
/// preferred organisation first, then the smallest; every organisation in them has a peer with
/// the chaincodes that may see the private data that is read.
pub(super) fn layouts(
    channel: &Channel,
    peers: &[std::sync::Arc<Peer>],
    interest: &ChaincodeInterest,
    preferred: Option<&MspId>,
) -> Result<Vec<BTreeSet<MspId>>, String> {
    let config = channel.config();
    let mut requirements = Vec::new();
    let mut allowed: BTreeSet<&MspId> = peers.iter().map(|peer| &peer.msp_id).collect();
    for call in &interest.chaincodes {
        let definition = definition_for(channel, &call.name)?;
        requirements.extend(requirements_of(call, definition.as_ref(), &config));
        if !call.no_private_reads {
            for collection in &call.collection_names {
                let definition = definition.as_ref();
                allowed.retain(|org| is_member(org, collection, definition));
            }
        }
    }
    let satisfying = combine(&requirements);
    let one_peer_each = |layout: &Layout| layout.organizations.values().all(|count| *count == 1);
    let mut layouts: Vec<BTreeSet<MspId>> = satisfying
        .into_iter()
        .filter(one_peer_each)
        .map(|layout| layout.organizations.into_keys().collect())
        .filter(|layout: &BTreeSet<MspId>| !layout.is_empty())
        .collect();
    layouts.retain(|layout| layout.iter().all(|org| allowed.contains(org)));
    if layouts.is_empty() {
        return Err("no peer combination can satisfy the endorsement policy".to_owned());
    }
    let runs_all = |org: &MspId| {
        let peer = peers.iter().find(|peer| peer.msp_id == *org);
        peer.is_some_and(|peer| {
            let mut calls = interest.chaincodes.iter();
            calls.all(|call| peer.has_chaincode(&call.name))
        })
    };
    layouts.retain(|layout| layout.iter().all(runs_all));
    if layouts.is_empty() {
        return Err("required chaincodes are not installed on sufficient peers".to_owned());
    }
    layouts.sort_by_key(|layout| !preferred.is_some_and(|org| layout.contains(org)));
    Ok(layouts)
}

fn definition_for(channel: &Channel, name: &str) -> Result<Option<ChaincodeDefinition>, String> {
    if SystemChaincode::named(name).is_some() {
        return Ok(None);
    }
    channel.definition(name).map(Some).ok_or_else(|| {
        let channel = channel.channel_id();
        format!("No metadata was found for chaincode {name} in channel {channel}")
    })
}

/// The policies of one call: the chaincode's, its collections', its keys'.
fn requirements_of(
    call: &ChaincodeCall,
    definition: Option<&ChaincodeDefinition>,
    config: &ChannelConfig,
) -> Vec<Requirement> {
    let mut requirements = Vec::new();
    if !call.disregard_namespace_policy {
        let policy = match definition {
            Some(definition) => {
                ApplicationPolicy::decode(definition.validation_parameter.as_slice())
                    .unwrap_or_default()
            }
            None if call.name == LIFECYCLE => reference(LIFECYCLE_POLICY),
            None => reference(DEFAULT_POLICY),
        };
        requirements.push(config.requirement(&policy));
    }
    for collection in &call.collection_names {
        if let Some(policy) = collection_policy(collection, definition, config) {
            requirements.push(config.requirement(&policy));
        }
    }
    let keys = call.key_policies.iter();
    requirements.extend(keys.map(Requirement::from_signature_policy));
    requirements
}

fn collection_policy(
    name: &str,
    definition: Option<&ChaincodeDefinition>,
    config: &ChannelConfig,
) -> Option<ApplicationPolicy> {
    if let Some(organization) = implicit_collection_organization(name) {
        let path = config.organization_policy_path(organization, "Endorsement")?;
        return Some(reference(&path));
    }
    let collection = static_collection(&definition?.collections, name)?;
    collection.endorsement_policy.clone()
}

fn reference(path: &str) -> ApplicationPolicy {
    let reference = application_policy::Type::ChannelConfigPolicyReference(path.to_owned());
    ApplicationPolicy {
        r#type: Some(reference),
    }
}

/// Whether an organisation's peers hold a collection.
fn is_member(org: &MspId, name: &str, definition: Option<&ChaincodeDefinition>) -> bool {
    if let Some(organization) = implicit_collection_organization(name) {
        return organization == org.as_str();
    }
    let collection = definition.and_then(|d| static_collection(&d.collections, name));
    let policy = collection.and_then(|collection| collection.member_orgs_policy.as_ref());
    let Some(collection_policy_config::Payload::SignaturePolicy(policy)) =
        policy.and_then(|policy| policy.payload.as_ref())
    else {
        return false;
    };
    let members = Requirement::from_signature_policy(policy).layouts();
    members
        .iter()
        .any(|layout| layout.organizations.contains_key(org))
}

fn static_collection<'a>(
    collections: &'a CollectionConfigPackage,
    name: &str,
) -> Option<&'a StaticCollectionConfig> {
    collections
        .config
        .iter()
        .find_map(|config| match &config.payload {
            Some(collection_config::Payload::StaticCollectionConfig(config))
                if config.name == name =>
            {
                Some(config)
            }
            _ => None,
        })
}
