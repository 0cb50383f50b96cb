//! Blocks made here, and each single fault of theirs.

mod builders;

use fabric_protos::common::signature_policy::{NOutOf, Type};
use fabric_protos::common::{
    self, ChannelHeader, Envelope, HeaderType, IdentifierHeader, Payload, SignatureHeader,
    SignaturePolicy, SignaturePolicyEnvelope,
};
use fabric_protos::lifecycle::{CommitChaincodeDefinitionArgs, StateData, state_data};
use fabric_protos::protos::{
    ApplicationPolicy, Transaction as TransactionData, application_policy,
};
use prost::Message;

use super::transaction::channel_header;
use super::*;
use crate::SigningIdentity;

use builders::*;

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
