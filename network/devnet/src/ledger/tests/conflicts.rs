//! Conflicts between transactions: reads, ranges, metadata, inside a block and across.

use fabric_protos::protos::TxValidationCode as Code;
use prost::Message;

use super::super::{Metadata, ScanItem, Simulator};
use super::world::{CHAINCODE, World};
use crate::policy::parse_policy;

fn world() -> World {
    World::with(Some("OR('Org1MSP.peer')"), "[]")
}

/// Reads the range to its end, or only so many keys of it.
fn scan(sim: &mut Simulator, start: &str, end: &str, at_most: usize) -> Vec<String> {
    let scan = sim.range(CHAINCODE, start, end).unwrap();
    let mut keys = Vec::new();
    while keys.len() < at_most
        && let Some(item) = sim.next(scan).unwrap()
    {
        let ScanItem::State(kv) = item else {
            panic!("a range yields keys");
        };
        keys.push(kv.key);
    }
    keys
}

/// Commits, between the simulation and the commit of a transaction, a write; or orders the
/// write before it in the same block. Both must come to the same verdict.
fn check(read: fn(&mut Simulator), write: (&str, &str), expected: Code) {
    for same_block in [false, true] {
        let mut world = world();
        world.put(&[("a", "1"), ("c", "1"), ("e", "1")]);
        let reader = world.basic(|sim| {
            read(sim);
            sim.put_state(CHAINCODE, "out", b"x".to_vec()).unwrap();
        });
        let writer = world.basic(|sim| {
            let (key, value) = write;
            sim.put_state(CHAINCODE, key, value.as_bytes().to_vec())
                .unwrap();
        });
        let codes = if same_block {
            world.commit(&[&writer, &reader])
        } else {
            let mut codes = world.commit(&[&writer]);
            codes.extend(world.commit(&[&reader]));
            codes
        };
        assert_eq!(codes, [Code::Valid, expected], "{write:?} {same_block}");
        assert_eq!(world.get("out").is_some(), expected == Code::Valid);
    }
}

#[test]
fn a_key_that_was_read_may_not_change() {
    fn read(sim: &mut Simulator) {
        sim.get_state(CHAINCODE, "a").unwrap();
        sim.get_state(CHAINCODE, "b").unwrap();
    }
    check(read, ("a", "2"), Code::MvccReadConflict);
    // Writing the same value is a change: the version counts.
    check(read, ("a", "1"), Code::MvccReadConflict);
    check(read, ("a", ""), Code::MvccReadConflict);
    check(read, ("b", "2"), Code::MvccReadConflict);
    check(read, ("c", "2"), Code::Valid);
}

#[test]
fn a_blind_write_conflicts_with_nothing() {
    check(|_| (), ("out", "other"), Code::Valid);
}

#[test]
fn a_range_read_to_its_end_may_not_change() {
    fn read(sim: &mut Simulator) {
        assert_eq!(scan(sim, "a", "e", usize::MAX), ["a", "c"]);
    }
    check(read, ("b", "new"), Code::PhantomReadConflict);
    check(read, ("c", "2"), Code::PhantomReadConflict);
    check(read, ("c", ""), Code::PhantomReadConflict);
    check(read, ("dz", "new"), Code::PhantomReadConflict);
    check(read, ("e", "2"), Code::Valid);
    check(read, ("0", "new"), Code::Valid);
}

#[test]
fn a_range_left_early_is_only_held_to_what_it_saw() {
    fn read(sim: &mut Simulator) {
        assert_eq!(scan(sim, "a", "z", 2), ["a", "c"]);
    }
    check(read, ("b", "new"), Code::PhantomReadConflict);
    check(read, ("c", "2"), Code::PhantomReadConflict);
    check(read, ("d", "new"), Code::Valid);
    check(read, ("e", ""), Code::Valid);
}

#[test]
fn an_empty_range_may_not_fill() {
    fn read(sim: &mut Simulator) {
        assert!(scan(sim, "f", "k", usize::MAX).is_empty());
    }
    check(read, ("g", "new"), Code::PhantomReadConflict);
    check(read, ("k", "new"), Code::Valid);
}

#[test]
fn an_open_range_reaches_to_the_last_key() {
    fn read(sim: &mut Simulator) {
        assert_eq!(scan(sim, "", "", usize::MAX), ["a", "c", "e"]);
    }
    check(read, ("zzz", "new"), Code::PhantomReadConflict);
}

#[test]
fn a_long_range_is_protected_by_its_summary() {
    for (key, value, expected) in [
        ("k0070", "2", Code::PhantomReadConflict),
        ("k0000", "", Code::PhantomReadConflict),
        ("k01495", "new", Code::PhantomReadConflict),
        ("k0149x", "new", Code::PhantomReadConflict),
        ("l", "new", Code::Valid),
    ] {
        let mut world = world();
        let keys: Vec<_> = (0..150).map(|i| format!("k{i:04}")).collect();
        let pairs: Vec<_> = keys.iter().map(|key| (key.as_str(), "1")).collect();
        world.put(&pairs);
        let reader = world.basic(|sim| {
            assert_eq!(scan(sim, "k", "l", usize::MAX).len(), 150);
        });
        world.put(&[(key, value)]);
        assert_eq!(world.commit(&[&reader]), [expected], "{key}");
    }
}

#[test]
fn the_reason_names_the_key() {
    let mut world = world();
    world.put(&[("a", "1")]);
    let reader = world.basic(|sim| {
        sim.get_state(CHAINCODE, "a").unwrap();
    });
    world.put(&[("a", "2")]);
    let outcome = world.commit_envelopes(vec![reader.envelope()]).remove(0);
    assert_eq!(
        outcome.detail.unwrap(),
        "key \"a\" of chaincode basic was read at version {BlockNum: 2, TxNum: 0}, \
         its version is {BlockNum: 3, TxNum: 0}"
    );
}

#[test]
fn an_invalid_writer_conflicts_with_nobody() {
    let mut world = world();
    world.put(&[("a", "1")]);
    let mut writer = world.basic(|sim| sim.put_state(CHAINCODE, "a", b"2".to_vec()).unwrap());
    writer.endorsers.clear();
    let reader = world.basic(|sim| {
        sim.get_state(CHAINCODE, "a").unwrap();
    });
    assert_eq!(
        world.commit(&[&writer, &reader]),
        [Code::EndorsementPolicyFailure, Code::Valid]
    );
}

fn key_policy(policy: &str) -> Metadata {
    let policy = parse_policy(policy).unwrap().encode_to_vec();
    Metadata::from([("VALIDATION_PARAMETER".to_owned(), policy)])
}

#[test]
fn a_keys_own_policy_replaces_the_chaincodes() {
    let mut world = world();
    world.run(|sim| {
        sim.put_state(CHAINCODE, "k", b"1".to_vec()).unwrap();
        let policy = key_policy("OR('Org2MSP.peer')");
        sim.set_state_metadata(CHAINCODE, "k", policy).unwrap();
    });
    let write = |sim: &mut Simulator| sim.put_state(CHAINCODE, "k", b"2".to_vec()).unwrap();
    let by_chaincode_policy = world.tx(CHAINCODE, &[1], write);
    let by_key_policy = world.tx(CHAINCODE, &[2], write);
    assert_eq!(
        world.commit(&[&by_chaincode_policy, &by_key_policy]),
        [Code::EndorsementPolicyFailure, Code::Valid]
    );
    // A value keeps the policy, and so does the next transaction need it.
    let again = world.tx(CHAINCODE, &[1], write);
    assert_eq!(world.commit(&[&again]), [Code::EndorsementPolicyFailure]);
    // Another key of the same transaction is under the chaincode's policy.
    let both = |sim: &mut Simulator| {
        sim.put_state(CHAINCODE, "k", b"3".to_vec()).unwrap();
        sim.put_state(CHAINCODE, "l", b"3".to_vec()).unwrap();
    };
    let one = world.tx(CHAINCODE, &[2], both);
    let two = world.tx(CHAINCODE, &[1, 2], both);
    assert_eq!(
        world.commit(&[&one, &two]),
        [Code::EndorsementPolicyFailure, Code::Valid]
    );
    // Removing the policy needs the policy.
    let remove = |sim: &mut Simulator| {
        sim.set_state_metadata(CHAINCODE, "k", Metadata::new())
            .unwrap();
    };
    let denied = world.tx(CHAINCODE, &[1], remove);
    assert_eq!(world.commit(&[&denied]), [Code::EndorsementPolicyFailure]);
    let allowed = world.tx(CHAINCODE, &[2], remove);
    assert_eq!(world.commit(&[&allowed]), [Code::Valid]);
    let free = world.tx(CHAINCODE, &[1], write);
    assert_eq!(world.commit(&[&free]), [Code::Valid]);
}

#[test]
fn a_key_whose_policy_changes_in_the_block_is_barred_for_the_rest_of_it() {
    let mut world = world();
    world.put(&[("k", "1")]);
    let change = world.basic(|sim| {
        let policy = key_policy("OR('Org1MSP.peer')");
        sim.set_state_metadata(CHAINCODE, "k", policy).unwrap();
    });
    let write = world.basic(|sim| sim.put_state(CHAINCODE, "k", b"2".to_vec()).unwrap());
    let other = world.basic(|sim| sim.put_state(CHAINCODE, "l", b"2".to_vec()).unwrap());
    assert_eq!(
        world.commit(&[&change, &write, &other]),
        [Code::Valid, Code::EndorsementPolicyFailure, Code::Valid]
    );
    // An unendorsed change bars nobody.
    let mut forged = world.basic(|sim| {
        let policy = key_policy("OR('Org3MSP.peer')");
        sim.set_state_metadata(CHAINCODE, "l", policy).unwrap();
    });
    forged.endorsers.clear();
    let write = world.basic(|sim| sim.put_state(CHAINCODE, "l", b"3".to_vec()).unwrap());
    assert_eq!(
        world.commit(&[&forged, &write]),
        [Code::EndorsementPolicyFailure, Code::Valid]
    );
}

#[test]
fn metadata_alone_raises_the_version_and_keeps_the_value() {
    let mut world = world();
    world.put(&[("k", "1")]);
    let reader = world.basic(|sim| {
        sim.get_state(CHAINCODE, "k").unwrap();
    });
    let note = |sim: &mut Simulator, key: &str| {
        let metadata = Metadata::from([("note".to_owned(), b"n".to_vec())]);
        sim.set_state_metadata(CHAINCODE, key, metadata).unwrap();
    };
    let change = world.basic(|sim| note(sim, "k"));
    assert_eq!(
        world.commit(&[&change, &reader]),
        [Code::Valid, Code::MvccReadConflict]
    );
    assert_eq!(world.get("k").as_deref(), Some("1"));
    let metadata = world.simulator(1).state_metadata(CHAINCODE, "k").unwrap();
    assert_eq!(metadata["note"], b"n");
    // Of a key that does not exist it comes to nothing.
    let ghost = world.basic(|sim| note(sim, "ghost"));
    assert_eq!(world.commit(&[&ghost]), [Code::Valid]);
    let metadata = world.simulator(1).state_metadata(CHAINCODE, "ghost");
    assert!(metadata.unwrap().is_empty());
    assert_eq!(world.get("ghost"), None);
    // Deleting the key deletes its metadata.
    world.put(&[("k", "")]);
    world.put(&[("k", "2")]);
    let metadata = world.simulator(1).state_metadata(CHAINCODE, "k").unwrap();
    assert!(metadata.is_empty());
}
