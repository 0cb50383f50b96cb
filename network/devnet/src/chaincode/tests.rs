//! A chaincode in this process, on a real socket, that plays small parts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fabric_protos::protos::chaincode_message::Type;
use fabric_protos::protos::chaincode_server::{Chaincode, ChaincodeServer};
use fabric_protos::protos::{ChaincodeAdditionalParams, ChaincodeId, ChaincodeMessage};
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::ChaincodeHost;
use super::error::{DialError, InvokeError};
use super::stream::{ChaincodeStream, Transaction, response};
use crate::package::ExpandedConnection;

const ID: &str = "cc:01";

/// Registers under an ID, then acts by the ID of each transaction.
struct Actor {
    id: &'static str,
}

#[tonic::async_trait]
impl Chaincode for Actor {
    type ConnectStream = ReceiverStream<Result<ChaincodeMessage, Status>>;

    async fn connect(
        &self,
        request: Request<Streaming<ChaincodeMessage>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let (sender, receiver) = mpsc::channel(16);
        let register = ChaincodeId {
            name: self.id.to_owned(),
            ..ChaincodeId::default()
        };
        let register = message(Type::Register, "", register.encode_to_vec());
        sender.send(Ok(register)).await.unwrap();
        tokio::spawn(act(request.into_inner(), sender));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

async fn act(
    mut incoming: Streaming<ChaincodeMessage>,
    out: mpsc::Sender<Result<ChaincodeMessage, Status>>,
) {
    let registered = incoming.message().await.unwrap();
    let Some(registered) = registered else { return };
    assert_eq!(registered.r#type(), Type::Registered);
    let ready = incoming.message().await.unwrap().unwrap();
    assert_eq!(ready.r#type(), Type::Ready);
    let params = ChaincodeAdditionalParams::decode(ready.payload.as_slice()).unwrap();
    assert!(params.use_write_batch && params.use_get_multiple_keys);
    let send = async |kind, tx_id: &str, payload: &[u8]| {
        out.send(Ok(message(kind, tx_id, payload.to_vec())))
            .await
            .unwrap();
    };
    while let Ok(Some(received)) = incoming.message().await {
        match (received.r#type(), received.txid.as_str()) {
            (Type::Transaction, "get") => send(Type::GetState, "get", b"one").await,
            (Type::Transaction, "twice") => {
                send(Type::Keepalive, "", b"").await;
                send(Type::GetState, "twice", b"one").await;
                send(Type::GetState, "twice", b"two").await;
                send(Type::GetState, "gone", b"").await;
            }
            (Type::Transaction, "quit") => return,
            (Type::Transaction, "odd") => send(Type::Register, "odd", b"").await,
            (Type::Response, tx_id) => {
                let tx_id = tx_id.to_owned();
                send(Type::Completed, &tx_id, &received.payload).await;
            }
            (Type::Error, "get") => send(Type::Completed, "get", &received.payload).await,
            (Type::Error, "gone") => send(Type::Completed, "twice", &received.payload).await,
            other => panic!("unexpected {other:?}"),
        }
    }
}

fn message(kind: Type, tx_id: &str, payload: Vec<u8>) -> ChaincodeMessage {
    ChaincodeMessage {
        r#type: kind.into(),
        payload,
        txid: tx_id.to_owned(),
        channel_id: "ch".to_owned(),
        ..ChaincodeMessage::default()
    }
}

async fn start(id: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server =
        tonic::transport::Server::builder().add_service(ChaincodeServer::new(Actor { id }));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

fn connection(address: SocketAddr) -> ExpandedConnection {
    ExpandedConnection {
        address: address.to_string(),
        dial_timeout: Duration::from_secs(5),
        tls: None,
    }
}

fn host() -> ChaincodeHost {
    ChaincodeHost::new(CancellationToken::new())
}

async fn begin(stream: &Arc<ChaincodeStream>, tx_id: &str) -> Transaction {
    let transaction = stream.begin("ch", tx_id).unwrap();
    let start = message(Type::Transaction, tx_id, Vec::new());
    transaction.send(start).await.unwrap();
    transaction
}

#[tokio::test]
async fn a_request_is_answered_and_the_end_arrives() {
    let (host, address) = (host(), start(ID).await);
    let stream = host.launch(ID, &connection(address)).await.unwrap();
    let mut transaction = begin(&stream, "get").await;
    let request = transaction.next().await.unwrap();
    assert_eq!(
        (request.r#type(), request.payload.as_slice()),
        (Type::GetState, &b"one"[..])
    );
    transaction
        .answer(response(&request, b"value".to_vec()))
        .await
        .unwrap();
    let end = transaction.next().await.unwrap();
    assert_eq!(
        (end.r#type(), end.payload.as_slice()),
        (Type::Completed, &b"value"[..])
    );
    host.close().await;
}

#[tokio::test]
async fn a_request_whose_caller_went_away_is_refused() {
    let (host, address) = (host(), start(ID).await);
    let stream = host.launch(ID, &connection(address)).await.unwrap();
    let mut transaction = begin(&stream, "get").await;
    transaction.next().await.unwrap();
    drop(transaction);
    // Whoever has the name next hears how it ended.
    let mut next = stream.begin("ch", "get").unwrap();
    let end = next.next().await.unwrap();
    let told = String::from_utf8(end.payload).unwrap();
    assert_eq!(told, "transaction ID: get: no ledger context");
    host.close().await;
}

#[tokio::test]
async fn a_second_request_at_once_is_dropped_and_unknown_transactions_are_told() {
    let (host, address) = (host(), start(ID).await);
    let stream = host.launch(ID, &connection(address)).await.unwrap();
    let mut transaction = begin(&stream, "twice").await;
    let first = transaction.next().await.unwrap();
    assert_eq!(first.payload, b"one");
    let end = transaction.next().await.unwrap();
    assert_eq!(end.r#type(), Type::Completed);
    let told = String::from_utf8(end.payload).unwrap();
    assert_eq!(
        told,
        "GET_STATE failed: transaction ID: gone: no ledger context"
    );
    host.close().await;
}

#[tokio::test]
async fn one_transaction_runs_once_at_a_time() {
    let (host, address) = (host(), start(ID).await);
    let stream = host.launch(ID, &connection(address)).await.unwrap();
    let running = stream.begin("ch", "x").unwrap();
    let again = stream.begin("ch", "x").unwrap_err();
    assert!(matches!(again, InvokeError::Exists { .. }));
    assert_eq!(again.to_string(), "error sending: txid: x(ch) exists");
    drop(running);
    assert!(stream.begin("ch", "x").is_ok());
    host.close().await;
}

#[tokio::test]
async fn a_lost_stream_fails_what_runs_and_is_dialled_again() {
    let (host, address) = (host(), start(ID).await);
    for end in ["quit", "odd"] {
        let stream = host.launch(ID, &connection(address)).await.unwrap();
        let mut other = stream.begin("ch", "waiting").unwrap();
        let mut transaction = begin(&stream, end).await;
        let lost = transaction.next().await.unwrap_err();
        assert!(
            matches!(lost, InvokeError::Terminated { started: false }),
            "{lost}"
        );
        assert!(lost.to_string().ends_with("chaincode stream terminated"));
        assert!(other.next().await.is_err());
        let again = host.launch(ID, &connection(address)).await.unwrap();
        assert!(!Arc::ptr_eq(&stream, &again), "{end}");
    }
    host.close().await;
}

#[tokio::test]
async fn a_wrong_id_fails_fast_and_names_both() {
    let (host, address) = (host(), start("other:02").await);
    let error = host.launch(ID, &connection(address)).await.unwrap_err();
    assert!(matches!(error.cause, DialError::WrongId { .. }));
    let text = error.to_string();
    assert!(text.contains("other:02") && text.contains(ID), "{text}");
    assert!(
        text.starts_with("could not launch chaincode cc:01: "),
        "{text}"
    );
}

#[tokio::test]
async fn nobody_there_is_an_error_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = host().launch(ID, &connection(address)).await.unwrap_err();
    assert!(
        matches!(error.cause, DialError::Unreachable { .. }),
        "{error}"
    );
}
