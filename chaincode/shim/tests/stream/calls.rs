//! Transactions and their ledger calls.

use fabric_protos::{
    protos::{
        ChaincodeMessage, ChaincodeSpec, DelState, GetState, GetStateByRange, GetStateMultiple,
        GetStateMultipleResult, PutState, QueryResponse, QueryResultBytes, QueryStateClose,
        QueryStateNext, Response, WriteBatchState, chaincode_message::Type,
    },
    queryresult,
};
use fabric_shim::Limits;
use prost::Message as _;

use crate::{
    peer::{self, Peer, proposal},
    probe::Probe,
};

async fn old_peer() -> (peer::Running, Peer) {
    let running = peer::serve(Limits::default(), Probe::silent()).await;
    let peer = Peer::old(running.address).await;
    (running, peer)
}

async fn new_peer() -> (peer::Running, Peer) {
    let running = peer::serve(Limits::default(), Probe::silent()).await;
    let peer = Peer::new(running.address).await;
    (running, peer)
}

#[tokio::test]
async fn a_read_is_asked_and_answered() {
    let (_running, mut peer) = old_peer().await;
    peer.invoke("tx", &["probe:Get", "k"]).await;
    let request: GetState = peer.request(Type::GetState, "tx").await;
    assert_eq!(
        (request.key.as_str(), request.collection.as_str()),
        ("k", "")
    );
    peer.send(Type::Response, "tx", b"value".to_vec()).await;
    let response = peer.completed("tx").await;
    assert_eq!(
        (response.status, response.payload.as_slice()),
        (200, &b"value"[..])
    );
}

#[tokio::test]
async fn replies_of_different_transactions_may_come_in_any_order() {
    let (_running, mut peer) = old_peer().await;
    for tx_id in ["one", "two"] {
        peer.invoke(tx_id, &["Get", tx_id]).await;
        peer.expect(Type::GetState, tx_id).await;
    }
    for tx_id in ["two", "one"] {
        peer.send(Type::Response, tx_id, tx_id.into()).await;
        assert_eq!(peer.completed(tx_id).await.payload, tx_id.as_bytes());
    }
}

#[tokio::test]
async fn two_calls_at_once_go_out_one_after_the_other() {
    let (_running, mut peer) = old_peer().await;
    peer.invoke("tx", &["BothAtOnce"]).await;
    for value in ["1", "2"] {
        peer.expect(Type::GetState, "tx").await;
        peer.is_quiet().await;
        peer.send(Type::Response, "tx", value.into()).await;
    }
    assert_eq!(peer.completed("tx").await.payload, b"1 2");
}

#[tokio::test]
async fn a_reply_that_nobody_waits_for_is_not_taken_for_the_next_one() {
    let (_running, mut peer) = old_peer().await;
    peer.invoke("tx", &["GiveUp"]).await;
    let first: GetState = peer.request(Type::GetState, "tx").await;
    assert_eq!(first.key, "first");
    peer.is_quiet().await;
    peer.send(Type::Response, "tx", b"stale".to_vec()).await;
    let second: GetState = peer.request(Type::GetState, "tx").await;
    assert_eq!(second.key, "second");
    peer.send(Type::Response, "tx", b"fresh".to_vec()).await;
    assert_eq!(peer.completed("tx").await.payload, b"fresh");
}

#[tokio::test]
async fn writes_go_one_by_one_to_an_old_peer() {
    let (_running, mut peer) = old_peer().await;
    peer.invoke("tx", &["PutThree"]).await;
    let put: PutState = peer.request(Type::PutState, "tx").await;
    assert_eq!((put.key.as_str(), put.value.as_slice()), ("b", &b"1"[..]));
    peer.send(Type::Response, "tx", vec![]).await;
    let del: DelState = peer.request(Type::DelState, "tx").await;
    assert_eq!(del.key, "a");
    peer.send(Type::Response, "tx", vec![]).await;
    let put: PutState = peer.request(Type::PutState, "tx").await;
    assert_eq!((put.key.as_str(), put.collection.as_str()), ("p", "c"));
    peer.send(Type::Response, "tx", vec![]).await;
    let message = peer.next().await;
    assert_eq!(message.r#type(), Type::Completed);
    let event = message.chaincode_event.unwrap();
    assert_eq!(
        (event.event_name.as_str(), event.payload.as_slice()),
        ("Put", &b"payload"[..])
    );
}

#[tokio::test]
async fn writes_go_together_to_a_new_peer() {
    let (_running, mut peer) = new_peer().await;
    peer.invoke("tx", &["PutThree"]).await;
    let batch: WriteBatchState = peer.request(Type::WriteBatchState, "tx").await;
    let keys: Vec<&str> = batch.rec.iter().map(|record| record.key.as_str()).collect();
    assert_eq!(keys, ["a", "b", "p"]);
    peer.send(Type::Response, "tx", vec![]).await;
    assert_eq!(peer.completed("tx").await.status, 200);
}

#[tokio::test]
async fn a_refused_batch_fails_the_transaction() {
    let (_running, mut peer) = new_peer().await;
    peer.invoke("tx", &["PutThree"]).await;
    peer.expect(Type::WriteBatchState, "tx").await;
    let text = "WRITE_BATCH_STATE failed: transaction ID: tx: no such collection";
    peer.send(Type::Error, "tx", text.into()).await;
    let response = peer.completed("tx").await;
    assert_eq!((response.status, response.message.as_str()), (500, text));
}

#[tokio::test]
async fn a_failed_transaction_sends_no_batch() {
    let (_running, mut peer) = new_peer().await;
    peer.invoke("tx", &["PutThenFail"]).await;
    assert_eq!(peer.completed("tx").await.status, 409);
}

#[tokio::test]
async fn several_keys_are_read_in_portions_that_the_peer_takes() {
    let (_running, mut peer) = new_peer().await;
    peer.invoke("tx", &["GetMany", "250"]).await;
    for expected in [100, 100, 50] {
        let request: GetStateMultiple = peer.request(Type::GetStateMultiple, "tx").await;
        assert_eq!(request.keys.len(), expected);
        let mut values = vec![b"v".to_vec(); expected];
        values[0].clear();
        peer.respond("tx", &GetStateMultipleResult { values }).await;
    }
    assert_eq!(peer.completed("tx").await.payload, b"247");
}

#[tokio::test]
async fn several_keys_are_read_one_by_one_from_an_old_peer() {
    let (_running, mut peer) = old_peer().await;
    peer.invoke("tx", &["GetMany", "3"]).await;
    for _ in 0..3 {
        peer.expect(Type::GetState, "tx").await;
        peer.send(Type::Response, "tx", b"v".to_vec()).await;
    }
    assert_eq!(peer.completed("tx").await.payload, b"3");
}

#[tokio::test]
async fn a_reply_with_the_wrong_number_of_values_is_refused() {
    let (_running, mut peer) = new_peer().await;
    peer.invoke("tx", &["GetMany", "2"]).await;
    peer.expect(Type::GetStateMultiple, "tx").await;
    let values = vec![b"v".to_vec()];
    peer.respond("tx", &GetStateMultipleResult { values }).await;
    assert_eq!(peer.completed("tx").await.status, 500);
}

fn records(keys: &[&str]) -> Vec<QueryResultBytes> {
    let record = |key: &&str| {
        let record = queryresult::Kv {
            key: (*key).to_owned(),
            ..queryresult::Kv::default()
        };
        QueryResultBytes {
            result_bytes: record.encode_to_vec(),
        }
    };
    keys.iter().map(record).collect()
}

#[tokio::test]
async fn a_range_from_the_start_skips_composite_keys() {
    let (_running, mut peer) = old_peer().await;
    peer.invoke("tx", &["AllOf"]).await;
    let request: GetStateByRange = peer.request(Type::GetStateByRange, "tx").await;
    assert_eq!(
        (request.start_key.as_str(), request.end_key.as_str()),
        ("\u{1}", "")
    );
    assert!(request.metadata.is_empty());
    let portion = |keys: &[&str], has_more| QueryResponse {
        results: records(keys),
        has_more,
        id: "q".to_owned(),
        metadata: vec![],
    };
    peer.respond("tx", &portion(&["a", "b"], true)).await;
    let next: QueryStateNext = peer.request(Type::QueryStateNext, "tx").await;
    assert_eq!(next.id, "q");
    peer.respond("tx", &portion(&["c"], false)).await;
    assert_eq!(peer.completed("tx").await.payload, br#"["a","b","c"]"#);
}

#[tokio::test]
async fn a_dropped_range_is_closed_before_the_next_request() {
    let (_running, mut peer) = old_peer().await;
    peer.invoke("tx", &["FirstOf", "a", "z"]).await;
    peer.expect(Type::GetStateByRange, "tx").await;
    let portion = QueryResponse {
        results: records(&["a", "b"]),
        has_more: true,
        id: "q".to_owned(),
        metadata: vec![],
    };
    peer.respond("tx", &portion).await;
    let close: QueryStateClose = peer.request(Type::QueryStateClose, "tx").await;
    assert_eq!(close.id, "q");
    peer.is_quiet().await;
    peer.respond("tx", &QueryResponse::default()).await;
    let get: GetState = peer.request(Type::GetState, "tx").await;
    assert_eq!(get.key, "after");
    peer.send(Type::Response, "tx", vec![]).await;
    assert_eq!(peer.completed("tx").await.payload, b"a");
}

#[tokio::test]
async fn keys_that_break_the_rules_are_not_sent() {
    let (_running, mut peer) = old_peer().await;
    for key in ["", "\0key"] {
        peer.invoke("tx", &["PutSimple", key]).await;
        assert_eq!(peer.completed("tx").await.status, 400, "{key:?}");
    }
}

#[tokio::test]
async fn the_proposal_tells_who_when_and_what_is_hidden() {
    let (_running, mut peer) = old_peer().await;
    let proposal = proposal(b"me", &[("t", "hidden")]);
    peer.invoke_proposed("tx", &["About"], proposal).await;
    let told: Vec<String> = serde_json::from_slice(&peer.completed("tx").await.payload).unwrap();
    // SHA-256 of "nonce", "me" and eight zero bytes.
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"nonceme\0\0\0\0\0\0\0\0");
    let binding: String = digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        told,
        ["me", "hidden", "1700000000.7", &binding, "signature"]
    );
}

#[tokio::test]
async fn a_proposal_that_cannot_be_read_fails_its_transaction_only() {
    let (_running, mut peer) = old_peer().await;
    let mut broken = proposal(b"me", &[]);
    broken.proposal_bytes = b"\xff".to_vec();
    peer.invoke_proposed("tx", &["About"], broken).await;
    let text = peer.expect(Type::Error, "tx").await;
    assert!(text.starts_with(b"the transaction cannot be read: proposal"));
    peer.invoke("tx", &["Get", "k"]).await;
    peer.expect(Type::GetState, "tx").await;
}

#[tokio::test]
async fn another_chaincodes_answer_is_unwrapped() {
    let (_running, mut peer) = old_peer().await;
    let answer = |kind: Type, payload: Vec<u8>| ChaincodeMessage {
        r#type: kind.into(),
        payload,
        ..ChaincodeMessage::default()
    };
    let response = Response {
        status: 404,
        message: "no".to_owned(),
        payload: vec![],
    };
    for (channel, name, reply, expected) in [
        (
            "",
            "cc",
            answer(Type::Completed, response.encode_to_vec()),
            "404 no",
        ),
        ("x", "cc/x", answer(Type::Error, b"bad".to_vec()), "500 bad"),
    ] {
        peer.invoke("tx", &["Call", "cc", channel]).await;
        let spec: ChaincodeSpec = peer.request(Type::InvokeChaincode, "tx").await;
        assert_eq!(spec.chaincode_id.unwrap().name, name);
        assert_eq!(spec.input.unwrap().args, [b"f", b"x"]);
        peer.respond("tx", &reply).await;
        assert_eq!(peer.completed("tx").await.payload, expected.as_bytes());
    }
    peer.invoke("tx", &["Call", "cc", ""]).await;
    peer.expect(Type::InvokeChaincode, "tx").await;
    peer.send(Type::Error, "tx", b"refused".to_vec()).await;
    assert_eq!(peer.completed("tx").await.payload, b"500 refused");
}

#[tokio::test]
async fn messages_far_beyond_grpcs_default_size_pass_both_ways() {
    let (_running, mut peer) = old_peer().await;
    let value = vec![7; 20 << 20];
    peer.invoke("tx", &["Get", "k"]).await;
    peer.expect(Type::GetState, "tx").await;
    peer.send(Type::Response, "tx", value.clone()).await;
    assert!(peer.completed("tx").await.payload == value);
}
