//! Chaincode definitions as the `_lifecycle` namespace stores them.
//!
//! A structure is spread over keys, one per field, so that two commits of different fields do
//! not conflict: `PREFIX/fields/NAME/FIELD` holds a `StateData`, `PREFIX/metadata/NAME` a
//! `StateMetadata` with the structure's name and its fields.

use fabric_protos::lifecycle::state_data::Type;
use fabric_protos::lifecycle::{
    ChaincodeEndorsementInfo, ChaincodeValidationInfo, StateData, StateMetadata,
};
use fabric_protos::protos::{
    ApplicationPolicy, CollectionConfigPackage, CollectionPolicyConfig, StaticCollectionConfig,
    application_policy, collection_config, collection_policy_config,
};
use prost::Message;

use crate::genesis::ChannelConfig;
use crate::policy::{implicit_collection_organization, parse_policy};

/// The namespace of the lifecycle chaincode.
pub const LIFECYCLE_NAMESPACE: &str = "_lifecycle";
/// Prefix of the keys of chaincode definitions.
pub const NAMESPACES_PREFIX: &str = "namespaces";
/// Policy that commits of definitions have to satisfy.
const LIFECYCLE_POLICY_PATH: &str = "/Channel/Application/LifecycleEndorsement";
/// Datatype of a committed definition.
const DEFINITION_DATATYPE: &str = "ChaincodeDefinition";
/// The only endorsement plugin.
const DEFAULT_ENDORSEMENT_PLUGIN: &str = "escc";
/// The only validation plugin.
const DEFAULT_VALIDATION_PLUGIN: &str = "vscc";

/// A chaincode as the organisations have agreed on it.
#[derive(Clone, Debug, PartialEq)]
pub struct ChaincodeDefinition {
    /// Name.
    pub name: String,
    /// How often it has been defined; the first is 1.
    pub sequence: i64,
    /// Version, free text.
    pub version: String,
    /// Whether it has to be initialised before it can be invoked.
    pub init_required: bool,
    /// Name of the endorsement plugin.
    pub endorsement_plugin: String,
    /// Name of the validation plugin.
    pub validation_plugin: String,
    /// A marshalled `ApplicationPolicy`.
    pub validation_parameter: Vec<u8>,
    /// Its collections.
    pub collections: CollectionConfigPackage,
}

/// Key of the list of fields of a structure.
#[must_use]
pub fn metadata_key(prefix: &str, name: &str) -> String {
    format!("{prefix}/metadata/{name}")
}

/// Key of one field of a structure.
#[must_use]
pub fn field_key(prefix: &str, name: &str, field: &str) -> String {
    format!("{prefix}/fields/{name}/{field}")
}

/// Value of the list of fields of a structure.
#[must_use]
pub fn metadata_value(datatype: &str, fields: &[&str]) -> Vec<u8> {
    StateMetadata {
        datatype: datatype.to_owned(),
        fields: fields.iter().map(|field| (*field).to_owned()).collect(),
    }
    .encode_to_vec()
}

/// Value of a number field.
#[must_use]
pub fn integer_value(value: i64) -> Vec<u8> {
    state_data(Type::Int64(value))
}

/// Value of a text field.
#[must_use]
pub fn string_value(value: &str) -> Vec<u8> {
    state_data(Type::String(value.to_owned()))
}

/// Value of a field that holds a message or bytes.
#[must_use]
pub fn bytes_value(value: Vec<u8>) -> Vec<u8> {
    state_data(Type::Bytes(value))
}

fn state_data(value: Type) -> Vec<u8> {
    StateData {
        r#type: Some(value),
    }
    .encode_to_vec()
}

impl ChaincodeDefinition {
    /// Keys and values of the definition in the `_lifecycle` namespace, the list of fields last.
    #[must_use]
    pub fn to_state(&self) -> Vec<(String, Vec<u8>)> {
        let endorsement = ChaincodeEndorsementInfo {
            version: self.version.clone(),
            init_required: self.init_required,
            endorsement_plugin: self.endorsement_plugin.clone(),
        };
        let validation = ChaincodeValidationInfo {
            validation_plugin: self.validation_plugin.clone(),
            validation_parameter: self.validation_parameter.clone(),
        };
        let fields = [
            ("Sequence", integer_value(self.sequence)),
            ("EndorsementInfo", bytes_value(endorsement.encode_to_vec())),
            ("ValidationInfo", bytes_value(validation.encode_to_vec())),
            ("Collections", bytes_value(self.collections.encode_to_vec())),
        ];
        let names = fields.each_ref().map(|(name, _)| *name);
        let mut state: Vec<_> = fields
            .into_iter()
            .map(|(name, value)| (field_key(NAMESPACES_PREFIX, &self.name, name), value))
            .collect();
        state.push((
            metadata_key(NAMESPACES_PREFIX, &self.name),
            metadata_value(DEFINITION_DATATYPE, &names),
        ));
        state
    }

    /// Reads a definition through `read`, which looks a key up in the `_lifecycle` namespace.
    /// `None` when the chaincode is not defined or what is there is not a definition.
    #[must_use]
    pub fn from_state(name: &str, mut read: impl FnMut(&str) -> Option<Vec<u8>>) -> Option<Self> {
        let metadata = read(&metadata_key(NAMESPACES_PREFIX, name))?;
        let metadata = StateMetadata::decode(metadata.as_slice()).ok()?;
        if metadata.datatype != DEFINITION_DATATYPE {
            return None;
        }
        let mut field = |field: &str| {
            let value = read(&field_key(NAMESPACES_PREFIX, name, field))?;
            StateData::decode(value.as_slice()).ok()?.r#type
        };
        let Some(Type::Int64(sequence)) = field("Sequence") else {
            return None;
        };
        let mut message = |name: &str| match field(name) {
            Some(Type::Bytes(bytes)) => bytes,
            _ => Vec::new(),
        };
        let endorsement = message("EndorsementInfo");
        let endorsement = ChaincodeEndorsementInfo::decode(endorsement.as_slice()).ok()?;
        let validation = message("ValidationInfo");
        let validation = ChaincodeValidationInfo::decode(validation.as_slice()).ok()?;
        let collections = message("Collections");
        Some(Self {
            name: name.to_owned(),
            sequence,
            version: endorsement.version,
            init_required: endorsement.init_required,
            endorsement_plugin: endorsement.endorsement_plugin,
            validation_plugin: validation.validation_plugin,
            validation_parameter: validation.validation_parameter,
            collections: CollectionConfigPackage::decode(collections.as_slice()).ok()?,
        })
    }

    /// The definition of the lifecycle chaincode itself, which nobody commits.
    #[must_use]
    pub fn lifecycle() -> Self {
        Self {
            name: LIFECYCLE_NAMESPACE.to_owned(),
            sequence: 0,
            version: "syscc".to_owned(),
            init_required: false,
            endorsement_plugin: DEFAULT_ENDORSEMENT_PLUGIN.to_owned(),
            validation_plugin: DEFAULT_VALIDATION_PLUGIN.to_owned(),
            validation_parameter: reference(LIFECYCLE_POLICY_PATH).encode_to_vec(),
            collections: CollectionConfigPackage::default(),
        }
    }

    /// The endorsement policy; `None` when it cannot be decoded or is empty.
    #[must_use]
    pub fn endorsement_policy(&self) -> Option<ApplicationPolicy> {
        let policy = ApplicationPolicy::decode(self.validation_parameter.as_slice()).ok()?;
        policy.r#type.is_some().then_some(policy)
    }

    /// Configuration of a collection, explicit or implicit.
    #[must_use]
    pub fn collection(
        &self,
        collection: &str,
        config: &ChannelConfig,
    ) -> Option<StaticCollectionConfig> {
        if let Some(msp_id) = implicit_collection_organization(collection) {
            return implicit_collection(msp_id, config);
        }
        let mut statics = self.collections.config.iter().filter_map(|config| {
            let collection_config::Payload::StaticCollectionConfig(config) =
                config.payload.as_ref()?;
            Some(config)
        });
        statics.find(|config| config.name == collection).cloned()
    }
}

fn reference(path: &str) -> ApplicationPolicy {
    ApplicationPolicy {
        r#type: Some(application_policy::Type::ChannelConfigPolicyReference(
            path.to_owned(),
        )),
    }
}

/// The collection every organisation of the channel has: its own members, no expiry, endorsed
/// by itself.
fn implicit_collection(msp_id: &str, config: &ChannelConfig) -> Option<StaticCollectionConfig> {
    if !config
        .organizations()
        .iter()
        .any(|org| org.as_str() == msp_id)
    {
        return None;
    }
    let members = parse_policy(&format!("OR('{msp_id}.member')")).ok()?;
    let endorsement_policy = match config.organization_policy_path(msp_id, "Endorsement") {
        Some(path) => reference(&path),
        None => ApplicationPolicy {
            r#type: Some(application_policy::Type::SignaturePolicy(members.clone())),
        },
    };
    Some(StaticCollectionConfig {
        name: format!("_implicit_org_{msp_id}"),
        member_orgs_policy: Some(CollectionPolicyConfig {
            payload: Some(collection_policy_config::Payload::SignaturePolicy(members)),
        }),
        endorsement_policy: Some(endorsement_policy),
        ..StaticCollectionConfig::default()
    })
}

/// MSP IDs of the organisations whose peers hold the collection's values.
#[must_use]
pub fn member_organizations(collection: &StaticCollectionConfig) -> Vec<String> {
    use fabric_protos::common::msp_principal::Classification;
    use fabric_protos::common::{MspRole, OrganizationUnit};
    use fabric_protos::msp::SerializedIdentity;

    let payload = collection
        .member_orgs_policy
        .as_ref()
        .and_then(|policy| policy.payload.as_ref());
    let Some(collection_policy_config::Payload::SignaturePolicy(policy)) = payload else {
        return Vec::new();
    };
    let msp_id = |principal: &fabric_protos::common::MspPrincipal| {
        let bytes = principal.principal.as_slice();
        match principal.principal_classification() {
            Classification::Role => Some(MspRole::decode(bytes).ok()?.msp_identifier),
            Classification::OrganizationUnit => {
                Some(OrganizationUnit::decode(bytes).ok()?.msp_identifier)
            }
            Classification::Identity => Some(SerializedIdentity::decode(bytes).ok()?.mspid),
            Classification::Anonymity | Classification::Combined => None,
        }
    };
    let mut organizations: Vec<_> = policy.identities.iter().filter_map(msp_id).collect();
    organizations.sort();
    organizations.dedup();
    organizations
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::policy::parse_collections;

    fn definition() -> ChaincodeDefinition {
        ChaincodeDefinition {
            name: "salt".to_owned(),
            sequence: 2,
            version: "1.0".to_owned(),
            init_required: true,
            endorsement_plugin: "escc".to_owned(),
            validation_plugin: "vscc".to_owned(),
            validation_parameter: reference("/Channel/Application/Endorsement").encode_to_vec(),
            collections: parse_collections(
                br#"[{"name":"c","policy":"OR('A.member','B.member','A.admin')"}]"#,
            )
            .unwrap(),
        }
    }

    #[test]
    fn a_definition_survives_the_state() {
        let state: BTreeMap<_, _> = definition().to_state().into_iter().collect();
        assert_eq!(
            state.keys().map(String::as_str).collect::<Vec<_>>(),
            [
                "namespaces/fields/salt/Collections",
                "namespaces/fields/salt/EndorsementInfo",
                "namespaces/fields/salt/Sequence",
                "namespaces/fields/salt/ValidationInfo",
                "namespaces/metadata/salt",
            ]
        );
        let read = ChaincodeDefinition::from_state("salt", |key| state.get(key).cloned());
        assert_eq!(read, Some(definition()));
        assert_eq!(
            ChaincodeDefinition::from_state("other", |key| state.get(key).cloned()),
            None
        );
    }

    #[test]
    fn members_are_the_organisations_of_the_principals() {
        let package = definition().collections;
        let Some(collection_config::Payload::StaticCollectionConfig(config)) =
            &package.config[0].payload
        else {
            panic!("a parsed collection is static");
        };
        assert_eq!(member_organizations(config), ["A", "B"]);
    }
}
