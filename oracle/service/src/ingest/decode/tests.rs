//! Tables of messages and what is made of them.

use contract_interface::UtcTime;
use minicbor::Encoder;

use super::*;
use crate::journal::Mark;

fn received() -> UtcTime {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

fn of_type(content_type: &str) -> Hints {
    Hints {
        content_type: Some(content_type.to_owned()),
        ..Hints::default()
    }
}

fn check(hints: &Hints, payload: &[u8], expected: Result<(&str, Option<u64>, &str, &str), &str>) {
    let decoded = decode(hints, payload, received());
    let seen = decoded
        .as_ref()
        .map(|d| {
            (
                d.code.as_str(),
                d.sequence,
                d.period.start.to_string(),
                d.period.end.to_string(),
            )
        })
        .map_err(DecodeError::name);
    let expected =
        expected.map(|(code, seq, start, end)| (code, seq, start.to_owned(), end.to_owned()));
    assert_eq!(seen, expected, "{}", String::from_utf8_lossy(payload));
}

const AT: &str = "2025-06-01T10:00:00Z";

fn observation(rest: &str) -> String {
    format!(
        r#"{{"resourceType":"Observation","status":"final","code":{{"coding":[{{"system":"http://snomed.info/sct","code":"364075005"}},{{"system":"http://loinc.org","code":"8867-4"}}]}}{rest}}}"#
    )
}

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

#[test]
fn a_waveform_covers_the_time_of_its_samples() {
    let sampled = |effective: &str, data: &str| {
        observation(&format!(
            r#","effectiveDateTime":"{effective}","valueSampledData":{{"origin":{{"value":0}},"period":500,"dimensions":1,"data":"{data}"}}"#
        ))
    };
    let five_seconds = "2025-06-01T10:00:04Z";
    let ten = "1 2 3 4 5 6 7 8 9 10";
    check(
        &Hints::default(),
        sampled(AT, ten).as_bytes(),
        Ok(("8867-4", None, AT, five_seconds)),
    );
    check(
        &Hints::default(),
        sampled(AT, "1").as_bytes(),
        Ok(("8867-4", None, AT, AT)),
    );
    let day = (
        "8867-4",
        None,
        "2025-06-01T00:00:00Z",
        "2025-06-01T23:59:59Z",
    );
    check(
        &Hints::default(),
        sampled("2025-06-01", ten).as_bytes(),
        Ok(day),
    );
    let compact = |rest: &str| {
        format!(
            r#"{{"time":"{AT}","code":"11524-6","unit":"mV","value":[1,2,3,4,5,6,7,8,9,10]{rest}}}"#
        )
    };
    let whole = ("11524-6", None, AT, five_seconds);
    check(
        &Hints::default(),
        compact(r#","interval_ms":500"#).as_bytes(),
        Ok(whole),
    );
    for wrong in ["0", "-1", "\"1\"", "1e12"] {
        let payload = compact(&format!(r#","interval_ms":{wrong}"#));
        check(
            &Hints::default(),
            payload.as_bytes(),
            Err("payload-member-type"),
        );
    }
    let single = format!(r#"{{"time":"{AT}","code":"a","unit":"mV","value":1,"interval_ms":5}}"#);
    check(
        &Hints::default(),
        single.as_bytes(),
        Err("payload-member-type"),
    );
    let binary = cbor(|e| {
        e.map(5).unwrap();
        e.str("time").unwrap().str(AT).unwrap();
        e.str("code").unwrap().str("11524-6").unwrap();
        e.str("unit").unwrap().str("mV").unwrap();
        e.str("interval_ms").unwrap().u16(2500).unwrap();
        e.str("value")
            .unwrap()
            .array(2)
            .unwrap()
            .f32(0.5)
            .unwrap()
            .i8(-1)
            .unwrap();
    });
    check(&of_type(CBOR), &binary, Ok(whole));
    let mixed = cbor(|e| {
        e.map(1)
            .unwrap()
            .str("value")
            .unwrap()
            .array(1)
            .unwrap()
            .str("x")
            .unwrap();
    });
    check(&of_type(CBOR), &mixed, Err("payload-member-type"));
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

/// Ten seconds of lead II at 1 kHz as an Observation and as a compact reading, where they lie beside the project.
#[test]
fn a_real_electrocardiogram_covers_its_ten_seconds() {
    use std::io::Write as _;
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../shared/data/ecg-lead-ii.csv"
    );
    let Ok(text) = std::fs::read_to_string(file) else {
        let line = "SKIPPED a_real_electrocardiogram_covers_its_ten_seconds: the sample is absent";
        return writeln!(std::io::stderr(), "{line}").unwrap();
    };
    let lines = text.lines().skip(1);
    let values: Vec<&str> = lines
        .filter_map(|line| Some(line.split_once(',')?.1))
        .collect();
    assert_eq!(values.len(), 10_000);
    let end = "2025-06-01T10:00:09Z";
    let sampled = observation(&format!(
        r#","effectiveDateTime":"{AT}","valueSampledData":{{"origin":{{"value":0,"unit":"uV"}},"period":1,"dimensions":1,"data":"{}"}}"#,
        values.join(" ")
    ));
    let whole = Ok(("8867-4", None, AT, end));
    check(&Hints::default(), sampled.as_bytes(), whole);
    let compact = format!(
        r#"{{"time":"{AT}","code":"8867-4","unit":"uV","interval_ms":1,"value":[{}]}}"#,
        values.join(",")
    );
    check(&Hints::default(), compact.as_bytes(), whole);
}

#[test]
fn compact_json() {
    for (payload, expected) in [
        (
            r#"{"seq":1,"time":"2025-06-01T10:00:00Z","code":"8867-4","value":72,"unit":"/min"}"#,
            Ok(("8867-4", Some(1), AT, AT)),
        ),
        (
            r#"{"time":1748772000.9,"code":"spo2","value":[97,98],"unit":"%"}"#,
            Ok(("spo2", None, AT, AT)),
        ),
        (
            r#"{"time":1748772000,"code":"note","value":"calm"}"#,
            Ok(("note", None, AT, AT)),
        ),
        (
            r#"{"code":"8867-4","value":72,"unit":"/min"}"#,
            Err("payload-member-missing"),
        ),
        (
            r#"{"seq":1,"value":72,"unit":"/min"}"#,
            Err("payload-member-missing"),
        ),
        (
            r#"{"seq":1,"code":"a","unit":"/min"}"#,
            Err("payload-member-missing"),
        ),
        (
            r#"{"seq":1,"code":"a","value":1}"#,
            Err("payload-member-missing"),
        ),
        (
            r#"{"seq":1,"code":"a","value":1,"unit":5}"#,
            Err("payload-member-type"),
        ),
        (
            r#"{"seq":1,"code":"a","value":1,"unit":""}"#,
            Err("payload-member-type"),
        ),
        (
            r#"{"seq":1,"code":"a","value":null}"#,
            Err("payload-member-type"),
        ),
        (
            r#"{"seq":1,"code":"a","value":["x"]}"#,
            Err("payload-member-type"),
        ),
        (
            r#"{"seq":1,"code":"a/b","value":true}"#,
            Err("payload-member-type"),
        ),
        (
            r#"{"seq":-1,"code":"a","value":true}"#,
            Err("sequence-malformed"),
        ),
        (
            r#"{"seq":1.5,"code":"a","value":true}"#,
            Err("sequence-malformed"),
        ),
        (
            r#"{"seq":"1","code":"a","value":true}"#,
            Err("sequence-malformed"),
        ),
        (
            r#"{"time":"10:00","code":"a","value":true}"#,
            Err("payload-time"),
        ),
        (
            r#"{"time":1e300,"code":"a","value":true}"#,
            Err("payload-time"),
        ),
        (r#"3"#, Err("payload-member-type")),
    ] {
        check(&Hints::default(), payload.as_bytes(), expected);
        check(&of_type(READING_JSON), payload.as_bytes(), expected);
    }
    let hints = Hints {
        sequence: Some(2),
        ..Hints::default()
    };
    check(
        &hints,
        br#"{"seq":1,"code":"a","value":true}"#,
        Err("sequence-differs"),
    );
}

fn cbor(write: impl FnOnce(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut Encoder::new(&mut bytes));
    bytes
}

#[test]
fn compact_cbor() {
    let whole = cbor(|e| {
        e.map(6).unwrap();
        e.str("seq").unwrap().u64(u64::MAX).unwrap();
        e.str("time")
            .unwrap()
            .tag(minicbor::data::Tag::new(1))
            .unwrap();
        e.i64(1_748_772_000).unwrap();
        e.str("code").unwrap().str("8867-4").unwrap();
        e.str("value").unwrap().f32(72.5).unwrap();
        e.str("unit").unwrap().str("/min").unwrap();
        e.str("extra")
            .unwrap()
            .map(1)
            .unwrap()
            .u8(1)
            .unwrap()
            .array(1)
            .unwrap()
            .bool(true)
            .unwrap();
    });
    check(
        &of_type(CBOR),
        &whole,
        Ok(("8867-4", Some(u64::MAX), AT, AT)),
    );
    for end in 1..whole.len() {
        let name = decode(&of_type(READING_CBOR), &whole[..end], received()).unwrap_err();
        assert_eq!(name.name(), "payload-not-cbor", "cut at {end}");
    }
    check(
        &of_type(CBOR),
        &[&whole[..], &[0]].concat(),
        Err("payload-not-cbor"),
    );
    let indefinite = cbor(|e| {
        e.begin_map().unwrap();
        e.str("time").unwrap().str(AT).unwrap();
        e.str("code").unwrap().str("x").unwrap();
        e.str("value").unwrap().bool(true).unwrap();
        e.end().unwrap();
    });
    check(&of_type(CBOR), &indefinite, Ok(("x", None, AT, AT)));
    for (write, name) in [
        (cbor(|e| drop(e.u8(1))), "payload-member-type"),
        (
            cbor(|e| drop(e.map(1).unwrap().str("unit").unwrap().u8(1))),
            "payload-member-type",
        ),
        (
            cbor(|e| drop(e.map(1).unwrap().str("seq").unwrap().i8(-1))),
            "sequence-malformed",
        ),
        (
            cbor(|e| drop(e.map(1).unwrap().str("time").unwrap().null())),
            "payload-time",
        ),
        (
            cbor(|e| drop(e.map(1).unwrap().str("time").unwrap().f64(f64::NAN))),
            "payload-member-missing",
        ),
    ] {
        let seen = decode(&of_type(CBOR), &write, received())
            .unwrap_err()
            .name();
        assert_eq!(seen, name);
    }
    let deep = [vec![0xa1, 0x61, b'a'], vec![0x81; 50_000], vec![0]].concat();
    check(&of_type(CBOR), &deep, Err("payload-not-cbor"));
}

#[test]
fn any_bytes() {
    let now = "2026-01-02T03:04:05Z";
    let scan = [&[0; 128][..], b"DICM", &[2, 0]].concat();
    for content_type in ["application/dicom", "application/octet-stream"] {
        check(&of_type(content_type), &scan, Ok(("dicom", None, now, now)));
        let decoded = decode(&of_type(content_type), &scan, received()).unwrap();
        assert_eq!(decoded.content_type, "application/dicom");
    }
    let mismatch = Err("content-type-mismatch");
    check(&of_type("application/dicom"), b"\0\xff", mismatch);
    check(&of_type("image/png"), &scan, mismatch);
    check(&of_type("image/PNG"), b"\0", Ok(("image", None, now, now)));
    check(
        &of_type("application/vnd.x+y"),
        b"\0",
        Ok(("vnd-x-y", None, now, now)),
    );
    let hints = Hints {
        code: Some("11524-6".to_owned()),
        time: Some(AT.to_owned()),
        sequence: Some(0),
        ..of_type("text/csv; header=present")
    };
    check(&hints, b"a,b", Ok(("11524-6", Some(0), AT, AT)));
    for bad in [
        "",
        "text",
        "text/",
        "/csv",
        "te xt/csv",
        "text/c\u{e9}",
        "a/b\n",
    ] {
        check(&of_type(bad), b"x", Err("content-type-malformed"));
    }
    let hints = Hints {
        code: Some("a b".to_owned()),
        ..of_type("image/png")
    };
    check(&hints, b"x", Err("payload-member-type"));
    assert!(
        decode(&of_type("image/png"), b"x", received())
            .unwrap()
            .opaque
    );
}

#[test]
fn random_bytes_never_panic() {
    let mut state = 0x1234_5678_9abc_def0_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let seeds = [
        observation(r#","effectiveDateTime":"2025-06-01T10:00:00Z""#).into_bytes(),
        br#"{"seq":1,"time":"2025-06-01T10:00:00Z","code":"8867-4","value":72,"unit":"/min"}"#
            .to_vec(),
        cbor(|e| drop(e.map(1).unwrap().str("time").unwrap().f64(1.0))),
    ];
    for round in 0..30_000 {
        let mut bytes = seeds[round % seeds.len()].clone();
        for _ in 0..1 + next() % 4 {
            let at = usize::try_from(next() % bytes.len() as u64).unwrap();
            bytes[at] = next().to_le_bytes()[0];
        }
        for content_type in [JSON, FHIR_JSON, CBOR] {
            drop(decode(&of_type(content_type), &bytes, received()));
        }
    }
}
