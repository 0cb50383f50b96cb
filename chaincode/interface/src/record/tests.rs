use std::path::Path;

use super::*;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    #[serde(rename = "description")]
    _description: String,
    outcome: Outcome,
    commitment: Digest,
    record: serde_json::Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// The commitment is the record's.
    Match,
    /// It is not.
    Mismatch,
    /// The record cannot be parsed.
    Malformed,
    /// The record parses, and `validate` refuses it.
    Invalid,
}

fn outcome(vector: &Vector) -> Outcome {
    let text = vector.record.to_string();
    match serde_json::from_str::<RecordPrivate>(&text) {
        Err(_) => Outcome::Malformed,
        Ok(record) if record.validate().is_err() => Outcome::Invalid,
        Ok(record) if record.commitment() == vector.commitment => Outcome::Match,
        Ok(_) => Outcome::Mismatch,
    }
}

#[test]
fn commitment_vectors() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/commitment");
    let mut seen = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let vector: Vector =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).expect("a vector");
        assert_eq!(outcome(&vector), vector.outcome, "{}", path.display());
        *seen.entry(format!("{:?}", vector.outcome)).or_insert(0) += 1;
    }
    assert!(
        seen.len() == 4 && seen.values().all(|count| *count >= 5),
        "{seen:?}"
    );
}

fn record() -> RecordPrivate {
    RecordPrivate {
        record_id: RecordId::from_bytes([1; 16]),
        patient: Pseudonym::from_bytes([2; 16]),
        record_type: "8867-4".parse().unwrap(),
        period: Period {
            start: "2026-01-02T03:04:05Z".parse().unwrap(),
            end: "2026-01-02T03:04:05Z".parse().unwrap(),
        },
        readings: 1,
        source: Source::DeviceId("d".parse().unwrap()),
        registrar: "Org1MSP".parse().unwrap(),
        context: None,
        confidentiality: Confidentiality::N,
        sensitivity: vec![],
        submission: None,
        manifest: None,
        marks: std::collections::BTreeMap::new(),
        content_type: "application/fhir+json".to_owned(),
        cid: "bafk".to_owned(),
        size: 1,
        plaintext_size: 1,
        merkle_root: Digest::of(b""),
        salt: Salt::from_bytes(std::array::from_fn(|n| n as u8)).unwrap(),
    }
}

#[test]
fn canonical_json_of_a_record() {
    assert_eq!(
        String::from_utf8(canonical_json(&record()).unwrap()).unwrap(),
        concat!(
            r#"{"cid":"bafk","confidentiality":"N","content_type":"application/fhir+json","#,
            r#""merkle_root":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","#,
            r#""patient":"02020202020202020202020202020202","#,
            r#""period":{"end":"2026-01-02T03:04:05Z","start":"2026-01-02T03:04:05Z"},"#,
            r#""plaintext_size":1,"readings":1,"record_id":"01010101010101010101010101010101","#,
            r#""registrar":"Org1MSP","#,
            r#""salt":"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f","#,
            r#""size":1,"source":{"device_id":"d"},"type":"8867-4"}"#
        )
    );
}

/// A fixed sequence of well-mixed numbers (xorshift), so that a failure repeats.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.next() as u8)
    }

    fn token(&mut self) -> String {
        const ALPHABET: &[u8] = b"ABCXYZabcxyz0189._-";
        let length = 1 + self.below(64);
        (0..length)
            .map(|_| char::from(ALPHABET[self.below(19) as usize]))
            .collect()
    }

    fn record(&mut self) -> RecordPrivate {
        let span = (UtcTime::MAX.unix_seconds() - UtcTime::MIN.unix_seconds()) as u64;
        let mut time = || {
            let seconds = UtcTime::MIN.unix_seconds() + self.below(span) as i64;
            UtcTime::from_unix_seconds(seconds).unwrap()
        };
        let (one, two) = (time(), time());
        RecordPrivate {
            record_id: RecordId::from_bytes(self.bytes()),
            patient: Pseudonym::from_bytes(self.bytes()),
            record_type: self.token().parse().unwrap(),
            period: Period {
                start: one.min(two),
                end: one.max(two),
            },
            readings: 1 + self.below(u64::from(u32::MAX)) as u32,
            source: match self.below(2) {
                0 => Source::DeviceId(self.token().parse().unwrap()),
                _ => Source::ParticipantId(ParticipantId::from_bytes(self.bytes())),
            },
            registrar: self.token().parse().unwrap(),
            context: match self.below(2) {
                0 => None,
                _ => Some(self.token().parse().unwrap()),
            },
            confidentiality: match self.below(3) {
                0 => Confidentiality::N,
                1 => Confidentiality::R,
                _ => Confidentiality::V,
            },
            sensitivity: (0..self.below(17))
                .map(|n| format!("S{n}").parse().unwrap())
                .collect(),
            submission: match self.below(2) {
                0 => None,
                _ => Some(format!(
                    "{}.{}.{}",
                    self.token(),
                    self.token(),
                    self.token()
                )),
            },
            manifest: None,
            marks: std::collections::BTreeMap::new(),
            content_type: format!("{}/{}", self.token(), self.token()),
            cid: hex::encode(self.bytes::<32>()),
            size: self.below(JSON_INTEGER_MAX + 1),
            plaintext_size: self.below(JSON_INTEGER_MAX + 1),
            merkle_root: Digest::from_bytes(self.bytes()),
            salt: Salt::from_bytes(self.bytes()).unwrap(),
        }
    }
}

#[test]
fn canonical_json_comes_back_and_has_one_form() {
    let mut numbers = Numbers(0x5a17_5000_0000_0001);
    for round in 0..2000 {
        let record = numbers.record();
        assert_eq!(record.validate(), Ok(()), "round {round}");
        let json = canonical_json(&record).unwrap();
        let again: RecordPrivate = serde_json::from_slice(&json).unwrap();
        assert_eq!(again, record, "round {round}");
        // Whatever order and spacing the members arrive in, the canonical form is the same.
        let pretty = serde_json::to_string_pretty(&record).unwrap();
        let value: serde_json::Value = serde_json::from_str(&pretty).unwrap();
        assert_eq!(canonical_json(&value).unwrap(), json, "round {round}");
        assert_eq!(again.commitment(), record.commitment(), "round {round}");
    }
}

#[test]
fn canonical_json_sorts_by_utf_16_and_escapes_no_more_than_it_must() {
    let value: serde_json::Value = serde_json::from_str(
        r#"{"€":1,"\r":2,"\ufb33":3,"1":4,"😀":5,"\u0080":6,"ö":7,"a":"\u002f\u0007"}"#,
    )
    .unwrap();
    assert_eq!(
        String::from_utf8(canonical_json(&value).unwrap()).unwrap(),
        "{\"\\r\":2,\"1\":4,\"a\":\"/\\u0007\",\"\u{80}\":6,\"ö\":7,\"€\":1,\"😀\":5,\"\u{fb33}\":3}"
    );
}

#[test]
fn wraps_are_compact_jwes_under_thumbprints() {
    let wrap = |kid: &str, jwe: &str| KeyWrap::plain(kid.to_owned(), jwe.to_owned());
    let good = wrap(&"k".repeat(43), "a.b.c.d.e");
    let gated = |gate: &str| KeyWrap {
        gate: Some(gate.to_owned()),
        ..good.clone()
    };
    let check = |wraps: Vec<KeyWrap>| {
        RecordWraps {
            record_id: RecordId::from_bytes([1; 16]),
            wraps,
        }
        .validate()
        .is_ok()
    };
    assert!(check(vec![good.clone()]));
    assert!(check(
        (0..64)
            .map(|n| wrap(&format!("{n:043}"), "a.b.c.d.e"))
            .collect()
    ));
    assert!(check(vec![gated(&"g".repeat(43))]));
    assert!(!check(vec![gated("short")]));
    assert!(!check(vec![]));
    assert!(!check(
        (0..65)
            .map(|n| wrap(&format!("{n:043}"), "a.b.c.d.e"))
            .collect()
    ));
    assert!(!check(vec![good.clone(), good.clone()]), "one kid twice");
    for bad in [
        wrap("short", "a.b.c.d.e"),
        wrap(&"=".repeat(43), "a.b.c.d.e"),
        wrap(&good.kid, "a.b.c.d"),
        wrap(&good.kid, "a.b.c.d.e.f"),
        wrap(&good.kid, "a..c.d.e"),
        wrap(&good.kid, "a.b.c.d.="),
        wrap(
            &good.kid,
            &format!("{}.b.c.d.e", "a".repeat(WRAP_BYTES_MAX)),
        ),
    ] {
        assert!(!check(vec![bad.clone()]), "{bad:?}");
    }
}

#[test]
fn a_commitment_to_values_out_of_range_is_none_that_validates_but_does_not_panic() {
    let record = RecordPrivate {
        plaintext_size: u64::MAX,
        size: u64::MAX,
        ..record()
    };
    assert!(record.validate().is_err());
    assert_ne!(
        record.commitment(),
        RecordPrivate {
            plaintext_size: 0,
            ..record.clone()
        }
        .commitment()
    );
}
