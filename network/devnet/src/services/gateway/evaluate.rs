//! Evaluate: one peer runs the proposal, the result goes back, nothing is ordered.

use std::sync::Arc;

use fabric_protos::gateway::{EvaluateRequest, EvaluateResponse};
use fabric_protos::protos::{ChaincodeAction, ProposalResponse, ProposalResponsePayload, Response};
use prost::Message;
use tonic::{Code, Status};

use super::GatewayService;
use super::status::{detailed, judge, peer_detail};
use crate::endorser::proposal::unpack;
use crate::peer::Peer;

pub(super) async fn evaluate(
    gateway: &GatewayService,
    request: EvaluateRequest,
) -> Result<EvaluateResponse, Status> {
    let malformed = |text: &str| {
        Status::invalid_argument(format!("failed to unpack transaction proposal: {text}"))
    };
    let signed = request.proposed_transaction.unwrap_or_default();
    if signed.proposal_bytes.is_empty() {
        return Err(malformed("a signed proposal is required"));
    }
    let proposal = unpack(&signed).map_err(|text| malformed(&text))?;
    let channel = proposal.channel_id();
    if channel.is_empty() {
        return Err(malformed("no channel id provided"));
    }
    if channel != gateway.shared.channel.channel_id() {
        return Err(Status::unavailable(format!(
            "failed to get config for channel [{channel}]: could not get last config for channel {channel}"
        )));
    }
    let mut targets = request.target_organizations;
    let protected = targets.is_empty() && !proposal.payload.transient_map.is_empty();
    if protected {
        targets = vec![gateway.local.msp_id.to_string()];
    }
    let peers = candidates(gateway, &proposal.chaincode, &targets);
    if peers.is_empty() {
        let mut text = format!(
            "no peers available to evaluate chaincode {} in channel {channel}",
            proposal.chaincode
        );
        if protected {
            text = format!(
                "no endorsers found in the gateway's organization; retry specifying target organization(s) to protect transient data: {text}"
            );
        }
        return Err(Status::failed_precondition(text));
    }
    let mut details = Vec::new();
    let mut code = Code::Unavailable;
    for peer in peers {
        match judge(gateway.process(&peer, &signed).await) {
            Ok(response) => {
                return Ok(EvaluateResponse {
                    result: Some(result_of(response)),
                });
            }
            Err(failure) => {
                details.push(peer_detail(&peer, &failure.message));
                code = failure.code;
                if !failure.retry {
                    let text = format!(
                        "evaluate call to endorser returned error: {}",
                        failure.message
                    );
                    return Err(detailed(code, &text, &details));
                }
            }
        }
    }
    let text = "failed to evaluate transaction, see attached details for more info";
    Err(detailed(code, text, &details))
}

/// The peers that may answer, this gateway's own first.
fn candidates(gateway: &GatewayService, chaincode: &str, targets: &[String]) -> Vec<Arc<Peer>> {
    let wanted = |peer: &Arc<Peer>| {
        let named = targets.is_empty() || targets.iter().any(|t| t == peer.msp_id.as_str());
        named && peer.has_chaincode(chaincode)
    };
    let mut peers: Vec<_> = gateway
        .shared
        .peers
        .iter()
        .filter(|peer| wanted(peer))
        .cloned()
        .collect();
    peers.sort_by_key(|peer| peer.msp_id != gateway.local.msp_id);
    peers
}

/// The response with the payload that was endorsed, where there is one.
fn result_of(response: ProposalResponse) -> Response {
    let mut result = response.response.unwrap_or_default();
    let endorsed = ProposalResponsePayload::decode(response.payload.as_slice())
        .and_then(|payload| ChaincodeAction::decode(payload.extension.as_slice()));
    if let Ok(ChaincodeAction {
        response: Some(endorsed),
        ..
    }) = endorsed
    {
        result.payload = endorsed.payload;
    }
    result
}
