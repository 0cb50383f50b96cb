//! Writing block 0.

use std::collections::{BTreeMap, BTreeSet};

use fabric_protos::common::implicit_meta_policy::Rule;
use fabric_protos::common::policy::PolicyType;
use fabric_protos::common::{
    Block, BlockData, BlockDataHashingStructure, BlockHeader, BlockMetadata, BlockMetadataIndex,
    Capabilities, Capability, ChannelHeader, Config, ConfigEnvelope, ConfigGroup, ConfigPolicy,
    ConfigValue, Envelope, HashingAlgorithm, Header, HeaderType, ImplicitMetaPolicy, LastConfig,
    Metadata, OrdererAddresses, OrdererBlockMetadata, Payload, Policy, SignatureHeader,
};
use fabric_protos::msp::{FabricMspConfig, MspConfig};
use fabric_protos::orderer::{BatchSize, BatchTimeout, ChannelRestrictions, ConsensusType};
use fabric_protos::protos::{AnchorPeer, AnchorPeers};
use prost::Message;
use prost_types::Timestamp;

use super::error::GenesisError;
use super::key;
use crate::ledger::block_data_hash;
use crate::policy::parse_policy;

/// What a channel is made of.
#[derive(Clone, Debug)]
pub struct NetworkProfile {
    /// Name of the channel.
    pub channel_id: String,
    /// The organisation that orders.
    pub orderer: OrdererProfile,
    /// The organisations that have peers.
    pub organizations: Vec<OrganizationProfile>,
    /// How transactions are gathered into blocks.
    pub batch: BatchProfile,
}

/// The ordering organisation.
#[derive(Clone, Debug)]
pub struct OrdererProfile {
    /// Its MSP; the `name` is the MSP ID.
    pub msp: FabricMspConfig,
    /// Where it listens, as `host:port`.
    pub addresses: Vec<String>,
}

/// An organisation with peers.
#[derive(Clone, Debug)]
pub struct OrganizationProfile {
    /// Its MSP; the `name` is the MSP ID.
    pub msp: FabricMspConfig,
    /// Host and port of its anchor peers.
    pub anchor_peers: Vec<(String, u16)>,
}

/// How transactions are gathered into blocks, as the configuration states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchProfile {
    /// Transactions in a block.
    pub max_message_count: u32,
    /// Bytes of a block that are never exceeded.
    pub absolute_max_bytes: u32,
    /// Bytes of a block after which it is cut.
    pub preferred_max_bytes: u32,
    /// Longest wait for more, as a Go duration such as `2s`.
    pub timeout: String,
}

impl Default for BatchProfile {
    /// The values of Fabric's test-network.
    fn default() -> Self {
        Self {
            max_message_count: 10,
            absolute_max_bytes: 99 << 20,
            preferred_max_bytes: 512 << 10,
            timeout: "2s".to_owned(),
        }
    }
}

/// Longest channel name, as Fabric limits it.
const CHANNEL_NAME_MAX: usize = 249;
/// Version of the messages in the header, as `configtxgen` writes it.
const MESSAGE_VERSION: i32 = 1;
/// Type of an MSP that holds X.509 certificates.
const MSP_TYPE_FABRIC: i32 = 0;

/// Peers take blocks from orderers of this type only; a cluster of one behaves like ours.
const CONSENSUS_TYPE: &str = "etcdraft";

/// Metadata of the consensus type, as far as it says anything here.
#[derive(Clone, PartialEq, Message)]
struct RaftMetadata {
    #[prost(message, repeated, tag = "1")]
    consenters: Vec<RaftConsenter>,
    #[prost(message, optional, tag = "2")]
    options: Option<RaftOptions>,
}

#[derive(Clone, PartialEq, Message)]
struct RaftConsenter {
    #[prost(string, tag = "1")]
    host: String,
    #[prost(uint32, tag = "2")]
    port: u32,
}

#[derive(Clone, PartialEq, Message)]
struct RaftOptions {
    /// A Go duration.
    #[prost(string, tag = "1")]
    tick_interval: String,
    #[prost(uint32, tag = "2")]
    election_tick: u32,
    #[prost(uint32, tag = "3")]
    heartbeat_tick: u32,
    #[prost(uint32, tag = "4")]
    max_inflight_blocks: u32,
    /// Bytes.
    #[prost(uint32, tag = "5")]
    snapshot_interval_size: u32,
}

/// The orderers as consenters, with the options `configtxgen` writes by default.
fn raft_metadata(addresses: &[String]) -> RaftMetadata {
    let split = addresses
        .iter()
        .filter_map(|address| address.rsplit_once(':'));
    let consenters = split.filter_map(|(host, port)| {
        Some(RaftConsenter {
            host: host.to_owned(),
            port: port.parse().ok()?,
        })
    });
    RaftMetadata {
        consenters: consenters.collect(),
        options: Some(RaftOptions {
            tick_interval: "500ms".to_owned(),
            election_tick: 10,
            heartbeat_tick: 1,
            max_inflight_blocks: 5,
            snapshot_interval_size: 16 << 20,
        }),
    }
}

/// Writes block 0 of a channel. Time and nonce come from the caller; equal input gives equal
/// bytes.
///
/// # Errors
/// [`GenesisError`] when the channel name or an MSP ID is not usable.
pub fn genesis_block(
    profile: &NetworkProfile,
    timestamp: Timestamp,
    nonce: [u8; 24],
) -> Result<Block, GenesisError> {
    check_channel_name(&profile.channel_id)?;
    let config = ConfigEnvelope {
        config: Some(Config {
            sequence: 0,
            channel_group: Some(channel_group(profile)?),
        }),
        last_update: None,
    };
    let channel_header = ChannelHeader {
        r#type: HeaderType::Config.into(),
        version: MESSAGE_VERSION,
        timestamp: Some(timestamp),
        channel_id: profile.channel_id.clone(),
        tx_id: crate::ledger::transaction_id(&nonce, &[]),
        ..ChannelHeader::default()
    };
    let payload = Payload {
        header: Some(Header {
            channel_header: channel_header.encode_to_vec(),
            signature_header: SignatureHeader {
                creator: Vec::new(),
                nonce: nonce.to_vec(),
            }
            .encode_to_vec(),
        }),
        data: config.encode_to_vec(),
    };
    let envelope = Envelope {
        payload: payload.encode_to_vec(),
        signature: Vec::new(),
    };
    Ok(assemble(envelope.encode_to_vec()))
}

fn assemble(envelope: Vec<u8>) -> Block {
    let data = BlockData {
        data: vec![envelope],
    };
    let last_config = LastConfig { index: 0 };
    let mut metadata = vec![Vec::new(); 5];
    metadata[BlockMetadataIndex::Signatures as usize] = Metadata {
        value: OrdererBlockMetadata {
            last_config: Some(last_config),
            consenter_metadata: Vec::new(),
        }
        .encode_to_vec(),
        signatures: Vec::new(),
    }
    .encode_to_vec();
    metadata[BlockMetadataIndex::LastConfig as usize] = Metadata {
        value: last_config.encode_to_vec(),
        signatures: Vec::new(),
    }
    .encode_to_vec();
    Block {
        header: Some(BlockHeader {
            number: 0,
            previous_hash: Vec::new(),
            data_hash: block_data_hash(&data),
        }),
        data: Some(data),
        metadata: Some(BlockMetadata { metadata }),
    }
}

fn check_channel_name(channel_id: &str) -> Result<(), GenesisError> {
    let first = channel_id.chars().next();
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '-';
    if channel_id.len() <= CHANNEL_NAME_MAX
        && first.is_some_and(|c| c.is_ascii_lowercase())
        && channel_id.chars().all(allowed)
    {
        Ok(())
    } else {
        Err(GenesisError::ChannelName {
            channel_id: channel_id.to_owned(),
        })
    }
}

fn channel_group(profile: &NetworkProfile) -> Result<ConfigGroup, GenesisError> {
    let msps = profile.organizations.iter().map(|org| &org.msp);
    let mut seen = BTreeSet::new();
    for msp in msps.chain([&profile.orderer.msp]) {
        if !seen.insert(msp.name.as_str()) {
            return Err(GenesisError::DuplicateMsp {
                msp_id: msp.name.clone(),
            });
        }
    }
    let hashing = HashingAlgorithm {
        name: "SHA256".to_owned(),
    };
    let structure = BlockDataHashingStructure { width: u32::MAX };
    let mut group = Group::new();
    group.value(key::HASHING_ALGORITHM, &hashing);
    group.value(key::BLOCK_DATA_HASHING, &structure);
    group.value(key::CAPABILITIES, &capability("V2_0"));
    group.meta_policies(&[
        (key::READERS, Rule::Any, key::READERS),
        (key::WRITERS, Rule::Any, key::WRITERS),
        (key::ADMINS, Rule::Majority, key::ADMINS),
    ]);
    group.group(key::ORDERER, orderer_group(profile)?);
    group.group(key::APPLICATION, application_group(profile)?);
    Ok(group.0)
}

fn orderer_group(profile: &NetworkProfile) -> Result<ConfigGroup, GenesisError> {
    let batch = &profile.batch;
    let mut group = Group::new();
    group.value(
        key::BATCH_SIZE,
        &BatchSize {
            max_message_count: batch.max_message_count,
            absolute_max_bytes: batch.absolute_max_bytes,
            preferred_max_bytes: batch.preferred_max_bytes,
        },
    );
    group.value(
        key::BATCH_TIMEOUT,
        &BatchTimeout {
            timeout: batch.timeout.clone(),
        },
    );
    group.value(key::CHANNEL_RESTRICTIONS, &ChannelRestrictions::default());
    group.value(key::CAPABILITIES, &capability("V2_0"));
    let consensus = ConsensusType {
        r#type: CONSENSUS_TYPE.to_owned(),
        metadata: raft_metadata(&profile.orderer.addresses).encode_to_vec(),
        ..ConsensusType::default()
    };
    group.value(key::CONSENSUS_TYPE, &consensus);
    group.meta_policies(&[
        (key::READERS, Rule::Any, key::READERS),
        (key::WRITERS, Rule::Any, key::WRITERS),
        (key::ADMINS, Rule::Majority, key::ADMINS),
        (key::BLOCK_VALIDATION, Rule::Any, key::WRITERS),
    ]);
    let msp_id = &profile.orderer.msp.name;
    let mut organization = Group::new();
    organization.msp(&profile.orderer.msp);
    organization.value(
        key::ENDPOINTS,
        &OrdererAddresses {
            addresses: profile.orderer.addresses.clone(),
        },
    );
    organization.signature_policy(key::READERS, &format!("OR('{msp_id}.member')"))?;
    organization.signature_policy(key::WRITERS, &format!("OR('{msp_id}.member')"))?;
    organization.signature_policy(key::ADMINS, &format!("OR('{msp_id}.admin')"))?;
    group.group(msp_id, organization.0);
    Ok(group.0)
}

fn application_group(profile: &NetworkProfile) -> Result<ConfigGroup, GenesisError> {
    let mut group = Group::new();
    group.value(key::CAPABILITIES, &capability("V2_5"));
    group.meta_policies(&[
        (key::READERS, Rule::Any, key::READERS),
        (key::WRITERS, Rule::Any, key::WRITERS),
        (key::ADMINS, Rule::Majority, key::ADMINS),
        (key::LIFECYCLE_ENDORSEMENT, Rule::Majority, key::ENDORSEMENT),
        (key::ENDORSEMENT, Rule::Majority, key::ENDORSEMENT),
    ]);
    for profile in &profile.organizations {
        group.group(&profile.msp.name, organization_group(profile)?);
    }
    Ok(group.0)
}

fn organization_group(profile: &OrganizationProfile) -> Result<ConfigGroup, GenesisError> {
    let id = &profile.msp.name;
    let readers = format!("OR('{id}.admin', '{id}.peer', '{id}.client')");
    let writers = format!("OR('{id}.admin', '{id}.client')");
    let mut group = Group::new();
    group.msp(&profile.msp);
    let anchors = profile.anchor_peers.iter().map(|(host, port)| AnchorPeer {
        host: host.clone(),
        port: i32::from(*port),
    });
    let anchors = AnchorPeers {
        anchor_peers: anchors.collect(),
    };
    if !anchors.anchor_peers.is_empty() {
        group.value(key::ANCHOR_PEERS, &anchors);
    }
    group.signature_policy(key::READERS, &readers)?;
    group.signature_policy(key::WRITERS, &writers)?;
    group.signature_policy(key::ADMINS, &format!("OR('{id}.admin')"))?;
    group.signature_policy(key::ENDORSEMENT, &format!("OR('{id}.peer')"))?;
    Ok(group.0)
}

fn capability(name: &str) -> Capabilities {
    Capabilities {
        capabilities: BTreeMap::from([(name.to_owned(), Capability::default())]),
    }
}

/// A group in the making; everything in it is changed by its admins.
struct Group(ConfigGroup);

impl Group {
    fn new() -> Self {
        Self(ConfigGroup {
            mod_policy: key::ADMINS.to_owned(),
            ..ConfigGroup::default()
        })
    }

    fn group(&mut self, name: &str, group: ConfigGroup) {
        self.0.groups.insert(name.to_owned(), group);
    }

    fn value(&mut self, name: &str, value: &impl Message) {
        let value = ConfigValue {
            version: 0,
            value: value.encode_to_vec(),
            mod_policy: key::ADMINS.to_owned(),
        };
        self.0.values.insert(name.to_owned(), value);
    }

    fn msp(&mut self, config: &FabricMspConfig) {
        let config = MspConfig {
            r#type: MSP_TYPE_FABRIC,
            config: config.encode_to_vec(),
        };
        self.value(key::MSP, &config);
    }

    fn policy(&mut self, name: &str, r#type: PolicyType, policy: &impl Message) {
        let policy = ConfigPolicy {
            version: 0,
            policy: Some(Policy {
                r#type: r#type.into(),
                value: policy.encode_to_vec(),
            }),
            mod_policy: key::ADMINS.to_owned(),
        };
        self.0.policies.insert(name.to_owned(), policy);
    }

    fn signature_policy(&mut self, name: &str, text: &str) -> Result<(), GenesisError> {
        let policy = parse_policy(text)?;
        self.policy(name, PolicyType::Signature, &policy);
        Ok(())
    }

    /// Policies that ask the groups below: name, how many must agree, which policy of theirs.
    fn meta_policies(&mut self, policies: &[(&str, Rule, &str)]) {
        for (name, rule, sub_policy) in policies {
            let policy = ImplicitMetaPolicy {
                sub_policy: (*sub_policy).to_owned(),
                rule: (*rule).into(),
            };
            self.policy(name, PolicyType::ImplicitMeta, &policy);
        }
    }
}
