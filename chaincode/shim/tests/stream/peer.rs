//! The peer's side of the stream, message by message.

use std::net::SocketAddr;

use fabric_protos::{
    common::{ChannelHeader, Header, HeaderType, SignatureHeader},
    protos::{
        ChaincodeAdditionalParams, ChaincodeId, ChaincodeInput, ChaincodeMessage,
        ChaincodeProposalPayload, Proposal, Response, SignedProposal,
        chaincode_client::ChaincodeClient, chaincode_message::Type,
    },
};
use fabric_shim::{Chaincode, Limits, Server, ServerConfig};
use prost::Message;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Status, Streaming,
    transport::{Channel, Endpoint},
};

use crate::probe::Probe;

pub(crate) const MESSAGE_BYTES: usize = 100 << 20;

/// A chaincode server in this process.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) done: JoinHandle<()>,
}

pub(crate) async fn serve(limits: Limits, probe: Probe) -> Running {
    let mut config = ServerConfig::new(([127, 0, 0, 1], 0).into(), "label:hash");
    config.limits = limits;
    serve_with(config, probe).await
}

pub(crate) async fn serve_with(config: ServerConfig, probe: Probe) -> Running {
    let chaincode = Chaincode::new().with(probe);
    let server = Server::bind(config, chaincode).await.unwrap();
    let address = server.local_addr();
    let (stop, stopped) = oneshot::channel::<()>();
    let done = tokio::spawn(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        server.serve(stopped).await.unwrap();
    });
    Running {
        address,
        stop,
        done,
    }
}

/// A peer's end of one stream.
pub(crate) struct Peer {
    outbound: mpsc::Sender<ChaincodeMessage>,
    inbound: Streaming<ChaincodeMessage>,
}

impl Peer {
    pub(crate) async fn dial(address: SocketAddr) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        let channel = endpoint.tcp_nodelay(true).connect().await.unwrap();
        Self::over(channel).await.unwrap()
    }

    pub(crate) async fn over(channel: Channel) -> Result<Self, Status> {
        let mut client = ChaincodeClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES)
            .max_encoding_message_size(MESSAGE_BYTES);
        let (outbound, receiver) = mpsc::channel(64);
        let response = client.connect(ReceiverStream::new(receiver)).await?;
        Ok(Self {
            outbound,
            inbound: response.into_inner(),
        })
    }

    /// A peer of before 3.1, past the handshake.
    pub(crate) async fn old(address: SocketAddr) -> Self {
        let mut peer = Self::dial(address).await;
        peer.handshake(vec![]).await;
        peer
    }

    /// A peer of 3.1 or later, past the handshake.
    pub(crate) async fn new(address: SocketAddr) -> Self {
        let mut peer = Self::dial(address).await;
        let params = ChaincodeAdditionalParams {
            use_write_batch: true,
            max_size_write_batch: 100,
            use_get_multiple_keys: true,
            max_size_get_multiple_keys: 100,
        };
        peer.handshake(params.encode_to_vec()).await;
        peer
    }

    pub(crate) async fn expect_register(&mut self) {
        let register = self.next().await;
        assert_eq!(register.r#type(), Type::Register);
        let id = ChaincodeId::decode(register.payload.as_slice()).unwrap();
        assert_eq!(id.name, "label:hash");
    }

    pub(crate) async fn handshake(&mut self, params: Vec<u8>) {
        self.expect_register().await;
        self.send(Type::Registered, "", vec![]).await;
        self.send(Type::Ready, "", params).await;
    }

    pub(crate) async fn send(&self, kind: Type, tx_id: &str, payload: Vec<u8>) {
        let message = ChaincodeMessage {
            r#type: kind.into(),
            payload,
            txid: tx_id.to_owned(),
            channel_id: "ch".to_owned(),
            ..ChaincodeMessage::default()
        };
        self.outbound.send(message).await.unwrap();
    }

    pub(crate) async fn respond(&self, tx_id: &str, message: &impl Message) {
        self.send(Type::Response, tx_id, message.encode_to_vec())
            .await;
    }

    /// Starts a transaction that calls a function of the probe.
    pub(crate) async fn invoke(&self, tx_id: &str, args: &[&str]) {
        let input = input(args);
        self.send(Type::Transaction, tx_id, input.encode_to_vec())
            .await;
    }

    pub(crate) async fn init(&self, tx_id: &str, args: &[&str]) {
        self.send(Type::Init, tx_id, input(args).encode_to_vec())
            .await;
    }

    /// Starts a transaction with a signed proposal.
    pub(crate) async fn invoke_proposed(
        &self,
        tx_id: &str,
        args: &[&str],
        proposal: SignedProposal,
    ) {
        let message = ChaincodeMessage {
            r#type: Type::Transaction.into(),
            payload: input(args).encode_to_vec(),
            txid: tx_id.to_owned(),
            channel_id: "ch".to_owned(),
            proposal: Some(proposal),
            ..ChaincodeMessage::default()
        };
        self.outbound.send(message).await.unwrap();
    }

    pub(crate) async fn next(&mut self) -> ChaincodeMessage {
        self.inbound
            .message()
            .await
            .unwrap()
            .expect("the stream goes on")
    }

    /// The next message, which is of this type and transaction.
    pub(crate) async fn expect(&mut self, kind: Type, tx_id: &str) -> Vec<u8> {
        let message = self.next().await;
        assert_eq!((message.r#type(), message.txid.as_str()), (kind, tx_id));
        assert_eq!(message.channel_id, "ch");
        message.payload
    }

    pub(crate) async fn request<M: Message + Default>(&mut self, kind: Type, tx_id: &str) -> M {
        M::decode(self.expect(kind, tx_id).await.as_slice()).unwrap()
    }

    /// The response in the next message, which completes this transaction.
    pub(crate) async fn completed(&mut self, tx_id: &str) -> Response {
        self.request(Type::Completed, tx_id).await
    }

    /// The end of the stream, as the chaincode made it.
    pub(crate) async fn end(&mut self) -> Result<Option<ChaincodeMessage>, Status> {
        self.inbound.message().await
    }

    /// Has the chaincode echo a message: what it had to send before is before it.
    pub(crate) async fn is_quiet(&mut self) {
        self.send(Type::Keepalive, "", b"echo".to_vec()).await;
        assert_eq!(self.expect(Type::Keepalive, "").await, b"echo");
    }
}

fn input(args: &[&str]) -> ChaincodeInput {
    ChaincodeInput {
        args: args.iter().map(|arg| arg.as_bytes().to_vec()).collect(),
        ..ChaincodeInput::default()
    }
}

/// A proposal as a client makes it, apart from the signature.
pub(crate) fn proposal(creator: &[u8], transient: &[(&str, &str)]) -> SignedProposal {
    let channel = ChannelHeader {
        r#type: HeaderType::EndorserTransaction.into(),
        timestamp: Some(prost_types::Timestamp {
            seconds: 1_700_000_000,
            nanos: 7,
        }),
        channel_id: "ch".to_owned(),
        ..ChannelHeader::default()
    };
    let signature = SignatureHeader {
        creator: creator.to_vec(),
        nonce: b"nonce".to_vec(),
    };
    let header = Header {
        channel_header: channel.encode_to_vec(),
        signature_header: signature.encode_to_vec(),
    };
    let transient = transient.iter();
    let payload = ChaincodeProposalPayload {
        transient_map: transient
            .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
            .collect(),
        ..ChaincodeProposalPayload::default()
    };
    let proposal = Proposal {
        header: header.encode_to_vec(),
        payload: payload.encode_to_vec(),
        ..Proposal::default()
    };
    SignedProposal {
        proposal_bytes: proposal.encode_to_vec(),
        signature: b"signature".to_vec(),
    }
}
