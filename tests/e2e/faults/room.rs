//! Disks without room for one more byte or one more file, under each store; and a disk that all at
//! once takes nothing more. Nothing is acknowledged for which there is no room, nothing breaks, and
//! everything goes on when there is room.

use std::{fs, os::unix::fs::symlink};

use salus_tests::{
    binaries,
    consortium::FIRST_ORACLE,
    oracle::OracleSettings,
    system::{Part, Platform},
};
use tokio::time::{Instant, sleep};

use super::{lasting, say, site::Site};
use crate::{
    disk::{BreakingDisk, SmallDisk},
    support::is_here,
};

/// Readings sent while a disk is full: more than a page has room for.
const READINGS: usize = 24;
/// Sizes of the disks, MiB. Raft's log takes 64 MiB at a time.
const JOURNAL_MIB: u32 = 32;
const STORE_MIB: u32 = 64;
const NETWORK_MIB: u32 = 512;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_disks_are_waited_out() {
    fill_each("full_disks_are_waited_out", Platform::EMBEDDED).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_disks_are_waited_out_on_real_fabric_and_kubo() {
    let test = "full_disks_are_waited_out_on_real_fabric_and_kubo";
    if is_here(test, Platform::REAL) {
        fill_each(test, Platform::REAL).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_takes_nothing_more_ends_the_oracle_and_loses_nothing() {
    let test = "a_disk_that_takes_nothing_more_ends_the_oracle_and_loses_nothing";
    let Some(disk) = BreakingDisk::mount() else {
        return binaries::report_not_permitted(test, "mounting");
    };
    let mut site = Site::start(Platform::EMBEDDED).await;
    site.move_oracle(&journal_in(&site, disk.folder("journal")))
        .await;
    site.send(3).await;
    let sending = site.sending(READINGS);
    disk.break_down();
    let began = Instant::now();
    while site.process(Part::Oracle).is_running() {
        assert!(began.elapsed() < lasting() * 10, "the oracle goes on");
        sleep(lasting() / 100).await;
    }
    say(&format!("it ended after {:.1?}", began.elapsed()));
    disk.mend();
    site.restart(Part::Oracle, "its disk broke").await;
    site.sent(sending).await;
    site.settle("its disk broke").await;
    site.end().await;
}

fn journal_in(site: &Site, folder: std::path::PathBuf) -> OracleSettings {
    OracleSettings {
        name: FIRST_ORACLE.to_owned(),
        ipfs_api: site.running.system.ipfs.api.clone(),
        journal: Some(folder),
        ..OracleSettings::default()
    }
}

/// What a disk has no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Want {
    Bytes,
    Files,
}

async fn fill_each(test: &str, platform: Platform) {
    let dir = tempfile::tempdir().unwrap();
    let store = match platform.ipfs {
        salus_tests::ipfs::Kind::Devnode => "ipfs",
        salus_tests::ipfs::Kind::Kubo => "kubo",
    };
    let sizes = [JOURNAL_MIB, STORE_MIB, NETWORK_MIB];
    let Some(disks) = sizes
        .into_iter()
        .map(SmallDisk::mount)
        .collect::<Option<Vec<_>>>()
    else {
        return binaries::report_not_permitted(test, "mounting");
    };
    for (disk, name) in [(&disks[1], store), (&disks[2], "network")] {
        fs::create_dir(disk.folder(name)).unwrap();
        symlink(disk.folder(name), dir.path().join(name)).unwrap();
    }
    let mut site = Site::start_in(platform, dir).await;
    site.move_oracle(&journal_in(&site, disks[0].folder("journal")))
        .await;
    for (name, disk) in ["the journal", "the store", "the network"]
        .into_iter()
        .zip(&disks)
    {
        for want in [Want::Bytes, Want::Files] {
            fill(&mut site, name, disk, want).await;
        }
    }
    site.end().await;
    drop(disks);
}

async fn fill(site: &mut Site, name: &str, disk: &SmallDisk, want: Want) {
    let what = format!("{name} had no room for {want:?}");
    match want {
        Want::Bytes => disk.fill(),
        Want::Files => disk.fill_with_files(),
    }
    let before = site.count();
    let progress = site.progress();
    let sending = site.sending(READINGS);
    sleep(lasting()).await;
    let acknowledged = progress.borrow().saturating_sub(before);
    if (name, want) == ("the journal", Want::Bytes) {
        assert!(acknowledged < READINGS, "acknowledged without room");
    }
    disk.free();
    let ended = site.revive(&what).await;
    let is_network = |part: &Part| matches!(part, Part::Network(_));
    if name == "the network" {
        // Peers and orderers end when they cannot write a block, some of them later, and are started
        // again by whoever runs them; so does the embedded network.
        assert!(ended.iter().all(is_network), "{ended:?} ended: {what}");
        for part in site.running.system.parts().into_iter().filter(is_network) {
            site.restart(part, &what).await;
        }
    } else {
        assert_eq!(ended, [], "ended: {what}");
    }
    site.sent(sending).await;
    let healed = site.settle(&what).await;
    say(&format!(
        "{what} for {:.0?}: {acknowledged} of {READINGS} readings were acknowledged meanwhile, \
         {ended:?} ended, all was on the ledger {healed:.1?} after there was room",
        lasting()
    ));
}
