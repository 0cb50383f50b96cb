//! jwcrypto and we open each other's sealed texts and gated wraps, and refuse the same ones.

use salus::letters;
use salus_tests::story;
use sealed_object::{
    DataKey, MIN_MODULUS_BITS, PrivateKey, UnwrapError, encrypt_for, gate, wrapped_for,
};
use serde_json::{Value, json};

use super::{REFUSED, python, python_is_here};
use crate::support::Running;

const TEXT: &[u8] = "bewusstlos aufgefunden, Angehörige nicht erreichbar".as_bytes();

/// What `texts.py` answers; `None` if it refuses.
async fn judge(task: Value) -> Option<Value> {
    let output = python("texts.py", &task).await;
    if output.status.code() == Some(REFUSED) {
        return None;
    }
    assert!(output.status.success(), "{output:?}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

async fn opened(key: &PrivateKey, content_type: &str, jwe: &str) -> Option<Vec<u8>> {
    let jwk = key.to_jwk();
    let task = json!({ "open": jwe, "content_type": content_type, "private_jwk": jwk.as_str() });
    let answer = judge(task).await?;
    Some(hex::decode(answer["text"].as_str().unwrap()).unwrap())
}

fn keys() -> [PrivateKey; 2] {
    [(); 2].map(|()| PrivateKey::generate(MIN_MODULUS_BITS).unwrap())
}

#[tokio::test]
async fn jwcrypto_and_we_open_each_others_texts() {
    if !python_is_here("jwcrypto_and_we_open_each_others_texts") {
        return;
    }
    let keys = keys();
    let stranger = PrivateKey::generate(MIN_MODULUS_BITS).unwrap();
    let public = keys.each_ref().map(|key| key.public_key().clone());
    for readers in [&public[..1], &public[..]] {
        let ours = match readers {
            [one] => one.encrypt(letters::CONTENT_TYPE, TEXT),
            several => encrypt_for(several, letters::CONTENT_TYPE, TEXT),
        }
        .unwrap();
        let jwks: Vec<String> = readers.iter().map(|reader| reader.to_jwk()).collect();
        let theirs = judge(json!({
            "seal": hex::encode(TEXT),
            "content_type": letters::CONTENT_TYPE,
            "public_jwks": jwks,
        }))
        .await
        .unwrap();
        let theirs = theirs["jwe"].as_str().unwrap();
        for key in &keys[..readers.len()] {
            let text = opened(key, letters::CONTENT_TYPE, &ours).await;
            assert_eq!(text.as_deref(), Some(TEXT));
            assert!(opened(key, "text/html", &ours).await.is_none());
            let text = key.decrypt(letters::CONTENT_TYPE, theirs).unwrap();
            assert_eq!(text.as_slice(), TEXT);
            let refused = key.decrypt("text/html", theirs);
            assert_eq!(refused.err(), Some(UnwrapError::Refused));
        }
        let other = opened(&stranger, letters::CONTENT_TYPE, &ours).await;
        assert!(other.is_none(), "a stranger's key opened it");
        assert!(stranger.decrypt(letters::CONTENT_TYPE, theirs).is_err());
    }
}

#[tokio::test]
async fn jwcrypto_and_we_open_each_others_gated_wraps() {
    if !python_is_here("jwcrypto_and_we_open_each_others_gated_wraps") {
        return;
    }
    let [reader, gatekeeper] = keys();
    let jwk = |key: &PrivateKey| key.to_jwk().to_string();
    let data_key = DataKey::generate();
    let inner = reader.public_key().wrap(&data_key).unwrap();
    let ours = gate(gatekeeper.public_key(), &inner).unwrap();
    let theirs = judge(json!({ "gate": inner, "gate_jwk": gatekeeper.public_key().to_jwk() }))
        .await
        .unwrap();
    let theirs = theirs["jwe"].as_str().unwrap();

    assert_eq!(gatekeeper.ungate(theirs).unwrap(), inner);
    let ungated = judge(json!({ "ungate": ours, "gate_jwk": jwk(&gatekeeper) })).await;
    let ungated = ungated.unwrap()["jwe"].as_str().unwrap().to_owned();
    assert_eq!(ungated, inner);
    assert_eq!(
        wrapped_for(&ungated).as_deref(),
        Some(reader.public_key().thumbprint())
    );
    let unwrapped = judge(json!({ "unwrap": ungated, "private_jwk": jwk(&reader) })).await;
    let expected = hex::encode(data_key.expose_secret());
    assert_eq!(unwrapped.unwrap()["data_key"], expected.as_str());

    // Neither key alone, and no kind as another.
    for refused in [
        json!({ "unwrap": ours, "private_jwk": jwk(&reader) }),
        json!({ "unwrap": ours, "private_jwk": jwk(&gatekeeper) }),
        json!({ "unwrap": inner, "private_jwk": jwk(&gatekeeper) }),
        json!({ "ungate": inner, "gate_jwk": jwk(&reader) }),
        json!({ "ungate": ours, "gate_jwk": jwk(&reader) }),
    ] {
        assert!(judge(refused.clone()).await.is_none(), "{refused}");
    }
    for jwe in [&ours, theirs] {
        assert!(reader.unwrap(jwe).is_err());
        assert!(gatekeeper.unwrap(jwe).is_err());
    }
}

/// An emergency's justification, as the REST API gives it to the patient and to an auditor.
#[tokio::test]
async fn jwcrypto_opens_the_justification_of_an_emergency() {
    if !python_is_here("jwcrypto_opens_the_justification_of_an_emergency") {
        return;
    }
    let running = Running::embedded().await;
    let staff = story::enrol_staff(&running.system, &running.cast)
        .await
        .unwrap();
    let patient = &running.cast.patients[0];
    let pseudonym = patient.pseudonym.to_string();
    let words = "found unconscious, no relatives known";
    let declare = [
        "emergencies",
        "declare",
        "--patient",
        &pseudonym,
        "--reason",
        "unresponsive",
        "--justification",
        words,
        "--for",
        "1h",
    ];
    running.salus(&staff.emergency, &declare).await;
    let path = format!("/v1/emergencies?patient={pseudonym}");
    for person in [&patient.person, &staff.auditor] {
        let answer = running.curl(person, &path, &[]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let listed = answer.json();
        let sealed = &listed["emergencies"][0]["emergency"]["justification"];
        let sealed = sealed.as_str().unwrap_or_else(|| panic!("{listed}"));
        assert!(!listed.to_string().contains(words));
        let key = person.private_key().unwrap();
        let text = opened(&key, letters::CONTENT_TYPE, sealed).await;
        assert_eq!(text.as_deref(), Some(words.as_bytes()));
        let provider = running.cast.provider.private_key().unwrap();
        assert!(
            opened(&provider, letters::CONTENT_TYPE, sealed)
                .await
                .is_none()
        );
    }
    running.system.stop().await.unwrap();
}
