//! Reading a channel configuration and judging by its policies.

use std::collections::{BTreeMap, BTreeSet};

use fabric_msp::{Msp, MspId, MspManager, ValidIdentity};
use fabric_protos::common::implicit_meta_policy::Rule;
use fabric_protos::common::policy::PolicyType;
use fabric_protos::common::{
    Block, Capabilities, ChannelHeader, Config, ConfigEnvelope, ConfigGroup, Envelope, HeaderType,
    ImplicitMetaPolicy, OrdererAddresses, Payload, Policy, SignaturePolicyEnvelope,
};
use fabric_protos::msp::{FabricMspConfig, MspConfig};
use fabric_protos::orderer::{BatchSize, BatchTimeout};
use fabric_protos::protos::{AnchorPeers, ApplicationPolicy, application_policy};
use prost::Message;

use super::block::BatchProfile;
use super::error::ConfigError;
use super::key;
use crate::policy::{
    PolicyError, Requirement, SignedData, evaluate_signature_policy, valid_identities,
};

/// The configuration of a channel, read from its configuration block.
#[derive(Debug)]
pub struct ChannelConfig {
    channel_id: String,
    config: Config,
    root: ConfigGroup,
    msps: MspManager,
    organizations: Vec<MspId>,
    anchor_peers: BTreeMap<MspId, Vec<(String, u16)>>,
    orderer_addresses: Vec<String>,
    application_capabilities: BTreeSet<String>,
    batch: BatchProfile,
}

/// First part of every policy path.
const ROOT: &str = "Channel";

impl ChannelConfig {
    /// Reads the configuration out of a configuration block.
    ///
    /// # Errors
    /// [`ConfigError`] when the block holds anything but one well-formed configuration.
    pub fn from_block(block: &Block) -> Result<Self, ConfigError> {
        let data = block.data.as_ref().map(|data| data.data.as_slice());
        let Some([envelope]) = data else {
            return Err(ConfigError::NotConfig);
        };
        let envelope = decode::<Envelope>("the envelope", envelope)?;
        let payload = decode::<Payload>("the payload", &envelope.payload)?;
        let header = payload
            .header
            .ok_or(ConfigError::Missing { part: "header" })?;
        let header = decode::<ChannelHeader>("the channel header", &header.channel_header)?;
        if header.r#type != i32::from(HeaderType::Config) {
            return Err(ConfigError::NotConfig);
        }
        let envelope = decode::<ConfigEnvelope>("the configuration", &payload.data)?;
        let config = envelope.config.ok_or(ConfigError::Missing {
            part: "configuration",
        })?;
        Self::from_config(header.channel_id, config)
    }

    fn from_config(channel_id: String, config: Config) -> Result<Self, ConfigError> {
        let root = config.channel_group.clone().ok_or(ConfigError::Missing {
            part: "channel group",
        })?;
        let application = group(&root, key::APPLICATION)?;
        let orderer = group(&root, key::ORDERER)?;
        let mut msps = Vec::new();
        let mut anchor_peers = BTreeMap::new();
        for (name, organization) in &application.groups {
            let msp = read_msp(name, organization)?;
            anchor_peers.insert(msp.msp_id().clone(), read_anchor_peers(organization)?);
            msps.push(msp);
        }
        let organizations = anchor_peers.keys().cloned().collect();
        let mut orderer_addresses = Vec::new();
        for (name, organization) in &orderer.groups {
            msps.push(read_msp(name, organization)?);
            if let Some(value) = value::<OrdererAddresses>(organization, key::ENDPOINTS)? {
                orderer_addresses.extend(value.addresses);
            }
        }
        let capabilities = value::<Capabilities>(application, key::CAPABILITIES)?;
        let capabilities = capabilities.unwrap_or_default().capabilities;
        Ok(Self {
            channel_id,
            msps: MspManager::new(msps),
            organizations,
            anchor_peers,
            orderer_addresses,
            application_capabilities: capabilities.into_keys().collect(),
            batch: read_batch(orderer)?,
            root,
            config,
        })
    }

    /// Name of the channel.
    #[must_use]
    pub fn channel_id(&self) -> &str {
        &self.channel_id
    }

    /// The configuration as it is in the block.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The MSPs of all organisations, the ordering one included.
    #[must_use]
    pub fn msps(&self) -> &MspManager {
        &self.msps
    }

    /// MSP IDs of the organisations with peers, in order.
    #[must_use]
    pub fn organizations(&self) -> &[MspId] {
        &self.organizations
    }

    /// Host and port of the organisation's anchor peers.
    #[must_use]
    pub fn anchor_peers(&self, organization: &MspId) -> &[(String, u16)] {
        self.anchor_peers
            .get(organization)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    /// Where the orderers listen, as `host:port`.
    #[must_use]
    pub fn orderer_addresses(&self) -> &[String] {
        &self.orderer_addresses
    }

    /// How transactions are gathered into blocks.
    #[must_use]
    pub fn batch(&self) -> &BatchProfile {
        &self.batch
    }

    /// Whether the application group has the capability, such as `V2_5`.
    #[must_use]
    pub fn has_application_capability(&self, name: &str) -> bool {
        self.application_capabilities.contains(name)
    }

    /// Checks signatures and evaluates the policy at the path, such as
    /// `/Channel/Application/Writers`.
    ///
    /// # Errors
    /// [`PolicyError`] when it is not satisfied or there is no such policy.
    pub fn evaluate(&self, path: &str, signed: &[SignedData]) -> Result<(), PolicyError> {
        self.evaluate_identities(path, &valid_identities(signed, &self.msps))
    }

    /// Evaluates the policy at the path over identities that are known to have signed.
    ///
    /// # Errors
    /// [`PolicyError`] when it is not satisfied or there is no such policy.
    pub fn evaluate_identities(
        &self,
        path: &str,
        identities: &[ValidIdentity],
    ) -> Result<(), PolicyError> {
        let (group, name) = self.locate(path)?;
        evaluate_policy(group, name, identities)
    }

    /// Whether the channel has a policy at the path.
    #[must_use]
    pub fn has_policy(&self, path: &str) -> bool {
        self.locate(path).is_ok()
    }

    /// Evaluates an endorsement policy: a signature policy, or the channel's policy it refers to.
    ///
    /// # Errors
    /// [`PolicyError`] when it is not satisfied, refers to nothing or is empty.
    pub fn evaluate_application_policy(
        &self,
        policy: &ApplicationPolicy,
        identities: &[ValidIdentity],
    ) -> Result<(), PolicyError> {
        match &policy.r#type {
            Some(application_policy::Type::SignaturePolicy(policy)) => {
                evaluate_signature_policy(policy, identities)
            }
            Some(application_policy::Type::ChannelConfigPolicyReference(path)) => {
                self.evaluate_identities(path, identities)
            }
            None => Err(PolicyError::Malformed {
                reason: "it is neither a signature policy nor a reference",
            }),
        }
    }

    /// What an endorsement policy asks of the organisations' peers.
    #[must_use]
    pub fn requirement(&self, policy: &ApplicationPolicy) -> Requirement {
        match &policy.r#type {
            Some(application_policy::Type::SignaturePolicy(policy)) => {
                Requirement::from_signature_policy(policy)
            }
            Some(application_policy::Type::ChannelConfigPolicyReference(path)) => self
                .locate(path)
                .map_or(Requirement::Never, |(group, name)| requirement(group, name)),
            None => Requirement::Never,
        }
    }

    /// Path of the policy named so in the group of the organisation with peers.
    #[must_use]
    pub fn organization_policy_path(&self, msp_id: &str, policy: &str) -> Option<String> {
        let application = self.root.groups.get(key::APPLICATION)?;
        let (name, _) = application.groups.iter().find(|(_, group)| {
            let config = value::<MspConfig>(group, key::MSP).ok().flatten();
            let config =
                config.and_then(|config| FabricMspConfig::decode(config.config.as_slice()).ok());
            config.is_some_and(|config| config.name == msp_id)
        })?;
        let path = format!("/{ROOT}/{}/{name}/{policy}", key::APPLICATION);
        self.has_policy(&path).then_some(path)
    }

    /// The group that has the policy, and the policy's name in it.
    fn locate<'a>(&'a self, path: &'a str) -> Result<(&'a ConfigGroup, &'a str), PolicyError> {
        let unknown = || PolicyError::Unknown {
            path: path.to_owned(),
        };
        let mut parts = path.strip_prefix('/').ok_or_else(unknown)?.split('/');
        if parts.next() != Some(ROOT) {
            return Err(unknown());
        }
        let name = parts.next_back().ok_or_else(unknown)?;
        let group = parts.try_fold(&self.root, |group, part| group.groups.get(part));
        let group = group.ok_or_else(unknown)?;
        if group.policies.contains_key(name) {
            Ok((group, name))
        } else {
            Err(unknown())
        }
    }
}

fn policy<'a>(group: &'a ConfigGroup, name: &str) -> Option<&'a Policy> {
    group.policies.get(name)?.policy.as_ref()
}

fn evaluate_policy(
    group: &ConfigGroup,
    name: &str,
    identities: &[ValidIdentity],
) -> Result<(), PolicyError> {
    let malformed = |reason| PolicyError::Malformed { reason };
    let Some(policy) = policy(group, name) else {
        return Err(malformed("it is empty"));
    };
    match PolicyType::try_from(policy.r#type) {
        Ok(PolicyType::Signature) => {
            let policy = SignaturePolicyEnvelope::decode(policy.value.as_slice())
                .map_err(|_| malformed("it cannot be decoded"))?;
            evaluate_signature_policy(&policy, identities)
        }
        Ok(PolicyType::ImplicitMeta) => {
            let policy = ImplicitMetaPolicy::decode(policy.value.as_slice())
                .map_err(|_| malformed("it cannot be decoded"))?;
            let groups = group.groups.values();
            let satisfied = groups
                .filter(|group| evaluate_policy(group, &policy.sub_policy, identities).is_ok())
                .count();
            let required = threshold(policy.rule(), group.groups.len());
            if satisfied >= required {
                return Ok(());
            }
            Err(PolicyError::SubPoliciesNotSatisfied {
                satisfied,
                required,
                sub_policy: policy.sub_policy,
            })
        }
        Ok(PolicyType::Unknown | PolicyType::Msp) | Err(_) => {
            Err(malformed("its type is not known"))
        }
    }
}

/// How many of the groups below must agree; where there are none, nobody has to.
fn threshold(rule: Rule, groups: usize) -> usize {
    match rule {
        _ if groups == 0 => 0,
        Rule::Any => 1,
        Rule::All => groups,
        Rule::Majority => groups / 2 + 1,
    }
}

fn requirement(group: &ConfigGroup, name: &str) -> Requirement {
    let Some(policy) = policy(group, name) else {
        return Requirement::Never;
    };
    match PolicyType::try_from(policy.r#type) {
        Ok(PolicyType::Signature) => SignaturePolicyEnvelope::decode(policy.value.as_slice())
            .map_or(Requirement::Never, |policy| {
                Requirement::from_signature_policy(&policy)
            }),
        Ok(PolicyType::ImplicitMeta) => ImplicitMetaPolicy::decode(policy.value.as_slice()).map_or(
            Requirement::Never,
            |policy| {
                let groups = group.groups.values();
                let rules = groups.map(|group| requirement(group, &policy.sub_policy));
                Requirement::OutOf(
                    threshold(policy.rule(), group.groups.len()),
                    rules.collect(),
                )
            },
        ),
        Ok(PolicyType::Unknown | PolicyType::Msp) | Err(_) => Requirement::Never,
    }
}

fn decode<M: Message + Default>(part: &'static str, bytes: &[u8]) -> Result<M, ConfigError> {
    M::decode(bytes).map_err(|source| ConfigError::Decode { part, source })
}

fn group<'a>(parent: &'a ConfigGroup, name: &'static str) -> Result<&'a ConfigGroup, ConfigError> {
    let group = parent.groups.get(name);
    group.ok_or(ConfigError::Missing { part: name })
}

fn value<M: Message + Default>(
    group: &ConfigGroup,
    name: &'static str,
) -> Result<Option<M>, ConfigError> {
    let value = group.values.get(name);
    value.map(|value| decode(name, &value.value)).transpose()
}

fn read_msp(name: &str, group: &ConfigGroup) -> Result<Msp, ConfigError> {
    let config = value::<MspConfig>(group, key::MSP)?;
    let config = config.ok_or(ConfigError::Missing { part: key::MSP })?;
    let config = decode::<FabricMspConfig>(key::MSP, &config.config)?;
    Msp::from_config(&config).map_err(|source| ConfigError::Msp {
        group: name.to_owned(),
        source,
    })
}

fn read_anchor_peers(group: &ConfigGroup) -> Result<Vec<(String, u16)>, ConfigError> {
    let peers = value::<AnchorPeers>(group, key::ANCHOR_PEERS)?.unwrap_or_default();
    let peers = peers.anchor_peers.into_iter();
    let read = peers.filter_map(|peer| Some((peer.host, u16::try_from(peer.port).ok()?)));
    Ok(read.collect())
}

fn read_batch(orderer: &ConfigGroup) -> Result<BatchProfile, ConfigError> {
    let size = value::<BatchSize>(orderer, key::BATCH_SIZE)?.ok_or(ConfigError::Missing {
        part: key::BATCH_SIZE,
    })?;
    let timeout =
        value::<BatchTimeout>(orderer, key::BATCH_TIMEOUT)?.ok_or(ConfigError::Missing {
            part: key::BATCH_TIMEOUT,
        })?;
    Ok(BatchProfile {
        max_message_count: size.max_message_count,
        absolute_max_bytes: size.absolute_max_bytes,
        preferred_max_bytes: size.preferred_max_bytes,
        timeout: timeout.timeout,
    })
}
