//! The journal through its public face: what is acknowledged is there after every kind of end.

use std::fs;
use std::path::Path;

use std::time::Duration;

use super::*;

mod faults;
mod looking;

fn config(dir: &Path) -> Config {
    Config {
        dir: dir.join("journal"),
        key_file: dir.join("journal.key"),
        max_bytes: 1 << 20,
        file_bytes: 64 << 10,
        fsync_window: Duration::ZERO,
        remember_per_device: 16,
    }
}

fn reading(device: &str, sequence: Option<u64>, payload: &[u8]) -> Reading {
    Reading {
        device: device.to_owned(),
        sequence,
        received_ms: 1_000,
        content_type: "application/json".to_owned(),
        code: "8867-4".to_owned(),
        period_start: 1,
        period_end: 2,
        patient: "00112233445566778899aabbccddeeff".to_owned(),
        alone: false,
        payload: payload.to_vec().into(),
        time_named: false,
        labels: Labels::default(),
        marks: crate::journal::Marks::default(),
        object: None,
    }
}

fn sealed(record: RecordKey, entries: &[EntryId]) -> SealedRecord {
    SealedRecord {
        record,
        entries: entries.to_vec(),
        cid: "bafk".to_owned(),
        object_bytes: 3,
        public: "{}".to_owned(),
        private: "{}".to_owned(),
        wraps: "{}".to_owned(),
        device: "d".to_owned(),
    }
}

async fn keep(journal: &Journal, sequence: u64, payload: &[u8]) -> EntryId {
    let reading = reading("d", Some(sequence), payload);
    match journal.receive(reading).await.unwrap() {
        Accepted::New(pending) => pending.id,
        other => panic!("{other:?}"),
    }
}

async fn finish(journal: &Journal, record: u8, entries: &[EntryId]) {
    let record = RecordKey([record; 16]);
    for step in [
        Entry::Sealed(sealed(record, entries)),
        Entry::Pinned(vec![record]),
        Entry::Committed {
            records: vec![record],
            commitment: Commitment {
                transaction_id: "t".to_owned(),
                block_number: 1,
            },
        },
        Entry::Done(vec![record]),
    ] {
        journal.append(step).await.unwrap();
    }
}

fn newest(dir: &Path) -> std::path::PathBuf {
    let numbers = files::list_segments(&dir.join("journal")).unwrap();
    files::segment_path(&dir.join("journal"), *numbers.last().unwrap())
}

#[tokio::test]
async fn readings_and_stages_survive_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(&config(dir.path())).unwrap();
    let first = keep(&journal, 1, b"one").await;
    let second = keep(&journal, 2, b"two").await;
    let third = keep(&journal, 3, b"three").await;
    let record = RecordKey([1; 16]);
    journal
        .append(Entry::Sealed(sealed(record, &[first, second])))
        .await
        .unwrap();
    journal.append(Entry::Pinned(vec![record])).await.unwrap();
    journal.close().await;

    let journal = Journal::open(&config(dir.path())).unwrap();
    let unsealed: Vec<_> = journal.unsealed().iter().map(|p| p.id).collect();
    assert_eq!(unsealed, [third]);
    assert_eq!(
        journal.read(&[third]).unwrap()[0].payload.as_slice(),
        b"three"
    );
    assert_eq!(journal.record(record).unwrap().stage, Stage::Pinned);
    assert_eq!(journal.readings_of(record).len(), 2);
    let again = journal
        .receive(reading("d", Some(2), b"two"))
        .await
        .unwrap();
    assert_eq!(again, Accepted::Duplicate);
    assert!(keep(&journal, 4, b"four").await > third, "numbers rise");
    assert_eq!(
        journal.counts(),
        Counts {
            received: 2,
            sealed: 0,
            pinned: 1,
            committed: 0,
            oldest_ms: Some(1_000),
        }
    );
}

#[tokio::test]
async fn duplicates_are_told_from_reused_numbers_even_within_one_sync() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = config(dir.path());
    settings.fsync_window = Duration::from_millis(20);
    let journal = Journal::open(&settings).unwrap();
    let (a, b, c, d, e) = tokio::join!(
        journal.receive(reading("d", Some(1), b"x")),
        journal.receive(reading("d", Some(1), b"x")),
        journal.receive(reading("d", Some(1), b"y")),
        journal.receive(reading("d", None, b"x")),
        journal.receive(reading("d", None, b"x")),
    );
    assert!(matches!(a.unwrap(), Accepted::New(_)));
    assert_eq!(b.unwrap(), Accepted::Duplicate);
    assert_eq!(c.unwrap(), Accepted::SequenceReused);
    assert!(matches!(d.unwrap(), Accepted::New(_)));
    assert_eq!(e.unwrap(), Accepted::Duplicate);
    assert_eq!(journal.counts().received, 2);
    // Another device's numbers are its own.
    let other = journal.receive(reading("e", Some(1), b"x")).await.unwrap();
    assert!(matches!(other, Accepted::New(_)));
}

/// The text "72" as a heart rate at one time, at another, and as a weight: three messages, none of them a repetition.
#[tokio::test]
async fn equal_bytes_that_the_transport_describes_differently_are_all_kept() {
    let dir = tempfile::tempdir().unwrap();
    let described = |code: &str, time: i64, time_named: bool| Reading {
        content_type: "text/plain".to_owned(),
        code: code.to_owned(),
        period_start: time,
        period_end: time,
        alone: true,
        time_named,
        ..reading("d", None, b"72")
    };
    let messages = [
        described("8867-4", 100, true),
        described("8867-4", 160, true),
        described("29463-7", 100, true),
        described("29463-7", 7, false),
    ];
    let journal = Journal::open(&config(dir.path())).unwrap();
    for message in &messages {
        let accepted = journal.receive(message.clone()).await.unwrap();
        assert!(matches!(accepted, Accepted::New(_)), "{message:?}");
    }
    journal.close().await;
    let journal = Journal::open(&config(dir.path())).unwrap();
    for message in messages {
        let again = journal.receive(message).await.unwrap();
        assert_eq!(again, Accepted::Duplicate);
    }
    // Sent again later, without a time: when it was received does not make it another message.
    let later = journal.receive(described("29463-7", 8, false)).await;
    assert_eq!(later.unwrap(), Accepted::Duplicate);
}

#[tokio::test]
async fn a_torn_tail_is_cut_at_every_byte_and_nothing_before_it_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(&config(dir.path())).unwrap();
    keep(&journal, 1, b"kept").await;
    let whole = fs::metadata(newest(dir.path())).unwrap().len();
    keep(&journal, 2, b"torn").await;
    let path = newest(dir.path());
    journal.close().await;
    let bytes = fs::read(&path).unwrap();
    for end in usize::try_from(whole).unwrap()..bytes.len() {
        let copy = tempfile::tempdir().unwrap();
        fs::create_dir(copy.path().join("journal")).unwrap();
        fs::copy(
            dir.path().join("journal.key"),
            copy.path().join("journal.key"),
        )
        .unwrap();
        let target = copy.path().join("journal").join(path.file_name().unwrap());
        fs::write(&target, &bytes[..end]).unwrap();
        let journal = Journal::open(&config(copy.path())).unwrap();
        let kept: Vec<_> = journal.unsealed().iter().map(|p| p.sequence).collect();
        assert_eq!(kept, [Some(1)], "cut at {end}");
        assert_eq!(fs::metadata(&target).unwrap().len(), whole);
        keep(&journal, 2, b"torn").await;
        journal.close().await;
    }
}

#[tokio::test]
async fn damage_in_the_middle_is_refused_with_file_and_offset() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(&config(dir.path())).unwrap();
    keep(&journal, 1, b"first").await;
    let start = fs::metadata(newest(dir.path())).unwrap().len();
    keep(&journal, 2, b"second").await;
    let end = fs::metadata(newest(dir.path())).unwrap().len();
    keep(&journal, 3, b"third").await;
    let path = newest(dir.path());
    journal.close().await;
    let bytes = fs::read(&path).unwrap();
    for at in start..end {
        let mut damaged = bytes.clone();
        damaged[usize::try_from(at).unwrap()] ^= 0x10;
        fs::write(&path, &damaged).unwrap();
        match Journal::open(&config(dir.path())) {
            Err(JournalError::Damaged {
                path: named,
                offset,
                ..
            }) => {
                assert_eq!(named, path);
                assert_eq!(offset, start, "flipped byte {at}");
            }
            other => panic!("flipped byte {at}: {other:?}"),
        }
    }
    fs::write(&path, &bytes).unwrap();
    assert_eq!(
        Journal::open(&config(dir.path()))
            .unwrap()
            .counts()
            .received,
        3
    );
}

#[tokio::test]
async fn a_missing_file_or_key_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    for sequence in 0..3 {
        let journal = Journal::open(&config(dir.path())).unwrap();
        keep(&journal, sequence, b"x").await;
        journal.close().await;
    }
    let folder = dir.path().join("journal");
    let numbers = files::list_segments(&folder).unwrap();
    assert_eq!(numbers.len(), 3, "every start begins a file");
    let middle = files::segment_path(&folder, numbers[1]);
    let away = dir.path().join("away");
    fs::rename(&middle, &away).unwrap();
    assert!(matches!(
        Journal::open(&config(dir.path())),
        Err(JournalError::Gap { path }) if path == middle
    ));
    fs::rename(&away, &middle).unwrap();
    fs::remove_file(dir.path().join("journal.key")).unwrap();
    assert!(matches!(
        Journal::open(&config(dir.path())),
        Err(JournalError::Key {
            source: KeyError::Missing,
            ..
        })
    ));
}

#[tokio::test]
async fn only_one_process_has_it_open() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(&config(dir.path())).unwrap();
    assert!(matches!(
        Journal::open(&config(dir.path())),
        Err(JournalError::InUse { .. })
    ));
    journal.close().await;
    Journal::open(&config(dir.path())).unwrap();
}

/// Waits for files to be deleted, which happens beside the writer.
async fn until_below(journal: &Journal, bytes: u64) {
    loop {
        let room = journal.room();
        if journal.bytes() < bytes {
            return;
        }
        room.await;
    }
}

#[tokio::test]
async fn finished_files_are_deleted_and_their_readings_still_recognised() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(&config(dir.path())).unwrap();
    let payload = vec![7; 8 << 10];
    for round in 0..40_u8 {
        let id = keep(&journal, u64::from(round), &payload).await;
        finish(&journal, round, &[id]).await;
    }
    until_below(&journal, 200 << 10).await;
    journal.close().await;
    let journal = Journal::open(&config(dir.path())).unwrap();
    let again = journal
        .receive(reading("d", Some(39), &payload))
        .await
        .unwrap();
    assert_eq!(again, Accepted::Duplicate);
    let forgotten = journal
        .receive(reading("d", Some(3), &payload))
        .await
        .unwrap();
    assert_eq!(forgotten, Accepted::SequenceTooOld);
    assert!(keep(&journal, 40, b"x").await >= EntryId(40));
}

#[tokio::test]
async fn a_full_journal_refuses_readings_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(&config(dir.path())).unwrap();
    let payload = vec![1; 60 << 10];
    let mut kept = Vec::new();
    let mut sequence = 0;
    loop {
        match journal
            .receive(reading("d", Some(sequence), &payload))
            .await
        {
            Ok(Accepted::New(pending)) => kept.push(pending.id),
            Err(JournalError::Full) => break,
            other => panic!("{other:?}"),
        }
        sequence += 1;
    }
    assert!(kept.len() > 10);
    let waiting = journal.clone();
    let late = tokio::spawn(async move {
        loop {
            let room = waiting.room();
            let reading = reading("d", Some(99), &[1; 60 << 10]);
            match waiting.receive(reading).await {
                Err(JournalError::Full) => room.await,
                other => return other,
            }
        }
    });
    finish(&journal, 1, &kept).await;
    assert!(matches!(late.await.unwrap(), Ok(Accepted::New(_))));
}

#[tokio::test]
async fn one_unfinished_reading_does_not_keep_the_journal_full() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(&config(dir.path())).unwrap();
    let stuck = keep(&journal, 0, b"stuck").await;
    let stuck_record = keep(&journal, 1, b"stuck in a record").await;
    let record = RecordKey([0xee; 16]);
    journal
        .append(Entry::Sealed(sealed(record, &[stuck_record])))
        .await
        .unwrap();
    journal.append(Entry::Pinned(vec![record])).await.unwrap();
    let payload = vec![7; 16 << 10];
    for round in 0..200_u8 {
        let id = keep(&journal, u64::from(round) + 2, &payload).await;
        finish(&journal, round, &[id]).await;
    }
    assert_eq!(
        journal.read(&[stuck]).unwrap()[0].payload.as_slice(),
        b"stuck"
    );
    journal.close().await;
    let journal = Journal::open(&config(dir.path())).unwrap();
    let unsealed: Vec<_> = journal.unsealed().iter().map(|p| p.id).collect();
    assert_eq!(unsealed, [stuck]);
    assert_eq!(journal.record(record).unwrap().stage, Stage::Pinned);
    assert_eq!(
        journal.read(&[stuck_record]).unwrap()[0].payload.as_slice(),
        b"stuck in a record"
    );
}

#[tokio::test]
async fn payloads_are_nowhere_in_clear() {
    let dir = tempfile::tempdir().unwrap();
    let canary = b"CANARY-7d1f3a";
    let journal = Journal::open(&config(dir.path())).unwrap();
    keep(&journal, 1, canary).await;
    journal.close().await;
    for item in fs::read_dir(dir.path().join("journal")).unwrap() {
        let bytes = fs::read(item.unwrap().path()).unwrap();
        assert!(!bytes.windows(canary.len()).any(|w| w == canary));
    }
}

#[tokio::test]
async fn inspecting_counts_without_changing() {
    let dir = tempfile::tempdir().unwrap();
    let settings = config(dir.path());
    let journal = Journal::open(&settings).unwrap();
    keep(&journal, 1, b"x").await;
    let refused = Refused {
        device: "d".to_owned(),
        refused_ms: 5,
        reason: "payload-not-json".to_owned(),
        bytes: 3,
        sha256: [2; 32].into(),
    };
    journal
        .append(Entry::Refused(refused.clone()))
        .await
        .unwrap();
    journal.close().await;
    let path = newest(dir.path());
    let mut bytes = fs::read(&path).unwrap();
    let whole = bytes.len() as u64;
    bytes.extend_from_slice(b"SJF1");
    fs::write(&path, &bytes).unwrap();
    let report = inspect::inspect(&settings.dir, &settings.key_file).unwrap();
    assert_eq!(report.counts.received, 1);
    assert_eq!(report.refused, [refused]);
    assert_eq!(report.files.len(), 1);
    assert_eq!(report.files[0].frames, 2);
    assert_eq!(report.files[0].torn_at, Some(whole));
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

/// Random traffic with random ends: what was acknowledged is always there, once, in the stage last acknowledged.
#[tokio::test]
async fn random_traffic_survives_random_cuts() {
    for seed in 1..=12_u64 {
        let mut random = Xorshift(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let dir = tempfile::tempdir().unwrap();
        let mut acknowledged: std::collections::BTreeMap<u64, Vec<u8>> = Default::default();
        let mut done: std::collections::BTreeSet<u64> = Default::default();
        let mut next = 0;
        for _ in 0..6 {
            let journal = Journal::open(&config(dir.path())).unwrap();
            let unsealed = journal.unsealed();
            let expected: Vec<u64> = acknowledged
                .keys()
                .copied()
                .filter(|s| !done.contains(s))
                .collect();
            let found: Vec<u64> = unsealed.iter().filter_map(|p| p.sequence).collect();
            assert_eq!(found, expected, "seed {seed}");
            for pending in &unsealed {
                let payload = journal.read(&[pending.id]).unwrap().remove(0).payload;
                assert_eq!(
                    Some(&*payload),
                    acknowledged.get(&pending.sequence.unwrap())
                );
            }
            for _ in 0..random.below(30) {
                let payload = vec![u8::try_from(next % 251).unwrap(); random.below(9000)];
                keep(&journal, next, &payload).await;
                acknowledged.insert(next, payload);
                next += 1;
            }
            if random.below(2) == 0 {
                let open = journal.unsealed();
                let entries: Vec<_> = open.iter().map(|p| p.id).collect();
                done.extend(open.iter().filter_map(|p| p.sequence));
                finish(&journal, u8::try_from(next % 250).unwrap(), &entries).await;
            }
            journal.close().await;
            // A write that was never acknowledged, cut anywhere.
            let path = newest(dir.path());
            let mut bytes = fs::read(&path).unwrap();
            let mut torn = Vec::new();
            let key = JournalKey::load(&dir.path().join("journal.key"), false).unwrap();
            frame::encode(&key.file_key(&[0; 32]), 0, 0, &[1; 300], &mut torn).unwrap();
            bytes.extend_from_slice(&torn[..random.below(torn.len())]);
            fs::write(&path, bytes).unwrap();
        }
    }
}

struct Xorshift(u64);

impl Xorshift {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).unwrap()
    }
}

/// What is done leaves the disk at once when it must: no wrapped key of it is left in any file, and what is not done,
/// and dead letters, are still there.
#[tokio::test]
async fn tidying_leaves_nothing_of_what_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let journal = Journal::open(&config).unwrap();
    let mut ids = Vec::new();
    for sequence in 0..4 {
        let sent = reading(
            "d",
            Some(sequence),
            format!("payload {sequence}").as_bytes(),
        );
        let Accepted::New(pending) = journal.receive(sent).await.unwrap() else {
            panic!("not new");
        };
        ids.push(pending.id);
    }
    let (erased, waiting) = (RecordKey([1; 16]), RecordKey([2; 16]));
    for (record, entries) in [(erased, &ids[..2]), (waiting, &ids[2..3])] {
        let entry = Entry::Sealed(sealed(record, entries));
        journal.append(entry).await.unwrap();
        journal.append(Entry::Pinned(vec![record])).await.unwrap();
    }
    let letter = Refused {
        device: "d".to_owned(),
        refused_ms: 1,
        reason: "payload-not-json".to_owned(),
        bytes: 5,
        sha256: [1; 32].into(),
    };
    journal
        .append(Entry::Refused(letter.clone()))
        .await
        .unwrap();
    journal.append(Entry::Done(vec![erased])).await.unwrap();
    let entries = |config: &Config| {
        let key = JournalKey::load(&config.key_file, false).unwrap();
        let numbers = files::list_segments(&config.dir).unwrap();
        let mut entries = Vec::new();
        for number in &numbers {
            let newest = Some(number) == numbers.last();
            files::scan(&config.dir, *number, newest, &key, |entry, _| {
                entries.push(entry)
            })
            .unwrap();
        }
        entries
    };
    let mentions = |entries: &[Entry]| {
        let of = |entry: &Entry| match entry {
            Entry::Sealed(sealed) => sealed.record == erased,
            Entry::Received { id, .. } => ids[..2].contains(id),
            _ => false,
        };
        entries.iter().filter(|entry| of(entry)).count()
    };
    assert_eq!(mentions(&entries(&config)), 3, "still in the newest file");
    journal.tidy().await.unwrap();
    let left = entries(&config);
    assert_eq!(mentions(&left), 0);
    assert!(left.contains(&Entry::Refused(letter)));
    journal.tidy().await.unwrap();
    assert_eq!(entries(&config), left, "nothing more to do");
    let counts = journal.counts();
    assert_eq!((counts.received, counts.pinned), (1, 1));
    assert_eq!(journal.read(&ids[2..]).unwrap().len(), 2);
    journal.close().await;

    let journal = Journal::open(&config).unwrap();
    assert_eq!(journal.counts(), counts, "and after a restart");
    let again = reading("d", Some(0), b"payload 0");
    assert_eq!(journal.receive(again).await.unwrap(), Accepted::Duplicate);
    journal.close().await;
}
