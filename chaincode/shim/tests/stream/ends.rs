//! What happens when something ends badly, or when there is too much of it.

use std::time::Duration;

use fabric_protos::protos::{Response, chaincode_message::Type};
use fabric_shim::Limits;
use prost::Message as _;
use tonic::Code;

use crate::{
    peer::{self, Peer},
    probe::Probe,
};

#[tokio::test]
async fn a_panic_is_an_answer_and_harms_no_other_transaction() {
    let running = peer::serve(Limits::default(), Probe::silent()).await;
    let mut peer = Peer::old(running.address).await;
    peer.invoke("other", &["Get", "k"]).await;
    peer.expect(Type::GetState, "other").await;
    peer.invoke("tx", &["Panics", "secret"]).await;
    let response = peer.completed("tx").await;
    assert_eq!(response.status, 500);
    assert_eq!(response.message, "the contract panicked in transaction tx");
    peer.send(Type::Response, "other", b"v".to_vec()).await;
    assert_eq!(peer.completed("other").await.payload, b"v");
}

#[tokio::test]
async fn a_transaction_that_the_peer_has_given_up_is_told_so() {
    let (probe, mut reports) = Probe::new();
    let running = peer::serve(Limits::default(), probe).await;
    let mut peer = Peer::old(running.address).await;
    peer.invoke("tx", &["Get", "k"]).await;
    peer.expect(Type::GetState, "tx").await;
    let text = "GET_STATE failed: transaction ID: tx: no ledger context";
    peer.send(Type::Error, "tx", text.into()).await;
    assert_eq!(
        reports.recv().await.unwrap(),
        "the peer has given up transaction tx"
    );
    assert_eq!(peer.completed("tx").await.status, 500);
}

#[tokio::test]
async fn a_refusal_of_the_peer_keeps_its_text() {
    let (probe, mut reports) = Probe::new();
    let running = peer::serve(Limits::default(), probe).await;
    let mut peer = Peer::old(running.address).await;
    peer.invoke("tx", &["Get", "k"]).await;
    peer.expect(Type::GetState, "tx").await;
    peer.send(Type::Error, "tx", b"GET_STATE failed: no".to_vec())
        .await;
    assert_eq!(reports.recv().await.unwrap(), "GET_STATE failed: no");
    assert_eq!(peer.completed("tx").await.message, "GET_STATE failed: no");
}

#[tokio::test]
async fn every_waiting_call_ends_when_the_stream_is_lost() {
    let (probe, mut reports) = Probe::new();
    let running = peer::serve(Limits::default(), probe).await;
    let mut peer = Peer::old(running.address).await;
    for n in 0..5 {
        let tx_id = format!("tx{n}");
        peer.invoke(&tx_id, &["Get", "k"]).await;
        peer.expect(Type::GetState, &tx_id).await;
    }
    drop(peer);
    for _ in 0..5 {
        assert_eq!(
            reports.recv().await.unwrap(),
            "the stream to the peer ended"
        );
    }
    // The server goes on: the peer dials again at the next proposal.
    let mut peer = Peer::old(running.address).await;
    peer.invoke("tx", &["Get", "k"]).await;
    peer.expect(Type::GetState, "tx").await;
}

#[tokio::test]
async fn several_peers_are_served_at_once() {
    let running = peer::serve(Limits::default(), Probe::silent()).await;
    let mut peers = [
        Peer::old(running.address).await,
        Peer::old(running.address).await,
    ];
    for peer in &mut peers {
        peer.invoke("tx", &["Get", "k"]).await;
        peer.expect(Type::GetState, "tx").await;
    }
    for (value, peer) in [b"1", b"2"].iter().zip(&mut peers).rev() {
        peer.send(Type::Response, "tx", value.to_vec()).await;
        assert_eq!(peer.completed("tx").await.payload, value.as_slice());
    }
}

#[tokio::test]
async fn a_failed_initialisation_is_an_error_and_an_empty_one_succeeds() {
    let running = peer::serve(Limits::default(), Probe::silent()).await;
    let mut peer = Peer::old(running.address).await;
    peer.init("tx", &[]).await;
    assert_eq!(peer.completed("tx").await.status, 200);
    peer.init("tx", &["Panics", "x"]).await;
    assert_eq!(peer.completed("tx").await.status, 500);
    peer.init("tx", &["Get", "k"]).await;
    peer.expect(Type::GetState, "tx").await;
    peer.send(Type::Error, "tx", b"no".to_vec()).await;
    assert_eq!(peer.expect(Type::Error, "tx").await, b"no");
}

#[tokio::test]
async fn transactions_beyond_the_limits_wait_or_are_refused() {
    let limits = Limits {
        running_transactions: 1,
        waiting_transactions: 1,
        ..Limits::default()
    };
    let running = peer::serve(limits, Probe::silent()).await;
    let mut peer = Peer::old(running.address).await;
    peer.invoke("one", &["Get", "k"]).await;
    peer.expect(Type::GetState, "one").await;
    peer.invoke("two", &["Get", "k"]).await;
    peer.invoke("three", &["Get", "k"]).await;
    assert_eq!(peer.completed("three").await.status, 503);
    peer.send(Type::Response, "one", vec![]).await;
    peer.completed("one").await;
    peer.expect(Type::GetState, "two").await;
}

#[tokio::test]
async fn a_repeated_proposal_ends_the_first_run() {
    let (probe, mut reports) = Probe::new();
    let running = peer::serve(Limits::default(), probe).await;
    let mut peer = Peer::old(running.address).await;
    peer.invoke("tx", &["GiveUp"]).await;
    peer.expect(Type::GetState, "tx").await;
    peer.invoke("tx", &["Get", "k"]).await;
    let text = peer.expect(Type::Error, "tx").await;
    assert_eq!(text, b"an earlier run of this transaction is still ending");
    // Once the first run's request is answered, a repetition runs.
    peer.send(Type::Response, "tx", b"stale".to_vec()).await;
    peer.invoke("other", &["Get", "k"]).await;
    peer.expect(Type::GetState, "other").await;
    peer.send(Type::Response, "other", vec![]).await;
    peer.completed("other").await;
    assert_eq!(reports.recv().await.unwrap(), "ok");
    loop {
        peer.invoke("tx", &["Get", "k"]).await;
        let message = peer.next().await;
        // The cut-off task may need a moment to end; until then the repetition is refused.
        if message.r#type() == Type::GetState {
            break;
        }
        assert_eq!(message.r#type(), Type::Error);
    }
    peer.send(Type::Response, "tx", b"fresh".to_vec()).await;
    assert_eq!(peer.completed("tx").await.payload, b"fresh");
}

#[tokio::test]
async fn a_message_out_of_turn_ends_the_stream_with_a_reason() {
    let running = peer::serve(Limits::default(), Probe::silent()).await;
    let mut peer = Peer::dial(running.address).await;
    peer.expect_register().await;
    peer.send(Type::Ready, "", vec![]).await;
    let status = peer.end().await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("before REGISTERED"), "{status}");
}

#[tokio::test]
async fn stray_and_unknown_messages_do_not_end_the_stream() {
    let running = peer::serve(Limits::default(), Probe::silent()).await;
    let mut peer = Peer::old(running.address).await;
    peer.send(Type::Response, "nobody", b"x".to_vec()).await;
    peer.send(Type::GetState, "nobody", b"x".to_vec()).await;
    peer.send(Type::Registered, "", vec![]).await;
    peer.is_quiet().await;
    peer.invoke("tx", &["Get", "k"]).await;
    peer.expect(Type::GetState, "tx").await;
}

#[tokio::test]
async fn shutdown_ends_idle_streams_itself() {
    let running = peer::serve(Limits::default(), Probe::silent()).await;
    let mut peer = Peer::old(running.address).await;
    peer.is_quiet().await;
    running.stop.send(()).unwrap();
    assert!(matches!(peer.end().await, Ok(None)));
    running.done.await.unwrap();
}

#[tokio::test]
async fn shutdown_lets_running_transactions_end() {
    let running = peer::serve(Limits::default(), Probe::silent()).await;
    let mut peer = Peer::old(running.address).await;
    peer.invoke("tx", &["Get", "k"]).await;
    peer.expect(Type::GetState, "tx").await;
    running.stop.send(()).unwrap();
    // New ones are refused as soon as the server has heard of the shutdown.
    loop {
        peer.invoke("late", &["PutSimple", ""]).await;
        let message = peer.next().await;
        if message.r#type() == Type::Error {
            assert_eq!(message.payload, b"the chaincode is shutting down");
            break;
        }
        assert_eq!(
            Response::decode(message.payload.as_slice()).unwrap().status,
            400
        );
    }
    peer.send(Type::Response, "tx", b"v".to_vec()).await;
    assert_eq!(peer.completed("tx").await.payload, b"v");
    assert!(matches!(peer.end().await, Ok(None)));
    running.done.await.unwrap();
}

#[tokio::test]
async fn shutdown_does_not_wait_for_ever() {
    let limits = Limits {
        drain: Duration::ZERO,
        ..Limits::default()
    };
    let (probe, mut reports) = Probe::new();
    let running = peer::serve(limits, probe).await;
    let mut peer = Peer::old(running.address).await;
    peer.invoke("tx", &["Get", "k"]).await;
    peer.expect(Type::GetState, "tx").await;
    running.stop.send(()).unwrap();
    running.done.await.unwrap();
    // The call ended with the stream, or its task with the server.
    let report = reports.recv().await;
    assert!(report.is_none_or(|report| report == "the stream to the peer ended"));
}
