//! Private data: who holds it, hashes, expiry, purge, endorsement of collections.

use std::fs;

use fabric_protos::protos::TxValidationCode as Code;

use super::super::{Metadata, ScanItem, SimulationError, Simulator};
use super::world::{CHAINCODE, World, msp_id, user};

const COLLECTIONS: &str = r#"[
    {"name":"shared","policy":"OR('Org1MSP.member','Org2MSP.member')",
     "memberOnlyRead":true,"memberOnlyWrite":true},
    {"name":"short","policy":"OR('Org1MSP.member')","blockToLive":2},
    {"name":"strict","policy":"OR('Org1MSP.member')",
     "endorsementPolicy":{"signaturePolicy":"OR('Org3MSP.peer')"}}
]"#;

fn world() -> World {
    World::with(Some("OR('Org1MSP.peer')"), COLLECTIONS)
}

fn put(world: &mut World, collection: &str, key: &str, value: &str) {
    world.run(|sim| {
        let value = value.as_bytes().to_vec();
        sim.put_private(CHAINCODE, collection, key, value).unwrap();
    });
}

fn get(world: &World, organization: usize, collection: &str, key: &str) -> Option<String> {
    let value = world
        .simulator(organization)
        .get_private(CHAINCODE, collection, key)
        .unwrap();
    value.map(|value| String::from_utf8(value).unwrap())
}

fn log_contains(world: &World, text: &str) -> bool {
    let bytes = fs::read(world.log()).unwrap();
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

#[test]
fn members_hold_values_and_everybody_holds_hashes() {
    let mut world = world();
    put(&mut world, "shared", "k", "secret value");
    for member in [1, 2] {
        assert_eq!(get(&world, member, "shared", "k").unwrap(), "secret value");
    }
    let mut outside = world.simulator(3);
    let refused = outside.get_private(CHAINCODE, "shared", "k").unwrap_err();
    assert_eq!(
        refused.to_string(),
        "private data matching public hash version is not available. Public hash version = \
         {BlockNum: 2, TxNum: 0}, Private data version = <nil>"
    );
    let hash = outside.private_hash(CHAINCODE, "shared", "k").unwrap();
    assert_eq!(hash.unwrap(), super::super::hash::sha256(b"secret value"));
    assert_eq!(outside.get_private(CHAINCODE, "shared", "none"), Ok(None));
    let several = ["k".to_owned(), "none".to_owned()];
    let values = outside.get_privates(CHAINCODE, "shared", &several).unwrap();
    assert_eq!(values, [None, None]);
    let for_org = |number| world.channel.private_data(2, &msp_id(number)).unwrap();
    assert_eq!(for_org(2).len(), 1);
    assert!(for_org(3).is_empty());
}

#[test]
fn the_channel_never_sees_the_value() {
    let mut world = world();
    put(&mut world, "shared", "secret key", "secret value");
    let block = world.channel.block_by_number(2).unwrap().unwrap();
    let bytes = prost::Message::encode_to_vec(&block);
    for secret in ["secret key", "secret value"] {
        let mut windows = bytes.windows(secret.len());
        assert!(!windows.any(|window| window == secret.as_bytes()));
    }
}

#[test]
fn ranges_go_over_the_members_values() {
    let mut world = world();
    for key in ["b", "a", "c"] {
        put(&mut world, "shared", key, "v");
    }
    let keys = |organization: usize, start: &str, end: &str| {
        let mut sim = world.simulator(organization);
        let scan = sim.private_range(CHAINCODE, "shared", start, end).unwrap();
        let mut keys = Vec::new();
        while let Some(ScanItem::State(kv)) = sim.next(scan).unwrap() {
            keys.push(kv.key);
        }
        keys
    };
    assert_eq!(keys(1, "", ""), ["a", "b", "c"]);
    assert_eq!(keys(1, "a", "c"), ["a", "b"]);
    assert!(keys(1, "c", "a").is_empty());
    assert!(keys(3, "", "").is_empty());
}

#[test]
fn only_members_may_use_a_members_only_collection() {
    let world = world();
    let identity = |number: usize| {
        let config = world.channel.config();
        config.msps().identity(&user(number).serialized()).unwrap()
    };
    let mut sim = world.simulator(1);
    for (number, allowed) in [(1, true), (2, true), (3, false)] {
        let identity = identity(number);
        let read = sim.check_private_read(CHAINCODE, "shared", &identity);
        let write = sim.check_private_write(CHAINCODE, "shared", &identity);
        assert_eq!((read.is_ok(), write.is_ok()), (allowed, allowed));
        assert_eq!(
            sim.check_private_read(CHAINCODE, "short", &identity),
            Ok(())
        );
    }
    let refused = sim.check_private_read(CHAINCODE, "shared", &identity(3));
    assert_eq!(
        refused.unwrap_err().to_string(),
        "tx creator does not have read access permission on privatedata in \
         chaincodeName:basic collectionName: shared"
    );
}

#[test]
fn unknown_collections_and_chaincodes_are_named() {
    let world = world();
    let mut sim = world.simulator(1);
    assert_eq!(
        sim.get_private(CHAINCODE, "none", "k")
            .unwrap_err()
            .to_string(),
        "collection [none] not defined in the collection config for chaincode [basic]"
    );
    assert_eq!(
        sim.put_private("other", "c", "k", vec![1]).unwrap_err(),
        SimulationError::CollectionsNotDefined {
            namespace: "other".to_owned()
        }
    );
    let unknown = sim.get_private(CHAINCODE, "_implicit_org_NoMSP", "k");
    assert!(unknown.is_err());
}

#[test]
fn an_organisations_own_collection_needs_no_definition() {
    let mut world = world();
    let write = |sim: &mut Simulator| {
        let value = b"own".to_vec();
        sim.put_private(CHAINCODE, "_implicit_org_Org2MSP", "k", value)
            .unwrap();
    };
    // Its policy is the organisation's own, not the chaincode's.
    let by_other = world.tx(CHAINCODE, &[1], write);
    assert_eq!(world.commit(&[&by_other]), [Code::EndorsementPolicyFailure]);
    let by_owner = world.tx(CHAINCODE, &[2], write);
    assert_eq!(world.commit(&[&by_owner]), [Code::Valid]);
    assert_eq!(get(&world, 2, "_implicit_org_Org2MSP", "k").unwrap(), "own");
    let mut other = world.simulator(1);
    let refused = other.get_private(CHAINCODE, "_implicit_org_Org2MSP", "k");
    assert!(refused.is_err());
}

#[test]
fn a_collections_own_policy_replaces_the_chaincodes() {
    let mut world = world();
    let write = |sim: &mut Simulator| {
        sim.put_private(CHAINCODE, "strict", "k", b"v".to_vec())
            .unwrap();
    };
    let wrong = world.tx(CHAINCODE, &[1], write);
    let right = world.tx(CHAINCODE, &[3], write);
    assert_eq!(
        world.commit(&[&wrong, &right]),
        [Code::EndorsementPolicyFailure, Code::Valid]
    );
    // With a public write the chaincode's policy is needed as well.
    let both = world.tx(CHAINCODE, &[3], |sim| {
        write(sim);
        sim.put_state(CHAINCODE, "p", b"v".to_vec()).unwrap();
    });
    assert_eq!(world.commit(&[&both]), [Code::EndorsementPolicyFailure]);
}

#[test]
fn private_reads_conflict_by_hash() {
    let mut world = world();
    put(&mut world, "shared", "k", "1");
    for same_block in [false, true] {
        let reader = world.basic(|sim| {
            sim.get_private(CHAINCODE, "shared", "k").unwrap();
        });
        let writer = world.basic(|sim| {
            sim.put_private(CHAINCODE, "shared", "k", b"2".to_vec())
                .unwrap();
        });
        let codes = if same_block {
            world.commit(&[&writer, &reader])
        } else {
            let mut codes = world.commit(&[&writer]);
            codes.extend(world.commit(&[&reader]));
            codes
        };
        assert_eq!(codes, [Code::Valid, Code::MvccReadConflict]);
    }
}

#[test]
fn metadata_alone_keeps_the_private_value_readable() {
    let mut world = world();
    put(&mut world, "shared", "k", "1");
    world.run(|sim| {
        let metadata = Metadata::from([("note".to_owned(), b"n".to_vec())]);
        sim.set_private_metadata(CHAINCODE, "shared", "k", metadata)
            .unwrap();
    });
    assert_eq!(get(&world, 1, "shared", "k").unwrap(), "1");
    let metadata = world
        .simulator(2)
        .private_metadata(CHAINCODE, "shared", "k");
    assert_eq!(metadata.unwrap()["note"], b"n");
}

#[test]
fn a_deleted_private_value_is_gone_from_the_state_and_stays_in_the_log() {
    let mut world = world();
    put(&mut world, "shared", "k", "deleted value");
    world.run(|sim| sim.del_private(CHAINCODE, "shared", "k").unwrap());
    assert_eq!(get(&world, 1, "shared", "k"), None);
    assert!(log_contains(&world, "deleted value"));
}

#[test]
fn a_purged_private_value_is_gone_from_the_log() {
    let mut world = world();
    put(&mut world, "shared", "k", "first value");
    put(&mut world, "shared", "k", "second value");
    put(&mut world, "shared", "other", "kept value");
    world.run(|sim| sim.purge_private(CHAINCODE, "shared", "k").unwrap());
    assert_eq!(get(&world, 1, "shared", "k"), None);
    assert_eq!(
        world.simulator(3).private_hash(CHAINCODE, "shared", "k"),
        Ok(None)
    );
    assert!(!log_contains(&world, "first value"));
    assert!(!log_contains(&world, "second value"));
    assert!(log_contains(&world, "kept value"));
    assert!(
        world
            .channel
            .private_data(2, &msp_id(1))
            .unwrap()
            .is_empty()
    );
    let before = world.channel.dump();
    let mut world = world.reopen();
    assert_eq!(world.channel.dump(), before);
    assert_eq!(get(&world, 1, "shared", "other").unwrap(), "kept value");
    // The key can be written again, and purged again.
    put(&mut world, "shared", "k", "third value");
    assert_eq!(get(&world, 2, "shared", "k").unwrap(), "third value");
    world.run(|sim| sim.purge_private(CHAINCODE, "shared", "k").unwrap());
    assert!(!log_contains(&world, "third value"));
}

#[test]
fn a_purge_in_the_block_of_the_write_erases_with_the_next_block() {
    let mut world = world();
    let write = world.basic(|sim| {
        let value = b"short lived".to_vec();
        sim.put_private(CHAINCODE, "shared", "k", value).unwrap();
    });
    let purge = world.basic(|sim| sim.purge_private(CHAINCODE, "shared", "k").unwrap());
    assert_eq!(world.commit(&[&write, &purge]), [Code::Valid, Code::Valid]);
    assert_eq!(get(&world, 1, "shared", "k"), None);
    world.put(&[("p", "1")]);
    assert!(!log_contains(&world, "short lived"));
    let before = world.channel.dump();
    assert_eq!(world.reopen().channel.dump(), before);
}

#[test]
fn values_expire_after_their_blocks() {
    let mut world = world();
    put(&mut world, "short", "k", "expiring value"); // block 2
    put(&mut world, "shared", "k", "lasting value"); // block 3
    world.put(&[("p", "4")]);
    assert_eq!(get(&world, 1, "short", "k").unwrap(), "expiring value");
    world.put(&[("p", "5")]);
    assert_eq!(get(&world, 1, "short", "k"), None);
    let hash = world.simulator(2).private_hash(CHAINCODE, "short", "k");
    assert_eq!(hash, Ok(None));
    assert!(!log_contains(&world, "expiring value"));
    assert!(log_contains(&world, "lasting value"));
    let before = world.channel.dump();
    assert_eq!(world.reopen().channel.dump(), before);
}

#[test]
fn a_value_written_anew_outlives_the_old_one() {
    let mut world = world();
    put(&mut world, "short", "k", "old value"); // block 2, expires with 5
    world.put(&[("p", "3")]);
    put(&mut world, "short", "k", "new value"); // block 4, expires with 7
    world.put(&[("p", "5")]);
    assert_eq!(get(&world, 1, "short", "k").unwrap(), "new value");
    assert!(!log_contains(&world, "old value"));
    world.put(&[("p", "6")]);
    world.put(&[("p", "7")]);
    assert_eq!(get(&world, 1, "short", "k"), None);
    assert!(!log_contains(&world, "new value"));
}

#[test]
fn private_data_endorsed_before_a_restart_can_be_ordered_after_it() {
    let mut world = world();
    let tx = world.basic(|sim| {
        sim.put_private(CHAINCODE, "shared", "k", b"kept".to_vec())
            .unwrap();
    });
    let mut world = world.reopen();
    assert_eq!(world.commit(&[&tx]), [Code::Valid]);
    assert_eq!(get(&world, 1, "shared", "k").unwrap(), "kept");
}

#[test]
fn private_data_that_is_not_at_hand_leaves_the_hash() {
    let mut world = world();
    let tx = world.basic(|sim| {
        sim.put_private(CHAINCODE, "shared", "k", b"lost".to_vec())
            .unwrap();
    });
    fs::remove_file(world.dir.path().join("ledger/transient.log")).unwrap();
    let mut world = world.reopen();
    assert_eq!(world.commit(&[&tx]), [Code::Valid]);
    let refused = world.simulator(1).get_private(CHAINCODE, "shared", "k");
    assert!(matches!(
        refused,
        Err(SimulationError::PrivateDataNotAvailable { .. })
    ));
    // Purging works without the value.
    world.run(|sim| sim.purge_private(CHAINCODE, "shared", "k").unwrap());
    assert_eq!(get(&world, 1, "shared", "k"), None);
}

#[test]
fn private_data_other_than_promised_is_not_taken() {
    let mut world = world();
    let tx = world.basic(|sim| {
        sim.put_private(CHAINCODE, "shared", "k", b"right".to_vec())
            .unwrap();
    });
    let mut forger = world.channel.simulator("x", &msp_id(1));
    forger
        .put_private(CHAINCODE, "shared", "k", b"wrong".to_vec())
        .unwrap();
    let forged = forger.finish().private.unwrap();
    world.channel.store_transient(&tx.tx_id(), &forged).unwrap();
    assert_eq!(world.commit(&[&tx]), [Code::Valid]);
    assert!(!log_contains(&world, "wrong"));
}
