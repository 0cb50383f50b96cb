//! MQTT over WebSockets: the same front behind another framing.

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::{AT_LEAST_ONCE, OTHER, OWN};
use crate::ingest::mqtt::testing::{Client, Rig, Tcp, connect, publish, reading, subscribe};
use crate::ingest::mqtt::websocket::ByteStream;
use crate::ingest::topic;

type Tls = tokio_rustls::client::TlsStream<Tcp>;

async fn open(
    rig: &Rig,
    headers: &[(&'static str, &'static str)],
) -> Result<WebSocketStream<Tls>, Error> {
    let folder = rig.dir.path().join("hr-1");
    let Client(stream) = rig.secure_at(rig.websocket, &folder).await.unwrap();
    let mut request = "wss://localhost/mqtt".into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let (socket, response) = client_async(request, stream).await?;
    assert_eq!(response.headers()["sec-websocket-protocol"], "mqtt");
    Ok(socket)
}

const MQTT: (&str, &str) = ("sec-websocket-protocol", "mqtt");

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_publish_and_hear_receipts() {
    let rig = Rig::start().await;
    let own = topic::receipts("hr-1");
    for (level, number) in [(4, 1), (5, 2)] {
        let mut client = Client(ByteStream::new(open(&rig, &[MQTT]).await.unwrap()));
        let ack = client.ask(&connect(level, "any", 2, 60)).await.unwrap();
        assert_eq!((ack[0], ack[3]), (0x20, 0));
        let message = publish(level, AT_LEAST_ONCE, OWN, 7, &[], &reading(number));
        assert_eq!(client.ask(&message).await.unwrap(), [0x40, 2, 0, 7]);
        assert_eq!(rig.journal.highest_sequence("hr-1"), Some(number));
        client
            .ask(&subscribe(level, 1, &[(&own, 1)]))
            .await
            .unwrap();
        rig.delivery.publish(own.clone(), vec![42; 70_000]).unwrap();
        let message = client.packet().await.unwrap();
        assert!(message.len() > 70_000 && message.ends_with(&[42]));
        // Who it is comes from the certificate here, too.
        let stranger = publish(level, AT_LEAST_ONCE, OTHER, 8, &[], &reading(number));
        let answer = client.ask(&stranger).await;
        if level == 4 {
            assert_eq!(answer, None);
            continue;
        }
        assert_eq!(answer.unwrap()[4], 0x87);
        // A packet above the announced size is refused by its header.
        let announced = [39, 0, 0x10, 0, 0];
        assert!(ack.windows(announced.len()).any(|bytes| bytes == announced));
        let bye = client.ask(&[0x32, 0x81, 0x80, 0x40]).await.unwrap();
        assert_eq!((bye[0], bye[2]), (0xe0, 0x95));
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_and_messages_need_not_begin_or_end_together() {
    let rig = Rig::start().await;
    let mut socket = open(&rig, &[MQTT]).await.unwrap();
    let mut all = connect(5, "any", 2, 60);
    for number in 1..=3_u16 {
        let payload = reading(u64::from(number));
        all.extend(publish(5, AT_LEAST_ONCE, OWN, number, &[], &payload));
    }
    let (single, rest) = all.split_at(40);
    for byte in single {
        let message = Message::Binary(Bytes::copy_from_slice(&[*byte]));
        socket.send(message).await.unwrap();
        socket.send(Message::Binary(Bytes::new())).await.unwrap();
    }
    // One message in three frames, with a ping between them.
    let frames = rest.chunks(rest.len().div_ceil(3)).collect::<Vec<_>>();
    for (at, bytes) in frames.iter().enumerate() {
        let kind = if at == 0 {
            Data::Binary
        } else {
            Data::Continue
        };
        let bytes = Bytes::copy_from_slice(bytes);
        let frame = Frame::message(bytes, OpCode::Data(kind), at + 1 == frames.len());
        socket.send(Message::Frame(frame)).await.unwrap();
        let ping = Message::Ping(Bytes::from_static(b"still there?"));
        socket.send(ping).await.unwrap();
    }
    let (mut bytes, mut pongs) = (Vec::new(), 0);
    while !bytes.ends_with(&[0x40, 2, 0, 3]) || pongs == 0 {
        match socket.next().await.unwrap().unwrap() {
            Message::Binary(more) => bytes.extend_from_slice(&more),
            Message::Pong(answer) => {
                assert_eq!(&answer[..], b"still there?");
                pongs += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(rig.journal.counts().received, 3);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_mqtt_websocket_is_refused() {
    let rig = Rig::start().await;
    let other_site = ("origin", "https://evil.example");
    for (headers, status) in [
        (&[][..], 400),
        (&[("sec-websocket-protocol", "mqttv3.1")], 400),
        (&[MQTT, other_site], 403),
    ] {
        let Err(Error::Http(response)) = open(&rig, headers).await else {
            panic!("{headers:?}");
        };
        assert_eq!(response.status(), status);
    }
    // Text is not MQTT, nor is a message larger than the limit.
    let large = Message::Binary(vec![0x30; 2 << 20].into());
    for message in [Message::text("hello"), large] {
        let mut socket = open(&rig, &[MQTT]).await.unwrap();
        drop(socket.send(message).await);
        while let Some(Ok(said)) = socket.next().await {
            assert!(matches!(said, Message::Close(_)), "{said:?}");
        }
    }
    // MQTT without WebSocket, and a browser.
    let folder = rig.dir.path().join("hr-1");
    for bytes in [
        &connect(4, "any", 2, 60)[..],
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let mut client = rig.secure_at(rig.websocket, &folder).await.unwrap();
        client.0.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        drop(tokio::io::AsyncReadExt::read_to_end(&mut client.0, &mut answer).await);
        assert!(!answer.starts_with(b"HTTP/1.1 101"), "{answer:?}");
        assert_ne!(answer.first(), Some(&0x20));
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_without_certificate_gets_no_websocket() {
    let rig = Rig::start().await;
    let folder = rig.dir.path().join("none");
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy(rig.dir.path().join("hr-1/ca.crt"), folder.join("ca.crt")).unwrap();
    if let Ok(Client(stream)) = rig.secure_at(rig.websocket, &folder).await {
        let mut request = "wss://localhost/mqtt".into_client_request().unwrap();
        request
            .headers_mut()
            .insert(MQTT.0, MQTT.1.parse().unwrap());
        let Err(Error::Io(error)) = client_async(request, stream).await else {
            panic!("a WebSocket without certificate");
        };
        assert!(error.to_string().contains("CertificateRequired"), "{error}");
    }
    rig.stop().await;
}
