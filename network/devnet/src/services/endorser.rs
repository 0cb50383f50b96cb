//! `protos.Endorser`: one peer's answer to one proposal.

use std::sync::Arc;

use fabric_protos::protos::endorser_server::Endorser;
use fabric_protos::protos::{ProposalResponse, SignedProposal};
use tonic::{Request, Response, Status};

use super::Shared;
use crate::endorser::{Answer, process};
use crate::peer::Peer;

#[derive(Clone, Debug)]
pub(crate) struct EndorserService {
    pub(crate) shared: Arc<Shared>,
    pub(crate) peer: Arc<Peer>,
}

#[tonic::async_trait]
impl Endorser for EndorserService {
    async fn process_proposal(
        &self,
        request: Request<SignedProposal>,
    ) -> Result<Response<ProposalResponse>, Status> {
        let window = self.shared.time_window;
        match process(&self.peer, request.get_ref(), window).await {
            Answer::Response(response) => Ok(Response::new(*response)),
            Answer::Refused(text) | Answer::Filtered(text) => Err(Status::unknown(text)),
        }
    }
}
