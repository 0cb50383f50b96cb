//! Which wraps are made, and who opens them.

use contract_interface::RecordId;
use sealed_object::PrivateKey;
use serde_json::json;

use super::*;

struct Keys {
    patient: PrivateKey,
    next: PrivateKey,
    reader: PrivateKey,
    gate: PrivateKey,
}

fn keys() -> Keys {
    let [patient, next, reader, gate] = [(); 4].map(|()| PrivateKey::generate(3072).unwrap());
    Keys {
        patient,
        next,
        reader,
        gate,
    }
}

fn again(key: &PrivateKey) -> PrivateKey {
    PrivateKey::from_jwk(&key.to_jwk()).unwrap()
}

fn kid(key: &PrivateKey) -> String {
    key.public_key().thumbprint().to_owned()
}

fn held(keys: &Keys, data_key: &DataKey) -> HeldWraps {
    HeldWraps {
        record_id: RecordId::from_bytes([1; 16]),
        wraps: vec![KeyWrap::plain(
            kid(&keys.patient),
            keys.patient.public_key().wrap(data_key).unwrap(),
        )],
        gate: serde_json::from_str(&keys.gate.public_key().to_jwk()).unwrap(),
    }
}

fn entry(rule: serde_json::Value) -> GrantEntry {
    serde_json::from_value(json!({
        "grant": {
            "grant_id": "0d".repeat(16),
            "rule": rule,
            "valid_from": "2026-01-01T00:00:00Z",
            "valid_until": "2026-04-01T00:00:00Z",
        },
        "patient": "0a".repeat(16),
        "patient_msp": "Org1MSP",
        "given_by": "0a".repeat(16),
        "status": "active",
        "version": 1,
        "given_at": "2026-01-01T00:01:00Z",
        "requests": [],
        "salt": format!("01{}", "00".repeat(31)),
    }))
    .unwrap()
}

fn permit() -> GrantEntry {
    entry(json!({
        "decision": "permit",
        "grantee": { "participant": "0b".repeat(16) },
        "purposes": ["TREAT"],
    }))
}

fn grant_id() -> Option<GrantId> {
    Some(permit().grant.grant_id)
}

#[test]
fn a_guardians_wrap_is_gated_too_and_leaves_others_alone() {
    let keys = keys();
    let own = EncryptionKeys::new(again(&keys.patient), None);
    let mut held = held(&keys, &DataKey::generate());
    held.wraps.push(KeyWrap {
        kid: kid(&keys.next),
        jwe: "a.b.c.d.e".to_owned(),
        gate: Some(kid(&keys.gate)),
        grant_id: None,
    });
    let change = shared_change(&own, &held, None, keys.reader.public_key())
        .unwrap()
        .expect("the guardian has no wrap yet");
    assert!(change.remove.is_empty(), "the other guardian's stays");
    assert_eq!(change.add[0].grant_id, None);
    assert_eq!(change.add[0].gate, Some(kid(&keys.gate)));
}

#[test]
fn a_shared_key_needs_the_gate_and_the_reader_together() {
    let keys = keys();
    let data_key = DataKey::generate();
    let own = EncryptionKeys::new(again(&keys.patient), None);
    let mut held = held(&keys, &data_key);
    let reader = keys.reader.public_key();

    let change = shared_change(&own, &held, grant_id(), reader)
        .unwrap()
        .expect("the reader has no wrap yet");
    assert!(change.remove.is_empty());
    let [wrap] = &change.add[..] else {
        panic!("{change:?}")
    };
    assert_eq!(wrap.kid, kid(&keys.reader));
    assert_eq!(wrap.gate, Some(kid(&keys.gate)));
    assert_eq!(wrap.grant_id, grant_id());
    assert!(keys.reader.unwrap(&wrap.jwe).is_err(), "without the gate");
    assert!(keys.gate.unwrap(&wrap.jwe).is_err(), "without the reader");
    let inner = keys.gate.ungate(&wrap.jwe).unwrap();
    assert!(keys.gate.unwrap(&inner).is_err(), "still the reader's");
    let opened = keys.reader.unwrap(&inner).unwrap();
    assert_eq!(opened.expose_secret(), data_key.expose_secret());

    held.wraps.push(wrap.clone());
    let again = shared_change(&own, &held, grant_id(), reader).unwrap();
    assert_eq!(again, None, "it is there");
}

#[test]
fn a_wrap_for_a_readers_old_key_or_an_old_gate_is_replaced() {
    let keys = keys();
    let own = EncryptionKeys::new(again(&keys.patient), None);
    let mut held = held(&keys, &DataKey::generate());
    let outdated = |holder: &PrivateKey, gate: &PrivateKey| KeyWrap {
        kid: kid(holder),
        jwe: "a.b.c.d.e".to_owned(),
        gate: Some(kid(gate)),
        grant_id: grant_id(),
    };
    held.wraps.push(outdated(&keys.next, &keys.gate));
    held.wraps.push(outdated(&keys.reader, &keys.next));
    let change = shared_change(&own, &held, grant_id(), keys.reader.public_key())
        .unwrap()
        .expect("closed with another gate");
    assert_eq!(change.remove, [kid(&keys.next)]);
    assert_eq!(change.add[0].gate, Some(kid(&keys.gate)));
}

#[test]
fn a_new_key_takes_the_place_of_the_one_before_once() {
    let keys = keys();
    let data_key = DataKey::generate();
    let own = EncryptionKeys::new(again(&keys.next), Some(again(&keys.patient)));
    let mut held = held(&keys, &data_key);
    let change = rewrapped_change(&own, &held)
        .unwrap()
        .expect("it is wrapped for the old key");
    assert_eq!(change.remove, [kid(&keys.patient)]);
    let [wrap] = &change.add[..] else {
        panic!("{change:?}")
    };
    assert_eq!((&wrap.gate, &wrap.grant_id), (&None, &None));
    let opened = keys.next.unwrap(&wrap.jwe).unwrap();
    assert_eq!(opened.expose_secret(), data_key.expose_secret());

    held.wraps = change.add;
    assert_eq!(rewrapped_change(&own, &held).unwrap(), None);
}

#[test]
fn a_record_whose_key_is_wrapped_for_someone_else_is_named() {
    let keys = keys();
    let stranger = EncryptionKeys::new(again(&keys.next), None);
    let error = rewrapped_change(&stranger, &held(&keys, &DataKey::generate())).unwrap_err();
    assert!(matches!(error, ClientError::Key { .. }));
    assert!(error.to_string().contains(&"01".repeat(16)), "{error}");
}

#[test]
fn keys_are_handed_to_persons_of_standing_permits_only() {
    assert!(grantee(&permit()).is_ok());
    let mut revoked = permit();
    revoked.status = GrantStatus::Revoked;
    let denial = json!({ "decision": "deny", "grantee": { "participant": "0b".repeat(16) } });
    let organization = json!({
        "decision": "permit",
        "grantee": { "organization": "Org2MSP" },
        "purposes": ["TREAT"],
    });
    for (refused, why) in [
        (revoked, "revoked"),
        (entry(denial), "denial"),
        (entry(organization), "no person"),
    ] {
        let error = grantee(&refused).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}
