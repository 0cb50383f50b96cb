//! Tables of messages and what is made of them, a file for each format.

mod bytes;
mod compact;
mod fhir;
mod marks;
mod sampled;

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

fn cbor(write: impl FnOnce(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut Encoder::new(&mut bytes));
    bytes
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
