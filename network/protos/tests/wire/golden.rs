//! Compares `proto/` with what Fabric's official bindings write.
//!
//! `tests/golden/protos/fields.txt` was made by `make.mjs` beside it from npm
//! `@hyperledger/fabric-protos`: one line for every field, with the bytes of a message in which
//! only that field is set, to a value that follows from the field's name; one for every enum value.

use std::{collections::BTreeSet, fs, path::Path};

use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, Value};

const GOLDEN: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/golden/protos/fields.txt"
);

#[test]
fn every_field_has_upstreams_number_and_type() {
    let pool = pool();
    let mut seen = BTreeSet::new();
    for line in golden().lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let ["field", message, field, bytes] = words[..] else {
            continue;
        };
        let descriptor = pool.get_message_by_name(message).unwrap();
        let decoded = DynamicMessage::decode(descriptor, &*unhex(bytes)).unwrap();
        let set: Vec<(FieldDescriptor, &Value)> = decoded.fields().collect();
        assert_eq!(set.len(), 1, "{line}");
        assert_eq!(decoded.unknown_fields().count(), 0, "{line}");
        assert_eq!(set[0].0.name(), field, "{line}");
        check_value(&set[0].0, set[0].1, line);
        seen.insert(format!("{message}.{field}"));
    }
    let ours: BTreeSet<String> = messages(&pool)
        .flat_map(|m| {
            m.fields()
                .map(|f| f.full_name().to_owned())
                .collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(
        ours, seen,
        "fields without golden bytes, or golden bytes without a field"
    );
}

#[test]
fn every_enum_value_is_upstreams() {
    let pool = pool();
    let ours: BTreeSet<String> = pool
        .all_enums()
        .filter(|e| !e.full_name().starts_with("google."))
        .flat_map(|e| {
            e.values()
                .map(|v| format!("enum {} {} {}", e.full_name(), v.name(), v.number()))
                .collect::<Vec<_>>()
        })
        .collect();
    let text = golden();
    let upstream = text
        .lines()
        .filter(|l| l.starts_with("enum "))
        .map(str::to_owned)
        .collect();
    assert_eq!(ours, upstream);
}

fn check_value(field: &FieldDescriptor, value: &Value, line: &str) {
    let element = match value {
        Value::List(list) => &list[0],
        Value::Map(map) => {
            let key = map.keys().next().unwrap();
            assert!(
                *key == MapKey::String("key".into()) || *key == MapKey::U64(7),
                "{line}"
            );
            map.values().next().unwrap()
        }
        other => other,
    };
    let plain = field.name().replace('_', "").to_lowercase();
    let number: u32 = plain.bytes().map(u32::from).sum();
    match element {
        Value::String(text) => assert_eq!(*text, plain, "{line}"),
        Value::Bytes(bytes) => assert_eq!(bytes, plain.as_bytes(), "{line}"),
        Value::Bool(set) => assert!(set, "{line}"),
        Value::I32(n) => assert_eq!(*n, i32::try_from(number).unwrap(), "{line}"),
        Value::I64(n) => assert_eq!(*n, i64::from(number), "{line}"),
        Value::U32(n) => assert_eq!(*n, number, "{line}"),
        Value::U64(n) => assert_eq!(*n, u64::from(number), "{line}"),
        Value::EnumNumber(n) => assert_eq!(*n, 1, "{line}"),
        Value::Message(_) => assert!(
            !matches!(field.kind(), Kind::String | Kind::Bytes),
            "{line}"
        ),
        other => panic!("{line}: {other:?}"),
    }
}

fn messages(pool: &DescriptorPool) -> impl Iterator<Item = prost_reflect::MessageDescriptor> + '_ {
    pool.all_messages()
        .filter(|m| !m.full_name().starts_with("google.") && !m.is_map_entry())
}

fn pool() -> DescriptorPool {
    let descriptors =
        crate::bootstrap::compile(&Path::new(env!("CARGO_MANIFEST_DIR")).join("proto"));
    DescriptorPool::from_file_descriptor_set(descriptors).unwrap()
}

fn golden() -> String {
    fs::read_to_string(GOLDEN).unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}
