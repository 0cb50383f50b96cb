//! The journal over a disk that refuses, breaks, or is really full: nothing is acknowledged that is not there, and
//! what was acknowledged stays.

use std::io::{self, ErrorKind};
use std::process::Command as Program;

use super::*;
use crate::journal::disk::{Disk, SystemDisk};

/// What the journal does to a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Create,
    Write,
    Cut,
    Sync,
    SyncDir,
    Rename,
    Remove,
}

/// A disk whose operations fail as it is told; a refused write leaves half of its bytes, as a full disk does.
#[derive(Debug, Default)]
struct FaultyDisk {
    faults: Mutex<Vec<(Operation, ErrorKind)>>,
    /// Writes of more bytes find no room.
    room: Mutex<Option<usize>>,
}

impl FaultyDisk {
    fn fail(&self, operation: Operation, kind: ErrorKind) {
        self.faults.lock().unwrap().push((operation, kind));
    }

    fn heal(&self) {
        self.faults.lock().unwrap().clear();
        *self.room.lock().unwrap() = None;
    }

    fn allow(&self, operation: Operation) -> io::Result<()> {
        let faults = self.faults.lock().unwrap();
        match faults.iter().find(|(failing, _)| *failing == operation) {
            Some((_, kind)) => Err((*kind).into()),
            None => Ok(()),
        }
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.allow(Operation::Create)?;
        SystemDisk.create(path)
    }

    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let room = self.room.lock().unwrap().unwrap_or(usize::MAX);
        let refused = if bytes.len() > room {
            Err(ErrorKind::StorageFull.into())
        } else {
            self.allow(Operation::Write)
        };
        if refused.is_err() {
            SystemDisk.write(file, &bytes[..bytes.len() / 2], offset)?;
        }
        refused.and_then(|()| SystemDisk.write(file, bytes, offset))
    }

    fn cut(&self, file: &File, bytes: u64) -> io::Result<()> {
        self.allow(Operation::Cut)?;
        SystemDisk.cut(file, bytes)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.allow(Operation::Sync)?;
        SystemDisk.sync(file)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.allow(Operation::SyncDir)?;
        SystemDisk.sync_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.allow(Operation::Rename)?;
        SystemDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.allow(Operation::Remove)?;
        SystemDisk.remove(path)
    }
}

fn open_on(disk: &Arc<FaultyDisk>, dir: &Path) -> Result<Journal, JournalError> {
    Journal::open_on(Arc::clone(disk) as Arc<dyn Disk>, &config(dir))
}

fn sequences(journal: &Journal) -> Vec<u64> {
    let unsealed = journal.unsealed();
    unsealed.iter().filter_map(|p| p.sequence).collect()
}

#[tokio::test]
async fn a_disk_without_room_refuses_and_takes_again_when_there_is_room() {
    for kind in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded] {
        let dir = tempfile::tempdir().unwrap();
        let disk = Arc::new(FaultyDisk::default());
        let journal = open_on(&disk, dir.path()).unwrap();
        keep(&journal, 1, b"before").await;
        disk.fail(Operation::Write, kind);
        for _ in 0..3 {
            let refused = journal.receive(reading("d", Some(2), b"refused")).await;
            assert!(matches!(refused, Err(JournalError::DiskRefused { .. })));
            let refused = journal.append(Entry::Pinned(Vec::new())).await;
            assert!(matches!(refused, Err(JournalError::DiskRefused { .. })));
        }
        assert!(!journal.is_writable());
        assert_eq!(sequences(&journal), [1]);
        let again = journal.receive(reading("d", Some(1), b"before")).await;
        assert_eq!(again.unwrap(), Accepted::Duplicate, "it is durable");
        disk.heal();
        keep(&journal, 2, b"sent again").await;
        assert!(journal.is_writable());
        journal.close().await;

        let settings = config(dir.path());
        let report = inspect::inspect(&settings.dir, &settings.key_file).unwrap();
        assert!(report.files.iter().all(|file| file.torn_at.is_none()));
        let journal = Journal::open(&settings).unwrap();
        assert_eq!(sequences(&journal), [1, 2]);
        journal.close().await;
    }
}

#[tokio::test]
async fn no_room_for_a_new_file_ends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(FaultyDisk::default());
    let journal = open_on(&disk, dir.path()).unwrap();
    disk.fail(Operation::Create, ErrorKind::StorageFull);
    let payload = vec![1; 40 << 10];
    for sequence in 0..4 {
        keep(&journal, sequence, &payload).await;
    }
    let folder = dir.path().join("journal");
    assert_eq!(files::list_segments(&folder).unwrap(), [1], "the old file");
    disk.heal();
    keep(&journal, 4, &payload).await;
    keep(&journal, 5, &payload).await;
    assert!(files::list_segments(&folder).unwrap().len() > 1);
    journal.close().await;

    // Not even at the start.
    disk.fail(Operation::Create, ErrorKind::StorageFull);
    let journal = open_on(&disk, dir.path()).unwrap();
    assert_eq!(sequences(&journal), [0, 1, 2, 3, 4, 5]);
    let refused = journal.receive(reading("d", Some(6), b"x")).await;
    assert!(matches!(refused, Err(JournalError::DiskRefused { .. })));
    assert!(!journal.is_writable());
    assert!(matches!(
        journal.tidy().await,
        Ok(()) | Err(JournalError::DiskRefused { .. })
    ));
    disk.heal();
    keep(&journal, 6, b"x").await;
    assert!(journal.is_writable());
    journal.close().await;
    let journal = Journal::open(&config(dir.path())).unwrap();
    assert_eq!(sequences(&journal), [0, 1, 2, 3, 4, 5, 6]);
    journal.close().await;
}

#[tokio::test]
async fn a_finished_file_that_cannot_be_deleted_is_deleted_later() {
    for operation in [Operation::Rename, Operation::Remove] {
        let dir = tempfile::tempdir().unwrap();
        let disk = Arc::new(FaultyDisk::default());
        let journal = open_on(&disk, dir.path()).unwrap();
        disk.fail(operation, ErrorKind::StorageFull);
        let payload = vec![1; 40 << 10];
        for round in 0..6_u8 {
            let id = keep(&journal, u64::from(round), &payload).await;
            finish(&journal, round, &[id]).await;
        }
        assert!(journal.bytes() > 200 << 10, "{operation:?}");
        disk.heal();
        let id = keep(&journal, 6, &payload).await;
        finish(&journal, 6, &[id]).await;
        until_below(&journal, 100 << 10).await;
        journal.close().await;
        let journal = Journal::open(&config(dir.path())).unwrap();
        let again = journal.receive(reading("d", Some(6), &payload)).await;
        assert_eq!(again.unwrap(), Accepted::Duplicate);
        journal.close().await;
    }
}

#[tokio::test]
async fn what_is_not_a_want_of_room_ends_the_journal_and_loses_nothing() {
    let no_room = (Operation::Write, ErrorKind::StorageFull);
    let broken = ErrorKind::Other;
    for faults in [
        vec![(Operation::Sync, broken)],
        vec![(Operation::Sync, ErrorKind::StorageFull)],
        vec![(Operation::Write, broken)],
        vec![no_room, (Operation::Cut, broken)],
        vec![no_room, (Operation::Sync, broken)],
    ] {
        let dir = tempfile::tempdir().unwrap();
        let disk = Arc::new(FaultyDisk::default());
        let journal = open_on(&disk, dir.path()).unwrap();
        keep(&journal, 1, b"acknowledged").await;
        for (operation, kind) in &faults {
            disk.fail(*operation, *kind);
        }
        let failed = journal.receive(reading("d", Some(2), b"x")).await;
        assert!(matches!(failed, Err(JournalError::Failed)), "{faults:?}");
        journal.failure().await;
        assert!(!journal.is_writable());
        // A later sync that works proves nothing about the bytes of before.
        disk.heal();
        let failed = journal.receive(reading("d", Some(3), b"x")).await;
        assert!(matches!(failed, Err(JournalError::Failed)), "{faults:?}");
        journal.close().await;

        let journal = Journal::open(&config(dir.path())).unwrap();
        let kept = sequences(&journal);
        assert!(kept == [1] || kept == [1, 2], "{faults:?}: {kept:?}");
        assert_eq!(
            journal.read(&[EntryId(0)]).unwrap()[0].payload.as_slice(),
            b"acknowledged"
        );
        journal.close().await;
    }
}

#[tokio::test]
async fn a_new_file_that_cannot_be_made_durable_ends_the_journal() {
    for operation in [Operation::Create, Operation::SyncDir] {
        let dir = tempfile::tempdir().unwrap();
        let disk = Arc::new(FaultyDisk::default());
        let journal = open_on(&disk, dir.path()).unwrap();
        disk.fail(operation, ErrorKind::Other);
        // The reading that fills the file is durable; what comes after it has no file.
        keep(&journal, 0, &vec![1; 70 << 10]).await;
        journal.failure().await;
        let failed = journal.receive(reading("d", Some(1), b"x")).await;
        assert!(matches!(failed, Err(JournalError::Failed)));
        journal.close().await;
        let opened = open_on(&disk, dir.path());
        assert!(matches!(opened, Err(JournalError::File { .. })));
        disk.heal();
        let journal = open_on(&disk, dir.path()).unwrap();
        assert_eq!(sequences(&journal), [0]);
        journal.close().await;
    }
}

/// Finishing readings is what makes room, so a step is not refused because of the readings beside it.
#[tokio::test]
async fn steps_go_on_where_only_readings_find_no_room() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(FaultyDisk::default());
    let mut settings = config(dir.path());
    settings.fsync_window = Duration::from_millis(30);
    let journal = Journal::open_on(Arc::clone(&disk) as Arc<dyn Disk>, &settings).unwrap();
    let id = keep(&journal, 0, b"x").await;
    *disk.room.lock().unwrap() = Some(4 << 10);
    let record = RecordKey([1; 16]);
    let (refused, step) = tokio::join!(
        journal.receive(reading("d", Some(1), &[1; 20 << 10])),
        journal.append(Entry::Sealed(sealed(record, &[id]))),
    );
    assert!(matches!(refused, Err(JournalError::DiskRefused { .. })));
    step.unwrap();
    journal.close().await;
    let journal = Journal::open(&config(dir.path())).unwrap();
    assert_eq!(journal.record(record).unwrap().stage, Stage::Sealed);
    assert_eq!(journal.counts().received, 0);
    journal.close().await;
}

/// A file system of its own in a folder, as far as the process may make one.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn make(at: &'a Path, bytes: u64) -> Option<Self> {
        let mounting = Program::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(at)
            .output();
        mounting
            .is_ok_and(|done| done.status.success())
            .then_some(Self(at))
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Program::new("umount").arg("-l").arg(self.0).status();
    }
}

#[tokio::test]
async fn a_really_full_disk_is_back_pressure() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_mounted) = Mounted::make(dir.path(), 256 << 10) else {
        eprintln!("skipped: this process may not mount a tmpfs");
        return;
    };
    let journal = Journal::open(&config(dir.path())).unwrap();
    let ballast = dir.path().join("another-program");
    fs::write(&ballast, vec![1; 100 << 10]).unwrap();
    let payload = vec![1; 10 << 10];
    let mut kept = Vec::new();
    let mut sequence = 0;
    loop {
        match journal
            .receive(reading("d", Some(sequence), &payload))
            .await
        {
            Ok(Accepted::New(_)) => kept.push(sequence),
            Err(JournalError::DiskRefused { source }) => {
                assert_eq!(source.kind(), ErrorKind::StorageFull);
                break;
            }
            other => panic!("{other:?}"),
        }
        sequence += 1;
    }
    assert!(kept.len() > 3 && kept.len() < 16, "{}", kept.len());
    fs::remove_file(&ballast).unwrap();
    keep(&journal, sequence, &payload).await;
    kept.push(sequence);
    journal.close().await;
    let journal = Journal::open(&config(dir.path())).unwrap();
    assert_eq!(sequences(&journal), kept);
    journal.close().await;
}
