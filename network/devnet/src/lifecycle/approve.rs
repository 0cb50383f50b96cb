//! Approving a definition, comparing approvals, committing.

use std::collections::BTreeMap;

use fabric_protos::lifecycle::{
    ApproveChaincodeDefinitionForMyOrgArgs, CheckCommitReadinessArgs, CheckCommitReadinessResult,
    CommitChaincodeDefinitionArgs, chaincode_source, check_commit_readiness_result::Mismatches,
};
use fabric_protos::protos::CollectionConfigPackage;
use prost::Message;

use super::Refusal;
use super::check::check_definition;
use super::definition::{Definition, PACKAGE_TYPE, PARAMETERS_TYPE, local_package};
use super::serializer::{NAMESPACES, SOURCES, State};
use crate::ledger::{ChaincodeDefinition, Simulator};
use crate::system::Caller;

/// How one organisation stands to a committed definition.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Approval {
    /// It approved it, with this package; empty when its peer does not run the chaincode.
    Given { package_id: String },
    /// It has not approved this definition.
    Missing,
}

/// What an organisation approved for a committed definition; reads leave no trace, since
/// `simulator` is thrown away.
pub(crate) fn approved_package(
    simulator: &mut Simulator,
    msp_id: &str,
    definition: &ChaincodeDefinition,
) -> Result<Approval, String> {
    let committed = Definition {
        sequence: definition.sequence,
        endorsement: fabric_protos::lifecycle::ChaincodeEndorsementInfo {
            version: definition.version.clone(),
            init_required: definition.init_required,
            endorsement_plugin: definition.endorsement_plugin.clone(),
        },
        validation: fabric_protos::lifecycle::ChaincodeValidationInfo {
            validation_plugin: definition.validation_plugin.clone(),
            validation_parameter: definition.validation_parameter.clone(),
        },
        collections: definition.collections.clone(),
    };
    let name = private_name(&definition.name, definition.sequence);
    let mut state = State::organization(simulator, msp_id);
    let mismatches = state.mismatches(NAMESPACES, &name, &committed.parameters());
    if !mismatches.map_err(|error| error.to_string())?.is_empty() {
        return Ok(Approval::Missing);
    }
    let source = state
        .read(SOURCES, &name)
        .map_err(|error| error.to_string())?;
    let package_id = source
        .map(|stored| stored.text("PackageID"))
        .unwrap_or_default();
    Ok(Approval::Given { package_id })
}

pub(super) fn approve(
    caller: &Caller<'_>,
    simulator: &mut Simulator,
    arguments: &ApproveChaincodeDefinitionForMyOrgArgs,
) -> Result<(), Refusal> {
    let name = arguments.name.as_str();
    check_input(
        caller,
        simulator,
        name,
        &arguments.version,
        arguments.collections.as_ref(),
    )?;
    let source = arguments
        .source
        .as_ref()
        .and_then(|source| source.r#type.as_ref());
    let package_id = match source {
        Some(chaincode_source::Type::LocalPackage(local)) => local.package_id.as_str(),
        _ => "",
    };
    let definition = Definition::from(arguments).with_defaults();
    let requested = definition.sequence;
    let current = State::public(simulator).number(NAMESPACES, name, "Sequence")?;
    check_sequence(current, requested)?;
    if requested == current {
        same_as_committed(simulator, name, &definition)?;
    }
    let private = private_name(name, requested);
    let mut state = State::organization(simulator, caller.peer.msp_id.as_ref());
    if repeats(&mut state, &private, package_id, &definition)? {
        let text = if requested == current {
            format!(
                "attempted to redefine the current committed sequence ({current}) for namespace {name}"
            )
        } else {
            format!(
                "attempted to redefine uncommitted sequence ({requested}) for namespace {name} with unchanged content"
            )
        };
        return Err(Refusal::Rejected(text));
    }
    state.write(NAMESPACES, &private, &definition.parameters())?;
    state.write(SOURCES, &private, &local_package(package_id))?;
    Ok(())
}

fn check_sequence(current: i64, requested: i64) -> Result<(), Refusal> {
    let text = if requested <= 0 && current == requested {
        "requested sequence is 0, but first definable sequence number is 1".to_owned()
    } else if requested < current {
        format!(
            "currently defined sequence {current} is larger than requested sequence {requested}"
        )
    } else if requested > current + 1 {
        let next = current + 1;
        format!(
            "requested sequence {requested} is larger than the next available sequence number {next}"
        )
    } else {
        return Ok(());
    };
    Err(Refusal::Rejected(text))
}

fn same_as_committed(
    simulator: &mut Simulator,
    name: &str,
    definition: &Definition,
) -> Result<(), Refusal> {
    let current = definition.sequence;
    let stored = State::public(simulator).read(NAMESPACES, name)?;
    let stored = stored.ok_or_else(|| {
        format!("missing metadata for currently committed sequence number ({current})")
    })?;
    let committed = Definition::from_stored(&stored, None)?;
    match committed.difference(definition) {
        None => Ok(()),
        Some(difference) => Err(Refusal::Rejected(format!(
            "attempted to redefine the current committed sequence ({current}) for namespace {name} with different parameters: {difference}"
        ))),
    }
}

/// Whether this organisation has approved exactly this before, with the same package.
fn repeats(
    state: &mut State<'_>,
    private: &str,
    package_id: &str,
    definition: &Definition,
) -> Result<bool, Refusal> {
    let Some(stored) = state.read(NAMESPACES, private)? else {
        return Ok(false);
    };
    if stored.type_name != PARAMETERS_TYPE {
        return Ok(false);
    }
    let approved = Definition::from_stored(&stored, Some(definition.sequence))?;
    if approved.difference(definition).is_some() {
        return Ok(false);
    }
    let source = state.read(SOURCES, private)?;
    Ok(source.is_some_and(|stored| {
        stored.type_name == PACKAGE_TYPE && stored.text("PackageID") == package_id
    }))
}

pub(super) fn check_readiness(
    caller: &Caller<'_>,
    simulator: &mut Simulator,
    arguments: &CheckCommitReadinessArgs,
) -> Result<Vec<u8>, Refusal> {
    let definition = Definition::from(arguments);
    let readiness = readiness(caller, simulator, &arguments.name, definition)?;
    Ok(readiness.1.encode_to_vec())
}

pub(super) fn commit(
    caller: &Caller<'_>,
    simulator: &mut Simulator,
    arguments: &CommitChaincodeDefinitionArgs,
) -> Result<(), Refusal> {
    let name = arguments.name.as_str();
    check_input(
        caller,
        simulator,
        name,
        &arguments.version,
        arguments.collections.as_ref(),
    )?;
    let definition = Definition::from(arguments);
    let (definition, readiness) = readiness(caller, simulator, name, definition)?;
    let structure = definition.structure();
    State::public(simulator).write(NAMESPACES, name, &structure)?;
    let msp_id = caller.peer.msp_id.as_ref();
    if readiness.approvals.get(msp_id).copied().unwrap_or_default() {
        Ok(())
    } else {
        Err(Refusal::Rejected(format!(
            "chaincode definition not agreed to by this org ({msp_id})"
        )))
    }
}

fn readiness(
    caller: &Caller<'_>,
    simulator: &mut Simulator,
    name: &str,
    definition: Definition,
) -> Result<(Definition, CheckCommitReadinessResult), Refusal> {
    let current = State::public(simulator).number(NAMESPACES, name, "Sequence")?;
    if definition.sequence != current + 1 {
        return Err(Refusal::Rejected(format!(
            "requested sequence is {}, but new definition must be sequence {}",
            definition.sequence,
            current + 1
        )));
    }
    let definition = definition.with_defaults();
    let result = approvals(caller, simulator, name, &definition)?;
    Ok((definition, result))
}

/// Which organisations approved a definition, and where the others differ.
pub(super) fn approvals(
    caller: &Caller<'_>,
    simulator: &mut Simulator,
    name: &str,
    definition: &Definition,
) -> Result<CheckCommitReadinessResult, Refusal> {
    let private = private_name(name, definition.sequence);
    let parameters = definition.parameters();
    let mut result = CheckCommitReadinessResult {
        approvals: BTreeMap::new(),
        mismatches: BTreeMap::new(),
    };
    for organization in caller.peer.channel.config().organizations() {
        let mut state = State::organization(simulator, organization.as_ref());
        let items = state.mismatches(NAMESPACES, &private, &parameters)?;
        let organization = organization.to_string();
        result
            .approvals
            .insert(organization.clone(), items.is_empty());
        if !items.is_empty() {
            result.mismatches.insert(organization, Mismatches { items });
        }
    }
    Ok(result)
}

fn check_input(
    caller: &Caller<'_>,
    simulator: &mut Simulator,
    name: &str,
    version: &str,
    collections: Option<&CollectionConfigPackage>,
) -> Result<(), Refusal> {
    let committed = simulator.definition(name);
    let committed = committed.as_ref().map(|definition| &definition.collections);
    let none = CollectionConfigPackage::default();
    let config = caller.peer.channel.config();
    check_definition(
        name,
        version,
        collections.unwrap_or(&none),
        committed,
        &config,
    )
    .map_err(|text| Refusal::Rejected(format!("error validating chaincode definition: {text}")))
}

pub(super) fn private_name(chaincode: &str, sequence: i64) -> String {
    format!("{chaincode}#{sequence}")
}
