//! The channel's configuration, as a configuration block holds it.

use fabric_protos::common::implicit_meta_policy::Rule;
use fabric_protos::common::policy::PolicyType;
use fabric_protos::common::{
    ConfigEnvelope, ConfigGroup, ConfigPolicy, Consenter, Envelope, HeaderType, ImplicitMetaPolicy,
    Orderers, Payload, Policy, SignaturePolicyEnvelope,
};
use fabric_protos::msp::{FabricMspConfig, MspConfig, SerializedIdentity};
use fabric_protos::protos::{ApplicationPolicy, application_policy};
use prost::Message as _;

use super::error::{BlockError, malformed};
use super::policy::evaluate_signature_policy;
use super::read::Block;
use super::transaction::channel_header;
use crate::identity::ValidIdentity;
use crate::manager::MspManager;
use crate::msp::Msp;

/// The policy for blocks.
pub(super) const BLOCK_VALIDATION: &str = "/Channel/Orderer/BlockValidation";
/// The policy of chaincodes that are deployed without one of their own.
const DEFAULT_ENDORSEMENT: &str = "/Channel/Application/Endorsement";
/// First part of every policy's path.
const ROOT: &str = "Channel";
/// Key of an organisation's MSP.
const MSP: &str = "MSP";
/// Key of the orderers' group, and of the list of orderers under BFT in it.
const ORDERER: &str = "Orderer";
const ORDERERS: &str = "Orderers";
/// The one kind of MSP that is read.
const FABRIC_MSP: i32 = 0;
/// Groups inside groups, and implicit policies that lead to others.
const MAX_DEPTH: usize = 8;
/// Organisations of one channel.
const MAX_MSPS: usize = 1024;

/// Organisations and policies of a channel.
#[derive(Debug, Clone)]
pub struct ChannelConfig {
    channel_id: String,
    number: u64,
    root: ConfigGroup,
    msps: MspManager,
    consenters: Vec<Consenter>,
}

impl ChannelConfig {
    /// Reads a configuration block. Whether it may be believed is not asked here.
    ///
    /// # Errors
    /// [`BlockError::Malformed`], [`BlockError::Msp`], or [`BlockError::DataHash`].
    pub fn from_block(block: &Block) -> Result<Self, BlockError> {
        const WHAT: &str = "configuration block";
        block.check_data()?;
        let envelope = block.envelope(0)?;
        let header = channel_header(envelope)?;
        if block.envelopes().len() != 1 || header.r#type != i32::from(HeaderType::Config) {
            return Err(malformed(WHAT));
        }
        let envelope = Envelope::decode(envelope).map_err(|_| malformed(WHAT))?;
        let payload = Payload::decode(envelope.payload.as_slice()).map_err(|_| malformed(WHAT))?;
        let config =
            ConfigEnvelope::decode(payload.data.as_slice()).map_err(|_| malformed(WHAT))?;
        let root = config
            .config
            .and_then(|config| config.channel_group)
            .ok_or(malformed(WHAT))?;
        let mut msps = Vec::new();
        collect_msps(&root, MAX_DEPTH, &mut msps)?;
        Ok(Self {
            channel_id: header.channel_id,
            number: block.number(),
            consenters: consenters(&root)?,
            root,
            msps: MspManager::new(msps),
        })
    }

    /// The channel's name.
    pub fn channel_id(&self) -> &str {
        &self.channel_id
    }

    /// Number of the block that holds the configuration.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The MSPs of all organisations: those with peers and those with orderers.
    pub fn msps(&self) -> &MspManager {
        &self.msps
    }

    /// Evaluates the policy at a path such as `/Channel/Application/Endorsement`.
    ///
    /// # Errors
    /// [`BlockError::NotSatisfied`], [`BlockError::NoPolicy`] or [`BlockError::Policy`].
    pub fn evaluate(&self, path: &str, signers: &[ValidIdentity]) -> Result<(), BlockError> {
        let (group, name) = self.find(path)?;
        let policy = policy(group, name).ok_or_else(|| no_policy(path))?;
        if holds(group, policy, signers, MAX_DEPTH)? {
            Ok(())
        } else {
            Err(not_satisfied(path, signers))
        }
    }

    /// Evaluates a chaincode's endorsement policy as its definition has it: the bytes of a
    /// `protos.ApplicationPolicy`, or none for the channel's default. Says which policy it was.
    ///
    /// # Errors
    /// As [`ChannelConfig::evaluate`].
    pub fn evaluate_endorsement(
        &self,
        validation_parameter: &[u8],
        signers: &[ValidIdentity],
    ) -> Result<String, BlockError> {
        const OWN: &str = "of the chaincode's definition";
        if validation_parameter.is_empty() {
            self.evaluate(DEFAULT_ENDORSEMENT, signers)?;
            return Ok(DEFAULT_ENDORSEMENT.to_owned());
        }
        let policy = ApplicationPolicy::decode(validation_parameter)
            .map_err(|_| malformed("endorsement policy"))?;
        match policy.r#type {
            Some(application_policy::Type::ChannelConfigPolicyReference(path)) => {
                self.evaluate(&path, signers)?;
                Ok(path)
            }
            Some(application_policy::Type::SignaturePolicy(policy)) => {
                if evaluate_signature_policy(&policy, signers)? {
                    Ok(OWN.to_owned())
                } else {
                    Err(not_satisfied(OWN, signers))
                }
            }
            None => Err(malformed("endorsement policy")),
        }
    }

    /// The identity of the orderer with this number, as bytes in a header.
    pub(super) fn consenter(&self, identifier: u32) -> Option<Vec<u8>> {
        let consenter = self.consenters.iter().find(|c| c.id == identifier)?;
        let identity = SerializedIdentity {
            mspid: consenter.msp_id.clone(),
            id_bytes: consenter.identity.clone(),
        };
        Some(identity.encode_to_vec())
    }

    /// The group that has the policy, and the policy's name in it.
    fn find<'a>(&self, path: &'a str) -> Result<(&ConfigGroup, &'a str), BlockError> {
        let mut parts = path.strip_prefix('/').unwrap_or_default().split('/');
        let missing = || no_policy(path);
        if parts.next() != Some(ROOT) {
            return Err(missing());
        }
        let mut group = &self.root;
        let mut name = parts.next().ok_or_else(missing)?;
        for next in parts {
            group = group.groups.get(name).ok_or_else(missing)?;
            name = next;
        }
        Ok((group, name))
    }
}

fn no_policy(path: &str) -> BlockError {
    BlockError::NoPolicy {
        path: path.to_owned(),
    }
}

fn not_satisfied(path: &str, signers: &[ValidIdentity]) -> BlockError {
    BlockError::NotSatisfied {
        path: path.to_owned(),
        signers: signers.iter().map(|s| s.msp_id.to_string()).collect(),
    }
}

fn policy<'a>(group: &'a ConfigGroup, name: &str) -> Option<&'a Policy> {
    let found: &ConfigPolicy = group.policies.get(name)?;
    found.policy.as_ref()
}

/// Evaluates a policy that stands in `group`; an implicit one asks the groups below.
fn holds(
    group: &ConfigGroup,
    found: &Policy,
    signers: &[ValidIdentity],
    depth: usize,
) -> Result<bool, BlockError> {
    let deep = BlockError::Policy {
        reason: "it is nested too deep",
    };
    let depth = depth.checked_sub(1).ok_or(deep)?;
    match PolicyType::try_from(found.r#type) {
        Ok(PolicyType::Signature) => {
            let policy = SignaturePolicyEnvelope::decode(found.value.as_slice())
                .map_err(|_| malformed("signature policy"))?;
            evaluate_signature_policy(&policy, signers)
        }
        Ok(PolicyType::ImplicitMeta) => {
            let implicit = ImplicitMetaPolicy::decode(found.value.as_slice())
                .map_err(|_| malformed("implicit policy"))?;
            let below = group.groups.len();
            let mut held = 0;
            for group in group.groups.values() {
                // An organisation without that policy says no.
                if let Some(policy) = policy(group, &implicit.sub_policy)
                    && holds(group, policy, signers, depth)?
                {
                    held += 1;
                }
            }
            let wanted = match Rule::try_from(implicit.rule) {
                _ if below == 0 => 0,
                Ok(Rule::Any) => 1,
                Ok(Rule::All) => below,
                Ok(Rule::Majority) => below / 2 + 1,
                Err(_) => return Err(malformed("implicit policy")),
            };
            Ok(held >= wanted)
        }
        Ok(PolicyType::Unknown | PolicyType::Msp) | Err(_) => Err(BlockError::Policy {
            reason: "it is neither a signature nor an implicit policy",
        }),
    }
}

fn collect_msps(group: &ConfigGroup, depth: usize, msps: &mut Vec<Msp>) -> Result<(), BlockError> {
    let depth = depth
        .checked_sub(1)
        .ok_or(malformed("configuration: nested too deep"))?;
    if let Some(value) = group.values.get(MSP) {
        let config = MspConfig::decode(value.value.as_slice())
            .ok()
            .filter(|config| config.r#type == FABRIC_MSP)
            .and_then(|config| FabricMspConfig::decode(config.config.as_slice()).ok())
            .ok_or(malformed("MSP of the configuration"))?;
        let msp = Msp::from_config(&config).map_err(|source| BlockError::Msp { source })?;
        msps.push(msp);
    }
    if msps.len() > MAX_MSPS {
        return Err(malformed("configuration: too many organisations"));
    }
    group
        .groups
        .values()
        .try_for_each(|group| collect_msps(group, depth, msps))
}

fn consenters(root: &ConfigGroup) -> Result<Vec<Consenter>, BlockError> {
    let group = root.groups.get(ORDERER);
    match group.and_then(|group| group.values.get(ORDERERS)) {
        Some(value) => Orderers::decode(value.value.as_slice())
            .map(|orderers| orderers.consenter_mapping)
            .map_err(|_| malformed("list of orderers")),
        None => Ok(Vec::new()),
    }
}
