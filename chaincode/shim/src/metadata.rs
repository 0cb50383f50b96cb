//! The description of a chaincode that clients can ask for: JSON as Fabric's contract schema has
//! it (draft 4), with a component for every derived type.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value, json};

use crate::{Access, Contract};

mod types;

pub use types::ContractType;

/// A JSON schema for one value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schema(Map<String, Value>);

impl Schema {
    /// A schema that allows every JSON value.
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// A value of this JSON type.
    #[must_use]
    pub fn of_type(name: &str) -> Self {
        Self::any().with("type", name)
    }

    /// A string that is one of these.
    #[must_use]
    pub fn one_of_strings(values: &[&str]) -> Self {
        Self::of_type("string").with("enum", json!(values))
    }

    /// An array of fixed length with a schema for each place.
    #[must_use]
    pub fn tuple(items: Vec<Self>) -> Self {
        let length = items.len();
        let items: Vec<Value> = items.into_iter().map(Self::into_value).collect();
        let array = Self::of_type("array")
            .with("minItems", length)
            .with("maxItems", length);
        // An empty list of schemas is not allowed.
        if items.is_empty() {
            array
        } else {
            array.with("items", items)
        }
    }

    /// A value that fits exactly one of these. Only in a component.
    #[must_use]
    pub fn one_of(alternatives: Vec<Self>) -> Self {
        let alternatives: Vec<Value> = alternatives.into_iter().map(Self::into_value).collect();
        Self::any().with("oneOf", alternatives)
    }

    /// An object with these members; those named in `required` must be there.
    #[must_use]
    pub fn object(members: Vec<(&str, Self)>, required: &[&str]) -> Self {
        let properties: Map<String, Value> = members
            .into_iter()
            .map(|(name, schema)| (name.to_owned(), schema.into_value()))
            .collect();
        let object = Self::of_type("object").with("properties", properties);
        // Draft 4 does not allow an empty list.
        if required.is_empty() {
            return object;
        }
        object.with("required", json!(required))
    }

    /// The same with one keyword more.
    #[must_use]
    pub fn with(mut self, keyword: &str, value: impl Into<Value>) -> Self {
        self.0.insert(keyword.to_owned(), value.into());
        self
    }

    pub(crate) fn into_value(self) -> Value {
        Value::Object(self.0)
    }
}

/// The named schemas that a document refers to.
#[derive(Debug, Default)]
pub struct Schemas {
    components: BTreeMap<String, Schema>,
    depth: usize,
}

impl Schemas {
    /// Defines a type once, under its name, and returns a reference to it.
    pub fn component(&mut self, name: &str, build: impl FnOnce(&mut Self) -> Schema) -> Schema {
        if !self.components.contains_key(name) {
            // Stands in while the type is built, so that a type may contain itself.
            self.components.insert(name.to_owned(), Schema::any());
            self.depth += 1;
            let schema = build(self).with("$id", name);
            self.depth -= 1;
            self.components.insert(name.to_owned(), schema);
        }
        // Inside a component a reference is resolved against that component's $id.
        let reference = if self.depth == 0 {
            format!("#/components/schemas/{name}")
        } else {
            name.to_owned()
        };
        Schema::any().with("$ref", reference)
    }
}

/// A parameter of a transaction function.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterMetadata {
    /// Its name in the contract's code.
    pub name: &'static str,
    /// Whether it has to be given.
    pub required: bool,
    /// What it looks like.
    pub schema: Schema,
}

/// A transaction function as the metadata describe it.
#[derive(Clone, Debug, PartialEq)]
pub struct TransactionMetadata {
    /// The name on the wire.
    pub name: &'static str,
    /// How clients are meant to call it.
    pub access: Access,
    /// Its parameters, in order.
    pub parameters: Vec<ParameterMetadata>,
    /// Its result, if it has one.
    pub returns: Option<Schema>,
}

impl TransactionMetadata {
    fn into_value(self) -> Value {
        // Both spellings are in use among clients.
        let tags = match self.access {
            Access::Submit => ["submit", "SUBMIT"],
            Access::Evaluate => ["evaluate", "EVALUATE"],
        };
        let parameters = self.parameters.into_iter().map(|parameter| {
            json!({
                "name": parameter.name,
                "required": parameter.required,
                "schema": parameter.schema.into_value(),
            })
        });
        let mut value = json!({
            "name": self.name,
            "tag": tags,
            "parameters": parameters.collect::<Vec<_>>(),
        });
        if let (Some(returns), Value::Object(map)) = (self.returns, &mut value) {
            map.insert("returns".to_owned(), returns.into_value());
        }
        value
    }
}

/// The whole document.
pub(crate) fn document(contracts: &[Arc<dyn Contract>], title: &str, version: &str) -> Vec<u8> {
    let mut schemas = Schemas::default();
    let mut described = Map::new();
    for (index, contract) in contracts.iter().enumerate() {
        let transactions = contract.describe(&mut schemas);
        let value = contract_value(contract.name(), version, transactions, index == 0);
        described.insert(contract.name().to_owned(), value);
    }
    let get_metadata = TransactionMetadata {
        name: crate::chaincode::GET_METADATA,
        access: Access::Evaluate,
        parameters: vec![],
        returns: Some(Schema::of_type("string")),
    };
    let system = crate::chaincode::SYSTEM_CONTRACT;
    described.insert(
        system.to_owned(),
        contract_value(system, version, vec![get_metadata], false),
    );
    let components: Map<String, Value> = schemas
        .components
        .into_iter()
        .map(|(name, schema)| (name, schema.into_value()))
        .collect();
    let document = json!({
        "$schema": "https://hyperledger.github.io/fabric-chaincode-node/main/api/contract-schema.json",
        "info": { "title": title, "version": version },
        "contracts": described,
        "components": { "schemas": components },
    });
    document.to_string().into_bytes()
}

fn contract_value(
    name: &str,
    version: &str,
    transactions: Vec<TransactionMetadata>,
    default: bool,
) -> Value {
    let transactions = transactions
        .into_iter()
        .map(TransactionMetadata::into_value);
    json!({
        "name": name,
        "info": { "title": name, "version": version },
        "default": default,
        "transactions": transactions.collect::<Vec<_>>(),
    })
}
