//! A proposal's way through one peer.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fabric_msp::{MspManager, ValidIdentity, parse_serialized_identity};
use fabric_protos::protos::{
    ChaincodeAction, ChaincodeEvent, ChaincodeId, ChaincodeInterest, ProposalResponse,
    ProposalResponsePayload, Response, SignedProposal,
};
use prost::Message;

use super::Answer;
use super::proposal::{UnpackedProposal, unpack};
use crate::chaincode::invoke::Run;
use crate::peer::Peer;
use crate::system::{Caller, SystemChaincode, invoke_directly};

/// Responses from this status on are not endorsed.
const ERROR_THRESHOLD: i32 = 400;
/// Responses from this status on keep their payload although they are not endorsed.
const ERROR: i32 = 500;

/// Handles one proposal. `time_window` bounds how far the client's clock may be off.
pub(crate) async fn process(
    peer: &Peer,
    signed: &SignedProposal,
    time_window: Option<Duration>,
) -> Answer {
    let proposal = match unpack(signed) {
        Ok(proposal) => proposal,
        Err(text) => return Answer::Refused(text),
    };
    if let Err(text) = filter(&proposal, time_window) {
        return Answer::Filtered(text);
    }
    let channel = proposal.channel_id();
    let config = peer.channel.config();
    if !channel.is_empty() && channel != peer.channel.channel_id() {
        return respond_error(format!("channel '{channel}' not found"));
    }
    let creator = match pre_process(peer, signed, &proposal, config.msps()) {
        Ok(creator) => creator,
        Err(text) => return Answer::Refused(text),
    };
    match simulate(peer, signed, &proposal, &creator).await {
        Ok(response) => Answer::Response(Box::new(response)),
        Err(text) => {
            let (tx_id, chaincode) = (proposal.tx_id(), &proposal.chaincode);
            tracing::warn!(channel, tx_id, chaincode, msp_id = %peer.msp_id, error = text, "proposal failed");
            respond_error(text)
        }
    }
}

/// The authentication filters: an expired identity, a clock that is off.
fn filter(proposal: &UnpackedProposal, time_window: Option<Duration>) -> Result<(), String> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let creator = parse_serialized_identity(&proposal.signature_header.creator);
    if let Ok((_, certificate)) = creator
        && i64::try_from(now.as_secs()).is_ok_and(|now| now > certificate.not_after())
    {
        return Err("proposal client identity expired".to_owned());
    }
    let Some(window) = time_window else {
        return Ok(());
    };
    let time = proposal.channel_header.timestamp.unwrap_or_default();
    let difference = (i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos))
        - i128::try_from(now.as_nanos()).unwrap_or(i128::MAX);
    if difference.unsigned_abs() > window.as_nanos() {
        return Err(format!(
            "request unauthorized due to incorrect timestamp {} s since 1970, peer time {} s, peer.authentication.timewindow {} s",
            time.seconds,
            now.as_secs(),
            window.as_secs()
        ));
    }
    Ok(())
}

fn pre_process(
    peer: &Peer,
    signed: &SignedProposal,
    proposal: &UnpackedProposal,
    msps: &MspManager,
) -> Result<ValidIdentity, String> {
    let validated = proposal.validate(signed, msps);
    let creator = validated.map_err(|text| format!("error validating proposal: {text}"))?;
    if proposal.channel_id().is_empty() {
        if creator.msp_id != peer.msp_id {
            return Err(
                "error validating proposal: access denied: channel [] creator org unknown, creator is malformed"
                    .to_owned(),
            );
        }
        return Ok(creator);
    }
    let tx_id = proposal.tx_id();
    if peer.channel.transaction_status(tx_id).is_some() {
        let creator = hex::encode(&proposal.signature_header.creator);
        return Err(format!(
            "duplicate transaction found [{tx_id}]. Creator [{creator}]"
        ));
    }
    if SystemChaincode::named(&proposal.chaincode).is_none() {
        peer.check_writers(&creator)?;
    }
    Ok(creator)
}

/// What a simulation came to.
struct Simulated {
    response: Response,
    event: Option<ChaincodeEvent>,
    results: Vec<u8>,
    interest: Option<ChaincodeInterest>,
    version: String,
}

async fn simulate(
    peer: &Peer,
    signed: &SignedProposal,
    proposal: &UnpackedProposal,
    creator: &ValidIdentity,
) -> Result<ProposalResponse, String> {
    let system = SystemChaincode::named(&proposal.chaincode);
    let simulated = match system {
        Some(system) if !simulates(system, proposal) => {
            let caller = caller(peer, proposal, creator);
            Simulated {
                response: invoke_directly(system, &caller, None, &proposal.input),
                event: None,
                results: Vec::new(),
                interest: None,
                version: peer.version(None, &proposal.chaincode)?,
            }
        }
        _ => run(peer, signed, proposal, creator).await?,
    };
    endorse(peer, proposal, simulated)
}

/// `qscc` and `cscc` only read blocks; without a channel there is nothing to simulate.
fn simulates(system: SystemChaincode, proposal: &UnpackedProposal) -> bool {
    system == SystemChaincode::Lifecycle && !proposal.channel_id().is_empty()
}

fn caller<'a>(
    peer: &'a Peer,
    proposal: &'a UnpackedProposal,
    creator: &'a ValidIdentity,
) -> Caller<'a> {
    Caller {
        peer,
        channel_id: proposal.channel_id(),
        creator,
        proposed: &proposal.chaincode,
    }
}

async fn run(
    peer: &Peer,
    signed: &SignedProposal,
    proposal: &UnpackedProposal,
    creator: &ValidIdentity,
) -> Result<Simulated, String> {
    let (channel_id, tx_id) = (proposal.channel_id(), proposal.tx_id());
    let chaincode = proposal.chaincode.as_str();
    if channel_id.is_empty() {
        return Err(format!(
            "make sure the chaincode {chaincode} has been successfully defined on channel {channel_id} and try again: a channel is needed to run it"
        ));
    }
    let mut simulator = peer.channel.simulator(tx_id, &peer.msp_id);
    let version = peer.version(Some(&mut simulator), chaincode).map_err(|error| {
        format!("make sure the chaincode {chaincode} has been successfully defined on channel {channel_id} and try again: {error}")
    })?;
    let mut run = Run {
        peer,
        simulator,
        creator,
        signed_proposal: signed,
        channel_id,
        tx_id,
        chaincode,
    };
    let in_simulation = |error: String| format!("error in simulation: {error}");
    let (response, event) = run
        .execute(proposal.input.clone())
        .await
        .map_err(in_simulation)?;
    let event = event.filter(|_| response.status < ERROR_THRESHOLD);
    let results = run.simulator.finish();
    if let Some(private) = &results.private
        && response.status < ERROR_THRESHOLD
    {
        let stored = peer.channel.store_transient(tx_id, private);
        stored.map_err(|error| in_simulation(error.to_string()))?;
    }
    Ok(Simulated {
        response,
        event,
        results: results.public,
        interest: Some(results.interest),
        version,
    })
}

fn endorse(
    peer: &Peer,
    proposal: &UnpackedProposal,
    simulated: Simulated,
) -> Result<ProposalResponse, String> {
    let Simulated {
        response,
        event,
        results,
        interest,
        version,
    } = simulated;
    let action = ChaincodeAction {
        results,
        events: event.map(|event| event.encode_to_vec()).unwrap_or_default(),
        response: Some(response.clone()),
        chaincode_id: Some(ChaincodeId {
            name: proposal.chaincode.clone(),
            version,
            ..ChaincodeId::default()
        }),
    };
    let payload = ProposalResponsePayload {
        proposal_hash: proposal.hash.clone(),
        extension: action.encode_to_vec(),
    };
    let payload = payload.encode_to_vec();
    let status = response.status;
    let mut answer = ProposalResponse {
        response: Some(response),
        ..ProposalResponse::default()
    };
    if status >= ERROR {
        answer.payload = payload;
        answer.interest = interest;
    } else if !proposal.channel_id().is_empty() && status < ERROR_THRESHOLD {
        let endorsement = peer.endorse(&payload);
        let endorsement =
            endorsement.map_err(|error| format!("endorsing with plugin failed: {error}"))?;
        answer.version = 1;
        answer.endorsement = Some(endorsement);
        answer.payload = payload;
        answer.interest = interest;
    }
    Ok(answer)
}

fn respond_error(message: String) -> Answer {
    let response = Response {
        status: ERROR,
        message,
        payload: Vec::new(),
    };
    Answer::Response(Box::new(ProposalResponse {
        response: Some(response),
        ..ProposalResponse::default()
    }))
}
