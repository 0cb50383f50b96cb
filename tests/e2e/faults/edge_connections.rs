//! Connections by the hundred at once, connections that say nothing or next to nothing, and thousands that are idle:
//! whoever behaves is served all the while.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{StreamExt as _, future::join_all, stream};
use rustix::process::{Resource, getrlimit, setrlimit};
use salus_tests::{
    oracle::Oracle,
    story::{self, Patient},
    system::Platform,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::edge_wire::{
    self, CLEAN, Client, Secure, UPGRADE, V3, V5, connect, hold, own, reading, reason, register,
    secure_at, websocket_frame, with_plain_port,
};
use crate::support::Running;

/// Devices of the crowd, with connections of each, as many as a device may have sessions.
const CROWD: usize = 128;
const EACH: usize = 8;
/// Connections of the storm.
const STORM: usize = 300;
/// Connections that say nothing at all.
const SILENT: usize = 2_000;
/// Time for a TLS handshake, and again for what follows it.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How much later a slow machine may be.
const SLOW: Duration = Duration::from_secs(5);
/// Pause between two bytes of a slow client, and between two connections' bytes.
const BYTE_PAUSE: Duration = Duration::from_millis(100);
/// Longest that the good device may wait for an acknowledgement meanwhile.
const ACKNOWLEDGED_MAX: Duration = Duration::from_secs(5);
/// Memory that an idle connection over TLS may take, bytes.
const IDLE_BYTES: u64 = 128 << 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storms_and_slow_silent_and_idle_connections_hinder_nobody() {
    let idle = CROWD * EACH;
    raise_open_files(idle + SILENT + 1_000);
    let mut running = Running::start(Platform::EMBEDDED, 2).await;
    with_plain_port(&mut running).await;
    let crowd = crowd(&running).await;
    let running = Arc::new(running);
    let patient = running.cast.patients[0].clone();
    let good = Good::begin(&running, &patient).await;

    let stormed = storm(&running, &crowd).await;
    let began = Instant::now();
    let slow = slow(&running, &patient);
    let silent = silent(&running);
    tokio::join!(slow, silent);
    assert!(
        began.elapsed() >= HANDSHAKE - SLOW,
        "they were not waited for"
    );
    // A newcomer is let in as before.
    drop(enter(&running.system.oracle, &patient.device.home, "newcomer").await);
    stay_idle(&running, &crowd).await;

    let published = good.end().await;
    let running = Arc::into_inner(running).expect("nobody else has it");
    every_reading_of_the_crowd_is_there(&running, &stormed).await;
    hold_without_the_crowd(running, published).await;
}

/// Files and sockets that this process and those it starts may have open.
fn raise_open_files(count: usize) {
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = count as u64;
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = limit
            .maximum
            .map_or(Some(wanted), |maximum| Some(wanted.min(maximum)));
        setrlimit(Resource::Nofile, limit).unwrap();
    }
}

/// Registers many devices for the second patient; ID and folder of each.
async fn crowd(running: &Running) -> Vec<(String, PathBuf)> {
    const AT_ONCE: usize = 16;
    let organization = running.system.consortium.organization(0).unwrap();
    let devices = (0..CROWD).map(|number| {
        let id = format!("crowd-{number}");
        let folder = running.dir.path().join("crowd").join(&id);
        organization
            .issue_device(&id, None)
            .unwrap()
            .write_client(&folder)
            .unwrap();
        (id, folder)
    });
    let devices: Vec<_> = devices.collect();
    stream::iter(&devices)
        .for_each_concurrent(AT_ONCE, |(id, folder)| register(running, id, folder, 1))
        .await;
    devices
}

/// A device that was connected before everybody else and publishes all the time.
struct Good {
    stop: Arc<AtomicBool>,
    publishing: JoinHandle<Vec<String>>,
}

impl Good {
    async fn begin(running: &Running, patient: &Patient) -> Self {
        const PAUSE: Duration = Duration::from_millis(200);
        let mut client = enter(&running.system.oracle, &patient.device.home, "good").await;
        let id = patient.device.id.clone();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let publishing = tokio::spawn(async move {
            let mut published = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let text = reading(&id, published.len());
                let since = Instant::now();
                assert_eq!(client.publish(&own(&id), text.as_bytes()).await, Some(0));
                let took = since.elapsed();
                assert!(took < ACKNOWLEDGED_MAX, "acknowledged after {took:?}");
                published.push(text);
                sleep(PAUSE).await;
            }
            published
        });
        Self { stop, publishing }
    }

    async fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        let published = self.publishing.await.unwrap();
        assert!(published.len() > 50, "only {} readings", published.len());
        published
    }
}

async fn enter(oracle: &Oracle, folder: &std::path::Path, client_id: &str) -> Secure {
    let mut client = edge_wire::secure(oracle, folder).await.unwrap();
    client.enter(client_id).await;
    client
}

/// All at once, as after a power cut: each connects, publishes one reading and leaves, and comes again until it is
/// acknowledged.
async fn storm(running: &Arc<Running>, crowd: &[(String, PathBuf)]) -> Vec<String> {
    const EVER: Duration = Duration::from_secs(60);
    const PAUSE: Duration = Duration::from_millis(100);
    let devices = (0..STORM).map(|number| {
        let (id, folder) = crowd[number % crowd.len()].clone();
        let running = Arc::clone(running);
        async move {
            let text = reading(&id, number);
            let client_id = format!("storm-{}", number / CROWD);
            while !came_through(&running.system.oracle, &folder, &client_id, &id, &text).await {
                sleep(PAUSE).await;
            }
            text
        }
    });
    let all = join_all(devices.map(tokio::spawn));
    let all = timeout(EVER, all).await.expect("the storm ends");
    all.into_iter().map(Result::unwrap).collect()
}

async fn came_through(
    oracle: &Oracle,
    folder: &std::path::Path,
    client_id: &str,
    id: &str,
    text: &str,
) -> bool {
    let Ok(mut client) = edge_wire::secure(oracle, folder).await else {
        return false;
    };
    match client.ask(&connect(V5, client_id, CLEAN, 60)).await {
        Some(answer) if answer[3] == 0 => {
            client.publish(&own(id), text.as_bytes()).await == Some(0)
        }
        _ => false,
    }
}

/// Clients that send one byte after another, on each port and at each stage. Each is cut off when its time is over,
/// not when it was last heard.
async fn slow(running: &Running, patient: &Patient) {
    let oracle = &running.system.oracle;
    let home = &patient.device.home;
    let addresses = &oracle.addresses;
    let (tls, websocket, plain) = (
        addresses.mqtt.as_deref().unwrap(),
        addresses.mqtt_websocket.as_deref().unwrap(),
        addresses.mqtt_insecure.as_deref().unwrap(),
    );
    let hello = connect(V3, &"slow".repeat(60), CLEAN, 60);
    // The record of a ClientHello that is not through for long.
    let client_hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 500]].concat();
    let upgrade = format!("{UPGRADE}Cookie: {}\r\n\r\n", "a".repeat(500)).into_bytes();
    let mut upgraded = secure_at(websocket, oracle, home).await.unwrap();
    upgraded
        .send(format!("{UPGRADE}\r\n").as_bytes())
        .await
        .unwrap();
    let mut answer = [0; 12];
    upgraded.0.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
    // One byte of a CONNECT in each message.
    let frames: Vec<Vec<u8>> = hello.iter().map(|byte| websocket_frame(&[*byte])).collect();
    tokio::join!(
        cut_off("CONNECT, plain", Client::plain(plain).await, bytes(&hello)),
        cut_off(
            "CONNECT, TLS",
            edge_wire::secure(oracle, home).await.unwrap(),
            bytes(&hello)
        ),
        cut_off(
            "ClientHello, TLS",
            Client::plain(tls).await,
            bytes(&client_hello)
        ),
        cut_off(
            "ClientHello, WebSocket",
            Client::plain(websocket).await,
            bytes(&client_hello)
        ),
        cut_off(
            "upgrade",
            secure_at(websocket, oracle, home).await.unwrap(),
            bytes(&upgrade)
        ),
        cut_off("CONNECT, WebSocket", upgraded, frames),
    );
}

fn bytes(all: &[u8]) -> Vec<Vec<u8>> {
    all.iter().map(|byte| vec![*byte]).collect()
}

/// Sends piece by piece, and measures when the other side ends it.
async fn cut_off<S>(name: &str, client: Client<S>, pieces: Vec<Vec<u8>>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    assert!(
        BYTE_PAUSE * u32::try_from(pieces.len()).unwrap() > HANDSHAKE + SLOW,
        "{name} is through too soon"
    );
    let since = Instant::now();
    let (reading, writing) = tokio::io::split(client.0);
    let sending = async {
        let mut writing = writing;
        for piece in pieces {
            if writing.write_all(&piece).await.is_err() {
                return;
            }
            let _ = writing.flush().await;
            sleep(BYTE_PAUSE).await;
        }
    };
    let mut reading = reading;
    let ending = async {
        let mut sink = [0; 4096];
        while matches!(reading.read(&mut sink).await, Ok(1..)) {}
    };
    tokio::select! {
        () = sending => panic!("{name} sent everything"),
        ended = timeout(HANDSHAKE + SLOW, ending) => ended.unwrap_or_else(|_| panic!("{name} is still there")),
    }
    let lasted = since.elapsed();
    assert!(
        lasted > HANDSHAKE - SLOW,
        "{name} was cut off after {lasted:?}"
    );
}

/// Connections to every port that say nothing: all are gone when their time is over.
async fn silent(running: &Running) {
    let addresses = &running.system.oracle.addresses;
    let ports = [
        &addresses.mqtt,
        &addresses.mqtt_websocket,
        &addresses.mqtt_insecure,
    ];
    let ports = ports.map(|port| port.as_deref().unwrap());
    // The slow ones have their places by then.
    sleep(BYTE_PAUSE * 5).await;
    let mut open = Vec::new();
    for number in 0..SILENT {
        if let Ok(stream) = TcpStream::connect(ports[number % ports.len()]).await {
            open.push(Client(stream));
        }
    }
    assert!(open.len() > SILENT / 2, "only {} connections", open.len());
    join_all(
        open.iter_mut()
            .map(|client| client.until_end(HANDSHAKE + SLOW)),
    )
    .await;
}

/// A thousand devices and more that are let in and say nothing: all stay, and are cheap.
async fn stay_idle(running: &Running, crowd: &[(String, PathBuf)]) {
    const AT_ONCE: usize = 64;
    let oracle = &running.system.oracle;
    let before = oracle.process.resident_bytes().unwrap();
    let places = crowd
        .iter()
        .flat_map(|(_, folder)| (0..EACH).map(move |session| (folder, session)));
    let mut idle: Vec<Secure> = stream::iter(places)
        .map(|(folder, session)| async move {
            let mut client = edge_wire::secure(oracle, folder).await.unwrap();
            client.enter(&format!("idle-{session}")).await;
            client
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let grown = oracle
        .process
        .resident_bytes()
        .unwrap()
        .saturating_sub(before);
    let each = grown / idle.len() as u64;
    assert!(each < IDLE_BYTES, "an idle connection takes {each} bytes");
    for client in idle.iter_mut().step_by(50) {
        assert!(client.is_alive().await, "an idle device was sent away");
    }
    // One more session of a device gives way to none of those that are connected.
    let mut ninth = edge_wire::secure(oracle, &crowd[0].1).await.unwrap();
    let answer = ninth.ask(&connect(V5, "idle-9", CLEAN, 0)).await.unwrap();
    assert_eq!(answer[3], 0x97, "{answer:x?}");
    assert_eq!(reason(&[0xe0, 2, 0x97, 0]), answer[3]);
}

/// The readings of the storm, of many devices of one patient.
async fn every_reading_of_the_crowd_is_there(running: &Running, stormed: &[String]) {
    let patient = &running.cast.patients[1];
    let client = story::client(&patient.person).unwrap();
    let payloads = crate::support::until("the crowd's readings are on the ledger", || async {
        let purpose = contract_interface::Purpose::Patrqt;
        let opened = story::read_patient(&client, patient.pseudonym, purpose)
            .await
            .ok()?;
        let readings = opened.iter().flat_map(|record| &record.readings);
        let mut payloads: Vec<String> = readings
            .map(|reading| String::from_utf8(reading.payload.to_vec()).unwrap())
            .collect();
        payloads.sort();
        (payloads.len() >= stormed.len()).then_some(payloads)
    })
    .await;
    let mut expected = stormed.to_vec();
    expected.sort();
    assert!(
        payloads == expected,
        "{} readings of {}",
        payloads.len(),
        expected.len()
    );
}

/// The invariants, for the first patient; the second's readings are those of many devices and were looked at.
async fn hold_without_the_crowd(mut running: Running, published: Vec<String>) {
    running.cast.patients.truncate(1);
    hold(running, &[published]).await;
}
