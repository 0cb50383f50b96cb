//! Keys that are refused, in every form, and those that come back.

use super::*;

/// The example key of RFC 7638 section 3.1, too short for this crate.
const RFC_7638_N: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";

fn jwk(n: &[u8], e: &str) -> String {
    let n = URL_SAFE_NO_PAD.encode(n);
    format!(r#"{{"kty":"RSA","n":"{n}","e":"{e}"}}"#)
}

fn modulus(bytes: usize) -> Vec<u8> {
    let mut modulus = vec![0x5a; bytes];
    modulus[0] = 0x80;
    modulus[bytes - 1] = 0x01;
    modulus
}

#[test]
fn thumbprint_is_that_of_rfc_7638() {
    let modulus = URL_SAFE_NO_PAD.decode(RFC_7638_N).unwrap();
    assert_eq!(
        thumbprint(&modulus),
        "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    );
}

#[test]
fn unfit_public_keys_are_refused() {
    let even = {
        let mut even = modulus(384);
        even[383] = 2;
        even
    };
    let good = modulus(384);
    let half_a_bit_short = [&[0x7f][..], &good[1..]].concat();
    let zero_led = [&[0][..], &good].concat();
    let cases = [
        (
            jwk(&modulus(128), "AQAB"),
            KeyError::ModulusSize { bits: 1024 },
        ),
        (
            jwk(&modulus(256), "AQAB"),
            KeyError::ModulusSize { bits: 2048 },
        ),
        (
            jwk(&modulus(383), "AQAB"),
            KeyError::ModulusSize { bits: 3064 },
        ),
        (
            jwk(&modulus(1025), "AQAB"),
            KeyError::ModulusSize { bits: 8200 },
        ),
        (
            jwk(&half_a_bit_short, "AQAB"),
            KeyError::ModulusSize { bits: 3071 },
        ),
        (jwk(&[], "AQAB"), KeyError::Malformed),
        (jwk(&[0], "AQAB"), KeyError::Malformed),
        (jwk(&even, "AQAB"), KeyError::EvenModulus),
        (jwk(&good, "Aw"), KeyError::Exponent),
        (jwk(&good, "AQ"), KeyError::Exponent),
        (jwk(&good, "AQAA"), KeyError::Exponent),
        (jwk(&good, "AQABAQ"), KeyError::Exponent),
        (jwk(&good, "-AQAB"), KeyError::Malformed),
        (jwk(&good, "AAEAAQ"), KeyError::Malformed),
        (jwk(&good, ""), KeyError::Malformed),
        (jwk(&zero_led, "AQAB"), KeyError::Malformed),
        (jwk(&good, "AQAB").replace("RSA", "oct"), KeyError::NotRsa),
        (
            jwk(&good, "AQAB").replace("\"e\"", "\"f\""),
            KeyError::Malformed,
        ),
        (jwk(&good, "AQAB=").to_owned(), KeyError::Malformed),
        (
            jwk(&good, "AQAB").replace("\"n\":\"", "\"n\":\"-"),
            KeyError::Malformed,
        ),
        (
            jwk(&good, "AQAB").replace("\"AQAB\"", "65537"),
            KeyError::Malformed,
        ),
        (
            jwk(&good, "AQAB").replace("{", r#"{"use":"sig","#),
            KeyError::WrongUse,
        ),
        (
            jwk(&good, "AQAB").replace("{", r#"{"alg":"RSA1_5","#),
            KeyError::WrongUse,
        ),
        (
            jwk(&good, "AQAB").replace("{", r#"{"e":"AQAB","#),
            KeyError::Malformed,
        ),
        ("{".to_owned(), KeyError::Malformed),
        ("[]".to_owned(), KeyError::Malformed),
        (" ".repeat(17 * 1024), KeyError::Malformed),
    ];
    for (json, expected) in cases {
        assert_eq!(PublicKey::from_jwk(&json).unwrap_err(), expected, "{json}");
    }
}

#[test]
fn jwk_and_spki_forms_come_back() {
    let key = PublicKey::from_modulus(modulus(384)).unwrap();
    assert_eq!(PublicKey::from_jwk(&key.to_jwk()).unwrap(), key);
    assert_eq!(PublicKey::from_spki_der(&key.to_spki_der()).unwrap(), key);
    assert_eq!(
        PublicKey::from_spki_der(b"0").unwrap_err(),
        KeyError::Malformed
    );
}

#[test]
fn any_private_member_is_refused_in_a_public_key() {
    for member in ["d", "p", "q", "dp", "dq", "qi"] {
        let json = jwk(&modulus(384), "AQAB").replace('{', &format!(r#"{{"{member}":"AQAB","#));
        let refusal = PublicKey::from_jwk(&json).unwrap_err();
        assert_eq!(refusal, KeyError::PrivateKeyGiven, "{member}");
    }
    let json = jwk(&modulus(384), "AQAB").replace('{', r#"{"oth":[],"#);
    let refusal = PublicKey::from_jwk(&json).unwrap_err();
    assert_eq!(refusal, KeyError::PrivateKeyGiven);
}

/// DER, unlike a JWK, can write a negative number and more than one form of the same one.
#[test]
fn unfit_der_keys_are_refused() {
    let good = modulus(384);
    let integer = |bytes: &[u8]| tlv(2, bytes);
    let unsigned = |bytes: &[u8]| integer(&[&[0], bytes].concat());
    let e = integer(&[1, 0, 1]);
    for (case, der, expected) in [
        ("right", rsa_spki(&unsigned(&good), &e), None),
        (
            "negative modulus",
            rsa_spki(&integer(&good), &e),
            Some(KeyError::Malformed),
        ),
        (
            "leading zeros",
            rsa_spki(&integer(&[&[0, 0][..], &good].concat()), &e),
            Some(KeyError::Malformed),
        ),
        (
            "1024 bits",
            rsa_spki(&unsigned(&modulus(128)), &e),
            Some(KeyError::ModulusSize { bits: 1024 }),
        ),
        (
            "2048 bits",
            rsa_spki(&unsigned(&modulus(256)), &e),
            Some(KeyError::ModulusSize { bits: 2048 }),
        ),
        (
            "exponent 3",
            rsa_spki(&unsigned(&good), &integer(&[3])),
            Some(KeyError::Exponent),
        ),
        (
            "negative exponent",
            rsa_spki(&unsigned(&good), &integer(&[0xff, 0xff])),
            Some(KeyError::Malformed),
        ),
        (
            "zero-led exponent",
            rsa_spki(&unsigned(&good), &integer(&[0, 1, 0, 1])),
            Some(KeyError::Malformed),
        ),
        (
            "bytes behind",
            [rsa_spki(&unsigned(&good), &e), vec![0]].concat(),
            Some(KeyError::Malformed),
        ),
        (
            "elliptic curve",
            spki_of(&EC_P256, &unsigned(&good), &e),
            Some(KeyError::NotRsa),
        ),
    ] {
        assert_eq!(PublicKey::from_spki_der(&der).err(), expected, "{case}");
    }
}

const RSA_ENCRYPTION: [u8; 13] = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
const EC_P256: [u8; 19] = [
    6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7,
];

fn rsa_spki(n: &[u8], e: &[u8]) -> Vec<u8> {
    spki_of(&RSA_ENCRYPTION, n, e)
}

fn spki_of(algorithm: &[u8], n: &[u8], e: &[u8]) -> Vec<u8> {
    let key = tlv(0x30, &[n, e].concat());
    let bits = tlv(3, &[&[0], key.as_slice()].concat());
    tlv(0x30, &[tlv(0x30, algorithm), bits].concat())
}

/// One DER value, whatever it holds; lengths below 64 KiB.
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = match content.len() {
        short @ ..0x80 => vec![short as u8],
        long @ ..0x100 => vec![0x81, long as u8],
        longer => [&[0x82][..], &(longer as u16).to_be_bytes()].concat(),
    };
    [&[tag][..], &length, content].concat()
}
