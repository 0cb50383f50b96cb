//! A data base written by goleveldb, as Fabric's peers use it: `testdata/README.md` says how.

use std::{collections::BTreeMap, fs::File};

use tempfile::TempDir;

use super::*;

struct Expected {
    summary: Summary,
    live: Vec<String>,
    dead: Vec<String>,
}

fn expected() -> Expected {
    let text = fs::read_to_string(testdata().join("expected.txt")).unwrap();
    let (head, secrets) = text.split_at(text.find("dead").unwrap().min(text.find("live").unwrap()));
    let (pairs, sha256) = head.trim().split_once('\n').unwrap();
    let of = |kind: &str| {
        let lines = secrets.lines().filter_map(|line| line.strip_prefix(kind));
        lines.map(str::to_owned).collect()
    };
    Expected {
        summary: Summary {
            pairs: pairs.parse().unwrap(),
            sha256: sha256.to_owned(),
        },
        live: of("live "),
        dead: of("dead "),
    }
}

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

type Files = BTreeMap<String, Vec<u8>>;

fn golden() -> Files {
    files_in(&testdata().join("goleveldb"))
}

fn files_in(folder: &Path) -> Files {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let named = entries.map(|entry| {
        let name = entry.file_name().into_string().unwrap();
        (name, fs::read(entry.path()).unwrap())
    });
    named.collect()
}

/// A peer's folder with one data base of these files.
fn peer_with(files: &Files) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("ledgersData/stateLeveldb");
    fs::create_dir_all(&folder).unwrap();
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).unwrap();
    }
    (dir, folder.canonicalize().unwrap())
}

fn compacted(dir: &TempDir) -> Compacted {
    let mut all = compact(dir.path()).unwrap();
    assert_eq!(all.len(), 1);
    all.remove(0)
}

/// How many of the secrets are in some file.
fn found(folder: &Path, secrets: &[String]) -> usize {
    let files = files_in(folder);
    let is_in = |bytes: &[u8], secret: &str| {
        let mut windows = bytes.windows(secret.len());
        windows.any(|window| window == secret.as_bytes())
    };
    let kept = secrets
        .iter()
        .filter(|secret| files.values().any(|bytes| is_in(bytes, secret)));
    kept.count()
}

/// The data base is whole, and nothing dead is left.
fn is_clean(dir: &TempDir, folder: &Path) {
    let expected = expected();
    let all = read(dir.path(), |_, _, _| {}).unwrap();
    assert_eq!(all, [(folder.to_owned(), expected.summary)]);
    assert_eq!(found(folder, &expected.dead), 0);
    let secrets = files_in(folder);
    let unexpected = |name: &String| {
        let ending = name.rsplit('.').next().unwrap();
        !(ending == "ldb" || name.starts_with("MANIFEST-") || name == "CURRENT" || name == "LOCK")
    };
    let unexpected: Vec<&String> = secrets.keys().filter(|name| unexpected(name)).collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
    let again = compacted(dir);
    assert!(!again.rewritten, "{again:?}");
    assert_eq!(files_in(folder), secrets);
}

#[test]
fn what_goleveldb_deleted_is_gone_and_the_rest_is_there() {
    let expected = expected();
    let (dir, folder) = peer_with(&golden());
    assert!(found(&folder, &expected.dead) > 100, "nothing to remove");
    let before = read(dir.path(), |_, _, _| {}).unwrap();
    assert_eq!(before[0].1, expected.summary);
    let done = compacted(&dir);
    assert!(done.rewritten && done.dead_entries >= expected.dead.len() as u64);
    assert_eq!(done.summary, expected.summary);
    assert!(done.bytes_after < done.bytes_before);
    is_clean(&dir, &folder);
    let mut values = vec![];
    read(dir.path(), |_, _, value| values.push(value.to_vec())).unwrap();
    for secret in &expected.live {
        assert!(values.iter().any(|value| value == secret.as_bytes()));
    }
}

#[test]
fn a_data_base_in_use_is_not_touched_nor_any_beside_it() {
    let (dir, folder) = peer_with(&golden());
    let beside = dir.path().join("transientstore");
    fs::create_dir(&beside).unwrap();
    for (name, bytes) in golden() {
        fs::write(beside.join(name), bytes).unwrap();
    }
    let lock = File::create(beside.join("LOCK")).unwrap();
    lock.lock().unwrap();
    let refused = compact(dir.path()).unwrap_err();
    assert!(matches!(&refused, CompactError::InUse { path } if path.ends_with("transientstore")));
    let mut untouched = golden();
    untouched.insert("LOCK".to_owned(), vec![]);
    assert_eq!(files_in(&folder), untouched);
    drop(lock);
    assert_eq!(compact(dir.path()).unwrap().len(), 2);
}

/// Every state in which a kill can leave the folder: files appear and go one by one, in the order in
/// which they are written and removed.
#[test]
fn a_kill_at_any_moment_loses_nothing_and_the_next_run_ends_it() {
    let old = golden();
    let (dir, folder) = peer_with(&old);
    compacted(&dir);
    let mut new = files_in(&folder);
    new.remove("LOCK");
    let current = new.remove("CURRENT").unwrap();
    let manifest = String::from_utf8(current.clone()).unwrap();
    let number: u64 = manifest.trim()["MANIFEST-".len()..].parse().unwrap();
    let pending = format!("CURRENT.{number}");

    let mut states: Vec<Files> = vec![old.clone()];
    let mut state = old.clone();
    // Tables have lower numbers than the manifest, and names in order.
    for (name, bytes) in &new {
        let mut half = state.clone();
        half.insert(name.clone(), bytes[..bytes.len() / 2].to_vec());
        states.push(half);
        state.insert(name.clone(), bytes.clone());
        states.push(state.clone());
    }
    for length in [0, 5, current.len()] {
        state.insert(pending.clone(), current[..length].to_vec());
        states.push(state.clone());
    }
    state.remove(&pending);
    state.insert("CURRENT".to_owned(), current.clone());
    states.push(state.clone());
    for name in old.keys().filter(|name| *name != "CURRENT") {
        state.remove(name);
        states.push(state.clone());
    }
    assert!(states.len() > 15);
    for (number, files) in states.iter().enumerate() {
        let (dir, folder) = peer_with(files);
        let summary = expected().summary;
        let live = read(dir.path(), |_, _, _| {}).unwrap();
        assert_eq!(live[0].1, summary, "state {number}");
        compacted(&dir);
        is_clean(&dir, &folder);
    }
}

#[test]
fn what_cannot_be_finished_is_taken_back() {
    let (_dir, path) = peer_with(&golden());
    let folder = Folder::lock(&path).unwrap();
    let before = files_in(&path);
    let old = Snapshot::open(&path).unwrap();
    let wrong = Summary {
        pairs: 1,
        sha256: String::new(),
    };
    let refused = rewrite(&folder, &old, &wrong).unwrap_err();
    assert!(matches!(refused, CompactError::Unequal { .. }));
    assert_eq!(files_in(&path), before);
}

#[test]
fn a_damaged_data_base_is_left_as_it_was() {
    let whole = golden();
    let tables = whole.keys().filter(|name| name.ends_with(".ldb"));
    for name in tables {
        let mut files = whole.clone();
        let bytes = files.get_mut(name).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        let (dir, folder) = peer_with(&files);
        let Err(refused) = compact(dir.path()) else {
            // A table that was superseded already and waited for its removal.
            is_clean(&dir, &folder);
            continue;
        };
        assert!(matches!(refused, CompactError::Damaged { .. }), "{refused}");
        files.insert("LOCK".to_owned(), vec![]);
        assert_eq!(files_in(&folder), files);
    }
    let log = whole.keys().rfind(|name| name.ends_with(".log")).unwrap();
    let mut files = whole.clone();
    files.get_mut(log).unwrap()[10] ^= 1;
    let (dir, folder) = peer_with(&files);
    let refused = compact(dir.path()).unwrap_err();
    assert!(
        matches!(refused, CompactError::NotRecovered { .. }),
        "{refused}"
    );
    files.insert("LOCK".to_owned(), vec![]);
    assert_eq!(files_in(&folder), files);
}

#[test]
fn a_folder_without_data_bases_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refused = compact(dir.path()).unwrap_err();
    assert!(matches!(refused, CompactError::NoDatabase { .. }));
}

#[test]
fn an_emptied_data_base_stays_one() {
    let (dir, folder) = peer_with(&golden());
    // A batch that deletes every key, as the next log.
    let mut keys = vec![];
    read(dir.path(), |_, key, _| keys.push(key.to_vec())).unwrap();
    let mut batch = 1_000_000u64.to_le_bytes().to_vec();
    batch.extend_from_slice(&u32::try_from(keys.len()).unwrap().to_le_bytes());
    for key in &keys {
        batch.push(0);
        crate::wire::put_bytes(&mut batch, key);
    }
    fs::write(folder.join("900000.log"), crate::journal::file_of(&batch)).unwrap();
    let done = compacted(&dir);
    assert_eq!((done.summary.pairs, done.tables_after), (0, 0));
    let expected = expected();
    assert_eq!(
        found(&folder, &expected.dead) + found(&folder, &expected.live),
        0
    );
}

#[cfg(unix)]
#[test]
fn new_files_are_for_whom_the_old_ones_were() {
    use std::os::unix::fs::PermissionsExt as _;
    let (dir, folder) = peer_with(&golden());
    let listing = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap());
    for entry in listing {
        fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o640)).unwrap();
    }
    compacted(&dir);
    for name in files_in(&folder).keys().filter(|name| *name != "LOCK") {
        let mode = fs::metadata(folder.join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o640, "{name}");
    }
}
