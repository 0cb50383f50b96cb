//! Attacks on what the store holds.
//!
//! Each changes files of the store behind its back. The oracle compares every block with its CID
//! and the whole with the ledger, so nothing wrong arrives whole; that the read was permitted is on
//! the ledger all the same, so that the damage has a time and a reader.

use std::{fs, path::PathBuf};

use contract_interface::{Grantee, Purpose, RecordId};
use salus_tests::{story, system::Platform};

use super::{Scene, permit, seconds_from_now};
use crate::support::publish_bytes;

/// Bytes of a payload that takes several segments and several blocks.
const LARGE_BYTES: usize = 5 << 19;

pub(super) async fn attack(platform: Platform) {
    let scene = Scene::start(platform).await;
    for patient in [0, 1] {
        let grantee = Grantee::Participant(scene.running.cast.provider_id);
        let grant = permit(grantee, seconds_from_now(-60), seconds_from_now(3000));
        scene.give(patient, &grant).await;
    }
    of_one_block(&scene).await;
    of_several_blocks(&scene).await;
    scene.running.system.stop().await.unwrap();
}

async fn of_one_block(scene: &Scene) {
    let own = blocks_of(scene, scene.record).await.remove(0);
    let other = blocks_of(scene, scene.other_record).await.remove(0);
    let whole = fs::read(&own).unwrap();
    let middle = whole.len() / 2;
    let mut modified = whole.clone();
    modified[middle] ^= 1;
    let altered = [
        ("modified", modified),
        ("truncated", whole[..middle].to_vec()),
        ("truncated by one byte", whole[..whole.len() - 1].to_vec()),
        ("extended", [&whole[..], b"x"].concat()),
        ("emptied", Vec::new()),
        ("another record's", fs::read(&other).unwrap()),
    ];
    for (case, bytes) in altered {
        replace(&own, &bytes);
        is_refused(scene, case, scene.record).await;
    }
    replace(&own, &whole);
    is_readable(scene, scene.record).await;
}

/// A large object: its segments in another order, one of them twice, one missing.
async fn of_several_blocks(scene: &Scene) {
    let payload: Vec<u8> = (0..LARGE_BYTES).map(|n| (n / 7) as u8).collect();
    let patient = scene.running.cast.patients[0].clone();
    let records = publish_bytes(
        &scene.running,
        &patient,
        "application/octet-stream",
        payload,
    )
    .await;
    let record = records[0];
    let blocks = blocks_of(scene, record).await;
    assert!(blocks.len() > 2, "{} blocks", blocks.len());
    let (first, second) = (fs::read(&blocks[0]).unwrap(), fs::read(&blocks[1]).unwrap());
    let altered = [
        ("reordered", &second, &first),
        ("doubled", &first, &first),
        ("replaced", &second, &second),
    ];
    for (case, new_first, new_second) in altered {
        replace(&blocks[0], new_first);
        replace(&blocks[1], new_second);
        is_refused(scene, case, record).await;
    }
    replace(&blocks[0], &first);
    replace(&blocks[1], &second);
    is_readable(scene, record).await;
    // Last, since a store may remember what it does not have.
    fs::remove_file(&blocks[1]).unwrap();
    is_refused(scene, "without its middle", record).await;
}

/// Stores may keep their files read-only.
fn replace(file: &PathBuf, bytes: &[u8]) {
    fs::remove_file(file).unwrap();
    fs::write(file, bytes).unwrap();
}

async fn is_refused(scene: &Scene, case: &str, record: RecordId) {
    let before = scene.reads().await;
    let client = story::client(&scene.running.cast.provider).unwrap();
    let outcome = async {
        let mut sealed = client.request_content(&record, Purpose::Treat).await?;
        let mut opened = Vec::new();
        sealed
            .open_into(client.encryption_key()?, &mut opened)
            .await
    }
    .await;
    let error = outcome.expect_err(case);
    assert!(error.denied_read().is_none(), "{case}: {error:?}");
    // Of a patient's two records, this one's reads only count here.
    let after = scene.reads().await;
    assert!(
        after > before || record == scene.other_record,
        "{case}: not on the ledger"
    );
}

async fn is_readable(scene: &Scene, record: RecordId) {
    let client = story::client(&scene.running.cast.provider).unwrap();
    let mut sealed = client
        .request_content(&record, Purpose::Treat)
        .await
        .unwrap();
    let mut opened = Vec::new();
    sealed
        .open_into(client.encryption_key().unwrap(), &mut opened)
        .await
        .unwrap();
    assert!(!opened.is_empty());
}

/// The store's files that hold an object's bytes, in their order.
async fn blocks_of(scene: &Scene, record: RecordId) -> Vec<PathBuf> {
    let client = story::client(&scene.running.cast.provider).unwrap();
    let cid = client.record(&record).await.unwrap().metadata.cid;
    let object = scene.running.object(&cid).await;
    let mut found: Vec<(usize, PathBuf)> = Vec::new();
    collect(&scene.running.system.ipfs.blocks(), &object, &mut found);
    found.sort();
    assert!(!found.is_empty(), "no file holds the object {cid}");
    found.into_iter().map(|(_, path)| path).collect()
}

/// Finds files whose bytes are a part of the object, and where.
fn collect(folder: &PathBuf, object: &[u8], found: &mut Vec<(usize, PathBuf)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, object, found);
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let place = (!bytes.is_empty()).then(|| memchr::memmem::find(object, &bytes));
        if let Some(Some(place)) = place {
            found.push((place, path));
        }
    }
}
