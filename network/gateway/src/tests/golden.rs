//! Our bytes against those of the official Node client (`tests/golden/gateway`): with the nonce
//! and the time that it took, the same call must give the same proposal.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use fabric_msp::{Certificate, MspId, serialized_identity};
use fabric_protos::common::{ChannelHeader, Header, SignatureHeader};
use fabric_protos::gateway::{ProposedTransaction, SignedChaincodeEventsRequest};
use fabric_protos::protos::Proposal;
use serde::Deserialize;

use crate::events::chaincode;
use crate::proposal::{self, Uniqueness};
use crate::{Call, ChaincodeEvent, Checkpoint, Start};

#[derive(Deserialize)]
struct Golden {
    proposals: Vec<GoldenProposal>,
    events: Vec<GoldenEvents>,
}

#[derive(Deserialize)]
struct GoldenProposal {
    function: String,
    arguments: Vec<String>,
    transient: BTreeMap<String, String>,
    organizations: Vec<String>,
    transaction_id: String,
    proposed_transaction: String,
}

#[derive(Deserialize)]
struct GoldenEvents {
    start: String,
    signed: String,
}

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests")
}

fn golden() -> Golden {
    let json = fs::read(tests().join("golden/gateway/official.json")).unwrap();
    serde_json::from_slice(&json).unwrap()
}

/// The identity in whose name the official client spoke.
fn creator() -> Vec<u8> {
    let pem = fs::read(tests().join("vectors/msp/openssl/signcerts/doctor.pem")).unwrap();
    let msp_id = MspId::parse("Org1MSP").unwrap();
    serialized_identity(&msp_id, &Certificate::from_pem(&pem).unwrap())
}

fn decode<M: prost::Message + Default>(bytes: &[u8]) -> M {
    M::decode(bytes).unwrap()
}

/// Nonce and time of somebody else's proposal.
fn uniqueness(proposal: &[u8]) -> Uniqueness {
    let header: Header = decode(&decode::<Proposal>(proposal).header);
    let channel_header: ChannelHeader = decode(&header.channel_header);
    let signature_header: SignatureHeader = decode(&header.signature_header);
    Uniqueness {
        nonce: signature_header.nonce.try_into().unwrap(),
        timestamp: channel_header.timestamp.unwrap(),
    }
}

#[test]
fn proposals_equal_the_official_clients_byte_for_byte() {
    let proposals = golden().proposals;
    assert_eq!(proposals.len(), 3);
    for golden in proposals {
        let official: ProposedTransaction =
            decode(&hex::decode(&golden.proposed_transaction).unwrap());
        let signed = official.proposal.unwrap();
        let mut call = Call::new(&golden.function);
        for argument in &golden.arguments {
            call = call.argument(argument.as_str());
        }
        for (name, value) in &golden.transient {
            call = call.transient(name, value.as_str());
        }
        let uniqueness = uniqueness(&signed.proposal_bytes);
        let built = proposal::build("mychannel", "salus", &call, &creator(), &uniqueness);
        assert_eq!(built.transaction_id, golden.transaction_id);
        assert_eq!(built.transaction_id, official.transaction_id);
        assert_eq!(hex::encode(built.bytes), hex::encode(signed.proposal_bytes));
        assert_eq!(official.endorsing_organizations, golden.organizations);
    }
}

#[test]
fn requests_for_events_equal_the_official_clients_byte_for_byte() {
    let event = ChaincodeEvent {
        block_number: 9,
        transaction_id: "ab".to_owned(),
        chaincode: "salus".to_owned(),
        name: "Event".to_owned(),
        payload: Vec::new(),
    };
    let events = golden().events;
    assert_eq!(events.len(), 4);
    for golden in events {
        let start = match golden.start.as_str() {
            "next" => Start::NextCommit,
            "block 7" => Start::Block(7),
            "behind ab in 9" => Start::After(Checkpoint::behind_event(&event)),
            "behind block 9" => Start::After(Checkpoint::behind_block(9)),
            other => panic!("unknown start {other}"),
        };
        let official: SignedChaincodeEventsRequest = decode(&hex::decode(golden.signed).unwrap());
        let ours = chaincode::request("mychannel", "salus", &start, creator());
        assert_eq!(
            hex::encode(ours),
            hex::encode(official.request),
            "{}",
            golden.start
        );
    }
}
