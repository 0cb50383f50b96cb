//! Compact readings in JSON and CBOR.

use super::*;

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
