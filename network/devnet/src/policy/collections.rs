//! The collection file that `peer lifecycle chaincode … --collections-config` takes.

use fabric_protos::common::SignaturePolicyEnvelope;
use fabric_protos::protos::{
    ApplicationPolicy, CollectionConfig, CollectionConfigPackage, CollectionPolicyConfig,
    StaticCollectionConfig, application_policy, collection_config, collection_policy_config,
};
use serde::Deserialize;
use thiserror::Error;

use super::error::PolicyParseError;
use super::text::parse_policy;

/// What is wrong with a collection file or with the pair of policy options.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CollectionParseError {
    /// Not the JSON that is wanted.
    #[error("could not parse the collection configuration")]
    Json(#[source] serde_json::Error),
    /// A policy text is malformed.
    #[error("invalid policy {policy}")]
    Policy {
        /// The text.
        policy: String,
        /// What is wrong with it.
        #[source]
        source: PolicyParseError,
    },
    /// A signature policy and a policy of the channel are given at once.
    #[error("cannot specify both a signature policy and a channel config policy")]
    TwoPolicies,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CollectionFile {
    #[serde(default)]
    name: String,
    #[serde(default)]
    policy: String,
    required_peer_count: Option<i32>,
    max_peer_count: Option<i32>,
    #[serde(default)]
    block_to_live: u64,
    #[serde(default)]
    member_only_read: bool,
    #[serde(default)]
    member_only_write: bool,
    endorsement_policy: Option<EndorsementPolicyFile>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EndorsementPolicyFile {
    signature_policy: Option<String>,
    channel_config_policy: Option<String>,
}

/// Peers a value is sent to when the file does not say.
const DEFAULT_MAX_PEER_COUNT: i32 = 1;

/// Parses a collection file: a JSON array as the `peer` command takes it, with its defaults.
///
/// # Errors
/// [`CollectionParseError`] when it is not such an array or a policy in it is malformed.
pub fn parse_collections(json: &[u8]) -> Result<CollectionConfigPackage, CollectionParseError> {
    let files: Vec<CollectionFile> =
        serde_json::from_slice(json).map_err(CollectionParseError::Json)?;
    let config = files.into_iter().map(collection);
    Ok(CollectionConfigPackage {
        config: config.collect::<Result<_, _>>()?,
    })
}

fn collection(file: CollectionFile) -> Result<CollectionConfig, CollectionParseError> {
    let members = parse(&file.policy)?;
    let endorsement_policy = match file.endorsement_policy {
        Some(policy) => application_policy(
            policy.signature_policy.as_deref(),
            policy.channel_config_policy.as_deref(),
        )?,
        None => None,
    };
    let payload = collection_config::Payload::StaticCollectionConfig(StaticCollectionConfig {
        name: file.name,
        member_orgs_policy: Some(CollectionPolicyConfig {
            payload: Some(collection_policy_config::Payload::SignaturePolicy(members)),
        }),
        required_peer_count: file.required_peer_count.unwrap_or(0),
        maximum_peer_count: file.max_peer_count.unwrap_or(DEFAULT_MAX_PEER_COUNT),
        block_to_live: file.block_to_live,
        member_only_read: file.member_only_read,
        member_only_write: file.member_only_write,
        endorsement_policy,
    });
    Ok(CollectionConfig {
        payload: Some(payload),
    })
}

fn parse(policy: &str) -> Result<SignaturePolicyEnvelope, CollectionParseError> {
    parse_policy(policy).map_err(|source| CollectionParseError::Policy {
        policy: policy.to_owned(),
        source,
    })
}

/// The endorsement policy from the two options of which at most one may be given: the text of a
/// signature policy, or the path of a policy of the channel. Empty counts as not given.
///
/// # Errors
/// [`CollectionParseError`] when both are given or the text is malformed.
pub fn application_policy(
    signature_policy: Option<&str>,
    channel_config_policy: Option<&str>,
) -> Result<Option<ApplicationPolicy>, CollectionParseError> {
    let given = |option: Option<&str>| option.filter(|text| !text.is_empty()).map(str::to_owned);
    let r#type = match (given(signature_policy), given(channel_config_policy)) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => return Err(CollectionParseError::TwoPolicies),
        (Some(text), None) => application_policy::Type::SignaturePolicy(parse(&text)?),
        (None, Some(path)) => application_policy::Type::ChannelConfigPolicyReference(path),
    };
    Ok(Some(ApplicationPolicy {
        r#type: Some(r#type),
    }))
}

/// Prefix of the collections that every organisation has without defining them.
const IMPLICIT_COLLECTION_PREFIX: &str = "_implicit_org_";

/// The MSP ID an implicit collection belongs to; `None` for any other name.
#[must_use]
pub fn implicit_collection_organization(collection: &str) -> Option<&str> {
    collection.strip_prefix(IMPLICIT_COLLECTION_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(json: &str) -> StaticCollectionConfig {
        let package = parse_collections(json.as_bytes()).unwrap();
        let Some(collection_config::Payload::StaticCollectionConfig(config)) =
            package.config[0].payload.clone()
        else {
            panic!("a parsed collection is static");
        };
        config
    }

    #[test]
    fn the_defaults_are_those_of_the_peer_command() {
        let config = parsed(r#"[{"name":"records","policy":"OR('A.member')"}]"#);
        assert_eq!(config.name, "records");
        assert_eq!(config.required_peer_count, 0);
        assert_eq!(config.maximum_peer_count, 1);
        assert_eq!(config.block_to_live, 0);
        assert!(!config.member_only_read && !config.member_only_write);
        assert_eq!(config.endorsement_policy, None);
    }

    #[test]
    fn every_key_is_read() {
        let config = parsed(
            r#"[{"name":"c","policy":"OR('A.member')","requiredPeerCount":1,"maxPeerCount":3,
                "blockToLive":10,"memberOnlyRead":true,"memberOnlyWrite":true,
                "endorsementPolicy":{"channelConfigPolicy":"/Channel/Application/Writers"}}]"#,
        );
        assert_eq!(config.required_peer_count, 1);
        assert_eq!(config.maximum_peer_count, 3);
        assert_eq!(config.block_to_live, 10);
        assert!(config.member_only_read && config.member_only_write);
        assert_eq!(
            config.endorsement_policy.unwrap().r#type,
            Some(application_policy::Type::ChannelConfigPolicyReference(
                "/Channel/Application/Writers".into()
            ))
        );
    }

    #[test]
    fn bad_files_are_refused() {
        for json in [
            "",
            "{}",
            r#"[{"name":"c","policy":""}]"#,
            r#"[{"name":"c","policy":"OR('A.boss')"}]"#,
            r#"[{"name":"c","policy":"OR('A.peer')","blockToLive":-1}]"#,
            r#"[{"name":"c","policy":"OR('A.peer')",
                "endorsementPolicy":{"signaturePolicy":"OR('A.peer')","channelConfigPolicy":"/x"}}]"#,
        ] {
            assert!(parse_collections(json.as_bytes()).is_err(), "{json}");
        }
    }

    #[test]
    fn an_implicit_collection_names_its_organisation() {
        assert_eq!(
            implicit_collection_organization("_implicit_org_Org1MSP"),
            Some("Org1MSP")
        );
        assert_eq!(implicit_collection_organization("records"), None);
    }
}
