//! What is odd and kept.

use super::*;
use crate::journal::Mark;

/// The names of what is odd about a message.
fn marks(payload: &str) -> Vec<&'static str> {
    let decoded = decode(&Hints::default(), payload.as_bytes(), received()).unwrap();
    decoded.marks.iter().map(Mark::name).collect()
}

#[test]
fn codes_that_cannot_be_are_marked_and_kept() {
    let odd_code = &["code-not-loinc"][..];
    let odd_unit = &["unit-not-ucum"][..];
    let quantity = |members: &str| observation(&format!(r#","valueQuantity":{{{members}}}"#));
    let ucum = r#""system":"http://unitsofmeasure.org""#;
    for (payload, expected) in [
        (
            quantity(&format!(
                r#""value":72,"unit":"beats","code":"/min",{ucum}"#
            )),
            &[][..],
        ),
        (quantity(r#""value":72,"unit":"/min""#), &[]),
        (quantity(&format!(r#""value":0.7,{ucum}"#)), &[]),
        (
            quantity(r#""value":72,"unit":"beats per minute""#),
            odd_unit,
        ),
        (
            quantity(&format!(r#""value":72,"unit":"bpm","code":"bpm",{ucum}"#)),
            odd_unit,
        ),
        (
            quantity(r#""value":72,"code":"/min","system":"http://example.org""#),
            odd_unit,
        ),
        (
            quantity(r#""value":72,"unit":"bpm""#).replace("8867-4", "8867-5"),
            &["code-not-loinc", "unit-not-ucum"],
        ),
        (observation("").replace("8867-4", "8876-4"), odd_code),
        (
            observation("").replace("http://loinc.org", "http://example.org"),
            odd_code,
        ),
        (
            observation(r#","component":[{"valueQuantity":{"value":1,"unit":"mmHg"}}]"#),
            odd_unit,
        ),
        (
            r#"{"seq":1,"code":"8867-4","value":72,"unit":"/min"}"#.to_owned(),
            &[],
        ),
        (
            r#"{"seq":1,"code":"8867-3","value":72,"unit":"/min"}"#.to_owned(),
            odd_code,
        ),
        (
            r#"{"seq":1,"code":"spo2","value":97,"unit":"%"}"#.to_owned(),
            &[],
        ),
        (
            r#"{"seq":1,"code":"spo2","value":97,"unit":"percent"}"#.to_owned(),
            odd_unit,
        ),
    ] {
        let payload = match payload.contains("resourceType") {
            true => payload.replacen('{', r#"{"issued":"2025-06-01T10:00:00Z","#, 1),
            false => payload,
        };
        assert_eq!(marks(&payload), expected, "{payload}");
    }
}

/// 1,542 Observations of another program, where they lie beside the project.
#[test]
fn real_observations_are_read_without_a_mark() {
    use std::io::Write as _;
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../shared/data/observations.ndjson"
    );
    if !std::path::Path::new(file).is_file() {
        let line = "SKIPPED real_observations_are_read_without_a_mark: the samples are absent";
        return writeln!(std::io::stderr(), "{line}").unwrap();
    }
    let lines = std::fs::read_to_string(file).unwrap();
    let mut count = 0;
    for line in lines.lines() {
        let decoded = decode(&of_type(FHIR_JSON), line.as_bytes(), received()).unwrap();
        assert_eq!(decoded.marks, Marks::default(), "{line}");
        count += 1;
    }
    assert!(count > 1000, "{count}");
}
