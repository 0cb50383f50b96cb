//! Tables of messages and what is made of them.

use contract_interface::UtcTime;
use minicbor::Encoder;

use super::*;

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
    ] {
        check(&Hints::default(), payload.as_bytes(), expected);
    }
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
    check(
        &of_type("application/dicom"),
        b"\0\xff",
        Ok(("dicom", None, now, now)),
    );
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
