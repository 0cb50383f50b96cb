//! `gateway.Gateway`: one peer's help with the whole transaction flow.

mod diff;
mod endorse;
mod evaluate;
mod events;
mod plan;
mod status;

use std::sync::Arc;

use fabric_protos::gateway::gateway_server::Gateway;
use fabric_protos::gateway::{
    ChaincodeEventsResponse, CommitStatusRequest, CommitStatusResponse, EndorseRequest,
    EndorseResponse, EvaluateRequest, EvaluateResponse, SignedChaincodeEventsRequest,
    SignedCommitStatusRequest, SubmitRequest, SubmitResponse,
};
use prost::Message;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status};

use super::Shared;
use crate::endorser::{Answer, process};
use crate::peer::Peer;
use crate::policy::SignedData;
use fabric_protos::protos::SignedProposal;
use status::{detail, detailed};

/// The gateway of one peer.
#[derive(Clone, Debug)]
pub(crate) struct GatewayService {
    pub(crate) shared: Arc<Shared>,
    pub(crate) local: Arc<Peer>,
}

#[tonic::async_trait]
impl Gateway for GatewayService {
    type ChaincodeEventsStream = ReceiverStream<Result<ChaincodeEventsResponse, Status>>;

    async fn endorse(
        &self,
        request: Request<EndorseRequest>,
    ) -> Result<Response<EndorseResponse>, Status> {
        endorse::endorse(self, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn submit(
        &self,
        request: Request<SubmitRequest>,
    ) -> Result<Response<SubmitResponse>, Status> {
        self.submit_envelope(request.into_inner())
            .await
            .map(Response::new)
    }

    async fn commit_status(
        &self,
        request: Request<SignedCommitStatusRequest>,
    ) -> Result<Response<CommitStatusResponse>, Status> {
        self.status_of(request.into_inner())
            .await
            .map(Response::new)
    }

    async fn evaluate(
        &self,
        request: Request<EvaluateRequest>,
    ) -> Result<Response<EvaluateResponse>, Status> {
        evaluate::evaluate(self, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn chaincode_events(
        &self,
        request: Request<SignedChaincodeEventsRequest>,
    ) -> Result<Response<Self::ChaincodeEventsStream>, Status> {
        events::stream(self, &request.into_inner()).map(Response::new)
    }
}

impl GatewayService {
    async fn process(&self, peer: &Peer, proposal: &SignedProposal) -> Answer {
        process(peer, proposal, self.shared.time_window).await
    }

    async fn submit_envelope(&self, request: SubmitRequest) -> Result<SubmitResponse, Status> {
        let envelope = request
            .prepared_transaction
            .ok_or_else(|| Status::invalid_argument("a prepared transaction is required"))?;
        if envelope.signature.is_empty() {
            return Err(Status::invalid_argument(
                "prepared transaction must be signed",
            ));
        }
        let channel = &request.channel_id;
        if channel != self.shared.channel.channel_id() {
            return Err(Status::failed_precondition(format!(
                "failed to get config for channel [{channel}]: could not get last config for channel {channel}"
            )));
        }
        let Err(rejection) = self.shared.orderer.order(&envelope).await else {
            return Ok(SubmitResponse {});
        };
        let code = i32::from(rejection.status);
        let text = format!(
            "received unsuccessful response from orderer: status={}, info={}",
            rejection.status.as_str_name(),
            rejection.info
        );
        let shared = &self.shared;
        if (400..500).contains(&code) {
            return Err(Status::aborted(text));
        }
        let detail = detail(&shared.orderer_address, &shared.orderer_msp_id, &text);
        let message = "no orderers could successfully process transaction";
        Err(detailed(Code::Unavailable, message, &[detail]))
    }

    async fn status_of(
        &self,
        signed: SignedCommitStatusRequest,
    ) -> Result<CommitStatusResponse, Status> {
        if signed.request.is_empty() {
            return Err(Status::invalid_argument(
                "a commit status request is required",
            ));
        }
        let request = CommitStatusRequest::decode(signed.request.as_slice()).map_err(|error| {
            Status::invalid_argument(format!("invalid status request: {error}"))
        })?;
        let missing = match &request {
            request if request.identity.is_empty() => Some("no identity provided"),
            request if request.channel_id.is_empty() => Some("no channel ID provided"),
            request if request.transaction_id.is_empty() => {
                Some("transaction ID should not be empty")
            }
            _ => None,
        };
        if let Some(text) = missing {
            return Err(Status::invalid_argument(text));
        }
        let identity = request.identity;
        self.check_readers(
            &request.channel_id,
            signed.request,
            identity,
            signed.signature,
        )?;
        self.wait_for_commit(&request.transaction_id).await
    }

    /// An unknown transaction is waited for until the client gives up.
    async fn wait_for_commit(&self, tx_id: &str) -> Result<CommitStatusResponse, Status> {
        loop {
            // The height is read first: what commits after that wakes the wait below.
            let height = self.shared.channel.height();
            if let Some((code, block_number)) = self.shared.channel.transaction_status(tx_id) {
                return Ok(CommitStatusResponse {
                    result: code.into(),
                    block_number,
                });
            }
            if !self.shared.wait_for_height(height + 1).await {
                return Err(Status::unavailable("the network is shutting down"));
            }
        }
    }

    /// Whether a signed request comes from a reader of the channel.
    fn check_readers(
        &self,
        channel: &str,
        data: Vec<u8>,
        identity: Vec<u8>,
        signature: Vec<u8>,
    ) -> Result<(), Status> {
        const READERS: &str = "/Channel/Application/Readers";
        if channel != self.shared.channel.channel_id() {
            return Err(Status::permission_denied(format!(
                "Failed to get policy manager for channel [{channel}]"
            )));
        }
        let signed = SignedData {
            data,
            identity,
            signature,
        };
        let allowed = self.shared.channel.config().evaluate(READERS, &[signed]);
        allowed.map_err(|error| {
            Status::permission_denied(format!(
                "Failed evaluating policy on signed data during check policy on channel [{channel}] with policy [{READERS}]: [{error}]"
            ))
        })
    }
}
