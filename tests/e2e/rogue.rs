//! Someone who breaks the rules: holds a certificate of the consortium and calls the contracts
//! without an oracle's program, with any content and at any time.

use contract_interface::{ErrorCode, Nonce, RequestBody, SignedRequest, UtcTime, canonical_json};
use fabric_gateway::{Call, Gateway, GatewayConfig, Network};
use fabric_msp::{SigningIdentity, jws};
use fabric_protos::{
    common::{ChannelHeader, Envelope, Header, Payload},
    gateway::{
        CommitStatusRequest, EndorseRequest, EvaluateRequest, SignedCommitStatusRequest,
        SubmitRequest, gateway_client::GatewayClient,
    },
    protos::{
        ChaincodeAction, ChaincodeActionPayload, Proposal, ProposalResponsePayload, SignedProposal,
        Transaction,
    },
};
use prost::Message as _;
use salus::signing;
use salus_tests::{consortium::Person, network::NetworkInfo, system::CHAINCODE};
use tonic::{
    Status,
    transport::{Certificate, Channel, ClientTlsConfig},
};

/// Longest message, bytes, as Fabric's peers have it.
const MAX_MESSAGE_BYTES: usize = 100 << 20;

/// Why a peer or contract refused.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    /// The contract's code, if it was the contract.
    pub(crate) code: Option<ErrorCode>,
    /// Everything that was said.
    pub(crate) text: String,
}

impl Refusal {
    fn new(text: String) -> Self {
        Self {
            code: ErrorCode::parse_message(&text).0,
            text,
        }
    }
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        let details = String::from_utf8_lossy(status.details()).into_owned();
        Self::new(format!("{} {details}", status.message()))
    }
}

/// A transaction that was ordered.
#[derive(Debug, Clone)]
pub(crate) struct Ordered {
    pub(crate) transaction_id: String,
    /// The validation code, 0 if it took effect.
    pub(crate) code: i32,
    /// What the contract answered.
    pub(crate) result: Vec<u8>,
}

impl Ordered {
    /// The contract's answer, of a transaction that took effect.
    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self) -> T {
        assert_eq!(self.code, 0, "{} is not valid", self.transaction_id);
        serde_json::from_slice(&self.result).unwrap()
    }
}

/// A transaction that peers have endorsed, before it goes to the orderer.
#[derive(Debug, Clone)]
pub(crate) struct Endorsed {
    transaction_id: String,
    proposal: SignedProposal,
    envelope: Envelope,
    result: Vec<u8>,
}

/// Someone with a certificate, at the peer of an organisation.
pub(crate) struct Rogue {
    pub(crate) identity: SigningIdentity,
    network: Network,
    peer: Channel,
    channel: String,
}

impl Rogue {
    /// Someone at the peer of organisation `number`.
    pub(crate) fn at(info: &NetworkInfo, number: usize, person: &Person) -> Self {
        Self::with(info, number, person.signing_identity().unwrap())
    }

    /// An identity at the peer of organisation `number`.
    pub(crate) fn with(info: &NetworkInfo, number: usize, identity: SigningIdentity) -> Self {
        let endpoint = &info.organizations[number].peer;
        let roots = std::fs::read(&endpoint.tls_ca_file).unwrap();
        let gateway_endpoint =
            fabric_gateway::Endpoint::new(&endpoint.address).server_name(&endpoint.server_name);
        let config = GatewayConfig::new([gateway_endpoint], roots.clone());
        let gateway = Gateway::connect(config, identity.clone()).unwrap();
        let tls = ClientTlsConfig::new()
            .domain_name(&endpoint.server_name)
            .ca_certificate(Certificate::from_pem(roots));
        let peer = Channel::from_shared(format!("https://{}", endpoint.address))
            .unwrap()
            .tls_config(tls)
            .unwrap()
            .connect_lazy();
        Self {
            identity,
            network: gateway.network(&info.channel),
            peer,
            channel: info.channel.clone(),
        }
    }

    /// The channel's name.
    pub(crate) fn channel(&self) -> &str {
        &self.channel
    }

    /// Signs a request, now, as somebody.
    pub(crate) fn sign<B: RequestBody>(&self, who: &SigningIdentity, body: B) -> String {
        self.sign_at(who, signing::now().unwrap(), body)
    }

    /// Signs a request with a time of one's own choice.
    pub(crate) fn sign_at<B: RequestBody>(
        &self,
        who: &SigningIdentity,
        iat: UtcTime,
        body: B,
    ) -> String {
        jws::sign(who, &self.payload(iat, body)).unwrap()
    }

    /// The payload of a signed request.
    pub(crate) fn payload<B: RequestBody>(&self, iat: UtcTime, body: B) -> Vec<u8> {
        let nonce = Nonce::from_bytes(&signing::random::<16>().unwrap()).unwrap();
        canonical_json(&SignedRequest::new(&self.channel, iat, nonce, body)).unwrap()
    }

    /// Asks the peer.
    pub(crate) async fn evaluate(&self, call: Call) -> Result<Vec<u8>, Refusal> {
        self.evaluate_at(call, None).await
    }

    /// Asks the peer with a proposal that says it was made at `seconds` since 1970.
    pub(crate) async fn evaluate_at(
        &self,
        call: Call,
        seconds: Option<i64>,
    ) -> Result<Vec<u8>, Refusal> {
        let (transaction_id, proposal) = self.proposal(call, seconds);
        let request = EvaluateRequest {
            transaction_id,
            channel_id: self.channel.clone(),
            proposed_transaction: Some(proposal),
            target_organizations: Vec::new(),
        };
        let answer = self.client().evaluate(request).await?.into_inner();
        Ok(answer.result.unwrap_or_default().payload)
    }

    /// Submits and waits for the block.
    pub(crate) async fn submit(&self, call: Call) -> Result<Ordered, Refusal> {
        self.submit_at(call, None).await
    }

    /// Submits a transaction that says it was made at `seconds` since 1970.
    pub(crate) async fn submit_at(
        &self,
        call: Call,
        seconds: Option<i64>,
    ) -> Result<Ordered, Refusal> {
        let endorsed = self.endorse_at(call, seconds).await?;
        self.order(endorsed).await
    }

    /// Has a transaction endorsed.
    pub(crate) async fn endorse_at(
        &self,
        call: Call,
        seconds: Option<i64>,
    ) -> Result<Endorsed, Refusal> {
        let salt: [u8; 32] = signing::random().unwrap();
        let call = call.transient(contract_interface::names::transient::SALT, salt);
        let (transaction_id, proposal) = self.proposal(call, seconds);
        self.endorse(transaction_id, proposal).await
    }

    /// Asks for the endorsement of a signed proposal that was endorsed before.
    pub(crate) async fn endorse_again(&self, endorsed: &Endorsed) -> Result<Endorsed, Refusal> {
        let Endorsed {
            transaction_id,
            proposal,
            ..
        } = endorsed.clone();
        self.endorse(transaction_id, proposal).await
    }

    async fn endorse(
        &self,
        transaction_id: String,
        proposal: SignedProposal,
    ) -> Result<Endorsed, Refusal> {
        let request = EndorseRequest {
            transaction_id: transaction_id.clone(),
            channel_id: self.channel.clone(),
            proposed_transaction: Some(proposal.clone()),
            endorsing_organizations: Vec::new(),
        };
        let answer = self.client().endorse(request).await?.into_inner();
        let payload = answer.prepared_transaction.unwrap().payload;
        let signature = self.identity.sign(&payload).unwrap();
        Ok(Endorsed {
            result: result(&payload),
            envelope: Envelope { payload, signature },
            transaction_id,
            proposal,
        })
    }

    /// Has an endorsed transaction ordered, and waits for its block.
    pub(crate) async fn order(&self, endorsed: Endorsed) -> Result<Ordered, Refusal> {
        let transaction_id = endorsed.transaction_id;
        let submit = SubmitRequest {
            transaction_id: transaction_id.clone(),
            channel_id: self.channel.clone(),
            prepared_transaction: Some(endorsed.envelope),
        };
        self.client().submit(submit).await?;
        let request = CommitStatusRequest {
            transaction_id: transaction_id.clone(),
            channel_id: self.channel.clone(),
            identity: self.identity.serialized(),
        }
        .encode_to_vec();
        let signature = self.identity.sign(&request).unwrap();
        let status = SignedCommitStatusRequest { request, signature };
        let status = self.client().commit_status(status).await?.into_inner();
        Ok(Ordered {
            transaction_id,
            code: status.result,
            result: endorsed.result,
        })
    }

    fn client(&self) -> GatewayClient<Channel> {
        GatewayClient::new(self.peer.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// A signed proposal. Its ID follows from nonce and creator only, so its time can be changed.
    fn proposal(&self, call: Call, seconds: Option<i64>) -> (String, SignedProposal) {
        let prepared = self.network.contract(CHAINCODE).prepare(call);
        let mut proposal = Proposal::decode(prepared.bytes()).unwrap();
        if let Some(seconds) = seconds {
            let mut header = Header::decode(&*proposal.header).unwrap();
            let mut channel_header = ChannelHeader::decode(&*header.channel_header).unwrap();
            channel_header.timestamp = Some(prost_types::Timestamp { seconds, nanos: 0 });
            header.channel_header = channel_header.encode_to_vec();
            proposal.header = header.encode_to_vec();
        }
        let proposal_bytes = proposal.encode_to_vec();
        let signature = self.identity.sign(&proposal_bytes).unwrap();
        let signed = SignedProposal {
            proposal_bytes,
            signature,
        };
        (prepared.transaction_id().to_owned(), signed)
    }
}

/// The contract's answer inside an endorsed transaction.
fn result(payload: &[u8]) -> Vec<u8> {
    let payload = Payload::decode(payload).unwrap();
    let transaction = Transaction::decode(&*payload.data).unwrap();
    let action = ChaincodeActionPayload::decode(&*transaction.actions[0].payload).unwrap();
    let endorsed = action.action.unwrap();
    let response = ProposalResponsePayload::decode(&*endorsed.proposal_response_payload).unwrap();
    let action = ChaincodeAction::decode(&*response.extension).unwrap();
    action.response.unwrap_or_default().payload
}
