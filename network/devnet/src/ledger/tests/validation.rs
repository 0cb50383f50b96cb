//! Every validation code a transaction can get, and that a valid one is not touched by them.

use fabric_protos::common::{ChannelHeader, Envelope, HeaderType, Payload, SignatureHeader};
use fabric_protos::protos::{
    ChaincodeActionPayload, ChaincodeEvent, ChaincodeHeaderExtension, ChaincodeId,
    ProposalResponsePayload, Transaction, TxValidationCode as Code,
};
use fabric_protos::rwset::TxReadWriteSet;
use prost::Message;

use super::world::{CHAINCODE, CHANNEL, Tx, World, peer, sign};

fn world() -> World {
    World::with(Some("AND('Org1MSP.peer','Org2MSP.peer')"), "[]")
}

/// Commits one envelope made from a good transaction and expects the code.
fn expect(code: Code, make: impl FnOnce(Tx) -> Vec<u8>) {
    let mut world = world();
    let tx = world.basic(|sim| sim.put_state(CHAINCODE, "k", b"v".to_vec()).unwrap());
    let outcome = world.commit_envelopes(vec![make(tx)]).remove(0);
    assert_eq!(outcome.code, code, "{:?}", outcome.detail);
    assert_eq!(outcome.detail.is_none(), code == Code::Valid);
    assert_eq!(world.get("k").is_some(), code == Code::Valid);
}

fn edit_channel_header(tx: &Tx, edit: impl FnOnce(&mut ChannelHeader)) -> Vec<u8> {
    let mut payload = tx.payload();
    let header = payload.header.as_mut().unwrap();
    let mut channel = ChannelHeader::decode(header.channel_header.as_slice()).unwrap();
    edit(&mut channel);
    header.channel_header = channel.encode_to_vec();
    sign(&payload, 1)
}

fn edit_signature_header(tx: &Tx, edit: impl FnOnce(&mut SignatureHeader)) -> Vec<u8> {
    let mut payload = tx.payload();
    let header = payload.header.as_mut().unwrap();
    let mut signature = SignatureHeader::decode(header.signature_header.as_slice()).unwrap();
    edit(&mut signature);
    header.signature_header = signature.encode_to_vec();
    sign(&payload, 1)
}

fn edit_transaction(tx: &Tx, edit: impl FnOnce(&mut Transaction)) -> Vec<u8> {
    let mut payload = tx.payload();
    let mut transaction = Transaction::decode(payload.data.as_slice()).unwrap();
    edit(&mut transaction);
    payload.data = transaction.encode_to_vec();
    sign(&payload, 1)
}

fn edit_action(tx: &Tx, edit: impl FnOnce(&mut ChaincodeActionPayload)) -> Vec<u8> {
    edit_transaction(tx, |transaction| {
        let action = &mut transaction.actions[0];
        let mut payload = ChaincodeActionPayload::decode(action.payload.as_slice()).unwrap();
        edit(&mut payload);
        action.payload = payload.encode_to_vec();
    })
}

/// Edits what the endorsers sign and has them sign again.
fn edit_response(tx: &Tx, edit: impl FnOnce(&mut ProposalResponsePayload)) -> Vec<u8> {
    let endorsers = tx.endorsers.clone();
    edit_action(tx, |payload| {
        let action = payload.action.as_mut().unwrap();
        let bytes = action.proposal_response_payload.as_slice();
        let mut response = ProposalResponsePayload::decode(bytes).unwrap();
        edit(&mut response);
        action.proposal_response_payload = response.encode_to_vec();
        for (endorsement, number) in action.endorsements.iter_mut().zip(endorsers) {
            let signed = [
                action.proposal_response_payload.as_slice(),
                &endorsement.endorser,
            ];
            endorsement.signature = peer(number).sign(&signed.concat()).unwrap();
        }
    })
}

#[test]
fn a_good_transaction_is_valid() {
    expect(Code::Valid, |tx| tx.envelope());
}

#[test]
fn an_empty_envelope_is_nil() {
    expect(Code::NilEnvelope, |_| Vec::new());
}

#[test]
fn bytes_that_are_no_envelope_are_invalid_for_another_reason() {
    expect(Code::InvalidOtherReason, |_| vec![0xff; 10]);
}

#[test]
fn a_payload_that_cannot_be_decoded_is_bad() {
    expect(Code::BadPayload, |_| {
        let payload = vec![0xff; 10];
        let signature = Vec::new();
        Envelope { payload, signature }.encode_to_vec()
    });
}

#[test]
fn a_bad_common_header_is_refused() {
    expect(Code::BadCommonHeader, |_| sign(&Payload::default(), 1));
    expect(Code::BadCommonHeader, |tx| {
        edit_channel_header(&tx, |header| header.epoch = 1)
    });
    expect(Code::BadCommonHeader, |tx| {
        edit_channel_header(&tx, |header| {
            header.r#type = HeaderType::DeliverSeekInfo.into();
        })
    });
    expect(Code::BadCommonHeader, |tx| {
        edit_signature_header(&tx, |header| header.nonce.clear())
    });
    expect(Code::BadCommonHeader, |tx| {
        edit_signature_header(&tx, |header| header.creator.clear())
    });
}

#[test]
fn a_creator_that_did_not_sign_is_refused() {
    expect(Code::BadCreatorSignature, |tx| sign(&tx.payload(), 2));
    expect(Code::BadCreatorSignature, |tx| {
        edit_signature_header(&tx, |header| header.creator = b"nobody".to_vec())
    });
    expect(Code::BadCreatorSignature, |tx| {
        let mut envelope = Envelope::decode(tx.envelope().as_slice()).unwrap();
        envelope.signature.clear();
        envelope.encode_to_vec()
    });
}

#[test]
fn a_configuration_after_block_0_is_refused() {
    expect(Code::InvalidConfigTransaction, |tx| {
        edit_channel_header(&tx, |header| header.r#type = HeaderType::Config.into())
    });
}

#[test]
fn a_configuration_update_is_no_transaction() {
    expect(Code::UnsupportedTxPayload, |tx| {
        edit_channel_header(&tx, |header| {
            header.r#type = HeaderType::ConfigUpdate.into();
        })
    });
}

#[test]
fn a_transaction_id_of_its_own_choice_is_refused() {
    expect(Code::BadProposalTxid, |tx| {
        edit_channel_header(&tx, |header| header.tx_id = "00".repeat(32))
    });
}

#[test]
fn a_malformed_action_is_an_invalid_endorser_transaction() {
    expect(Code::InvalidEndorserTransaction, |tx| {
        edit_transaction(&tx, |transaction| transaction.actions.clear())
    });
    expect(Code::InvalidEndorserTransaction, |tx| {
        edit_transaction(&tx, |transaction| {
            let action = transaction.actions[0].clone();
            transaction.actions.push(action);
        })
    });
    expect(Code::InvalidEndorserTransaction, |tx| {
        edit_transaction(&tx, |transaction| transaction.actions[0].header.clear())
    });
    expect(Code::InvalidEndorserTransaction, |tx| {
        edit_action(&tx, |payload| payload.action = None)
    });
    expect(Code::InvalidEndorserTransaction, |tx| {
        edit_action(&tx, |payload| payload.chaincode_proposal_payload.push(0))
    });
    expect(Code::InvalidEndorserTransaction, |tx| {
        edit_response(&tx, |response| response.proposal_hash[0] ^= 1)
    });
}

#[test]
fn a_transaction_for_another_channel_has_no_target() {
    expect(Code::TargetChainNotFound, |mut tx| {
        tx.channel = "other".to_owned();
        tx.envelope()
    });
    assert_ne!(CHANNEL, "other");
}

#[test]
fn a_used_transaction_id_is_a_duplicate() {
    let mut world = world();
    let tx = world.basic(|sim| sim.put_state(CHAINCODE, "k", b"v".to_vec()).unwrap());
    assert_eq!(
        world.commit(&[&tx, &tx]),
        [Code::Valid, Code::DuplicateTxid]
    );
    assert_eq!(world.commit(&[&tx]), [Code::DuplicateTxid]);
    let status = world.channel.transaction_status(&tx.tx_id());
    assert_eq!(status, Some((Code::Valid, 2)));
}

#[test]
fn a_failed_transaction_uses_its_id_too() {
    let mut world = world();
    let mut tx = world.basic(|sim| sim.put_state(CHAINCODE, "k", b"v".to_vec()).unwrap());
    tx.endorsers = vec![1];
    assert_eq!(world.commit(&[&tx]), [Code::EndorsementPolicyFailure]);
    tx.endorsers = vec![1, 2];
    assert_eq!(world.commit(&[&tx]), [Code::DuplicateTxid]);
}

#[test]
fn a_header_extension_that_cannot_be_decoded_is_bad() {
    expect(Code::BadHeaderExtension, |tx| {
        with_extension(&tx, vec![0xff; 4])
    });
}

/// Replaces the header extension, keeping the proposal hash right.
fn with_extension(tx: &Tx, extension: Vec<u8>) -> Vec<u8> {
    let mut payload = tx.payload();
    let header = payload.header.as_mut().unwrap();
    let mut channel = ChannelHeader::decode(header.channel_header.as_slice()).unwrap();
    channel.extension = extension;
    header.channel_header = channel.encode_to_vec();
    let mut transaction = Transaction::decode(payload.data.as_slice()).unwrap();
    let bytes = transaction.actions[0].payload.as_slice();
    let mut action = ChaincodeActionPayload::decode(bytes).unwrap();
    let endorsed = action.action.as_mut().unwrap();
    let bytes = endorsed.proposal_response_payload.as_slice();
    let mut response = ProposalResponsePayload::decode(bytes).unwrap();
    let hashed = [
        header.channel_header.as_slice(),
        &header.signature_header,
        &action.chaincode_proposal_payload,
    ];
    response.proposal_hash = super::super::hash::sha256(&hashed.concat());
    endorsed.proposal_response_payload = response.encode_to_vec();
    transaction.actions[0].payload = action.encode_to_vec();
    payload.data = transaction.encode_to_vec();
    sign(&payload, 1)
}

#[test]
fn a_response_without_action_is_bad() {
    expect(Code::BadResponsePayload, |tx| {
        edit_response(&tx, |response| response.extension.clear())
    });
    expect(Code::BadResponsePayload, |tx| {
        edit_response(&tx, |response| response.extension = vec![0xff; 4])
    });
}

#[test]
fn a_read_write_set_that_cannot_be_decoded_is_bad() {
    expect(Code::BadRwset, |mut tx| {
        tx.results = vec![0xff; 4];
        tx.envelope()
    });
}

#[test]
fn missing_chaincode_names_and_foreign_events_are_other_reasons() {
    expect(Code::InvalidOtherReason, |tx| {
        with_extension(&tx, ChaincodeHeaderExtension::default().encode_to_vec())
    });
    expect(Code::InvalidOtherReason, |mut tx| {
        tx.event = vec![0xff; 4];
        tx.envelope()
    });
    expect(Code::InvalidOtherReason, |mut tx| {
        tx.event = ChaincodeEvent {
            chaincode_id: "other".to_owned(),
            ..ChaincodeEvent::default()
        }
        .encode_to_vec();
        tx.envelope()
    });
}

#[test]
fn an_unknown_chaincode_or_version_is_invalid() {
    expect(Code::InvalidChaincode, |mut tx| {
        tx.chaincode = "unknown".to_owned();
        tx.envelope()
    });
    expect(Code::InvalidChaincode, |mut tx| {
        tx.version.clear();
        tx.envelope()
    });
    expect(Code::InvalidChaincode, |tx| {
        let other = ChaincodeHeaderExtension {
            chaincode_id: Some(ChaincodeId {
                name: "other".to_owned(),
                ..ChaincodeId::default()
            }),
        };
        with_extension(&tx, other.encode_to_vec())
    });
}

#[test]
fn a_namespace_twice_is_an_illegal_write_set() {
    expect(Code::IllegalWriteset, |mut tx| {
        let mut set = TxReadWriteSet::decode(tx.results.as_slice()).unwrap();
        let twice = set.ns_rwset[0].clone();
        set.ns_rwset.push(twice);
        tx.results = set.encode_to_vec();
        tx.envelope()
    });
}

#[test]
fn too_few_or_forged_endorsements_fail_the_policy() {
    expect(Code::EndorsementPolicyFailure, |mut tx| {
        tx.endorsers = vec![1, 3];
        tx.envelope()
    });
    expect(Code::EndorsementPolicyFailure, |mut tx| {
        tx.endorsers = vec![1, 1];
        tx.envelope()
    });
    expect(Code::EndorsementPolicyFailure, |tx| {
        edit_action(&tx, |payload| {
            let action = payload.action.as_mut().unwrap();
            action.endorsements[1].signature[10] ^= 1;
        })
    });
    // A client of the organisation is not a peer.
    expect(Code::EndorsementPolicyFailure, |tx| {
        edit_action(&tx, |payload| {
            let action = payload.action.as_mut().unwrap();
            let client = super::world::user(2);
            let signed = [
                action.proposal_response_payload.as_slice(),
                &client.serialized(),
            ];
            action.endorsements[1].signature = client.sign(&signed.concat()).unwrap();
            action.endorsements[1].endorser = client.serialized();
        })
    });
}

#[test]
fn a_write_to_another_namespace_needs_its_policy_too() {
    let mut world = world();
    world.define("strict", 1, Some("OR('Org3MSP.peer')"), "[]");
    let write = |sim: &mut super::super::Simulator| {
        sim.put_state(CHAINCODE, "k", b"v".to_vec()).unwrap();
        sim.put_state("strict", "k", b"v".to_vec()).unwrap();
    };
    let without = world.tx(CHAINCODE, &[1, 2], write);
    let with = world.tx(CHAINCODE, &[1, 2, 3], write);
    assert_eq!(
        world.commit(&[&without, &with]),
        [Code::EndorsementPolicyFailure, Code::Valid]
    );
    // Reading it needs nothing more than the invoked chaincode's policy.
    let read = world.tx(CHAINCODE, &[1, 2], |sim| {
        sim.get_state("strict", "k").unwrap();
    });
    assert_eq!(world.commit(&[&read]), [Code::Valid]);
}

#[test]
fn a_transaction_that_writes_nothing_still_needs_its_chaincodes_policy() {
    let mut world = world();
    let tx = world.tx(CHAINCODE, &[1], |sim| {
        sim.get_state(CHAINCODE, "k").unwrap();
    });
    assert_eq!(world.commit(&[&tx]), [Code::EndorsementPolicyFailure]);
}

#[test]
fn a_reference_to_the_channels_policy_asks_the_majority() {
    let mut world = World::with(None, "[]");
    let write =
        |sim: &mut super::super::Simulator| sim.put_state(CHAINCODE, "k", b"v".to_vec()).unwrap();
    let one = world.tx(CHAINCODE, &[1], write);
    let two = world.tx(CHAINCODE, &[3, 2], write);
    assert_eq!(
        world.commit(&[&one, &two]),
        [Code::EndorsementPolicyFailure, Code::Valid]
    );
}

#[test]
fn codes_and_commit_hash_are_in_the_block() {
    let mut world = world();
    let good = world.basic(|sim| sim.put_state(CHAINCODE, "k", b"v".to_vec()).unwrap());
    let mut bad = world.basic(|sim| sim.put_state(CHAINCODE, "l", b"v".to_vec()).unwrap());
    bad.endorsers.clear();
    world.commit(&[&good, &bad]);
    let block = world.channel.block_by_number(2).unwrap().unwrap();
    let metadata = block.metadata.unwrap().metadata;
    assert_eq!(metadata[2], [0, 10]);
    assert_eq!(metadata[4].len(), 34, "a SHA-256 in a Metadata message");
    let processed = world.channel.processed_transaction(&bad.tx_id()).unwrap();
    assert_eq!(processed.unwrap().validation_code, 10);
}
