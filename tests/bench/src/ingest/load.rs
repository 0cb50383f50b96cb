//! Devices that publish as fast as they are acknowledged, or at a given rate.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures::future::try_join_all;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep_until, timeout},
};

use super::packets::{self, Answer};

/// Unacknowledged messages of all connections together: enough that nobody waits for a round trip.
const IN_FLIGHT: usize = 4_096;
/// Unacknowledged messages of one connection at most: what the oracle permits.
const IN_FLIGHT_EACH: usize = 224;
/// Unacknowledged bytes of all connections together at most.
const IN_FLIGHT_BYTES: usize = 32 << 20;
/// Connections that are opened at once.
const OPENING: usize = 200;
/// Read at once, bytes.
const BUFFER_BYTES: usize = 4 * 1024;
/// How long an answer may take before the measurement fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// How fast to publish.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// As fast as acknowledgements come.
    Full,
    /// So many messages a second, all connections together.
    PerSecond(f64),
}

/// What to publish.
#[derive(Debug, Clone, Copy)]
pub(super) enum Content {
    /// Compact readings.
    Readings,
    /// So many messages of bytes that say nothing of themselves: each is a record.
    Bytes {
        /// How many each connection sends.
        messages: usize,
    },
}

impl Content {
    const fn media_type(self) -> &'static str {
        match self {
            Self::Readings => "application/json",
            Self::Bytes { .. } => "application/octet-stream",
        }
    }

    fn payload(self, seq: u64, size: usize) -> Vec<u8> {
        match self {
            Self::Readings => reading(seq, size),
            Self::Bytes { .. } => bytes(seq, size),
        }
    }
}

/// What to do.
#[derive(Debug, Clone)]
pub(super) struct Load {
    /// The broker, `host:port`.
    pub(super) address: String,
    /// Connections, each of a device of its own.
    pub(super) connections: usize,
    /// Bytes of a message.
    pub(super) size: usize,
    /// How long to publish.
    pub(super) lasts: Duration,
    /// How fast.
    pub(super) pace: Pace,
    /// What.
    pub(super) content: Content,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Outcome {
    /// When the first message was sent.
    pub(super) began: Instant,
    /// Until the last acknowledgement.
    pub(super) seconds: f64,
    /// From sending to acknowledgement, microseconds, ascending.
    micros: Vec<u32>,
    /// The next sequence number that no message had.
    pub(super) next_seq: u64,
}

impl Outcome {
    /// Acknowledgements a second.
    pub(super) fn per_second(&self) -> f64 {
        self.micros.len() as f64 / self.seconds
    }

    /// A quantile of the time to the acknowledgement, in milliseconds.
    pub(super) fn millis(&self, quantile: f64) -> f64 {
        let last = self.micros.len().saturating_sub(1);
        let index = (last as f64 * quantile) as usize;
        self.micros.get(index).copied().map_or(0.0, f64::from) / 1e3
    }

    /// Microseconds of processor time for each message, of seconds in all.
    pub(super) fn micros_each(&self, seconds: f64) -> f64 {
        seconds * 1e6 / self.micros.len().max(1) as f64
    }
}

/// Devices that are connected.
pub(super) struct Connected(Vec<Publisher>);

/// Connects all devices.
pub(super) async fn connect(load: &Load, devices: &[String]) -> Result<Connected> {
    let devices = devices
        .get(..load.connections)
        .context("more connections than devices")?;
    let each = IN_FLIGHT.min(IN_FLIGHT_BYTES / load.size) / load.connections;
    let window = each.clamp(1, IN_FLIGHT_EACH);
    let mut publishers = Vec::with_capacity(devices.len());
    for some in devices.chunks(OPENING) {
        let opening = some
            .iter()
            .map(|device| Publisher::open(load, device, window));
        publishers.extend(try_join_all(opening).await?);
    }
    Ok(Connected(publishers))
}

/// Connects all devices, then lets them publish.
pub(super) async fn play(load: &Load, devices: &[String], first_seq: u64) -> Result<Outcome> {
    let Connected(mut publishers) = connect(load, devices).await?;
    let began = Instant::now();
    let publishing = publishers
        .iter_mut()
        .enumerate()
        .map(|(number, publisher)| {
            let started = stagger(load, number);
            publisher.publish(load, first_seq, began + started, began + load.lasts)
        });
    try_join_all(publishing).await?;
    let seconds = began.elapsed().as_secs_f64();
    let mut micros = Vec::new();
    let mut next_seq = first_seq;
    for publisher in publishers {
        next_seq = next_seq.max(publisher.next_seq);
        micros.extend(publisher.micros);
    }
    micros.sort_unstable();
    Ok(Outcome {
        began,
        seconds,
        micros,
        next_seq,
    })
}

/// The time between two messages of one connection, when it is paced.
fn interval(load: &Load) -> Option<Duration> {
    match load.pace {
        Pace::Full => None,
        Pace::PerSecond(rate) => Some(Duration::from_secs_f64(
            load.connections as f64 / rate.max(1.0),
        )),
    }
}

/// Paced connections do not all send at the same moment.
fn stagger(load: &Load, number: usize) -> Duration {
    interval(load).map_or(Duration::ZERO, |interval| {
        interval.mul_f64(number as f64 / load.connections as f64)
    })
}

/// One device's connection.
struct Publisher {
    stream: TcpStream,
    topic: String,
    received: Vec<u8>,
    /// When the message with each packet identifier, less 1, was sent.
    sent: Vec<Option<Instant>>,
    /// Packet identifiers that are free.
    free: Vec<u16>,
    micros: Vec<u32>,
    next_seq: u64,
}

impl Publisher {
    async fn open(load: &Load, device: &str, window: usize) -> Result<Self> {
        let stream = TcpStream::connect(&load.address).await?;
        stream.set_nodelay(true)?;
        let mut publisher = Self {
            stream,
            topic: format!("v1/devices/{device}/observations"),
            received: Vec::new(),
            sent: vec![None; window],
            free: (1..=u16::try_from(window)?).rev().collect(),
            micros: Vec::new(),
            next_seq: 0,
        };
        let mut packet = Vec::new();
        packets::connect(&mut packet, device);
        publisher.stream.write_all(&packet).await?;
        loop {
            publisher.receive().await?;
            if let Some((answer, bytes)) = packets::take(&publisher.received)? {
                publisher.received.drain(..bytes);
                if answer == Answer::Connected {
                    return Ok(publisher);
                }
            }
        }
    }

    async fn publish(
        &mut self,
        load: &Load,
        first_seq: u64,
        start: Instant,
        end: Instant,
    ) -> Result<()> {
        self.next_seq = first_seq;
        let interval = interval(load);
        let mut due = start;
        let mut out = Vec::new();
        loop {
            let now = Instant::now();
            out.clear();
            while now >= due && !self.is_done(load, first_seq, now, end) {
                let Some(id) = self.free.pop() else { break };
                let payload = load.content.payload(self.next_seq, load.size);
                self.next_seq += 1;
                let media_type = load.content.media_type();
                packets::publish(&mut out, &self.topic, id, media_type, &payload);
                // When it was due counts, or a server that stalls would hide its own slowness.
                let since = interval.map_or(now, |_| due);
                self.sent[usize::from(id) - 1] = Some(since);
                if let Some(interval) = interval {
                    due += interval;
                }
            }
            self.stream.write_all(&out).await?;
            let waiting = self.sent.len() > self.free.len();
            let done = self.is_done(load, first_seq, Instant::now(), end);
            if !waiting && done {
                return Ok(());
            }
            if waiting && (self.free.is_empty() || interval.is_none() || done) {
                self.acknowledgements().await?;
            } else {
                tokio::select! {
                    () = sleep_until(due.min(end).into()) => {}
                    read = self.stream.readable(), if waiting => {
                        read?;
                        self.acknowledgements().await?;
                    }
                }
            }
        }
    }

    /// Whether everything was sent.
    fn is_done(&self, load: &Load, first_seq: u64, now: Instant, end: Instant) -> bool {
        match load.content {
            Content::Readings => now >= end,
            Content::Bytes { messages } => self.next_seq - first_seq >= messages as u64,
        }
    }

    /// Waits for bytes, and takes the acknowledgements in them.
    async fn acknowledgements(&mut self) -> Result<()> {
        self.receive().await?;
        let now = Instant::now();
        let mut taken = 0;
        while let Some((answer, bytes)) = packets::take(&self.received[taken..])? {
            taken += bytes;
            if let Answer::Acknowledged(id) = answer {
                let slot = self.sent.get_mut(usize::from(id).wrapping_sub(1));
                let since = slot.and_then(Option::take).context("an unknown PUBACK")?;
                let micros = now.saturating_duration_since(since).as_micros();
                self.micros.push(u32::try_from(micros).unwrap_or(u32::MAX));
                self.free.push(id);
            }
        }
        self.received.drain(..taken);
        Ok(())
    }

    async fn receive(&mut self) -> Result<()> {
        let mut buffer = [0; BUFFER_BYTES];
        let count = timeout(PATIENCE, self.stream.read(&mut buffer))
            .await
            .context("no answer")??;
        if count == 0 {
            bail!("the broker closed the connection");
        }
        self.received.extend_from_slice(&buffer[..count]);
        Ok(())
    }
}

/// Bytes that differ for every number.
fn bytes(seq: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![b'x'; size];
    let number = seq.to_be_bytes();
    let length = number.len().min(size);
    bytes[..length].copy_from_slice(&number[..length]);
    bytes
}

/// A compact reading of `size` bytes, different for every number.
fn reading(seq: u64, size: usize) -> Vec<u8> {
    let value = 50 + seq % 70;
    let mut text = format!(
        r#"{{"seq":{seq},"time":"2026-01-01T00:00:00Z","code":"8867-4","value":{value},"unit":"/min","note":""#
    )
    .into_bytes();
    text.resize(size.saturating_sub(2).max(text.len()), b'x');
    text.extend(br#""}"#);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_are_json_of_the_size_asked_for() {
        for size in [128, 1_000, 65_536] {
            let payload = reading(1_234_567, size);
            assert_eq!(payload.len(), size);
            let value: serde_json::Value = serde_json::from_slice(&payload).unwrap();
            assert_eq!(value["seq"], 1_234_567);
        }
    }
}
