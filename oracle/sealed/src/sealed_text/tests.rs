//! Sealed texts for one and for several readers, and every way in which they can be wrong.

use serde_json::{Value, json};

use super::*;
use crate::testing::KEYS;

const CONTENT_TYPE: &str = "text/plain;charset=utf-8";
const TEXT: &[u8] = b"found unconscious, needs the list of medicines";

fn both() -> [PublicKey; 2] {
    [KEYS[0].public_key().clone(), KEYS[1].public_key().clone()]
}

#[test]
fn text_for_one_reader_comes_back() {
    let long = vec![b'x'; MAX_TEXT_BYTES];
    for text in [&b""[..], TEXT, &long] {
        let jwe = KEYS[0].public_key().encrypt(CONTENT_TYPE, text).unwrap();
        assert!(jwe.len() <= MAX_SEALED_TEXT_BYTES);
        let opened = KEYS[0].decrypt(CONTENT_TYPE, &jwe).unwrap();
        assert_eq!(opened.as_slice(), text);
        let other = KEYS[1].decrypt(CONTENT_TYPE, &jwe).err();
        let kid = KEYS[0].public_key().thumbprint().to_owned();
        assert_eq!(other, Some(UnwrapError::OtherKey { kid }));
    }
}

#[test]
fn text_for_several_readers_comes_back_to_each() {
    let jwe = encrypt_for(&both(), CONTENT_TYPE, TEXT).unwrap();
    for key in &*KEYS {
        assert_eq!(key.decrypt(CONTENT_TYPE, &jwe).unwrap().as_slice(), TEXT);
    }
    let for_one = encrypt_for(&both()[..1], CONTENT_TYPE, TEXT).unwrap();
    assert_eq!(
        KEYS[1].decrypt(CONTENT_TYPE, &for_one).err(),
        Some(UnwrapError::Refused)
    );
}

#[test]
fn longest_text_fits_for_the_most_readers() {
    let readers = vec![KEYS[0].public_key().clone(); MAX_TEXT_READERS];
    let text = vec![b'x'; MAX_TEXT_BYTES];
    let jwe = encrypt_for(&readers, CONTENT_TYPE, &text).unwrap();
    assert!(KEYS[0].decrypt(CONTENT_TYPE, &jwe).unwrap().as_slice() == text);
}

#[test]
fn other_content_type_is_refused() {
    let compact = KEYS[0].public_key().encrypt(CONTENT_TYPE, TEXT).unwrap();
    let general = encrypt_for(&both(), CONTENT_TYPE, TEXT).unwrap();
    for other in ["text/html", "text/plain", "TEXT/PLAIN;charset=utf-8", ""] {
        for jwe in [&compact, &general] {
            let refusal = KEYS[0].decrypt(other, jwe).err();
            assert_eq!(refusal, Some(UnwrapError::Refused), "{other}");
        }
    }
}

#[test]
fn unfit_content_types_are_refused() {
    let long = "a".repeat(MAX_CONTENT_TYPE_BYTES + 1);
    for content_type in [
        "",
        &long,
        "text/plain; charset=utf-8",
        "a\"b",
        "a\\b",
        "a\nb",
        "tëxt",
        "jwk+json",
        "JWK+JSON",
        "application/jwk+json",
        "jose",
        "jose;a=b",
        "Application/JOSE",
    ] {
        let refusal = KEYS[0].public_key().encrypt(content_type, TEXT).err();
        assert_eq!(refusal, Some(WrapError::ContentType), "{content_type}");
        let refusal = encrypt_for(&both(), content_type, TEXT).err();
        assert_eq!(refusal, Some(WrapError::ContentType), "{content_type}");
    }
}

#[test]
fn too_much_is_refused() {
    let long = vec![b'x'; MAX_TEXT_BYTES + 1];
    let max = MAX_TEXT_BYTES;
    let refusal = KEYS[0].public_key().encrypt(CONTENT_TYPE, &long).err();
    assert_eq!(refusal, Some(WrapError::TooLong { max }));
    let refusal = encrypt_for(&both(), CONTENT_TYPE, &long).err();
    assert_eq!(refusal, Some(WrapError::TooLong { max }));
    let many = vec![KEYS[0].public_key().clone(); MAX_TEXT_READERS + 1];
    for readers in [&[][..], &many] {
        let refusal = encrypt_for(readers, CONTENT_TYPE, TEXT).err();
        assert_eq!(refusal, Some(WrapError::Readers));
    }
}

#[test]
fn changed_general_texts_are_refused() {
    let mine: Value =
        serde_json::from_str(&encrypt_for(&both(), CONTENT_TYPE, TEXT).unwrap()).unwrap();
    let other: Value =
        serde_json::from_str(&encrypt_for(&both(), CONTENT_TYPE, TEXT).unwrap()).unwrap();
    let refused = |jwe: &Value, case: &str| {
        let refusal = KEYS[0].decrypt(CONTENT_TYPE, &jwe.to_string()).err();
        assert_eq!(refusal, Some(UnwrapError::Refused), "{case}");
    };
    assert!(KEYS[0].decrypt(CONTENT_TYPE, &mine.to_string()).is_ok());
    for member in ["ciphertext", "iv", "tag", "recipients"] {
        let mut changed = mine.clone();
        changed[member] = other[member].clone();
        refused(&changed, member);
    }
    for member in ["ciphertext", "iv", "tag", "recipients", "protected"] {
        let mut changed = mine.clone();
        changed.as_object_mut().unwrap().remove(member);
        refused(&changed, member);
        changed[member] = json!("");
        refused(&changed, member);
    }
    for (member, value) in [("aad", json!("AAAA")), ("unprotected", json!({}))] {
        let mut changed = mine.clone();
        changed[member] = value;
        refused(&changed, member);
    }
    let mut swapped = mine.clone();
    swapped["recipients"][0]["header"] = mine["recipients"][1]["header"].clone();
    swapped["recipients"][1]["header"] = mine["recipients"][0]["header"].clone();
    refused(&swapped, "kids exchanged");
    let mut algorithm = mine.clone();
    algorithm["recipients"][0]["header"]["alg"] = json!("RSA-OAEP-256");
    refused(&algorithm, "algorithm of a recipient");
    let mut many = mine.clone();
    let entry = mine["recipients"][0].clone();
    many["recipients"] = json!(vec![entry; MAX_TEXT_READERS + 1]);
    refused(&many, "too many recipients");
}

#[test]
fn other_headers_of_general_texts_are_refused() {
    let jwe: Value =
        serde_json::from_str(&encrypt_for(&both(), CONTENT_TYPE, TEXT).unwrap()).unwrap();
    let kid = KEYS[0].public_key().thumbprint();
    for header in [
        json!({"alg": "RSA-OAEP", "cty": CONTENT_TYPE, "enc": "A256GCM"}),
        json!({"alg": "RSA-OAEP-256", "cty": CONTENT_TYPE, "enc": "A128GCM"}),
        json!({"alg": "RSA-OAEP-256", "enc": "A256GCM"}),
        json!({"alg": "RSA-OAEP-256", "cty": CONTENT_TYPE, "enc": "A256GCM", "zip": "DEF"}),
        json!({"alg": "RSA-OAEP-256", "cty": CONTENT_TYPE, "enc": "A256GCM", "crit": ["x"]}),
        json!({"alg": "RSA-OAEP-256", "cty": CONTENT_TYPE, "enc": "A256GCM", "kid": kid}),
        // The same meaning in other bytes: the header is authenticated as it stands.
        json!({"enc": "A256GCM", "alg": "RSA-OAEP-256", "cty": CONTENT_TYPE, "typ": "JOSE"}),
    ] {
        let mut changed = jwe.clone();
        changed["protected"] = json!(URL_SAFE_NO_PAD.encode(header.to_string()));
        let refusal = KEYS[0].decrypt(CONTENT_TYPE, &changed.to_string()).err();
        assert_eq!(refusal, Some(UnwrapError::Refused), "{header}");
    }
}

#[test]
fn what_is_no_sealed_text_is_refused() {
    let jwe = KEYS[0].public_key().encrypt(CONTENT_TYPE, TEXT).unwrap();
    let long = "A".repeat(MAX_SEALED_TEXT_BYTES + 1);
    for text in [
        "",
        "{",
        "{}",
        "....",
        "a.b.c.d.e",
        &format!("{jwe}."),
        &long,
    ] {
        let refusal = KEYS[0].decrypt(CONTENT_TYPE, text).err();
        assert_eq!(refusal, Some(UnwrapError::Refused), "{text}");
    }
    for (index, _) in jwe.char_indices().step_by(11) {
        assert!(KEYS[0].decrypt(CONTENT_TYPE, &jwe[..index]).is_err());
    }
}
