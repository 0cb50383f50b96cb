//! What the files of a store look like at every stage, and stores that are not ours to open.

use std::sync::Arc;

use cid::Version;

use super::*;
use crate::block::{DAG_PB, RAW, cid_of};

fn open(dir: &Path) -> Arc<Store> {
    Arc::new(Store::open(dir).unwrap())
}

fn put(store: &Arc<Store>, blocks: &[&[u8]], pins: &[(Cid, PinMode)]) -> Vec<Cid> {
    let mut batch = Batch::new(Arc::clone(store));
    let cids: Vec<_> = blocks
        .iter()
        .map(|block| cid_of(Version::V1, RAW, block))
        .collect();
    for (cid, block) in cids.iter().zip(blocks) {
        batch.put(cid, block).unwrap();
    }
    batch.commit(pins).unwrap();
    cids
}

fn names(folder: PathBuf) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn blocks_are_invisible_until_committed_and_gone_when_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let cid = cid_of(Version::V1, RAW, b"block");
    let mut batch = Batch::new(Arc::clone(&store));
    batch.put(&cid, b"block").unwrap();
    batch.put(&cid, b"block").unwrap();
    assert_eq!(batch.len(), 1);
    assert!(matches!(store.get(&cid), Err(StoreError::NotFound(_))));
    assert_eq!(names(dir.path().join("staged")).len(), 1);
    drop(batch);
    assert!(names(dir.path().join("staged")).is_empty());

    put(&store, &[b"block"], &[]);
    assert_eq!(store.get(&cid).unwrap(), b"block");
    assert!(names(dir.path().join("staged")).is_empty());
}

#[test]
fn block_with_another_hash_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let mut batch = Batch::new(open(dir.path()));
    let cid = cid_of(Version::V1, RAW, b"block");
    assert!(matches!(
        batch.put(&cid, b"other"),
        Err(StoreError::Corrupted(_))
    ));
    assert_eq!(batch.len(), 0);
}

#[test]
fn one_block_answers_to_all_its_cids() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    put(&store, &[b""], &[]);
    for (version, codec) in [
        (Version::V0, DAG_PB),
        (Version::V1, DAG_PB),
        (Version::V1, RAW),
    ] {
        let cid = cid_of(version, codec, b"");
        assert_eq!(store.get(&cid).unwrap(), b"", "{cid}");
    }
    assert_eq!(store.stat().unwrap().blocks, 1);
}

#[test]
fn pins_last_and_a_recursive_one_wins_over_a_left_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let cid = put(&store, &[b"block"], &[])[0];
    store.pin(&cid, &Pin::direct("one")).unwrap();
    let direct = names(dir.path().join("pins"));
    store.pin(&cid, &Pin::recursive("two")).unwrap();
    assert_eq!(names(dir.path().join("pins")).len(), 1);
    drop(store);

    // As if the process had died before the direct pin's file was removed.
    fs::write(dir.path().join("pins").join(&direct[0]), "one").unwrap();
    let store = open(dir.path());
    assert_eq!(store.pins()[&cid], Pin::recursive("two"));
    assert!(matches!(
        store.pin(&cid, &Pin::direct("")),
        Err(StoreError::PinnedRecursively(_))
    ));
    store.unpin(&cid, true).unwrap();
    assert!(store.pins().is_empty());
    drop(store);
    assert!(open(dir.path()).pins().is_empty());
}

#[test]
fn garbage_is_what_no_pin_reaches() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let cids = put(&store, &[b"kept", b"direct", b"garbage"], &[]);
    store.pin(&cids[0], &Pin::recursive("")).unwrap();
    store.pin(&cids[1], &Pin::direct("")).unwrap();
    assert_eq!(store.collect_garbage().unwrap(), [cids[2]]);
    assert_eq!(store.get(&cids[0]).unwrap(), b"kept");
    assert_eq!(store.get(&cids[1]).unwrap(), b"direct");
    assert!(store.collect_garbage().unwrap().is_empty());
}

#[test]
fn half_written_files_go_at_start() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    fs::write(dir.path().join("staged/17"), "half").unwrap();
    drop(open(dir.path()));
    assert!(names(dir.path().join("staged")).is_empty());
}

#[test]
fn stores_of_others_are_not_opened() {
    let check = |file: &str, content: &str, reason: &str| {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()));
        fs::write(dir.path().join(file), content).unwrap();
        let error = Store::open(dir.path()).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    };
    check("version", "2\n", "another version");
    check("identity", "not hex", "identity file is damaged");
    check("pins/readme", "", "not that of a pin");
    check("pins/00.recursive", "", "not that of a pin");

    let dir = tempfile::tempdir().unwrap();
    let _first = open(dir.path());
    let error = Store::open(dir.path()).unwrap_err();
    assert!(error.to_string().contains("another process"), "{error}");
}
