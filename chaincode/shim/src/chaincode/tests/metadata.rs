//! The description that `GetMetadata` answers.

use serde_json::{Value, json};

use super::said;
use crate::testing::Tx;

async fn metadata_of_all() -> Value {
    let told = said(Tx::evaluate("org.hyperledger.fabric:GetMetadata")).await;
    serde_json::from_str(&told.unwrap()).unwrap()
}

#[tokio::test]
async fn metadata_describe_functions_parameters_and_results() {
    let metadata = metadata_of_all().await;
    let contracts = metadata["contracts"].as_object().unwrap();
    let names: Vec<&str> = contracts.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "Hooked",
            "coded",
            "org.example:writer",
            "org.hyperledger.fabric",
            "types"
        ]
    );
    assert_eq!(metadata["contracts"]["types"]["default"], json!(true));
    assert_eq!(metadata["contracts"]["coded"]["default"], json!(false));
    let transaction = |name: &str| {
        let all = metadata["contracts"]["types"]["transactions"]
            .as_array()
            .unwrap();
        all.iter()
            .find(|known| known["name"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(transaction("Nothing")["tag"], json!(["submit", "SUBMIT"]));
    assert_eq!(transaction("Nothing").get("returns"), None);
    assert_eq!(
        transaction("EchoText")["tag"],
        json!(["evaluate", "EVALUATE"])
    );
    assert_eq!(
        transaction("Many")["parameters"],
        json!([
            {"name": "asset", "required": true, "schema": {"$ref": "#/components/schemas/Asset"}},
            {"name": "map", "required": true, "schema": {
                "type": "object",
                "additionalProperties": {"type": "integer", "format": "uint64", "minimum": 0}}},
            {"name": "pair", "required": true, "schema": {
                "type": "array", "minItems": 2, "maxItems": 2,
                "items": [{"type": "integer", "format": "int8"}, {"type": "boolean"}]}},
            {"name": "shape", "required": true, "schema": {"$ref": "#/components/schemas/Shape"}},
        ])
    );
    assert_eq!(
        transaction("Optional")["parameters"][0],
        json!({"name": "first", "required": false,
            "schema": {"type": "integer", "format": "uint8", "minimum": 0}})
    );
    assert_eq!(
        transaction("EchoBytes")["returns"],
        json!({"type": "string", "format": "binary"})
    );
    assert_eq!(transaction("Pages")["parameters"][0]["schema"], json!({}));
    assert_eq!(
        transaction("Pages")["returns"],
        json!({"$ref": "#/components/schemas/Page_Part"})
    );
}

#[tokio::test]
async fn metadata_describe_types_as_serde_writes_them() {
    let metadata = metadata_of_all().await;
    let schemas = &metadata["components"]["schemas"];
    assert_eq!(
        schemas["Asset"],
        json!({
            "$id": "Asset",
            "type": "object",
            "additionalProperties": false,
            "required": ["assetId", "size", "parts"],
            "properties": {
                "assetId": {"type": "string"},
                "size": {"type": "integer", "format": "uint32", "minimum": 0, "maximum": 10},
                "tags": {"type": "array", "items": {"type": "string"}},
                "colour": {"type": "string", "enum": ["red", "darkblue"]},
                "parts": {"type": "array", "items": {"$ref": "Part"}},
            },
        })
    );
    assert_eq!(
        schemas["Part"],
        json!({
            "$id": "Part",
            "type": "object",
            "required": ["weight"],
            "properties": {
                "weight": {"type": "number", "format": "double"},
                "inner": {"$ref": "Part"},
            },
        })
    );
    assert_eq!(
        schemas["Shape"],
        json!({
            "$id": "Shape",
            "oneOf": [
                {
                    "type": "object",
                    "required": ["kind", "radius"],
                    "properties": {
                        "kind": {"type": "string", "enum": ["circle"]},
                        "radius": {"type": "integer", "format": "uint8", "minimum": 0},
                    },
                },
                {
                    "type": "object",
                    "required": ["kind"],
                    "properties": {"kind": {"type": "string", "enum": ["point"]}},
                },
            ],
        })
    );
    assert_eq!(schemas["Page_Part"]["$id"], "Page_Part");
}

/// The keywords that the official contract schema allows where a parameter is described.
const SCHEMA_KEYWORDS: &[&str] = &[
    "$ref",
    "format",
    "title",
    "description",
    "default",
    "multipleOf",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "maxItems",
    "minItems",
    "uniqueItems",
    "maxProperties",
    "minProperties",
    "required",
    "enum",
    "additionalProperties",
    "type",
    "items",
    "allOf",
    "properties",
    "discriminator",
    "readOnly",
    "example",
];

fn check_schema(schema: &Value) {
    for (keyword, value) in schema.as_object().unwrap() {
        assert!(
            SCHEMA_KEYWORDS.contains(&keyword.as_str()),
            "{keyword} in {schema}"
        );
        match keyword.as_str() {
            "items" => match value {
                Value::Array(items) => {
                    assert!(!items.is_empty());
                    items.iter().for_each(check_schema);
                }
                item => check_schema(item),
            },
            "additionalProperties" if value.is_object() => check_schema(value),
            "properties" => value.as_object().unwrap().values().for_each(check_schema),
            "required" => assert!(!value.as_array().unwrap().is_empty()),
            _ => {}
        }
    }
}

#[tokio::test]
async fn metadata_keep_the_official_schemas_rules() {
    let metadata = metadata_of_all().await;
    assert!(metadata["info"]["title"].is_string() && metadata["info"]["version"].is_string());
    for contract in metadata["contracts"].as_object().unwrap().values() {
        assert!(contract["name"].is_string());
        assert!(contract["info"]["title"].is_string() && contract["info"]["version"].is_string());
        for transaction in contract["transactions"].as_array().unwrap() {
            assert!(transaction["name"].is_string());
            let parameters = transaction["parameters"].as_array().unwrap();
            for parameter in parameters {
                let keys: Vec<&str> = parameter
                    .as_object()
                    .unwrap()
                    .keys()
                    .map(String::as_str)
                    .collect();
                assert_eq!(keys, ["name", "required", "schema"]);
                check_schema(&parameter["schema"]);
            }
            if let Some(returns) = transaction.get("returns") {
                check_schema(returns);
            }
        }
    }
    for (name, component) in metadata["components"]["schemas"].as_object().unwrap() {
        assert_eq!(component["$id"], json!(name));
    }
}
