//! A peer whose every answer a test lays down beforehand. It keeps what it was asked.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fabric_msp::{MspId, SigningIdentity};
use fabric_protos::common::Envelope;
use fabric_protos::gateway::gateway_server::{Gateway as GatewayService, GatewayServer};
use fabric_protos::gateway::{
    ChaincodeEventsRequest, ChaincodeEventsResponse, CommitStatusRequest, CommitStatusResponse,
    EndorseRequest, EndorseResponse, EvaluateRequest, EvaluateResponse,
    SignedChaincodeEventsRequest, SignedCommitStatusRequest, SubmitRequest, SubmitResponse,
};
use fabric_protos::protos::deliver_server::{Deliver, DeliverServer};
use fabric_protos::protos::{DeliverResponse, Response as ChaincodeResponse};
use futures::{Stream, StreamExt as _, stream};
use prost::Message as _;
use rcgen::{CertificateParams, KeyPair};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};

use crate::transaction::tests::envelope;
use crate::{Deadlines, Endpoint, Gateway, GatewayConfig};

/// What the peer answers; each list is worked off from the front.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) evaluate: VecDeque<Answer<Vec<u8>>>,
    pub(crate) endorse: VecDeque<Answer<Vec<u8>>>,
    pub(crate) submit: VecDeque<Answer<()>>,
    pub(crate) commit_status: VecDeque<Answer<(i32, u64)>>,
    pub(crate) events: VecDeque<Vec<Result<ChaincodeEventsResponse, Status>>>,
    pub(crate) blocks: VecDeque<Vec<Result<DeliverResponse, Status>>>,
}

/// One answer.
pub(crate) enum Answer<T> {
    Is(T),
    Fails(Status),
    /// None, ever.
    Hangs,
}

/// What the peer was asked.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) evaluate: Vec<EvaluateRequest>,
    pub(crate) endorse: Vec<EndorseRequest>,
    pub(crate) submit: Vec<SubmitRequest>,
    pub(crate) commit_status: Vec<(SignedCommitStatusRequest, CommitStatusRequest)>,
    pub(crate) events: Vec<(SignedChaincodeEventsRequest, ChaincodeEventsRequest)>,
    pub(crate) blocks: Vec<Envelope>,
}

#[derive(Clone, Default)]
pub(crate) struct FakePeer {
    pub(crate) script: Arc<Mutex<Script>>,
    pub(crate) asked: Arc<Mutex<Asked>>,
}

/// A running peer; it ends with the value.
pub(crate) struct Running {
    pub(crate) peer: FakePeer,
    pub(crate) address: SocketAddr,
    pub(crate) root_pem: String,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Running {
    /// A gateway on behalf of `identity` that knows this peer only.
    pub(crate) fn gateway(&self, identity: &SigningIdentity) -> Gateway {
        Gateway::connect(self.config(), identity.clone()).unwrap()
    }

    pub(crate) fn config(&self) -> GatewayConfig {
        let endpoint = Endpoint::new(self.address.to_string()).server_name("peer0.example.com");
        let mut config = GatewayConfig::new([endpoint], self.root_pem.as_bytes());
        config.deadlines = Deadlines {
            resend: Duration::from_millis(50),
            ..Deadlines::default()
        };
        config
    }
}

/// Starts a peer with a TLS certificate of its own on a free port of the loopback interface.
pub(crate) async fn start(script: Script) -> Running {
    // More than one provider may be compiled in; whoever is first decides.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["peer0.example.com".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    let peer = FakePeer {
        script: Arc::new(Mutex::new(script)),
        asked: Arc::default(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tls =
        ServerTlsConfig::new().identity(Identity::from_pem(&certificate, key.serialize_pem()));
    let server = Server::builder()
        .tls_config(tls)
        .unwrap()
        .add_service(GatewayServer::new(peer.clone()).max_encoding_message_size(usize::MAX))
        .add_service(DeliverServer::new(peer.clone()))
        .serve_with_incoming(TcpListenerStream::new(listener));
    let task = tokio::spawn(async move { server.await.unwrap() });
    Running {
        peer,
        address,
        root_pem: certificate,
        task,
    }
}

/// An identity with a certificate signed by itself; the fake peer does not judge it.
pub(crate) fn identity() -> SigningIdentity {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(Vec::new())
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let msp_id = MspId::parse("Org1MSP").unwrap();
    let (certificate, key) = (certificate.pem(), key.serialize_pem());
    SigningIdentity::from_pem(msp_id, certificate.as_bytes(), key.as_bytes()).unwrap()
}

async fn give<T>(answer: Option<Answer<T>>) -> Result<T, Status> {
    match answer {
        Some(Answer::Is(value)) => Ok(value),
        Some(Answer::Fails(status)) => Err(status),
        Some(Answer::Hangs) => std::future::pending().await,
        None => Err(Status::internal("the script has no such answer")),
    }
}

/// A scripted stream; one without a failure at its end stays open.
fn open<T: Send + 'static>(
    items: Option<Vec<Result<T, Status>>>,
) -> Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>> {
    let items = items.unwrap_or_default();
    if items.last().is_some_and(Result::is_err) {
        return Box::pin(stream::iter(items));
    }
    Box::pin(stream::iter(items).chain(stream::pending()))
}

#[tonic::async_trait]
impl GatewayService for FakePeer {
    async fn evaluate(
        &self,
        request: Request<EvaluateRequest>,
    ) -> Result<Response<EvaluateResponse>, Status> {
        self.asked
            .lock()
            .unwrap()
            .evaluate
            .push(request.into_inner());
        let answer = self.script.lock().unwrap().evaluate.pop_front();
        let payload = give(answer).await?;
        let result = ChaincodeResponse {
            status: 200,
            payload,
            ..ChaincodeResponse::default()
        };
        Ok(Response::new(EvaluateResponse {
            result: Some(result),
        }))
    }

    async fn endorse(
        &self,
        request: Request<EndorseRequest>,
    ) -> Result<Response<EndorseResponse>, Status> {
        self.asked
            .lock()
            .unwrap()
            .endorse
            .push(request.into_inner());
        let answer = self.script.lock().unwrap().endorse.pop_front();
        let prepared = envelope(&give(answer).await?);
        Ok(Response::new(EndorseResponse {
            prepared_transaction: Some(prepared),
        }))
    }

    async fn submit(
        &self,
        request: Request<SubmitRequest>,
    ) -> Result<Response<SubmitResponse>, Status> {
        self.asked.lock().unwrap().submit.push(request.into_inner());
        let answer = self.script.lock().unwrap().submit.pop_front();
        give(answer).await?;
        Ok(Response::new(SubmitResponse {}))
    }

    async fn commit_status(
        &self,
        request: Request<SignedCommitStatusRequest>,
    ) -> Result<Response<CommitStatusResponse>, Status> {
        let signed = request.into_inner();
        let inside = CommitStatusRequest::decode(signed.request.as_slice()).unwrap();
        self.asked
            .lock()
            .unwrap()
            .commit_status
            .push((signed, inside));
        let answer = self.script.lock().unwrap().commit_status.pop_front();
        let (result, block_number) = give(answer).await?;
        Ok(Response::new(CommitStatusResponse {
            result,
            block_number,
        }))
    }

    type ChaincodeEventsStream =
        Pin<Box<dyn Stream<Item = Result<ChaincodeEventsResponse, Status>> + Send>>;

    async fn chaincode_events(
        &self,
        request: Request<SignedChaincodeEventsRequest>,
    ) -> Result<Response<Self::ChaincodeEventsStream>, Status> {
        let signed = request.into_inner();
        let inside = ChaincodeEventsRequest::decode(signed.request.as_slice()).unwrap();
        self.asked.lock().unwrap().events.push((signed, inside));
        Ok(Response::new(open(
            self.script.lock().unwrap().events.pop_front(),
        )))
    }
}

type Blocks = Pin<Box<dyn Stream<Item = Result<DeliverResponse, Status>> + Send>>;

impl FakePeer {
    async fn blocks(
        &self,
        request: Request<Streaming<Envelope>>,
    ) -> Result<Response<Blocks>, Status> {
        let envelope = request.into_inner().message().await?.unwrap();
        self.asked.lock().unwrap().blocks.push(envelope);
        Ok(Response::new(open(
            self.script.lock().unwrap().blocks.pop_front(),
        )))
    }
}

#[tonic::async_trait]
impl Deliver for FakePeer {
    type DeliverStream = Blocks;
    type DeliverFilteredStream = Blocks;
    type DeliverWithPrivateDataStream = Blocks;

    async fn deliver(
        &self,
        request: Request<Streaming<Envelope>>,
    ) -> Result<Response<Blocks>, Status> {
        self.blocks(request).await
    }

    async fn deliver_filtered(
        &self,
        request: Request<Streaming<Envelope>>,
    ) -> Result<Response<Blocks>, Status> {
        self.blocks(request).await
    }

    async fn deliver_with_private_data(
        &self,
        request: Request<Streaming<Envelope>>,
    ) -> Result<Response<Blocks>, Status> {
        self.blocks(request).await
    }
}
