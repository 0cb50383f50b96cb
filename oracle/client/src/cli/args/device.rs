//! Acting as a device.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use contract_interface::DeviceId;

#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// Publish readings, one a line, until each is acknowledged.
    Publish(DevicePublish),
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
