//! What `tests/fuzz` calls: one function for each target, which panics where something does not hold. Absent from
//! ordinary builds; the test below runs all of them over their seeds, so that they cannot rot.

pub use crate::ingest::mqtt::fuzzing::connection as mqtt;
pub use crate::journal::fuzzing::journal;
pub use crate::objects::fuzzing::object;

use std::fmt::Write as _;

use contract_interface::{DeviceId, UtcTime};
use serde_json::Value;

use crate::ingest::decode::{self, DecodeError, Hints};
use crate::ingest::topic::{self, Piece, Target};

/// When messages are received here, seconds since 1970.
const RECEIVED: i64 = 1_780_000_000;
/// Members of a map and nesting up to which a compact reading as CBOR has to say what it says as JSON.
const SAME_MEMBERS_MAX: usize = 256;
const SAME_DEPTH_MAX: usize = 16;

/// Takes a fuzzer's bytes apart. What is missing at their end is zero or empty.
#[derive(Debug)]
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    pub(crate) fn number(&mut self) -> usize {
        usize::from(self.byte()) | usize::from(self.byte()) << 8
    }

    pub(crate) fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}

/// The device whose messages these are.
pub(crate) fn device() -> DeviceId {
    "hr-1".parse().expect("the constant is a device ID")
}

/// A message's payload. The first byte chooses its content type, the second what the transport says beside it.
pub fn payload(data: &[u8]) {
    let mut input = Input::new(data);
    let types = [
        decode::FHIR_JSON,
        decode::JSON,
        decode::READING_JSON,
        decode::CBOR,
        decode::READING_CBOR,
        "application/dicom",
        "application/octet-stream",
        "text/csv; header=present",
    ];
    let content_type = types.get(usize::from(input.byte())).copied();
    let said = input.byte();
    let hints = Hints {
        content_type: content_type.map(str::to_owned),
        sequence: (said & 1 != 0).then_some(17),
        code: (said & 2 != 0).then(|| "8867-4".to_owned()),
        time: (said & 4 != 0).then(|| "2026-01-02T03:04:05Z".to_owned()),
    };
    let payload = input.rest();
    let received = UtcTime::from_unix_seconds(RECEIVED).expect("the constant is a time");
    match decode::decode(&hints, payload, received) {
        Ok(decoded) => assert!(decoded.period.start <= decoded.period.end, "{decoded:?}"),
        Err(error) => assert!(!error.name().is_empty() && error.to_string().len() < 256),
    }
    if content_type == Some(decode::READING_JSON) {
        same_in_cbor(&hints, payload, received);
    }
}

/// A compact reading is the same in both encodings.
fn same_in_cbor(hints: &Hints, json: &[u8], received: UtcTime) {
    let Ok(value) = serde_json::from_slice::<Value>(json) else {
        return;
    };
    let mut cbor = Vec::new();
    let depth = encoded(&value, &mut minicbor::Encoder::new(&mut cbor));
    let members = value.as_object().map_or(0, serde_json::Map::len);
    if depth > SAME_DEPTH_MAX || members > SAME_MEMBERS_MAX {
        return;
    }
    let hints_cbor = Hints {
        content_type: Some(decode::READING_CBOR.to_owned()),
        ..hints.clone()
    };
    let of_json = decode::decode(hints, json, received);
    let of_cbor = decode::decode(&hints_cbor, &cbor, received);
    match (of_json, of_cbor) {
        (Ok(json), Ok(mut cbor)) => {
            cbor.content_type.clone_from(&json.content_type);
            assert_eq!(json, cbor, "two readings");
        }
        (Err(_), Err(_)) => {}
        (json, cbor) => panic!("JSON is {json:?}, CBOR is {cbor:?}"),
    }
}

/// Writes a JSON value as CBOR; says how deep it is.
fn encoded(value: &Value, out: &mut minicbor::Encoder<&mut Vec<u8>>) -> usize {
    let written = match value {
        Value::Null => out.null(),
        Value::Bool(it) => out.bool(*it),
        Value::Number(it) => match (it.as_u64(), it.as_i64()) {
            (Some(it), _) => out.u64(it),
            (_, Some(it)) => out.i64(it),
            _ => out.f64(it.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(it) => out.str(it),
        Value::Array(items) => {
            drop(out.array(items.len() as u64));
            let depths = items.iter().map(|item| encoded(item, out));
            return depths.max().unwrap_or(0) + 1;
        }
        Value::Object(members) => {
            drop(out.map(members.len() as u64));
            let mut depth = 0;
            for (name, member) in members {
                drop(out.str(name));
                depth = depth.max(encoded(member, out));
            }
            return depth + 1;
        }
    };
    drop(written);
    0
}

/// A topic or filter: what a device may use lies below its own name, and what a topic says is said again by the topic
/// that it makes.
pub fn topic(data: &[u8]) {
    let device = device();
    let below = format!("v1/devices/{device}/");
    let target = topic::target(&device, data);
    if target.is_ok() || topic::is_status(&device, data) {
        assert!(data.starts_with(below.as_bytes()));
    }
    if let Ok(target) = target {
        let again = topic_of(&device, &target);
        if again.len() <= topic::TOPIC_BYTES_MAX {
            assert_eq!(topic::target(&device, again.as_bytes()), Ok(target));
        }
    }
    if let Ok(text) = std::str::from_utf8(data) {
        assert!(!topic::may_subscribe(&device, text) || text.starts_with(&below));
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let mut hints = Hints::default();
        let applied = topic::apply_property(&mut hints, name, value);
        assert!(applied.is_ok() || (name == "seq" && hints == Hints::default()));
        let received = UtcTime::from_unix_seconds(RECEIVED).expect("the constant is a time");
        let described = decode::decode(&hints, b"-", received);
        assert!(!matches!(described, Err(DecodeError::Empty)));
    }
}

/// A topic that says what `target` is.
fn topic_of(device: &DeviceId, target: &Target) -> String {
    let hints = match target {
        Target::Reading(hints) => hints,
        Target::Object(object, piece) => {
            let piece = match piece {
                Piece::Manifest => "manifest".to_owned(),
                Piece::Chunk(number) => format!("chunks/{number}"),
                Piece::Inquiry => "status/get".to_owned(),
            };
            return format!("v1/devices/{device}/objects/{object}/{piece}");
        }
    };
    let mut topic = format!("v1/devices/{device}/observations/?");
    let sequence = hints.sequence.map(|sequence| sequence.to_string());
    for (name, value) in [
        ("seq", &sequence),
        ("content-type", &hints.content_type),
        ("type", &hints.code),
        ("time", &hints.time),
    ] {
        let Some(value) = value else { continue };
        topic.push_str(name);
        topic.push('=');
        for byte in value.bytes() {
            write!(topic, "%{byte:02x}").expect("a string takes all");
        }
        topic.push('&');
    }
    topic
}

/// The codecs that are called here panic on some packets, which `ingest::mqtt::wire` expects and catches. A fuzzer
/// takes every panic for a finding; after this call it does not take those. Once per process, before the first input.
pub fn let_codecs_panic() {
    let found = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let codec = panic.location().is_some_and(|location| {
            let file = location.file();
            file.contains("/rumqttd-") || file.contains("/bytes-")
        });
        if !codec {
            found(panic);
        }
    }));
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    type Target = fn(&[u8]);

    #[test]
    fn every_seed_holds() {
        let targets: [(&str, Target); 5] = [
            ("mqtt", super::mqtt),
            ("payload", super::payload),
            ("journal", super::journal),
            ("object", super::object),
            ("topic", super::topic),
        ];
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/seeds");
        for (target, run) in targets {
            let mut count = 0;
            for seed in fs::read_dir(seeds.join(target)).unwrap() {
                let path = seed.unwrap().path();
                let data = fs::read(&path).unwrap();
                let held = std::panic::catch_unwind(|| run(&data));
                assert!(held.is_ok(), "{}", path.display());
                // Every beginning of a seed is one, too.
                for end in (0..data.len()).step_by(1 + data.len() / 64) {
                    run(&data[..end]);
                }
                count += 1;
            }
            assert!(count > 0, "{target} has no seed");
        }
    }
}
