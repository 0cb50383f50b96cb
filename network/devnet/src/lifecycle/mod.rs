//! `_lifecycle`: installing, approving and committing chaincode definitions.
//!
//! Approvals live in the private data of each organisation, commits in the public state of the
//! namespace `_lifecycle`; [`serializer`] has the layout.

mod approve;
mod check;
mod definition;
mod query;
mod serializer;
mod store;

use fabric_protos::lifecycle::{
    ApproveChaincodeDefinitionForMyOrgArgs, ApproveChaincodeDefinitionForMyOrgResult,
    CheckCommitReadinessArgs, CommitChaincodeDefinitionArgs, CommitChaincodeDefinitionResult,
    GetInstalledChaincodePackageArgs, GetInstalledChaincodePackageResult, InstallChaincodeArgs,
    InstallChaincodeResult, QueryApprovedChaincodeDefinitionArgs, QueryChaincodeDefinitionArgs,
    QueryInstalledChaincodeArgs,
};
use fabric_protos::protos::{ChaincodeInput, Response};
use prost::Message;

use crate::endorser::proposal::MALFORMED;
use crate::ledger::Simulator;
use crate::system::{Caller, failure, success};
use serializer::StateError;

pub(crate) use approve::{Approval, approved_package};
pub(crate) use serializer::LIFECYCLE;
pub(crate) use store::PackageStore;

/// Why a lifecycle function refused.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{0}")]
    State(#[from] StateError),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Rejected(String),
}

impl From<String> for Refusal {
    fn from(text: String) -> Self {
        Self::Rejected(text)
    }
}

impl From<crate::ledger::SimulationError> for Refusal {
    fn from(error: crate::ledger::SimulationError) -> Self {
        Self::State(error.into())
    }
}

/// Decodes the arguments of a function.
fn decode<M: Message + Default>(function: &str, arguments: &[u8]) -> Result<M, Refusal> {
    M::decode(arguments).map_err(|_| {
        Refusal::Rejected(format!(
            "could not decode input arg for *lifecycle.Invocation.{function}: {MALFORMED}"
        ))
    })
}

/// Runs one lifecycle function; `simulator` is absent when the proposal names no channel.
pub(crate) fn invoke(
    caller: &Caller<'_>,
    simulator: Option<&mut Simulator>,
    input: &ChaincodeInput,
) -> Response {
    let (function, arguments) = match input.args.as_slice() {
        [] => return failure("lifecycle scc must be invoked with arguments"),
        [function, arguments] => (String::from_utf8_lossy(function), arguments.as_slice()),
        other => {
            let count = other.len();
            return failure(&format!(
                "lifecycle scc operations require exactly two arguments but received {count}"
            ));
        }
    };
    if let Err(error) = authorize(caller, &function) {
        return failure(&format!(
            "Failed to authorize invocation due to failed ACL check: {error}"
        ));
    }
    match dispatch(caller, simulator, &function, arguments) {
        Ok(payload) => success(payload),
        Err(Refusal::NotFound(message)) => Response {
            status: 404,
            message,
            payload: Vec::new(),
        },
        Err(refusal) => failure(&format!(
            "failed to invoke backing implementation of '{function}': {refusal}"
        )),
    }
}

fn authorize(caller: &Caller<'_>, function: &str) -> Result<(), String> {
    match function {
        "InstallChaincode"
        | "QueryInstalledChaincode"
        | "GetInstalledChaincodePackage"
        | "QueryInstalledChaincodes"
        | "ApproveChaincodeDefinitionForMyOrg"
        | "QueryApprovedChaincodeDefinition"
        | "QueryApprovedChaincodeDefinitions" => caller.check_local_admin(),
        "CommitChaincodeDefinition"
        | "QueryChaincodeDefinition"
        | "QueryChaincodeDefinitions"
        | "CheckCommitReadiness" => caller.check_channel("Writers"),
        _ => Err(format!("Unmapped policy for {LIFECYCLE}/{function}")),
    }
}

fn dispatch(
    caller: &Caller<'_>,
    simulator: Option<&mut Simulator>,
    function: &str,
    arguments: &[u8],
) -> Result<Vec<u8>, Refusal> {
    match function {
        "InstallChaincode" => install(caller, &decode(function, arguments)?),
        "QueryInstalledChaincode" => {
            let arguments: QueryInstalledChaincodeArgs = decode(function, arguments)?;
            query::installed(caller, &arguments.package_id)
        }
        "QueryInstalledChaincodes" => Ok(query::all_installed(caller)),
        "GetInstalledChaincodePackage" => {
            let arguments: GetInstalledChaincodePackageArgs = decode(function, arguments)?;
            package_bytes(caller, &arguments.package_id)
        }
        _ => {
            let channel = caller.channel_id;
            let simulator = simulator.ok_or_else(|| {
                Refusal::Rejected(format!("no application config for channel '{channel}'"))
            })?;
            dispatch_on_channel(caller, simulator, function, arguments)
        }
    }
}

fn dispatch_on_channel(
    caller: &Caller<'_>,
    simulator: &mut Simulator,
    function: &str,
    arguments: &[u8],
) -> Result<Vec<u8>, Refusal> {
    match function {
        "ApproveChaincodeDefinitionForMyOrg" => {
            let arguments: ApproveChaincodeDefinitionForMyOrgArgs = decode(function, arguments)?;
            approve::approve(caller, simulator, &arguments)?;
            Ok(ApproveChaincodeDefinitionForMyOrgResult {}.encode_to_vec())
        }
        "CheckCommitReadiness" => {
            let arguments: CheckCommitReadinessArgs = decode(function, arguments)?;
            approve::check_readiness(caller, simulator, &arguments)
        }
        "CommitChaincodeDefinition" => {
            let arguments: CommitChaincodeDefinitionArgs = decode(function, arguments)?;
            approve::commit(caller, simulator, &arguments)?;
            Ok(CommitChaincodeDefinitionResult {}.encode_to_vec())
        }
        "QueryApprovedChaincodeDefinition" => {
            let arguments: QueryApprovedChaincodeDefinitionArgs = decode(function, arguments)?;
            query::approved(caller, simulator, &arguments)
        }
        "QueryApprovedChaincodeDefinitions" => query::all_approved(caller, simulator),
        "QueryChaincodeDefinition" => {
            let arguments: QueryChaincodeDefinitionArgs = decode(function, arguments)?;
            query::committed(caller, simulator, &arguments.name)
        }
        "QueryChaincodeDefinitions" => query::all_committed(simulator),
        _ => Err(Refusal::Rejected(format!("unknown function {function}"))),
    }
}

fn install(caller: &Caller<'_>, arguments: &InstallChaincodeArgs) -> Result<Vec<u8>, Refusal> {
    let installed = caller
        .peer
        .packages
        .install(&arguments.chaincode_install_package)
        .map_err(|error| error.to_string())?;
    tracing::info!(
        msp_id = %caller.peer.msp_id,
        package_id = installed.package_id,
        "chaincode package installed"
    );
    let result = InstallChaincodeResult {
        package_id: installed.package_id.clone(),
        label: installed.metadata.label.clone(),
    };
    Ok(result.encode_to_vec())
}

fn package_bytes(caller: &Caller<'_>, package_id: &str) -> Result<Vec<u8>, Refusal> {
    let bytes = caller.peer.packages.bytes(package_id);
    let bytes = bytes.map_err(|error| Refusal::Rejected(error.to_string()))?;
    let bytes = bytes.ok_or_else(|| not_installed(package_id))?;
    let result = GetInstalledChaincodePackageResult {
        chaincode_install_package: bytes,
    };
    Ok(result.encode_to_vec())
}

fn not_installed(package_id: &str) -> Refusal {
    Refusal::NotFound(format!(
        "chaincode install package '{package_id}' not found"
    ))
}
