//! Endorse: enough peers run the proposal, their signatures become a transaction.

use std::collections::BTreeSet;
use std::sync::Arc;

use fabric_msp::MspId;
use fabric_protos::common::{Envelope, Payload};
use fabric_protos::gateway::{EndorseRequest, EndorseResponse, ErrorDetail};
use fabric_protos::protos::{
    ChaincodeActionPayload, ChaincodeEndorsedAction, ChaincodeInterest, Endorsement,
    ProposalResponse, SignedProposal, Transaction, TransactionAction,
};
use futures::future::join_all;
use prost::Message;
use tonic::{Code, Status};

use super::status::{detailed, judge, peer_detail};
use super::{GatewayService, diff, plan};
use crate::endorser::proposal::{UnpackedProposal, unpack, without_transient};
use crate::peer::Peer;

const NOT_ENOUGH: &str =
    "failed to collect enough transaction endorsements, see attached details for more info";

const NO_OWN_PEER: &str = "no endorsers found in the gateway's organization; retry specifying endorsing organization(s) to protect transient data";

/// What has been collected so far.
#[derive(Debug, Default)]
struct Collected {
    payload: Option<Vec<u8>>,
    endorsed: Vec<(MspId, Endorsement)>,
    failed: BTreeSet<MspId>,
    details: Vec<ErrorDetail>,
}

pub(super) async fn endorse(
    gateway: &GatewayService,
    request: EndorseRequest,
) -> Result<EndorseResponse, Status> {
    let signed = request.proposed_transaction.unwrap_or_default();
    if signed.proposal_bytes.is_empty() {
        return Err(Status::invalid_argument(
            "the proposed transaction must contain a signed proposal",
        ));
    }
    let proposal = unpack(&signed).map_err(Status::invalid_argument)?;
    if proposal.channel_id() != gateway.shared.channel.channel_id() {
        return Err(no_channel(&proposal, &request.endorsing_organizations));
    }
    let mut collected = Collected::default();
    let layouts = if request.endorsing_organizations.is_empty() {
        plan_from_first(gateway, &signed, &proposal, &mut collected).await?
    } else {
        vec![named_layout(
            gateway,
            &proposal,
            &request.endorsing_organizations,
        )?]
    };
    for layout in layouts {
        if let Some(endorsements) = collected.complete(gateway, &signed, &layout).await {
            let payload = collected.payload.unwrap_or_default();
            let envelope = prepare(&proposal, payload, endorsements);
            return Ok(EndorseResponse {
                prepared_transaction: Some(envelope),
            });
        }
    }
    Err(detailed(Code::Aborted, NOT_ENOUGH, &collected.details))
}

/// On a channel that does not exist nobody has the chaincode.
fn no_channel(proposal: &UnpackedProposal, organizations: &[String]) -> Status {
    if !organizations.is_empty() {
        return no_peers_of(&organizations.join(", "));
    }
    if !proposal.payload.transient_map.is_empty() {
        return Status::failed_precondition(NO_OWN_PEER);
    }
    let (chaincode, channel) = (&proposal.chaincode, proposal.channel_id());
    unsatisfiable(&format!(
        "No metadata was found for chaincode {chaincode} in channel {channel}"
    ))
}

fn no_peers_of(organizations: &str) -> Status {
    Status::unavailable(format!(
        "failed to find any endorsing peers for org(s): {organizations}"
    ))
}

/// The client names the organisations and answers for the policy.
fn named_layout(
    gateway: &GatewayService,
    proposal: &UnpackedProposal,
    names: &[String],
) -> Result<BTreeSet<MspId>, Status> {
    let mut layout = BTreeSet::new();
    let mut missing = Vec::new();
    for name in names {
        let peer = gateway
            .shared
            .peers
            .iter()
            .find(|peer| peer.msp_id.as_str() == name);
        match peer.filter(|peer| peer.has_chaincode(&proposal.chaincode)) {
            Some(peer) => {
                layout.insert(peer.msp_id.clone());
            }
            None => missing.push(name.as_str()),
        }
    }
    if missing.is_empty() {
        return Ok(layout);
    }
    Err(no_peers_of(&missing.join(", ")))
}

/// One peer runs the proposal; what it touched decides who else has to.
async fn plan_from_first(
    gateway: &GatewayService,
    signed: &SignedProposal,
    proposal: &UnpackedProposal,
    collected: &mut Collected,
) -> Result<Vec<BTreeSet<MspId>>, Status> {
    let has_transient = !proposal.payload.transient_map.is_empty();
    let first = first_endorser(gateway, proposal, has_transient)?;
    let response = match judge(gateway.process(&first, signed).await) {
        Ok(response) => response,
        Err(failure) => {
            let detail = peer_detail(&first, &failure.message);
            let text = "failed to endorse transaction, see attached details for more info";
            return Err(detailed(Code::Aborted, text, &[detail]));
        }
    };
    let interest = response.interest.clone().unwrap_or_default();
    let interest = match interest.chaincodes.is_empty() {
        true => plan::default_interest(&proposal.chaincode),
        false => interest,
    };
    let layouts = layouts_for(gateway, &interest, has_transient, &first.msp_id)?;
    collected.accept(&first, response);
    Ok(layouts)
}

fn first_endorser(
    gateway: &GatewayService,
    proposal: &UnpackedProposal,
    has_transient: bool,
) -> Result<Arc<Peer>, Status> {
    let chaincode = proposal.chaincode.as_str();
    if gateway.local.has_chaincode(chaincode) {
        return Ok(Arc::clone(&gateway.local));
    }
    if has_transient {
        return Err(Status::failed_precondition(NO_OWN_PEER));
    }
    let shared = &gateway.shared;
    let interest = plan::default_interest(chaincode);
    let layouts = plan::layouts(&shared.channel, &shared.peers, &interest, None);
    let layouts = layouts.map_err(|text| unsatisfiable(&text))?;
    let org = layouts.first().and_then(BTreeSet::first);
    let peer = shared.peers.iter().find(|peer| Some(&peer.msp_id) == org);
    peer.cloned()
        .ok_or_else(|| unsatisfiable("no peers are available"))
}

/// With transient data, only members of the collections may be asked, even if they only write.
fn layouts_for(
    gateway: &GatewayService,
    interest: &ChaincodeInterest,
    has_transient: bool,
    first: &MspId,
) -> Result<Vec<BTreeSet<MspId>>, Status> {
    let shared = &gateway.shared;
    let derive = |interest: &ChaincodeInterest| {
        plan::layouts(&shared.channel, &shared.peers, interest, Some(first))
    };
    let mut cautious = interest.clone();
    let mut protected: Vec<String> = Vec::new();
    if has_transient {
        for call in cautious
            .chaincodes
            .iter_mut()
            .filter(|call| call.no_private_reads)
        {
            call.no_private_reads = false;
            protected.extend(call.collection_names.iter().cloned());
        }
    }
    derive(&cautious).map_err(|text| {
        if !protected.is_empty() && derive(interest).is_ok() {
            let protected = protected.join(" ");
            return Status::failed_precondition(format!(
                "requires endorsement from organisation(s) that are not in the distribution policy of the private data collection(s): [{protected}]; retry specifying trusted endorsing organizations to protect transient data"
            ));
        }
        unsatisfiable(&text)
    })
}

fn unsatisfiable(text: &str) -> Status {
    Status::failed_precondition(format!(
        "no combination of peers can be derived which satisfy the endorsement policy: {text}"
    ))
}

impl Collected {
    /// Asks those of a layout who were not asked yet; gives the endorsements if all agree.
    async fn complete(
        &mut self,
        gateway: &GatewayService,
        signed: &SignedProposal,
        layout: &BTreeSet<MspId>,
    ) -> Option<Vec<Endorsement>> {
        if layout.iter().any(|org| self.failed.contains(org)) {
            return None;
        }
        let done = |org: &MspId| self.endorsed.iter().any(|(endorsed, _)| endorsed == org);
        let peers = gateway.shared.peers.iter();
        let missing: Vec<_> = peers
            .filter(|peer| layout.contains(&peer.msp_id) && !done(&peer.msp_id))
            .collect();
        let answers = join_all(missing.iter().map(|peer| gateway.process(peer, signed))).await;
        for (peer, answer) in missing.into_iter().zip(answers) {
            match judge(answer) {
                Ok(response) => self.accept(peer, response),
                Err(failure) => self.fail(peer, &failure.message),
            }
        }
        let endorsements = self.endorsed.iter().filter(|(org, _)| layout.contains(org));
        let endorsements: Vec<_> = endorsements.map(|(_, e)| e.clone()).collect();
        (endorsements.len() == layout.len()).then_some(endorsements)
    }

    fn accept(&mut self, peer: &Peer, response: ProposalResponse) {
        let Some(endorsement) = response.endorsement else {
            self.fail(peer, "the peer did not endorse its response");
            return;
        };
        match &self.payload {
            Some(payload) if *payload != response.payload => {
                let differences = diff::describe(payload, &response.payload);
                let text = format!("ProposalResponsePayloads do not match{differences}");
                tracing::warn!(msp_id = %peer.msp_id, text, "endorsers disagree");
                self.fail(peer, &text);
                return;
            }
            Some(_) => {}
            None => self.payload = Some(response.payload),
        }
        self.endorsed.push((peer.msp_id.clone(), endorsement));
    }

    fn fail(&mut self, peer: &Peer, message: &str) {
        self.details.push(peer_detail(peer, message));
        self.failed.insert(peer.msp_id.clone());
    }
}

/// The transaction as the client will sign it.
fn prepare(
    proposal: &UnpackedProposal,
    payload: Vec<u8>,
    endorsements: Vec<Endorsement>,
) -> Envelope {
    let action = ChaincodeActionPayload {
        chaincode_proposal_payload: without_transient(&proposal.payload),
        action: Some(ChaincodeEndorsedAction {
            proposal_response_payload: payload,
            endorsements,
        }),
    };
    let transaction = Transaction {
        actions: vec![TransactionAction {
            header: proposal.header.signature_header.clone(),
            payload: action.encode_to_vec(),
        }],
    };
    let payload = Payload {
        header: Some(proposal.header.clone()),
        data: transaction.encode_to_vec(),
    };
    Envelope {
        payload: payload.encode_to_vec(),
        signature: Vec::new(),
    }
}
