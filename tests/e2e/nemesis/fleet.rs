//! Devices that publish whatever happens: each sends a few readings, again and again until all are
//! acknowledged, and then the next.

use std::time::Duration;

use contract_interface::UtcTime;
use salus::publish::{Message, Options, publish};
use salus_tests::random::Random;
use serde_json::json;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::{
    invariants::CANARY,
    support::{Running, device_options},
};

/// Readings that a device sends together.
const TOGETHER: usize = 4;
/// How long a device waits for an answer before it connects again.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a device may be without an acknowledgement before the test fails: longer than any
/// fault, and the start of any process after it.
const IN_VAIN_MAX: Duration = Duration::from_secs(120);
/// When the first reading was taken: the start of 2026, seconds.
const FIRST_READING: i64 = 1_767_225_600;

/// Devices on their way.
pub(super) struct Fleet {
    devices: Vec<JoinHandle<Vec<String>>>,
}

impl Fleet {
    /// Lets every patient's device publish to `address` until it is told to stop.
    pub(super) fn launch(
        running: &Running,
        address: &str,
        seed: u64,
        stopped: &watch::Receiver<bool>,
    ) -> Self {
        let (_, port) = address.rsplit_once(':').unwrap();
        let devices = running.cast.patients.iter().enumerate();
        let devices = devices.map(|(number, patient)| {
            let options = Options {
                port: port.parse().unwrap(),
                patience: PATIENCE,
                ..device_options(running, patient, "application/fhir+json")
            };
            let device = Device {
                options,
                random: Random::new(seed.wrapping_add(number as u64)),
                acknowledged: Vec::new(),
            };
            tokio::spawn(device.run(stopped.clone()))
        });
        Self {
            devices: devices.collect(),
        }
    }

    /// Waits until all have ended; gives what was acknowledged to each.
    pub(super) async fn land(self) -> Vec<Vec<String>> {
        let mut all = Vec::new();
        for device in self.devices {
            all.push(device.await.unwrap());
        }
        all
    }
}

struct Device {
    options: Options,
    random: Random,
    acknowledged: Vec<String>,
}

impl Device {
    async fn run(mut self, mut stopped: watch::Receiver<bool>) -> Vec<String> {
        loop {
            // The last ones are waited for until they are on the ledger: the storm is over.
            let last = *stopped.borrow();
            self.options.wait_for_receipts = last;
            self.send().await;
            if last {
                return self.acknowledged;
            }
            let pause = Duration::from_millis(500 + self.random.below(1_500));
            tokio::select! {
                () = sleep(pause) => {}
                _ = stopped.wait_for(|stopped| *stopped) => {}
            }
        }
    }

    /// Sends the next readings until every one is acknowledged.
    async fn send(&mut self) {
        let first = self.acknowledged.len();
        let readings: Vec<String> = (first..first + TOGETHER).map(|n| self.reading(n)).collect();
        let messages: Vec<Message> = (first..)
            .zip(&readings)
            .map(|(n, reading)| Message {
                seq: Some(n as u64),
                payload: reading.clone().into(),
            })
            .collect();
        let since = Instant::now();
        while let Err(error) = publish(&self.options, &messages).await {
            assert!(
                since.elapsed() < IN_VAIN_MAX,
                "{} in vain: {:#}",
                self.options.device_id,
                anyhow::Error::from(error)
            );
            sleep(Duration::from_millis(100 + self.random.below(400))).await;
        }
        self.acknowledged.extend(readings);
    }

    fn reading(&mut self, number: usize) -> String {
        let at = UtcTime::from_unix_seconds(FIRST_READING + number as i64).unwrap();
        json!({
            "resourceType": "Observation",
            "id": format!("{CANARY}-{}-{number}", self.options.device_id),
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
