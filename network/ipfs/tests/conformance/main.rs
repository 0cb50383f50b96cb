//! One suite, two judges: everything in `suite` must hold of ipfs-devnode and of real Kubo.
//!
//! Kubo is looked for in `SALUS_FABRIC_BIN` and on `PATH`; without it the suite runs on the devnode
//! alone and says so. `SALUS_BLESS=1` writes `tests/golden/cids.json` anew, from Kubo only.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod client;
mod devnode;
mod golden;
mod kubo;
mod suite;

use client::Api;
use devnode::Devnode;
use kubo::Kubo;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devnode_conforms() {
    let mut devnode = Devnode::start();
    let api = Api::new(devnode.address());
    golden::check(&api).await;
    suite::run(&api).await;
    devnode.terminate();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubo_conforms() {
    let Some(kubo) = Kubo::start() else {
        eprintln!("skipped: no `ipfs` in SALUS_FABRIC_BIN or on PATH, so Kubo is not compared");
        return;
    };
    let api = Api::new(kubo.address());
    if std::env::var_os("SALUS_BLESS").is_some() {
        golden::write(&api).await;
    }
    golden::check(&api).await;
    suite::run(&api).await;
}
