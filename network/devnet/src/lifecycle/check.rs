//! What a definition must look like before it may be approved or committed.

use std::collections::BTreeSet;

use fabric_protos::common::{
    MspPrincipal, MspRole, OrganizationUnit, SignaturePolicy, msp_principal, signature_policy,
};
use fabric_protos::protos::{
    CollectionConfigPackage, StaticCollectionConfig, collection_config, collection_policy_config,
};
use prost::Message;

use crate::genesis::ChannelConfig;

/// Names no chaincode may take.
const SYSTEM_NAMES: [&str; 5] = ["cscc", "escc", "lscc", "qscc", "vscc"];

/// Checks name, version and collections.
pub(super) fn check_definition(
    name: &str,
    version: &str,
    collections: &CollectionConfigPackage,
    committed: Option<&CollectionConfigPackage>,
    config: &ChannelConfig,
) -> Result<(), String> {
    if !is_chaincode_name(name) {
        return Err(format!(
            "invalid chaincode name '{name}'. Names can only consist of alphanumerics, '_', and '-' and can only begin with alphanumerics"
        ));
    }
    if SYSTEM_NAMES.contains(&name) {
        return Err(format!(
            "chaincode name '{name}' is the name of a system chaincode"
        ));
    }
    let version_char = |c: char| c.is_ascii_alphanumeric() || "_.+-".contains(c);
    if version.is_empty() || !version.chars().all(version_char) {
        return Err(format!(
            "invalid chaincode version '{version}'. Versions can only consist of alphanumerics, '_', '-', '+', and '.'"
        ));
    }
    let proposed = static_collections(collections)?;
    let mut names = BTreeSet::new();
    for collection in &proposed {
        if !names.insert(collection.name.as_str()) {
            let name = &collection.name;
            return Err(format!(
                "collection-name: {name} -- found duplicate in collection configuration"
            ));
        }
        check_collection(collection, config)?;
    }
    committed.map_or(Ok(()), |committed| {
        check_against_committed(&proposed, committed)
    })
}

fn is_chaincode_name(name: &str) -> bool {
    let mut parts = name.split(['-', '_']);
    parts.all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric()))
}

fn static_collections(
    package: &CollectionConfigPackage,
) -> Result<Vec<&StaticCollectionConfig>, String> {
    let configs = package.config.iter().map(|config| match &config.payload {
        Some(collection_config::Payload::StaticCollectionConfig(config)) => Ok(config),
        None => Err("collection configuration is empty".to_owned()),
    });
    configs.collect()
}

fn check_collection(
    collection: &StaticCollectionConfig,
    config: &ChannelConfig,
) -> Result<(), String> {
    let name = &collection.name;
    let good_char = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.starts_with('_') || !name.chars().all(good_char) {
        return Err(format!(
            "invalid collection name '{name}'. Names can only consist of alphanumerics, '_', and '-' and cannot begin with '_'"
        ));
    }
    let (required, maximum) = (
        collection.required_peer_count,
        collection.maximum_peer_count,
    );
    if maximum < required {
        return Err(format!(
            "collection-name: {name} -- maximum peer count ({maximum}) cannot be less than the required peer count ({required})"
        ));
    }
    if required < 0 {
        return Err(format!(
            "collection-name: {name} -- requiredPeerCount ({required}) cannot be less than zero"
        ));
    }
    let policy = collection.member_orgs_policy.as_ref();
    let policy = policy
        .ok_or_else(|| format!("collection member policy is not set for collection '{name}'"))?;
    let Some(collection_policy_config::Payload::SignaturePolicy(policy)) = &policy.payload else {
        return Err(format!(
            "collection member org policy is empty for collection '{name}'"
        ));
    };
    if let Some(n) = policy.rule.as_ref().and_then(not_an_or) {
        return Err(format!(
            "collection-name: {name} -- error in member org policy: signature policy is not an OR concatenation, NOutOf {n}"
        ));
    }
    let mut principals = policy.identities.iter();
    principals.try_for_each(|principal| check_member(name, principal, config))
}

fn not_an_or(policy: &SignaturePolicy) -> Option<i32> {
    match &policy.r#type {
        Some(signature_policy::Type::NOutOf(rule)) if rule.n != 1 => Some(rule.n),
        Some(signature_policy::Type::NOutOf(rule)) => rule.rules.iter().find_map(not_an_or),
        _ => None,
    }
}

fn check_member(
    collection: &str,
    principal: &MspPrincipal,
    config: &ChannelConfig,
) -> Result<(), String> {
    let bytes = principal.principal.as_slice();
    let unreadable =
        || format!("collection-name: {collection} -- cannot unmarshal identity bytes into MSPRole");
    let msp_id = match principal.principal_classification() {
        msp_principal::Classification::Role => {
            MspRole::decode(bytes)
                .map_err(|_| unreadable())?
                .msp_identifier
        }
        msp_principal::Classification::OrganizationUnit => {
            let unit = OrganizationUnit::decode(bytes).map_err(|_| unreadable())?;
            unit.msp_identifier
        }
        msp_principal::Classification::Identity => {
            return match config.msps().identity(bytes) {
                Ok(_) => Ok(()),
                Err(_) => Err(format!(
                    "collection-name: {collection} -- contains an identity that is not part of the channel"
                )),
            };
        }
        other => {
            let other = other.as_str_name();
            return Err(format!(
                "collection-name: {collection} -- principal type {other} is not supported"
            ));
        }
    };
    let known = config
        .organizations()
        .iter()
        .any(|org| org.as_ref() == msp_id);
    if known {
        Ok(())
    } else {
        Err(format!(
            "collection-name: {collection} -- collection member '{msp_id}' is not part of the channel"
        ))
    }
}

fn check_against_committed(
    proposed: &[&StaticCollectionConfig],
    committed: &CollectionConfigPackage,
) -> Result<(), String> {
    let committed = static_collections(committed)?;
    if !committed.is_empty() && proposed.is_empty() {
        return Err(
            "the proposed collection config does not contain previously defined collections"
                .to_owned(),
        );
    }
    for old in committed {
        let name = &old.name;
        let new = proposed.iter().find(|new| new.name == *name);
        let new = new.ok_or_else(|| {
            format!("existing collection [{name}] missing in the proposed collection configuration")
        })?;
        if new.block_to_live != old.block_to_live {
            return Err(format!(
                "the BlockToLive in an existing collection [{name}] modified. Existing value [{}]",
                old.block_to_live
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::is_chaincode_name;

    #[test]
    fn chaincode_names() {
        for name in ["salus", "a1", "my-cc_2"] {
            assert!(is_chaincode_name(name), "{name}");
        }
        for name in ["", "-a", "a-", "a--b", "a b", "a.b", "ä", "_lifecycle"] {
            assert!(!is_chaincode_name(name), "{name}");
        }
    }
}
