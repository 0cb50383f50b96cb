//! Files that change while nobody looks. A changed byte is noticed and named, or what it belonged
//! to is made anew; it is never passed over and never handed out.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use super::{say, site::Site, told};
use crate::support::{is_here, run, until};
use contract_interface::Purpose;
use salus::ClientError;
use salus_tests::{
    binaries, story,
    system::{Part, Platform},
};

/// Status with which an oracle ends whose journal is damaged.
const DAMAGED: i32 = 65;
/// Changes of each file with which the oracle is started.
const STARTS: usize = 2;
/// Changes of a journal's files that are only looked for.
const LOOKS: usize = 40;
/// What is in the paths of an oracle's files, of each kind.
const FILES: [&str; 6] = [
    ".journal",
    "/snapshot",
    "/journal.key",
    "/spool/",
    "/objects/finished",
    "/refusals.jsonl",
];
/// Blocks of the store that are changed one after the other.
const BLOCKS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_byte_of_any_file_of_the_oracle_is_noticed() {
    let mut site = Site::start(Platform::EMBEDDED).await;
    be_refused(&site).await;
    site.send(3).await;
    site.settle("the start").await;
    let starts = told("SALUS_FAULTS_ROUNDS", STARTS);
    let mut kept = with_readings_on_their_way(&mut site).await;
    look_for_changes(&mut site, &kept).await;
    kept.nothing_else_changed(None);
    let mut outcomes = Vec::new();
    for kind in FILES {
        for _ in 0..starts {
            let file = kept.one_of(kind);
            let bytes = kept.changed(&mut site, &file);
            fs::write(&file, bytes).unwrap();
            let outcome = start_on_damage(&mut site, &file).await;
            let what = format!("a byte of {} was changed", file.display());
            outcomes.push(format!("{kind} {outcome:?}"));
            match outcome {
                // Repaired, or of no meaning: then nothing is missing either.
                Outcome::Served => {
                    site.settle(&what).await;
                    kept = with_readings_on_their_way(&mut site).await;
                }
                Outcome::Refused => {
                    kept.nothing_else_changed(Some(&file));
                    kept.restore();
                }
            }
        }
    }
    say(&format!("{outcomes:?}"));
    site.restart(Part::Oracle, "the changes").await;
    site.settle("the changes").await;
    site.end().await;
}

/// Leaves a line in the log of refusals.
async fn be_refused(site: &Site) {
    let provider = story::client(&site.running.cast.provider).unwrap();
    // Jobs are for administrators.
    assert!(provider.jobs().await.is_err());
}

/// The files of a stopped oracle with readings in every stage that its journal can be stopped in.
struct Kept {
    files: Vec<PathBuf>,
    contents: Vec<Vec<u8>>,
}

impl Kept {
    fn restore(&self) {
        for (file, content) in self.files.iter().zip(&self.contents) {
            fs::write(file, content).unwrap();
        }
    }

    /// Who refuses to start leaves everything as it is.
    fn nothing_else_changed(&self, but: Option<&Path>) {
        for (file, content) in self.files.iter().zip(&self.contents) {
            let is_meant = but.is_none_or(|but| but != file) && !content.is_empty();
            if is_meant && !file.ends_with("refusals.jsonl") {
                assert!(fs::read(file).unwrap() == *content, "{}", file.display());
            }
        }
    }

    /// A file with one byte changed, where the seed says.
    fn changed(&self, site: &mut Site, file: &Path) -> Vec<u8> {
        let mut bytes = self.content(file).to_vec();
        let at = site.random.index(bytes.len());
        bytes[at] ^= 1 << site.random.below(8);
        bytes
    }

    fn content(&self, file: &Path) -> &[u8] {
        let place = self.files.iter().position(|kept| kept == file).unwrap();
        &self.contents[place]
    }

    /// A file that is not empty, with this in its path.
    fn one_of(&self, kind: &str) -> PathBuf {
        let mut kept = self.files.iter().zip(&self.contents);
        let found = kept.find(|(file, content)| {
            file.display().to_string().contains(kind) && !content.is_empty()
        });
        found.unwrap_or_else(|| panic!("no {kind}")).0.clone()
    }
}

/// Sends readings that can only be sealed, since the store is stopped, and kills the oracle.
async fn with_readings_on_their_way(site: &mut Site) -> Kept {
    site.restart(Part::Oracle, "a change").await;
    site.process(Part::Ipfs).kill().await.unwrap();
    site.send(2).await;
    let spool = site.journal().join("spool");
    until("an object is sealed", || async {
        fs::read_dir(&spool).unwrap().next().map(drop)
    })
    .await;
    site.process(Part::Oracle).kill().await.unwrap();
    site.restart(Part::Ipfs, "the oracle stopped").await;
    let journal = site.journal().to_owned();
    let mut files = Vec::new();
    let mut contents = Vec::new();
    crate::support::each_file(&journal, &mut |path, bytes| {
        files.push(path.to_owned());
        contents.push(bytes.to_vec());
    });
    let refusals = site.running.system.oracle.home.join("refusals.jsonl");
    if let Ok(bytes) = fs::read(&refusals) {
        files.push(refusals);
        contents.push(bytes);
    }
    Kept { files, contents }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It started.
    Served,
    /// It did not, and said which file is damaged.
    Refused,
}

async fn start_on_damage(site: &mut Site, file: &Path) -> Outcome {
    let Err(error) = site.running.system.kill_and_restart(Part::Oracle).await else {
        return Outcome::Served;
    };
    let said = format!("{error:#}");
    // With another key it is the journal that cannot be read.
    let is_key = file.extension().is_some_and(|end| end == "key");
    let named = said.contains(&file.display().to_string()) || is_key && said.contains("damaged");
    assert!(named, "{} was changed: {said}", file.display());
    Outcome::Refused
}

/// `oracle journal verify` notices every changed byte of what is not the key.
async fn look_for_changes(site: &mut Site, kept: &Kept) {
    let oracle = binaries::ours("oracle").unwrap().display().to_string();
    let dir = site.journal().display().to_string();
    let args = ["journal", "verify", "--dir", &dir].map(str::to_owned);
    let is_journal = |path: &&PathBuf| path.extension().is_some_and(|end| end == "journal");
    let files: Vec<&PathBuf> = kept.files.iter().filter(is_journal).collect();
    for _ in 0..told("SALUS_FAULTS_ROUNDS", LOOKS) {
        let file = files[site.random.index(files.len())];
        fs::write(file, kept.changed(site, file)).unwrap();
        let ended = run(&oracle, &args).await;
        fs::write(file, kept.content(file)).unwrap();
        // A number of a version is taken at its word.
        let noticed = ended.code == Some(DAMAGED) || ended.stderr.contains("format version");
        assert!(noticed, "{} was changed: {ended:?}", file.display());
    }
    let ended = run(&oracle, &args).await;
    assert!(ended.success, "nothing is changed: {ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_block_of_the_store_is_an_error_and_never_another_reading() {
    damage_store(Platform::EMBEDDED).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_block_of_the_store_is_an_error_and_never_another_reading_on_kubo() {
    let test = "a_damaged_block_of_the_store_is_an_error_and_never_another_reading_on_kubo";
    if is_here(test, crate::support::REAL_IPFS) {
        damage_store(crate::support::REAL_IPFS).await;
    }
}

async fn damage_store(platform: Platform) {
    let mut site = Site::start(platform).await;
    site.send(2).await;
    site.settle("the start").await;
    let blocks = blocks(&site);
    let count = told("SALUS_FAULTS_ROUNDS", BLOCKS).min(blocks.len());
    let mut errors = 0;
    for _ in 0..count {
        let (file, content) = &blocks[site.random.index(blocks.len())];
        let mut changed = content.clone();
        changed[site.random.index(content.len())] ^= 1 << site.random.below(8);
        fs::write(file, &changed).unwrap();
        errors += read_all(&site).await;
        fs::remove_file(file).unwrap();
        errors += read_all(&site).await;
        fs::write(file, content).unwrap();
        if platform.ipfs == salus_tests::ipfs::Kind::Kubo {
            // It remembers what it has not found.
            site.restart(Part::Ipfs, "a block was put back").await;
        }
        // What was put back is served again, to a reader who asks after the fault.
        assert_eq!(read_all(&site).await, 0, "{} was put back", file.display());
    }
    // Not every block is an object's: the store has some of its own.
    assert!(errors > 0, "no block was asked for");
    say(&format!("{errors} reads of damaged objects were refused"));
    site.end().await;
}

/// The files of the store's blocks with their content.
fn blocks(site: &Site) -> Vec<(PathBuf, Vec<u8>)> {
    /// What Kubo keeps beside the blocks in their folder is smaller.
    const BLOCK_BYTES_MIN: usize = 500;
    let mut blocks = Vec::new();
    let folder = site.running.system.ipfs.blocks();
    crate::support::each_file(&folder, &mut |path, bytes| {
        if bytes.len() >= BLOCK_BYTES_MIN {
            blocks.push((path.to_owned(), bytes.to_vec()));
        }
    });
    assert!(!blocks.is_empty(), "no block in {}", folder.display());
    blocks
}

/// Reads every record. Returns how many could not be read; each says why, and each other is right.
async fn read_all(site: &Site) -> usize {
    let client = story::client(&site.patient.person).unwrap();
    let records = story::records_of(&client, site.patient.pseudonym)
        .await
        .unwrap();
    let mut refused = 0;
    for record in &records {
        let id = record.metadata.record_id;
        match client.read(&id, Purpose::Patrqt).await {
            Ok(opened) => assert!(site.acknowledged_all(&opened), "{id}"),
            Err(ClientError::Refused(problem)) => {
                let codes = ["OBJECT_DAMAGED", "STORE_UNAVAILABLE"];
                assert!(codes.contains(&problem.code.as_str()), "{problem}");
                refused += 1;
            }
            Err(error) => panic!("{:#}", anyhow::Error::from(error)),
        }
    }
    refused
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_block_is_forgotten_and_a_changed_block_is_refused() {
    let mut site = Site::start(Platform::EMBEDDED).await;
    let log = site.running.system.dir.join("network/ledger/blocks.log");
    for _ in 0..told("SALUS_FAULTS_ROUNDS", STARTS) {
        site.send(1).await;
        site.settle("the block before").await;
        tear(&mut site, Part::Network(0), &log, last_of_devnet).await;
    }
    site.process(Part::Network(0)).kill().await.unwrap();
    let whole = fs::read(&log).unwrap();
    for _ in 0..told("SALUS_FAULTS_ROUNDS", STARTS) {
        let mut changed = whole.clone();
        // In the last one it could not be told from one that was never acknowledged.
        let at = site.random.index(last_of_devnet(&whole).start);
        changed[at] ^= 1 << site.random.below(8);
        fs::write(&log, &changed).unwrap();
        let started = site
            .running
            .system
            .kill_and_restart(Part::Network(0))
            .await
            .map_err(|error| format!("{error:#}"));
        let said = started.expect_err("it starts on a changed block");
        assert!(said.contains("blocks.log"), "byte {at}: {said}");
        assert!(fs::read(&log).unwrap() == changed, "it was changed again");
    }
    fs::write(&log, &whole).unwrap();
    site.restart(Part::Network(0), "the blocks are back").await;
    site.settle("the blocks are back").await;
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_block_is_forgotten_on_real_fabric() {
    let test = "half_a_block_is_forgotten_on_real_fabric";
    if !is_here(test, Platform::REAL) {
        return;
    }
    let mut site = Site::start(Platform::REAL).await;
    let network = site.running.system.dir.join("network");
    for part in site.running.system.parts() {
        let Part::Network(number) = part else {
            continue;
        };
        let folder = match number {
            0 => network.join("orderer"),
            peer => network.join(format!("peer{peer}")),
        };
        site.send(1).await;
        site.settle("the block before").await;
        let file = block_file(&folder);
        tear(&mut site, part, &file, first_of_fabric).await;
    }
    site.end().await;
}

/// The file into which a real peer or orderer writes the channel's blocks.
fn block_file(folder: &Path) -> PathBuf {
    let mut found = None;
    crate::support::each_file(folder, &mut |path, _| {
        if path.ends_with("mychannel/blockfile_000000") {
            found = Some(path.to_owned());
        }
    });
    found.unwrap()
}

/// Where the last record of the embedded network's log is.
fn last_of_devnet(log: &[u8]) -> Range<usize> {
    memchr::memmem::rfind(log, b"BLKR").unwrap()..log.len()
}

/// Where the first block of a real block file is: behind its length, as protobuf writes numbers.
fn first_of_fabric(file: &[u8]) -> Range<usize> {
    let (mut length, mut bytes) = (0, 0);
    loop {
        length |= usize::from(file[bytes] & 0x7f) << (7 * bytes);
        bytes += 1;
        if file[bytes - 1] & 0x80 == 0 {
            return 0..bytes + length;
        }
    }
}

/// Kills whoever writes blocks to a file, leaves a part of one more block there, as a crash in the
/// midst of writing does, and starts it again. `one` says where in such a file a block is.
async fn tear(site: &mut Site, part: Part, file: &Path, one: fn(&[u8]) -> Range<usize>) {
    site.process(part).kill().await.unwrap();
    let mut bytes = fs::read(file).unwrap();
    let record = bytes[one(&bytes)].to_vec();
    // A first byte at least, and never all.
    let length = 1 + site.random.index(record.len() - 1);
    bytes.extend_from_slice(&record[..length]);
    fs::write(file, &bytes).unwrap();
    let what = format!("{length} bytes of one more block at the end of {part:?}'s");
    say(&what);
    site.restart(part, &what).await;
    site.send(1).await;
    site.settle(&what).await;
}
