//! A device that sends whatever bytes it likes: over TCP, over TLS, and within WebSockets.

use std::{io, path::Path, sync::Arc, time::Duration};

use contract_interface::{DeviceRegistration, Digest, Status};
use salus_tests::{
    consortium::FIRST_ORACLE,
    oracle::{Oracle, OracleSettings},
    story,
};
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    },
};

use crate::{
    invariants::{self, CANARY},
    support::Running,
};

/// Longer than any answer takes on a slow machine.
const ANSWER: Duration = Duration::from_secs(30);

/// MQTT 3.1.1 and 5.
pub(super) const V3: u8 = 4;
pub(super) const V5: u8 = 5;
/// Flags of a CONNECT: nothing is kept after the connection.
pub(super) const CLEAN: u8 = 2;
/// Flags of a PUBLISH.
pub(super) const AT_LEAST_ONCE: u8 = 2;
pub(super) const DUPLICATE: u8 = 8;
pub(super) const RETAIN: u8 = 1;
/// The first bytes of answers.
pub(super) const CONNACK: u8 = 0x20;
pub(super) const PUBACK: u8 = 0x40;
pub(super) const DISCONNECT: u8 = 0xe0;
/// MQTT 5's "not authorized".
pub(super) const NOT_AUTHORIZED: u8 = 0x87;

/// Starts the oracle again with a port for devices without TLS and one for health and metrics.
pub(super) async fn with_plain_port(running: &mut Running) {
    let system = &mut running.system;
    let settings = OracleSettings {
        name: FIRST_ORACLE.to_owned(),
        ipfs_api: system.ipfs.api.clone(),
        insecure: true,
        ..OracleSettings::default()
    };
    system.oracle.process.kill().await.unwrap();
    system.oracle = system.start_oracle(&settings).await.unwrap();
}

/// Checks what holds after every fault, and ends the system. `published` is what was acknowledged to each patient's
/// device; the first has something.
pub(super) async fn hold(running: Running, published: &[Vec<String>]) {
    let journal = running.system.oracle.home.join("journal");
    // What the test itself handed to the devices, if it did.
    let _ = std::fs::remove_dir_all(running.dir.path().join("input"));
    invariants::hold(running, &journal, published).await;
}

/// Kills the oracle and starts it again; ports without a place of their own are others then.
pub(super) async fn kill_and_restart(oracle: &mut Oracle) {
    let ready = oracle.process.kill_and_start_ready().await.unwrap();
    oracle.addresses = serde_json::from_value(ready).unwrap();
}

/// What `/metrics` says.
pub(super) async fn metrics(oracle: &Oracle) -> String {
    let address = oracle.addresses.health.as_deref().unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    timeout(ANSWER, stream.read_to_end(&mut answer))
        .await
        .expect("in time")
        .unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}

/// The value of a series of `/metrics`, by its name and labels as they stand there; 0 if it is not there.
pub(super) fn series(metrics: &str, name: &str) -> f64 {
    let mut lines = metrics.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0.0, |value| value.trim().parse().unwrap())
}

/// A connection over TLS.
pub(super) type Secure = Client<TlsStream<TcpStream>>;

/// A client that sends bytes and cuts what comes into packets.
pub(super) struct Client<S>(pub(super) S);

impl Client<TcpStream> {
    /// Connects without TLS.
    pub(super) async fn plain(address: &str) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }
}

/// Connects over TLS with the certificate in a folder, if it holds one.
pub(super) async fn secure(oracle: &Oracle, folder: &Path) -> io::Result<Secure> {
    secure_at(oracle.mqtt(), oracle, folder).await
}

/// Connects as [`secure`] to another address, such as a proxy's or that for WebSockets.
pub(super) async fn secure_at(address: &str, oracle: &Oracle, folder: &Path) -> io::Result<Secure> {
    let config = Arc::new(tls(oracle, folder));
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(config);
    Ok(Client(connector.connect(name, stream).await?))
}

fn tls(oracle: &Oracle, folder: &Path) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for ca in CertificateDer::pem_file_iter(oracle.home.join("mqtt/ca.crt")).unwrap() {
        roots.add(ca.unwrap()).unwrap();
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    if !folder.join("client.crt").exists() {
        return builder.with_no_client_auth();
    }
    let chain = CertificateDer::pem_file_iter(folder.join("client.crt")).unwrap();
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("client.key")).unwrap();
    builder.with_client_auth_cert(chain, key).unwrap()
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await?;
        self.0.flush().await
    }

    /// The next packet; none when the connection has ended.
    pub(super) async fn packet(&mut self) -> Option<Vec<u8>> {
        self.packet_within(ANSWER).await
    }

    /// The next packet within a time, which must be enough.
    pub(super) async fn packet_within(&mut self, time: Duration) -> Option<Vec<u8>> {
        timeout(time, self.read_packet()).await.expect("in time")
    }

    async fn read_packet(&mut self) -> Option<Vec<u8>> {
        let mut packet = vec![self.0.read_u8().await.ok()?];
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

    /// Sends and waits for the next packet.
    pub(super) async fn ask(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        // Who is cut off while sending still reads the answer.
        let _ = self.send(bytes).await;
        self.packet().await
    }

    /// Says hello in MQTT 5; must be let in.
    pub(super) async fn enter(&mut self, client_id: &str) {
        let answer = self.ask(&connect(V5, client_id, CLEAN, 0)).await.unwrap();
        assert_eq!((answer[0], answer[3]), (CONNACK, 0), "{answer:x?}");
    }

    /// Publishes in MQTT 5 with QoS 1; the reason code of the answer, none if the connection ended
    /// without one.
    pub(super) async fn publish(&mut self, topic: &str, payload: &[u8]) -> Option<u8> {
        let message = publish(V5, AT_LEAST_ONCE, topic, 1, &[], payload);
        self.ask(&message).await.map(|answer| reason(&answer))
    }

    /// Subscribes in MQTT 5; the reason code.
    pub(super) async fn subscribe(&mut self, filter: &str, qos: u8) -> u8 {
        let answer = self.ask(&subscribe(filter, qos)).await.unwrap();
        assert_eq!(answer[0], 0x90, "{answer:x?}");
        *answer.last().unwrap()
    }

    /// Whether the other side still answers.
    pub(super) async fn is_alive(&mut self) -> bool {
        self.ask(&[0xc0, 0])
            .await
            .is_some_and(|answer| answer == [0xd0, 0])
    }

    /// Waits for the end of the connection, whatever comes before it.
    pub(super) async fn until_end(&mut self, time: Duration) {
        let mut sink = [0; 1024];
        let reading = async { while matches!(self.0.read(&mut sink).await, Ok(1..)) {} };
        timeout(time, reading).await.expect("it does not end");
    }
}

/// The reason code of a PUBACK or DISCONNECT of MQTT 5.
pub(super) fn reason(packet: &[u8]) -> u8 {
    match packet {
        [PUBACK, 2, ..] => 0,
        [PUBACK, _, _, _, code, ..] | [DISCONNECT, _, code, ..] => *code,
        _ => panic!("{packet:x?}"),
    }
}

/// Why a device with the certificate in a folder is not let in: the TLS alert, or the CONNACK's reason.
/// Empty if it is let in.
pub(super) async fn refused(oracle: &Oracle, folder: &Path) -> String {
    let mut client = match secure(oracle, folder).await {
        Ok(client) => client,
        Err(error) => return error.to_string(),
    };
    // TLS 1.3 tells after the client has finished its side of the handshake.
    let _ = client.send(&connect(V5, "visitor", CLEAN, 60)).await;
    let mut byte = [0; 4];
    match timeout(ANSWER, client.0.read_exact(&mut byte))
        .await
        .expect("in time")
    {
        Ok(_) if byte[3] == 0 => String::new(),
        Ok(_) => format!("CONNACK {:x}", byte[3]),
        Err(error) => error.to_string(),
    }
}

/// Puts type and length before a body.
pub(super) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    [&[first][..], &length(body.len()), body].concat()
}

/// A Remaining Length.
pub(super) fn length(mut length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let more = length >= 128;
        bytes.push(u8::try_from(length % 128).unwrap() | if more { 128 } else { 0 });
        length /= 128;
        if !more {
            return bytes;
        }
    }
}

pub(super) fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap().to_be_bytes();
    [&length[..], text.as_bytes()].concat()
}

pub(super) fn connect(level: u8, client_id: &str, flags: u8, keep_alive: u16) -> Vec<u8> {
    connect_with_will(level, client_id, flags, keep_alive, None)
}

/// A CONNECT with a will: topic and payload.
pub(super) fn connect_with_will(
    level: u8,
    client_id: &str,
    flags: u8,
    keep_alive: u16,
    will: Option<(&str, &[u8])>,
) -> Vec<u8> {
    let mut body = text("MQTT");
    body.extend([level, flags]);
    body.extend(keep_alive.to_be_bytes());
    let no_properties: &[u8] = if level == V5 { &[0] } else { &[] };
    body.extend(no_properties);
    body.extend(text(client_id));
    if let Some((topic, payload)) = will {
        body.extend(no_properties);
        body.extend(text(topic));
        body.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        body.extend(payload);
    }
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
        body.extend(pkid.to_be_bytes());
    }
    if level == V5 {
        body.extend(length(properties.len()));
        body.extend(properties);
    }
    body.extend(payload);
    packet(0x30 | flags, &body)
}

/// MQTT 5's user property with a message's sequence number.
pub(super) fn sequence(number: u64) -> Vec<u8> {
    [&[0x26][..], &text("seq"), &text(&number.to_string())].concat()
}

/// A SUBSCRIBE of MQTT 5.
pub(super) fn subscribe(filter: &str, qos: u8) -> Vec<u8> {
    packet(0x82, &[&[0, 9, 0][..], &text(filter), &[qos]].concat())
}

/// The topic of a device's readings.
pub(super) fn own(device: &str) -> String {
    format!("v1/devices/{device}/observations")
}

/// A device's heart rate, a second after the one with the number before.
pub(super) fn reading(device: &str, number: usize) -> String {
    /// The start of 2026, seconds.
    const FIRST: i64 = 1_767_225_600;
    reading_at(device, number, FIRST + i64::try_from(number).unwrap())
}

/// A device's heart rate at a time in seconds since 1970.
pub(super) fn reading_at(device: &str, number: usize, seconds: i64) -> String {
    let at = contract_interface::UtcTime::from_unix_seconds(seconds).unwrap();
    json!({
        "resourceType": "Observation",
        "id": format!("{CANARY}-{device}-{number}"),
        "status": "final",
        "code": { "coding": [{ "system": "http://loinc.org", "code": "8867-4" }] },
        "effectiveDateTime": at.to_string(),
        "valueQuantity": {
            "value": 50 + number % 60, "unit": "/min",
            "system": "http://unitsofmeasure.org", "code": "/min",
        },
    })
    .to_string()
}

/// A frame of a WebSocket client with a few bytes; its mask is zero, which changes nothing.
pub(super) fn websocket_frame(payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    assert!(length < 126, "a longer frame has another form");
    [&[0x82, 0x80 | length, 0, 0, 0, 0][..], payload].concat()
}

/// The request that makes a connection a WebSocket.
pub(super) const UPGRADE: &str = "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
     Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Registers a device with the certificate in a folder, for a patient by number.
pub(super) async fn register(running: &Running, device: &str, folder: &Path, patient: usize) {
    let pem = std::fs::read(folder.join("client.crt")).unwrap();
    let thumbprint = fabric_msp::Certificate::from_pem(&pem)
        .unwrap()
        .thumbprint();
    let registration = DeviceRegistration {
        device_id: device.parse().unwrap(),
        thumbprint: Digest::from_bytes(thumbprint),
        patient: running.cast.patients[patient].pseudonym,
        bound_from: "1900-01-01T00:00:00Z".parse().unwrap(),
        bound_until: None,
        status: Status::Active,
        status_since: None,
    };
    let administrator = story::client(&running.cast.administrator).unwrap();
    administrator.register_device(&registration).await.unwrap();
}
