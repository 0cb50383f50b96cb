//! Damaged blocks, and garbage collection around them.

use std::{fs, path::PathBuf};

use super::{Devnode, files_below};
use crate::client::Api;

#[tokio::test]
async fn damaged_block_is_an_error_until_it_is_stored_again() {
    let dir = tempfile::tempdir().unwrap();
    let devnode = Devnode::start_in(dir.path());
    let api = Api::new(devnode.address());
    // Three chunks; the second and the third start with other bytes than the first.
    let content = [vec![1; 262_144], vec![2; 262_144], vec![3; 1000]].concat();
    let cid = api.add("cid-version=1", &content).await;
    let blocks = files_below(&dir.path().join("blocks"));
    let chunk = |first: u8| {
        let is_chunk = |file: &&PathBuf| fs::read(file).unwrap().starts_with(&[first; 999]);
        blocks.iter().find(is_chunk).unwrap().clone()
    };
    for (file, is_first) in [(chunk(1), true), (chunk(3), false)] {
        let mut bytes = fs::read(&file).unwrap();
        bytes[500] ^= 1;
        fs::write(&file, bytes).unwrap();

        let read = api.call(&format!("cat?arg={cid}")).await;
        if is_first {
            assert!(read.error().contains("corrupted"));
        } else {
            assert!(read.broken_off, "the answer must not look complete");
            assert!(read.body.len() < content.len());
        }
        let digest = hex::decode(file.file_name().unwrap().to_str().unwrap()).unwrap();
        let hash = multihash::Multihash::wrap(0x12, &digest).unwrap();
        let block = cid::Cid::new_v1(0x55, hash);
        for command in ["block/get", "block/stat"] {
            let error = api.call(&format!("{command}?arg={block}")).await.error();
            assert!(error.contains("corrupted"), "{error}");
        }
        // Leaves are kept by name, so a damaged one does not make its neighbours garbage.
        assert!(api.call("repo/gc").await.ok().lines().is_empty());

        assert_eq!(api.add("cid-version=1", &content).await, cid);
        assert_eq!(api.call(&format!("cat?arg={cid}")).await.ok().body, content);
    }
}

#[tokio::test]
async fn garbage_collection_stops_at_a_tree_it_cannot_walk() {
    let dir = tempfile::tempdir().unwrap();
    let devnode = Devnode::start_in(dir.path());
    let api = Api::new(devnode.address());
    let kept = api.add("cid-version=1", &[1; 600_000]).await;
    api.add("pin=false", b"garbage").await;
    let before = files_below(&dir.path().join("blocks")).len();
    let root: cid::Cid = kept.parse().unwrap();
    let name = hex::encode(root.hash().digest());
    let blocks = files_below(&dir.path().join("blocks"));
    let root_file = blocks.iter().find(|file| file.ends_with(&name)).unwrap();
    let bytes = fs::read(root_file).unwrap();
    fs::write(root_file, b"damaged").unwrap();
    let error = api.call("repo/gc").await.error();
    assert!(error.contains("corrupted"), "{error}");
    assert_eq!(files_below(&dir.path().join("blocks")).len(), before);

    fs::write(root_file, bytes).unwrap();
    assert_eq!(api.call("repo/gc").await.ok().lines().len(), 1);
    assert_eq!(files_below(&dir.path().join("blocks")).len(), before - 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_collection_never_takes_what_was_acknowledged() {
    let devnode = Devnode::start();
    let api = Api::new(devnode.address());
    let adders: Vec<_> = (0..4_u8)
        .map(|adder| {
            let api = api.clone();
            tokio::spawn(async move {
                let mut kept = Vec::new();
                for round in 0..20_u8 {
                    // A block that every adder brings along and that becomes garbage each time.
                    let content = [vec![0; 262_144], vec![adder, round]].concat();
                    let cid = api.add("cid-version=1", &content).await;
                    if round % 2 == 0 {
                        api.call(&format!("pin/rm?arg={cid}")).await.ok();
                    } else {
                        kept.push((cid, content));
                    }
                }
                kept
            })
        })
        .collect();
    let collector = {
        let api = api.clone();
        tokio::spawn(async move {
            for _ in 0..50 {
                api.call("repo/gc").await.ok();
            }
        })
    };
    for adder in adders {
        for (cid, content) in adder.await.unwrap() {
            assert_eq!(api.call(&format!("cat?arg={cid}")).await.ok().body, content);
        }
    }
    collector.await.unwrap();
}
