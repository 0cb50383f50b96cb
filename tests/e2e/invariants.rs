//! What holds after any fault.

use std::path::Path;

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use contract_interface::Purpose;
use fabric_msp::block::{Block, check_chain};
use futures::{StreamExt as _, stream};
use prost::Message as _;
use salus_tests::{binaries, ledger::Ledger, story};

use crate::support::{Running, contains_any, run, until};

/// In every reading, and to be found nowhere.
pub(crate) const CANARY: &str = "canary-b3f1a7705e0";
/// Patients whose records are read at once.
const AT_ONCE: usize = 4;
/// Most memory that an oracle may have taken by the end, bytes: it does not grow with the storm.
const RESIDENT_MAX: u64 = 256 << 20;

/// Nothing ended that was not killed.
pub(crate) fn nobody_gave_up(running: &mut Running) {
    for process in running.system.processes() {
        assert!(
            process.is_running(),
            "{} ended by itself: see {}",
            process.name(),
            process.log().display()
        );
    }
}

/// Checks everything, and ends the system. `published` is what was acknowledged to each patient's
/// device; `journal` the folder of the first oracle's journal.
pub(crate) async fn hold(mut running: Running, journal: &Path, published: &[Vec<String>]) {
    nobody_gave_up(&mut running);
    let bytes = running.system.oracle.process.resident_bytes().unwrap();
    assert!(bytes < RESIDENT_MAX, "the oracle has {bytes} bytes");

    stream::iter(running.cast.patients.iter().zip(published))
        .for_each_concurrent(AT_ONCE, |(patient, published)| async {
            each_once(patient, published).await;
        })
        .await;
    a_stranger_reads_nothing(&running).await;
    the_chain_is_whole(&running).await;

    let (dir, folder) = (running.dir, running.system.dir.clone());
    running.system.stop().await.unwrap();
    the_journal_is_sound(journal).await;
    for place in [folder.as_path(), journal] {
        nothing_lies_open(place);
    }
    drop(dir);
}

/// Every acknowledged reading of a patient comes back, byte for byte, once; and nothing else.
pub(crate) async fn each_once(patient: &story::Patient, published: &[String]) {
    let client = story::client(&patient.person).unwrap();
    let opened = until("all readings are on the ledger", || async {
        let opened = story::read_patient(&client, patient.pseudonym, Purpose::Patrqt)
            .await
            .ok()?;
        let count: usize = opened.iter().map(|record| record.readings.len()).sum();
        // More than were published is for the check below to tell.
        (count >= published.len()).then_some(opened)
    })
    .await;
    story::check_all_there(&patient.device.id, &opened, published).unwrap();
    let count: usize = opened.iter().map(|record| record.readings.len()).sum();
    assert_eq!(count, published.len(), "{}", patient.device.id);
}

/// No reading is in a file as it is, in hexadecimal digits or in Base64.
fn nothing_lies_open(folder: &Path) {
    let mut needles = vec![CANARY.as_bytes().to_vec(), hex::encode(CANARY).into_bytes()];
    // Base64 of it depends on how many bytes stand before it.
    for before in 0..3 {
        let text = [&"   "[..before], CANARY].concat();
        let encoded = BASE64_STANDARD_NO_PAD.encode(text);
        let whole = encoded.len() / 4 * 4;
        needles.push(encoded[4..whole].into());
    }
    let found = contains_any(folder, &needles);
    assert!(found.is_empty(), "a reading lies open in {found:?}");
}

/// Whoever was not permitted before is not permitted after.
async fn a_stranger_reads_nothing(running: &Running) {
    let patient = &running.cast.patients[0];
    let own = story::client(&patient.person).unwrap();
    let records = story::records_of(&own, patient.pseudonym).await.unwrap();
    let provider = story::client(&running.cast.provider).unwrap();
    let record = records[0].metadata.record_id;
    let refused = provider.read(&record, Purpose::Treat).await.unwrap_err();
    assert!(refused.denied_read().is_some(), "{refused}");
}

/// Every organisation has the same blocks, each of which is whole and follows the one before it.
async fn the_chain_is_whole(running: &Running) {
    let mut chains = Vec::new();
    for organization in 0..running.system.network.info().organizations.len() {
        let ledger = Ledger::connect(running.system.network.info(), organization).unwrap();
        let headers: Vec<_> = ledger
            .blocks()
            .await
            .unwrap()
            .iter()
            .map(|block| {
                let block = Block::decode(&block.encode_to_vec()).unwrap();
                block.check_data().unwrap();
                block.header().clone()
            })
            .collect();
        check_chain(&headers).unwrap();
        chains.push(headers);
    }
    // The last blocks may not have reached every peer yet.
    let shared = chains.iter().map(Vec::len).min().unwrap();
    assert!(shared > 1, "the channel has no blocks");
    for chain in &chains {
        assert_eq!(chain[..shared], chains[0][..shared]);
    }
}

/// The journal of a stopped oracle has no damage, and nothing is left in it or was set aside.
async fn the_journal_is_sound(journal: &Path) {
    let oracle = binaries::ours("oracle").unwrap().display().to_string();
    for what in ["verify", "inspect"] {
        let dir = journal.display().to_string();
        let args = ["journal", what, "--dir", &dir].map(str::to_owned);
        let ended = run(&oracle, &args).await;
        assert!(ended.success, "{ended:?}");
        let left: Vec<&str> = ended
            .stdout
            .lines()
            .filter(|line| line.starts_with("readings") || line.starts_with("records"))
            .filter(|line| !line.ends_with(": 0"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
        assert!(!ended.stdout.contains("refused:"), "{}", ended.stdout);
    }
}
