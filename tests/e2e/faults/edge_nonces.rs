//! No key encrypts two things under one nonce, whatever is restored, cloned or killed: looked up in the bytes on the
//! disk. And what is encrypted opens at its own place only.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    ops::Range,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use salus_tests::{
    binaries,
    process::{Process, Spec},
    story::{self, Patient, WaitFor},
    system::Platform,
};

use super::edge_wire::{hold, kill_and_restart, metrics, reading, series, with_plain_port};
use crate::support::{Running, each_file, publish, run, until};

/// Readings that are published together.
const TOGETHER: usize = 6;
/// Exit status of `oracle` when its journal is damaged.
const DAMAGED: i32 = 65;
/// Bytes of a nonce and of a tag.
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

/// Two lives go on from one copy of a machine, one after the other: the journal is copied with readings on their way,
/// goes on, and the copy is put back. All files of both lives hold each pair of key and nonce for one ciphertext only,
/// sealed objects included; and nothing is lost or doubled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_or_cloned_journal_repeats_no_nonce() {
    let mut running = Running::start(Platform::EMBEDDED, 1).await;
    with_plain_port(&mut running).await;
    let patient = running.cast.patients[0].clone();
    let journal = running.system.oracle.home.join("journal");
    let image = running.dir.path().join("image");
    let mut pairs = Pairs::default();
    let mut published = Vec::new();
    publish_more(&running, &patient, &mut published, WaitFor::Receipts).await;

    // The copy is taken when readings are sealed and cannot go on.
    running.system.ipfs.process.pause().unwrap();
    publish_more(
        &running,
        &patient,
        &mut published,
        WaitFor::Acknowledgements,
    )
    .await;
    until("the readings are sealed", || async {
        let said = metrics(&running.system.oracle).await;
        (series(&said, "salus_pipeline_waiting{state=\"sealed\"}") > 0.0).then_some(())
    })
    .await;
    running.system.oracle.process.kill().await.unwrap();
    copy(&journal, &image);
    pairs.take(&journal);
    running.system.ipfs.process.go_on().unwrap();

    // The machine goes on; then the copy does, twice.
    for round in 0..3 {
        if round > 0 {
            fs::remove_dir_all(&journal).unwrap();
            copy(&image, &journal);
        }
        kill_and_restart(&mut running.system.oracle).await;
        publish_more(&running, &patient, &mut published, WaitFor::Receipts).await;
        running.system.oracle.process.kill().await.unwrap();
        pairs.take(&journal);
    }
    assert!(
        pairs.files > 8 && pairs.seen.len() > 6 * TOGETHER,
        "{pairs:?}"
    );
    misplaced_frames_are_refused(&running, &image).await;

    running
        .system
        .oracle
        .process
        .start_until_ready()
        .await
        .unwrap();
    objects_have_keys_of_their_own(&running, &patient).await;
    hold(running, &[published]).await;
}

/// Publishes readings of which none is like one before.
async fn publish_more(
    running: &Running,
    patient: &Patient,
    published: &mut Vec<String>,
    wait: WaitFor,
) {
    let first = published.len();
    let readings = (first..first + TOGETHER).map(|number| reading(&patient.device.id, number));
    let readings: Vec<String> = readings.collect();
    publish(running, patient, &readings, wait).await;
    published.extend(readings);
}

/// What was encrypted under which key and nonce.
#[derive(Default)]
struct Pairs {
    files: usize,
    /// Salt, from which the key follows, and nonce; the ciphertext.
    seen: HashMap<(Vec<u8>, Vec<u8>), Vec<u8>>,
}

impl std::fmt::Debug for Pairs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} pairs in {} files", self.seen.len(), self.files)
    }
}

impl Pairs {
    /// Takes everything that is encrypted in a journal's folder. A frame that is there as it was before is the same.
    fn take(&mut self, folder: &Path) {
        each_file(folder, &mut |path, bytes| {
            let Some(file) = EncryptedFile::read(bytes) else {
                return;
            };
            self.files += 1;
            for frame in file.frames {
                let (nonce, ciphertext) = bytes[frame].split_at(NONCE_BYTES);
                let pair = (file.salt.clone(), nonce.to_vec());
                let before = self.seen.entry(pair).or_insert_with(|| ciphertext.to_vec());
                assert!(before == ciphertext, "{} repeats a nonce", path.display());
            }
        });
    }
}

/// A file of frames: the journal's, that of retained messages, the snapshot, those of large objects.
struct EncryptedFile {
    salt: Vec<u8>,
    /// Where nonce, ciphertext and tag of each frame are.
    frames: Vec<Range<usize>>,
}

impl EncryptedFile {
    fn read(bytes: &[u8]) -> Option<Self> {
        let (marker, header, frame_header) = match bytes.get(..8)? {
            b"SALJRNL\0" => (b"SJF1", 52, 20),
            b"SALOBJT\0" => (b"SOF1", 48, 24),
            _ => return None,
        };
        let mut frames = Vec::new();
        let mut at = header;
        while bytes.get(at..at + 4) == Some(marker) {
            let Some(length) = bytes.get(at + 4..at + 8) else {
                break;
            };
            let length = u32::from_le_bytes(length.try_into().unwrap()) as usize;
            let start = at + frame_header;
            at = start + length;
            if at > bytes.len() {
                break;
            }
            frames.push(start..at);
        }
        Some(Self {
            salt: bytes.get(16..48)?.to_vec(),
            frames,
        })
    }
}

/// Each sealed object has a salt of its own, hence a key of its own.
async fn objects_have_keys_of_their_own(running: &Running, patient: &Patient) {
    let client = story::client(&patient.person).unwrap();
    let records = story::records_of(&client, patient.pseudonym).await.unwrap();
    let mut salts = BTreeSet::new();
    for record in &records {
        let object = running.object(&record.metadata.cid.to_string()).await;
        assert_eq!(object[0], 40, "the header of an object");
        salts.insert(object[1..33].to_vec());
    }
    assert_eq!(salts.len(), records.len());
    assert!(salts.len() > 4, "{} objects", salts.len());
}

/// Frames that were exchanged, moved to another file or lost a part of their tag, with checksums that fit: who can
/// write the disk and has no key cannot make the oracle take one.
async fn misplaced_frames_are_refused(running: &Running, image: &Path) {
    let (name, bytes) = largest_segment(image);
    let file = EncryptedFile::read(&bytes).unwrap();
    let mut by_length: BTreeMap<usize, Vec<Range<usize>>> = BTreeMap::new();
    for frame in &file.frames {
        by_length
            .entry(frame.len())
            .or_default()
            .push(frame.clone());
    }
    let [first, second] = by_length
        .values()
        .find(|alike| alike.len() > 1)
        .expect("frames of one length")[..2]
        .to_vec()
        .try_into()
        .unwrap();
    let mut exchanged = bytes.clone();
    exchanged[first.clone()].copy_from_slice(&bytes[second.clone()]);
    exchanged[second.clone()].copy_from_slice(&bytes[first.clone()]);
    let mut doubled = bytes.clone();
    doubled[second.clone()].copy_from_slice(&bytes[first.clone()]);
    let mut other_salt = bytes.clone();
    other_salt[16] ^= 1;
    let header = crc32fast::hash(&other_salt[..48]);
    other_salt[48..52].copy_from_slice(&header.to_le_bytes());
    let mut cases = vec![
        ("exchanged", fitting(exchanged)),
        ("doubled", fitting(doubled)),
        ("of another file", fitting(other_salt)),
    ];
    for lost in [1, 4, 8, TAG_BYTES] {
        let mut shorter = bytes.clone();
        shorter.drain(first.end - lost..first.end);
        let length = u32::try_from(first.len() - lost).unwrap();
        let at = first.start - 16;
        shorter[at..at + 4].copy_from_slice(&length.to_le_bytes());
        cases.push(("a shorter tag", fitting(shorter)));
    }
    for (case, forged) in cases {
        let folder = tempfile::tempdir_in(running.dir.path()).unwrap();
        let dir = folder.path().join("journal");
        copy(image, &dir);
        fs::write(dir.join(&name), &forged).unwrap();
        let oracle = binaries::ours("oracle").unwrap();
        let verify = std::process::Command::new(&oracle)
            .args(["journal", "verify", "--dir"])
            .arg(&dir)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&verify.stderr).into_owned()
            + &String::from_utf8_lossy(&verify.stdout);
        assert_eq!(verify.status.code(), Some(DAMAGED), "{case}: {said}");
        let named = name.to_string_lossy();
        assert!(said.contains(&*named), "{case}: {said}");
        assert_eq!(
            fs::read(dir.join(&name)).unwrap(),
            forged,
            "{case}: the file was changed"
        );
    }
    // As it is it holds.
    let arguments = ["journal", "verify", "--dir", &image.display().to_string()].map(str::to_owned);
    let ended = run(
        &binaries::ours("oracle").unwrap().display().to_string(),
        &arguments,
    )
    .await;
    assert!(ended.success, "{ended:?}");
}

fn largest_segment(folder: &Path) -> (std::ffi::OsString, Vec<u8>) {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let segments = entries.filter(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.ends_with(".journal") && name.starts_with('0')
    });
    let largest = segments
        .max_by_key(|entry| entry.metadata().unwrap().len())
        .unwrap();
    (largest.file_name(), fs::read(largest.path()).unwrap())
}

/// Makes the checksum of each frame fit what it holds.
fn fitting(mut bytes: Vec<u8>) -> Vec<u8> {
    for frame in EncryptedFile::read(&bytes).unwrap().frames {
        let head = frame.start - 20;
        let mut crc = crc32fast::Hasher::new();
        crc.update(&bytes[head..head + 16]);
        crc.update(&bytes[frame.clone()]);
        bytes[head + 16..frame.start].copy_from_slice(&crc.finalize().to_le_bytes());
    }
    bytes
}

/// Killed at any call with which the journal's key comes to the disk: it is there whole and its owner's alone, or not
/// there; and a key that is there is never replaced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_while_the_journals_key_is_made_leaves_a_whole_key_or_none() {
    if !may_trace("a_kill_while_the_journals_key_is_made_leaves_a_whole_key_or_none") {
        return;
    }
    let mut running = Running::start(Platform::EMBEDDED, 1).await;
    let patient = running.cast.patients[0].clone();
    let journal = running.system.oracle.home.join("journal");
    let key = journal.join("journal.key");
    let record = running.dir.path().join("record");
    let recorded = traced(&running, &record, None);
    running.system.oracle.process.kill().await.unwrap();
    fs::remove_dir_all(&journal).unwrap();
    let (mut first, _) = Process::start_ready(recorded).await.unwrap();
    first.kill().await.unwrap();
    let places = calls_about_the_key(&record);
    assert!(places.len() >= 4, "the key is made with {places:?}");

    let mut killed = 0;
    for (name, nth) in &places {
        let place = format!("{name} no. {nth}");
        let inject = format!("inject={name}:signal=SIGKILL:when={nth}");
        let tampered = traced(&running, &record, Some(inject));
        fs::remove_dir_all(&journal).unwrap();
        match Process::start_ready(tampered).await {
            Ok((mut spared, _)) => spared.kill().await.unwrap(),
            Err(_) => killed += 1,
        }
        let before = whole_or_none(&key, &place);
        running
            .system
            .oracle
            .process
            .start_until_ready()
            .await
            .unwrap();
        let after = whole_or_none(&key, "after the start").expect("a key");
        if let Some(before) = before {
            assert!(before == after, "the key was replaced after {place}");
        }
        running.system.oracle.process.kill().await.unwrap();
    }
    assert!(
        killed * 2 > places.len(),
        "only {killed} of {places:?} came to a kill"
    );

    running
        .system
        .oracle
        .process
        .start_until_ready()
        .await
        .unwrap();
    let mut published = Vec::new();
    publish_more(&running, &patient, &mut published, WaitFor::Receipts).await;
    hold(running, &[published]).await;
}

/// Whether processes may be traced here; says that the test is skipped if not.
fn may_trace(test: &'static str) -> bool {
    let tried = std::process::Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "true"])
        .output();
    let may = tried.is_ok_and(|output| output.status.success());
    if !may {
        binaries::report_skipped(test, &["strace, or the permission to trace,"]);
    }
    may
}

/// The oracle under `strace`, which is its grandchild and ends with it.
fn traced(running: &Running, record: &Path, inject: Option<String>) -> Spec {
    let calls = "trace=openat,write,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,newfstatat,statx";
    let mut spec = Spec::new(
        "traced",
        &binaries::outside("strace").unwrap(),
        running.dir.path(),
    );
    for word in ["-D", "-f", "-qq", "-y", "-s", "200", "-e", calls] {
        spec = spec.arg(word);
    }
    if let Some(inject) = inject {
        spec = spec.option("-e", inject);
    }
    spec.option("-o", record)
        .arg("--")
        .arg(binaries::ours("oracle").unwrap())
        .arg("serve")
        .option("--config", &running.system.oracle.config)
}

/// The calls of a record that touch the journal's key: name, and how many of the name their thread had made.
fn calls_about_the_key(record: &Path) -> BTreeSet<(String, u32)> {
    let text = fs::read_to_string(record).unwrap();
    let mut counts: HashMap<(String, String), u32> = HashMap::new();
    let mut found = BTreeSet::new();
    for line in text.lines() {
        let Some((thread, call)) = line.split_once(' ') else {
            continue;
        };
        let Some((name, arguments)) = call.trim_start().split_once('(') else {
            continue;
        };
        let nth = counts
            .entry((thread.to_owned(), name.to_owned()))
            .or_default();
        *nth += 1;
        let changes = !["newfstatat", "statx"].contains(&name);
        if changes && (arguments.contains("journal.key") || arguments.contains("journal.new")) {
            found.insert((name.to_owned(), *nth));
        }
    }
    found
}

/// The key's bytes, if it is there.
fn whole_or_none(key: &Path, when: &str) -> Option<Vec<u8>> {
    let bytes = fs::read(key).ok()?;
    assert_eq!(bytes.len(), 32, "{when}");
    let mode = fs::metadata(key).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "{when}");
    Some(bytes)
}

/// Copies a folder as a backup does: files, folders below it, permissions.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry: PathBuf = entry.unwrap().path();
        let target = to.join(entry.file_name().unwrap());
        if entry.is_dir() {
            copy(&entry, &target);
        } else {
            fs::copy(&entry, &target).unwrap();
        }
    }
}
