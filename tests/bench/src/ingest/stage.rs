//! A running system with many registered devices.

use std::{collections::BTreeSet, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use contract_interface::{DeviceRegistration, Digest, RecordId, Status};
use futures::{TryStreamExt as _, stream};
use salus_tests::{
    consortium::FIRST_ORACLE,
    network::Network,
    oracle::OracleSettings,
    process::Process,
    story::{self, Cast, Patient},
    system::{Platform, System},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep},
};

use super::usage;

/// Registrations on their way at once.
const AT_ONCE: usize = 64;
/// How long the pipeline may take to become empty.
const IDLE_MAX: Duration = Duration::from_secs(1_800);

/// The system and who takes part.
pub(super) struct Stage {
    pub(super) system: System,
    pub(super) cast: Cast,
    devices: Vec<String>,
    mqtt: String,
    health: String,
}

impl Stage {
    /// Starts the embedded system with a port without TLS, and registers devices.
    pub(super) async fn set(dir: &Path, devices: usize) -> Result<Self> {
        let mut system = System::start(Platform::EMBEDDED, dir).await?;
        let cast = story::enrol(&system, 1).await?;
        system.oracle.process.kill().await?;
        let settings = OracleSettings {
            name: FIRST_ORACLE.to_owned(),
            ipfs_api: system.ipfs.api.clone(),
            insecure: true,
            ..OracleSettings::default()
        };
        system.oracle = system.start_oracle(&settings).await?;
        let addresses = &system.oracle.addresses;
        let mqtt = addresses.mqtt_insecure.clone();
        let health = addresses.health.clone();
        let stage = Self {
            mqtt: mqtt.context("no port without TLS")?,
            health: health.context("no health port")?,
            devices: (1..=devices).map(|n| format!("bench-{n}")).collect(),
            system,
            cast,
        };
        stage.register().await?;
        for process in stage.ledger() {
            usage::give_way(process)?;
        }
        Ok(stage)
    }

    async fn register(&self) -> Result<()> {
        let administrator = story::client(&self.cast.administrator)?;
        let patient = self.cast.patients[0].pseudonym;
        stream::iter(self.devices.iter().enumerate().map(anyhow::Ok))
            .try_for_each_concurrent(AT_ONCE, |(number, device)| {
                let administrator = &administrator;
                async move {
                    // No certificate is shown on the port without TLS.
                    let mut thumbprint = [0; 32];
                    thumbprint[..8].copy_from_slice(&(number as u64).to_be_bytes());
                    let registration = DeviceRegistration {
                        device_id: device.parse()?,
                        thumbprint: Digest::from_bytes(thumbprint),
                        patient,
                        bound_from: "2000-01-01T00:00:00Z".parse()?,
                        bound_until: None,
                        status: Status::Active,
                        status_since: None,
                    };
                    administrator.register_device(&registration).await?;
                    Ok(())
                }
            })
            .await
    }

    /// Device IDs.
    pub(super) fn devices(&self) -> &[String] {
        &self.devices
    }

    /// Where devices publish without TLS.
    pub(super) fn mqtt(&self) -> &str {
        &self.mqtt
    }

    /// The oracle's resident memory, bytes.
    pub(super) fn oracle_resident(&self) -> u64 {
        self.system.oracle.process.resident_bytes().unwrap_or(0)
    }

    /// The oracle's processor time, seconds.
    pub(super) fn oracle_processor(&self) -> f64 {
        usage::processor_seconds(&self.system.oracle.process)
    }

    /// Every process of the system.
    pub(super) fn processes(&self) -> Vec<&Process> {
        let system = &self.system;
        let mut all = vec![&system.oracle.process, &system.ipfs.process];
        all.extend(self.ledger());
        all
    }

    /// Peers, orderer and contracts, whose place is on other machines.
    fn ledger(&self) -> Vec<&Process> {
        let system = &self.system;
        let mut all = vec![&system.chaincode];
        if let Network::Devnet(devnet) = &system.network {
            all.push(&devnet.process);
        }
        all
    }

    /// The records of a patient.
    pub(super) async fn records(&self, patient: &Patient) -> Result<BTreeSet<RecordId>> {
        let client = story::client(&patient.person)?;
        let records = story::records_of(&client, patient.pseudonym).await?;
        let ids = records.iter().map(|record| record.metadata.record_id);
        Ok(ids.collect())
    }

    /// Readings that were registered on the ledger since the oracle started.
    pub(super) async fn registered(&self) -> Result<f64> {
        self.metric("salus_pipeline_reading_seconds_count").await
    }

    /// Waits until nothing is on its way in the oracle.
    pub(super) async fn until_idle(&self) -> Result<()> {
        let since = Instant::now();
        // Two looks: what has just been acknowledged may not be counted at the first.
        let mut idle = 0;
        while idle < 2 {
            if since.elapsed() > IDLE_MAX {
                bail!("the oracle still has readings after {IDLE_MAX:?}");
            }
            sleep(Duration::from_millis(100)).await;
            let waiting = self.metric("salus_pipeline_waiting").await?;
            idle = if waiting == 0.0 { idle + 1 } else { 0 };
        }
        Ok(())
    }

    /// The sum of a metric's values over its labels.
    pub(super) async fn metric(&self, name: &str) -> Result<f64> {
        let text = self.metrics().await?;
        let values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let value = rest.rsplit_once(' ')?.1;
            (rest.starts_with(' ') || rest.starts_with('{')).then(|| value.parse::<f64>().ok())?
        });
        Ok(values.sum())
    }

    async fn metrics(&self) -> Result<String> {
        let mut stream = TcpStream::connect(&self.health).await?;
        let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
        if !head.starts_with("HTTP/1.1 200") {
            bail!("/metrics: {head}");
        }
        Ok(body.to_owned())
    }

    /// Ends everything.
    pub(super) async fn strike(self) -> Result<()> {
        self.system.stop().await
    }
}
