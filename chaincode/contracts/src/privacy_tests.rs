//! What the channel's public part gives away, over the whole life of a record.
//!
//! Public are a transaction's arguments, result and event, its public reads and writes, and
//! SHA-256 of every private key and value.

use std::collections::BTreeSet;

use contract_interface::names::collections;
use contract_interface::{Digest, Grantee, Purpose, RecordPrivate};
use fabric_shim::create_composite_key;
use fabric_shim::testing::TxResult;

use crate::testing::Who::*;
use crate::testing::*;

/// Everything of a transaction that stays in the block.
fn public_bytes(result: &TxResult) -> Vec<u8> {
    let mut bytes = result.rwset.clone();
    bytes.extend_from_slice(&result.response.payload);
    bytes.extend_from_slice(result.response.message.as_bytes());
    if let Some(event) = &result.event {
        bytes.extend_from_slice(event.name.as_bytes());
        bytes.extend_from_slice(&event.payload);
    }
    bytes
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

/// Each transaction of a record's life, with a name.
async fn life() -> (Vec<(&'static str, TxResult)>, RecordPrivate, World) {
    let mut world = World::empty();
    let mut life = Vec::new();
    for (who, role) in [
        (Oracle1, contract_interface::Role::Oracle),
        (Provider1, contract_interface::Role::Provider),
    ] {
        let registration = world.registration(who, role);
        let tx = world.register_participant(registration);
        life.push(("participant", world.ok(Oracle1, tx).await));
    }
    let registration = world.registration(Patient, contract_interface::Role::Patient);
    let tx = world.register_participant(registration);
    life.push(("patient", world.ok(Oracle1, tx).await));
    let tx = world.register_device(&world.device());
    life.push(("device", world.ok(Oracle1, tx).await));
    let record = world.record(1);
    let tx = world.register_records(std::slice::from_ref(&record));
    life.push(("records", world.ok(Oracle1, tx).await));
    let tx = world.authorize_read(Provider1, record.record_id, Purpose::Treat, None);
    life.push(("denied", world.ok(Oracle1, tx).await));
    let grant = world.grant(Grantee::Participant(Provider1.id()));
    let tx = world.grant_access(Patient, &grant);
    life.push(("grant", world.ok(Oracle1, tx).await));
    let tx = world.authorize_read(
        Provider1,
        record.record_id,
        Purpose::Treat,
        Some(grant.grant_id),
    );
    life.push(("permitted", world.ok(Oracle1, tx).await));
    let tx = world.revoke_access(Patient, grant.grant_id);
    life.push(("revocation", world.ok(Oracle1, tx).await));
    (life, record, world)
}

#[tokio::test]
async fn nothing_public_names_a_patient_a_device_a_type_or_a_reader() {
    let (life, record, _) = life().await;
    let secrets = [
        Patient.pseudonym().to_string(),
        Patient.thumbprint().to_string(),
        DEVICE.to_owned(),
        record.record_type.to_string(),
        record.cid.clone(),
        record.period.end.to_string(),
        record.salt.to_string(),
        record.merkle_root.to_string(),
        "TREAT".to_owned(),
        "NO_GRANT".to_owned(),
        "GRANTED".to_owned(),
    ];
    for (name, result) in &life {
        let public = public_bytes(result);
        for secret in &secrets {
            assert!(!contains(&public, secret.as_bytes()), "{secret} in {name}");
        }
        // Only its registration names the reader.
        let named = contains(&public, Provider1.id().to_string().as_bytes());
        assert_eq!(
            named,
            *name == "participant" && contains(&public, b"provider"),
            "{name}"
        );
        // A record's public ID and hashes appear when it is registered, and never again.
        let record_id = record.record_id.to_string();
        assert_eq!(
            contains(&public, record_id.as_bytes()),
            *name == "records",
            "{name}"
        );
    }
}

#[tokio::test]
async fn only_registrations_touch_the_public_state() {
    let (life, _, _) = life().await;
    for (name, result) in &life {
        let keys = (result.reads.len(), result.writes.len());
        let expected = match *name {
            "participant" => (0, 1),
            "records" => (1, 1),
            _ => (0, 0),
        };
        assert_eq!(keys, expected, "{name}");
    }
}

/// Keys that an outsider could form from what is public or guessable, for each object type.
fn guesses(record: &RecordPrivate, public_ids: &[String]) -> Vec<String> {
    let thumbprints = [Patient, Provider1, Oracle1].map(|who| who.thumbprint().to_string());
    let mut parts: Vec<Vec<String>> = vec![
        vec![DEVICE.to_owned()],
        vec!["Org1MSP".to_owned(), DEVICE.to_owned()],
        vec!["Org1MSP".to_owned()],
        vec![record.record_type.to_string()],
    ];
    let ids = public_ids.iter().chain(&thumbprints).cloned();
    for id in ids {
        parts.push(vec![id.clone()]);
        parts.extend(
            public_ids
                .iter()
                .map(|other| vec![id.clone(), other.clone()]),
        );
    }
    let types = [
        "device",
        "grant",
        "grant~grantee",
        "nonce",
        "participant",
        "read",
        "read~reader",
        "record",
        "record~patient",
        "record~type",
        "thumbprint",
        "wraps",
    ];
    types
        .iter()
        .flat_map(|object_type| {
            parts.iter().map(|part| {
                let part: Vec<&str> = part.iter().map(String::as_str).collect();
                create_composite_key(object_type, &part).unwrap()
            })
        })
        .collect()
}

#[tokio::test]
async fn hashes_of_private_keys_cannot_be_guessed_from_public_ids() {
    let (life, record, world) = life().await;
    let mut public_ids = vec![record.record_id.to_string(), Provider1.id().to_string()];
    public_ids.extend(life.iter().map(|(_, result)| result.tx_id.clone()));
    for (_, result) in &life {
        if let Some(event) = &result.event {
            let value: serde_json::Value = serde_json::from_slice(&event.payload).unwrap();
            public_ids.extend(
                value
                    .as_object()
                    .unwrap()
                    .values()
                    .filter_map(|id| id.as_str().map(str::to_owned)),
            );
        }
    }
    let private: BTreeSet<String> = collections::ALL
        .iter()
        .flat_map(|collection| world.ledger.private_keys(collection))
        .collect();
    for guess in guesses(&record, &public_ids) {
        assert!(!private.contains(&guess), "{guess:?} is a private key");
        let hash = Digest::of(guess.as_bytes());
        for (name, result) in &life {
            assert!(
                !contains(&result.rwset, hash.as_bytes()),
                "{guess:?} is recognised in {name}"
            );
        }
    }
    // The one that everyone knows says nothing; the same search finds it, so the search works.
    let known = create_composite_key("blinding", &[]).unwrap();
    let hash = Digest::of(known.as_bytes());
    assert!(
        life.iter()
            .all(|(_, result)| contains(&result.rwset, hash.as_bytes()))
    );
}

#[tokio::test]
async fn private_values_are_unlike_each_other_or_say_nothing() {
    let (life, _, _) = life().await;
    let mut hashes = BTreeSet::new();
    let mut index_entries = 0;
    for (name, result) in &life {
        for write in &result.private_writes {
            let value = write.value.as_ref().unwrap();
            if value == b"1" {
                assert!(write.key.contains(&Patient.pseudonym().to_string()));
                index_entries += 1;
                continue;
            }
            assert!(
                hashes.insert(Digest::of(value)),
                "{name}: {} twice",
                write.key
            );
            let text = std::str::from_utf8(value).unwrap();
            let unguessable = text.contains("\"salt\"")
                || text.contains("\"secret\"")
                || text.contains("\"jwe\"")
                || text.contains(&Patient.pseudonym().to_string());
            assert!(unguessable, "{name}: {}", write.key);
        }
    }
    assert_eq!(index_entries, 2);
}

#[tokio::test]
async fn two_devices_under_one_id_have_keys_that_do_not_agree() {
    let (_, _, first) = life().await;
    let mut second = World::empty();
    second.random();
    let registration = second.registration(Oracle1, contract_interface::Role::Oracle);
    let tx = second.register_participant(registration);
    second.ok(Oracle1, tx).await;
    let registration = second.registration(Patient, contract_interface::Role::Patient);
    let tx = second.register_participant(registration);
    second.ok(Oracle1, tx).await;
    let tx = second.register_device(&second.device());
    second.ok(Oracle1, tx).await;
    let device_keys = |world: &World| -> Vec<String> {
        let keys = world.ledger.private_keys(collections::RECORDS);
        keys.into_iter()
            .filter(|key| key.starts_with("\0device\0"))
            .collect()
    };
    let (first, second) = (device_keys(&first), device_keys(&second));
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_ne!(first, second, "each channel blinds with its own secret");
}
