//! `salus device simulate`: a fleet of devices with made-up patients.
//!
//! What they measure is made by [`body`] from a seed, and goes the way of every reading: an outbox, MQTT over TLS
//! with the device's own certificate, acknowledgements, receipts.

mod body;
mod schedule;

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use contract_interface::{DeviceId, UtcTime};
use salus::publish::{Delivered, Event, Message, Options, Outbox, Outgoing, deliver};
use salus::signing;
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinSet, time::Instant};

use self::{
    body::{Body, Kind},
    schedule::{Plan, Schedule},
};
use crate::{
    args::{DeviceSession, DeviceSimulate},
    output::Output,
    publish,
};

/// Readings between a device's clock and its outbox.
const READINGS_WAITING_MAX: usize = 64;
/// Bytes of a device's outbox.
const OUTBOX_BYTES: u64 = 256 << 20;
/// What every reading is.
const CONTENT_TYPE: &str = "application/fhir+json";

/// One device of the fleet.
#[derive(Debug, Clone)]
struct Device {
    id: DeviceId,
    pem: PathBuf,
    kind: Kind,
}

/// What came of one device, or of all.
#[derive(Debug, Default)]
struct Tally {
    delivered: Delivered,
    /// Milliseconds from accepting a reading to its acknowledgement.
    acknowledge: Vec<f64>,
    /// Milliseconds from accepting a reading to its receipt.
    receipt: Vec<f64>,
    waiting: usize,
}

pub(crate) async fn simulate(args: &DeviceSimulate, out: Output) -> Result<()> {
    let devices = fleet(args)?;
    let start = match args.start {
        Some(start) => start,
        None => signing::now()?,
    };
    if args.print {
        for (number, device) in devices.iter().enumerate() {
            let schedule = schedule(args, device, number, start);
            let lines: Vec<Value> = schedule.map(|(_, reading)| reading).collect();
            out.lines(&lines)?;
        }
        return Ok(());
    }
    let began = Instant::now();
    let mut running = JoinSet::new();
    for (number, device) in devices.iter().enumerate() {
        let options = options(args, device)?;
        let schedule = schedule(args, device, number, start);
        running.spawn(run(options, schedule, began));
    }
    let mut all = Tally::default();
    while let Some(ended) = running.join_next().await {
        let tally = ended.context("a device of the fleet broke")??;
        all.add(tally);
    }
    report(&devices, all, began.elapsed(), out)
}

fn schedule(args: &DeviceSimulate, device: &Device, number: usize, start: UtcTime) -> Schedule {
    // Each device has a seed of its own, and so a patient.
    let seed = args.seed ^ (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let interval = Duration::from_secs_f64(60.0 / args.rate);
    let plan = Plan {
        start,
        interval,
        duration: Duration::from_secs(args.duration),
        outliers: args.outliers,
        out_of_order: args.out_of_order,
        late: args.late,
    };
    Schedule::new(Body::new(device.kind, seed), plan)
}

/// The devices in the folder, as many as are asked for, kind by kind.
fn fleet(args: &DeviceSimulate) -> Result<Vec<Device>> {
    let kinds = [
        (Kind::VitalSigns, args.vital_signs),
        (Kind::Ecg, args.ecg),
        (Kind::Glucose, args.glucose),
    ];
    let wanted: usize = kinds.iter().map(|(_, count)| count).sum();
    ensure!(
        wanted > 0,
        "no device: say how many with --vital-signs, --ecg, --glucose"
    );
    let mut found = Vec::new();
    let entries = fs::read_dir(&args.fleet)
        .with_context(|| format!("cannot read {}", args.fleet.display()))?;
    for entry in entries {
        let folder = entry?.path();
        let pem = folder.join("device.pem");
        let name = folder.file_name().and_then(|name| name.to_str());
        if let (Some(Ok(id)), true) = (name.map(str::parse::<DeviceId>), pem.exists()) {
            found.push((id, pem));
        }
    }
    found.sort();
    if found.len() < wanted {
        bail!(
            "{} has {} devices with a certificate, not {wanted}: enrol more with \"salus device \
             enrol\"",
            args.fleet.display(),
            found.len()
        );
    }
    let kinds = kinds
        .iter()
        .flat_map(|(kind, count)| std::iter::repeat_n(*kind, *count));
    let devices = found.into_iter().zip(kinds);
    Ok(devices
        .map(|((id, pem), kind)| Device { id, pem, kind })
        .collect())
}

fn options(args: &DeviceSimulate, device: &Device) -> Result<Options> {
    let session = DeviceSession {
        device: device.id.clone(),
        broker: args.broker.clone().context("no --broker")?,
        ca_file: args.ca_file.clone().context("no --ca-file")?,
        certificate: device.pem.clone(),
        key: device.pem.clone(),
    };
    publish::options(&session, args.mqtt_version, CONTENT_TYPE, args.patience)
}

/// One device: measures by its schedule, and delivers until every receipt is there.
async fn run(options: Options, schedule: Schedule, began: Instant) -> Result<Tally> {
    let folder = tempfile::tempdir()?;
    let mut outbox = Outbox::open(folder.path(), OUTBOX_BYTES)?;
    let (readings_tx, readings) = mpsc::channel(READINGS_WAITING_MAX);
    let measuring = tokio::spawn(measure(schedule, began, readings_tx));
    let mut tally = Tally::default();
    // When each reading was accepted, by its ID.
    let mut accepted: Vec<Instant> = Vec::new();
    let delivered = deliver(&options, &mut outbox, readings, |event| {
        let now = Instant::now();
        let since = |accepted: &[Instant], id: u64| {
            let at = usize::try_from(id).ok()?.checked_sub(1)?;
            let since = now.duration_since(*accepted.get(at)?);
            Some(since.as_secs_f64() * 1000.0)
        };
        match event {
            Event::Accepted(count) => {
                accepted.resize(usize::try_from(count).unwrap_or(usize::MAX), now);
            }
            Event::Acknowledged(id) => tally.acknowledge.extend(since(&accepted, id)),
            Event::Receipted { ids, .. } => {
                let times = ids.into_iter().filter_map(|id| since(&accepted, id));
                tally.receipt.extend(times);
            }
            Event::Refused { id, reason } => tracing::error!(id, reason, "a reading is refused"),
            _ => {}
        }
    });
    tally.delivered = delivered
        .await
        .with_context(|| format!("device {}", options.device_id))?;
    tally.waiting = outbox.len();
    measuring.await?;
    Ok(tally)
}

/// Hands each reading over when its time has come.
async fn measure(schedule: Schedule, began: Instant, readings: mpsc::Sender<Outgoing>) {
    for (after, reading) in schedule {
        tokio::time::sleep_until(began + after).await;
        let outgoing = Outgoing {
            content_type: CONTENT_TYPE.to_owned(),
            message: Message {
                seq: None,
                payload: Bytes::from(reading.to_string()),
            },
        };
        if readings.send(outgoing).await.is_err() {
            return;
        }
    }
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.delivered.accepted += other.delivered.accepted;
        self.delivered.acknowledged += other.delivered.acknowledged;
        self.delivered.receipted += other.delivered.receipted;
        self.delivered.refused += other.delivered.refused;
        self.delivered.connections += other.delivered.connections;
        self.acknowledge.extend(other.acknowledge);
        self.receipt.extend(other.receipt);
        self.waiting += other.waiting;
    }
}

fn report(devices: &[Device], mut all: Tally, took: Duration, out: Output) -> Result<()> {
    let of = |kind| devices.iter().filter(|device| device.kind == kind).count();
    let delivered = &all.delivered;
    let summary = json!({
        "devices": {
            "vital_signs": of(Kind::VitalSigns),
            "ecg": of(Kind::Ecg),
            "glucose": of(Kind::Glucose),
        },
        "seconds": (took.as_secs_f64() * 10.0).round() / 10.0,
        "sent": delivered.accepted,
        "acknowledged": delivered.acknowledged,
        "receipts": delivered.receipted,
        "refused": delivered.refused,
        "waiting": all.waiting,
        "connections": delivered.connections,
        "acknowledge_ms": quantiles(&mut all.acknowledge),
        "receipt_ms": quantiles(&mut all.receipt),
    });
    let sentence = serde_json::to_string_pretty(&summary)?;
    out.result(&summary, &sentence)?;
    Ok(())
}

/// The middle, the slowest tenth and hundredth, and the slowest; nothing without any.
fn quantiles(times: &mut [f64]) -> Value {
    times.sort_by(f64::total_cmp);
    let Some(last) = times.last() else {
        return Value::Null;
    };
    let tenths = |time: f64| (time * 10.0).round() / 10.0;
    let at = |share: f64| tenths(times[((times.len() - 1) as f64 * share).round() as usize]);
    json!({ "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": tenths(*last) })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::args::Version;

    fn args(fleet: &Path) -> DeviceSimulate {
        DeviceSimulate {
            fleet: fleet.to_owned(),
            broker: None,
            ca_file: None,
            vital_signs: 1,
            ecg: 1,
            glucose: 1,
            rate: 12.0,
            duration: 60,
            seed: 7,
            start: None,
            outliers: 0,
            out_of_order: 0,
            late: 0,
            print: true,
            mqtt_version: Version::V5,
            patience: 1,
        }
    }

    #[test]
    fn a_fleet_is_the_devices_with_certificates_in_the_order_of_their_names() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b", "a", "c", "no certificate"] {
            let folder = dir.path().join(name);
            fs::create_dir(&folder).unwrap();
            if name.len() == 1 {
                fs::write(folder.join("device.pem"), "").unwrap();
            }
        }
        let found = fleet(&args(dir.path())).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|device| (device.id.as_str(), device.kind))
            .collect();
        assert_eq!(
            found,
            [
                ("a", Kind::VitalSigns),
                ("b", Kind::Ecg),
                ("c", Kind::Glucose)
            ]
        );
        let mut more = args(dir.path());
        more.ecg = 2;
        let error = fleet(&more).unwrap_err().to_string();
        assert!(error.contains("has 3 devices"), "{error}");
        more = args(dir.path());
        (more.vital_signs, more.ecg, more.glucose) = (0, 0, 0);
        assert!(fleet(&more).is_err());
    }

    #[test]
    fn quantiles_are_of_the_sorted_times() {
        let mut times: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        let expected = json!({ "p50": 50.0, "p90": 90.0, "p99": 99.0, "max": 100.0 });
        assert_eq!(quantiles(&mut times), expected);
        assert_eq!(quantiles(&mut []), Value::Null);
    }
}
