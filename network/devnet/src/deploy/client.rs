//! One organisation's admin as a client of its peer.

use fabric_msp::{MspId, SigningIdentity};
use fabric_protos::common::{ChannelHeader, Header, HeaderType, SignatureHeader};
use fabric_protos::gateway::gateway_client::GatewayClient;
use fabric_protos::gateway::{
    CommitStatusRequest, EndorseRequest, ErrorDetail, SignedCommitStatusRequest, SubmitRequest,
};
use fabric_protos::google::rpc;
use fabric_protos::protos::endorser_client::EndorserClient;
use fabric_protos::protos::{
    ChaincodeAction, ChaincodeActionPayload, ChaincodeHeaderExtension, ChaincodeId, ChaincodeInput,
    ChaincodeInvocationSpec, ChaincodeProposalPayload, ChaincodeSpec, Proposal,
    ProposalResponsePayload, Response, SignedProposal, Transaction, TxValidationCode,
};
use prost::Message;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use super::DeployError;
use crate::description::OrganizationDescription;
use crate::ledger::transaction_id;
use crate::lifecycle::LIFECYCLE;
use crate::services::unix_now;

/// Bytes of a transaction's nonce, as official clients use.
const NONCE_BYTES: usize = 24;
const NOT_FOUND: i32 = 404;

/// An admin who talks to the peer of its organisation.
#[derive(Debug)]
pub(super) struct Admin {
    channel_id: String,
    msp_id: String,
    address: String,
    signer: SigningIdentity,
    endorser: EndorserClient<Channel>,
    gateway: GatewayClient<Channel>,
}

impl Admin {
    pub(super) fn connect(
        channel_id: &str,
        organization: &OrganizationDescription,
    ) -> Result<Self, DeployError> {
        let peer = &organization.peer;
        let msp_id = &organization.msp_id;
        let identity = |source| DeployError::Identity {
            msp_id: msp_id.clone(),
            source,
        };
        let id = MspId::parse(msp_id).map_err(|error| identity(error.into()))?;
        let signer = SigningIdentity::from_msp_dir(id, &organization.admin_msp_dir);
        let signer = signer.map_err(|error| identity(error.into()))?;
        let root = std::fs::read(&peer.tls_ca_file)?;
        let unreachable = |source| DeployError::Connect {
            address: peer.address.clone(),
            source,
        };
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(root))
            .domain_name(&peer.server_name);
        let endpoint = Endpoint::from_shared(format!("https://{}", peer.address));
        let endpoint = endpoint.and_then(|endpoint| endpoint.tcp_nodelay(true).tls_config(tls));
        let channel = endpoint.map_err(unreachable)?.connect_lazy();
        Ok(Self {
            channel_id: channel_id.to_owned(),
            msp_id: msp_id.clone(),
            address: peer.address.clone(),
            signer,
            endorser: EndorserClient::new(channel.clone()),
            gateway: GatewayClient::new(channel),
        })
    }

    pub(super) fn msp_id(&self) -> &str {
        &self.msp_id
    }

    /// Asks about the channel; none when the peer answers "not found".
    pub(super) async fn query<R: Message + Default>(
        &mut self,
        function: &str,
        arguments: &impl Message,
    ) -> Result<Option<R>, DeployError> {
        let channel = self.channel_id.clone();
        let response = self.propose(&channel, function, arguments).await?;
        self.result(function, response)
    }

    /// Asks about the channel; none whatever the peer's objection is.
    pub(super) async fn query_or_none<R: Message + Default>(
        &mut self,
        function: &str,
        arguments: &impl Message,
    ) -> Result<Option<R>, DeployError> {
        let channel = self.channel_id.clone();
        let response = self.propose(&channel, function, arguments).await?;
        if response.status >= NOT_FOUND {
            return Ok(None);
        }
        self.result(function, response)
    }

    /// Asks the peer itself, outside any channel.
    pub(super) async fn query_peer<R: Message + Default>(
        &mut self,
        function: &str,
        arguments: &impl Message,
    ) -> Result<Option<R>, DeployError> {
        let response = self.propose("", function, arguments).await?;
        self.result(function, response)
    }

    fn result<R: Message + Default>(
        &self,
        function: &str,
        response: Response,
    ) -> Result<Option<R>, DeployError> {
        match response.status {
            200 => Ok(Some(R::decode(response.payload.as_slice())?)),
            NOT_FOUND => Ok(None),
            _ => Err(self.failed(function, response.message, Vec::new())),
        }
    }

    async fn propose(
        &mut self,
        channel: &str,
        function: &str,
        arguments: &impl Message,
    ) -> Result<Response, DeployError> {
        let (proposal, _) = self.proposal(channel, function, arguments)?;
        let response = self.endorser.process_proposal(proposal).await;
        let response = response.map_err(|status| self.failed_call(function, &status))?;
        Ok(response.into_inner().response.unwrap_or_default())
    }

    /// Endorses at these organisations, submits, waits for the commit, gives the result.
    pub(super) async fn submit<R: Message + Default>(
        &mut self,
        function: &str,
        arguments: &impl Message,
        organizations: Vec<String>,
    ) -> Result<R, DeployError> {
        let channel = self.channel_id.clone();
        let (proposal, tx_id) = self.proposal(&channel, function, arguments)?;
        let request = EndorseRequest {
            transaction_id: tx_id.clone(),
            channel_id: channel.clone(),
            proposed_transaction: Some(proposal),
            endorsing_organizations: organizations,
        };
        let prepared = self.gateway.endorse(request).await;
        let prepared = prepared.map_err(|status| self.failed_call(function, &status))?;
        let mut envelope = prepared
            .into_inner()
            .prepared_transaction
            .unwrap_or_default();
        envelope.signature = self.signer.sign(&envelope.payload)?;
        let result = result_of(&envelope.payload)?;
        let request = SubmitRequest {
            transaction_id: tx_id.clone(),
            channel_id: channel.clone(),
            prepared_transaction: Some(envelope),
        };
        let submitted = self.gateway.submit(request).await;
        submitted.map_err(|status| self.failed_call(function, &status))?;
        self.wait_for_commit(function, channel, tx_id).await?;
        Ok(R::decode(result.as_slice())?)
    }

    async fn wait_for_commit(
        &mut self,
        function: &str,
        channel_id: String,
        transaction_id: String,
    ) -> Result<(), DeployError> {
        let request = CommitStatusRequest {
            transaction_id,
            channel_id,
            identity: self.signer.serialized(),
        };
        let request = request.encode_to_vec();
        let signature = self.signer.sign(&request)?;
        let signed = SignedCommitStatusRequest { request, signature };
        let status = self.gateway.commit_status(signed).await;
        let status = status.map_err(|status| self.failed_call(function, &status))?;
        let status = status.into_inner();
        match status.result() {
            TxValidationCode::Valid => Ok(()),
            code => Err(DeployError::Invalid {
                function: function.to_owned(),
                block: status.block_number,
                code: code.as_str_name(),
            }),
        }
    }

    fn proposal(
        &self,
        channel: &str,
        function: &str,
        arguments: &impl Message,
    ) -> Result<(SignedProposal, String), DeployError> {
        let mut nonce = vec![0; NONCE_BYTES];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| DeployError::Random)?;
        let creator = self.signer.serialized();
        let tx_id = transaction_id(&nonce, &creator);
        let chaincode_id = ChaincodeId {
            name: LIFECYCLE.to_owned(),
            ..ChaincodeId::default()
        };
        let now = unix_now();
        let channel_header = ChannelHeader {
            r#type: HeaderType::EndorserTransaction.into(),
            channel_id: channel.to_owned(),
            tx_id: tx_id.clone(),
            timestamp: Some(prost_types::Timestamp {
                seconds: i64::try_from(now.as_secs()).unwrap_or_default(),
                nanos: i32::try_from(now.subsec_nanos()).unwrap_or_default(),
            }),
            extension: ChaincodeHeaderExtension {
                chaincode_id: Some(chaincode_id.clone()),
            }
            .encode_to_vec(),
            ..ChannelHeader::default()
        };
        let header = Header {
            channel_header: channel_header.encode_to_vec(),
            signature_header: SignatureHeader { creator, nonce }.encode_to_vec(),
        };
        let spec = ChaincodeSpec {
            chaincode_id: Some(chaincode_id),
            input: Some(ChaincodeInput {
                args: vec![function.as_bytes().to_vec(), arguments.encode_to_vec()],
                ..ChaincodeInput::default()
            }),
            ..ChaincodeSpec::default()
        };
        let input = ChaincodeInvocationSpec {
            chaincode_spec: Some(spec),
        };
        let payload = ChaincodeProposalPayload {
            input: input.encode_to_vec(),
            ..ChaincodeProposalPayload::default()
        };
        let proposal = Proposal {
            header: header.encode_to_vec(),
            payload: payload.encode_to_vec(),
            ..Proposal::default()
        };
        let proposal_bytes = proposal.encode_to_vec();
        let signature = self.signer.sign(&proposal_bytes)?;
        let signed = SignedProposal {
            proposal_bytes,
            signature,
        };
        Ok((signed, tx_id))
    }

    fn failed_call(&self, function: &str, status: &tonic::Status) -> DeployError {
        let details = rpc::Status::decode(status.details())
            .unwrap_or_default()
            .details;
        let details = details.iter().filter_map(|any| {
            let detail = ErrorDetail::decode(any.value.as_slice()).ok()?;
            Some(format!(
                "{} ({}): {}",
                detail.address, detail.msp_id, detail.message
            ))
        });
        let details = details.collect();
        self.failed(function, status.message().to_owned(), details)
    }

    fn failed(&self, function: &str, message: String, details: Vec<String>) -> DeployError {
        DeployError::Call {
            function: function.to_owned(),
            address: self.address.clone(),
            message,
            details,
        }
    }
}

/// The chaincode's result inside a prepared transaction.
fn result_of(payload: &[u8]) -> Result<Vec<u8>, prost::DecodeError> {
    let payload = fabric_protos::common::Payload::decode(payload)?;
    let transaction = Transaction::decode(payload.data.as_slice())?;
    let action = transaction
        .actions
        .first()
        .map_or(&[][..], |action| &action.payload);
    let action = ChaincodeActionPayload::decode(action)?
        .action
        .unwrap_or_default();
    let response = ProposalResponsePayload::decode(action.proposal_response_payload.as_slice())?;
    let action = ChaincodeAction::decode(response.extension.as_slice())?;
    Ok(action.response.unwrap_or_default().payload)
}
