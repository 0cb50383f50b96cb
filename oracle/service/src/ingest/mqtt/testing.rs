//! What the front's tests stand on: a table instead of the ledger, a front on loopback, and a client that sends bytes.

use std::collections::HashMap;
use std::net::{Shutdown, SocketAddr};
use std::ops::Deref;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use contract_interface::{
    Device, DeviceBinding, DeviceId, Digest, Pseudonym, Salt, Status, UtcTime,
};
use fabric_msp::Certificate;
use fabric_mspgen::{Kind, Organization, SanName};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{BoundFront, Delivery, FrontError, Limits};
use crate::config::{MessageRate, MqttConfig};
use crate::ingest::directory::{DeviceDirectory, Registry};
use crate::ingest::intake::Intake;
use crate::journal::{self, Journal, LastValues};
use crate::ledger::LedgerError;
use crate::pipeline::Arrival;

/// The table that stands for the ledger.
#[derive(Debug, Default)]
pub(super) struct Table(Mutex<HashMap<DeviceId, Device>>);

impl Table {
    fn put(&self, row: Device) {
        self.0.lock().unwrap().insert(row.device_id.clone(), row);
    }
}

#[async_trait::async_trait]
impl Registry for Table {
    async fn device(&self, id: &DeviceId) -> Result<Option<Device>, LedgerError> {
        Ok(self.0.lock().unwrap().get(id).cloned())
    }

    async fn patient_key(&self, _: &Pseudonym) -> Result<Option<String>, LedgerError> {
        Ok(None)
    }
}

/// A front that serves, with everything behind it.
pub(super) struct Rig {
    pub(super) dir: TempDir,
    pub(super) organization: Organization,
    pub(super) tls: SocketAddr,
    pub(super) websocket: SocketAddr,
    pub(super) plain: SocketAddr,
    pub(super) journal: Journal,
    pub(super) arrivals: mpsc::Receiver<Arrival>,
    pub(super) delivery: Delivery,
    pub(super) config: MqttConfig,
    pub(super) journal_config: journal::Config,
    intake: Intake,
    devices: Arc<DeviceDirectory>,
    table: Arc<Table>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
    clients: Mutex<Vec<Weak<TcpStream>>>,
}

/// A client's end of a connection, as long as the test has it. The rig can hang up.
#[derive(Debug)]
pub(super) struct Tcp(Arc<TcpStream>);

impl Tcp {
    async fn connect(address: SocketAddr) -> std::io::Result<Self> {
        Ok(Self(Arc::new(TcpStream::connect(address).await?)))
    }
}

impl Deref for Tcp {
    type Target = TcpStream;

    fn deref(&self) -> &TcpStream {
        &self.0
    }
}

impl AsyncRead for Tcp {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        loop {
            ready!(self.poll_read_ready(context))?;
            match self.try_read(buffer.initialize_unfilled()) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read.map(|bytes| buffer.advance(bytes))),
            }
        }
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        loop {
            ready!(self.poll_write_ready(context))?;
            match self.try_write(bytes) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(hang_up(&self.0, Shutdown::Write))
    }
}

/// Closes one or both directions of a connection that others hold, too.
fn hang_up(stream: &TcpStream, how: Shutdown) -> std::io::Result<()> {
    let same = stream.as_fd().try_clone_to_owned()?;
    std::net::TcpStream::from(same).shutdown(how)
}

fn device(id: &str, thumbprint: [u8; 32], status: Status) -> Device {
    Device {
        device_id: id.parse().unwrap(),
        msp_id: "Org1MSP".parse().unwrap(),
        thumbprint: Digest::from_bytes(thumbprint),
        status,
        status_since: (status != Status::Active).then_some(UtcTime::MIN),
        bindings: vec![DeviceBinding {
            patient: "00112233445566778899aabbccddeeff".parse().unwrap(),
            bound_from: "2020-01-01T00:00:00Z".parse().unwrap(),
            bound_until: None,
        }],
        salt: Salt::from_bytes(std::array::from_fn(|at| u8::try_from(at).unwrap() + 1)).unwrap(),
    }
}

impl Rig {
    pub(super) async fn start() -> Self {
        Self::with(Limits::default(), 1 << 30).await
    }

    pub(super) async fn with(limits: Limits, journal_bytes: u64) -> Self {
        Self::with_window(limits, journal_bytes, Duration::ZERO).await
    }

    /// The journal waits for `window` before each sync.
    pub(super) async fn with_window(limits: Limits, journal_bytes: u64, window: Duration) -> Self {
        Self::build(limits, journal_bytes, window, (None, None)).await
    }

    /// With rates of messages for a device and for all of them.
    pub(super) async fn with_rates(
        limits: Limits,
        device: Option<MessageRate>,
        organization: Option<MessageRate>,
    ) -> Self {
        Self::build(limits, 1 << 30, Duration::ZERO, (device, organization)).await
    }

    async fn build(
        limits: Limits,
        journal_bytes: u64,
        window: Duration,
        rates: (Option<MessageRate>, Option<MessageRate>),
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let msp_id = fabric_msp::MspId::parse("Org1MSP").unwrap();
        let organization =
            Organization::create(dir.path(), msp_id.clone(), "org1.example.com", Kind::Peer)
                .unwrap();
        let server = organization
            .issue_tls_server("oracle", &[SanName::parse("localhost")])
            .unwrap();
        server.write_server(dir.path()).unwrap();
        let table = Arc::new(Table::default());
        for id in ["hr-1", "hr-2"] {
            let issued = organization.issue_device(id, None).unwrap();
            let thumbprint = issued.certificate.thumbprint();
            let folder = dir.path().join(id);
            std::fs::create_dir(&folder).unwrap();
            issued.write_client(&folder).unwrap();
            let row = device(id, thumbprint, Status::Active);
            table.put(row);
        }
        table.put(device("off", [0; 32], Status::Suspended));
        let config = journal::Config {
            dir: dir.path().join("journal"),
            key_file: dir.path().join("journal.key"),
            max_bytes: journal_bytes,
            file_bytes: journal_bytes / 8,
            fsync_window: window,
            remember_per_device: 64,
        };
        let journal = Journal::open(&config).unwrap();
        let retained = LastValues::open(&config, "retained").unwrap();
        let journal_config = config;
        let (arrivals_tx, arrivals) = mpsc::channel(1024);
        let devices = Arc::new(DeviceDirectory::new(Arc::clone(&table) as Arc<dyn Registry>));
        let intake = Intake::new(journal.clone(), Arc::clone(&devices), arrivals_tx);
        let (delivery, _watch) = Delivery::start().unwrap();
        let any = "127.0.0.1:0".parse().unwrap();
        let config = MqttConfig {
            listen: any,
            websocket_listen: Some(any),
            certificate_file: dir.path().join("server.crt"),
            key_file: dir.path().join("server.key"),
            client_msp_dir: organization.msp_folder(),
            insecure_listen: Some(any),
            device_rate: rates.0,
            organization_rate: rates.1,
        };
        let bound = BoundFront::bind(
            &config,
            msp_id,
            limits,
            intake.clone(),
            delivery.clone(),
            retained,
        );
        let front = bound.await.unwrap();
        let (tls, plain) = (front.local_addr(), front.insecure_addr().unwrap());
        let websocket = front.websocket_addr().unwrap();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(front.serve(stop.clone()));
        Self {
            dir,
            organization,
            tls,
            websocket,
            plain,
            journal,
            arrivals,
            delivery,
            config,
            journal_config,
            intake,
            devices,
            table,
            stop,
            serving,
            clients: Mutex::default(),
        }
    }

    /// Another front on the same journal.
    pub(super) async fn second_front(&self, config: &MqttConfig) -> Result<BoundFront, FrontError> {
        let msp_id = fabric_msp::MspId::parse("Org1MSP").unwrap();
        let (intake, delivery) = (self.intake.clone(), self.delivery.clone());
        let retained = LastValues::open(&self.journal_config, "other").unwrap();
        BoundFront::bind(
            config,
            msp_id,
            Limits::default(),
            intake,
            delivery,
            retained,
        )
        .await
    }

    /// Registers another device and writes its certificate into a folder of its name.
    pub(super) fn register(
        &self,
        id: &str,
        validity: Option<fabric_mspgen::Validity>,
    ) -> Certificate {
        let issued = self.organization.issue_device(id, validity).unwrap();
        let folder = self.dir.path().join(id);
        std::fs::create_dir(&folder).unwrap();
        issued.write_client(&folder).unwrap();
        let thumbprint = issued.certificate.thumbprint();
        self.table.put(device(id, thumbprint, Status::Active));
        issued.certificate
    }

    /// Changes what the table says of a device, as its administrator over REST.
    pub(super) fn change(&self, id: &str, change: impl FnOnce(&mut Device)) {
        let id: DeviceId = id.parse().unwrap();
        change(self.table.0.lock().unwrap().get_mut(&id).unwrap());
        self.devices.forget_device(&id);
    }

    pub(super) async fn plain(&self) -> Client<Tcp> {
        Client(self.connect(self.plain).await.unwrap())
    }

    /// A connection that is hung up when the front is stopped: a front waits for devices that are told goodbye.
    async fn connect(&self, address: SocketAddr) -> std::io::Result<Tcp> {
        let client = Tcp::connect(address).await?;
        self.clients.lock().unwrap().push(Arc::downgrade(&client.0));
        Ok(client)
    }

    /// Stops the front, with no device that would keep it waiting.
    async fn end(&mut self) {
        self.stop.cancel();
        for client in self.clients.lock().unwrap().drain(..) {
            if let Some(client) = client.upgrade() {
                // One that is closed already is what is wanted.
                drop(hang_up(&client, Shutdown::Both));
            }
        }
        (&mut self.serving).await.unwrap();
    }

    /// A plain connection of a device that was admitted.
    pub(super) async fn connected(&self, level: u8, device: &str) -> Client<Tcp> {
        let mut client = self.plain().await;
        client.send(&connect(level, device, 2, 60)).await;
        let ack = client.packet().await.unwrap();
        assert_eq!((ack[0], ack[3]), (0x20, 0), "{ack:x?}");
        client
    }

    /// A TLS connection with the certificate in a folder.
    pub(super) async fn secure(&self, folder: &str) -> std::io::Result<Secure> {
        let folder: PathBuf = self.dir.path().join(folder);
        self.secure_at(self.tls, &folder).await
    }

    /// The same at any of the front's ports, with what is in any folder.
    pub(super) async fn secure_at(
        &self,
        address: SocketAddr,
        folder: &Path,
    ) -> std::io::Result<Secure> {
        let stream = self.connect(address).await?;
        secure(stream, folder).await
    }

    /// Stops the front and starts another one on the same journal and the same folder.
    pub(super) async fn restart(mut self) -> Self {
        self.end().await;
        let retained = LastValues::open(&self.journal_config, "retained").unwrap();
        let front = BoundFront::bind(
            &self.config,
            fabric_msp::MspId::parse("Org1MSP").unwrap(),
            Limits::default(),
            self.intake.clone(),
            self.delivery.clone(),
            retained,
        );
        let front = front.await.unwrap();
        (self.tls, self.plain) = (front.local_addr(), front.insecure_addr().unwrap());
        self.websocket = front.websocket_addr().unwrap();
        self.stop = CancellationToken::new();
        self.serving = tokio::spawn(front.serve(self.stop.clone()));
        self
    }

    pub(super) async fn stop(mut self) {
        self.end().await;
    }

    /// Stops the front and lets go of the journal; the folder stays until dropped.
    pub(super) async fn stop_keeping_files(mut self) -> TempDir {
        self.end().await;
        self.dir
    }

    pub(super) fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }
}

async fn secure(stream: Tcp, folder: &Path) -> std::io::Result<Secure> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    let mut roots = rustls::RootCertStore::empty();
    for ca in CertificateDer::pem_file_iter(folder.join("ca.crt")).unwrap() {
        roots.add(ca.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = if folder.join("client.crt").exists() {
        let chain = CertificateDer::pem_file_iter(folder.join("client.crt")).unwrap();
        let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_file(folder.join("client.key")).unwrap();
        builder.with_client_auth_cert(chain, key).unwrap()
    } else {
        builder.with_no_client_auth()
    };
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from("localhost").unwrap();
    connector.connect(name, stream).await.map(Client)
}

/// A client over TLS.
pub(super) type Secure = Client<tokio_rustls::client::TlsStream<Tcp>>;

/// A client that sends bytes and cuts packets.
pub(super) struct Client<S>(pub(super) S);

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// The next packet; none when the server has closed.
    pub(super) async fn packet(&mut self) -> Option<Vec<u8>> {
        let first = self.0.read_u8().await.ok()?;
        let mut packet = vec![first];
        let mut length = 0_usize;
        for shift in [0, 7, 14, 21] {
            let byte = self.0.read_u8().await.ok()?;
            packet.push(byte);
            length |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let start = packet.len();
        packet.resize(start + length, 0);
        self.0.read_exact(&mut packet[start..]).await.ok()?;
        Some(packet)
    }

    /// Sends and answers the next packet.
    pub(super) async fn ask(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.send(bytes).await;
        self.packet().await
    }
}

/// Puts type and length before a body.
pub(super) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = body.len();
    loop {
        let more = length >= 128;
        bytes.push(u8::try_from(length % 128).unwrap() | if more { 128 } else { 0 });
        length /= 128;
        if !more {
            break;
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

pub(super) fn text(text: &str) -> Vec<u8> {
    let mut bytes = u16::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

pub(super) fn connect(level: u8, client_id: &str, flags: u8, keep_alive: u16) -> Vec<u8> {
    connect_with(level, client_id, flags, keep_alive, &[])
}

/// With MQTT 5's properties, without their length.
pub(super) fn connect_with(
    level: u8,
    client_id: &str,
    flags: u8,
    keep_alive: u16,
    properties: &[u8],
) -> Vec<u8> {
    let mut body = text("MQTT");
    body.extend_from_slice(&[level, flags]);
    body.extend_from_slice(&keep_alive.to_be_bytes());
    if level == 5 {
        body.push(u8::try_from(properties.len()).unwrap());
        body.extend_from_slice(properties);
    }
    body.extend(text(client_id));
    packet(0x10, &body)
}

/// A PUBLISH; `flags` are the fixed header's, `properties` MQTT 5's without their length.
pub(super) fn publish(
    level: u8,
    flags: u8,
    topic: &str,
    pkid: u16,
    properties: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let mut body = text(topic);
    if flags & 6 != 0 {
        body.extend_from_slice(&pkid.to_be_bytes());
    }
    if level == 5 {
        body.push(u8::try_from(properties.len()).unwrap());
        body.extend_from_slice(properties);
    }
    body.extend_from_slice(payload);
    packet(0x30 | flags, &body)
}

pub(super) fn subscribe(level: u8, pkid: u16, filters: &[(&str, u8)]) -> Vec<u8> {
    let mut body = pkid.to_be_bytes().to_vec();
    if level == 5 {
        body.push(0);
    }
    for (filter, qos) in filters {
        body.extend(text(filter));
        body.push(*qos);
    }
    packet(0x82, &body)
}

/// A compact reading with this sequence number.
pub(super) fn reading(sequence: u64) -> Vec<u8> {
    format!(
        r#"{{"seq":{sequence},"time":"2025-06-01T10:00:00Z","code":"8867-4","value":72,"unit":"/min"}}"#
    )
    .into_bytes()
}
