//! Truncated and malformed messages at every gRPC service of the embedded network: each is
//! refused, none stops it from serving. Real Fabric is asked the same, so that
//! what is demanded here is what Fabric does.

mod service;

use std::{fs, time::SystemTime};

use contract_interface::names;
use fabric_gateway::{Call, Endpoint, Gateway, GatewayConfig};
use fabric_msp::SigningIdentity;
use fabric_protos::{
    common::{self, ChannelHeader, Envelope, Header, HeaderType, Payload, SignatureHeader},
    gateway::{
        ChaincodeEventsRequest, CommitStatusRequest, CommitStatusResponse, EndorseRequest,
        EndorseResponse, EvaluateRequest, SignedChaincodeEventsRequest, SignedCommitStatusRequest,
        SubmitRequest,
    },
    orderer::{BroadcastResponse, SeekInfo, SeekOldest, SeekPosition, seek_position},
    protos::{self, SignedProposal},
};
use prost::Message;
use salus_tests::{
    binaries,
    network::{Kind, NetworkInfo},
    system::CHAINCODE,
};
use tonic::transport::Channel;

use crate::support::WithoutOracle;
use service::{Service, connect, cuts};

/// The status of a Fabric stream's last message when all is well.
const SUCCESS: i32 = common::Status::Success as i32;

#[tokio::test]
async fn malformed_protobuf_is_refused_by_the_embedded_network() {
    refused_and_goes_on(Kind::Devnet).await;
}

#[tokio::test]
async fn malformed_protobuf_is_refused_by_real_fabric() {
    let missing = binaries::missing(&binaries::FABRIC_PROGRAMS);
    if !missing.is_empty() {
        return binaries::report_skipped("malformed_protobuf_is_refused_by_real_fabric", &missing);
    }
    refused_and_goes_on(Kind::Fabric).await;
}

async fn refused_and_goes_on(kind: Kind) {
    let dir = tempfile::tempdir().unwrap();
    let running = WithoutOracle::start(kind, dir.path()).await;

    let client = WireClient::new(running.network.info());
    client.evaluate().await;
    client.process_proposal().await;
    let envelope = client.endorse().await;
    client.broadcast(&envelope).await;
    client.submit(&envelope).await;
    client.deliver().await;
    client.commit_status().await;
    client.chaincode_events().await;

    let providers = running.ledger.providers().await.unwrap();
    assert_eq!(providers.len(), 1);
    assert_eq!(providers[0].participant_id, running.provider);
    running.stop().await;
}

/// A client of the first organisation that can send any bytes.
struct WireClient {
    channel_id: String,
    identity: SigningIdentity,
    peer: Channel,
    orderer: Channel,
    gateway: Gateway,
}

impl WireClient {
    fn new(info: &NetworkInfo) -> Self {
        let organization = &info.organizations[0];
        let identity = || {
            let msp_id = organization.msp_id.parse().unwrap();
            SigningIdentity::from_msp_dir(msp_id, &organization.admin_msp_dir).unwrap()
        };
        let roots = fs::read(&organization.peer.tls_ca_file).unwrap();
        let endpoint = Endpoint::new(&organization.peer.address);
        let endpoint = endpoint.server_name(&organization.peer.server_name);
        Self {
            channel_id: info.channel.clone(),
            identity: identity(),
            peer: connect(&organization.peer),
            orderer: connect(&info.orderer),
            gateway: Gateway::connect(GatewayConfig::new([endpoint], roots), identity()).unwrap(),
        }
    }

    /// A proposal to list the participants.
    fn proposal(&self) -> Vec<u8> {
        let call = Call::new(names::transactions::LIST_PARTICIPANTS).argument("{}");
        let contract = self.gateway.network(&self.channel_id).contract(CHAINCODE);
        contract.prepare(call).bytes().to_vec()
    }

    fn signed(&self, proposal_bytes: &[u8]) -> SignedProposal {
        SignedProposal {
            proposal_bytes: proposal_bytes.to_vec(),
            signature: self.identity.sign(proposal_bytes).unwrap(),
        }
    }

    fn envelope(&self, payload: &[u8]) -> Vec<u8> {
        let envelope = Envelope {
            payload: payload.to_vec(),
            signature: self.identity.sign(payload).unwrap(),
        };
        envelope.encode_to_vec()
    }

    async fn evaluate(&self) {
        let request = |proposal: &[u8]| {
            let request = EvaluateRequest {
                channel_id: self.channel_id.clone(),
                proposed_transaction: Some(self.signed(proposal)),
                ..EvaluateRequest::default()
            };
            request.encode_to_vec()
        };
        let proposal = self.proposal();
        let service = Service::unary(&self.peer, "/gateway.Gateway/Evaluate");
        service.refuses_parts_of(&request(&proposal)).await;
        for cut in cuts(proposal.len()) {
            service.refuses(&request(&proposal[..cut])).await;
        }
        service.takes(&request(&proposal)).await;
    }

    async fn process_proposal(&self) {
        let proposal = self.proposal();
        let service = Service::unary(&self.peer, "/protos.Endorser/ProcessProposal");
        let whole = self.signed(&proposal).encode_to_vec();
        service.refuses_parts_of(&whole).await;
        for cut in cuts(proposal.len()) {
            let part = self.signed(&proposal[..cut]).encode_to_vec();
            service.refuses(&part).await;
        }
        service.takes(&whole).await;
    }

    /// Returns the payload of the transaction that was endorsed in the end.
    async fn endorse(&self) -> Vec<u8> {
        let request = |proposal: &[u8]| {
            let request = EndorseRequest {
                channel_id: self.channel_id.clone(),
                proposed_transaction: Some(self.signed(proposal)),
                ..EndorseRequest::default()
            };
            request.encode_to_vec()
        };
        let proposal = self.proposal();
        let service = Service::unary(&self.peer, "/gateway.Gateway/Endorse");
        service.refuses_parts_of(&request(&proposal)).await;
        for cut in cuts(proposal.len()) {
            service.refuses(&request(&proposal[..cut])).await;
        }
        let answer = service.takes(&request(&proposal)).await;
        let endorsed = EndorseResponse::decode(&*answer).unwrap();
        endorsed.prepared_transaction.unwrap().payload
    }

    async fn broadcast(&self, payload: &[u8]) {
        let service = Service {
            channel: &self.orderer,
            path: "/orderer.AtomicBroadcast/Broadcast",
            is_success: |answer| BroadcastResponse::decode(answer).unwrap().status == SUCCESS,
        };
        let whole = self.envelope(payload);
        service.refuses_parts_of(&whole).await;
        for part in parts_of_payload(payload) {
            service.refuses(&self.envelope(part)).await;
        }
        service.takes(&whole).await;
    }

    async fn submit(&self, payload: &[u8]) {
        let request = |payload: &[u8]| {
            let envelope = Envelope::decode(&*self.envelope(payload)).unwrap();
            let request = SubmitRequest {
                transaction_id: "of no consequence".to_owned(),
                channel_id: self.channel_id.clone(),
                prepared_transaction: Some(envelope),
            };
            request.encode_to_vec()
        };
        let service = Service::unary(&self.peer, "/gateway.Gateway/Submit");
        service.refuses_parts_of(&request(payload)).await;
        for part in parts_of_payload(payload) {
            service.refuses(&request(part)).await;
        }
        service.takes(&request(payload)).await;
    }

    async fn deliver(&self) {
        let payload = self.seek_first_block();
        let whole = self.envelope(&payload);
        let of_peer: fn(&[u8]) -> bool = |answer| {
            let kind = protos::DeliverResponse::decode(answer).unwrap().r#type;
            use protos::deliver_response::Type::Status;
            !matches!(kind, Some(Status(status)) if status != SUCCESS)
        };
        let of_orderer: fn(&[u8]) -> bool = |answer| {
            let kind = fabric_protos::orderer::DeliverResponse::decode(answer);
            use fabric_protos::orderer::deliver_response::Type::Status;
            !matches!(kind.unwrap().r#type, Some(Status(status)) if status != SUCCESS)
        };
        for (channel, path, is_success) in [
            (&self.peer, "/protos.Deliver/Deliver", of_peer),
            (&self.peer, "/protos.Deliver/DeliverFiltered", of_peer),
            (
                &self.orderer,
                "/orderer.AtomicBroadcast/Deliver",
                of_orderer,
            ),
        ] {
            let service = Service {
                channel,
                path,
                is_success,
            };
            service.refuses_parts_of(&whole).await;
            for cut in cuts(payload.len()) {
                service.refuses(&self.envelope(&payload[..cut])).await;
            }
            service.takes(&whole).await;
        }
    }

    /// Asks about a transaction of its own, which goes through as before.
    async fn commit_status(&self) {
        let contract = self.gateway.network(&self.channel_id).contract(CHAINCODE);
        let call = Call::new(names::transactions::LIST_PARTICIPANTS).argument("{}");
        let committed = contract.submit(call).await.unwrap();
        let request = CommitStatusRequest {
            transaction_id: committed.transaction_id.clone(),
            channel_id: self.channel_id.clone(),
            identity: self.identity.serialized(),
        }
        .encode_to_vec();
        let signed = |request: &[u8]| {
            let signed = SignedCommitStatusRequest {
                request: request.to_vec(),
                signature: self.identity.sign(request).unwrap(),
            };
            signed.encode_to_vec()
        };
        let service = Service::unary(&self.peer, "/gateway.Gateway/CommitStatus");
        service.refuses_parts_of(&signed(&request)).await;
        for cut in cuts(request.len()) {
            service.refuses(&signed(&request[..cut])).await;
        }
        let answer = service.takes(&signed(&request)).await;
        let status = CommitStatusResponse::decode(&*answer).unwrap();
        assert_eq!(status.block_number, committed.block_number);
    }

    /// Only refusals: a stream of events that is taken does not end.
    async fn chaincode_events(&self) {
        let request = ChaincodeEventsRequest {
            channel_id: self.channel_id.clone(),
            chaincode_id: CHAINCODE.to_owned(),
            identity: self.identity.serialized(),
            ..ChaincodeEventsRequest::default()
        }
        .encode_to_vec();
        let signed = |request: &[u8]| {
            let signed = SignedChaincodeEventsRequest {
                request: request.to_vec(),
                signature: self.identity.sign(request).unwrap(),
            };
            signed.encode_to_vec()
        };
        let service = Service::unary(&self.peer, "/gateway.Gateway/ChaincodeEvents");
        service.refuses_parts_of(&signed(&request)).await;
        for cut in cuts(request.len()) {
            service.refuses(&signed(&request[..cut])).await;
        }
    }

    /// The payload of a request for the channel's first block.
    fn seek_first_block(&self) -> Vec<u8> {
        let oldest = SeekPosition {
            r#type: Some(seek_position::Type::Oldest(SeekOldest {})),
        };
        let seek = SeekInfo {
            start: Some(oldest),
            stop: Some(oldest),
            ..SeekInfo::default()
        };
        let channel_header = ChannelHeader {
            r#type: HeaderType::DeliverSeekInfo.into(),
            channel_id: self.channel_id.clone(),
            timestamp: Some(SystemTime::now().into()),
            ..ChannelHeader::default()
        };
        let signature_header = SignatureHeader {
            creator: self.identity.serialized(),
            nonce: vec![7; 24],
        };
        let payload = Payload {
            header: Some(Header {
                channel_header: channel_header.encode_to_vec(),
                signature_header: signature_header.encode_to_vec(),
            }),
            data: seek.encode_to_vec(),
        };
        payload.encode_to_vec()
    }
}

/// Cut-off payloads that an orderer must refuse. It does not look at a transaction's data, so one
/// that ends exactly where the data begins would be ordered, here as on Fabric.
fn parts_of_payload(payload: &[u8]) -> [&[u8]; 4] {
    let length = payload.len();
    [0, 1, length / 2, length - 1].map(|cut| &payload[..cut])
}
