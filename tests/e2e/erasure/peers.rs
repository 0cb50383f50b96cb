//! What the operators of real peers do after an erasure.

use std::path::Path;

use salus_tests::binaries;
use serde_json::Value;

use crate::support::{Ended, contains_any, run};

/// The command does not touch a peer that runs.
pub(super) async fn refuses_while_it_runs(peer: &Path) {
    let refused = compact(peer).await;
    assert!(!refused.success, "{refused:?}");
    assert!(
        refused.stderr.contains("stop the peer first"),
        "{refused:?}"
    );
}

/// Runs what a real peer's operator runs after an erasure: LevelDB keeps deleted bytes until then.
pub(super) async fn is_compacted(peer: &Path, needles: &[Vec<u8>]) {
    let before = fabric_compact::read(peer, |_, _, _| {}).unwrap();
    let found = contains_any(peer, needles);
    assert!(!found.is_empty(), "nothing in {} to end", peer.display());
    let ended = compact(peer).await;
    assert!(ended.success, "{ended:?}");
    let lines = ended.stdout.lines();
    let lines: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for name in ["stateLeveldb", "pvtdataStore", "transientstore"] {
        let of = |line: &&Value| line["path"].as_str().unwrap().ends_with(name);
        let line = lines.iter().find(of);
        let line = line.unwrap_or_else(|| panic!("{name} is not in {lines:?}"));
        assert_eq!(line["rewritten"], true, "{line}");
        assert!(line["dead_entries"].as_u64().unwrap() > 0, "{line}");
    }
    // Files may be compressed, in which not every trace shows: what they hold is searched too.
    let after = fabric_compact::read(peer, |folder, key, value| {
        for needle in needles {
            let is_in = |bytes| memchr::memmem::find(bytes, needle).is_some();
            assert!(!is_in(key) && !is_in(value), "it is live in {folder:?}");
        }
    });
    assert_eq!(after.unwrap(), before);
    let again = compact(peer).await;
    assert!(
        again.success && !again.stdout.contains("\"rewritten\":true"),
        "{again:?}"
    );
}

async fn compact(peer: &Path) -> Ended {
    let salus = binaries::ours("salus").unwrap().display().to_string();
    let peer = peer.display().to_string();
    run(
        &salus,
        &["--json", "peers", "compact", &peer].map(str::to_owned),
    )
    .await
}
