//! A device's side: publishing readings over MQTT until each is acknowledged, which means durable
//! at the oracle, and, if asked, until each has its receipt, which means committed on the ledger.
//!
//! The MQTT client is rumqttc; its connection runs over TLS made here, through a socket in a
//! private folder, so that the workspace has one TLS stack.

mod bridge;
mod courier;
mod object;
mod outbox;
mod receipts;
mod session;

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use contract_interface::{DeviceId, RecordId};

pub use courier::{Delivered, Event, deliver};
pub use object::{CHUNK_BYTES_DEFAULT, OBJECT_BYTES_MAX, ObjectOptions, Progress, publish_object};
pub use outbox::{OUTBOX_BYTES, Outbox, OutboxError, Outgoing};
pub use receipts::{ReadingName, Receipt};

/// Most messages that are on their way without an acknowledgement.
pub const INFLIGHT_MAX: u16 = 100;
/// Largest packet in either direction, bytes.
pub const PACKET_BYTES_MAX: usize = 1024 * 1024 * 8;

/// The protocol version to speak.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MqttVersion {
    /// MQTT 3.1.1.
    V3,
    /// MQTT 5.
    #[default]
    V5,
}

/// Where and as whom to publish.
#[derive(Debug, Clone)]
pub struct Options {
    /// The broker's host name or address.
    pub host: String,
    /// The broker's port.
    pub port: u16,
    /// PEM file of the CA behind the broker's certificate.
    pub ca_file: PathBuf,
    /// PEM file of the device's certificate, whose common name is the device ID.
    pub certificate_file: PathBuf,
    /// PEM file of the device's private key.
    pub key_file: PathBuf,
    /// The device.
    pub device_id: DeviceId,
    /// Protocol version.
    pub version: MqttVersion,
    /// Content type of every message.
    pub content_type: String,
    /// Whether to wait for the receipt of every message.
    pub wait_for_receipts: bool,
    /// How long no acknowledgement and no receipt may come before giving up.
    pub patience: Duration,
}

/// One message to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The device's sequence number; without one the oracle tells messages apart by content.
    pub seq: Option<u64>,
    /// The payload.
    pub payload: Bytes,
}

/// What became of the messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Published {
    /// Messages acknowledged: all of them.
    pub acknowledged: usize,
    /// Receipts, if they were waited for.
    pub receipts: Vec<Receipt>,
}

/// Why publishing ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// A certificate, key or CA file cannot be used.
    #[error("{0}")]
    Identity(String),
    /// The connection cannot be made or was lost.
    #[error("the broker at {address} cannot be used")]
    Connection {
        /// Host and port.
        address: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The broker answered a message with a refusal; earlier ones are acknowledged.
    #[error("the broker refused message {index}: {reason}")]
    Refused {
        /// Which message, from 0.
        index: usize,
        /// The broker's reason code.
        reason: String,
    },
    /// The ledger's contract refuses readings that are durable at the oracle, or they can be no record
    /// yet; the oracle tries again.
    #[error(
        "{} not on the ledger: {refused}; the oracle keeps the readings and tries again",
        match record_id { Some(id) => format!("record {id} is"), None => "the readings are".to_owned() }
    )]
    NotRegistered {
        /// The record that they are part of; none if they are in none yet.
        record_id: Option<RecordId>,
        /// The code of what is wrong.
        refused: String,
    },
    /// The file of an object is empty or too large.
    #[error("an object has 1 to {OBJECT_BYTES_MAX} bytes, this one has {bytes}")]
    ObjectSize {
        /// Bytes of the file.
        bytes: u64,
    },
    /// The oracle does not take the object, or not now.
    #[error("the oracle does not take the object: {reason}")]
    ObjectRefused {
        /// The oracle's word for it.
        reason: String,
    },
    /// Nothing came nearer to the end for [`Options::patience`].
    #[error(
        "no answer for {seconds} s: {acknowledged} of {messages} messages acknowledged, {receipted} with receipt"
    )]
    TimedOut {
        /// How long was waited, seconds.
        seconds: u64,
        /// Messages acknowledged.
        acknowledged: usize,
        /// Messages with a receipt.
        receipted: usize,
        /// Messages given.
        messages: usize,
    },
    /// The readings cannot be kept on this machine's disk.
    #[error(transparent)]
    Outbox(OutboxError),
    /// A socket of this machine cannot be used.
    #[error("a local socket cannot be used")]
    Io(#[from] std::io::Error),
}

/// Publishes messages in order with QoS 1 and waits for their acknowledgements.
///
/// Sending a message again that was acknowledged before does no harm: the oracle tells by sequence
/// number or content.
///
/// # Errors
/// See [`PublishError`]; which messages were acknowledged is in it where it matters.
pub async fn publish(options: &Options, messages: &[Message]) -> Result<Published, PublishError> {
    if messages.is_empty() {
        return Ok(Published::default());
    }
    let bridge = bridge::Bridge::start(options)?;
    let result = session::run(options, bridge.socket(), messages).await;
    bridge.stop().await;
    result
}
