//! Proposals as bytes. Pure: nonce and time come in as arguments.

use aws_lc_rs::digest::{SHA256, digest};
use fabric_protos::common::{ChannelHeader, Header, HeaderType, SignatureHeader};
use fabric_protos::protos::chaincode_spec::Type;
use fabric_protos::protos::{
    ChaincodeHeaderExtension, ChaincodeId, ChaincodeInput, ChaincodeInvocationSpec,
    ChaincodeProposalPayload, ChaincodeSpec, Proposal,
};
use prost::Message as _;
use prost_types::Timestamp;

use crate::call::Call;

/// Length of a nonce, in bytes, as in the official clients.
pub(crate) const NONCE_BYTES: usize = 24;

/// What makes one transaction unlike any other.
#[derive(Debug, Clone)]
pub(crate) struct Uniqueness {
    pub(crate) nonce: [u8; NONCE_BYTES],
    pub(crate) timestamp: Timestamp,
}

/// A proposal that nobody signed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProposalBytes {
    pub(crate) transaction_id: String,
    pub(crate) bytes: Vec<u8>,
}

/// Builds the proposal of a call.
pub(crate) fn build(
    channel: &str,
    chaincode: &str,
    call: &Call,
    creator: &[u8],
    uniqueness: &Uniqueness,
) -> ProposalBytes {
    let transaction_id = transaction_id(&uniqueness.nonce, creator);
    let chaincode_id = ChaincodeId {
        name: chaincode.to_owned(),
        ..ChaincodeId::default()
    };
    let extension = ChaincodeHeaderExtension {
        chaincode_id: Some(chaincode_id.clone()),
    };
    let channel_header = ChannelHeader {
        r#type: HeaderType::EndorserTransaction.into(),
        timestamp: Some(uniqueness.timestamp),
        channel_id: channel.to_owned(),
        tx_id: transaction_id.clone(),
        extension: extension.encode_to_vec(),
        ..ChannelHeader::default()
    };
    let header = Header {
        channel_header: channel_header.encode_to_vec(),
        signature_header: signature_header(creator, &uniqueness.nonce),
    };
    let mut args = vec![call.function.clone().into_bytes()];
    args.extend(call.arguments.iter().cloned());
    let invocation = ChaincodeInvocationSpec {
        chaincode_spec: Some(ChaincodeSpec {
            r#type: Type::Node.into(),
            chaincode_id: Some(chaincode_id),
            input: Some(ChaincodeInput {
                args,
                ..ChaincodeInput::default()
            }),
            timeout: 0,
        }),
    };
    let payload = ChaincodeProposalPayload {
        input: invocation.encode_to_vec(),
        transient_map: call.transient.clone(),
    };
    let proposal = Proposal {
        header: header.encode_to_vec(),
        payload: payload.encode_to_vec(),
        extension: Vec::new(),
    };
    ProposalBytes {
        transaction_id,
        bytes: proposal.encode_to_vec(),
    }
}

pub(crate) fn signature_header(creator: &[u8], nonce: &[u8]) -> Vec<u8> {
    SignatureHeader {
        creator: creator.to_vec(),
        nonce: nonce.to_vec(),
    }
    .encode_to_vec()
}

/// Lower-case hex of SHA-256 over nonce and creator.
fn transaction_id(nonce: &[u8], creator: &[u8]) -> String {
    hex::encode(digest(&SHA256, &[nonce, creator].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uniqueness() -> Uniqueness {
        Uniqueness {
            nonce: [7; NONCE_BYTES],
            timestamp: Timestamp {
                seconds: 1_700_000_000,
                nanos: 5,
            },
        }
    }

    fn build_example() -> ProposalBytes {
        let call = Call::new("record-registry:GetRecord")
            .argument("id")
            .argument(vec![0xff])
            .transient("caller", "pem");
        build("mychannel", "salus", &call, b"creator", &uniqueness())
    }

    #[test]
    fn the_id_is_the_digest_of_nonce_and_creator() {
        // Computed with sha256sum over 24 bytes of 0x07 and the word creator.
        assert_eq!(
            build_example().transaction_id,
            "4945eb25e69b7c2909796717c0288bcc8a89a98e6ff008eca6c754154a0d11da"
        );
    }

    #[test]
    fn the_same_input_gives_the_same_bytes() {
        assert_eq!(build_example(), build_example());
        let mut other = uniqueness();
        other.nonce[0] ^= 1;
        let other = build("mychannel", "salus", &Call::new("f"), b"creator", &other);
        assert_ne!(build_example().transaction_id, other.transaction_id);
    }

    #[test]
    fn every_part_lies_where_a_peer_looks_for_it() {
        let built = build_example();
        let proposal = Proposal::decode(built.bytes.as_slice()).unwrap();
        let header = Header::decode(proposal.header.as_slice()).unwrap();
        let channel_header = ChannelHeader::decode(header.channel_header.as_slice()).unwrap();
        assert_eq!(channel_header.r#type, 3);
        assert_eq!(channel_header.epoch, 0);
        assert_eq!(channel_header.channel_id, "mychannel");
        assert_eq!(channel_header.tx_id, built.transaction_id);
        // Field 2 of the extension, then field 2 (name) of the chaincode ID.
        assert_eq!(channel_header.extension, b"\x12\x07\x12\x05salus");
        let signature_header = SignatureHeader::decode(header.signature_header.as_slice()).unwrap();
        assert_eq!(signature_header.creator, b"creator");
        assert_eq!(signature_header.nonce, [7; NONCE_BYTES]);
        let payload = ChaincodeProposalPayload::decode(proposal.payload.as_slice()).unwrap();
        assert_eq!(payload.transient_map["caller"], b"pem");
        let invocation = ChaincodeInvocationSpec::decode(payload.input.as_slice()).unwrap();
        let input = invocation.chaincode_spec.unwrap().input.unwrap();
        let args: [&[u8]; 3] = [b"record-registry:GetRecord", b"id", &[0xff]];
        assert_eq!(input.args, args);
    }
}
