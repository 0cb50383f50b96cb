//! Events, and going on after a loss.

use fabric_protos::common::{Block, BlockData, BlockHeader, BlockMetadata, Payload};
use fabric_protos::gateway::{ChaincodeEventsRequest, ChaincodeEventsResponse};
use fabric_protos::orderer::{SeekInfo, seek_position};
use fabric_protos::protos::{ChaincodeEvent as WireEvent, DeliverResponse, deliver_response};
use prost::Message as _;
use tonic::Status;

use super::fake_peer::{Running, Script, identity, start};
use crate::{Checkpointer as _, EventsError, InMemoryCheckpointer, Network, RpcCode, Start};

fn block_of_events(
    block_number: u64,
    transactions: &[&str],
) -> Result<ChaincodeEventsResponse, Status> {
    let events = transactions.iter().map(|&transaction| WireEvent {
        chaincode_id: "salus".to_owned(),
        tx_id: transaction.to_owned(),
        event_name: "ReadDenied".to_owned(),
        payload: b"{}".to_vec(),
    });
    Ok(ChaincodeEventsResponse {
        events: events.collect(),
        block_number,
    })
}

async fn network(script: Script) -> (Running, Network) {
    let peer = start(script).await;
    let network = peer.gateway(&identity()).network("mychannel");
    (peer, network)
}

/// Start block and transaction of a request; no block means the next commit.
fn position(request: &ChaincodeEventsRequest) -> (Option<u64>, &str) {
    let number = match request
        .start_position
        .as_ref()
        .and_then(|position| position.r#type)
    {
        Some(seek_position::Type::Specified(specified)) => Some(specified.number),
        Some(seek_position::Type::NextCommit(_)) => None,
        other => panic!("unexpected start {other:?}"),
    };
    (number, &request.after_transaction_id)
}

#[tokio::test]
async fn after_a_loss_events_go_on_behind_the_last_one() {
    let lost = || Err(Status::unavailable("going down"));
    let (peer, network) = network(Script {
        events: [
            vec![block_of_events(3, &["a", "b"]), lost()],
            vec![lost()],
            vec![block_of_events(3, &["c"]), block_of_events(5, &["d"])],
        ]
        .into(),
        ..Script::default()
    })
    .await;
    let mut events = network.chaincode_events("salus", Start::NextCommit);
    let mut seen = Vec::new();
    for _ in 0..4 {
        let event = events.next().await.unwrap().unwrap();
        seen.push((event.block_number, event.transaction_id));
    }
    let expected = [(3, "a"), (3, "b"), (3, "c"), (5, "d")];
    assert_eq!(seen, expected.map(|(number, id)| (number, id.to_owned())));
    let asked = peer.peer.asked.lock().unwrap();
    let positions: Vec<_> = asked
        .events
        .iter()
        .map(|(_, inside)| position(inside))
        .collect();
    assert_eq!(positions, [(None, ""), (Some(3), "b"), (Some(3), "b")]);
}

#[tokio::test]
async fn a_checkpoint_leads_back_to_its_place() {
    let (peer, network) = network(Script {
        events: [
            vec![block_of_events(8, &["x"])],
            vec![block_of_events(9, &["y"])],
        ]
        .into(),
        ..Script::default()
    })
    .await;
    let mut checkpointer = InMemoryCheckpointer::default();
    checkpointer.block(7).await.unwrap();
    let mut events = network.chaincode_events("salus", checkpointer.start_or(Start::NextCommit));
    let event = events.next().await.unwrap().unwrap();
    checkpointer.event(&event).await.unwrap();
    let mut events = network.chaincode_events("salus", checkpointer.start_or(Start::NextCommit));
    assert_eq!(events.next().await.unwrap().unwrap().transaction_id, "y");
    let asked = peer.peer.asked.lock().unwrap();
    let positions: Vec<_> = asked
        .events
        .iter()
        .map(|(_, inside)| position(inside))
        .collect();
    assert_eq!(positions, [(Some(8), ""), (Some(8), "x")]);
}

#[tokio::test]
async fn a_refused_request_ends_the_stream_with_the_reason() {
    let (_peer, network) = network(Script {
        events: [vec![Err(Status::permission_denied("no reader"))]].into(),
        ..Script::default()
    })
    .await;
    let mut events = network.chaincode_events("salus", Start::Block(0));
    match events.next().await {
        Some(Err(EventsError::Rpc(status))) => assert_eq!(status.code, RpcCode::PermissionDenied),
        other => panic!("unexpected {other:?}"),
    }
    assert!(events.next().await.is_none());
}

fn block(number: u64) -> Result<DeliverResponse, Status> {
    let block = Block {
        header: Some(BlockHeader {
            number,
            previous_hash: vec![1],
            data_hash: vec![2],
        }),
        data: Some(BlockData {
            data: vec![b"first".to_vec(), b"second".to_vec()],
        }),
        metadata: Some(BlockMetadata {
            metadata: vec![Vec::new(), Vec::new(), vec![0, 11], Vec::new()],
        }),
    };
    Ok(DeliverResponse {
        r#type: Some(deliver_response::Type::Block(block)),
    })
}

fn status(status: i32) -> Result<DeliverResponse, Status> {
    Ok(DeliverResponse {
        r#type: Some(deliver_response::Type::Status(status)),
    })
}

/// The block that a signed seek asks for first.
fn sought(envelope: &fabric_protos::common::Envelope) -> Option<u64> {
    let payload = Payload::decode(envelope.payload.as_slice()).unwrap();
    let seek = SeekInfo::decode(payload.data.as_slice()).unwrap();
    match seek.start.unwrap().r#type {
        Some(seek_position::Type::Specified(specified)) => Some(specified.number),
        _ => None,
    }
}

#[tokio::test]
async fn blocks_go_on_behind_the_last_one() {
    let (peer, network) = network(Script {
        blocks: [vec![block(4), status(503)], vec![block(5)]].into(),
        ..Script::default()
    })
    .await;
    let mut blocks = network.block_events(Start::Block(4));
    let first = blocks.next().await.unwrap().unwrap();
    assert_eq!((first.number, first.envelopes.len()), (4, 2));
    let codes: Vec<_> = first.codes.iter().map(ToString::to_string).collect();
    assert_eq!(codes, ["VALID", "MVCC_READ_CONFLICT"]);
    assert_eq!(blocks.next().await.unwrap().unwrap().number, 5);
    let asked = peer.peer.asked.lock().unwrap();
    assert_eq!(
        asked.blocks.iter().map(sought).collect::<Vec<_>>(),
        [Some(4), Some(5)]
    );
}

#[tokio::test]
async fn a_peers_status_in_place_of_a_block_is_shown() {
    let (_peer, network) = network(Script {
        blocks: [vec![status(403)], vec![block(1)]].into(),
        ..Script::default()
    })
    .await;
    let mut blocks = network.block_events(Start::NextCommit);
    let ended = blocks.next().await.unwrap().unwrap_err();
    assert!(
        matches!(ended, EventsError::Deliver { status: 403 }),
        "{ended}"
    );
    let mut filtered = network.filtered_block_events(Start::NextCommit);
    let ended = filtered.next().await.unwrap().unwrap_err();
    assert!(matches!(ended, EventsError::Malformed), "{ended}");
}
