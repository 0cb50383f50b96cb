//! The chaincodes that are part of a peer: `_lifecycle`, `qscc` and `cscc`.

mod cscc;
mod qscc;

use fabric_msp::ValidIdentity;
use fabric_protos::protos::{ChaincodeInput, Response};

use crate::chaincode::invoke::Run;
use crate::ledger::Simulator;
use crate::lifecycle;
use crate::peer::Peer;

/// A chaincode that needs no installation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SystemChaincode {
    Lifecycle,
    Query,
    Configuration,
}

impl SystemChaincode {
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            lifecycle::LIFECYCLE => Some(Self::Lifecycle),
            "qscc" => Some(Self::Query),
            "cscc" => Some(Self::Configuration),
            _ => None,
        }
    }
}

/// Who calls a system chaincode, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller<'a> {
    pub(crate) peer: &'a Peer,
    /// Empty when the proposal names no channel.
    pub(crate) channel_id: &'a str,
    /// Its signature over the proposal was verified.
    pub(crate) creator: &'a ValidIdentity,
    /// The chaincode that the proposal names.
    pub(crate) proposed: &'a str,
}

impl Caller<'_> {
    pub(crate) fn check_local_admin(&self) -> Result<(), String> {
        self.peer.check_local("Admins", self.creator)
    }

    /// Checks `Readers` or `Writers` of the application.
    pub(crate) fn check_channel(&self, policy: &str) -> Result<(), String> {
        let policy = format!("/Channel/Application/{policy}");
        self.peer.check_channel_policy(&policy, self.creator)
    }
}

/// Runs a system chaincode that another chaincode calls.
pub(crate) fn invoke(
    system: SystemChaincode,
    run: &mut Run<'_>,
    input: &ChaincodeInput,
) -> Response {
    let caller = Caller {
        peer: run.peer,
        channel_id: run.channel_id,
        creator: run.creator,
        proposed: run.chaincode,
    };
    invoke_directly(system, &caller, Some(&mut run.simulator), input)
}

/// Runs a system chaincode that a proposal names.
pub(crate) fn invoke_directly(
    system: SystemChaincode,
    caller: &Caller<'_>,
    simulator: Option<&mut Simulator>,
    input: &ChaincodeInput,
) -> Response {
    match system {
        SystemChaincode::Lifecycle => lifecycle::invoke(caller, simulator, input),
        SystemChaincode::Query => qscc::invoke(caller, input),
        SystemChaincode::Configuration => cscc::invoke(caller, input),
    }
}

/// A good result.
pub(crate) fn success(payload: Vec<u8>) -> Response {
    Response {
        status: 200,
        message: String::new(),
        payload,
    }
}

/// A refusal with status 500.
pub(crate) fn failure(message: &str) -> Response {
    Response {
        status: 500,
        message: message.to_owned(),
        payload: Vec::new(),
    }
}
