//! Acting as a device.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use contract_interface::DeviceId;

#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// Publish readings, one a line, until each is acknowledged.
    Publish(DevicePublish),
    /// Publish a file of up to 1 GiB as one record, in chunks, until it is committed on the ledger. Run
    /// again after it broke off, it sends what the oracle does not have.
    PublishObject(DevicePublishObject),
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

#[derive(Debug, Args)]
pub(crate) struct DevicePublish {
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
