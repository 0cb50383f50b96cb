//! Acting as a device.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use contract_interface::DeviceId;

#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// Get the device's certificate for a key made here, with the one-time token made for it.
    Enrol(DeviceEnrol),
    /// Get a certificate for a new key, before the one that the device has ends.
    Renew(DeviceRenew),
    /// Publish readings, one a line, until each is acknowledged.
    Publish(DevicePublish),
    /// Publish a file of up to 1 GiB as one record, in chunks, until it is committed on the ledger. Run
    /// again after it broke off, it sends what the oracle does not have.
    PublishObject(DevicePublishObject),
    /// Be a fleet of devices that measure made-up patients: for tests and demonstrations.
    Simulate(DeviceSimulate),
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Version {
    /// MQTT 3.1.1.
    #[value(name = "3.1.1")]
    V3,
    /// MQTT 5.
    #[value(name = "5")]
    V5,
}

/// A device and the broker that it publishes to.
#[derive(Debug, Args)]
pub(crate) struct DeviceSession {
    /// The device ID.
    #[arg(long)]
    pub(crate) device: DeviceId,
    /// The oracle's broker.
    #[arg(long, value_name = "mqtts://HOST:PORT")]
    pub(crate) broker: String,
    /// CA of the broker's certificate (PEM).
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: PathBuf,
    /// The device's certificate (PEM).
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: PathBuf,
    /// The device's private key (PEM).
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
}

/// Where a device enrols, and where what it gets is kept.
#[derive(Debug, Args)]
pub(crate) struct DevicePlace {
    /// The device ID.
    #[arg(long)]
    pub(crate) device: DeviceId,
    /// The oracle's REST API.
    #[arg(long, value_name = "https://HOST:PORT")]
    pub(crate) oracle: String,
    /// CA of the oracle's certificate (PEM).
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: PathBuf,
    /// The device's folder, made if need be: device.pem in it is certificate and key, for the
    /// options --certificate and --key.
    #[arg(long, value_name = "DIR")]
    pub(crate) folder: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct DeviceEnrol {
    #[command(flatten)]
    pub(crate) place: DevicePlace,
    /// The file with the token; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct DeviceRenew {
    #[command(flatten)]
    pub(crate) place: DevicePlace,
}

#[derive(Debug, Args)]
pub(crate) struct DeviceSimulate {
    /// The devices: a folder each, named by the device ID, with device.pem in it.
    #[arg(long, value_name = "DIR")]
    pub(crate) fleet: PathBuf,
    /// The oracle's broker.
    #[arg(
        long,
        value_name = "mqtts://HOST:PORT",
        required_unless_present = "print"
    )]
    pub(crate) broker: Option<String>,
    /// CA of the broker's certificate (PEM).
    #[arg(long, value_name = "FILE", required_unless_present = "print")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Devices that measure vital signs: heart rate, oxygen, breathing, temperature, blood pressure.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) vital_signs: usize,
    /// Devices that record an electrocardiogram, in strips of sampled data.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) ecg: usize,
    /// Devices that measure glucose.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) glucose: usize,
    /// Readings of each device a minute.
    #[arg(long, value_name = "N", default_value_t = 12.0, value_parser = per_minute)]
    pub(crate) rate: f64,
    /// How long they measure: seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) duration: u64,
    /// The same seed makes the same patients and values.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// The time of the first reading; now, if left out.
    #[arg(long, value_name = "TIME")]
    pub(crate) start: Option<contract_interface::UtcTime>,
    /// Readings in a thousand that are artefacts: a loose sensor, a wrong value.
    #[arg(long, value_name = "PER MILLE", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=1000))]
    pub(crate) outliers: u16,
    /// Readings in a thousand that change places with the next one.
    #[arg(long, value_name = "PER MILLE", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=1000))]
    pub(crate) out_of_order: u16,
    /// Readings in a thousand that are sent only at the end, as after a lost connection.
    #[arg(long, value_name = "PER MILLE", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=1000))]
    pub(crate) late: u16,
    /// Print the readings, one a line, and send nothing.
    #[arg(long)]
    pub(crate) print: bool,
    /// Protocol version.
    #[arg(long, value_enum, default_value = "5")]
    pub(crate) mqtt_version: Version,
    /// Give up when no acknowledgement and no receipt comes for so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) patience: u64,
}

/// More than none, and no more than a device could measure.
fn per_minute(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    if rate > 0.0 && rate <= 6000.0 {
        Ok(rate)
    } else {
        Err("from above 0 to 6000 readings a minute".to_owned())
    }
}

#[derive(Debug, Args)]
pub(crate) struct DevicePublish {
    #[command(flatten)]
    pub(crate) session: DeviceSession,
    /// The readings, one a line; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Number the readings from here; without it the oracle tells them apart by content.
    #[arg(long, value_name = "N")]
    pub(crate) seq_start: Option<u64>,
    /// What the lines are.
    #[arg(long, default_value = "application/fhir+json")]
    pub(crate) content_type: String,
    /// Sign each reading with the device's key; for compact readings in JSON. Signing twice gives
    /// other bytes: with --seq-start, a second try is refused as another reading of that number.
    #[arg(long)]
    pub(crate) sign: bool,
    /// Protocol version.
    #[arg(long, value_enum, default_value = "5")]
    pub(crate) mqtt_version: Version,
    /// Wait until every reading is committed on the ledger.
    #[arg(long)]
    pub(crate) wait_receipts: bool,
    /// Keep the readings in this folder, from being accepted until their receipts come: a reading
    /// that was accepted survives a crash and is sent again. Ends when all have their receipts. With
    /// --json each step is a line; {"accepted":N} says that N readings are safe.
    #[arg(long, value_name = "DIR")]
    pub(crate) buffer: Option<PathBuf>,
    /// Bytes of readings that may wait in the folder.
    #[arg(long, value_name = "BYTES", requires = "buffer", default_value_t = salus::publish::OUTBOX_BYTES)]
    pub(crate) buffer_bytes: u64,
    /// Send readings again that the oracle refused before.
    #[arg(long, requires = "buffer")]
    pub(crate) retry_refused: bool,
    /// Give up when no acknowledgement and no receipt comes for so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) patience: u64,
}

#[derive(Debug, Args)]
pub(crate) struct DevicePublishObject {
    /// The file.
    pub(crate) file: PathBuf,
    /// What it is; the oracle refuses a DICOM file that is none.
    #[arg(long, value_name = "TYPE")]
    pub(crate) content_type: String,
    #[command(flatten)]
    pub(crate) session: DeviceSession,
    /// The device's name for the object; without it one is made of the content.
    #[arg(long, value_name = "ID")]
    pub(crate) object_id: Option<DeviceId>,
    /// The device's number for it, never used for another reading or object.
    #[arg(long, value_name = "N")]
    pub(crate) seq: Option<u64>,
    /// LOINC code or category; without it the oracle makes a category of the content type.
    #[arg(long = "type", value_name = "CODE")]
    pub(crate) record_type: Option<String>,
    /// When it was measured (RFC 3339); without it the time at which the oracle receives it counts.
    #[arg(long)]
    pub(crate) time: Option<String>,
    /// Bytes of a chunk, 1024 to 1048576.
    #[arg(long, value_name = "BYTES", default_value_t = salus::publish::CHUNK_BYTES_DEFAULT,
        value_parser = clap::value_parser!(u32).range(1024..=1_048_576))]
    pub(crate) chunk_size: u32,
    /// Sign the manifest with the device's key.
    #[arg(long)]
    pub(crate) sign: bool,
    /// Protocol version.
    #[arg(long, value_enum, default_value = "5")]
    pub(crate) mqtt_version: Version,
    /// Give up when nothing comes nearer to the end for so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub(crate) patience: u64,
}
