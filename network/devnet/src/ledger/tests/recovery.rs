//! What is on disk is the ledger: reopening gives the same, damage is found.

use std::fs;

use fabric_protos::protos::TxValidationCode as Code;

use super::super::{Channel, LedgerError, ScanItem, chain_block};
use super::world::{CHAINCODE, World, msp_id};

const COLLECTIONS: &str = r#"[{"name":"c","policy":"OR('Org1MSP.member')"},
    {"name":"short","policy":"OR('Org1MSP.member')","blockToLive":1}]"#;

/// A channel with a bit of everything in it.
fn busy_world() -> World {
    let mut world = World::with(Some("OR('Org1MSP.peer')"), COLLECTIONS);
    world.put(&[("a", "1"), ("b", "1")]);
    world.run(|sim| {
        sim.put_private(CHAINCODE, "c", "k", b"private".to_vec())
            .unwrap();
        sim.put_private(CHAINCODE, "short", "k", b"expires".to_vec())
            .unwrap();
    });
    let stale = world.basic(|sim| {
        sim.get_state(CHAINCODE, "a").unwrap();
        sim.put_state(CHAINCODE, "a", b"stale".to_vec()).unwrap();
    });
    world.put(&[("a", "2"), ("b", "")]);
    assert_eq!(world.commit(&[&stale]), [Code::MvccReadConflict]);
    world.run(|sim| {
        let metadata = [("note".to_owned(), b"n".to_vec())].into();
        sim.set_state_metadata(CHAINCODE, "a", metadata).unwrap();
        sim.purge_private(CHAINCODE, "c", "k").unwrap();
    });
    world.put(&[("z", "last")]);
    world
}

fn history(world: &World, key: &str) -> Vec<(String, bool)> {
    let mut sim = world.simulator(1);
    let scan = sim.history(CHAINCODE, key).unwrap();
    let mut history = Vec::new();
    while let Some(ScanItem::History(change)) = sim.next(scan).unwrap() {
        assert_eq!(change.timestamp.unwrap().seconds, 1_700_000_001);
        history.push((String::from_utf8(change.value).unwrap(), change.is_delete));
    }
    history
}

#[test]
fn reopening_gives_the_same_ledger() {
    let world = busy_world();
    let before = (world.channel.dump(), world.channel.info());
    let last = world.channel.block_by_number(before.1.height - 1).unwrap();
    let world = world.reopen();
    assert_eq!((world.channel.dump(), world.channel.info()), before);
    let again = world.channel.block_by_number(before.1.height - 1).unwrap();
    assert_eq!(again, last);
    // And it goes on where it was.
    let mut world = world;
    world.put(&[("a", "3")]);
    let dump = world.channel.dump();
    assert_eq!(world.reopen().channel.dump(), dump);
}

#[test]
fn history_is_newest_first_and_of_valid_transactions_only() {
    let world = busy_world().reopen();
    let changes = |pairs: &[(&str, bool)]| -> Vec<_> {
        let pairs = pairs.iter();
        pairs
            .map(|(value, deleted)| ((*value).to_owned(), *deleted))
            .collect()
    };
    assert_eq!(history(&world, "a"), changes(&[("2", false), ("1", false)]));
    assert_eq!(history(&world, "b"), changes(&[("", true), ("1", false)]));
    assert!(history(&world, "never").is_empty());
}

#[test]
fn blocks_are_found_by_number_hash_and_transaction() {
    let mut world = busy_world();
    let tx = world.basic(|sim| sim.put_state(CHAINCODE, "a", b"9".to_vec()).unwrap());
    world.commit(&[&tx]);
    let channel = &world.channel;
    let info = channel.info();
    let block = channel.block_by_txid(&tx.tx_id()).unwrap().unwrap();
    assert_eq!(block.header.as_ref().unwrap().number, info.height - 1);
    let by_hash = channel.block_by_hash(&info.current_block_hash).unwrap();
    assert_eq!(by_hash, Some(block.clone()));
    assert_eq!(
        block.header.unwrap().previous_hash,
        info.previous_block_hash
    );
    let processed = channel.processed_transaction(&tx.tx_id()).unwrap().unwrap();
    assert_eq!(processed.validation_code, 0);
    assert!(channel.block_by_number(info.height).unwrap().is_none());
    assert!(channel.block_by_hash(b"none").unwrap().is_none());
    assert!(channel.block_by_txid("none").unwrap().is_none());
    assert!(channel.processed_transaction("none").unwrap().is_none());
    assert_eq!(channel.transaction_status("none"), None);
}

#[test]
fn a_torn_last_block_is_as_if_it_had_never_been() {
    let mut world = busy_world();
    let dump = world.channel.dump();
    let height = world.channel.height();
    let whole = fs::metadata(world.log()).unwrap().len();
    let lost = world.basic(|sim| {
        sim.put_state(CHAINCODE, "lost", b"1".to_vec()).unwrap();
        sim.put_private(CHAINCODE, "c", "lost", b"1".to_vec())
            .unwrap();
    });
    world.commit(&[&lost]);
    let bytes = fs::read(world.log()).unwrap();
    let dir = world.dir.path().join("ledger");
    let step = if cfg!(debug_assertions) { 37 } else { 1 };
    let start = usize::try_from(whole).unwrap();
    for end in (start..bytes.len()).step_by(step).chain([bytes.len() - 1]) {
        fs::write(world.log(), &bytes[..end]).unwrap();
        let channel = Channel::open(&dir).unwrap();
        assert_eq!(channel.height(), height, "cut at {end}");
        assert_eq!(channel.dump(), dump, "cut at {end}");
    }
    // The transaction can be ordered again.
    let World { dir, .. } = world;
    let channel = Channel::open(&dir.path().join("ledger")).unwrap();
    let block = channel.next_block(vec![lost.envelope()]);
    let committed = channel.commit(vec![block]).unwrap();
    assert_eq!(committed[0].transactions[0].code, Code::Valid);
}

#[test]
fn damage_in_the_middle_is_refused_and_nothing_is_cut() {
    let world = busy_world();
    let bytes = fs::read(world.log()).unwrap();
    let dir = world.dir.path().join("ledger");
    let mut damaged = bytes.clone();
    damaged[bytes.len() / 2] ^= 1;
    fs::write(world.log(), &damaged).unwrap();
    let refused = Channel::open(&dir).unwrap_err();
    assert!(matches!(refused, LedgerError::Damaged { .. }), "{refused}");
    assert_eq!(fs::read(world.log()).unwrap(), damaged);
}

#[test]
fn a_changed_private_value_is_found_by_its_hash() {
    let mut world = World::with(Some("OR('Org1MSP.peer')"), COLLECTIONS);
    world.run(|sim| {
        sim.put_private(CHAINCODE, "c", "k", b"original".to_vec())
            .unwrap();
    });
    world.put(&[("a", "1")]);
    let mut bytes = fs::read(world.log()).unwrap();
    let at = bytes.windows(8).position(|window| window == b"original");
    bytes[at.unwrap()] = b'O';
    fs::write(world.log(), &bytes).unwrap();
    let refused = Channel::open(&world.dir.path().join("ledger")).unwrap_err();
    assert!(
        refused
            .to_string()
            .ends_with("private part does not match its hashes"),
        "{refused}"
    );
}

#[test]
fn several_blocks_go_in_with_one_commit() {
    let mut world = World::with(Some("OR('Org1MSP.peer')"), "[]");
    let one = world.basic(|sim| sim.put_state(CHAINCODE, "k", b"1".to_vec()).unwrap());
    let two = world.basic(|sim| {
        sim.get_state(CHAINCODE, "k").unwrap();
    });
    let first = world.channel.next_block(vec![one.envelope()]);
    let second = chain_block(&first, vec![two.envelope()]);
    let committed = world.channel.commit(vec![first, second]).unwrap();
    let codes: Vec<_> = committed
        .iter()
        .map(|block| block.transactions[0].code)
        .collect();
    assert_eq!(codes, [Code::Valid, Code::MvccReadConflict]);
    assert_eq!(world.channel.height(), 4);
    let dump = world.channel.dump();
    assert_eq!(world.reopen().channel.dump(), dump);
}

#[test]
fn a_block_that_does_not_follow_stops_the_ledger() {
    let mut world = World::with(Some("OR('Org1MSP.peer')"), "[]");
    let tx = world.basic(|sim| sim.put_state(CHAINCODE, "k", b"1".to_vec()).unwrap());
    let mut block = world.channel.next_block(vec![tx.envelope()]);
    block.header.as_mut().unwrap().number += 1;
    let refused = world.channel.commit(vec![block]).unwrap_err();
    assert!(matches!(
        refused,
        LedgerError::OutOfOrder {
            number: 3,
            expected: 2
        }
    ));
    let block = world.channel.next_block(vec![tx.envelope()]);
    assert!(matches!(
        world.channel.commit(vec![block]),
        Err(LedgerError::Poisoned)
    ));
}

#[test]
fn a_block_with_another_data_hash_is_refused() {
    let mut world = World::with(Some("OR('Org1MSP.peer')"), "[]");
    let tx = world.basic(|sim| sim.put_state(CHAINCODE, "k", b"1".to_vec()).unwrap());
    let mut block = world.channel.next_block(vec![tx.envelope()]);
    block.data.as_mut().unwrap().data.clear();
    assert!(matches!(
        world.channel.commit(vec![block]),
        Err(LedgerError::BrokenChain { number: 2 })
    ));
}

#[test]
fn a_folder_holds_one_ledger() {
    let world = World::new();
    let dir = world.dir.path().join("ledger");
    assert!(Channel::exists(&dir));
    assert!(!Channel::exists(world.dir.path()));
    let genesis = world.channel.config_block().unwrap();
    assert!(matches!(
        Channel::create(&dir, &genesis),
        Err(LedgerError::Exists { .. })
    ));
    assert!(matches!(
        Channel::open(world.dir.path()),
        Err(LedgerError::Io { .. })
    ));
}

#[test]
fn simulations_see_the_height_they_began_at() {
    let mut world = World::with(Some("OR('Org1MSP.peer')"), COLLECTIONS);
    world.put(&[("a", "1"), ("b", "1")]);
    let mut old = world.simulator(1);
    let scan = old.range(CHAINCODE, "", "").unwrap();
    world.put(&[("a", "2"), ("b", ""), ("c", "1")]);
    world.put(&[("a", "3")]);
    assert_eq!(old.get_state(CHAINCODE, "a").unwrap().unwrap(), b"1");
    let mut keys = Vec::new();
    while let Some(ScanItem::State(kv)) = old.next(scan).unwrap() {
        keys.push((kv.key, kv.value));
    }
    assert_eq!(
        keys,
        [
            ("a".to_owned(), b"1".to_vec()),
            ("b".to_owned(), b"1".to_vec())
        ]
    );
    drop(old);
    let mut new = world.channel.simulator("x", &msp_id(1));
    assert_eq!(new.height(), 5);
    assert_eq!(new.get_state(CHAINCODE, "a").unwrap().unwrap(), b"3");
}

#[test]
fn simulations_and_commits_run_at_the_same_time() {
    let mut world = World::with(Some("OR('Org1MSP.peer')"), "[]");
    world.put(&[("a", "0"), ("b", "0")]);
    let channel = world.channel.clone();
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut seen = 0;
            while seen < 20 {
                let mut sim = channel.simulator("r", &msp_id(1));
                let a = sim.get_state(CHAINCODE, "a").unwrap();
                let b = sim.get_state(CHAINCODE, "b").unwrap();
                assert_eq!(a, b, "a block is seen whole or not at all");
                seen = String::from_utf8(a.unwrap()).unwrap().parse().unwrap();
            }
        });
        for number in 1..=20 {
            let number = number.to_string();
            world.put(&[("a", &number), ("b", &number)]);
        }
        reader.join().unwrap();
    });
}
