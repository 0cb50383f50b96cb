//! Gated wraps: what each of the two keys gets at, and what is no such wrap.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::*;
use crate::testing::KEYS;

fn gated() -> (DataKey, String, String) {
    let [reader, gatekeeper] = &*KEYS;
    let data_key = DataKey::generate();
    let inner = reader.public_key().wrap(&data_key).unwrap();
    let outer = gate(gatekeeper.public_key(), &inner).unwrap();
    (data_key, inner, outer)
}

#[test]
fn gate_and_reader_open_it_one_after_the_other() {
    let [reader, gatekeeper] = &*KEYS;
    let (data_key, inner, outer) = gated();
    assert_eq!(gatekeeper.ungate(&outer).unwrap(), inner);
    let opened = reader.unwrap(&inner).unwrap();
    assert_eq!(opened.expose_secret(), data_key.expose_secret());
}

#[test]
fn neither_opens_it_alone() {
    let [reader, gatekeeper] = &*KEYS;
    let (_, inner, outer) = gated();
    let other_key = |key: &PrivateKey| {
        Some(UnwrapError::OtherKey {
            kid: key.public_key().thumbprint().to_owned(),
        })
    };
    assert_eq!(reader.ungate(&outer).err(), other_key(gatekeeper));
    assert_eq!(gatekeeper.unwrap(&inner).err(), other_key(reader));
    assert_eq!(gatekeeper.unwrap(&outer).err(), Some(UnwrapError::Refused));
    assert_eq!(reader.unwrap(&outer).err(), Some(UnwrapError::Refused));
}

#[test]
fn one_kind_never_opens_as_another() {
    let [key, _] = &*KEYS;
    let wrap = key.public_key().wrap(&DataKey::generate()).unwrap();
    let gated = gate(key.public_key(), &wrap).unwrap();
    let text = key.public_key().encrypt("text/plain", b"words").unwrap();
    let refused = Some(UnwrapError::Refused);
    assert_eq!(key.unwrap(&gated).err(), refused);
    assert_eq!(key.unwrap(&text).err(), refused);
    assert_eq!(key.ungate(&wrap).err(), refused);
    assert_eq!(key.ungate(&text).err(), refused);
    for content_type in ["text/plain", "jwk+json", "jose", "application/jose", "JOSE"] {
        assert_eq!(key.decrypt(content_type, &wrap).err(), refused);
        assert_eq!(key.decrypt(content_type, &gated).err(), refused);
    }
}

#[test]
fn only_wrapped_data_keys_are_gated() {
    let [key, _] = &*KEYS;
    let wrap = key.public_key().wrap(&DataKey::generate()).unwrap();
    let gated = gate(key.public_key(), &wrap).unwrap();
    let text = key.public_key().encrypt("text/plain", b"words").unwrap();
    let (header, _) = wrap.split_once('.').unwrap();
    let long = format!("{header}...{}.", "A".repeat(MAX_WRAP_BYTES));
    for inner in ["", "....", &gated, &text, &format!("{wrap}."), &long] {
        let refusal = gate(key.public_key(), inner).err();
        assert_eq!(refusal, Some(WrapError::NotAWrap), "{inner}");
        assert_eq!(wrapped_for(inner), None, "{inner}");
    }
    let too_much = format!("{header}.AAAA.AAAA.{}.AAAA", "A".repeat(3000));
    let refusal = gate(key.public_key(), &too_much).err();
    assert!(matches!(refusal, Some(WrapError::TooLong { .. })));
}

#[test]
fn gates_around_something_else_are_refused() {
    let [key, _] = &*KEYS;
    for payload in [&b""[..], b"\xff", b"words", b"{}"] {
        let jwe = jwe::encrypt(GATED_TYPE, payload, key.public_key().thumbprint(), |cek| {
            key.public_key().encrypt_cek(cek)
        });
        assert_eq!(key.ungate(&jwe.unwrap()).err(), Some(UnwrapError::Refused));
    }
}

#[test]
fn any_changed_character_of_a_gated_wrap_is_refused() {
    let [_, gatekeeper] = &*KEYS;
    let (_, _, outer) = gated();
    // One in eleven: each costs a private RSA operation.
    for index in (0..outer.len()).step_by(11) {
        let mut changed = outer.clone().into_bytes();
        changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(gatekeeper.ungate(&changed).is_err(), "{index}");
        assert!(gatekeeper.ungate(&outer[..index]).is_err(), "{index}");
    }
}

#[test]
fn header_tells_whose_wrap_it_is() {
    let [reader, gatekeeper] = &*KEYS;
    let (_, inner, outer) = gated();
    assert_eq!(
        wrapped_for(&inner).as_deref(),
        Some(reader.public_key().thumbprint())
    );
    assert_eq!(wrapped_for(&outer), None);
    let (header, _) = outer.split_once('.').unwrap();
    let header: serde_json::Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    let expected = serde_json::json!({
        "alg": "RSA-OAEP-256",
        "cty": "jose",
        "enc": "A256GCM",
        "kid": gatekeeper.public_key().thumbprint(),
    });
    assert_eq!(header, expected);
}

/// Eight times the shortest key's length is beyond what tests can generate in time; the texts'
/// lengths depend on the length of the modulus only.
#[test]
fn gated_wraps_of_the_longest_keys_fit() {
    let mut modulus = vec![0x5a; crate::MAX_MODULUS_BITS / 8];
    modulus[0] = 0x80;
    *modulus.last_mut().unwrap() = 1;
    let key = PublicKey::from_modulus(modulus).unwrap();
    let wrap = key.wrap(&DataKey::generate()).unwrap();
    let gated = gate(&key, &wrap).unwrap();
    assert!(gated.len() <= MAX_WRAP_BYTES, "{}", gated.len());
}
