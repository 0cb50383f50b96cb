//! The lifecycle functions that only read.

use std::collections::BTreeMap;

use fabric_protos::lifecycle::{
    ChaincodeSource, QueryApprovedChaincodeDefinitionArgs, QueryApprovedChaincodeDefinitionResult,
    QueryApprovedChaincodeDefinitionsResult, QueryChaincodeDefinitionResult,
    QueryChaincodeDefinitionsResult, QueryInstalledChaincodeResult, QueryInstalledChaincodesResult,
    chaincode_source,
    query_approved_chaincode_definitions_result::ApprovedChaincodeDefinition,
    query_chaincode_definitions_result::ChaincodeDefinition,
    query_installed_chaincode_result,
    query_installed_chaincodes_result::{self, InstalledChaincode},
};
use prost::Message;

use super::approve::{approvals, private_name};
use super::definition::{DEFINITION_TYPE, Definition, PARAMETERS_TYPE};
use super::serializer::{NAMESPACES, SOURCES, State};
use super::{Refusal, not_installed};
use crate::ledger::Simulator;
use crate::system::Caller;

pub(super) fn installed(caller: &Caller<'_>, package_id: &str) -> Result<Vec<u8>, Refusal> {
    let package = caller.peer.packages.get(package_id);
    let package = package.ok_or_else(|| not_installed(package_id))?;
    let chaincodes = references(caller, package_id)
        .into_iter()
        .map(|(name, version)| query_installed_chaincode_result::Chaincode { name, version })
        .collect::<Vec<_>>();
    let mut channels = BTreeMap::new();
    if !chaincodes.is_empty() {
        let references = query_installed_chaincode_result::References { chaincodes };
        channels.insert(caller.peer.channel.channel_id().to_owned(), references);
    }
    let result = QueryInstalledChaincodeResult {
        package_id: package_id.to_owned(),
        label: package.metadata.label.clone(),
        references: channels,
    };
    Ok(result.encode_to_vec())
}

pub(super) fn all_installed(caller: &Caller<'_>) -> Vec<u8> {
    let mut installed_chaincodes = Vec::new();
    for package in caller.peer.packages.all() {
        let chaincodes = references(caller, &package.package_id)
            .into_iter()
            .map(|(name, version)| query_installed_chaincodes_result::Chaincode { name, version })
            .collect::<Vec<_>>();
        let mut channels = BTreeMap::new();
        if !chaincodes.is_empty() {
            let references = query_installed_chaincodes_result::References { chaincodes };
            channels.insert(caller.peer.channel.channel_id().to_owned(), references);
        }
        installed_chaincodes.push(InstalledChaincode {
            package_id: package.package_id.clone(),
            label: package.metadata.label.clone(),
            references: channels,
        });
    }
    QueryInstalledChaincodesResult {
        installed_chaincodes,
    }
    .encode_to_vec()
}

/// The committed chaincodes that a package serves at this peer, with their versions.
fn references(caller: &Caller<'_>, package_id: &str) -> Vec<(String, String)> {
    let mut simulator = caller.peer.reader();
    let names = State::public(&mut simulator)
        .names(NAMESPACES)
        .unwrap_or_default();
    let mut references = Vec::new();
    for name in names {
        let runs = caller.peer.package_of(&name);
        if runs.is_ok_and(|(id, _)| id == package_id)
            && let Some(definition) = caller.peer.channel.definition(&name)
        {
            references.push((name, definition.version));
        }
    }
    references
}

pub(super) fn approved(
    caller: &Caller<'_>,
    simulator: &mut Simulator,
    arguments: &QueryApprovedChaincodeDefinitionArgs,
) -> Result<Vec<u8>, Refusal> {
    let name = arguments.name.as_str();
    let msp_id = caller.peer.msp_id.as_ref();
    let mut sequence = arguments.sequence;
    if sequence == 0 {
        sequence = State::public(simulator).number(NAMESPACES, name, "Sequence")?;
        let next = private_name(name, sequence + 1);
        let next = State::organization(simulator, msp_id).metadata(NAMESPACES, &next)?;
        if next.is_some() {
            sequence += 1;
        }
    }
    let mut state = State::organization(simulator, msp_id);
    let (definition, source) = read_approved(&mut state, name, sequence)?.ok_or_else(|| {
        let channel = caller.channel_id;
        format!(
            "could not fetch approved chaincode definition (name: '{name}', sequence: '{sequence}') on channel '{channel}'"
        )
    })?;
    let result = QueryApprovedChaincodeDefinitionResult {
        sequence,
        version: definition.endorsement.version,
        endorsement_plugin: definition.endorsement.endorsement_plugin,
        validation_plugin: definition.validation.validation_plugin,
        validation_parameter: definition.validation.validation_parameter,
        collections: Some(definition.collections),
        init_required: definition.endorsement.init_required,
        source: Some(source),
    };
    Ok(result.encode_to_vec())
}

pub(super) fn all_approved(
    caller: &Caller<'_>,
    simulator: &mut Simulator,
) -> Result<Vec<u8>, Refusal> {
    let mut state = State::organization(simulator, caller.peer.msp_id.as_ref());
    let mut approved_chaincode_definitions = Vec::new();
    for private in state.names(NAMESPACES)? {
        let parts = private.split_once('#');
        let parts = parts.and_then(|(name, number)| Some((name, number.parse().ok()?)));
        let (name, sequence) =
            parts.ok_or_else(|| format!("invalid private name format: {private}"))?;
        let Some((definition, source)) = read_approved(&mut state, name, sequence)? else {
            continue;
        };
        approved_chaincode_definitions.push(ApprovedChaincodeDefinition {
            name: name.to_owned(),
            sequence,
            version: definition.endorsement.version,
            endorsement_plugin: definition.endorsement.endorsement_plugin,
            validation_plugin: definition.validation.validation_plugin,
            validation_parameter: definition.validation.validation_parameter,
            collections: Some(definition.collections),
            init_required: definition.endorsement.init_required,
            source: Some(source),
        });
    }
    let result = QueryApprovedChaincodeDefinitionsResult {
        approved_chaincode_definitions,
    };
    Ok(result.encode_to_vec())
}

fn read_approved(
    state: &mut State<'_>,
    name: &str,
    sequence: i64,
) -> Result<Option<(Definition, ChaincodeSource)>, Refusal> {
    let private = private_name(name, sequence);
    let Some(stored) = state.read(NAMESPACES, &private)? else {
        return Ok(None);
    };
    if stored.type_name != PARAMETERS_TYPE {
        return Err(Refusal::Rejected(format!(
            "not a chaincode parameters type: {}",
            stored.type_name
        )));
    }
    let definition = Definition::from_stored(&stored, Some(sequence))?;
    let source = state.read(SOURCES, &private)?;
    let source =
        source.ok_or_else(|| format!("could not fetch chaincode-source metadata for {private}"))?;
    let kind = match source.text("PackageID") {
        id if id.is_empty() => {
            chaincode_source::Type::Unavailable(chaincode_source::Unavailable {})
        }
        package_id => chaincode_source::Type::LocalPackage(chaincode_source::Local { package_id }),
    };
    let source = ChaincodeSource { r#type: Some(kind) };
    Ok(Some((definition, source)))
}

pub(super) fn committed(
    caller: &Caller<'_>,
    simulator: &mut Simulator,
    name: &str,
) -> Result<Vec<u8>, Refusal> {
    let stored = State::public(simulator).read(NAMESPACES, name)?;
    let stored =
        stored.ok_or_else(|| Refusal::NotFound(format!("namespace {name} is not defined")))?;
    let definition = Definition::from_stored(&stored, None)?;
    let approvals = approvals(caller, simulator, name, &definition)?.approvals;
    let result = QueryChaincodeDefinitionResult {
        sequence: definition.sequence,
        version: definition.endorsement.version,
        endorsement_plugin: definition.endorsement.endorsement_plugin,
        validation_plugin: definition.validation.validation_plugin,
        validation_parameter: definition.validation.validation_parameter,
        collections: Some(definition.collections),
        init_required: definition.endorsement.init_required,
        approvals,
    };
    Ok(result.encode_to_vec())
}

pub(super) fn all_committed(simulator: &mut Simulator) -> Result<Vec<u8>, Refusal> {
    let mut state = State::public(simulator);
    let mut chaincode_definitions = Vec::new();
    for name in state.names(NAMESPACES)? {
        let Some(stored) = state.read(NAMESPACES, &name)? else {
            continue;
        };
        if stored.type_name != DEFINITION_TYPE {
            continue;
        }
        let definition = Definition::from_stored(&stored, None)?;
        chaincode_definitions.push(ChaincodeDefinition {
            name,
            sequence: definition.sequence,
            version: definition.endorsement.version,
            endorsement_plugin: definition.endorsement.endorsement_plugin,
            validation_plugin: definition.validation.validation_plugin,
            validation_parameter: definition.validation.validation_parameter,
            collections: Some(definition.collections),
            init_required: definition.endorsement.init_required,
        });
    }
    let result = QueryChaincodeDefinitionsResult {
        chaincode_definitions,
    };
    Ok(result.encode_to_vec())
}
