//! The vectors in `tests/vectors/sealed`, made by Tink and jwcrypto
//! (`tests/interop/python/make_vectors.py`), and fresh ones where Tink is installed.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    path::Path,
    process::Command,
};

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    AssociatedData, DataKey, OpenError, PrivateKey, Sealer, UnwrapError, open, seal, sealed_len,
};

#[derive(Deserialize)]
struct Case {
    kind: String,
    outcome: String,
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

#[derive(Deserialize)]
struct GatedWrap<'a> {
    outcome: String,
    #[serde(borrow)]
    gate_jwk: &'a RawValue,
    #[serde(borrow)]
    private_jwk: &'a RawValue,
    jwe: String,
    inner: Option<String>,
    data_key: Option<String>,
}

#[derive(Deserialize)]
struct SealedText<'a> {
    outcome: String,
    #[serde(borrow)]
    private_jwk: &'a RawValue,
    content_type: String,
    jwe: String,
    text: Option<String>,
}

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

fn tests_folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests"))
}

fn files(folder: &Path) -> Vec<(String, String)> {
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
    match failure(&vector.outcome) {
        None => assert_eq!(
            unwrapped.unwrap().expose_secret().as_slice(),
            bytes(vector.data_key.as_deref().unwrap()),
            "{name}"
        ),
        Some(expected) => assert!(expected(&unwrapped.err().unwrap()), "{name}"),
    }
}

fn check_gated_wrap(name: &str, vector: &GatedWrap<'_>) {
    let gatekeeper = PrivateKey::from_jwk(vector.gate_jwk.get()).unwrap();
    let ungated = gatekeeper.ungate(&vector.jwe);
    match failure(&vector.outcome) {
        None => {
            let inner = ungated.unwrap();
            assert_eq!(Some(&inner), vector.inner.as_ref(), "{name}");
            let reader = PrivateKey::from_jwk(vector.private_jwk.get()).unwrap();
            let data_key = bytes(vector.data_key.as_deref().unwrap());
            let opened = reader.unwrap(&inner).unwrap();
            assert_eq!(opened.expose_secret().as_slice(), data_key, "{name}");
        }
        Some(expected) => assert!(expected(&ungated.err().unwrap()), "{name}"),
    }
}

fn check_sealed_text(name: &str, vector: &SealedText<'_>) {
    let key = PrivateKey::from_jwk(vector.private_jwk.get()).unwrap();
    let opened = key.decrypt(&vector.content_type, &vector.jwe);
    match failure(&vector.outcome) {
        None => assert_eq!(
            opened.unwrap().as_slice(),
            bytes(vector.text.as_deref().unwrap()),
            "{name}"
        ),
        Some(expected) => assert!(expected(&opened.err().unwrap()), "{name}"),
    }
}

/// What the error must be; `None` when the JWE must open.
fn failure(outcome: &str) -> Option<fn(&UnwrapError) -> bool> {
    match outcome {
        "opens" => None,
        "refused" => Some(|error| *error == UnwrapError::Refused),
        "other_key" => Some(|error| matches!(error, UnwrapError::OtherKey { .. })),
        other => panic!("outcome {other}"),
    }
}

/// Checks every file of a folder and gives their names with kind and outcome.
fn check_all(folder: &Path) -> BTreeMap<String, String> {
    let mut checked = BTreeMap::new();
    for (name, text) in files(folder) {
        let Case { kind, outcome } = serde_json::from_str(&text).unwrap();
        match kind.as_str() {
            "object" => check_object(&name, &serde_json::from_str(&text).unwrap()),
            "digest" => check_digest(&name, &serde_json::from_str(&text).unwrap()),
            "wrapped_key" => check_wrapped_key(&name, &serde_json::from_str(&text).unwrap()),
            "gated_wrap" => check_gated_wrap(&name, &serde_json::from_str(&text).unwrap()),
            "sealed_text" => check_sealed_text(&name, &serde_json::from_str(&text).unwrap()),
            other => panic!("{name}: kind {other}"),
        }
        checked.insert(name, format!("{kind} {outcome}"));
    }
    checked
}

#[test]
fn every_vector_has_the_stated_outcome() {
    let mut kinds = BTreeMap::new();
    for kind in check_all(&tests_folder().join("vectors/sealed")).into_values() {
        *kinds.entry(kind).or_insert(0) += 1;
    }
    let expected = [
        ("digest equal", 3),
        ("gated_wrap opens", 1),
        ("gated_wrap other_key", 1),
        ("gated_wrap refused", 9),
        ("object opens", 6),
        ("object refused", 22),
        ("sealed_text opens", 2),
        ("sealed_text other_key", 1),
        ("sealed_text refused", 11),
        ("wrapped_key opens", 2),
        ("wrapped_key other_key", 1),
        ("wrapped_key refused", 19),
    ];
    let expected = expected.map(|(kind, count)| (kind.to_owned(), count));
    assert_eq!(kinds, BTreeMap::from(expected));
}

/// The generator makes the cases that are kept, and those that it makes now hold as well.
#[test]
fn freshly_made_vectors_have_the_stated_outcome() {
    let python = tests_folder().join("interop/python");
    if !python.join(".venv/.installed").is_file() {
        // Straight to the stream: the test harness captures the print macros.
        let _ = writeln!(
            io::stderr(),
            "SKIPPED freshly_made_vectors_have_the_stated_outcome: tests/interop/python/.venv"
        );
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new(python.join(".venv/bin/python"))
        .arg(python.join("make_vectors.py"))
        .arg(folder.path())
        .status()
        .unwrap();
    assert!(made.success(), "{made}");
    let fresh = check_all(folder.path());
    assert_eq!(fresh, check_all(&tests_folder().join("vectors/sealed")));
}
