//! Evaluates or submits one transaction and prints what came of it.
//!
//! ```text
//! cargo run -p fabric-gateway --example call -- \
//!     localhost:7051 peer0.org1.example.com TLSCA.pem Org1MSP MSP_DIR \
//!     mychannel basic submit CreateAsset asset1 blue
//! ```
//!
//! `evaluate` asks one peer, `submit` waits for the block, and `events` takes no function and
//! prints events from block 0 on until it is stopped. An argument `@FILE` is the file's content.

#![allow(clippy::print_stdout, reason = "printing is what the example is for")]

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use fabric_gateway::{Call, Contract, Endpoint, Gateway, GatewayConfig, Network, Start};
use fabric_msp::{MspId, SigningIdentity};

const USAGE: &str = "usage: call ADDRESS SERVER_NAME TLS_CA_FILE MSP_ID MSP_DIR CHANNEL CHAINCODE \
                     evaluate|submit|events [FUNCTION [ARGUMENT...]]";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Err(error) = run(&arguments).await {
        // Display, which prints what each peer said.
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

async fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [
        address,
        server_name,
        ca_file,
        msp_id,
        msp_dir,
        channel,
        chaincode,
        verb,
        call @ ..,
    ] = arguments
    else {
        return Err(USAGE.into());
    };
    let identity = SigningIdentity::from_msp_dir(MspId::parse(msp_id)?, Path::new(msp_dir))?;
    let endpoint = Endpoint::new(address).server_name(server_name);
    let config = GatewayConfig::new([endpoint], std::fs::read(ca_file)?);
    let network = Gateway::connect(config, identity)?.network(channel);
    let contract = network.contract(chaincode);
    match (verb.as_str(), call) {
        ("events", []) => follow(&network, chaincode).await,
        ("evaluate", [function, arguments @ ..]) => {
            let answer = contract.evaluate(build(function, arguments)?).await?;
            println!("{}", String::from_utf8_lossy(&answer));
            Ok(())
        }
        ("submit", [function, arguments @ ..]) => submit(&contract, function, arguments).await,
        _ => Err(USAGE.into()),
    }
}

async fn submit(
    contract: &Contract,
    function: &str,
    arguments: &[String],
) -> Result<(), Box<dyn Error>> {
    let committed = contract.submit(build(function, arguments)?).await?;
    println!(
        "transaction {} in block {}: {}",
        committed.transaction_id,
        committed.block_number,
        String::from_utf8_lossy(&committed.result)
    );
    Ok(())
}

async fn follow(network: &Network, chaincode: &str) -> Result<(), Box<dyn Error>> {
    let mut events = network.chaincode_events(chaincode, Start::Block(0));
    while let Some(event) = events.next().await {
        let event = event?;
        println!(
            "block {} transaction {}: {}",
            event.block_number, event.transaction_id, event.name
        );
    }
    Ok(())
}

fn build(function: &str, arguments: &[String]) -> Result<Call, Box<dyn Error>> {
    let mut call = Call::new(function);
    for argument in arguments {
        call = match argument.strip_prefix('@') {
            Some(file) => call.argument(std::fs::read(file)?),
            None => call.argument(argument.as_str()),
        };
    }
    Ok(call)
}
