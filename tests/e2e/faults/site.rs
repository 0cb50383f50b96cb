//! A system with one device that goes on publishing, and what was acknowledged to it.

use std::{
    fs::OpenOptions,
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use contract_interface::UtcTime;
use salus::{
    OpenedRecord,
    publish::{Message, Options, publish},
};
use salus_tests::{
    network::Network,
    process::Process,
    random::Random,
    story::{self, Patient},
    system::{Part, Platform, Setup},
};
use serde_json::json;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::{
    invariants::{self, CANARY},
    support::{Running, device_options},
};

/// How long the device waits for an answer before it connects again.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a reading may wait for its acknowledgement, beyond the fault.
const IN_VAIN_MAX: Duration = Duration::from_secs(120);
/// How long after a fault everything acknowledged is on the ledger.
const HEALED_MAX: Duration = Duration::from_secs(60);
/// The same on real Fabric, whose peers take up to a minute to find each other again, while nothing
/// with private data is endorsed.
const HEALED_ON_FABRIC_MAX: Duration = Duration::from_secs(180);
/// When the first reading was taken: the start of 2026, seconds.
const FIRST_READING: i64 = 1_767_225_600;
/// Readings become records at once here, so that a round of a test takes no longer than it must.
const QUICK: &str = "[pipeline]\nsegment_age = \"50ms\"\n";

/// The device, and every reading that was acknowledged to it. None of these is sent again.
pub(super) struct Device {
    options: Options,
    random: Random,
    acknowledged: Vec<String>,
    /// How many, for who looks on.
    progress: watch::Sender<usize>,
}

impl Device {
    /// Sends so many readings one by one, each until it is acknowledged.
    pub(super) async fn send(&mut self, count: usize) {
        for _ in 0..count {
            let reading = self.reading();
            let message = Message {
                seq: Some(self.acknowledged.len() as u64),
                payload: reading.clone().into(),
            };
            let since = Instant::now();
            while let Err(error) = publish(&self.options, std::slice::from_ref(&message)).await {
                assert!(
                    since.elapsed() < IN_VAIN_MAX + super::lasting(),
                    "published in vain: {:#}",
                    anyhow::Error::from(error)
                );
                sleep(Duration::from_millis(50)).await;
            }
            self.acknowledged.push(reading);
            self.progress.send_replace(self.acknowledged.len());
        }
    }

    /// How many readings were acknowledged.
    pub(super) fn count(&self) -> usize {
        self.acknowledged.len()
    }

    fn reading(&mut self) -> String {
        let number = self.acknowledged.len();
        let at = UtcTime::from_unix_seconds(FIRST_READING + number as i64).unwrap();
        json!({
            "resourceType": "Observation",
            "id": format!("{CANARY}-{number}"),
            "status": "final",
            "code": { "coding": [{ "system": "http://loinc.org", "code": "8867-4" }] },
            "effectiveDateTime": at.to_string(),
            "valueQuantity": {
                "value": 50 + self.random.below(60), "unit": "/min",
                "system": "http://unitsofmeasure.org", "code": "/min",
            },
        })
        .to_string()
    }
}

/// The system and its device.
pub(super) struct Site {
    pub(super) running: Running,
    pub(super) random: Random,
    pub(super) patient: Patient,
    /// None while it is sending.
    device: Option<Device>,
    journal: PathBuf,
}

impl Site {
    /// Starts a system whose oracle makes records quickly.
    pub(super) async fn start(platform: Platform) -> Self {
        Self::of(Running::start(platform, 1).await).await
    }

    /// Starts one in a folder where something is prepared.
    pub(super) async fn start_in(platform: Platform, dir: tempfile::TempDir) -> Self {
        Self::of(Running::start_in(&Setup::of(platform), dir, 1).await).await
    }

    async fn of(mut running: Running) -> Self {
        let seed = super::seed();
        super::say(&format!("seed {seed}"));
        let patient = running.cast.patients[0].clone();
        let options = Options {
            patience: PATIENCE,
            ..device_options(&running, &patient, "application/fhir+json")
        };
        let mut random = Random::new(seed);
        let device = Device {
            options,
            random: Random::new(random.bits()),
            acknowledged: Vec::new(),
            progress: watch::Sender::new(0),
        };
        quicken(&running.system.oracle.config);
        running.system.kill_and_restart(Part::Oracle).await.unwrap();
        let journal = running.system.oracle.home.join("journal");
        let mut site = Self {
            running,
            random,
            patient,
            device: Some(device),
            journal,
        };
        // The first reading waits for whatever is slow only once.
        site.send(1).await;
        site.settle("the start").await;
        site
    }

    /// Starts the oracle anew with other settings; its journal is where they say.
    pub(super) async fn move_oracle(&mut self, settings: &salus_tests::oracle::OracleSettings) {
        let system = &mut self.running.system;
        system.oracle.process.kill().await.unwrap();
        system.oracle = system.start_oracle(settings).await.unwrap();
        quicken(&system.oracle.config);
        system.kill_and_restart(Part::Oracle).await.unwrap();
        self.journal = match &settings.journal {
            Some(folder) => folder.clone(),
            None => system.oracle.home.join("journal"),
        };
    }

    /// Whether the network is real Fabric.
    pub(super) fn is_on_real_fabric(&self) -> bool {
        matches!(self.running.system.network, Network::Fabric(_))
    }

    /// The folder of the oracle's journal.
    pub(super) fn journal(&self) -> &Path {
        &self.journal
    }

    /// The process of a part.
    pub(super) fn process(&mut self, part: Part) -> &mut Process {
        self.running.system.process(part)
    }

    /// The device publishes elsewhere from now on.
    pub(super) fn publish_at(&mut self, address: &str) {
        let (_, port) = address.rsplit_once(':').unwrap();
        self.device_mut().options.port = port.parse().unwrap();
    }

    /// Sends readings until all are acknowledged.
    pub(super) async fn send(&mut self, count: usize) {
        self.device_mut().send(count).await;
    }

    /// Sends readings while something happens; [`Site::sent`] waits for the last acknowledgement.
    pub(super) fn sending(&mut self, count: usize) -> JoinHandle<Device> {
        let mut device = self.device.take().unwrap();
        tokio::spawn(async move {
            device.send(count).await;
            device
        })
    }

    /// Waits for what [`Site::sending`] began.
    pub(super) async fn sent(&mut self, sending: JoinHandle<Device>) {
        self.device = Some(sending.await.unwrap());
    }

    fn device_mut(&mut self) -> &mut Device {
        self.device.as_mut().unwrap()
    }

    /// How many readings were acknowledged.
    pub(super) fn count(&self) -> usize {
        self.device.as_ref().unwrap().count()
    }

    /// Whether all readings of a record were acknowledged.
    pub(super) fn acknowledged_all(&self, opened: &OpenedRecord) -> bool {
        let known = &self.device.as_ref().unwrap().acknowledged;
        opened
            .readings
            .iter()
            .all(|reading| known.iter().any(|one| one.as_bytes() == reading.payload))
    }

    /// How many readings were acknowledged, also while the device is sending.
    pub(super) fn progress(&self) -> watch::Receiver<usize> {
        self.device.as_ref().unwrap().progress.subscribe()
    }

    /// Kills a part, if it has not ended, and starts it as it was meant to be.
    pub(super) async fn restart(&mut self, part: Part, why: &str) {
        let restarted = self.running.system.kill_and_restart(part).await;
        restarted.unwrap_or_else(|error| panic!("{part:?} after {why}: {error:#}"));
    }

    /// Starts whatever has ended; returns what that was.
    pub(super) async fn revive(&mut self, why: &str) -> Vec<Part> {
        let mut ended = Vec::new();
        for part in self.running.system.parts() {
            if !self.process(part).is_running() {
                self.restart(part, why).await;
                ended.push(part);
            }
        }
        ended
    }

    /// Waits until the ledger has exactly what was acknowledged; says how long that took.
    pub(super) async fn settle(&mut self, after: &str) -> Duration {
        let began = Instant::now();
        let wanted = self.count();
        let healed_max = match self.is_on_real_fabric() {
            true => HEALED_ON_FABRIC_MAX,
            false => HEALED_MAX,
        };
        let client = story::client(&self.patient.person).unwrap();
        loop {
            let found = story::records_of(&client, self.patient.pseudonym).await;
            let found: anyhow::Result<usize> = found.map(|records| {
                let readings = records.iter().map(|record| record.metadata.readings);
                readings.map(|count| count as usize).sum()
            });
            if found.as_ref().is_ok_and(|found| *found == wanted) {
                return began.elapsed();
            }
            let is_too_much = found.as_ref().is_ok_and(|found| *found > wanted);
            assert!(
                !is_too_much && began.elapsed() < healed_max,
                "{found:?} of {wanted} readings are on the ledger after {after}: see {}",
                self.running.system.dir.display()
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Checks everything and ends the system.
    pub(super) async fn end(self) {
        let count = self.count();
        let device = self.device.unwrap();
        invariants::hold(self.running, &self.journal, &[device.acknowledged]).await;
        super::say(&format!("{count} readings are there, once each"));
    }
}

fn quicken(config: &Path) {
    let mut file = OpenOptions::new().append(true).open(config).unwrap();
    file.write_all(QUICK.as_bytes()).unwrap();
}
