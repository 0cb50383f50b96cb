//! `cscc`: which channels a peer has, and their configuration.

use fabric_protos::protos::{ChaincodeInput, ChannelInfo, ChannelQueryResponse, Response};
use prost::Message;

use super::{Caller, failure, success};

const NAME: &str = "cscc";

pub(super) fn invoke(caller: &Caller<'_>, input: &ChaincodeInput) -> Response {
    let arguments = &input.args;
    let Some(function) = arguments.first() else {
        return failure("Incorrect number of arguments, 0");
    };
    let function = String::from_utf8_lossy(function);
    let channel = match arguments.get(1) {
        Some(channel) => String::from_utf8_lossy(channel),
        None if function == "GetChannels" || function == "JoinBySnapshotStatus" => "".into(),
        None => {
            return failure(&format!(
                "Incorrect number of arguments, {}",
                arguments.len()
            ));
        }
    };
    if caller.proposed != NAME {
        let proposed = caller.proposed;
        return failure(&format!(
            "Rejecting invoke of CSCC from another chaincode, original invocation for '{proposed}'"
        ));
    }
    match answer(caller, &function, &channel) {
        Ok(payload) => success(payload),
        Err(message) => failure(&message),
    }
}

fn answer(caller: &Caller<'_>, function: &str, channel: &str) -> Result<Vec<u8>, String> {
    let ledger = &caller.peer.channel;
    let on_channel = || {
        if channel != ledger.channel_id() {
            return Err(format!(
                "access denied for [{function}][{channel}]: Failed to get policy manager for channel [{channel}]"
            ));
        }
        let allowed = caller.check_channel("Readers");
        allowed.map_err(|error| format!("access denied for [{function}][{channel}]: {error}"))
    };
    match function {
        "GetChannels" => {
            let allowed = caller.peer.check_local("Members", caller.creator);
            allowed.map_err(|error| format!("access denied for [{function}]: {error}"))?;
            let channels = vec![ChannelInfo {
                channel_id: ledger.channel_id().to_owned(),
            }];
            Ok(ChannelQueryResponse { channels }.encode_to_vec())
        }
        "GetConfigBlock" => {
            on_channel()?;
            let block = ledger.config_block().map_err(|error| error.to_string())?;
            Ok(block.encode_to_vec())
        }
        "GetChannelConfig" => {
            on_channel()?;
            Ok(ledger.config().config().encode_to_vec())
        }
        "JoinChain" | "JoinChainBySnapshot" | "JoinBySnapshotStatus" => Err(format!(
            "{function} is not supported: every peer of this network is on its one channel from the start"
        )),
        _ => Err(format!("Requested function {function} not found.")),
    }
}
