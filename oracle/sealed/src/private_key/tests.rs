//! Wrapping and unwrapping, and keys whose parts do not fit.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

use super::*;
use crate::{DataKey, UnwrapError, testing::KEYS};

fn refused(jwe: &str) {
    assert_eq!(
        KEYS[0].unwrap(jwe).err(),
        Some(UnwrapError::Refused),
        "{jwe}"
    );
}

#[test]
fn wrapped_key_comes_back() {
    let data_key = DataKey::generate();
    let jwe = KEYS[0].public_key().wrap(&data_key).unwrap();
    let unwrapped = KEYS[0].unwrap(&jwe).unwrap();
    assert_eq!(unwrapped.expose_secret(), data_key.expose_secret());
}

#[test]
fn header_names_algorithms_and_key() {
    let jwe = KEYS[0].public_key().wrap(&DataKey::generate()).unwrap();
    let (header, _) = jwe.split_once('.').unwrap();
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    assert_eq!(
        header,
        serde_json::json!({
            "alg": "RSA-OAEP-256",
            "cty": "jwk+json",
            "enc": "A256GCM",
            "kid": KEYS[0].public_key().thumbprint(),
        })
    );
}

#[test]
fn key_of_another_reader_is_named() {
    let jwe = KEYS[1].public_key().wrap(&DataKey::generate()).unwrap();
    assert_eq!(
        KEYS[0].unwrap(&jwe).err(),
        Some(UnwrapError::OtherKey {
            kid: KEYS[1].public_key().thumbprint().to_owned()
        })
    );
}

#[test]
fn changed_parts_are_refused() {
    let jwe = KEYS[0].public_key().wrap(&DataKey::generate()).unwrap();
    let other = KEYS[0].public_key().wrap(&DataKey::generate()).unwrap();
    let parts: Vec<&str> = jwe.split('.').collect();
    let others: Vec<&str> = other.split('.').collect();
    for index in 1..5 {
        let mut mixed = parts.clone();
        mixed[index] = others[index];
        refused(&mixed.join("."));
        mixed[index] = "";
        refused(&mixed.join("."));
        let longer = format!("{}A", parts[index]);
        mixed[index] = &longer;
        refused(&mixed.join("."));
    }
    refused("");
    refused("....");
    refused(&parts[..4].join("."));
    refused(&format!("{jwe}."));
    refused(&"A".repeat(5000));
}

#[test]
fn headers_that_change_the_meaning_are_refused() {
    let kid = KEYS[0].public_key().thumbprint();
    let jwe = KEYS[0].public_key().wrap(&DataKey::generate()).unwrap();
    let (_, rest) = jwe.split_once('.').unwrap();
    for header in [
        format!(r#"{{"alg":"RSA-OAEP","enc":"A256GCM","kid":"{kid}"}}"#),
        format!(r#"{{"alg":"dir","enc":"A256GCM","kid":"{kid}"}}"#),
        format!(r#"{{"alg":"RSA-OAEP-256","enc":"A128GCM","kid":"{kid}"}}"#),
        format!(r#"{{"alg":"RSA-OAEP-256","enc":"A256GCM","kid":"{kid}","crit":["x"],"x":1}}"#),
        format!(r#"{{"alg":"RSA-OAEP-256","enc":"A256GCM","kid":"{kid}","zip":"DEF"}}"#),
        format!(r#"{{"alg":"RSA-OAEP-256","enc":"A256GCM","kid":"{kid}","kid":"{kid}"}}"#),
        // The same meaning in other bytes: the header is authenticated as it stands.
        format!(r#"{{"alg":"RSA-OAEP-256","enc":"A256GCM","kid":"{kid}"}}"#),
        r#"{"alg":"RSA-OAEP-256","enc":"A256GCM"}"#.to_owned(),
        "null".to_owned(),
    ] {
        refused(&format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header)));
    }
}

#[test]
fn both_written_forms_come_back() {
    let key = &KEYS[0];
    let data_key = DataKey::generate();
    let jwe = key.public_key().wrap(&data_key).unwrap();
    for read in [
        PrivateKey::from_jwk(&key.to_jwk()).unwrap(),
        PrivateKey::from_pkcs8_der(&key.to_pkcs8_der()).unwrap(),
    ] {
        assert_eq!(read.public_key(), key.public_key());
        let unwrapped = read.unwrap(&jwe).unwrap();
        assert_eq!(unwrapped.expose_secret(), data_key.expose_secret());
    }
}

#[test]
fn private_jwk_is_refused_as_public() {
    assert_eq!(
        PublicKey::from_jwk(&KEYS[0].to_jwk()).unwrap_err(),
        KeyError::PrivateKeyGiven
    );
}

#[test]
fn private_keys_with_parts_missing_or_foreign_are_refused() {
    let mine: Value = serde_json::from_str(&KEYS[0].to_jwk()).unwrap();
    let other: Value = serde_json::from_str(&KEYS[1].to_jwk()).unwrap();
    let refusal = |jwk: &Value| PrivateKey::from_jwk(&jwk.to_string()).err();
    assert_eq!(refusal(&mine), None);
    for member in ["n", "e", "d", "p", "q", "dp", "dq", "qi"] {
        let mut changed = mine.clone();
        changed.as_object_mut().unwrap().remove(member);
        assert_eq!(refusal(&changed), Some(KeyError::Malformed), "{member}");
    }
    for member in ["n", "d", "p", "q", "dp", "dq", "qi"] {
        let mut changed = mine.clone();
        changed[member] = other[member].clone();
        assert_eq!(refusal(&changed), Some(KeyError::Inconsistent), "{member}");
    }
    let mut multi_prime = mine.clone();
    multi_prime["oth"] = serde_json::json!([]);
    assert_eq!(refusal(&multi_prime), Some(KeyError::Malformed));
}

#[test]
fn other_sizes_are_not_generated() {
    for bits in [0, 1024, 2048, 3071, 16384] {
        assert_eq!(
            PrivateKey::generate(bits).err(),
            Some(KeyError::ModulusSize { bits })
        );
    }
}

#[test]
fn short_and_oddly_made_private_keys_are_refused() {
    let mine: Value = serde_json::from_str(&KEYS[0].to_jwk()).unwrap();
    let refusal = |member: &str, value: &[u8]| {
        let mut changed = mine.clone();
        changed[member] = serde_json::json!(URL_SAFE_NO_PAD.encode(value));
        PrivateKey::from_jwk(&changed.to_string()).err()
    };
    let modulus = URL_SAFE_NO_PAD.decode(mine["n"].as_str().unwrap()).unwrap();
    for bits in [1024, 2048] {
        let short = &modulus[modulus.len() - bits / 8..];
        let short = [&[short[0] | 0x80], &short[1..]].concat();
        assert_eq!(refusal("n", &short), Some(KeyError::ModulusSize { bits }));
    }
    let even = [&modulus[..modulus.len() - 1], &[2]].concat();
    assert_eq!(refusal("n", &even), Some(KeyError::EvenModulus));
    assert_eq!(refusal("e", &[3]), Some(KeyError::Exponent));
    for member in ["n", "e", "d", "p", "q", "dp", "dq", "qi"] {
        let value = URL_SAFE_NO_PAD
            .decode(mine[member].as_str().unwrap())
            .unwrap();
        let zero_led = [&[0], value.as_slice()].concat();
        assert_eq!(
            refusal(member, &zero_led),
            Some(KeyError::Malformed),
            "{member}"
        );
        assert_eq!(refusal(member, &[]), Some(KeyError::Malformed), "{member}");
    }
}
