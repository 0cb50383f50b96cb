//! FHIR Observations and Bundles of them.

use super::*;

#[test]
fn observations() {
    let now = "2026-01-02T03:04:05Z";
    for (rest, expected) in [
        (
            r#","effectiveDateTime":"2025-06-01T12:00:00.75+02:00","valueQuantity":{"value":72,"unit":"/min"}"#,
            Ok(("8867-4", Some(7), AT, AT)),
        ),
        (
            r#","effectiveInstant":"2025-06-01T10:00:00Z""#,
            Ok(("8867-4", Some(7), AT, AT)),
        ),
        (
            r#","effectiveDateTime":"2025-02""#,
            Ok((
                "8867-4",
                Some(7),
                "2025-02-01T00:00:00Z",
                "2025-02-28T23:59:59Z",
            )),
        ),
        (
            r#","effectiveDateTime":"2024""#,
            Ok((
                "8867-4",
                Some(7),
                "2024-01-01T00:00:00Z",
                "2024-12-31T23:59:59Z",
            )),
        ),
        (
            r#","effectivePeriod":{"start":"2025-06-01T10:00:00Z","end":"2025-06-02"}"#,
            Ok(("8867-4", Some(7), AT, "2025-06-02T23:59:59Z")),
        ),
        (
            r#","issued":"2025-06-01T10:00:00Z""#,
            Ok(("8867-4", Some(7), AT, AT)),
        ),
        ("", Ok(("8867-4", Some(7), now, now))),
        (
            r#","effectivePeriod":{"start":"2025-06-02","end":"2025-06-01"}"#,
            Err("payload-period"),
        ),
        (
            r#","effectivePeriod":{"end":"2025"}"#,
            Err("payload-member-missing"),
        ),
        (r#","effectiveDateTime":"yesterday""#, Err("payload-time")),
        (r#","effectiveDateTime":"2025-02-30""#, Err("payload-time")),
        (r#","effectiveDateTime":"+025""#, Err("payload-time")),
        (
            r#","effectiveDateTime":20250601"#,
            Err("payload-member-type"),
        ),
        (
            r#","valueQuantity":{"value":72,"unit":1}"#,
            Err("payload-member-type"),
        ),
        (
            r#","valueQuantity":{"value":"72","unit":"/min"}"#,
            Err("payload-member-type"),
        ),
        (r#","valueQuantity":72"#, Err("payload-member-type")),
        (
            r#","component":[{"valueQuantity":{"value":1,"unit":{}}}]"#,
            Err("payload-member-type"),
        ),
        (r#","component":{}"#, Err("payload-member-type")),
    ] {
        let hints = Hints {
            sequence: Some(7),
            ..of_type("application/fhir+json; fhirVersion=4.0")
        };
        check(&hints, observation(rest).as_bytes(), expected);
    }
}

#[test]
fn other_resources_are_refused() {
    for (payload, name) in [
        (r#"{"resourceType":"Patient"}"#, "payload-resource-type"),
        (r#"{"resourceType":3}"#, "payload-resource-type"),
        (r#"[]"#, "payload-member-type"),
        (
            r#"{"resourceType":"Observation"}"#,
            "payload-member-missing",
        ),
        (
            r#"{"resourceType":"Observation","status":"final"}"#,
            "payload-member-missing",
        ),
        (
            r#"{"resourceType":"Observation","status":"final","code":{"coding":[{"code":"a b"}]}}"#,
            "payload-member-missing",
        ),
        ("not JSON", "payload-not-json"),
        ("", "payload-empty"),
        (r#"{"a":1e400}"#, "payload-not-json"),
        ("\"\u{fffd}", "payload-not-json"),
    ] {
        check(&of_type(FHIR_JSON), payload.as_bytes(), Err(name));
    }
    check(&of_type(FHIR_JSON), b"\xff\xfe", Err("payload-not-json"));
    let deep = "[".repeat(100_000);
    check(&of_type(JSON), deep.as_bytes(), Err("payload-not-json"));
}

#[test]
fn bundles() {
    let vital = r#","category":[{"coding":[{"code":"vital-signs"}]}],"effectiveDateTime":"2025-06-01T10:00:00Z""#;
    let later = vital.replace("06-01", "06-03");
    let heart = observation(vital);
    let weight = observation(&later).replace("8867-4", "29463-7");
    let bundle = |entries: &[&str]| {
        let entries: Vec<_> = entries
            .iter()
            .map(|resource| format!(r#"{{"resource":{resource}}}"#))
            .collect();
        format!(
            r#"{{"resourceType":"Bundle","type":"collection","entry":[{}]}}"#,
            entries.join(",")
        )
    };
    let end = "2025-06-03T10:00:00Z";
    for (payload, expected) in [
        (bundle(&[&heart, &heart]), Ok(("8867-4", None, AT, AT))),
        (
            bundle(&[&heart, &weight]),
            Ok(("vital-signs", None, AT, end)),
        ),
        (
            bundle(&[&heart, &weight.replace("vital-signs", "laboratory")]),
            Ok(("bundle", None, AT, end)),
        ),
        (bundle(&[]), Err("payload-bundle-empty")),
        (
            r#"{"resourceType":"Bundle"}"#.to_owned(),
            Err("payload-bundle-empty"),
        ),
        (
            bundle(&[r#"{"resourceType":"Patient"}"#]),
            Err("payload-resource-type"),
        ),
        (
            r#"{"resourceType":"Bundle","entry":[{}]}"#.to_owned(),
            Err("payload-member-missing"),
        ),
        (
            r#"{"resourceType":"Bundle","entry":{}}"#.to_owned(),
            Err("payload-member-type"),
        ),
        (
            bundle(&[&heart, &heart.replace("final", "done")]),
            Err("payload-member-type"),
        ),
    ] {
        check(&Hints::default(), payload.as_bytes(), expected);
    }
}

#[test]
fn a_wrong_entry_of_a_bundle_is_named_with_its_member() {
    let good = observation("");
    for (wrong, expected) in [
        (
            observation(r#","valueQuantity":{"value":"72"}"#),
            "entry 1: valueQuantity.value must be a number",
        ),
        (
            observation(r#","effectiveDateTime":"soon""#),
            "entry 1: effectiveDateTime is not a time",
        ),
        (
            observation(r#","component":[{"valueSampledData":{"origin":{}}}]"#),
            "entry 1: valueSampledData.period is missing",
        ),
        (
            r#"{"resourceType":"Device"}"#.to_owned(),
            "entry 1: a resource of type Observation or Bundle is expected",
        ),
        (
            observation(r#","encounter":{"reference":"Encounter/2"}"#),
            "entry 1: the bundle's observations differ in security labels or encounter",
        ),
    ] {
        let bundle = format!(
            r#"{{"resourceType":"Bundle","type":"collection","entry":[{{"resource":{good}}},{{"resource":{wrong}}}]}}"#
        );
        let error = decode(&Hints::default(), bundle.as_bytes(), received()).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}
