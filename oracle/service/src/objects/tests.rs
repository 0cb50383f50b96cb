//! Objects against a journal on a disk that refuses, breaks and tears, and what the device hears of it.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::ingest::mqtt::{Listener, RouterWatch};
use crate::journal::{self, Accepted, Labels, Marks, Pending, Reading};
use crate::pipeline::Arrival;

const DEVICE: &str = "ct-1";
const CHUNK: u32 = 1024;

/// What the disk says to the next writes.
#[derive(Debug, Default)]
struct Moody(AtomicU8);

const WELL: u8 = 0;
const FULL: u8 = 1;
const NO_SYNC: u8 = 2;

impl Moody {
    fn set(&self, mood: u8) {
        self.0.store(mood, Ordering::SeqCst);
    }

    fn write_answer(&self) -> io::Result<()> {
        match self.0.load(Ordering::SeqCst) {
            FULL => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }
}

impl Disk for Moody {
    fn create(&self, path: &Path) -> io::Result<File> {
        SystemDisk.create(path)
    }

    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Err(error) = self.write_answer() {
            // Half of it is there before the disk is full.
            SystemDisk.write(file, &bytes[..bytes.len() / 2], offset)?;
            return Err(error);
        }
        SystemDisk.write(file, bytes, offset)
    }

    fn cut(&self, file: &File, bytes: u64) -> io::Result<()> {
        SystemDisk.cut(file, bytes)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        match self.0.load(Ordering::SeqCst) {
            NO_SYNC => Err(io::Error::other("the disk is gone")),
            _ => SystemDisk.sync(file),
        }
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        SystemDisk.sync_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        SystemDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        SystemDisk.remove(path)
    }
}

pub(super) fn reading(payload: &[u8]) -> Reading {
    Reading {
        device: DEVICE.to_owned(),
        sequence: None,
        received_ms: 1_000,
        content_type: "text/plain".to_owned(),
        code: "text".to_owned(),
        period_start: 1,
        period_end: 2,
        patient: "00112233445566778899aabbccddeeff".to_owned(),
        alone: true,
        payload: payload.to_vec().into(),
        time_named: true,
        labels: Labels::default(),
        marks: Marks::default(),
        object: None,
    }
}

fn begun(id: &str, content: &[u8]) -> Begun {
    Begun {
        reading: reading(&[]),
        id: id.to_owned(),
        bytes: content.len() as u64,
        sha256: crate::journal::fingerprint(content).into(),
        chunk_bytes: CHUNK,
        manifest: crate::journal::fingerprint(id.as_bytes()).into(),
    }
}

fn name(id: &str) -> ObjectName {
    ObjectName {
        device: DEVICE.to_owned(),
        id: id.to_owned(),
    }
}

/// Bytes that repeat nowhere.
fn content(bytes: usize) -> Vec<u8> {
    (0_u32..).flat_map(u32::to_le_bytes).take(bytes).collect()
}

/// One life of the process.
struct Life {
    journal: Journal,
    objects: Objects,
    arrivals: mpsc::Receiver<Arrival>,
    heard: Listener,
    stop: CancellationToken,
    looking: tokio::task::JoinHandle<()>,
    _router: RouterWatch,
}

impl Life {
    async fn begin(dir: &Path) -> Self {
        Self::on(Arc::new(SystemDisk), dir, ObjectLimits::default()).await
    }

    async fn on(disk: Arc<dyn Disk>, dir: &Path, limits: ObjectLimits) -> Self {
        let config = journal::Config {
            dir: dir.join("journal"),
            key_file: dir.join("journal.key"),
            max_bytes: 64 << 20,
            file_bytes: 1 << 20,
            fsync_window: Duration::ZERO,
            remember_per_device: 64,
        };
        let journal = Journal::open(&config).unwrap();
        let (delivery, router) = Delivery::start().unwrap();
        let filter = format!("v1/devices/{DEVICE}/#");
        let heard = Listener::on(&delivery, DEVICE, filter).await;
        let objects = Objects::open_on(disk, &journal, limits, delivery).unwrap();
        let (readings_tx, arrivals) = mpsc::channel(64);
        let parts = Parts {
            journal: journal.clone(),
            readings_tx,
        };
        let stop = CancellationToken::new();
        let looking = tokio::spawn(objects.clone().run(parts, stop.clone()));
        Self {
            journal,
            objects,
            arrivals,
            heard,
            stop,
            looking,
            _router: router,
        }
    }

    async fn start(&self, begun: Begun) -> Result<Taken, ObjectError> {
        self.objects.begin(begun).await.outcome().await
    }

    async fn chunk(&self, id: &str, number: u32, all: &[u8]) -> Result<Taken, ObjectError> {
        let piece = all
            .chunks(CHUNK as usize)
            .nth(number as usize)
            .unwrap()
            .to_vec();
        self.put(id, number, piece).await
    }

    async fn put(&self, id: &str, number: u32, piece: Vec<u8>) -> Result<Taken, ObjectError> {
        let submitted = self.objects.chunk(name(id), number, piece.into()).await;
        submitted.outcome().await
    }

    async fn send_all(&self, id: &str, all: &[u8]) {
        let chunks = u32::try_from(all.len().div_ceil(CHUNK as usize)).unwrap();
        for number in 0..chunks {
            self.chunk(id, number, all).await.unwrap();
        }
    }

    /// The next message to the device.
    async fn heard(&mut self) -> Value {
        let next = tokio::time::timeout(Duration::from_secs(30), self.heard.next());
        serde_json::from_slice(&next.await.unwrap()).unwrap()
    }

    /// The next message with this state.
    async fn heard_state(&mut self, state: &str) -> Value {
        loop {
            let message = self.heard().await;
            if message["state"] == state {
                return message;
            }
        }
    }

    async fn arrived(&mut self) -> Arc<Pending> {
        let next = tokio::time::timeout(Duration::from_secs(30), self.arrivals.recv());
        match next.await.unwrap().unwrap() {
            Arrival::New(pending) => pending,
            other => panic!("{other:?}"),
        }
    }

    async fn end(self) {
        self.stop.cancel();
        self.looking.await.unwrap();
        self.objects.close().await;
        drop(self.heard);
        self.journal.close().await;
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(dir.join("journal/objects")).unwrap();
    let paths = listed.map(|item| item.unwrap().path());
    paths
        .filter(|path| path.to_string_lossy().ends_with(SUFFIX))
        .collect()
}

fn read(reader: ObjectReader) -> io::Result<Vec<u8>> {
    let mut reader = reader;
    let mut content = Vec::new();
    io::Read::read_to_end(&mut reader, &mut content)?;
    Ok(content)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_in_any_order_across_restarts_becomes_one_reading() {
    let dir = tempfile::tempdir().unwrap();
    let all = content(5 * CHUNK as usize + 7);
    let mut life = Life::begin(dir.path()).await;
    assert_eq!(life.start(begun("a", &all)).await, Ok(Taken::Kept));
    let open = life.heard().await;
    assert_eq!(
        (&open["state"], &open["missing"]),
        (&"open".into(), &serde_json::json!([[0, 5]]))
    );
    assert_eq!(life.start(begun("a", &all)).await, Ok(Taken::Duplicate));
    for number in [3, 0, 5] {
        assert_eq!(life.chunk("a", number, &all).await, Ok(Taken::Kept));
        assert_eq!(life.chunk("a", number, &all).await, Ok(Taken::Duplicate));
    }
    life.end().await;
    let mut life = Life::begin(dir.path()).await;
    let told = life.objects.tell(name("a")).await;
    told.outcome().await.unwrap();
    let open = life.heard().await;
    assert_eq!(open["missing"], serde_json::json!([[1, 2], [4, 4]]));
    assert_eq!(open["received"], 3);
    for number in [4, 2, 1] {
        assert_eq!(life.chunk("a", number, &all).await, Ok(Taken::Kept));
    }
    let pending = life.arrived().await;
    assert_eq!(
        (pending.object_id.as_deref(), pending.payload_bytes),
        (Some("a"), all.len() as u64)
    );
    assert_eq!(pending.fingerprint, crate::journal::fingerprint(&all));
    life.heard_state("kept").await;
    assert_eq!(life.chunk("a", 1, &all).await, Ok(Taken::Duplicate));
    assert_eq!(read(life.objects.reader(&name("a")).unwrap()).unwrap(), all);
    life.end().await;
    // The journal has its reading: it is not handed over twice, and its content stays.
    let life = Life::begin(dir.path()).await;
    assert_eq!(life.journal.counts().received, 1);
    assert_eq!(life.objects.shared.shelf().at(Phase::Kept), [name("a")]);
    assert_eq!(read(life.objects.reader(&name("a")).unwrap()).unwrap(), all);
    life.end().await;
    let canary = &all[100..116];
    for path in files(dir.path()) {
        let bytes = fs::read(path).unwrap();
        assert!(!bytes.windows(canary.len()).any(|window| window == canary));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_object_is_remembered_and_its_file_gone() {
    let dir = tempfile::tempdir().unwrap();
    let all = content(100);
    let mut life = Life::begin(dir.path()).await;
    life.start(begun("a", &all)).await.unwrap();
    life.send_all("a", &all).await;
    life.arrived().await;
    let finished = Finished {
        device: DEVICE.to_owned(),
        id: "a".to_owned(),
        manifest: begun("a", &all).manifest,
        sha256: begun("a", &all).sha256,
        sequence: None,
        marks: Marks::default(),
        record: journal::RecordKey([7; 16]),
        commitment: journal::Commitment {
            transaction_id: "tx".to_owned(),
            block_number: 9,
        },
    };
    for _ in 0..2 {
        life.objects.finish(finished.clone()).await.unwrap();
        assert!(files(dir.path()).is_empty());
    }
    life.end().await;
    let mut life = Life::begin(dir.path()).await;
    assert!(life.objects.knows(&name("a")));
    assert_eq!(life.start(begun("a", &all)).await, Ok(Taken::Duplicate));
    let done = life.heard().await;
    assert_eq!(
        (&done["state"], &done["block_number"]),
        (&"done".into(), &9.into())
    );
    let receipt = life.heard().await;
    assert_eq!(receipt["record_id"], "07".repeat(16));
    assert_eq!(
        receipt["readings"][0]["sha256"],
        hex::encode(*finished.sha256)
    );
    assert_eq!(life.chunk("a", 0, &all).await, Ok(Taken::Duplicate));
    let other = Begun {
        manifest: [1; 32].into(),
        ..begun("a", &all)
    };
    assert_eq!(life.start(other).await, Err(ObjectError::Differs));
    life.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_pieces_are_refused_and_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let all = content(3 * CHUNK as usize);
    let life = Life::begin(dir.path()).await;
    assert_eq!(life.chunk("a", 0, &all).await, Err(ObjectError::Unknown));
    life.start(begun("a", &all)).await.unwrap();
    for (number, bytes) in [
        (0, 0),
        (0, 1023),
        (0, 1025),
        (2, 1023),
        (3, 1024),
        (u32::MAX, 1024),
    ] {
        let put = life.put("a", number, vec![1; bytes]).await;
        assert_eq!(put, Err(ObjectError::Chunk), "{number} {bytes}");
    }
    let other = Begun {
        manifest: [1; 32].into(),
        ..begun("a", &all)
    };
    assert_eq!(life.start(other).await, Err(ObjectError::Differs));
    assert_eq!(life.objects.shared.shelf().objects[&name("a")].received, 0);
    life.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_content_than_announced_is_given_up_with_a_dead_letter_and_may_come_anew() {
    let dir = tempfile::tempdir().unwrap();
    let all = content(2 * CHUNK as usize);
    let mut life = Life::begin(dir.path()).await;
    life.start(begun("a", &all)).await.unwrap();
    let mut wrong = all.clone();
    wrong[2000] ^= 1;
    life.send_all("a", &wrong).await;
    assert_eq!(life.heard_state("refused").await["reason"], "hash-mismatch");
    assert!(files(dir.path()).is_empty());
    assert_eq!(life.start(begun("a", &all)).await, Ok(Taken::Kept));
    life.send_all("a", &all).await;
    life.arrived().await;
    // An X-ray that is none is refused with its first chunk.
    let mut scan = begun("b", &all);
    scan.reading.content_type = "application/dicom".to_owned();
    life.start(scan).await.unwrap();
    assert_eq!(
        life.chunk("b", 0, &all).await,
        Err(ObjectError::ContentType)
    );
    assert_eq!(
        life.heard_state("refused").await["reason"],
        "content-type-mismatch"
    );
    assert_eq!(life.chunk("b", 1, &all).await, Err(ObjectError::Unknown));
    life.end().await;
    let inspected =
        journal::inspect::inspect(&dir.path().join("journal"), &dir.path().join("journal.key"));
    let reasons: Vec<_> = inspected
        .unwrap()
        .refused
        .into_iter()
        .map(|letter| letter.reason)
        .collect();
    assert_eq!(reasons, ["hash-mismatch"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_as_any_bytes_is_called_dicom_if_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let scan = [&[0; 128][..], b"DICM", &content(2000)].concat();
    let mut life = Life::begin(dir.path()).await;
    let mut object = begun("a", &scan);
    object.reading.content_type = "application/octet-stream".to_owned();
    object.reading.code = "octet-stream".to_owned();
    life.start(object).await.unwrap();
    life.send_all("a", &scan).await;
    let pending = life.arrived().await;
    assert_eq!(
        (
            pending.kind.content_type.as_str(),
            pending.kind.code.as_str()
        ),
        ("application/dicom", "dicom")
    );
    life.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_content_under_another_name_or_as_a_message_is_one_reading() {
    let dir = tempfile::tempdir().unwrap();
    let all = content(100);
    let mut life = Life::begin(dir.path()).await;
    let message = life.journal.receive(reading(&all)).await.unwrap();
    assert!(matches!(message, Accepted::New(_)));
    life.start(begun("a", &all)).await.unwrap();
    life.send_all("a", &all).await;
    life.heard_state("duplicate").await;
    let again = life.arrivals.recv().await.unwrap();
    assert!(matches!(again, Arrival::Again { .. }), "{again:?}");
    assert!(files(dir.path()).is_empty());
    assert_eq!(life.journal.counts().received, 1);
    // A number that was used for something else.
    let mut numbered = reading(b"72");
    numbered.sequence = Some(5);
    life.journal.receive(numbered).await.unwrap();
    let mut object = begun("b", &all);
    object.reading.sequence = Some(5);
    life.start(object).await.unwrap();
    life.send_all("b", &all).await;
    assert_eq!(
        life.heard_state("refused").await["reason"],
        "sequence-reused"
    );
    life.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_and_a_broken_one_ends_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let all = content(3 * CHUNK as usize);
    let disk = Arc::new(Moody::default());
    let limits = ObjectLimits::default();
    let mut life = Life::on(Arc::clone(&disk) as Arc<dyn Disk>, dir.path(), limits).await;
    disk.set(FULL);
    assert_eq!(
        life.start(begun("a", &all)).await,
        Err(ObjectError::DiskFull)
    );
    assert!(files(dir.path()).is_empty());
    disk.set(WELL);
    life.start(begun("a", &all)).await.unwrap();
    life.chunk("a", 0, &all).await.unwrap();
    disk.set(FULL);
    assert_eq!(life.chunk("a", 1, &all).await, Err(ObjectError::DiskFull));
    disk.set(WELL);
    life.chunk("a", 1, &all).await.unwrap();
    life.chunk("a", 2, &all).await.unwrap();
    life.arrived().await;
    assert_eq!(read(life.objects.reader(&name("a")).unwrap()).unwrap(), all);
    life.start(begun("b", &all)).await.unwrap();
    disk.set(NO_SYNC);
    assert_eq!(life.chunk("b", 0, &all).await, Err(ObjectError::NotDurable));
    life.objects.failure().await;
    assert_eq!(life.chunk("b", 1, &all).await, Err(ObjectError::NotDurable));
    disk.set(WELL);
    life.end().await;
    let life = Life::begin(dir.path()).await;
    let missing = life.objects.shared.shelf().objects[&name("b")].missing(9);
    assert!(missing == [[0, 2]] || missing == [[1, 2]], "{missing:?}");
    life.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_file_loses_its_last_chunk_and_a_damaged_chunk_is_asked_for_again() {
    let dir = tempfile::tempdir().unwrap();
    let all = content(4 * CHUNK as usize);
    let life = Life::begin(dir.path()).await;
    life.start(begun("a", &all)).await.unwrap();
    for number in 0..3 {
        life.chunk("a", number, &all).await.unwrap();
    }
    life.end().await;
    let [path] = &files(dir.path())[..] else {
        panic!("one file")
    };
    let mut bytes = fs::read(path).unwrap();
    bytes.truncate(bytes.len() - 1);
    fs::write(path, &bytes).unwrap();
    let life = Life::begin(dir.path()).await;
    assert_eq!(
        life.objects.shared.shelf().objects[&name("a")].missing(9),
        [[2, 3]]
    );
    life.chunk("a", 2, &all).await.unwrap();
    life.end().await;
    // One bit in the first chunk.
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.len() - 3 * (CHUNK as usize + file::FRAME_OVERHEAD_BYTES) + 100;
    bytes[at] ^= 1;
    fs::write(path, &bytes).unwrap();
    let mut life = Life::begin(dir.path()).await;
    life.chunk("a", 3, &all).await.unwrap();
    let open = life.heard_state("open").await;
    assert_eq!(open["missing"], serde_json::json!([[0, 0]]));
    life.chunk("a", 0, &all).await.unwrap();
    life.arrived().await;
    assert_eq!(read(life.objects.reader(&name("a")).unwrap()).unwrap(), all);
    life.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_and_too_large_are_refused_and_the_old_expire_with_a_notice() {
    let dir = tempfile::tempdir().unwrap();
    let limits = ObjectLimits {
        device_objects: 2,
        device_bytes: 5000,
        objects: 3,
        bytes: 7000,
        expiry: Duration::from_secs(3600),
    };
    let mut life = Life::on(Arc::new(SystemDisk), dir.path(), limits).await;
    let of = |device: &str, id: &str, bytes: usize| {
        let mut begun = begun(id, &content(bytes));
        begun.reading.device = device.to_owned();
        begun
    };
    life.start(of(DEVICE, "a", 2000)).await.unwrap();
    let quota = life.start(of(DEVICE, "b", 3001)).await.unwrap_err();
    assert_eq!(
        (quota.name(), quota.is_temporary()),
        ("objects-quota", true)
    );
    life.start(of(DEVICE, "b", 3000)).await.unwrap();
    let many = life.start(of(DEVICE, "c", 1)).await.unwrap_err();
    assert_eq!(many.name(), "objects-too-many");
    let whose = Whose::Organization;
    let quota = life.start(of("mr-1", "a", 2001)).await;
    assert_eq!(quota, Err(ObjectError::Quota { whose, limit: 7000 }));
    life.start(of("mr-1", "a", 1000)).await.unwrap();
    let many = life.start(of("mr-2", "a", 1)).await;
    assert_eq!(many, Err(ObjectError::TooMany { whose, limit: 3 }));
    for (name, object) in &mut life.objects.shared.shelf().objects {
        if name.device == DEVICE {
            object.touched_ms -= 3_600_001;
        }
    }
    let parts = Parts {
        journal: life.journal.clone(),
        readings_tx: mpsc::channel(1).0,
    };
    life.objects.give_up(&parts).await.unwrap();
    drop(parts);
    for _ in 0..2 {
        life.heard_state("expired").await;
    }
    assert_eq!(files(dir.path()).len(), 1, "the other device's is not old");
    life.end().await;
}
