use fabric_protos::common::{ChannelHeader, Header, HeaderType, SignatureHeader};
use fabric_protos::protos::{
    ChaincodeHeaderExtension, ChaincodeId, ChaincodeInput, ChaincodeInvocationSpec,
    ChaincodeProposalPayload, ChaincodeSpec, Proposal, SignedProposal,
};
use prost::Message;

use super::proposal::{unpack, without_transient};
use crate::ledger::transaction_id;

struct Parts {
    channel_header: ChannelHeader,
    signature_header: SignatureHeader,
    payload: ChaincodeProposalPayload,
}

fn parts() -> Parts {
    let id = ChaincodeId {
        name: "cc".to_owned(),
        ..ChaincodeId::default()
    };
    let spec = ChaincodeInvocationSpec {
        chaincode_spec: Some(ChaincodeSpec {
            chaincode_id: Some(id.clone()),
            input: Some(ChaincodeInput {
                args: vec![b"F".to_vec()],
                ..ChaincodeInput::default()
            }),
            ..ChaincodeSpec::default()
        }),
    };
    Parts {
        channel_header: ChannelHeader {
            r#type: HeaderType::EndorserTransaction.into(),
            channel_id: "ch".to_owned(),
            tx_id: transaction_id(b"nonce", b"creator"),
            extension: ChaincodeHeaderExtension {
                chaincode_id: Some(id),
            }
            .encode_to_vec(),
            ..ChannelHeader::default()
        },
        signature_header: SignatureHeader {
            creator: b"creator".to_vec(),
            nonce: b"nonce".to_vec(),
        },
        payload: ChaincodeProposalPayload {
            input: spec.encode_to_vec(),
            transient_map: [("secret".to_owned(), b"s".to_vec())].into(),
        },
    }
}

fn signed(parts: &Parts) -> SignedProposal {
    let header = Header {
        channel_header: parts.channel_header.encode_to_vec(),
        signature_header: parts.signature_header.encode_to_vec(),
    };
    let proposal = Proposal {
        header: header.encode_to_vec(),
        payload: parts.payload.encode_to_vec(),
        ..Proposal::default()
    };
    SignedProposal {
        proposal_bytes: proposal.encode_to_vec(),
        signature: b"signature".to_vec(),
    }
}

/// What validation says about a proposal changed like this, with no MSP known.
fn check(change: impl FnOnce(&mut Parts), expected: &str) {
    let mut parts = parts();
    change(&mut parts);
    let signed = signed(&parts);
    let none = fabric_msp::MspManager::new(Vec::new());
    let error = match unpack(&signed) {
        Ok(proposal) => proposal.validate(&signed, &none).unwrap_err(),
        Err(error) => error,
    };
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn bad_proposals_are_named() {
    let unknown = "access denied: channel [ch] creator org unknown, creator is malformed";
    check(|_| {}, unknown);
    check(|p| p.channel_header.epoch = 1, "epoch is non-zero");
    check(
        |p| p.channel_header.r#type = 0,
        "invalid header type MESSAGE",
    );
    check(|p| p.channel_header.r#type = 77, "invalid header type 77");
    check(|p| p.signature_header.nonce.clear(), "nonce is empty");
    check(|p| p.signature_header.creator.clear(), "creator is empty");
    check(
        |p| p.channel_header.tx_id = "00".to_owned(),
        "incorrectly computed txid '00' -- expected",
    );
    check(
        |p| p.channel_header.extension.clear(),
        "ChaincodeHeaderExtension.ChaincodeId is nil",
    );
    check(
        |p| p.payload.input = vec![0xff],
        "error unmarshalling ChaincodeInvocationSpec: proto: cannot parse",
    );
    check(
        |p| p.payload.input.clear(),
        "chaincode invocation spec did not contain chaincode spec",
    );
}

#[test]
fn transient_data_changes_neither_hash_nor_transaction() {
    let with = parts();
    let mut without = parts();
    without.payload.transient_map.clear();
    let hashes = [&with, &without].map(|parts| unpack(&signed(parts)).unwrap().hash);
    assert_eq!(hashes[0], hashes[1]);
    assert_eq!(
        without_transient(&with.payload),
        without.payload.encode_to_vec()
    );
    let mut other = parts();
    other.signature_header.nonce = b"other".to_vec();
    assert_ne!(unpack(&signed(&other)).unwrap().hash, hashes[0]);
}

#[test]
fn cut_proposals_are_errors_not_panics() {
    let whole = signed(&parts());
    for length in 0..whole.proposal_bytes.len() {
        let cut = SignedProposal {
            proposal_bytes: whole.proposal_bytes[..length].to_vec(),
            signature: Vec::new(),
        };
        let none = fabric_msp::MspManager::new(Vec::new());
        let accepted = unpack(&cut).and_then(|proposal| proposal.validate(&cut, &none));
        assert!(accepted.is_err(), "{length} bytes");
    }
}
