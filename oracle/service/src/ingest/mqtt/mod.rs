//! The MQTT front: 3.1.1 and 5 on one port, TLS with client certificates, each device on its own topics only.
//!
//! Its own accept loop; rumqttd parses packets (`wire`) and keeps subscriptions (`delivery`). The contract is
//! that of Eclipse Hono's MQTT adapter: fixed topics, and an acknowledgement means that the message is durable. Wills
//! and a retained message go to the device's own status topic only. Who a device is comes from its certificate; on the insecure port, which listens on
//! loopback only, from its client identifier.

mod connection;
mod delivery;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod greeting;
mod outbound;
mod pace;
mod refusal;
mod reply;
mod sessions;
mod status;
mod subscribing;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tls;
mod websocket;
mod will;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fabric_msp::{Certificate, MspError, MspId};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

#[cfg(test)]
pub(crate) use delivery::Listener;
pub use delivery::{Delivery, DeliveryError, RouterWatch};
pub use tls::{DeviceMsp, TlsError};

use super::intake::Intake;
use crate::config::MqttConfig;
use crate::journal::LastValues;
use greeting::Identity;
use pace::Pace;
use sessions::Sessions;
use status::Statuses;

/// Messages of one device in the works at the same time (MQTT 5 Receive Maximum): what a device needs to have the
/// journal write while it sends.
pub const RECEIVE_MAXIMUM: u16 = 224;
/// Payload bytes of one device in the works beyond which no more is read from it.
const IN_FLIGHT_BYTES_MAX: usize = 8 << 20;
/// A packet of more bytes needs one of the places for large ones before its body is read.
const LARGE_PACKET_BYTES: usize = 64 << 10;
/// Pause after an accept that failed for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Limits of the front; the default is for production.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connected devices.
    pub connections: usize,
    /// Connected devices that use WebSockets, which need more memory.
    pub websockets: usize,
    /// Connections that have not finished their CONNECT.
    pub handshakes: usize,
    /// Bytes of a packet after its fixed header.
    pub packet_bytes: usize,
    /// Large packets in memory at the same time, of all devices; with the largest packet this bounds their bytes.
    pub large_packets: usize,
    /// Time for the TLS handshake, and again for the CONNECT.
    pub handshake: Duration,
    /// Time for connections to end when the front stops.
    pub drain: Duration,
    /// Certificate and registration of a connected device are checked again this often.
    pub recheck: Duration,
    /// Revocation list and CAs are read again this often.
    pub msp_reload: Duration,
    /// Time a device may stay above its rate of messages before it is sent away.
    pub above_rate: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            websockets: 1_000,
            handshakes: 512,
            packet_bytes: 8 << 20,
            large_packets: 32,
            handshake: Duration::from_secs(10),
            drain: Duration::from_secs(15),
            recheck: Duration::from_secs(60),
            msp_reload: Duration::from_secs(30),
            above_rate: Duration::from_secs(60),
        }
    }
}

/// Why the front cannot serve.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FrontError {
    /// A port cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
    /// The insecure port is for loopback only.
    #[error("insecure_listen {address} is not a loopback address")]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// Certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// What every connection shares.
#[derive(Debug)]
struct Front {
    intake: Intake,
    delivery: Delivery,
    statuses: Statuses,
    limits: Limits,
    msp: Arc<DeviceMsp>,
    sessions: Arc<Sessions>,
    seats: Arc<Semaphore>,
    websockets: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    large: Arc<Semaphore>,
    pace: Pace,
    stopping: CancellationToken,
}

impl Front {
    fn check(&self, certificate: &Certificate, unix_seconds: i64) -> Result<(), MspError> {
        self.msp.check(certificate, unix_seconds)
    }
}

/// A front that listens and does not serve yet.
#[derive(Debug)]
pub struct BoundFront {
    front: Arc<Front>,
    secure: (TcpListener, SocketAddr),
    acceptor: Acceptor,
    websocket: Option<(TcpListener, SocketAddr)>,
    insecure: Option<(TcpListener, SocketAddr)>,
}

/// What a connection speaks below MQTT.
enum Way {
    Tls(Acceptor),
    WebSocket(Acceptor),
    Insecure,
}

#[derive(Clone)]
struct Acceptor(TlsAcceptor);

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Acceptor(..)")
    }
}

impl BoundFront {
    /// Reads certificates and opens the ports. `retained` keeps the devices' retained messages.
    ///
    /// # Errors
    ///
    /// [`FrontError`].
    pub async fn bind(
        config: &MqttConfig,
        msp_id: MspId,
        limits: Limits,
        intake: Intake,
        delivery: Delivery,
        retained: LastValues,
    ) -> Result<Self, FrontError> {
        let msp = Arc::new(DeviceMsp::open(msp_id, &config.client_msp_dir)?);
        let tls = tls::server_config(&config.certificate_file, &config.key_file, &msp)?;
        let insecure = match config.insecure_listen {
            Some(address) if !address.ip().is_loopback() => {
                return Err(FrontError::NotLoopback { address });
            }
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        let secure = listen(config.listen).await?;
        let websocket = match config.websocket_listen {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        if let Some((_, address)) = &insecure {
            tracing::warn!(%address, "MQTT without TLS and without authentication, for development only");
        }
        Ok(Self {
            front: Arc::new(Front {
                statuses: Statuses::new(retained, delivery.clone()),
                intake,
                delivery,
                limits,
                msp,
                sessions: Arc::new(Sessions::default()),
                seats: Arc::new(Semaphore::new(limits.connections)),
                websockets: Arc::new(Semaphore::new(limits.websockets)),
                handshakes: Arc::new(Semaphore::new(limits.handshakes)),
                large: Arc::new(Semaphore::new(limits.large_packets)),
                pace: Pace::new(config.device_rate, config.organization_rate),
                stopping: CancellationToken::new(),
            }),
            secure,
            acceptor: Acceptor(TlsAcceptor::from(Arc::new(tls))),
            websocket,
            insecure,
        })
    }

    /// Address of the TLS port.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.secure.1
    }

    /// Address of the port for WebSockets, if there is one.
    #[must_use]
    pub fn websocket_addr(&self) -> Option<SocketAddr> {
        self.websocket.as_ref().map(|(_, address)| *address)
    }

    /// Address of the insecure port, if there is one.
    #[must_use]
    pub fn insecure_addr(&self) -> Option<SocketAddr> {
        self.insecure.as_ref().map(|(_, address)| *address)
    }

    /// Serves until `shutdown`, then tells the devices, lets what is being made durable finish, and returns.
    pub async fn serve(self, shutdown: CancellationToken) {
        let Self {
            front,
            secure,
            acceptor,
            websocket,
            insecure,
        } = self;
        let mut connections = JoinSet::new();
        let mut changes = front.intake.changes();
        let mut reload = tokio::time::interval(front.limits.msp_reload);
        reload.reset();
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(ended) = connections.join_next() => report(ended),
                accepted = secure.0.accept() => {
                    if let Some(stream) = accepted_stream(accepted).await {
                        admit(&front, &mut connections, stream, Way::Tls(acceptor.clone()));
                    }
                }
                accepted = accept_maybe(websocket.as_ref()) => {
                    if let Some(stream) = accepted_stream(accepted).await {
                        admit(&front, &mut connections, stream, Way::WebSocket(acceptor.clone()));
                    }
                }
                accepted = accept_maybe(insecure.as_ref()) => {
                    if let Some(stream) = accepted_stream(accepted).await {
                        admit(&front, &mut connections, stream, Way::Insecure);
                    }
                }
                changed = changes.recv() => match changed {
                    Ok(device) => front.sessions.recheck(Some(&device)),
                    Err(RecvError::Lagged(_)) => front.sessions.recheck(None),
                    // The directory lives as long as the intake.
                    Err(RecvError::Closed) => {}
                },
                _ = reload.tick() => {
                    front.pace.forget_quiet();
                    reload_msp(&front).await;
                }
            }
            metrics::gauge!("salus_mqtt_connections").set(front.sessions.connected() as f64);
        }
        drop((secure, websocket, insecure));
        front.stopping.cancel();
        let drained = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(front.limits.drain, drained)
            .await
            .is_err()
        {
            tracing::warn!("some devices did not leave in time");
            connections.shutdown().await;
        }
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), FrontError> {
    let failed = |source| FrontError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

async fn accept_maybe(
    listener: Option<&(TcpListener, SocketAddr)>,
) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some((listener, _)) => listener.accept().await,
        None => std::future::pending().await,
    }
}

async fn accepted_stream(accepted: io::Result<(TcpStream, SocketAddr)>) -> Option<TcpStream> {
    match accepted {
        Ok((stream, _)) => {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "no TCP_NODELAY");
            }
            Some(stream)
        }
        Err(error) => {
            // Out of file descriptors, or a connection that was reset before it was taken.
            tracing::warn!(%error, "accept failed");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

fn admit(front: &Arc<Front>, connections: &mut JoinSet<()>, stream: TcpStream, way: Way) {
    let Ok(permit) = Arc::clone(&front.handshakes).try_acquire_owned() else {
        metrics::counter!("salus_mqtt_turned_away_total").increment(1);
        return;
    };
    let front = Arc::clone(front);
    // Each way and each stage has a place of its own, so that a connection without TLS does not take that of one with,
    // nor an idle one what a handshake takes.
    connections.spawn(async move {
        let kept = Arc::clone(&front);
        let will = match way {
            Way::Insecure => {
                let bytes = front.limits.packet_bytes;
                let identity = Identity::ByClientId;
                Box::pin(greeting::welcome(front, stream, identity, permit, bytes)).await
            }
            Way::Tls(acceptor) => {
                let shaken = Box::pin(handshake(&front, acceptor, stream)).await;
                let Some((stream, identity)) = shaken else {
                    return;
                };
                let bytes = front.limits.packet_bytes;
                Box::pin(greeting::welcome(front, stream, identity, permit, bytes)).await
            }
            Way::WebSocket(acceptor) => {
                Box::pin(over_websocket(front, acceptor, stream, permit)).await
            }
        };
        // The connection is gone with all its places.
        if let Some(will) = will {
            Box::pin(will.publish(kept)).await;
        }
    });
}

/// The TLS handshake, if it succeeds in time.
async fn handshake(
    front: &Front,
    Acceptor(acceptor): Acceptor,
    stream: TcpStream,
) -> Option<(TlsStream<TcpStream>, Identity)> {
    let handshake = tokio::time::timeout(front.limits.handshake, acceptor.accept(stream));
    let handshake = tokio::select! {
        () = front.stopping.cancelled() => return None,
        handshake = handshake => handshake,
    };
    match handshake {
        Ok(Ok(stream)) => {
            let identity = greeting::certified(&stream)?;
            Some((stream, identity))
        }
        Ok(Err(error)) => {
            tracing::info!(%error, "TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::info!("TLS handshake took too long");
            None
        }
    }
}

async fn over_websocket(
    front: Arc<Front>,
    acceptor: Acceptor,
    stream: TcpStream,
    permit: OwnedSemaphorePermit,
) -> Option<will::Due> {
    let Ok(_place) = Arc::clone(&front.websockets).try_acquire_owned() else {
        metrics::counter!("salus_mqtt_turned_away_total").increment(1);
        return None;
    };
    let (stream, identity) = Box::pin(handshake(&front, acceptor, stream)).await?;
    let accepted = Box::pin(websocket::accept(stream));
    let accepted = tokio::time::timeout(front.limits.handshake, accepted);
    let accepted = tokio::select! {
        () = front.stopping.cancelled() => return None,
        accepted = accepted => accepted,
    };
    match accepted {
        Ok(Ok(stream)) => {
            let bytes = front.limits.packet_bytes.min(websocket::PACKET_BYTES_MAX);
            return Box::pin(greeting::welcome(front, stream, identity, permit, bytes)).await;
        }
        Ok(Err(error)) => tracing::info!(%error, "no WebSocket"),
        Err(_) => tracing::info!("the request for a WebSocket took too long"),
    }
    None
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!("a connection's task panicked");
    }
}

async fn reload_msp(front: &Arc<Front>) {
    let msp = Arc::clone(&front.msp);
    let reloaded = tokio::task::spawn_blocking(move || msp.reload()).await;
    let stale = !matches!(reloaded, Ok(Ok(())));
    metrics::gauge!("salus_msp_stale", "msp" => "devices").set(f64::from(u8::from(stale)));
    if let Ok(Err(error)) = reloaded {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "the clients' MSP cannot be read again, the last one stays in force"
        );
    }
}
