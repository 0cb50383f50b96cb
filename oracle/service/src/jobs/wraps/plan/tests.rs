//! Custody, grants and keys as a table of what comes and what goes.

use std::collections::BTreeSet;

use contract_interface::access::Grantee;
use contract_interface::{
    Confidentiality, Digest, ParticipantId, Period, Pseudonym, Purpose, Role, Rule, Salt, Source,
    Status, UtcTime,
};
use sealed_object::PrivateKey;

use super::*;
use crate::keys::tests::KEYS;

fn record() -> RecordPrivate {
    let time: UtcTime = "2026-03-01T00:00:00Z".parse().unwrap();
    RecordPrivate {
        record_id: RecordId::from_bytes([1; 16]),
        patient: Pseudonym::from_bytes([2; 16]),
        record_type: "8867-4".parse().unwrap(),
        period: Period {
            start: time,
            end: time,
        },
        readings: 1,
        source: Source::DeviceId("hr-1".parse().unwrap()),
        registrar: "Org1MSP".parse().unwrap(),
        context: None,
        confidentiality: Confidentiality::N,
        sensitivity: vec![],
        submission: None,
        manifest: None,
        marks: std::collections::BTreeMap::new(),
        content_type: "application/json".to_owned(),
        cid: "b".to_owned(),
        size: 1,
        plaintext_size: 1,
        merkle_root: Digest::of(b""),
        salt: Salt::from_bytes(std::array::from_fn(|n| u8::try_from(n).unwrap())).unwrap(),
    }
}

fn kid(key: &PrivateKey) -> String {
    key.public_key().thumbprint().to_owned()
}

fn plain(key: &PrivateKey, data_key: &DataKey) -> KeyWrap {
    KeyWrap::plain(kid(key), key.public_key().wrap(data_key).unwrap())
}

fn gated(gate: &PrivateKey, reader: &PrivateKey, data_key: &DataKey, grant: u8) -> KeyWrap {
    let inner = reader.public_key().wrap(data_key).unwrap();
    KeyWrap {
        kid: kid(reader),
        jwe: sealed_object::gate(gate.public_key(), &inner).unwrap(),
        gate: Some(kid(gate)),
        grant_id: Some(GrantId::from_bytes([grant; 16])),
    }
}

fn wraps(wraps: Vec<KeyWrap>) -> RecordWraps {
    RecordWraps {
        record_id: RecordId::from_bytes([1; 16]),
        wraps,
    }
}

/// A provider with `key` and a permit for records of `types`.
fn granted(key: &PrivateKey, grant: u8, types: &[&str]) -> Holder {
    let id = ParticipantId::from_bytes([9; 16]);
    let mut rule = Rule::permit(Grantee::Participant(id), vec![Purpose::Treat]);
    rule.types = types.iter().map(|name| name.parse().unwrap()).collect();
    Holder {
        reader: Participant {
            participant_id: id,
            msp_id: "Org2MSP".parse().unwrap(),
            role: Role::Provider,
            certificate: String::new(),
            thumbprint: Digest::of(b"certificate"),
            encryption_key: None,
            key_proof: None,
            status: Status::Active,
            version: 1,
            salt: None,
        },
        key: key.public_key().clone(),
        grant: Some(Grant {
            grant_id: GrantId::from_bytes([grant; 16]),
            rule,
            valid_from: "2026-01-01T00:00:00Z".parse().unwrap(),
            valid_until: "2027-01-01T00:00:00Z".parse().unwrap(),
            max_reads: None,
            in_reply_to: None,
        }),
    }
}

/// What is wanted where the organisation's oracle has `oracle`.
fn organization(patient: &PrivateKey, oracle: &PrivateKey, holders: Vec<Holder>) -> Wants {
    Wants {
        patient: Some(patient.public_key().clone()),
        oracles: vec![oracle.public_key().clone()],
        holders,
    }
}

/// Applies a plan as the contract does, and opens everything that came.
fn applied(before: &RecordWraps, change: &WrapChange) -> BTreeSet<(String, Option<String>)> {
    let added: BTreeSet<&str> = change.add.iter().map(|wrap| wrap.kid.as_str()).collect();
    assert!(
        change
            .remove
            .iter()
            .all(|kid| !added.contains(kid.as_str())),
        "removed and added at once"
    );
    let stays = before
        .wraps
        .iter()
        .filter(|wrap| !change.remove.contains(&wrap.kid) && !added.contains(wrap.kid.as_str()));
    stays
        .chain(&change.add)
        .map(|wrap| (wrap.kid.clone(), wrap.gate.clone()))
        .collect()
}

#[test]
fn a_grant_brings_a_gated_wrap_that_its_reader_opens_after_the_gate() {
    let [oracle, patient, reader, _] = &*KEYS;
    let keys = OracleKeys::new(oracle.clone(), vec![]);
    let data_key = DataKey::generate();
    let before = wraps(vec![plain(patient, &data_key), plain(oracle, &data_key)]);
    let wants = organization(patient, oracle, vec![granted(reader, 1, &["8867-4"])]);
    let plan = Plan::of(&record(), &before, &wants, &keys);
    let change = plan.make(&before, &wants, &keys).unwrap();
    assert_eq!(change.remove, Vec::<String>::new());
    let [wrap] = &change.add[..] else {
        panic!("one wrap, not {}", change.add.len());
    };
    assert_eq!(wrap.grant_id, Some(GrantId::from_bytes([1; 16])));
    let opened = reader.unwrap(&keys.ungate(wrap).unwrap()).unwrap();
    assert_eq!(opened.expose_secret(), data_key.expose_secret());

    let after = wraps([before.wraps.clone(), change.add].concat());
    assert!(
        Plan::of(&record(), &after, &wants, &keys).is_empty(),
        "done"
    );
    let elsewhere = organization(patient, oracle, vec![granted(reader, 1, &["29463-7"])]);
    assert!(Plan::of(&record(), &before, &elsewhere, &keys).is_empty());
}

#[test]
fn an_ended_grant_takes_its_wrap_along() {
    let [oracle, patient, reader, _] = &*KEYS;
    let keys = OracleKeys::new(oracle.clone(), vec![]);
    let data_key = DataKey::generate();
    let (own, shared) = (
        plain(oracle, &data_key),
        gated(oracle, reader, &data_key, 1),
    );
    let of_patient = plain(patient, &data_key);
    for custody_of_patient in [false, true] {
        let mut given = vec![of_patient.clone(), shared.clone()];
        let wants = organization(patient, oracle, vec![]);
        if !custody_of_patient {
            given.push(own.clone());
        }
        let plan = Plan::of(&record(), &wraps(given.clone()), &wants, &keys);
        let change = plan.make(&wraps(given), &wants, &keys).unwrap();
        assert_eq!(change.remove, [kid(reader)]);
        assert_eq!(change.add, []);
    }
}

#[test]
fn another_grant_for_the_same_reader_replaces_the_ended_one() {
    let [oracle, patient, reader, _] = &*KEYS;
    let keys = OracleKeys::new(oracle.clone(), vec![]);
    let data_key = DataKey::generate();
    let before = wraps(vec![
        plain(patient, &data_key),
        plain(oracle, &data_key),
        gated(oracle, reader, &data_key, 1),
    ]);
    let wants = organization(patient, oracle, vec![granted(reader, 2, &[])]);
    let plan = Plan::of(&record(), &before, &wants, &keys);
    let change = plan.make(&before, &wants, &keys).unwrap();
    assert_eq!(change.remove, Vec::<String>::new(), "it is replaced");
    assert_eq!(change.add[0].grant_id, Some(GrantId::from_bytes([2; 16])));
}

/// The oracle's key, the patient's key and the reader's key, rotated at once.
#[test]
fn rotated_keys_get_wraps_and_the_old_ones_go() {
    let [old, patient, reader, new] = &*KEYS;
    let keys = OracleKeys::new(new.clone(), vec![old.clone()]);
    let data_key = DataKey::generate();
    let before = wraps(vec![
        plain(patient, &data_key),
        plain(old, &data_key),
        gated(old, reader, &data_key, 1),
    ]);
    let wants = organization(patient, new, vec![granted(reader, 1, &[])]);
    let plan = Plan::of(&record(), &before, &wants, &keys);
    let change = plan.make(&before, &wants, &keys).unwrap();
    let expected = BTreeSet::from([
        (kid(patient), None),
        (kid(new), None),
        (kid(reader), Some(kid(new))),
    ]);
    assert_eq!(applied(&before, &change), expected);
    let own = change.add.iter().find(|wrap| wrap.kid == kid(new)).unwrap();
    assert_eq!(
        new.unwrap(&own.jwe).unwrap().expose_secret(),
        data_key.expose_secret()
    );

    // The patient's old key is `reader`'s here: what nobody wants goes.
    let before = wraps(vec![plain(reader, &data_key), plain(new, &data_key)]);
    let wants = organization(patient, new, vec![]);
    let change = Plan::of(&record(), &before, &wants, &keys)
        .make(&before, &wants, &keys)
        .unwrap();
    let expected = BTreeSet::from([(kid(patient), None), (kid(new), None)]);
    assert_eq!(applied(&before, &change), expected);
}

#[test]
fn without_the_data_key_nothing_plain_is_touched_and_nothing_made() {
    let [oracle, patient, reader, other] = &*KEYS;
    let keys = OracleKeys::new(oracle.clone(), vec![]);
    let data_key = DataKey::generate();
    let before = wraps(vec![plain(other, &data_key)]);
    let wants = organization(patient, oracle, vec![granted(reader, 1, &[])]);
    assert!(Plan::of(&record(), &before, &wants, &keys).is_empty());
}

#[test]
fn a_full_record_takes_no_more_gated_wraps() {
    let [oracle, patient, reader, _] = &*KEYS;
    let keys = OracleKeys::new(oracle.clone(), vec![]);
    let data_key = DataKey::generate();
    let mut given = vec![plain(patient, &data_key), plain(oracle, &data_key)];
    let filler = |n: usize| KeyWrap::plain(format!("{n:043}"), "a.b.c.d.e".to_owned());
    given.extend((2..WRAPS_MAX).map(filler));
    let mut wants = organization(patient, oracle, vec![granted(reader, 1, &[])]);
    let full = wraps(given);
    // Wraps that nobody wants make room.
    let plan = Plan::of(&record(), &full, &wants, &keys);
    assert_eq!((plan.remove.len(), plan.gated.len()), (WRAPS_MAX - 2, 1));
    wants.holders = vec![];
    let holders = (2..WRAPS_MAX).map(|n| Holder {
        key: reader.public_key().clone(),
        ..granted(reader, u8::try_from(n).unwrap(), &[])
    });
    wants.holders.extend(holders);
    let one_key = Plan::of(&record(), &full, &wants, &keys);
    assert_eq!(one_key.gated.len(), 1, "one wrap for one key");
}

#[test]
fn the_digest_changes_with_everything_that_decides() {
    let [oracle, patient, reader, other] = &*KEYS;
    let keys = OracleKeys::new(oracle.clone(), vec![]);
    let digests = [
        organization(patient, oracle, vec![]),
        organization(other, oracle, vec![]),
        organization(patient, other, vec![]),
        organization(patient, oracle, vec![granted(reader, 1, &[])]),
        organization(patient, oracle, vec![granted(reader, 2, &[])]),
        organization(patient, oracle, vec![granted(other, 1, &[])]),
    ]
    .map(|wants| wants.digest(&keys));
    let rotated = OracleKeys::new(other.clone(), vec![oracle.clone()]);
    let all: BTreeSet<String> = digests
        .iter()
        .map(ToString::to_string)
        .chain([organization(patient, oracle, vec![])
            .digest(&rotated)
            .to_string()])
        .collect();
    assert_eq!(all.len(), 7);
}
