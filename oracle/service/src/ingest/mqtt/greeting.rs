//! From an open stream to an admitted device: the CONNECT and its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use contract_interface::DeviceId;
use fabric_msp::Certificate;
use rumqttd::protocol::{ConnectProperties, Packet};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::server::TlsStream;

use super::connection::{Connection, Peer, linger};
use super::refusal::ConnectRefusal;
use super::will::{Due, Will};
use super::wire::{self, Greeting, Version, WireError};
use super::{Front, RECEIVE_MAXIMUM, reply};
use crate::ingest::intake::IntakeError;

/// Bytes of a CONNECT; who sends it is not admitted yet.
const CONNECT_BYTES_MAX: usize = 64 << 10;
/// Bytes of a client identifier.
const CLIENT_ID_BYTES_MAX: usize = 256;
/// A session is kept this long after its connection ends, at most.
const SESSION_KEPT_MAX: Duration = Duration::from_secs(24 * 3600);
/// Messages the router hands out unacknowledged; a device that names no maximum takes 65,535.
const RECEIVE_MAXIMUM_DEFAULT: u16 = u16::MAX;

/// Who is at the other end.
pub(super) enum Identity {
    /// A device with this certificate, which the MSP has accepted.
    Certified(DeviceId, Certificate),
    /// Whoever the CONNECT says: the insecure port.
    ByClientId,
}

/// The device of a finished TLS handshake: the CN of its certificate.
pub(super) fn certified(stream: &TlsStream<TcpStream>) -> Option<Identity> {
    let (_, session) = stream.get_ref();
    let der = session.peer_certificates()?.first()?;
    let certificate = Certificate::from_der(der).ok()?;
    let device = certificate
        .subject_common_name()
        .and_then(|cn| cn.parse().ok());
    match device {
        Some(device) => Some(Identity::Certified(device, certificate)),
        None => {
            tracing::info!(
                serial = certificate.serial_hex(),
                "the certificate's CN is no device ID"
            );
            None
        }
    }
}

/// Reads the CONNECT, answers it, and serves an admitted device until it leaves. What is left is its will.
pub(super) async fn welcome<S>(
    front: Arc<Front>,
    mut stream: S,
    identity: Identity,
    handshake: OwnedSemaphorePermit,
    packet_bytes: usize,
) -> Option<Due>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut input = BytesMut::new();
    let greeted = tokio::time::timeout(
        front.limits.handshake,
        read_greeting(&mut stream, &mut input),
    );
    let greeting = tokio::select! {
        () = front.stopping.cancelled() => return None,
        greeted = greeted => match greeted {
            Ok(Ok(greeting)) => greeting,
            Ok(Err(error)) => {
                tracing::info!(?error, "no CONNECT");
                if matches!(error, Some(WireError::Version)) {
                    let answer = reply::wrong_version();
                    Box::pin(send(&front, &mut stream, Version::V4, answer)).await;
                }
                return None;
            }
            Err(_) => {
                tracing::info!("the CONNECT took too long");
                return None;
            }
        },
    };
    let version = greeting.version;
    let seat = Arc::clone(&front.seats).try_acquire_owned();
    let admitted = match &seat {
        Ok(_) => Box::pin(admit(&front, identity, greeting, packet_bytes)).await,
        Err(_) => Err(ConnectRefusal::Busy),
    };
    match admitted {
        Ok((peer, welcome)) => {
            drop(handshake);
            Box::pin(Connection::new(front, stream, input, peer).serve(welcome)).await
        }
        Err(refusal) => {
            metrics::counter!("salus_mqtt_connects_refused_total", "reason" => refusal.name())
                .increment(1);
            tracing::info!(reason = refusal.name(), "device refused");
            // Who was refused and stays on the line counts as unfinished, so that such are bounded, too.
            drop(seat);
            let answer = reply::unwelcome(refusal, version);
            Box::pin(send(&front, &mut stream, version, answer)).await;
            drop(handshake);
            None
        }
    }
}

async fn send<S>(front: &Front, stream: &mut S, version: Version, packet: Packet)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut bytes = BytesMut::new();
    if version.encode(packet, &mut bytes).is_err() {
        return;
    }
    let sent = async {
        if stream.write_all(&bytes).await.is_ok() && stream.flush().await.is_ok() {
            linger(stream).await;
        }
    };
    tokio::select! {
        () = front.stopping.cancelled() => {}
        sent = tokio::time::timeout(front.limits.handshake, sent) => {
            if sent.is_err() {
                tracing::info!("the refusal could not be sent in time");
            }
        }
    }
}

/// `Err(None)` when the stream ended.
async fn read_greeting<S: AsyncRead + Unpin>(
    stream: &mut S,
    input: &mut BytesMut,
) -> Result<Greeting, Option<WireError>> {
    loop {
        if let Some(frame) = wire::take_frame(input, CONNECT_BYTES_MAX).map_err(Some)? {
            return frame.greeting().map_err(Some);
        }
        match stream.read_buf(input).await {
            Ok(0) | Err(_) => return Err(None),
            Ok(_) => {}
        }
    }
}

async fn admit(
    front: &Arc<Front>,
    identity: Identity,
    greeting: Greeting,
    packet_bytes: usize,
) -> Result<(Peer, Packet), ConnectRefusal> {
    let Greeting {
        version,
        connect,
        properties,
        will,
    } = greeting;
    let properties = properties.as_ref();
    if properties.is_some_and(|p| p.authentication_method.is_some()) {
        return Err(ConnectRefusal::AuthenticationMethod);
    }
    if connect.client_id.len() > CLIENT_ID_BYTES_MAX || connect.client_id.contains('\0') {
        return Err(ConnectRefusal::ClientId);
    }
    let (device, certificate) = match identity {
        Identity::Certified(device, certificate) => (device, Some(certificate)),
        Identity::ByClientId => {
            let device = connect.client_id.parse();
            (device.map_err(|_| ConnectRefusal::ClientId)?, None)
        }
    };
    let thumbprint = certificate.as_ref().map(Certificate::thumbprint);
    let admitted = front.intake.admit(&device, thumbprint).await;
    admitted.map_err(|error| match error {
        IntakeError::LookupFailed => ConnectRefusal::Unavailable,
        _ => ConnectRefusal::NotAuthorized,
    })?;
    let will = will.map(|(will, properties)| Will::accept(&device, will, properties));
    let will = will.transpose()?;
    let (client_id, assigned) = client_id(version, connect.client_id, connect.clean_session)?;
    let keep = kept_for(version, connect.clean_session, properties);
    let lease = front
        .sessions
        .enter(&device, &client_id, thumbprint, connect.clean_session, keep)
        .await?;
    let expiry = keep.map_or(0, |keep| u32::try_from(keep.as_secs()).unwrap_or(u32::MAX));
    let welcome = reply::welcome(lease.resumed, assigned, expiry, packet_bytes);
    let peer = Peer {
        version,
        device,
        certificate,
        thumbprint,
        keep_alive: match connect.keep_alive {
            0 => None,
            seconds => Some(Duration::from_secs(u64::from(seconds))),
        },
        receive_maximum: properties
            .and_then(|p| p.receive_maximum)
            .unwrap_or(RECEIVE_MAXIMUM_DEFAULT),
        packet_bytes,
        packet_bytes_max: properties
            .and_then(|p| p.max_packet_size)
            .and_then(|bytes| usize::try_from(bytes).ok()),
        lease,
        will,
    };
    Ok((peer, welcome))
}

/// A client without identifier gets one, which MQTT 5 tells it; 3.1.1 allows that for clean sessions only.
fn client_id(
    version: Version,
    given: String,
    clean: bool,
) -> Result<(String, Option<String>), ConnectRefusal> {
    static ASSIGNED: AtomicU64 = AtomicU64::new(1);
    if !given.is_empty() {
        return Ok((given, None));
    }
    if version == Version::V4 && !clean {
        return Err(ConnectRefusal::ClientId);
    }
    let assigned = format!("assigned-{}", ASSIGNED.fetch_add(1, Ordering::Relaxed));
    Ok((assigned.clone(), Some(assigned)))
}

/// How long the session is kept after the connection: 3.1.1 says whether, MQTT 5 how long.
fn kept_for(
    version: Version,
    clean: bool,
    properties: Option<&ConnectProperties>,
) -> Option<Duration> {
    match version {
        Version::V4 => (!clean).then_some(SESSION_KEPT_MAX),
        Version::V5 => kept_as_asked(properties.and_then(|p| p.session_expiry_interval)),
    }
}

/// A Session Expiry Interval of MQTT 5, seconds; absent it is 0.
pub(super) fn kept_as_asked(seconds: Option<u32>) -> Option<Duration> {
    let asked = Duration::from_secs(u64::from(seconds.unwrap_or(0)));
    (!asked.is_zero()).then(|| asked.min(SESSION_KEPT_MAX))
}

const _: () = assert!(RECEIVE_MAXIMUM > 0, "MQTT 5 forbids a Receive Maximum of 0");
