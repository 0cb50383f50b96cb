//! Organisations, a channel and blocks made here, each part to be chosen.

use fabric_protos::common::implicit_meta_policy::Rule;
use fabric_protos::common::policy::PolicyType;
use fabric_protos::common::signature_policy::{NOutOf, Type};
use fabric_protos::common::{
    self, BlockData, BlockHeader, BlockMetadata, ChannelHeader, Config, ConfigEnvelope,
    ConfigGroup, ConfigPolicy, ConfigValue, Consenter, Envelope, HeaderType, ImplicitMetaPolicy,
    LastConfig, Metadata, MetadataSignature, MspPrincipal, MspRole, OrdererBlockMetadata, Orderers,
    Payload, Policy, SignatureHeader, SignaturePolicy, SignaturePolicyEnvelope,
};
use fabric_protos::kvrwset::{HashedRwSet, KvRead, KvWrite, KvWriteHash, KvrwSet, Version};
use fabric_protos::msp::{FabricMspConfig, MspConfig};
use fabric_protos::protos::{
    ChaincodeAction, ChaincodeActionPayload, ChaincodeEndorsedAction, ChaincodeEvent, ChaincodeId,
    ChaincodeInput, ChaincodeInvocationSpec, ChaincodeProposalPayload, ChaincodeSpec, Endorsement,
    ProposalResponsePayload, Transaction as TransactionData, TransactionAction,
};
use fabric_protos::rwset::{CollectionHashedReadWriteSet, NsReadWriteSet, TxReadWriteSet};
use prost::Message;

use super::super::*;
use crate::testing::{Ca, Wanted};
use crate::{MspId, SigningIdentity, ValidIdentity};

pub(super) const CHANNEL: &str = "mychannel";
pub(super) const KEY: &str = "\0record\0aa\0";

pub(super) fn sha256(parts: &[&[u8]]) -> Vec<u8> {
    let bytes = parts.concat();
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes)
        .as_ref()
        .to_vec()
}

/// An organisation with a CA of its own.
pub(super) struct Org {
    pub(super) name: &'static str,
    pub(super) ca: Ca,
}

impl Org {
    pub(super) fn new(name: &'static str) -> Self {
        let ca = Ca::root(name);
        Self { name, ca }
    }

    pub(super) fn issue(&self, unit: &str) -> SigningIdentity {
        let wanted = Wanted {
            unit: Some(unit),
            ..Wanted::default()
        };
        let msp_id = MspId::parse(self.name).unwrap();
        self.ca.issue_in(msp_id, &wanted)
    }

    pub(super) fn group(&self, role: i32) -> ConfigGroup {
        let config = FabricMspConfig {
            name: self.name.to_owned(),
            ..self.ca.config()
        };
        let msp = MspConfig {
            r#type: 0,
            config: config.encode_to_vec(),
        };
        let mut group = ConfigGroup::default();
        group.values.insert("MSP".to_owned(), value(&msp));
        let one = signature_policy(1, &[(self.name, role)]);
        for name in ["Endorsement", "LifecycleEndorsement", "Writers"] {
            let policy = policy(PolicyType::Signature, &one);
            group.policies.insert(name.to_owned(), policy);
        }
        group
    }
}

pub(super) fn value(message: &impl Message) -> ConfigValue {
    ConfigValue {
        value: message.encode_to_vec(),
        ..ConfigValue::default()
    }
}

pub(super) fn policy(kind: PolicyType, message: &impl Message) -> ConfigPolicy {
    ConfigPolicy {
        policy: Some(Policy {
            r#type: kind.into(),
            value: message.encode_to_vec(),
        }),
        ..ConfigPolicy::default()
    }
}

pub(super) fn implicit(rule: Rule, sub_policy: &str) -> ConfigPolicy {
    let implicit = ImplicitMetaPolicy {
        sub_policy: sub_policy.to_owned(),
        rule: rule.into(),
    };
    policy(PolicyType::ImplicitMeta, &implicit)
}

/// `n` of the roles in these MSPs.
pub(super) fn signature_policy(n: i32, roles: &[(&str, i32)]) -> SignaturePolicyEnvelope {
    let principal = |(msp, role): &(&str, i32)| MspPrincipal {
        principal_classification: 0,
        principal: MspRole {
            msp_identifier: (*msp).to_owned(),
            role: *role,
        }
        .encode_to_vec(),
    };
    let rule = |index: usize| SignaturePolicy {
        r#type: Some(Type::SignedBy(i32::try_from(index).unwrap())),
    };
    SignaturePolicyEnvelope {
        version: 0,
        rule: Some(SignaturePolicy {
            r#type: Some(Type::NOutOf(NOutOf {
                n,
                rules: (0..roles.len()).map(rule).collect(),
            })),
        }),
        identities: roles.iter().map(principal).collect(),
    }
}

pub(super) const PEER: i32 = 3;
pub(super) const ORDERER: i32 = 4;

/// Two organisations with peers, one with orderers, and the channel they made.
pub(super) struct World {
    pub(super) org1: Org,
    pub(super) org2: Org,
    pub(super) orderers: Org,
    pub(super) orderer: SigningIdentity,
    pub(super) peers: [SigningIdentity; 2],
    pub(super) client: SigningIdentity,
    pub(super) genesis: common::Block,
}

/// What a transaction is to be.
#[derive(Default)]
pub(super) struct Wish<'a> {
    pub(super) chaincode: &'a str,
    pub(super) arguments: Vec<Vec<u8>>,
    pub(super) reads: Vec<(&'a str, KvRead)>,
    pub(super) writes: Vec<(&'a str, KvWrite)>,
    pub(super) endorsers: Vec<&'a SigningIdentity>,
}

impl World {
    pub(super) fn new() -> Self {
        let (org1, org2) = (Org::new("Org1MSP"), Org::new("Org2MSP"));
        let orderers = Org::new("OrdererMSP");
        let orderer = orderers.issue("orderer");
        let genesis = genesis(&[&org1, &org2], &orderers, &orderer);
        Self {
            peers: [org1.issue("peer"), org2.issue("peer")],
            client: org1.issue("client"),
            genesis,
            orderer,
            org1,
            org2,
            orderers,
        }
    }

    pub(super) fn config(&self) -> ChannelConfig {
        ChannelConfig::from_block(&decode(&self.genesis)).unwrap()
    }

    pub(super) fn registration(&self) -> Wish<'_> {
        let version = Some(Version {
            block_num: 1,
            tx_num: 0,
        });
        let key = "namespaces/fields/salus/Sequence".to_owned();
        Wish {
            chaincode: "salus",
            arguments: vec![b"record-registry:RegisterRecords".to_vec()],
            reads: vec![("_lifecycle", KvRead { key, version })],
            writes: vec![("salus", write(KEY, b"{}"))],
            endorsers: self.peers.iter().collect(),
        }
    }

    pub(super) fn envelope(&self, wish: &Wish<'_>) -> Vec<u8> {
        let payload = self.payload(wish);
        let signature = self.client.sign(&payload).unwrap();
        Envelope { payload, signature }.encode_to_vec()
    }

    pub(super) fn payload(&self, wish: &Wish<'_>) -> Vec<u8> {
        let signer = SignatureHeader {
            creator: self.client.serialized(),
            nonce: vec![7; 24],
        };
        let header = ChannelHeader {
            r#type: HeaderType::EndorserTransaction.into(),
            channel_id: CHANNEL.to_owned(),
            tx_id: hex::encode(sha256(&[&signer.nonce, &signer.creator])),
            ..ChannelHeader::default()
        };
        let header = common::Header {
            channel_header: header.encode_to_vec(),
            signature_header: signer.encode_to_vec(),
        };
        let proposal = ChaincodeProposalPayload {
            input: ChaincodeInvocationSpec {
                chaincode_spec: Some(ChaincodeSpec {
                    chaincode_id: Some(ChaincodeId {
                        name: wish.chaincode.to_owned(),
                        ..ChaincodeId::default()
                    }),
                    input: Some(ChaincodeInput {
                        args: wish.arguments.clone(),
                        ..ChaincodeInput::default()
                    }),
                    ..ChaincodeSpec::default()
                }),
            }
            .encode_to_vec(),
            ..ChaincodeProposalPayload::default()
        }
        .encode_to_vec();
        let action = ChaincodeAction {
            results: results(wish).encode_to_vec(),
            events: ChaincodeEvent {
                event_name: "RecordsRegistered".to_owned(),
                payload: b"p".to_vec(),
                ..ChaincodeEvent::default()
            }
            .encode_to_vec(),
            ..ChaincodeAction::default()
        };
        let response = ProposalResponsePayload {
            proposal_hash: sha256(&[&header.channel_header, &header.signature_header, &proposal]),
            extension: action.encode_to_vec(),
        }
        .encode_to_vec();
        let endorse = |peer: &&SigningIdentity| {
            let endorser = peer.serialized();
            let signature = peer
                .sign(&[response.as_slice(), &endorser].concat())
                .unwrap();
            Endorsement {
                endorser,
                signature,
            }
        };
        let endorsements = wish.endorsers.iter().map(endorse).collect();
        let payload = ChaincodeActionPayload {
            chaincode_proposal_payload: proposal,
            action: Some(ChaincodeEndorsedAction {
                proposal_response_payload: response,
                endorsements,
            }),
        };
        let action = TransactionAction {
            header: header.signature_header.clone(),
            payload: payload.encode_to_vec(),
        };
        Payload {
            header: Some(header),
            data: TransactionData {
                actions: vec![action],
            }
            .encode_to_vec(),
        }
        .encode_to_vec()
    }

    /// Block 1 of these envelopes, signed by the orderer.
    pub(super) fn block(&self, envelopes: Vec<Vec<u8>>) -> common::Block {
        let genesis = decode(&self.genesis);
        let mut block = unsigned(1, genesis.header().hash().to_vec(), envelopes);
        let header = SignatureHeader {
            creator: self.orderer.serialized(),
            nonce: vec![1; 24],
        }
        .encode_to_vec();
        sign(&mut block, &self.orderer, &header, false);
        block
    }
}

pub(super) fn results(wish: &Wish<'_>) -> TxReadWriteSet {
    let mut names: Vec<&str> = wish.reads.iter().map(|(name, _)| *name).collect();
    names.extend(wish.writes.iter().map(|(name, _)| *name));
    names.sort_unstable();
    names.dedup();
    let set = |name: &str| {
        let reads = wish.reads.iter().filter(|(of, _)| *of == name);
        let writes = wish.writes.iter().filter(|(of, _)| *of == name);
        let purged = HashedRwSet {
            hashed_writes: vec![KvWriteHash {
                key_hash: vec![9; 32],
                is_purge: true,
                ..KvWriteHash::default()
            }],
            ..HashedRwSet::default()
        };
        NsReadWriteSet {
            namespace: name.to_owned(),
            rwset: KvrwSet {
                reads: reads.map(|(_, read)| read.clone()).collect(),
                writes: writes.map(|(_, write)| write.clone()).collect(),
                ..KvrwSet::default()
            }
            .encode_to_vec(),
            collection_hashed_rwset: vec![CollectionHashedReadWriteSet {
                collection_name: "keys".to_owned(),
                hashed_rwset: purged.encode_to_vec(),
                ..CollectionHashedReadWriteSet::default()
            }],
        }
    };
    TxReadWriteSet {
        ns_rwset: names.into_iter().map(set).collect(),
        ..TxReadWriteSet::default()
    }
}

pub(super) fn write(key: &str, value: &[u8]) -> KvWrite {
    KvWrite {
        key: key.to_owned(),
        value: value.to_vec(),
        ..KvWrite::default()
    }
}

pub(super) fn unsigned(number: u64, previous_hash: Vec<u8>, data: Vec<Vec<u8>>) -> common::Block {
    common::Block {
        header: Some(BlockHeader {
            number,
            previous_hash,
            data_hash: sha256(&[&data.concat()]),
        }),
        metadata: Some(BlockMetadata {
            metadata: vec![vec![], vec![], vec![0; data.len()], vec![], vec![]],
        }),
        data: Some(BlockData { data }),
    }
}

/// Signs a block; under BFT the header names the signer by number.
pub(super) fn sign(
    block: &mut common::Block,
    signer: &SigningIdentity,
    named: &[u8],
    by_number: bool,
) {
    let value = OrdererBlockMetadata {
        last_config: Some(LastConfig { index: 0 }),
        ..OrdererBlockMetadata::default()
    }
    .encode_to_vec();
    let der = decode(block).header().to_der();
    let signature = signer.sign(&[&value, named, &der].concat()).unwrap();
    let mut signed = MetadataSignature {
        signature,
        ..MetadataSignature::default()
    };
    match by_number {
        true => signed.identifier_header = named.to_vec(),
        false => signed.signature_header = named.to_vec(),
    }
    block.metadata.as_mut().unwrap().metadata[0] = Metadata {
        value,
        signatures: vec![signed],
    }
    .encode_to_vec();
}

pub(super) fn genesis(peers: &[&Org], orderers: &Org, orderer: &SigningIdentity) -> common::Block {
    let mut application = ConfigGroup::default();
    for org in peers {
        let group = org.group(PEER);
        application.groups.insert(org.name.to_owned(), group);
    }
    for name in ["Endorsement", "LifecycleEndorsement"] {
        let policy = implicit(Rule::Majority, name);
        application.policies.insert(name.to_owned(), policy);
    }
    let mut ordering = ConfigGroup::default();
    let group = orderers.group(ORDERER);
    ordering.groups.insert(orderers.name.to_owned(), group);
    let any = implicit(Rule::Any, "Writers");
    ordering.policies.insert("BlockValidation".to_owned(), any);
    let consenters = Orderers {
        consenter_mapping: vec![Consenter {
            id: 5,
            msp_id: orderers.name.to_owned(),
            identity: orderer.certificate().pem().into_bytes(),
            ..Consenter::default()
        }],
    };
    ordering
        .values
        .insert("Orderers".to_owned(), value(&consenters));
    let mut root = ConfigGroup::default();
    root.groups.insert("Application".to_owned(), application);
    root.groups.insert("Orderer".to_owned(), ordering);
    let header = ChannelHeader {
        r#type: HeaderType::Config.into(),
        channel_id: CHANNEL.to_owned(),
        ..ChannelHeader::default()
    };
    let payload = Payload {
        header: Some(common::Header {
            channel_header: header.encode_to_vec(),
            signature_header: vec![],
        }),
        data: ConfigEnvelope {
            config: Some(Config {
                sequence: 0,
                channel_group: Some(root),
            }),
            last_update: None,
        }
        .encode_to_vec(),
    };
    let envelope = Envelope {
        payload: payload.encode_to_vec(),
        signature: vec![],
    };
    unsigned(0, vec![], vec![envelope.encode_to_vec()])
}

pub(super) fn decode(block: &common::Block) -> Block {
    Block::decode(&block.encode_to_vec()).unwrap()
}

pub(super) fn msps(identities: &[ValidIdentity]) -> Vec<&str> {
    identities.iter().map(|id| id.msp_id.as_str()).collect()
}
