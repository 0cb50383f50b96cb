//! Blocks made here, and each single fault of theirs.

use fabric_protos::common::implicit_meta_policy::Rule;
use fabric_protos::common::policy::PolicyType;
use fabric_protos::common::signature_policy::{NOutOf, Type};
use fabric_protos::common::{
    self, BlockData, BlockHeader, BlockMetadata, ChannelHeader, Config, ConfigEnvelope,
    ConfigGroup, ConfigPolicy, ConfigValue, Consenter, Envelope, HeaderType, IdentifierHeader,
    ImplicitMetaPolicy, LastConfig, Metadata, MetadataSignature, MspPrincipal, MspRole,
    OrdererBlockMetadata, Orderers, Payload, Policy, SignatureHeader, SignaturePolicy,
    SignaturePolicyEnvelope,
};
use fabric_protos::kvrwset::{HashedRwSet, KvRead, KvWrite, KvWriteHash, KvrwSet, Version};
use fabric_protos::lifecycle::{CommitChaincodeDefinitionArgs, StateData, state_data};
use fabric_protos::msp::{FabricMspConfig, MspConfig};
use fabric_protos::protos::{
    ApplicationPolicy, ChaincodeAction, ChaincodeActionPayload, ChaincodeEndorsedAction,
    ChaincodeEvent, ChaincodeId, ChaincodeInput, ChaincodeInvocationSpec, ChaincodeProposalPayload,
    ChaincodeSpec, Endorsement, ProposalResponsePayload, Transaction as TransactionData,
    TransactionAction, application_policy,
};
use fabric_protos::rwset::{CollectionHashedReadWriteSet, NsReadWriteSet, TxReadWriteSet};
use prost::Message;

use super::transaction::channel_header;
use super::*;
use crate::testing::{Ca, Wanted};
use crate::{MspId, SigningIdentity, ValidIdentity};

const CHANNEL: &str = "mychannel";
const KEY: &str = "\0record\0aa\0";

fn sha256(parts: &[&[u8]]) -> Vec<u8> {
    let bytes = parts.concat();
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes)
        .as_ref()
        .to_vec()
}

/// An organisation with a CA of its own.
struct Org {
    name: &'static str,
    ca: Ca,
}

impl Org {
    fn new(name: &'static str) -> Self {
        let ca = Ca::root(name);
        Self { name, ca }
    }

    fn issue(&self, unit: &str) -> SigningIdentity {
        let wanted = Wanted {
            unit: Some(unit),
            ..Wanted::default()
        };
        let msp_id = MspId::parse(self.name).unwrap();
        self.ca.issue_in(msp_id, &wanted)
    }

    fn group(&self, role: i32) -> ConfigGroup {
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

fn value(message: &impl Message) -> ConfigValue {
    ConfigValue {
        value: message.encode_to_vec(),
        ..ConfigValue::default()
    }
}

fn policy(kind: PolicyType, message: &impl Message) -> ConfigPolicy {
    ConfigPolicy {
        policy: Some(Policy {
            r#type: kind.into(),
            value: message.encode_to_vec(),
        }),
        ..ConfigPolicy::default()
    }
}

fn implicit(rule: Rule, sub_policy: &str) -> ConfigPolicy {
    let implicit = ImplicitMetaPolicy {
        sub_policy: sub_policy.to_owned(),
        rule: rule.into(),
    };
    policy(PolicyType::ImplicitMeta, &implicit)
}

/// `n` of the roles in these MSPs.
fn signature_policy(n: i32, roles: &[(&str, i32)]) -> SignaturePolicyEnvelope {
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

const PEER: i32 = 3;
const ORDERER: i32 = 4;

/// Two organisations with peers, one with orderers, and the channel they made.
struct World {
    org1: Org,
    org2: Org,
    orderers: Org,
    orderer: SigningIdentity,
    peers: [SigningIdentity; 2],
    client: SigningIdentity,
    genesis: common::Block,
}

/// What a transaction is to be.
#[derive(Default)]
struct Wish<'a> {
    chaincode: &'a str,
    arguments: Vec<Vec<u8>>,
    reads: Vec<(&'a str, KvRead)>,
    writes: Vec<(&'a str, KvWrite)>,
    endorsers: Vec<&'a SigningIdentity>,
}

impl World {
    fn new() -> Self {
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

    fn config(&self) -> ChannelConfig {
        ChannelConfig::from_block(&decode(&self.genesis)).unwrap()
    }

    fn registration(&self) -> Wish<'_> {
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

    fn envelope(&self, wish: &Wish<'_>) -> Vec<u8> {
        let payload = self.payload(wish);
        let signature = self.client.sign(&payload).unwrap();
        Envelope { payload, signature }.encode_to_vec()
    }

    fn payload(&self, wish: &Wish<'_>) -> Vec<u8> {
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
    fn block(&self, envelopes: Vec<Vec<u8>>) -> common::Block {
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

fn results(wish: &Wish<'_>) -> TxReadWriteSet {
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

fn write(key: &str, value: &[u8]) -> KvWrite {
    KvWrite {
        key: key.to_owned(),
        value: value.to_vec(),
        ..KvWrite::default()
    }
}

fn unsigned(number: u64, previous_hash: Vec<u8>, data: Vec<Vec<u8>>) -> common::Block {
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
fn sign(block: &mut common::Block, signer: &SigningIdentity, named: &[u8], by_number: bool) {
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

fn genesis(peers: &[&Org], orderers: &Org, orderer: &SigningIdentity) -> common::Block {
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

fn decode(block: &common::Block) -> Block {
    Block::decode(&block.encode_to_vec()).unwrap()
}

fn msps(identities: &[ValidIdentity]) -> Vec<&str> {
    identities.iter().map(|id| id.msp_id.as_str()).collect()
}

#[test]
fn a_whole_block_holds() {
    let world = World::new();
    let config = world.config();
    assert_eq!((config.channel_id(), config.number()), (CHANNEL, 0));
    let block = decode(&world.block(vec![world.envelope(&world.registration())]));
    block.check_data().unwrap();
    assert_eq!(block.last_config().unwrap(), 0);
    let signed = block.verify_orderers(&config).unwrap();
    assert_eq!(msps(&signed.valid), ["OrdererMSP"]);
    let transaction = block.transaction(0).unwrap();
    assert_eq!(block.position(transaction.tx_id()), Some(0));
    assert!(block.is_valid(0) && !block.is_valid(1));
    let creator = transaction.verify_creator(config.msps()).unwrap();
    assert_eq!(creator.msp_id.as_str(), "Org1MSP");
    let endorsers = transaction.valid_endorsers(config.msps());
    assert_eq!(msps(&endorsers), ["Org1MSP", "Org2MSP"]);
    let policy = config.evaluate_endorsement(&[], &endorsers).unwrap();
    assert_eq!(policy, "/Channel/Application/Endorsement");
    assert_eq!(transaction.public_write("salus", KEY), Some(&b"{}"[..]));
    assert_eq!(transaction.public_write("other", KEY), None);
    assert_eq!(transaction.purged("salus", "keys"), [[9; 32]]);
    assert!(transaction.purged("salus", "records").is_empty());
    let event = transaction.event();
    assert_eq!(event, Some(("RecordsRegistered".to_owned(), b"p".to_vec())));
    let place = super::Version {
        block: 1,
        transaction: 0,
    };
    assert_eq!(ChaincodeDefinition::read_by(&transaction), Some(place));
}

#[test]
fn headers_hash_as_fabric_hashes_them() {
    #[derive(serde::Deserialize)]
    struct Golden {
        headers: Vec<std::collections::BTreeMap<String, String>>,
    }
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/golden/ledger/fabric.json"
    );
    let golden: Golden = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert!(golden.headers.len() > 5);
    for header in golden.headers {
        let der = hex::decode(&header["bytes"]).unwrap();
        let number = header["number"].parse().unwrap();
        // The hashes stand at the end of the DER form, each behind its length.
        let data = &der[der.len() - 32..];
        let previous = match number {
            0 => &[][..],
            _ => &der[der.len() - 66..der.len() - 34],
        };
        let read = Header::new(number, previous, data).unwrap();
        assert_eq!(hex::encode(read.to_der()), header["bytes"]);
        assert_eq!(hex::encode(read.hash()), header["hash"]);
    }
}

#[test]
fn a_chain_has_no_gap_and_no_other_link() {
    let first = Header::new(0, &[], &[1; 32]).unwrap();
    let second = Header::new(1, &first.hash(), &[2; 32]).unwrap();
    let third = Header::new(2, &second.hash(), &[3; 32]).unwrap();
    let run = [first.clone(), second.clone(), third.clone()];
    check_chain(&run).unwrap();
    let broken = |headers: &[Header]| match check_chain(headers) {
        Err(BlockError::Chain { number }) => number,
        other => panic!("{other:?}"),
    };
    assert_eq!(broken(&[first.clone(), third.clone()]), 2);
    assert_eq!(broken(&[second.clone(), first.clone()]), 0);
    let other = Header::new(1, &first.hash(), &[9; 32]).unwrap();
    assert_eq!(broken(&[first, other, third]), 2);
    assert!(Header::new(0, &[1; 32], &[1; 32]).is_err());
    assert!(Header::new(1, &[], &[1; 32]).is_err());
    assert!(Header::new(1, &[1; 32], &[1; 31]).is_err());
    assert!(
        !Header::new(0, &[], &[1; 32])
            .unwrap()
            .follows(&Header::new(u64::MAX, &[1; 32], &[1; 32]).unwrap())
    );
}

#[test]
fn orderers_are_those_of_the_configuration() {
    let world = World::new();
    let config = world.config();
    let block = world.block(vec![world.envelope(&world.registration())]);
    let refused = |block: &common::Block| match decode(block).verify_orderers(&config) {
        Err(BlockError::NotSatisfied { signers, .. }) => signers,
        other => panic!("{other:?}"),
    };
    // A peer's signature, another CA's orderer, an orderer's signature over another header.
    let mut forged = block.clone();
    let by = |signer: &SigningIdentity| {
        SignatureHeader {
            creator: signer.serialized(),
            nonce: vec![1; 24],
        }
        .encode_to_vec()
    };
    sign(&mut forged, &world.peers[0], &by(&world.peers[0]), false);
    assert_eq!(refused(&forged), ["Org1MSP"]);
    let stranger = Org::new("OrdererMSP").issue("orderer");
    sign(&mut forged, &stranger, &by(&stranger), false);
    assert!(refused(&forged).is_empty());
    let mut moved = block.clone();
    moved.header.as_mut().unwrap().number = 2;
    assert!(refused(&moved).is_empty());
    let mut none = block;
    none.metadata.as_mut().unwrap().metadata[0] = vec![];
    assert!(refused(&none).is_empty());
}

#[test]
fn orderers_under_bft_are_named_by_number() {
    let world = World::new();
    let config = world.config();
    let mut block = world.block(vec![]);
    let named = |identifier| {
        IdentifierHeader {
            identifier,
            nonce: vec![1; 24],
        }
        .encode_to_vec()
    };
    sign(&mut block, &world.orderer, &named(5), true);
    let signed = decode(&block).verify_orderers(&config).unwrap();
    assert_eq!(msps(&signed.valid), ["OrdererMSP"]);
    sign(&mut block, &world.orderer, &named(6), true);
    assert!(decode(&block).verify_orderers(&config).is_err());
}

#[test]
fn endorsements_count_once_and_only_of_peers() {
    let world = World::new();
    let config = world.config();
    let endorsed = |endorsers: Vec<&SigningIdentity>| {
        let wish = Wish {
            endorsers,
            ..world.registration()
        };
        let block = decode(&world.block(vec![world.envelope(&wish)]));
        let endorsers = block.transaction(0).unwrap().valid_endorsers(config.msps());
        (
            endorsers.len(),
            config.evaluate_endorsement(&[], &endorsers).is_ok(),
        )
    };
    let [one, two] = &world.peers;
    assert_eq!(endorsed(vec![one, two]), (2, true));
    assert_eq!(endorsed(vec![one, one]), (1, false));
    assert_eq!(endorsed(vec![one]), (1, false));
    assert_eq!(endorsed(vec![]), (0, false));
    assert_eq!(endorsed(vec![one, &world.org2.issue("client")]), (1, false));
    assert_eq!(
        endorsed(vec![one, &world.orderers.issue("peer")]),
        (2, false)
    );
    let stranger = Org::new("Org2MSP").issue("peer");
    assert_eq!(endorsed(vec![one, &stranger]), (1, false));
    let second = world.org1.issue("peer");
    assert_eq!(endorsed(vec![one, &second]), (2, false));
}

#[test]
fn policies_of_a_definition_are_evaluated() {
    let world = World::new();
    let config = world.config();
    let block = decode(&world.block(vec![world.envelope(&world.registration())]));
    let endorsers = block.transaction(0).unwrap().valid_endorsers(config.msps());
    let own = |policy| {
        let policy = application_policy::Type::SignaturePolicy(policy);
        ApplicationPolicy {
            r#type: Some(policy),
        }
        .encode_to_vec()
    };
    let reference = |path: &str| {
        let path = application_policy::Type::ChannelConfigPolicyReference(path.to_owned());
        ApplicationPolicy { r#type: Some(path) }.encode_to_vec()
    };
    let roles = [("Org1MSP", PEER), ("Org2MSP", PEER), ("Org3MSP", PEER)];
    for (parameter, expected) in [
        (own(signature_policy(2, &roles)), true),
        (own(signature_policy(3, &roles)), false),
        (own(signature_policy(1, &[("Org1MSP", ORDERER)])), false),
        (reference("/Channel/Application/Endorsement"), true),
        (reference("/Channel/Application/Org1MSP/Endorsement"), true),
        (reference("/Channel/Orderer/BlockValidation"), false),
        (reference("/Channel/Application/Nothing"), false),
        (reference("/Other/Application/Endorsement"), false),
        (reference(""), false),
        (b"\xff".to_vec(), false),
    ] {
        let judged = config.evaluate_endorsement(&parameter, &endorsers);
        assert_eq!(judged.is_ok(), expected, "{judged:?}");
    }
}

#[test]
fn malformed_policies_are_errors() {
    let mut deep = SignaturePolicy {
        r#type: Some(Type::SignedBy(0)),
    };
    for _ in 0..40 {
        deep = SignaturePolicy {
            r#type: Some(Type::NOutOf(NOutOf {
                n: 1,
                rules: vec![deep],
            })),
        };
    }
    let good = signature_policy(1, &[("Org1MSP", PEER)]);
    let mut other_version = good.clone();
    other_version.version = 1;
    let mut no_principal = good.clone();
    no_principal.identities.clear();
    let no_rule = SignaturePolicyEnvelope {
        rule: None,
        ..good.clone()
    };
    let too_deep = SignaturePolicyEnvelope {
        rule: Some(deep),
        ..good.clone()
    };
    for policy in [other_version, no_principal, no_rule, too_deep] {
        assert!(evaluate_signature_policy(&policy, &[]).is_err());
    }
    assert!(!evaluate_signature_policy(&good, &[]).unwrap());
}

#[test]
fn a_transaction_is_of_one_piece() {
    let world = World::new();
    let whole = Payload::decode(world.payload(&world.registration()).as_slice()).unwrap();
    let judge = |payload: &Payload| {
        let envelope = Envelope {
            payload: payload.encode_to_vec(),
            signature: vec![],
        };
        Transaction::read(&envelope.encode_to_vec())
    };
    assert!(judge(&whole).is_ok());
    let with_header = |change: &dyn Fn(&mut ChannelHeader, &mut SignatureHeader)| {
        let mut payload = whole.clone();
        let headers = payload.header.as_mut().unwrap();
        let mut channel = ChannelHeader::decode(headers.channel_header.as_slice()).unwrap();
        let mut signer = SignatureHeader::decode(headers.signature_header.as_slice()).unwrap();
        change(&mut channel, &mut signer);
        headers.channel_header = channel.encode_to_vec();
        headers.signature_header = signer.encode_to_vec();
        judge(&payload)
    };
    assert!(matches!(
        with_header(&|_, signer| signer.nonce[0] ^= 1),
        Err(BlockError::TransactionId { .. })
    ));
    assert!(matches!(
        with_header(&|channel, _| channel.channel_id.push('x')),
        Err(BlockError::ProposalHash { .. })
    ));
    assert!(matches!(
        with_header(&|channel, _| channel.r#type = HeaderType::Message.into()),
        Err(BlockError::Malformed { .. })
    ));
    let mut twice = whole.clone();
    let mut data = TransactionData::decode(twice.data.as_slice()).unwrap();
    data.actions.push(data.actions[0].clone());
    twice.data = data.encode_to_vec();
    assert!(matches!(judge(&twice), Err(BlockError::Malformed { .. })));
}

#[test]
fn a_definition_is_read_from_its_commit() {
    let world = World::new();
    let commit = |sequence: i64, written: i64, plugin: &str| {
        let arguments = CommitChaincodeDefinitionArgs {
            name: "salus".to_owned(),
            version: "1.0".to_owned(),
            sequence,
            validation_plugin: plugin.to_owned(),
            validation_parameter: b"policy".to_vec(),
            ..CommitChaincodeDefinitionArgs::default()
        };
        let state = StateData {
            r#type: Some(state_data::Type::Int64(written)),
        };
        let key = "namespaces/fields/salus/Sequence";
        let wish = Wish {
            chaincode: "_lifecycle",
            arguments: vec![
                b"CommitChaincodeDefinition".to_vec(),
                arguments.encode_to_vec(),
            ],
            writes: vec![("_lifecycle", write(key, &state.encode_to_vec()))],
            endorsers: world.peers.iter().collect(),
            ..Wish::default()
        };
        ChaincodeDefinition::committed_by(&Transaction::read(&world.envelope(&wish)).unwrap())
    };
    let definition = commit(3, 3, "vscc").unwrap();
    assert_eq!(
        (definition.name.as_str(), definition.sequence),
        ("salus", 3)
    );
    assert_eq!(definition.validation_parameter, b"policy");
    assert!(commit(3, 3, "").is_ok());
    assert!(commit(3, 4, "vscc").is_err());
    assert!(commit(3, 3, "own").is_err());
    let other = Transaction::read(&world.envelope(&world.registration())).unwrap();
    assert!(ChaincodeDefinition::committed_by(&other).is_err());
}

#[test]
fn every_changed_byte_of_a_block_is_noticed() {
    let world = World::new();
    let config = world.config();
    let whole = world.block(vec![world.envelope(&world.registration())]);
    let judge = |bytes: &[u8]| -> Result<(), BlockError> {
        let block = Block::decode(bytes)?;
        block.check_data()?;
        block.verify_orderers(&config)?;
        let transaction = block.transaction(0)?;
        transaction.verify_creator(config.msps())?;
        let endorsers = transaction.valid_endorsers(config.msps());
        config.evaluate_endorsement(&[], &endorsers)?;
        Ok(())
    };
    // Header and data are all covered; of the metadata the signatures are, codes are not.
    let mut covered = whole.clone();
    covered.metadata.as_mut().unwrap().metadata.truncate(1);
    let bytes = covered.encode_to_vec();
    judge(&bytes).unwrap();
    for at in (0..bytes.len()).step_by(7) {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        let same = Block::decode(&changed).is_ok_and(|block| block == decode(&covered));
        assert!(same || judge(&changed).is_err(), "byte {at}");
    }
}

#[test]
fn malformed_bytes_are_errors_and_never_panics() {
    let world = World::new();
    let block = world.block(vec![world.envelope(&world.registration())]);
    let bytes = block.encode_to_vec();
    for end in (0..bytes.len()).step_by(11) {
        if let Ok(block) = Block::decode(&bytes[..end]) {
            drop(block.check_data());
            drop(block.last_config());
            drop(block.transaction(0));
            drop(ChannelConfig::from_block(&block));
        }
    }
    assert!(Block::decode(&vec![0; MAX_BLOCK_BYTES + 1]).is_err());
    assert!(Block::decode(b"").is_err());
    assert!(channel_header(b"\xff").is_err());
    let other = decode(&world.block(vec![b"x".to_vec()]));
    assert!(matches!(
        ChannelConfig::from_block(&other),
        Err(BlockError::Malformed { .. })
    ));
}
