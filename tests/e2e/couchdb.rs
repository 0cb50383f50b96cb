//! Contracts on peers that keep their state in CouchDB, which hands JSON back in its own spelling,
//! takes other values as attachments, refuses members that begin with `_`, and pages its own way.

use std::io::Write as _;

use salus_tests::{
    ipfs,
    network::{COUCHDB_VAR, CouchDb, Kind, ORGANIZATIONS},
    readings,
    system::Platform,
};

use crate::{
    consent, stories,
    support::{has, is_here},
};

const ON_COUCHDB: Platform = Platform {
    network: Kind::FabricCouchdb,
    ipfs: ipfs::Kind::Devnode,
};
/// Where public state, private data and their hashes are, as Fabric names databases.
const DATABASES: [&str; 3] = [
    "mychannel_salus",
    "mychannel_salus$$precords",
    "mychannel_salus$$hrecords",
];

#[tokio::test]
async fn the_main_job_and_consents_with_the_peers_state_in_couchdb() {
    let test = "the_main_job_and_consents_with_the_peers_state_in_couchdb";
    if !is_here(test, ON_COUCHDB) || !has(test, "curl") {
        return;
    }
    let servers = CouchDb::listed().unwrap();
    if servers.is_empty() {
        // Straight to the stream: the test harness captures the print macros.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED {test}: {COUCHDB_VAR} lists no CouchDB servers"
        );
        return;
    }
    // One after the other: a server takes one network at a time.
    stories::play(ON_COUCHDB, readings::generate(2, 24, 4)).await;
    clear(&servers).await;
    consent::ask_some(ON_COUCHDB).await;
    clear(&servers).await;
}

/// Makes sure that the state was there, and removes it.
async fn clear(servers: &[CouchDb]) {
    for server in servers.iter().take(ORGANIZATIONS) {
        let held = server.databases().await.unwrap();
        for name in DATABASES {
            assert!(held.iter().any(|held| held == name), "{name} of {held:?}");
        }
        server.clear().await.unwrap();
    }
}
