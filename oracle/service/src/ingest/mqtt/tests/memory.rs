//! What a connection takes while nothing happens on it: thousands are open, and nearly all of them wait.

use std::mem::size_of_val;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::net::TcpStream;

use crate::ingest::mqtt::connection::{Connection, Peer};
use crate::ingest::mqtt::greeting::{self, Identity};
use crate::ingest::mqtt::reply;
use crate::ingest::mqtt::testing::Rig;
use crate::ingest::mqtt::wire::Version;

/// Bytes of the two parts of a connection's task on the port without TLS.
const WELCOME_BYTES_MAX: usize = 3 << 10;
const SERVE_BYTES_MAX: usize = 4 << 10;

/// Whatever only a handshake or a packet needs is elsewhere, and only as long as it is needed.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_takes_a_few_kilobytes() {
    let rig = Rig::start().await;
    let mut config = rig.config.clone();
    config.websocket_listen = None;
    let front = rig.second_front(&config).await.unwrap().front;
    let permit = Arc::clone(&front.handshakes).try_acquire_owned().unwrap();
    let stream = TcpStream::connect(rig.plain).await.unwrap();
    let identity = Identity::ByClientId;
    let welcome = greeting::welcome(Arc::clone(&front), stream, identity, permit, 1 << 20);
    let bytes = size_of_val(&welcome);
    assert!(bytes <= WELCOME_BYTES_MAX, "{bytes}");

    let device: contract_interface::DeviceId = "hr-1".parse().unwrap();
    let lease = front.sessions.enter(&device, "hr-1", None, true, None);
    let peer = Peer {
        version: Version::V5,
        device: device.clone(),
        certificate: None,
        thumbprint: None,
        keep_alive: None,
        receive_maximum: u16::MAX,
        packet_bytes: 1 << 20,
        packet_bytes_max: None,
        lease: lease.await.unwrap(),
        will: None,
    };
    let stream = TcpStream::connect(rig.plain).await.unwrap();
    let connection = Connection::new(front, stream, BytesMut::new(), peer);
    let served = connection.serve(reply::welcome(false, None, 0, 1 << 20));
    let bytes = size_of_val(&served);
    assert!(bytes <= SERVE_BYTES_MAX, "{bytes}");
    drop(served);
    rig.stop().await;
}
