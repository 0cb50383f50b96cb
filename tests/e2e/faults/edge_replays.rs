//! Messages, connections, requests and transactions that come a second time.

use std::sync::{Arc, Mutex};

use contract_interface::{AuthorizeRead, Decision, Purpose, ReadDecision, names::transactions};
use fabric_protos::{
    common::{Block, ChannelHeader, Envelope, Payload},
    protos::TxValidationCode,
};
use prost::Message as _;
use salus_tests::{
    ledger::Ledger,
    story::{self, Patient, WaitFor},
    system::Platform,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::edge_wire::{
    self, AT_LEAST_ONCE, CLEAN, Client, DISCONNECT, DUPLICATE, NOT_AUTHORIZED, PUBACK, V3, V5,
    connect, hold, kill_and_restart, metrics, own, publish, reading, reason, refused, sequence,
    series, with_plain_port,
};
use crate::{
    attacks::carrying,
    invariants::each_once,
    rogue::Rogue,
    support::{Running, has, heart_rate, is_here, publish as publish_readings, until},
};

/// Messages of a capture.
const MESSAGES: u16 = 4;
/// Flags of metadata in a block: which transactions took effect.
const TRANSACTIONS_FILTER: usize = 2;

/// Marked as repeated or not, in order or not, on the same connection or another, before and after a `kill -9`: a
/// message that was acknowledged is acknowledged again, and is there once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_come_again_are_kept_once() {
    let mut running = Running::start(Platform::EMBEDDED, 2).await;
    with_plain_port(&mut running).await;
    let [numbered, plain] = [0, 1].map(|number| running.cast.patients[number].clone());
    let captures = [capture(V5, &numbered, true), capture(V3, &plain, false)];
    let mut sent = 0;
    for round in 0..3 {
        for capture in &captures {
            sent += play(&running, capture).await;
        }
        if round == 0 {
            kill_and_restart(&mut running.system.oracle).await;
        }
        let readings = [&captures[0], &captures[1]].map(|capture| capture.readings.as_slice());
        each_once(&numbered, readings[0]).await;
        each_once(&plain, readings[1]).await;
    }
    let said = metrics(&running.system.oracle).await;
    let known = series(&said, "salus_mqtt_taken_total{outcome=\"duplicate\"}");
    // All of the two rounds since the kill.
    assert_eq!(known, f64::from(sent / 3 * 2), "{said}");

    // A number that was used is not used for anything else: that would drop a reading without a word.
    let mut client = Client::plain(plain_port(&running)).await;
    client.enter(&numbered.device.id).await;
    let other = reading(&numbered.device.id, 77);
    let topic = own(&numbered.device.id);
    let reused = publish(V5, AT_LEAST_ONCE, &topic, 1, &sequence(1), other.as_bytes());
    assert_eq!(reason(&client.ask(&reused).await.unwrap()), 0x83);
    drop(client);

    encrypted_capture(&running, &numbered).await;
    let [first, second] = captures.map(|capture| capture.readings);
    let first = [first, vec![reading(&numbered.device.id, 500)]].concat();
    hold(running, &[first, second]).await;
}

/// The bytes of a device's connection.
struct Capture {
    connect: Vec<u8>,
    messages: Vec<Vec<u8>>,
    readings: Vec<String>,
}

fn capture(level: u8, patient: &Patient, numbered: bool) -> Capture {
    let id = &patient.device.id;
    let readings: Vec<String> = (0..usize::from(MESSAGES))
        .map(|number| reading(id, number))
        .collect();
    let messages = (1..=MESSAGES).zip(&readings).map(|(pkid, reading)| {
        let properties = if numbered {
            sequence(u64::from(pkid))
        } else {
            Vec::new()
        };
        publish(
            level,
            AT_LEAST_ONCE,
            &own(id),
            pkid,
            &properties,
            reading.as_bytes(),
        )
    });
    Capture {
        connect: connect(level, id, CLEAN, 0),
        messages: messages.collect(),
        readings,
    }
}

/// Sends a capture as it is, then its messages marked as repeated, backwards, twice; how many messages it sent.
async fn play(running: &Running, capture: &Capture) -> u32 {
    let mut sent = 0;
    let mut client = Client::plain(plain_port(running)).await;
    let connack = client.ask(&capture.connect).await.unwrap();
    assert_eq!(connack[3], 0);
    client.send(&capture.messages.concat()).await.unwrap();
    for pkid in 1..=MESSAGES {
        assert_eq!(client.packet().await.unwrap()[..4], acknowledged(pkid)[..]);
        sent += 1;
    }
    for _ in 0..2 {
        for (pkid, message) in (1..=MESSAGES).zip(&capture.messages).rev() {
            let mut again = message.clone();
            again[0] |= DUPLICATE;
            assert_eq!(
                client.ask(&again).await.unwrap()[..4],
                acknowledged(pkid)[..]
            );
            sent += 1;
        }
    }
    sent
}

fn acknowledged(pkid: u16) -> [u8; 4] {
    let [high, low] = pkid.to_be_bytes();
    [PUBACK, 2, high, low]
}

fn plain_port(running: &Running) -> &str {
    running
        .system
        .oracle
        .addresses
        .mqtt_insecure
        .as_deref()
        .unwrap()
}

/// Who recorded a whole connection over TLS and sends the same bytes again is no device.
async fn encrypted_capture(running: &Running, patient: &Patient) {
    let oracle = &running.system.oracle;
    let before = series(&metrics(oracle).await, "salus_mqtt_received_total");
    let (address, recorded) = recorder(oracle.mqtt()).await;
    let mut client = edge_wire::secure_at(&address, oracle, &patient.device.home)
        .await
        .unwrap();
    client.enter("recorded").await;
    let text = reading(&patient.device.id, 500);
    assert_eq!(
        client
            .publish(&own(&patient.device.id), text.as_bytes())
            .await,
        Some(0)
    );
    drop(client);

    let bytes = recorded.lock().unwrap().clone();
    assert!(bytes.len() > text.len(), "nothing was recorded");
    assert!(
        !bytes
            .windows(20)
            .any(|window| text.as_bytes().windows(20).any(|open| open == window))
    );
    for _ in 0..3 {
        let mut stream = TcpStream::connect(oracle.mqtt()).await.unwrap();
        // It may be cut off before all is sent.
        let _ = stream.write_all(&bytes).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
    }
    let after = series(&metrics(oracle).await, "salus_mqtt_received_total");
    assert_eq!(after, before + 1.0, "only the recorded one came");
}

/// Passes one connection on to `target` and keeps what the client says.
async fn recorder(target: &str) -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let recorded = Arc::new(Mutex::new(Vec::new()));
    let (target, kept) = (target.to_owned(), Arc::clone(&recorded));
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.unwrap();
        let server = TcpStream::connect(target).await.unwrap();
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let back =
            tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
            kept.lock().unwrap().extend(&buffer[..count]);
            if to_server.write_all(&buffer[..count]).await.is_err() {
                break;
            }
        }
        let _ = to_server.shutdown().await;
        let _ = back.await;
    });
    (address, recorded)
}

/// A session is its certificate's. Whoever comes with its client identifier and another certificate gets nothing of
/// it and does not disturb it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_goes_on_whoever_claims_it() {
    let running = Running::start(Platform::EMBEDDED, 2).await;
    let [patient, other] = [0, 1].map(|number| running.cast.patients[number].clone());
    let id = patient.device.id.as_str();
    let mut holder = edge_wire::secure(&running.system.oracle, &patient.device.home)
        .await
        .unwrap();
    holder.enter("bedside").await;

    // Certificates in the device's name that nobody registered: of the own organisation, and of another.
    let own_name = running.dir.path().join("own-name");
    let other_name = running.dir.path().join("other-name");
    for (number, folder) in [(0, &own_name), (1, &other_name)] {
        let organization = running.system.consortium.organization(number).unwrap();
        organization
            .issue_device(id, None)
            .unwrap()
            .write_client(folder)
            .unwrap();
    }
    let mut thief = edge_wire::secure(&running.system.oracle, &own_name)
        .await
        .unwrap();
    let answer = thief.ask(&connect(V5, "bedside", CLEAN, 0)).await.unwrap();
    assert_eq!(answer[3], NOT_AUTHORIZED, "{answer:x?}");
    let said = refused(&running.system.oracle, &other_name).await;
    assert!(said.contains("UnknownCA"), "{said}");
    // Another registered device has a session of its own under the same identifier.
    let mut neighbour = edge_wire::secure(&running.system.oracle, &other.device.home)
        .await
        .unwrap();
    neighbour.enter("bedside").await;

    assert!(holder.is_alive().await, "the session was taken over");
    let kept = vec![reading(id, 0)];
    assert_eq!(holder.publish(&own(id), kept[0].as_bytes()).await, Some(0));
    // The same certificate takes it over, as after a connection that nobody saw break.
    let mut again = edge_wire::secure(&running.system.oracle, &patient.device.home)
        .await
        .unwrap();
    again.enter("bedside").await;
    let bye = holder.packet().await.unwrap();
    assert_eq!((bye[0], reason(&bye)), (DISCONNECT, 0x8e));
    assert!(again.is_alive().await && neighbour.is_alive().await);
    drop((holder, thief, neighbour, again));
    hold(running, &[kept, vec![]]).await;
}

#[tokio::test]
async fn requests_and_transactions_count_once() {
    if has("requests_and_transactions_count_once", "curl") {
        count_once(Platform::EMBEDDED).await;
    }
}

#[tokio::test]
async fn requests_and_transactions_count_once_on_real_fabric() {
    let test = "requests_and_transactions_count_once_on_real_fabric";
    if is_here(test, Platform::REAL) && has(test, "curl") {
        count_once(Platform::REAL).await;
    }
}

async fn count_once(platform: Platform) {
    let mut running = Running::start(platform, 1).await;
    let patient = running.cast.patients[0].clone();
    let readings = vec![heart_rate(70, 1)];
    let records = publish_readings(&running, &patient, &readings, WaitFor::Receipts).await;
    let info = running.system.network.info();
    let rogue = Rogue::at(info, 0, &running.system.oracle.identity);
    let reader = patient.person.signing_identity().unwrap();
    let own_read = || AuthorizeRead {
        record_id: records[0],
        purpose: Purpose::Patrqt,
        project: None,
    };

    // A request to read, over REST: once, and not again after the oracle was killed either.
    let jws = rogue.sign(&reader, own_read());
    let path = format!("/v1/records/{}/content", records[0]);
    let header = [
        "-H".to_owned(),
        format!("Salus-Read-Request: {jws}"),
        "-o".to_owned(),
        "/dev/null".to_owned(),
    ];
    let first = running.curl(&patient.person, &path, &header).await;
    assert_eq!(first.status, 200, "{first:?}");
    for after_kill in [false, true] {
        if after_kill {
            kill_and_restart(&mut running.system.oracle).await;
        }
        let again = running.curl(&patient.person, &path, &header[..2]).await;
        assert_eq!(again.status, 403, "{again:?}");
        assert!(again.body.contains("REQUEST_REPLAYED"), "{again:?}");
    }

    // A signed transaction: sent to the orderer again, it is in a block again and changes nothing.
    let call = carrying(
        transactions::AUTHORIZE_READ,
        &rogue.sign(&reader, own_read()),
    );
    let endorsed = rogue.endorse_at(call, None).await.unwrap();
    let ordered = rogue.order(endorsed.clone()).await.unwrap();
    let decision: ReadDecision = ordered.json();
    assert_eq!(decision.decision, Decision::Permit);
    let again = rogue.order(endorsed.clone()).await.unwrap();
    assert_eq!(again.transaction_id, ordered.transaction_id);
    let refused = rogue.endorse_again(&endorsed).await.unwrap_err();
    assert!(
        refused.text.contains("duplicate transaction found"),
        "{refused:?}"
    );
    let ledger = Ledger::connect(running.system.network.info(), 0).unwrap();
    let id = &ordered.transaction_id;
    let codes = until("the transaction is in a block a second time", || async {
        let codes = codes_of(&ledger.blocks().await.ok()?, id);
        (codes.len() > 1).then_some(codes)
    })
    .await;
    assert_eq!(
        codes,
        [
            TxValidationCode::Valid as i32,
            TxValidationCode::DuplicateTxid as i32
        ]
    );

    // The patient sees each read once: two that were permitted, two that were refused.
    let client = story::client(&patient.person).unwrap();
    let reads = client.reads(contract_interface::ReadFilter {
        patient: Some(patient.pseudonym),
        ..Default::default()
    });
    let reads = reads.await.unwrap();
    let permitted = reads
        .iter()
        .filter(|read| read.decision == Decision::Permit)
        .count();
    assert_eq!((reads.len(), permitted), (4, 2), "{reads:?}");
    hold(running, &[readings]).await;
}

/// The validation codes of a transaction, as often as it is in a block.
fn codes_of(blocks: &[Block], id: &str) -> Vec<i32> {
    let mut codes = Vec::new();
    for block in blocks {
        let envelopes = &block.data.as_ref().unwrap().data;
        let flags = &block.metadata.as_ref().unwrap().metadata[TRANSACTIONS_FILTER];
        for (envelope, flag) in envelopes.iter().zip(flags) {
            let envelope = Envelope::decode(&envelope[..]).unwrap();
            let payload = Payload::decode(&envelope.payload[..]).unwrap();
            let header = payload.header.unwrap_or_default().channel_header;
            if ChannelHeader::decode(&header[..]).unwrap().tx_id == id {
                codes.push(i32::from(*flag));
            }
        }
    }
    codes
}
