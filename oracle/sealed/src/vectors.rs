//! The vectors in `tests/vectors/sealed`, made by Tink and jwcrypto
//! (`tests/interop/python/make_vectors.py`).

use std::{collections::BTreeMap, fs, io::Write as _, path::Path};

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    AssociatedData, DataKey, OpenError, PrivateKey, Sealer, UnwrapError, open, seal, sealed_len,
};

#[derive(Deserialize)]
struct Kind {
    kind: String,
}

#[derive(Deserialize)]
struct Object {
    outcome: String,
    #[serde(flatten)]
    binding: Binding,
    sealed: String,
    plaintext: Option<String>,
}

#[derive(Deserialize)]
struct Binding {
    data_key: String,
    record_id: String,
    commitment: String,
}

impl Binding {
    fn parse(&self) -> (DataKey, AssociatedData) {
        let associated_data = AssociatedData {
            record_id: bytes(&self.record_id).try_into().unwrap(),
            commitment: bytes(&self.commitment).try_into().unwrap(),
        };
        let data_key = DataKey::from_bytes(bytes(&self.data_key).try_into().unwrap());
        (data_key, associated_data)
    }
}

#[derive(Deserialize)]
struct Digest {
    #[serde(flatten)]
    binding: Binding,
    header: String,
    plaintext_length: u64,
    sealed_length: u64,
    sealed_sha256: String,
}

#[derive(Deserialize)]
struct WrappedKey<'a> {
    outcome: String,
    #[serde(borrow)]
    private_jwk: &'a RawValue,
    jwe: String,
    data_key: Option<String>,
}

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

fn files() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/sealed");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

fn check_object(name: &str, vector: &Object) {
    let (key, associated_data) = vector.binding.parse();
    let sealed = STANDARD.decode(&vector.sealed).unwrap();
    let opened = open(&key, &associated_data, &sealed);
    match vector.outcome.as_str() {
        "opens" => {
            let plaintext = bytes(vector.plaintext.as_deref().unwrap());
            assert_eq!(opened.unwrap(), plaintext, "{name}");
            let ours = seal(&key, &associated_data, &plaintext);
            assert_eq!(open(&key, &associated_data, &ours).unwrap(), plaintext);
        }
        "refused" => assert!(matches!(opened, Err(OpenError::Refused)), "{name}"),
        other => panic!("{name}: outcome {other}"),
    }
}

/// With Tink's salt and nonce prefix, we must write Tink's bytes.
fn check_digest(name: &str, vector: &Digest) {
    let (key, associated_data) = vector.binding.parse();
    let header = bytes(&vector.header);
    let random = header[1..].try_into().unwrap();
    let length = vector.plaintext_length;
    let plaintext: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
    let mut sealer =
        Sealer::with_random(Vec::new(), &key, &associated_data, length, &random).unwrap();
    sealer.write_all(&plaintext).unwrap();
    let sealed = sealer.finish().unwrap();
    assert_eq!(sealed.len() as u64, vector.sealed_length, "{name}");
    assert_eq!(sealed_len(length), vector.sealed_length, "{name}");
    let sha256 = hex::encode(digest::digest(&digest::SHA256, &sealed));
    assert_eq!(sha256, vector.sealed_sha256, "{name}");
    assert!(open(&key, &associated_data, &sealed).unwrap() == plaintext);
}

fn check_wrapped_key(name: &str, vector: &WrappedKey<'_>) {
    let key = PrivateKey::from_jwk(vector.private_jwk.get()).unwrap();
    let unwrapped = key.unwrap(&vector.jwe);
    match vector.outcome.as_str() {
        "opens" => {
            let expected = bytes(vector.data_key.as_deref().unwrap());
            assert_eq!(
                unwrapped.unwrap().expose_secret().as_slice(),
                expected,
                "{name}"
            );
        }
        "refused" => assert_eq!(unwrapped.err(), Some(UnwrapError::Refused), "{name}"),
        "other_key" => {
            assert!(
                matches!(unwrapped, Err(UnwrapError::OtherKey { .. })),
                "{name}"
            );
        }
        other => panic!("{name}: outcome {other}"),
    }
}

#[test]
fn every_vector_has_the_stated_outcome() {
    let mut kinds = BTreeMap::new();
    for (name, text) in files() {
        let Kind { kind } = serde_json::from_str(&text).unwrap();
        match kind.as_str() {
            "object" => check_object(&name, &serde_json::from_str(&text).unwrap()),
            "digest" => check_digest(&name, &serde_json::from_str(&text).unwrap()),
            "wrapped_key" => check_wrapped_key(&name, &serde_json::from_str(&text).unwrap()),
            other => panic!("{name}: kind {other}"),
        }
        *kinds.entry(kind).or_insert(0) += 1;
    }
    let expected = [("digest", 3), ("object", 28), ("wrapped_key", 18)];
    assert!(
        kinds
            .iter()
            .map(|(kind, count)| (kind.as_str(), *count))
            .eq(expected)
    );
}
