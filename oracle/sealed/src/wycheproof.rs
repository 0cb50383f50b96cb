//! Project Wycheproof's vectors (`tests/vectors/wycheproof`) through this crate's own code.
//!
//! Every vector is run or counted as one that this crate's types cannot express: other lengths of
//! key and nonce, RSA keys that are refused. The counts are asserted, so none goes missing.

use std::{fs, path::Path};

use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    KeyError, PrivateKey,
    aead::{Aes256Gcm, TAG_LEN},
};

#[derive(Deserialize)]
struct Vectors<G> {
    groups: Vec<G>,
}

#[derive(Deserialize)]
struct AesGcmGroup {
    tests: Vec<AesGcm>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AesGcm {
    tc_id: u32,
    result: String,
    key: Hex,
    iv: Hex,
    aad: Hex,
    msg: Hex,
    ct: Hex,
    tag: Hex,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OaepGroup {
    key_size: usize,
    private_key_pkcs8: Hex,
    tests: Vec<Oaep>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Oaep {
    tc_id: u32,
    result: String,
    msg: Hex,
    ct: Hex,
    label: Hex,
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Hex(Vec<u8>);

impl TryFrom<String> for Hex {
    type Error = hex::FromHexError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        hex::decode(text).map(Self)
    }
}

fn groups<G: DeserializeOwned>(file: &str) -> Vec<G> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/wycheproof");
    let text = fs::read(folder.join(file)).unwrap();
    serde_json::from_slice::<Vectors<G>>(&text).unwrap().groups
}

#[derive(Debug, Default, PartialEq, Eq)]
struct AesGcmCounts {
    /// Sealed to the vector's bytes and opened again.
    valid: usize,
    refused: usize,
    /// AES-128 and AES-192, which this crate cannot be given.
    other_key_length: usize,
    /// Nonces of other than 12 bytes, which this crate cannot be given.
    other_nonce_length: usize,
}

#[test]
fn aes_gcm() {
    let mut counts = AesGcmCounts::default();
    for vector in groups::<AesGcmGroup>("aes_gcm.json")
        .into_iter()
        .flat_map(|group| group.tests)
    {
        let Ok(key) = vector.key.0.try_into() else {
            counts.other_key_length += 1;
            continue;
        };
        let Ok(nonce) = vector.iv.0.try_into() else {
            counts.other_nonce_length += 1;
            continue;
        };
        let cipher = Aes256Gcm::new(&key);
        let sealed = [vector.ct.0, vector.tag.0].concat();
        let mut buffer = sealed.clone();
        let opened = cipher.open(nonce, &vector.aad.0, &mut buffer);
        let case = vector.tc_id;
        if vector.result == "valid" {
            let plaintext = &buffer[..buffer.len() - TAG_LEN];
            assert!(opened.is_some() && plaintext == vector.msg.0, "{case}");
            cipher.seal(nonce, &vector.aad.0, &mut buffer).unwrap();
            assert_eq!(buffer, sealed, "{case}");
            counts.valid += 1;
        } else {
            assert_eq!(vector.result, "invalid", "{case}");
            assert!(opened.is_none(), "{case}");
            counts.refused += 1;
        }
    }
    let expected = AesGcmCounts {
        valid: 39,
        refused: 27,
        other_key_length: 211,
        other_nonce_length: 39,
    };
    assert_eq!(counts, expected);
}

#[derive(Debug, Default, PartialEq, Eq)]
struct OaepCounts {
    valid: usize,
    refused: usize,
    /// Right under a label. JWE has none (RFC 7518 section 4.3), so they are refused.
    labelled: usize,
    /// Of keys shorter than 3072 bits, which are not accepted.
    short_key: usize,
    /// Of keys with three primes, which are not accepted.
    three_primes: usize,
}

#[test]
fn rsa_oaep() {
    let mut counts = OaepCounts::default();
    for group in groups::<OaepGroup>("rsa_oaep_sha256.json") {
        let key = match PrivateKey::from_pkcs8_der(&group.private_key_pkcs8.0) {
            Ok(key) => key,
            Err(KeyError::ModulusSize { bits }) => {
                assert!(bits == group.key_size && bits < crate::MIN_MODULUS_BITS);
                counts.short_key += group.tests.len();
                continue;
            }
            Err(error) => {
                assert!(matches!(
                    error,
                    KeyError::Malformed | KeyError::Inconsistent
                ));
                assert_eq!(
                    group.tests.len(),
                    36,
                    "the one group of a key with three primes"
                );
                counts.three_primes += group.tests.len();
                continue;
            }
        };
        for vector in group.tests {
            let case = (group.key_size, vector.tc_id);
            let decrypted = key.decrypt_oaep(&vector.ct.0);
            match (vector.result.as_str(), vector.label.0.is_empty()) {
                ("valid", true) => {
                    assert!(*decrypted.unwrap() == vector.msg.0, "{case:?}");
                    counts.valid += 1;
                }
                ("valid" | "acceptable", false) => {
                    assert!(decrypted.is_none(), "{case:?}");
                    counts.labelled += 1;
                }
                ("invalid", true) => {
                    assert!(decrypted.is_none(), "{case:?}");
                    counts.refused += 1;
                }
                other => panic!("{case:?}: {other:?}"),
            }
        }
    }
    let expected = OaepCounts {
        valid: 29,
        refused: 38,
        labelled: 23,
        short_key: 55,
        three_primes: 36,
    };
    assert_eq!(counts, expected);
}
