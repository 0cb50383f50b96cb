//! A chaincode definition in the shapes that lifecycle stores and compares.

use fabric_protos::lifecycle::{
    ApproveChaincodeDefinitionForMyOrgArgs, ChaincodeEndorsementInfo, ChaincodeValidationInfo,
    CheckCommitReadinessArgs, CommitChaincodeDefinitionArgs,
};
use fabric_protos::protos::{ApplicationPolicy, CollectionConfigPackage, application_policy};
use prost::Message;

use super::serializer::{Field, StateError, Stored, Structure};

const DEFAULT_ENDORSEMENT_PLUGIN: &str = "escc";
const DEFAULT_VALIDATION_PLUGIN: &str = "vscc";
const DEFAULT_POLICY: &str = "/Channel/Application/Endorsement";
pub(super) const DEFINITION_TYPE: &str = "ChaincodeDefinition";
pub(super) const PARAMETERS_TYPE: &str = "ChaincodeParameters";
pub(super) const PACKAGE_TYPE: &str = "ChaincodeLocalPackage";

/// What organisations approve and commit.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Definition {
    pub(crate) sequence: i64,
    pub(crate) endorsement: ChaincodeEndorsementInfo,
    pub(crate) validation: ChaincodeValidationInfo,
    pub(crate) collections: CollectionConfigPackage,
}

impl Definition {
    /// Fills what the caller left empty with Fabric's defaults.
    pub(super) fn with_defaults(mut self) -> Self {
        let or = |text: &mut String, default: &str| {
            if text.is_empty() {
                default.clone_into(text);
            }
        };
        or(
            &mut self.endorsement.endorsement_plugin,
            DEFAULT_ENDORSEMENT_PLUGIN,
        );
        or(
            &mut self.validation.validation_plugin,
            DEFAULT_VALIDATION_PLUGIN,
        );
        if self.validation.validation_parameter.is_empty() {
            self.validation.validation_parameter = default_policy();
        }
        self
    }

    /// All but the sequence, as an approval stores it.
    pub(super) fn parameters(&self) -> Structure {
        Structure {
            type_name: PARAMETERS_TYPE,
            fields: vec![
                (
                    "EndorsementInfo",
                    Field::Bytes(self.endorsement.encode_to_vec()),
                ),
                (
                    "ValidationInfo",
                    Field::Bytes(self.validation.encode_to_vec()),
                ),
                (
                    "Collections",
                    Field::Bytes(self.collections.encode_to_vec()),
                ),
            ],
        }
    }

    /// As a commit stores it.
    pub(super) fn structure(&self) -> Structure {
        let mut structure = self.parameters();
        structure.type_name = DEFINITION_TYPE;
        let sequence = ("Sequence", Field::Number(self.sequence));
        structure.fields.insert(0, sequence);
        structure
    }

    pub(super) fn from_stored(stored: &Stored, sequence: Option<i64>) -> Result<Self, StateError> {
        Ok(Self {
            sequence: sequence.unwrap_or_else(|| stored.number("Sequence")),
            endorsement: stored.message("EndorsementInfo")?,
            validation: stored.message("ValidationInfo")?,
            collections: stored.message("Collections")?,
        })
    }

    /// Why two definitions of one sequence are not the same.
    pub(super) fn difference(&self, passed: &Self) -> Option<String> {
        let (ours, theirs) = (&self.endorsement, &passed.endorsement);
        let text = |name: &str, ours: &dyn std::fmt::Display, theirs: &dyn std::fmt::Display| {
            Some(format!(
                "expected {name} '{ours}' does not match passed {name} '{theirs}'"
            ))
        };
        if ours.version != theirs.version {
            return text("Version", &ours.version, &theirs.version);
        }
        if ours.endorsement_plugin != theirs.endorsement_plugin {
            let (ours, theirs) = (&ours.endorsement_plugin, &theirs.endorsement_plugin);
            return text("EndorsementPlugin", ours, theirs);
        }
        if ours.init_required != theirs.init_required {
            return text("InitRequired", &ours.init_required, &theirs.init_required);
        }
        let (ours, theirs) = (&self.validation, &passed.validation);
        if ours.validation_plugin != theirs.validation_plugin {
            let (ours, theirs) = (&ours.validation_plugin, &theirs.validation_plugin);
            return text("ValidationPlugin", ours, theirs);
        }
        if ours.validation_parameter != theirs.validation_parameter {
            let ours = hex::encode(&ours.validation_parameter);
            let theirs = hex::encode(&theirs.validation_parameter);
            return text("ValidationParameter", &ours, &theirs);
        }
        let same = self.collections == passed.collections;
        (!same).then(|| "Collections do not match".to_owned())
    }
}

/// The package of an approval, as it is stored; empty when the peer will not run the chaincode.
pub(super) fn local_package(package_id: &str) -> Structure {
    Structure {
        type_name: PACKAGE_TYPE,
        fields: vec![("PackageID", Field::Text(package_id.to_owned()))],
    }
}

fn default_policy() -> Vec<u8> {
    let reference =
        application_policy::Type::ChannelConfigPolicyReference(DEFAULT_POLICY.to_owned());
    ApplicationPolicy {
        r#type: Some(reference),
    }
    .encode_to_vec()
}

/// Three messages of the protocol carry the same fields.
macro_rules! definition_from {
    ($($arguments:ty),*) => {$(
        impl From<&$arguments> for Definition {
            fn from(arguments: &$arguments) -> Self {
                Self {
                    sequence: arguments.sequence,
                    endorsement: ChaincodeEndorsementInfo {
                        version: arguments.version.clone(),
                        init_required: arguments.init_required,
                        endorsement_plugin: arguments.endorsement_plugin.clone(),
                    },
                    validation: ChaincodeValidationInfo {
                        validation_plugin: arguments.validation_plugin.clone(),
                        validation_parameter: arguments.validation_parameter.clone(),
                    },
                    collections: arguments.collections.clone().unwrap_or_default(),
                }
            }
        }
    )*};
}
definition_from!(
    ApproveChaincodeDefinitionForMyOrgArgs,
    CheckCommitReadinessArgs,
    CommitChaincodeDefinitionArgs
);
