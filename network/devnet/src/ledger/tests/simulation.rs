//! What a simulation sees, refuses and leaves behind.

use fabric_protos::kvrwset::KvrwSet;
use fabric_protos::protos::ChaincodeInterest;
use fabric_protos::rwset::TxReadWriteSet;
use prost::Message;

use super::super::{Metadata, ScanId, ScanItem, Simulator};
use super::world::{CHAINCODE, World};
use crate::policy::parse_policy;

const COLLECTIONS: &str = r#"[{"name":"c","policy":"OR('Org1MSP.member')"}]"#;

fn world() -> World {
    let mut world = World::with(Some("OR('Org1MSP.peer')"), COLLECTIONS);
    let keys: Vec<_> = (0..7).map(|i| format!("k{i}")).collect();
    let pairs: Vec<_> = keys.iter().map(|key| (key.as_str(), "v")).collect();
    world.put(&pairs);
    world
}

fn keys(sim: &mut Simulator, scan: ScanId) -> Vec<String> {
    let mut keys = Vec::new();
    while let Some(ScanItem::State(kv)) = sim.next(scan).unwrap() {
        keys.push(kv.key);
    }
    keys
}

/// The public set of a namespace.
fn set_of(results: &[u8], namespace: &str) -> KvrwSet {
    let set = TxReadWriteSet::decode(results).unwrap();
    let mut sets = set.ns_rwset.into_iter();
    let set = sets.find(|set| set.namespace == namespace).unwrap();
    KvrwSet::decode(set.rwset.as_slice()).unwrap()
}

#[test]
fn nobody_reads_its_own_writes() {
    let world = world();
    let mut sim = world.simulator(1);
    sim.put_state(CHAINCODE, "k0", b"changed".to_vec()).unwrap();
    sim.put_state(CHAINCODE, "new", b"new".to_vec()).unwrap();
    assert_eq!(sim.get_state(CHAINCODE, "k0").unwrap().unwrap(), b"v");
    assert_eq!(sim.get_state(CHAINCODE, "new").unwrap(), None);
    let wanted = ["new".to_owned(), "k1".to_owned()];
    let several = sim.get_states(CHAINCODE, &wanted).unwrap();
    assert_eq!(several, [None, Some(b"v".to_vec())]);
    let scan = sim.range(CHAINCODE, "new", "o").unwrap();
    assert!(keys(&mut sim, scan).is_empty());
}

#[test]
fn an_empty_value_is_a_deletion() {
    let world = world();
    let mut sim = world.simulator(1);
    sim.put_state(CHAINCODE, "k0", Vec::new()).unwrap();
    let writes = set_of(&sim.finish().public, CHAINCODE).writes;
    assert!(writes[0].is_delete);
}

#[test]
fn pages_end_with_the_key_of_the_next() {
    let world = world();
    let mut bookmark = String::new();
    let mut pages = Vec::new();
    loop {
        let mut sim = world.simulator(1);
        let scan = sim.range_page(CHAINCODE, &bookmark, "k6", 2).unwrap();
        let page = keys(&mut sim, scan);
        bookmark = sim.bookmark(scan);
        pages.push((page.join(" "), bookmark.clone()));
        assert!(sim.next(scan).is_err(), "a bookmark closes the scan");
        if bookmark.is_empty() {
            break;
        }
    }
    let expected = [("k0 k1", "k2"), ("k2 k3", "k4"), ("k4 k5", "")];
    let expected: Vec<_> = expected
        .iter()
        .map(|(page, next)| ((*page).to_owned(), (*next).to_owned()))
        .collect();
    assert_eq!(pages, expected);
}

#[test]
fn a_page_of_no_size_is_everything() {
    let world = world();
    let mut sim = world.simulator(1);
    let scan = sim.range_page(CHAINCODE, "k", "l", 0).unwrap();
    assert_eq!(keys(&mut sim, scan).len(), 7);
}

#[test]
fn queries_that_exclude_writes_say_so_in_fabrics_words() {
    let world = world();
    let mut sim = world.simulator(1);
    let _page = sim.range_page(CHAINCODE, "", "", 1).unwrap();
    assert_eq!(
        sim.put_state(CHAINCODE, "k", vec![1])
            .unwrap_err()
            .to_string(),
        "txid [test]: unsuppored transaction. Transaction has already performed a paginated \
         query. Writes are not allowed"
    );
    let mut sim = world.simulator(1);
    let _range = sim.private_range(CHAINCODE, "c", "", "").unwrap();
    assert_eq!(
        sim.put_private(CHAINCODE, "c", "k", vec![1])
            .unwrap_err()
            .to_string(),
        "txid [test]: unsuppored transaction. Transaction has already performed queries on pvt \
         data. Writes are not allowed"
    );
    let mut sim = world.simulator(1);
    sim.put_state(CHAINCODE, "k", vec![1]).unwrap();
    assert_eq!(
        sim.range_page(CHAINCODE, "", "", 1)
            .unwrap_err()
            .to_string(),
        "txid [test]: unsuppored transaction. Paginated queries are supported only in a \
         read-only transaction"
    );
    assert_eq!(
        sim.private_range(CHAINCODE, "c", "", "")
            .unwrap_err()
            .to_string(),
        "txid [test]: unsuppored transaction. Queries on pvt data is supported only in a \
         read-only transaction"
    );
    assert_eq!(
        sim.query("{}").unwrap_err().to_string(),
        "ExecuteQuery not supported for leveldb"
    );
    // A plain range goes with writes.
    let scan = sim.range(CHAINCODE, "", "").unwrap();
    assert_eq!(keys(&mut sim, scan).len(), 7);
}

#[test]
fn the_same_calls_make_the_same_bytes_at_every_peer() {
    let world = world();
    let run = |organization: usize| {
        let mut sim = world.simulator(organization);
        sim.record_lifecycle_read(CHAINCODE);
        for key in ["k3", "k1", "none"] {
            sim.get_state(CHAINCODE, key).unwrap();
            sim.put_state(CHAINCODE, key, b"x".to_vec()).unwrap();
        }
        let scan = sim.range(CHAINCODE, "k", "").unwrap();
        keys(&mut sim, scan);
        sim.put_private(CHAINCODE, "c", "k", b"x".to_vec()).unwrap();
        sim.finish()
    };
    let first = run(1);
    assert_eq!(run(2), first);
    assert_eq!(run(3), first);
    assert!(first.private.is_some());
}

#[test]
fn private_data_reads_the_chaincodes_definition() {
    let world = world();
    let mut sim = world.simulator(1);
    sim.record_lifecycle_read(CHAINCODE);
    let only_sequence = set_of(&sim.finish().public, "_lifecycle").reads;
    assert_eq!(only_sequence.len(), 1);
    assert_eq!(only_sequence[0].key, "namespaces/fields/basic/Sequence");
    let mut sim = world.simulator(1);
    sim.get_private(CHAINCODE, "c", "k").unwrap();
    let reads = set_of(&sim.finish().public, "_lifecycle").reads;
    let keys: Vec<_> = reads.iter().map(|read| read.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "namespaces/fields/basic/Collections",
            "namespaces/fields/basic/EndorsementInfo",
            "namespaces/fields/basic/Sequence",
            "namespaces/fields/basic/ValidationInfo",
            "namespaces/metadata/basic",
        ]
    );
}

/// Shows an interest as `name[/collection][!reads][?keys][-policy]`.
fn show(interest: &ChaincodeInterest) -> Vec<String> {
    interest
        .chaincodes
        .iter()
        .map(|call| {
            let collections: String = call
                .collection_names
                .iter()
                .map(|name| format!("/{name}"))
                .collect();
            let no_reads = if call.no_private_reads { "!" } else { "" };
            let keys = "?".repeat(call.key_policies.len());
            let disregard = if call.disregard_namespace_policy {
                "-"
            } else {
                ""
            };
            format!("{}{collections}{no_reads}{keys}{disregard}", call.name)
        })
        .collect()
}

#[test]
fn the_interest_says_whose_endorsement_is_needed() {
    let mut world = world();
    world.run(|sim| {
        let policy = parse_policy("OR('Org2MSP.peer')").unwrap().encode_to_vec();
        let metadata = Metadata::from([("VALIDATION_PARAMETER".to_owned(), policy)]);
        sim.set_state_metadata(CHAINCODE, "k1", metadata).unwrap();
    });
    let interest = |run: &dyn Fn(&mut Simulator)| {
        let mut sim = world.simulator(1);
        sim.record_lifecycle_read(CHAINCODE);
        run(&mut sim);
        show(&sim.finish().interest)
    };
    let read = |sim: &mut Simulator| {
        sim.get_state(CHAINCODE, "k0").unwrap();
    };
    let write = |sim: &mut Simulator| sim.put_state(CHAINCODE, "k0", vec![1]).unwrap();
    let write_own = |sim: &mut Simulator| sim.put_state(CHAINCODE, "k1", vec![1]).unwrap();
    let read_private = |sim: &mut Simulator| {
        sim.get_private(CHAINCODE, "c", "k").unwrap();
    };
    let write_private = |sim: &mut Simulator| {
        sim.put_private(CHAINCODE, "c", "k", vec![1]).unwrap();
    };
    assert_eq!(interest(&read), ["basic"]);
    assert_eq!(interest(&write), ["basic"]);
    assert_eq!(interest(&write_own), ["basic?-"]);
    assert_eq!(
        interest(&|sim| {
            write(sim);
            write_own(sim);
        }),
        ["basic?"]
    );
    assert_eq!(interest(&read_private), ["basic", "basic/c"]);
    assert_eq!(interest(&write_private), ["basic/c!"]);
    assert_eq!(
        interest(&|sim| {
            read_private(sim);
            write_private(sim);
        }),
        ["basic/c"]
    );
}
