//! One device's connection: reads packets, asks the intake, answers.
//!
//! A PUBACK or PUBREC MUST NOT go out before the intake said that the message is durable, and acknowledgements go
//! out in the order of the messages.

mod readings;
mod retained;
mod waits;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use contract_interface::DeviceId;
use futures::stream::FuturesOrdered;
use futures::{FutureExt, StreamExt};
use rumqttd::protocol::{DisconnectReasonCode, Packet, PingResp};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use super::delivery::{DeviceLink, Outgoing};
use super::outbound::Outbound;
use super::refusal;
use super::sessions::{Lease, Thumbprint};
use super::will::{Due, Will};
use super::wire::{self, Farewell, FromDevice, Version, WireError};
use super::{Front, IN_FLIGHT_BYTES_MAX, RECEIVE_MAXIMUM, greeting, reply};
use crate::ingest::intake::{self, IntakeError};
use readings::Asked;
use waits::{Held, Place, Waiting, held_maybe, wait_maybe};

/// A write to the device may take this long.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// A packet that began must end within this time.
const PACKET_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a refused device is listened to, so that it reads the reason before the connection is reset.
const LINGER: Duration = Duration::from_secs(2);
/// Bytes asked of the network at once: of a device that says something now and then, and of one that has more to say.
const READ_BYTES: std::ops::RangeInclusive<usize> = 128..=16 << 10;
/// The latter is reached in steps of this factor.
const READ_GROWTH: usize = 8;
/// Bytes read from a refused device at most.
const LINGER_BYTES: usize = 32 << 20;

/// Why a connection ends.
#[derive(Debug)]
pub(super) enum End {
    /// The device said that it leaves.
    Left,
    /// The device said that it leaves, and that its will is to be published.
    LeftWithWill,
    /// The network failed, or the device left without a word.
    Gone,
    /// The device is told why, if it speaks MQTT 5.
    Tell(DisconnectReasonCode, &'static str),
}

impl End {
    /// For logs and metrics.
    fn name(&self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::LeftWithWill => "left-with-will",
            Self::Gone => "connection-lost",
            Self::Tell(_, name) => name,
        }
    }
}

impl From<WireError> for End {
    fn from(error: WireError) -> Self {
        Self::Tell(refusal::wire(error), refusal::wire_name(error))
    }
}

type Asking = Pin<Box<dyn Future<Output = Asked> + Send>>;
/// Who is at the other end, once its CONNECT was accepted.
pub(super) struct Peer {
    pub(super) version: Version,
    pub(super) device: DeviceId,
    pub(super) certificate: Option<fabric_msp::Certificate>,
    pub(super) thumbprint: Thumbprint,
    pub(super) keep_alive: Option<Duration>,
    pub(super) receive_maximum: u16,
    /// Bytes of a packet that is taken from the device.
    pub(super) packet_bytes: usize,
    /// Bytes of a packet that the device takes.
    pub(super) packet_bytes_max: Option<usize>,
    pub(super) lease: Lease,
    pub(super) will: Option<Will>,
}

/// An accepted connection.
pub(super) struct Connection<S> {
    pub(super) front: Arc<Front>,
    stream: S,
    input: BytesMut,
    /// Bytes that the next read may bring at least.
    read_bytes: usize,
    pub(super) output: BytesMut,
    pub(super) peer: Peer,
    asking: FuturesOrdered<Asking>,
    asking_bytes: usize,
    pub(super) link: Option<DeviceLink>,
    pub(super) outbound: Outbound,
    /// Subscriptions that are to get what is retained, by the quality they were granted.
    pub(super) retained_due: VecDeque<u8>,
    since: Instant,
    /// PUBLISH packets that came.
    messages: u64,
    last_packet: Instant,
    packet_began: Option<Instant>,
    /// A PUBLISH above the rate. While it waits nothing more is read.
    held: Option<Held>,
    /// Since when the device has been above its own rate without a pause.
    above_since: Option<Instant>,
    /// The place of the large packet that is being read.
    large: Option<Place>,
    /// The wait for that place. While it lasts nothing more is read, but everything else goes on: what this
    /// connection asked of the journal may hold the places that others wait for.
    large_wait: Option<Waiting>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection<S> {
    pub(super) fn new(front: Arc<Front>, stream: S, input: BytesMut, peer: Peer) -> Self {
        Self {
            front,
            stream,
            input,
            read_bytes: *READ_BYTES.start(),
            output: BytesMut::new(),
            outbound: Outbound::new(peer.receive_maximum),
            peer,
            asking: FuturesOrdered::new(),
            asking_bytes: 0,
            link: None,
            retained_due: VecDeque::new(),
            since: Instant::now(),
            messages: 0,
            last_packet: Instant::now(),
            packet_began: None,
            held: None,
            above_since: None,
            large: None,
            large_wait: None,
        }
    }

    /// Serves the device until either side ends it. `welcome` goes out first. What is left is the device's will,
    /// unless it left in peace.
    pub(super) async fn serve(mut self, welcome: Packet) -> Option<Due> {
        self.connected();
        let end = match self.begin(welcome).await {
            Ok(()) => self.run().await,
            Err(end) => end,
        };
        self.disconnected(&end);
        // What is being made durable is finished and acknowledged before the connection ends.
        while let Some(asked) = self.asking.next().await {
            match asked.result {
                Ok(_) => self.kept(asked.qos, asked.pkid),
                Err(error) if self.peer.version == Version::V5 && asked.qos > 0 => {
                    self.put(reply::refused(asked.qos, asked.pkid, &error));
                }
                Err(_) => {}
            }
        }
        let will = self.will(&end);
        let is_told = matches!(end, End::Tell(..));
        if let End::Tell(code, name) = end
            && self.peer.version == Version::V5
        {
            self.put(reply::goodbye(code, name));
        }
        let is_flushed = self.flush().await.is_ok();
        if let Some(link) = self.link.take() {
            link.close().await;
        }
        let Self {
            mut stream, peer, ..
        } = self;
        // The session is free: who takes it over does not wait for a device that may be gone.
        drop(peer);
        if is_told && is_flushed {
            Box::pin(linger(&mut stream)).await;
        }
        will
    }

    /// Takes the will out of a connection that has ended.
    fn will(&mut self, end: &End) -> Option<Due> {
        let will = self.peer.will.take()?;
        if matches!(end, End::Left) {
            return None;
        }
        let lease = &mut self.peer.lease;
        let stopping = self.front.stopping.is_cancelled();
        let kept = lease.kept_for().filter(|_| !stopping);
        let (due, resume) = Due::new(will, self.peer.device.clone(), lease.link_name(), kept);
        lease.will = resume;
        Some(due)
    }

    fn connected(&self) {
        let Peer {
            version, device, ..
        } = &self.peer;
        let (version, resumed) = (version.name(), self.peer.lease.resumed);
        metrics::counter!("salus_mqtt_connects_total", "version" => version).increment(1);
        let certified = self.peer.certificate.is_some();
        tracing::info!(%device, version, resumed, certified, "device connected");
    }

    fn disconnected(&self, end: &End) {
        let reason = end.name();
        metrics::counter!("salus_mqtt_disconnects_total", "reason" => reason).increment(1);
        tracing::info!(
            device = %self.peer.device,
            reason,
            seconds = self.since.elapsed().as_secs(),
            messages = self.messages,
            "device disconnected"
        );
    }

    async fn begin(&mut self, welcome: Packet) -> Result<(), End> {
        if self.peer.lease.resumed {
            Box::pin(self.open_link()).await?;
        }
        self.put(welcome);
        self.send_unacknowledged();
        self.flush().await
    }

    async fn run(&mut self) -> End {
        let mut recheck = tokio::time::interval(self.front.limits.recheck);
        recheck.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        recheck.reset();
        let stopping = self.front.stopping.clone();
        let leave = self.peer.lease.leave.clone();
        let changed = Arc::clone(&self.peer.lease.recheck);
        loop {
            if self.input.is_empty() {
                self.packet_began = None;
                self.let_go();
            } else if let Err(end) = Box::pin(self.packets_at_hand()).await {
                // What packets need while they are worked on is not kept for the time between them.
                return end;
            }
            self.send_retained();
            if let Err(end) = self.flush().await {
                return end;
            }
            let deadline = self.deadline();
            let may_read = self.may_read();
            if may_read {
                self.input.reserve(self.read_bytes);
            }
            let room = self.outbound.has_room();
            let step = tokio::select! {
                biased;
                () = stopping.cancelled() => {
                    Err(End::Tell(DisconnectReasonCode::ServerShuttingDown, "server-shutting-down"))
                }
                () = leave.cancelled() => {
                    Err(End::Tell(DisconnectReasonCode::SessionTakenOver, "session-taken-over"))
                }
                Some(asked) = self.asking.next() => self.decided(asked).await,
                place = wait_maybe(&mut self.large_wait) => {
                    self.large_wait = None;
                    self.large = place;
                    self.packet_began = Some(Instant::now());
                    Ok(())
                }
                held = held_maybe(&mut self.held) => {
                    Box::pin(self.pace(held.publish, held.paid)).await
                }
                // Before the reading, so that a device that never pauses is checked nevertheless.
                _ = recheck.tick() => Box::pin(self.recheck()).await,
                () = changed.notified() => self.recheck().await,
                message = next_message(&mut self.link), if room => match message {
                    Ok(message) => Box::pin(self.deliver(message)).await,
                    Err(_) => Err(End::Tell(DisconnectReasonCode::UnspecifiedError, "delivery-failed")),
                },
                read = self.stream.read_buf(&mut self.input), if may_read => match read {
                    Ok(0) | Err(_) => Err(End::Gone),
                    Ok(bytes) => {
                        if bytes >= self.read_bytes {
                            let more = self.read_bytes * READ_GROWTH;
                            self.read_bytes = more.min(*READ_BYTES.end());
                        }
                        Ok(())
                    }
                },
                () = tokio::time::sleep_until(deadline), if may_read => {
                    Err(End::Tell(DisconnectReasonCode::KeepAliveTimeout, "keep-alive-timeout"))
                }
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    /// A device that has said everything, and was answered, needs no buffer.
    fn let_go(&mut self) {
        if self.asking.is_empty() && self.read_bytes > *READ_BYTES.start() {
            self.input = BytesMut::new();
            self.read_bytes = *READ_BYTES.start();
        }
    }

    /// Answers the oldest message asked about, which is decided on, and those after it that are, too: one write
    /// tells the device of all.
    async fn decided(&mut self, first: Asked) -> Result<(), End> {
        let mut next = Some(first);
        while let Some(asked) = next {
            self.answered(asked).await?;
            next = self.asking.next().now_or_never().flatten();
        }
        Ok(())
    }

    /// No more is read than the journal can take: back-pressure reaches the device through TCP.
    fn may_read(&self) -> bool {
        self.large_wait.is_none()
            && self.held.is_none()
            && self.asking.len() < usize::from(RECEIVE_MAXIMUM)
            && self.asking_bytes < IN_FLIGHT_BYTES_MAX
    }

    fn deadline(&self) -> Instant {
        let far = Duration::from_secs(86_400 * 365);
        let silent = self
            .peer
            .keep_alive
            .map_or(far, |keep_alive| keep_alive.mul_f32(1.5));
        let deadline = self.last_packet + silent;
        self.packet_began
            .map_or(deadline, |began| deadline.min(began + PACKET_TIMEOUT))
    }

    async fn packets_at_hand(&mut self) -> Result<(), End> {
        while self.may_read() {
            let frame = wire::take_frame(&mut self.input, self.peer.packet_bytes);
            let frame = match frame {
                Ok(frame) => frame,
                Err(error) => {
                    Box::pin(self.letter_for_packet(error)).await;
                    return Err(error.into());
                }
            };
            let Some(frame) = frame else {
                self.packet_began = match self.input.is_empty() {
                    true => None,
                    false => self.packet_began.or_else(|| Some(Instant::now())),
                };
                self.want_place_for_large();
                return Ok(());
            };
            self.last_packet = Instant::now();
            self.packet_began = None;
            let packet = match frame.decode(self.peer.version) {
                Ok(packet) => packet,
                Err(error) => {
                    Box::pin(self.letter_for_packet(error)).await;
                    return Err(error.into());
                }
            };
            self.on_packet(packet).await?;
            // A message on its way to the disk has taken its place along.
            if self.held.is_none() {
                self.large = None;
            }
        }
        Ok(())
    }

    async fn on_packet(&mut self, packet: FromDevice) -> Result<(), End> {
        match packet {
            FromDevice::Publish(publish) => self.at_its_time(publish).await,
            FromDevice::PubAck(pkid) => self.acknowledged(pkid).await,
            FromDevice::PubRel(pkid) => {
                let known = self.peer.lease.memory.unreleased.remove(&pkid);
                self.put(reply::completed(pkid, known));
                Ok(())
            }
            FromDevice::Subscribe {
                identified: true, ..
            } => Err(End::Tell(
                DisconnectReasonCode::SubscriptionIdentifiersNotSupported,
                "subscription-identifiers-not-supported",
            )),
            FromDevice::Subscribe { subscribe, .. } => self.on_subscribe(subscribe).await,
            FromDevice::Unsubscribe(unsubscribe) => {
                let mut existed = Vec::with_capacity(unsubscribe.filters.len());
                for filter in unsubscribe.filters {
                    existed.push(self.unsubscribe(&filter).await?);
                }
                self.put(reply::unsubscribed(unsubscribe.pkid, &existed));
                Ok(())
            }
            FromDevice::Ping => {
                self.put(Packet::PingResp(PingResp));
                Ok(())
            }
            FromDevice::Disconnect(farewell) => Err(self.farewell(farewell)),
        }
    }

    async fn recheck(&mut self) -> Result<(), End> {
        let not_authorized =
            || End::Tell(DisconnectReasonCode::NotAuthorized, "device-not-authorized");
        if let Some(certificate) = &self.peer.certificate {
            let now = intake::now().unix_seconds();
            let checked = self.front.check(certificate, now);
            checked.map_err(|_| not_authorized())?;
        }
        let Peer {
            device, thumbprint, ..
        } = &self.peer;
        match self.front.intake.admit(device, *thumbprint).await {
            Ok(_) | Err(IntakeError::LookupFailed) => Ok(()),
            Err(_) => Err(not_authorized()),
        }
    }

    fn farewell(&mut self, farewell: Farewell) -> End {
        if farewell.session_expiry.is_some() {
            let keep = greeting::kept_as_asked(farewell.session_expiry);
            if !self.peer.lease.keep_for(keep) {
                let code = DisconnectReasonCode::ProtocolError;
                return End::Tell(code, "session-expiry-not-zero");
            }
        }
        match farewell.with_will {
            true => End::LeftWithWill,
            false => End::Left,
        }
    }

    /// Acknowledges a kept message.
    fn kept(&mut self, qos: u8, pkid: u16) {
        if qos == 2 {
            self.peer.lease.memory.unreleased.insert(pkid);
        }
        self.extend(reply::kept(qos, pkid));
    }

    pub(super) fn put(&mut self, packet: Packet) {
        if let Err(error) = self.peer.version.encode(packet, &mut self.output) {
            tracing::error!(%error, "a packet could not be encoded");
        }
    }

    fn extend(&mut self, packet: Option<Packet>) {
        if let Some(packet) = packet {
            self.put(packet);
        }
    }

    async fn flush(&mut self) -> Result<(), End> {
        if self.output.is_empty() {
            return Ok(());
        }
        let written = async {
            self.stream.write_all(&self.output).await?;
            self.stream.flush().await
        };
        match tokio::time::timeout(WRITE_TIMEOUT, written).await {
            Ok(Ok(())) => {
                self.output.clear();
                Ok(())
            }
            Ok(Err(_)) | Err(_) => Err(End::Gone),
        }
    }
}

/// The next message of a link; never, if there is none.
async fn next_message(
    link: &mut Option<DeviceLink>,
) -> Result<Outgoing, super::delivery::DeliveryError> {
    match link {
        Some(link) => link.next().await,
        None => std::future::pending().await,
    }
}

/// Closes the writing side and reads on for a moment: closing at once would reset the connection and could take
/// the reason away from the device before it read it.
pub(super) async fn linger<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    let listened = async {
        if stream.shutdown().await.is_err() {
            return;
        }
        let mut sink = vec![0; 64 << 10];
        let mut total = 0;
        while total < LINGER_BYTES {
            match stream.read(&mut sink).await {
                Ok(0) | Err(_) => return,
                Ok(bytes) => total += bytes,
            }
        }
    };
    drop(tokio::time::timeout(LINGER, listened).await);
}
