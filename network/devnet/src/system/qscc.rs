//! `qscc`: blocks and transactions of the ledger.

use fabric_protos::common::Block;
use fabric_protos::protos::{ChaincodeInput, Response};
use prost::Message;

use super::{Caller, failure, success};
use crate::ledger::LedgerError;

const NAME: &str = "qscc";

pub(super) fn invoke(caller: &Caller<'_>, input: &ChaincodeInput) -> Response {
    let arguments = &input.args;
    let [function, channel, rest @ ..] = arguments.as_slice() else {
        return failure(&format!(
            "Incorrect number of arguments, {}",
            arguments.len()
        ));
    };
    let function = String::from_utf8_lossy(function);
    let channel = String::from_utf8_lossy(channel);
    if caller.proposed != NAME {
        let proposed = caller.proposed;
        return failure(&format!(
            "Rejecting invoke of QSCC from another chaincode because of potential for deadlocks, original invocation for '{proposed}'"
        ));
    }
    if function != "GetChainInfo" && rest.is_empty() {
        return failure(&format!("missing 3rd argument for {function}"));
    }
    if channel != caller.peer.channel.channel_id() {
        return failure(&format!("Invalid chain ID, {channel}"));
    }
    let known = [
        "GetChainInfo",
        "GetBlockByNumber",
        "GetBlockByHash",
        "GetTransactionByID",
        "GetBlockByTxID",
    ];
    let allowed = match known.contains(&function.as_ref()) {
        true => caller.check_channel("Readers"),
        false => Err(format!("Unmapped policy for {NAME}/{function}")),
    };
    if let Err(error) = allowed {
        return failure(&format!(
            "access denied for [{function}][{channel}]: [{error}]"
        ));
    }
    let argument = rest.first().map_or(&[][..], Vec::as_slice);
    match answer(caller, &function, argument) {
        Ok(payload) => success(payload),
        Err(message) => failure(&message),
    }
}

fn answer(caller: &Caller<'_>, function: &str, argument: &[u8]) -> Result<Vec<u8>, String> {
    let ledger = &caller.peer.channel;
    let text = String::from_utf8_lossy(argument);
    match function {
        "GetChainInfo" => Ok(ledger.info().encode_to_vec()),
        "GetBlockByNumber" => {
            let number = block_number(&text)?;
            let failed = |error| format!("Failed to get block number {number}, error {error}");
            let newest = ledger.height().saturating_sub(1);
            // Clients ask for "the newest" by the largest number.
            let wanted = if number == u64::MAX { newest } else { number };
            block(ledger.block_by_number(wanted), || {
                format!("no such block number [{number}] in index")
            })
            .map_err(failed)
        }
        "GetBlockByHash" => block(ledger.block_by_hash(argument), || {
            format!("no such block hash [{}] in index", hex::encode(argument))
        })
        .map_err(|error| format!("Failed to get block hash {text}, error {error}")),
        "GetBlockByTxID" => block(ledger.block_by_txid(&text), || no_transaction(&text))
            .map_err(|error| format!("Failed to get block for txID {text}, error {error}")),
        _ => {
            let found = ledger.processed_transaction(&text);
            let found = found.map_err(|error| error.to_string());
            let found = found.and_then(|found| found.ok_or_else(|| no_transaction(&text)));
            found
                .map(|transaction| transaction.encode_to_vec())
                .map_err(|error| format!("Failed to get transaction with id {text}, error {error}"))
        }
    }
}

/// Reads a number and complains as Go does.
fn block_number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|error: std::num::ParseIntError| {
        let reason = match error.kind() {
            std::num::IntErrorKind::PosOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!(
            "Failed to parse block number with error strconv.ParseUint: parsing {text:?}: {reason}"
        )
    })
}

fn block(
    found: Result<Option<Block>, LedgerError>,
    absent: impl FnOnce() -> String,
) -> Result<Vec<u8>, String> {
    match found {
        Ok(Some(block)) => Ok(block.encode_to_vec()),
        Ok(None) => Err(absent()),
        Err(error) => Err(error.to_string()),
    }
}

fn no_transaction(tx_id: &str) -> String {
    format!("no such transaction ID [{tx_id}] in index")
}
