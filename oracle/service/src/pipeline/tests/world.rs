//! A store and a registry in memory that can fail or hang at a chosen call, and the lives of an oracle over them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use contract_interface::{
    Device, DeviceId, ErrorCode, Pseudonym, RecordEntry, RecordPrivate, RecordWraps,
    RegisterRecordsResult,
};
use sealed_object::PrivateKey;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::super::*;
use crate::ingest::directory::Registry;
use crate::ingest::mqtt::RouterWatch;
use crate::journal::{self, Accepted, Reading};
use crate::ledger::Receipt;
use crate::objects::{ObjectLimits, Parts as ObjectParts};

pub(super) const PATIENT: &str = "00112233445566778899aabbccddeeff";

/// The patient's and the oracle's: making one takes a second.
static KEYS: LazyLock<[PrivateKey; 2]> =
    LazyLock::new(|| [(); 2].map(|()| PrivateKey::generate(3072).unwrap()));

/// At which call, counted from 1, something happens instead of, or after, the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// The call never returns, its work undone.
    HangBefore(usize),
    /// The call never returns, its work done.
    HangAfter(usize),
    /// The call fails in a way that may pass.
    Fail(usize),
}

/// What is outside and survives the oracle: objects, records, patients' keys.
pub(super) struct World {
    pub(super) objects: Mutex<BTreeMap<String, u64>>,
    pub(super) records: Mutex<BTreeMap<String, (RecordEntry, RecordPrivate, RecordWraps)>>,
    pub(super) calls: Mutex<[usize; 2]>,
    pub(super) faults: Mutex<[Fault; 2]>,
    pub(super) hung: Notify,
    /// A record type that the contract refuses.
    pub(super) refused: Mutex<Option<String>>,
    /// Whether the patient's key is not registered.
    pub(super) key_missing: Mutex<bool>,
    pub(super) patient: &'static PrivateKey,
    pub(super) oracle: &'static PrivateKey,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("World(..)")
    }
}

pub(super) const PIN: usize = 0;
pub(super) const REGISTER: usize = 1;

impl World {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            objects: Mutex::default(),
            records: Mutex::default(),
            calls: Mutex::default(),
            faults: Mutex::new([Fault::None; 2]),
            hung: Notify::new(),
            refused: Mutex::default(),
            key_missing: Mutex::default(),
            patient: &KEYS[0],
            oracle: &KEYS[1],
        })
    }

    pub(super) fn fault(&self, step: usize) -> (Fault, usize) {
        let mut calls = self.calls.lock().unwrap();
        calls[step] += 1;
        (self.faults.lock().unwrap()[step], calls[step])
    }

    pub(super) async fn before(&self, fault: (Fault, usize)) {
        if fault.0 == Fault::HangBefore(fault.1) {
            self.hung.notify_one();
            std::future::pending::<()>().await;
        }
    }

    pub(super) async fn after(&self, fault: (Fault, usize)) {
        if fault.0 == Fault::HangAfter(fault.1) {
            self.hung.notify_one();
            std::future::pending::<()>().await;
        }
    }

    pub(super) fn records(&self) -> Vec<(RecordEntry, RecordPrivate, RecordWraps)> {
        self.records.lock().unwrap().values().cloned().collect()
    }

    /// Sequence numbers of all readings in registered records.
    pub(super) fn readings(&self) -> u32 {
        let records = self.records.lock().unwrap();
        records
            .values()
            .map(|(_, private, _)| private.readings)
            .sum()
    }
}

#[async_trait::async_trait]
impl ObjectStore for World {
    async fn pin(&self, objects: &[Object]) -> Result<(), StoreError> {
        let fault = self.fault(PIN);
        self.before(fault).await;
        if fault.0 == Fault::Fail(fault.1) {
            return Err(StoreError::TimedOut {
                command: "dag/import".to_owned(),
            });
        }
        for object in objects {
            let mut known = self.objects.lock().unwrap();
            known.insert(object.cid().to_string(), object.size());
        }
        self.after(fault).await;
        Ok(())
    }

    async fn pin_file(
        &self,
        file: std::fs::File,
        cid: cid::Cid,
        size: u64,
    ) -> Result<(), StoreError> {
        let fault = self.fault(PIN);
        self.before(fault).await;
        if fault.0 == Fault::Fail(fault.1) {
            return Err(StoreError::TimedOut {
                command: "dag/import".to_owned(),
            });
        }
        assert_eq!(cid_and_size(file), (cid, size));
        self.objects.lock().unwrap().insert(cid.to_string(), size);
        self.after(fault).await;
        Ok(())
    }
}

/// Learns what a file would be in IPFS.
fn cid_and_size(mut file: std::fs::File) -> (cid::Cid, u64) {
    let mut hasher = crate::store::ObjectHasher::default();
    std::io::copy(&mut file, &mut hasher).unwrap();
    hasher.finish()
}

#[async_trait::async_trait]
impl Registrar for World {
    async fn register(&self, batch: &RegistrationBatch) -> Result<Registered, LedgerError> {
        let fault = self.fault(REGISTER);
        self.before(fault).await;
        let refuse = |code| {
            Err(LedgerError::Contract {
                code: Some(code),
                status: 409,
                message: "refused".to_owned(),
            })
        };
        if fault.0 == Fault::Fail(fault.1) {
            return refuse(ErrorCode::NotInitialized);
        }
        let refused = self.refused.lock().unwrap().clone();
        let mut unchanged = 0;
        for ((entry, private), wraps) in batch.entries.iter().zip(&batch.private).zip(&batch.wraps)
        {
            if Some(private.record_type.as_str()) == refused.as_deref() {
                return refuse(ErrorCode::DeviceNotBound);
            }
            assert!(
                self.objects.lock().unwrap().contains_key(&private.cid),
                "a record is registered before its object is pinned"
            );
            private.validate().unwrap();
            wraps.validate().unwrap();
            let row = (entry.clone(), private.clone(), wraps.clone());
            let mut records = self.records.lock().unwrap();
            if let Some(old) = records.insert(entry.record_id.to_string(), row.clone()) {
                assert_eq!(old, row, "another content under a registered ID");
                unchanged += 1;
            }
        }
        self.after(fault).await;
        Ok(Receipt {
            transaction_id: format!("tx-{}", fault.1),
            block_number: 7,
            result: RegisterRecordsResult {
                registered: u32::try_from(batch.entries.len()).unwrap() - unchanged,
                unchanged,
            },
        })
    }
}

#[async_trait::async_trait]
impl Registry for World {
    async fn device(&self, _: &DeviceId) -> Result<Option<Device>, LedgerError> {
        Ok(None)
    }

    async fn patient_key(&self, _: &Pseudonym) -> Result<Option<String>, LedgerError> {
        let missing = *self.key_missing.lock().unwrap();
        Ok((!missing).then(|| self.patient.public_key().to_jwk()))
    }
}

pub(super) fn open_journal(dir: &Path) -> Journal {
    let config = journal::Config {
        dir: dir.join("journal"),
        key_file: dir.join("journal.key"),
        max_bytes: 64 << 20,
        file_bytes: 1 << 20,
        fsync_window: Duration::ZERO,
        remember_per_device: 64,
    };
    loop {
        match Journal::open(&config) {
            // A thread of the life before is still writing; a process would have taken it along.
            Err(JournalError::InUse { .. }) => std::thread::yield_now(),
            other => break other.unwrap(),
        }
    }
}

/// One life of the oracle between two crashes.
pub(super) struct Life {
    pub(super) objects: Objects,
    looking: tokio::task::JoinHandle<()>,
    pub(super) journal: Journal,
    pub(super) readings_tx: mpsc::Sender<Arrival>,
    pub(super) delivery: Delivery,
    pub(super) status: watch::Receiver<Status>,
    pub(super) dead_letters: DeadLetters,
    pub(super) stop: CancellationToken,
    pub(super) running: tokio::task::JoinHandle<Result<(), PipelineError>>,
    pub(super) _router: RouterWatch,
}

impl Life {
    pub(super) fn begin(dir: &Path, world: &Arc<World>) -> Self {
        let journal = open_journal(dir);
        let (delivery, router) = Delivery::start().unwrap();
        let objects = Objects::open(&journal, ObjectLimits::default(), delivery.clone()).unwrap();
        let (pipeline, readings_tx) = Pipeline::new(Parts {
            config: PipelineConfig {
                segment_readings: 4,
                segment_bytes: 4096,
                segment_age: Duration::from_millis(20),
                register_batch: 8,
            },
            journal: journal.clone(),
            devices: Arc::new(DeviceDirectory::new(Arc::clone(world) as Arc<dyn Registry>)),
            registrar: Arc::clone(world) as Arc<dyn Registrar>,
            store: Arc::clone(world) as Arc<dyn ObjectStore>,
            delivery: delivery.clone(),
            msp_id: "Org1MSP".parse().unwrap(),
            oracle_keys: vec![world.oracle.public_key().clone()],
            objects: objects.clone(),
        })
        .unwrap();
        let stop = CancellationToken::new();
        let status = pipeline.status();
        let dead_letters = pipeline.dead_letters();
        let running = tokio::spawn(pipeline.run(stop.clone()));
        let looking = ObjectParts {
            journal: journal.clone(),
            readings_tx: readings_tx.clone(),
        };
        let looking = tokio::spawn(objects.clone().run(looking, stop.clone()));
        Self {
            objects,
            looking,
            journal,
            readings_tx,
            delivery,
            status,
            dead_letters,
            stop,
            running,
            _router: router,
        }
    }

    pub(super) async fn receive(&self, reading: Reading) {
        let Accepted::New(pending) = self.journal.receive(reading).await.unwrap() else {
            panic!("not new");
        };
        self.readings_tx.send(Arrival::New(pending)).await.unwrap();
    }

    /// Waits until nothing is unfinished.
    pub(super) async fn finish(&self) {
        while self.journal.counts() != journal::Counts::default() {
            assert!(!self.running.is_finished(), "the pipeline has ended");
            tokio::task::yield_now().await;
        }
    }

    /// Ends as a crash does: between any two steps, without another word to the journal.
    pub(super) async fn crash(self) {
        self.stop.cancel();
        drop(self.readings_tx);
        drop(self.dead_letters);
        drop(self.running.await.unwrap());
        self.looking.await.unwrap();
        self.objects.close().await;
        self.journal.close().await;
    }
}

pub(super) fn reading(sequence: u64, code: &str, payload: &[u8]) -> Reading {
    Reading {
        device: "hr-1".to_owned(),
        sequence: Some(sequence),
        received_ms: 1_000 + sequence,
        content_type: "application/json".to_owned(),
        code: code.to_owned(),
        period_start: 100,
        period_end: 200,
        patient: PATIENT.to_owned(),
        alone: false,
        payload: payload.to_vec().into(),
        time_named: false,
        labels: journal::Labels::default(),
        marks: crate::journal::Marks::default(),
        object: None,
    }
}

pub(super) async fn some_readings(life: &Life, from: u64, count: u64) {
    for sequence in from..from + count {
        let code = ["8867-4", "8480-6", "29463-7"][usize::try_from(sequence % 3).unwrap()];
        let payload = format!("reading {sequence}");
        life.receive(reading(sequence, code, payload.as_bytes()))
            .await;
    }
}
