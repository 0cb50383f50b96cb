//! The OpenAPI document against the routes, against itself and against the last one agreed on.

use super::*;

#[tokio::test]
async fn every_described_path_has_a_route_that_asks_who_calls() {
    let world = world();
    let described = world.get(None, "/openapi.json").await.json();
    let paths = described["paths"].as_object().expect("paths");
    for (path, methods) in paths.iter().filter(|(path, _)| path.starts_with("/v1/")) {
        for method in methods.as_object().expect("methods").keys() {
            let request = Request::builder()
                .method(method.to_uppercase().as_str())
                .uri(path.replace("{id}", RECORD))
                .body(Full::default())
                .expect("a request");
            // A new device has no certificate: it shows a token.
            let code = match path.as_str() {
                "/v1/enrolments/certificate" => "TOKEN_REQUIRED",
                _ => "CERTIFICATE_REQUIRED",
            };
            refused(&world.send(None, request).await, 401, code);
        }
    }
}

/// The addresses as the router's source has them: warp's filters cannot be asked.
#[test]
fn every_route_is_described_and_nothing_else() {
    let source = include_str!("../routes.rs");
    let routed: BTreeSet<String> = source
        .split("warp::path!(")
        .skip(1)
        .map(|rest| {
            let (segments, _) = rest.split_once(')').expect("the macro's end");
            let segments = segments.split('/').map(|segment| match segment.trim() {
                "String" => "/{id}".to_owned(),
                name => format!("/{}", name.trim_matches('"')),
            });
            segments.collect()
        })
        .collect();
    let document = openapi_document().paths.paths;
    let described: BTreeSet<String> = document.keys().cloned().collect();
    assert_eq!(routed, described);
    for (method, count) in [
        (
            "get",
            document.values().filter(|item| item.get.is_some()).count(),
        ),
        (
            "post",
            document.values().filter(|item| item.post.is_some()).count(),
        ),
    ] {
        let calls = source.matches(&format!("warp::{method}()")).count();
        assert_eq!(calls, count, "{method}");
    }
    let operations = document.values().flat_map(|item| [&item.get, &item.post]);
    let ids: Vec<_> = operations
        .flatten()
        .map(|operation| operation.operation_id.as_deref())
        .collect();
    let distinct: BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len(), "{ids:?}");
    // No route takes a method that is not counted above.
    for method in ["put", "patch", "delete", "head", "options"] {
        assert!(!source.contains(&format!("warp::{method}()")), "{method}");
    }
}

/// Every value below `value` that is named `$ref`.
fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member.as_str().filter(|_| name == "$ref") {
                    Some(reference) => found.push(reference),
                    None => references(member, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn every_schema_that_is_named_is_there() {
    let document = serde_json::to_value(openapi_document()).expect("JSON");
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 100, "{}", found.len());
    for reference in found {
        let pointer = reference.strip_prefix('#').expect("in this document");
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn every_operation_says_what_it_does_takes_and_refuses() {
    let document = serde_json::to_value(openapi_document()).expect("JSON");
    let tags: BTreeSet<&str> = document["tags"]
        .as_array()
        .expect("tags")
        .iter()
        .filter_map(|tag| tag["name"].as_str())
        .collect();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let at = format!("{method} {path}");
            assert!(operation["summary"].is_string(), "{at}");
            let tag = operation["tags"][0].as_str().expect("a tag");
            assert!(tags.contains(tag), "{at}: {tag}");
            let problem = &operation["responses"]["default"]["content"];
            assert!(problem.get("application/problem+json").is_some(), "{at}");
            if path.contains("{id}") {
                let parameters = operation["parameters"].as_array().expect("parameters");
                assert!(
                    parameters
                        .iter()
                        .any(|p| p["name"] == "id" && p["required"] == true),
                    "{at}"
                );
            }
            let good = operation["responses"].as_object().expect("responses");
            assert!(good.keys().any(|status| status.starts_with('2')), "{at}");
        }
    }
}

/// Reads the example of a schema as the type that the contracts or the log have.
fn example<T: serde::de::DeserializeOwned>(document: &Value, schema: &str) -> T {
    let example = &document["components"]["schemas"][schema]["example"];
    serde_json::from_value(example.clone()).unwrap_or_else(|error| panic!("{schema}: {error}"))
}

#[test]
fn the_examples_are_good_ones() {
    use contract_interface::access;

    let document = serde_json::to_value(openapi_document()).expect("JSON");
    let grant: access::Grant = example(&document, "Grant");
    grant.validate().expect("a good grant");
    let policy: access::Policy = example(&document, "Policy");
    policy.validate().expect("a good policy");
    let delegation: access::Delegation = example(&document, "Delegation");
    delegation.validate().expect("a good delegation");
    let request: access::AccessRequest = example(&document, "AccessRequest");
    request.validate().expect("a good request");
    let _: access::Emergency = example(&document, "Emergency");
    let _: access::Notice = example(&document, "Notice");
    let _: access::ReadEntry = example(&document, "ReadEntry");
    let _: crate::refusals::Line = example(&document, "RefusalLine");

    let explained: Value = example(&document, "AccessExplained");
    let explanation = access::Explanation {
        verdict: access::Verdict {
            reason: contract_interface::ReasonCode::PurposeNotCovered,
            rule: serde_json::from_value(explained["rule"].clone()).expect("a rule"),
        },
        considered: serde_json::from_value(explained["considered"].clone()).expect("rules"),
        registrar: "Org1MSP".parse().expect("a name"),
        patient_msp: "Org3MSP".parse().expect("a name"),
    };
    let sentence = sentences::of_explanation(&explanation, sentences::Addressee::Reader);
    let same = types::AccessExplained::new(explanation, sentence);
    assert_eq!(serde_json::to_value(same).expect("JSON"), explained);
}

/// The description as it was last agreed on; `SALUS_BLESS=1` writes it anew.
#[tokio::test]
async fn the_description_is_the_golden_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let mut described = openapi_document().to_pretty_json().expect("JSON");
    described.push('\n');
    if std::env::var_os("SALUS_BLESS").is_some() {
        std::fs::write(&path, &described).expect("written");
    }
    let golden = std::fs::read_to_string(&path).expect("the golden file");
    assert!(
        described == golden,
        "the API's description has changed; look at it and set SALUS_BLESS=1"
    );
}
