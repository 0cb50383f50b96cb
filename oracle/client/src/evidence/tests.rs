//! Bundles and proofs under `tests/vectors/evidence`, made by another program, and each single
//! change of the right ones.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use contract_interface::evidence::Base64;
use contract_interface::{Source, names};
use fabric_msp::block::Block;
use fabric_msp::{Certificate, SigningIdentity};
use serde::Deserialize;
use serde_json::Value;

use super::*;

#[derive(Deserialize)]
struct World {
    anchors: WorldAnchors,
    content: Base64,
    object: Base64,
}

#[derive(Deserialize)]
struct WorldAnchors {
    configuration: contract_interface::Digest,
    organizations: std::collections::BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Vector {
    failed: Vec<String>,
    evidence: Option<Value>,
    proof: Option<Value>,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/evidence")
}

fn load<T: serde::de::DeserializeOwned>(name: &str) -> T {
    let path = folder().join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn world() -> World {
    load("world.json")
}

fn right() -> Value {
    load::<Vector>("right.json").evidence.unwrap()
}

const EXPECTED: Expected<'_> = Expected {
    record_id: None,
    channel: Some("mychannel"),
    chaincode: names::CHAINCODE,
};

fn pinned() -> Anchors {
    let hash = *world().anchors.configuration.as_bytes();
    Anchors::new(vec![Anchor::Configuration(hash)])
}

fn organizations(names: &[&str]) -> Anchors {
    let world = world();
    let anchor = |name: &&str| Anchor::Organization {
        msp_id: name.parse().unwrap(),
        roots: vec![Certificate::from_pem(world.anchors.organizations[*name].as_bytes()).unwrap()],
    };
    Anchors::new(names.iter().map(anchor).collect())
}

fn failed(report: &Report) -> Vec<&'static str> {
    report.failed().into_iter().map(Check::name).collect()
}

#[test]
fn vectors_fail_where_they_are_wrong_and_nowhere_else() {
    let (mut right, mut wrong) = (0, 0);
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.ends_with(".json") || name == "world.json" {
            continue;
        }
        let vector: Vector = load(&name);
        let report = match (vector.evidence, vector.proof) {
            (Some(evidence), None) => {
                let evidence = serde_json::from_value(evidence).unwrap();
                verify(&evidence, &EXPECTED, &pinned())
            }
            (None, Some(proof)) => {
                let proof = serde_json::from_value(proof).unwrap();
                let (report, item) = proof::verify(&proof, &EXPECTED, &pinned());
                assert_eq!(item.is_some(), report.holds(), "{name}");
                report
            }
            _ => panic!("{name} is neither evidence nor a proof"),
        };
        assert_eq!(failed(&report), vector.failed, "{name}: {report:#?}");
        assert_eq!(report.holds(), vector.failed.is_empty(), "{name}");
        *(if report.holds() {
            &mut right
        } else {
            &mut wrong
        }) += 1;
    }
    assert!(right >= 4 && wrong >= 25, "{right} right, {wrong} wrong");
}

/// Everything that can be checked of a bundle with its object and content.
fn judge(evidence: &Evidence, world: &World) -> Report {
    let mut report = verify(evidence, &EXPECTED, &pinned());
    report.extend(content::verify_object(&evidence.record, &world.object.0[..]).unwrap());
    report.extend(content::verify_content(evidence, &world.content.0[..]).unwrap());
    report
}

/// The members of a document that are no lists or objects, by their pointers.
fn leaves(value: &Value, pointer: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                leaves(value, &format!("{pointer}/{name}"), found);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                leaves(value, &format!("{pointer}/{index}"), found);
            }
        }
        _ => found.push(pointer.to_owned()),
    }
}

/// Another value of the same kind: a number one larger, a text with one character changed.
fn other(value: &Value) -> Value {
    match value {
        Value::Number(number) => (number.as_u64().unwrap() + 1).into(),
        Value::String(text) => {
            let mut bytes = text.clone().into_bytes();
            let at = bytes.len() / 2;
            bytes[at] = if bytes[at] == b'1' { b'2' } else { b'1' };
            String::from_utf8(bytes).unwrap().into()
        }
        other => panic!("{other} in a bundle"),
    }
}

#[test]
fn every_changed_member_is_noticed() {
    let (world, right) = (world(), right());
    let evidence = serde_json::from_value(right.clone()).unwrap();
    let whole = judge(&evidence, &world);
    assert!(whole.holds(), "{whole:#?}");
    let passed = |finding: &Finding| finding.outcome == Outcome::Passed;
    assert!(whole.findings.iter().all(passed), "{whole:#?}");
    let mut pointers = Vec::new();
    leaves(&right, "", &mut pointers);
    assert!(pointers.len() > 40, "{pointers:?}");
    for pointer in pointers {
        let mut changed = right.clone();
        let member = changed.pointer_mut(&pointer).unwrap();
        *member = other(member);
        // What cannot be read at all is noticed too.
        let Ok(evidence) = serde_json::from_value::<Evidence>(changed) else {
            continue;
        };
        let report = judge(&evidence, &world);
        // What is registered of the device now is the oracle's word; the certificate in the
        // signature is judged by the registrar's CA.
        let is_word = pointer.starts_with("/device/");
        assert_eq!(report.holds(), is_word, "{pointer}: {report:#?}");
    }
}

/// What of a block is looked at: of the genesis block no signature and no code.
fn looked_at(block: &Block) -> (Vec<u8>, Vec<Vec<u8>>, Vec<u8>, Option<u8>) {
    let (signatures, code) = match block.number() {
        0 => (Vec::new(), None),
        _ => (block.signatures().to_vec(), block.code(0)),
    };
    let header = block.header().to_der();
    (header, block.envelopes().to_vec(), signatures, code)
}

#[test]
fn every_changed_byte_of_a_block_or_signature_is_noticed() {
    const STEP: usize = 31;
    let right = right();
    for pointer in [
        "/registration",
        "/definition",
        "/configurations/0",
        "/tip_signatures",
    ] {
        let bytes = STANDARD
            .decode(right.pointer(pointer).unwrap().as_str().unwrap())
            .unwrap();
        for at in (0..bytes.len()).step_by(STEP) {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let same = match (Block::decode(&bytes), Block::decode(&changed)) {
                (Ok(one), Ok(two)) => looked_at(&one) == looked_at(&two),
                _ => false,
            };
            let mut bundle = right.clone();
            *bundle.pointer_mut(pointer).unwrap() = STANDARD.encode(&changed).into();
            let evidence = serde_json::from_value(bundle).unwrap();
            let report = verify(&evidence, &EXPECTED, &pinned());
            assert!(same || !report.holds(), "{pointer} at {at}: {report:#?}");
        }
    }
}

#[test]
fn trust_goes_as_far_as_the_anchor_reaches() {
    let evidence: Evidence = serde_json::from_value(right()).unwrap();
    let anchored = |anchors: &Anchors| {
        let report = verify(&evidence, &EXPECTED, anchors);
        let mut findings = report.findings.iter();
        let anchor = findings.find(|f| f.check == Check::Anchor).unwrap().clone();
        (anchor.outcome, anchor.detail)
    };
    for (anchors, says) in [
        (pinned(), "the channel's configuration"),
        (
            organizations(&["OrdererMSP"]),
            "the channel's configuration",
        ),
        (organizations(&["Org1MSP"]), "a peer of Org1MSP"),
        (organizations(&["Org2MSP"]), "a peer of Org2MSP"),
    ] {
        let (outcome, detail) = anchored(&anchors);
        assert_eq!(outcome, Outcome::Passed, "{detail}");
        assert!(detail.starts_with(says), "{detail}");
    }
    let stranger = Anchor::Organization {
        msp_id: "Org1MSP".parse().unwrap(),
        roots: match organizations(&["Org2MSP"]).all() {
            [Anchor::Organization { roots, .. }] => roots.clone(),
            other => panic!("{other:?}"),
        },
    };
    for anchors in [
        Anchors::default(),
        Anchors::new(vec![stranger]),
        Anchors::new(vec![Anchor::Configuration([7; 32])]),
    ] {
        assert_eq!(anchored(&anchors).0, Outcome::Failed);
    }
}

#[test]
fn the_bundle_must_be_about_what_was_asked() {
    let evidence: Evidence = serde_json::from_value(right()).unwrap();
    let id = evidence.record.metadata.record_id;
    let other = contract_interface::RecordId::from_bytes([9; 16]);
    for (expected, holds) in [
        (
            Expected {
                record_id: Some(id),
                ..EXPECTED
            },
            true,
        ),
        (
            Expected {
                record_id: Some(other),
                ..EXPECTED
            },
            false,
        ),
        (
            Expected {
                channel: Some("other"),
                ..EXPECTED
            },
            false,
        ),
        (
            Expected {
                channel: None,
                ..EXPECTED
            },
            true,
        ),
    ] {
        let report = verify(&evidence, &expected, &pinned());
        assert_eq!(report.holds(), holds);
        assert_eq!(failed(&report).contains(&"format"), !holds);
    }
}

#[test]
fn wrong_content_and_objects_are_named() {
    let world = world();
    let evidence: Evidence = serde_json::from_value(right()).unwrap();
    let of_content = |bytes: &[u8]| failed(&content::verify_content(&evidence, bytes).unwrap());
    let of_object =
        |bytes: &[u8]| failed(&content::verify_object(&evidence.record, bytes).unwrap());
    let (content, object) = (world.content.0, world.object.0);
    assert!(of_content(&content).is_empty() && of_object(&object).is_empty());
    assert_eq!(of_content(&content[1..]), ["content"]);
    assert_eq!(of_content(&[&content[..], b"x"].concat()), ["content"]);
    assert_eq!(of_content(b""), ["content"]);
    assert_eq!(of_object(&object[1..]), ["object", "cid"]);
    // A digit of a signed value: the tree and the signature notice; of an unsigned one the tree.
    let change = |from: &str, to: &str| {
        let at = content
            .windows(from.len())
            .position(|w| w == from.as_bytes());
        let mut changed = content.clone();
        changed[at.unwrap()..][..to.len()].copy_from_slice(to.as_bytes());
        of_content(&changed)
    };
    assert_eq!(
        change("\"value\": 71", "\"value\": 77"),
        ["merkle", "device"]
    );
    assert_eq!(change("\"value\": 72", "\"value\": 77"), ["merkle"]);
}

#[test]
fn a_proof_is_made_for_each_reading() {
    let world = world();
    let evidence: Evidence = serde_json::from_value(right()).unwrap();
    for index in 0..5 {
        let proof = proof::prove(evidence.clone(), &world.content.0, index).unwrap();
        let (report, item) = proof::verify(&proof, &EXPECTED, &pinned());
        assert!(report.holds(), "{index}: {report:#?}");
        assert_eq!(item.unwrap().seq, Some(index));
    }
    // Another program's path is ours, byte by byte.
    let theirs: ReadingProof =
        serde_json::from_value(load::<Vector>("proof_right.json").proof.unwrap()).unwrap();
    let ours = proof::prove(evidence.clone(), &world.content.0, theirs.index).unwrap();
    assert_eq!((ours.path, ours.item), (theirs.path, theirs.item));
    assert!(matches!(
        proof::prove(evidence.clone(), &world.content.0, 5),
        Err(proof::ProofError::NoReading { last: 4 })
    ));
    assert!(matches!(
        proof::prove(evidence.clone(), &world.content.0[..0], 0),
        Err(proof::ProofError::OtherContent | proof::ProofError::NotReadings)
    ));
    assert!(matches!(
        proof::prove(evidence, b"not a segment", 0),
        Err(proof::ProofError::NotReadings)
    ));
}

/// What an oracle gathered from a channel of Fabric 3.1.5.
#[derive(Deserialize)]
struct FromFabric {
    configuration: contract_interface::Digest,
    evidence: Evidence,
}

#[test]
fn evidence_from_a_real_channel_holds() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/golden/evidence/fabric.json"
    );
    let found: FromFabric = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let pin = Anchor::Configuration(*found.configuration.as_bytes());
    let report = verify(&found.evidence, &EXPECTED, &Anchors::new(vec![pin]));
    assert!(report.holds(), "{report:#?}");
    let mut other = found.evidence;
    other.record.state.version += 1;
    let report = verify(&other, &EXPECTED, &pinned());
    assert_eq!(failed(&report), ["state", "anchor"]);
}

/// A record of one object that the device of the right bundle signed, with another certificate that is registered.
fn signed_object(content: &[u8], change: impl FnOnce(&mut Value)) -> Evidence {
    let dir = tempfile::tempdir().unwrap();
    let organization = fabric_mspgen::Organization::create(
        dir.path(),
        "Org1MSP".parse().unwrap(),
        "org1.example.com",
        fabric_mspgen::Kind::Peer,
    );
    let mut evidence: Evidence = serde_json::from_value(right()).unwrap();
    let Source::DeviceId(device) = evidence.record.metadata.source.clone() else {
        panic!("the right bundle is of a device");
    };
    let issued = organization.unwrap().issue_device(device.as_str(), None);
    let issued = issued.unwrap();
    issued.write_client(dir.path()).unwrap();
    let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
    let identity = SigningIdentity::from_pem(
        "Org1MSP".parse().unwrap(),
        &read("client.crt"),
        &read("client.key"),
    );
    let manifest = serde_json::json!({
        "content_type": "application/octet-stream", "size": content.len(), "chunk_size": 1024,
        "sha256": contract_interface::Digest::of(content).to_string().to_uppercase(), "seq": 7,
    });
    let manifest = device::sign(&identity.unwrap(), manifest.to_string().as_bytes());
    let mut manifest = serde_json::from_slice(&manifest.unwrap()).unwrap();
    change(&mut manifest);
    let metadata = &mut evidence.record.metadata;
    metadata.content_type = "application/dicom".to_owned();
    metadata.readings = 1;
    metadata.plaintext_size = content.len() as u64;
    metadata.manifest = Some(serde_json::from_value(manifest).unwrap());
    evidence.record.state.commitment = evidence.record.metadata.commitment();
    let thumbprint = issued.certificate.thumbprint();
    let registered = evidence.device.as_mut().unwrap();
    registered.thumbprint = contract_interface::Digest::from_bytes(thumbprint);
    evidence
}

#[test]
fn the_content_of_an_object_is_what_its_device_signed() {
    let content = vec![7; 3000];
    let judged = |evidence: &Evidence, content: &[u8]| {
        let whole = verify(evidence, &EXPECTED, &pinned());
        let opened = content::verify_content(evidence, content).unwrap();
        let outcome = |report: &Report, check| report.outcome(check).unwrap();
        (
            outcome(&whole, Check::Manifest),
            outcome(&opened, Check::Content),
            outcome(&opened, Check::Device),
        )
    };
    use Outcome::{Failed, Passed};
    let right = signed_object(&content, |_| ());
    assert_eq!(judged(&right, &content), (Passed, Passed, Passed));
    let mut other = content.clone();
    other[1000] ^= 1;
    assert_eq!(judged(&right, &other), (Passed, Passed, Failed));
    for (member, value) in [
        ("size", Value::from(2999)),
        ("sha256", "ab".repeat(32).into()),
        ("seq", 8.into()),
        ("content_type", "text/plain".into()),
        ("time", "2026-01-01T00:00:00Z".into()),
    ] {
        let changed = signed_object(&content, |manifest| manifest[member] = value);
        let expected = (Failed, Passed, Failed);
        assert_eq!(judged(&changed, &content), expected, "{member}");
    }
    // A certificate that is registered no more, and of no CA of the registrar's.
    let mut unknown = right.clone();
    unknown.device = None;
    assert_eq!(judged(&unknown, &content), (Failed, Passed, Failed));
    // Of another device.
    let mut moved = right;
    moved.record.metadata.source = Source::DeviceId("other".parse().unwrap());
    assert_eq!(judged(&moved, &content), (Failed, Passed, Failed));
}
