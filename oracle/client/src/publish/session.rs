//! One MQTT session: subscribe to receipts if they are wanted, publish, wait.

use std::{collections::HashMap, path::Path, time::Duration};

use rumqttc::{Transport, v5};
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    INFLIGHT_MAX, Message, MqttVersion, Options, PACKET_BYTES_MAX, PublishError, Published,
    receipts::{Awaited, Refusal},
};
use crate::http::encode_query;

const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Room in the client's queue of requests: all messages in flight, and a subscription.
const REQUESTS_MAX: usize = INFLIGHT_MAX as usize + 8;

/// What happened on the connection, whatever the protocol version.
pub(super) enum Step {
    Connected,
    Subscribed,
    Sent(u16),
    Acknowledged {
        packet_id: u16,
        refusal: Option<String>,
    },
    Received(Vec<u8>),
    Other,
}

pub(super) async fn run(
    options: &Options,
    socket: std::path::PathBuf,
    messages: &[Message],
) -> Result<Published, PublishError> {
    let mut session = Session {
        connection: Connection::new(options, &socket),
        options,
        messages,
        requested: 0,
        sent: 0,
        in_flight: HashMap::new(),
        acknowledged: 0,
        awaited: Awaited::new(&options.content_type, messages),
    };
    session.play().await?;
    session.connection.disconnect().await;
    Ok(Published {
        acknowledged: session.acknowledged,
        receipts: session.awaited.into_arrived(),
    })
}

struct Session<'a> {
    connection: Connection,
    options: &'a Options,
    messages: &'a [Message],
    /// Messages handed to the client.
    requested: usize,
    /// Messages that the client has written out.
    sent: usize,
    /// Which message a packet identifier stands for.
    in_flight: HashMap<u16, usize>,
    acknowledged: usize,
    awaited: Awaited,
}

impl Session<'_> {
    async fn play(&mut self) -> Result<(), PublishError> {
        let mut may_publish = false;
        // Moves only when something comes nearer to the end: the broker's answers to pings do not.
        let mut deadline = Instant::now() + self.options.patience;
        while !self.is_done() {
            if may_publish {
                self.fill()?;
            }
            let step = timeout_at(deadline, self.connection.poll())
                .await
                .map_err(|_| self.timed_out())?
                .map_err(|source| self.connection_error(source))?;
            let progress = match step {
                Step::Connected if self.options.wait_for_receipts => {
                    // Receipts first, so that none is missed.
                    let topic = format!("v1/devices/{}/receipts", self.options.device_id);
                    self.connection
                        .subscribe(&topic)
                        .map_err(|e| self.connection_error(e))?;
                    true
                }
                Step::Connected | Step::Subscribed => {
                    may_publish = true;
                    true
                }
                Step::Sent(packet_id) => {
                    self.in_flight.insert(packet_id, self.sent);
                    self.sent += 1;
                    true
                }
                Step::Acknowledged { packet_id, refusal } => {
                    let index = self.in_flight.remove(&packet_id);
                    if let (Some(reason), Some(index)) = (refusal, index) {
                        return Err(PublishError::Refused { index, reason });
                    }
                    self.acknowledged += usize::from(index.is_some());
                    index.is_some()
                }
                Step::Received(payload) => self.take(&payload)?,
                Step::Other => false,
            };
            if progress {
                deadline = Instant::now() + self.options.patience;
            }
        }
        Ok(())
    }

    fn take(&mut self, payload: &[u8]) -> Result<bool, PublishError> {
        self.awaited.take(payload).map_err(|refusal| {
            let Refusal {
                record_id, refused, ..
            } = refusal;
            PublishError::NotRegistered { record_id, refused }
        })
    }

    fn is_done(&self) -> bool {
        self.acknowledged == self.messages.len()
            && (!self.options.wait_for_receipts || self.awaited.missing() == 0)
    }

    fn fill(&mut self) -> Result<(), PublishError> {
        let room = usize::from(INFLIGHT_MAX) - (self.requested - self.acknowledged);
        let rest = &self.messages[self.requested..];
        for message in &rest[..room.min(rest.len())] {
            self.connection
                .publish(self.options, message)
                .map_err(|source| self.connection_error(source))?;
            self.requested += 1;
        }
        Ok(())
    }

    fn timed_out(&self) -> PublishError {
        PublishError::TimedOut {
            seconds: self.options.patience.as_secs(),
            acknowledged: self.acknowledged,
            receipted: self.messages.len() - self.awaited.missing().min(self.messages.len()),
            messages: self.messages.len(),
        }
    }

    fn connection_error(&self, source: BoxError) -> PublishError {
        let Options { host, port, .. } = self.options;
        PublishError::Connection {
            address: format!("{host}:{port}"),
            source,
        }
    }
}

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// rumqttc's client of either version. What each message's topic carries differs: MQTT 5 has
/// properties, 3.1.1 gets Eclipse Hono's property bag behind the topic.
pub(super) enum Connection {
    V3(rumqttc::AsyncClient, Box<rumqttc::EventLoop>),
    V5(v5::AsyncClient, Box<v5::EventLoop>),
}

impl Connection {
    pub(super) fn new(options: &Options, socket: &Path) -> Self {
        let id = options.device_id.to_string();
        let socket = socket.display().to_string();
        match options.version {
            MqttVersion::V3 => {
                let mut mqtt = rumqttc::MqttOptions::new(id, socket, options.port);
                mqtt.set_transport(Transport::Unix)
                    .set_keep_alive(KEEP_ALIVE)
                    .set_inflight(INFLIGHT_MAX)
                    .set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX);
                let (client, events) = rumqttc::AsyncClient::new(mqtt, REQUESTS_MAX);
                Self::V3(client, Box::new(events))
            }
            MqttVersion::V5 => {
                let mut mqtt = v5::MqttOptions::new(id, socket, options.port);
                mqtt.set_transport(Transport::Unix)
                    .set_keep_alive(KEEP_ALIVE)
                    .set_outgoing_inflight_upper_limit(INFLIGHT_MAX)
                    .set_max_packet_size(u32::try_from(PACKET_BYTES_MAX).ok());
                let (client, events) = v5::AsyncClient::new(mqtt, REQUESTS_MAX);
                Self::V5(client, Box::new(events))
            }
        }
    }

    pub(super) fn subscribe(&self, topic: &str) -> Result<(), BoxError> {
        match self {
            Self::V3(client, _) => client.try_subscribe(topic, rumqttc::QoS::AtLeastOnce)?,
            Self::V5(client, _) => client.try_subscribe(topic, v5::mqttbytes::QoS::AtLeastOnce)?,
        }
        Ok(())
    }

    pub(super) fn publish(&self, options: &Options, message: &Message) -> Result<(), BoxError> {
        let topic = format!("v1/devices/{}/observations", options.device_id);
        let payload = message.payload.clone();
        match self {
            Self::V3(client, _) => {
                let topic = format!("{topic}/{}", property_bag(options, message));
                client.try_publish(topic, rumqttc::QoS::AtLeastOnce, false, payload)?;
            }
            Self::V5(client, _) => {
                let properties = v5::mqttbytes::v5::PublishProperties {
                    content_type: Some(options.content_type.clone()),
                    user_properties: message
                        .seq
                        .map(|seq| ("seq".to_owned(), seq.to_string()))
                        .into_iter()
                        .collect(),
                    ..Default::default()
                };
                let qos = v5::mqttbytes::QoS::AtLeastOnce;
                client.try_publish_with_properties(topic, qos, false, payload, properties)?;
            }
        }
        Ok(())
    }

    /// Publishes without properties.
    pub(super) fn send(&self, topic: &str, payload: bytes::Bytes) -> Result<(), BoxError> {
        match self {
            Self::V3(client, _) => {
                client.try_publish(topic, rumqttc::QoS::AtLeastOnce, false, payload)?;
            }
            Self::V5(client, _) => {
                let qos = v5::mqttbytes::QoS::AtLeastOnce;
                client.try_publish(topic, qos, false, payload)?;
            }
        }
        Ok(())
    }

    pub(super) async fn poll(&mut self) -> Result<Step, BoxError> {
        match self {
            Self::V3(_, events) => Ok(step_v3(events.poll().await?)),
            Self::V5(_, events) => Ok(step_v5(events.poll().await?)),
        }
    }

    /// Says goodbye; what matters has been acknowledged.
    pub(super) async fn disconnect(mut self) {
        const GOODBYE: Duration = Duration::from_millis(200);
        let asked = match &self {
            Self::V3(client, _) => client.try_disconnect().is_ok(),
            Self::V5(client, _) => client.try_disconnect().is_ok(),
        };
        let flush = async { while asked && self.poll().await.is_ok() {} };
        let _ = timeout(GOODBYE, flush).await;
    }
}

fn step_v3(event: rumqttc::Event) -> Step {
    use rumqttc::{Event, Outgoing, Packet};
    match event {
        Event::Outgoing(Outgoing::Publish(packet_id)) => Step::Sent(packet_id),
        Event::Incoming(Packet::ConnAck(_)) => Step::Connected,
        Event::Incoming(Packet::SubAck(_)) => Step::Subscribed,
        Event::Incoming(Packet::PubAck(ack)) => Step::Acknowledged {
            packet_id: ack.pkid,
            refusal: None,
        },
        Event::Incoming(Packet::Publish(publish)) => Step::Received(publish.payload.to_vec()),
        _ => Step::Other,
    }
}

fn step_v5(event: v5::Event) -> Step {
    use rumqttc::Outgoing;
    use v5::{
        Event,
        mqttbytes::v5::{Packet, PubAckReason},
    };
    match event {
        Event::Outgoing(Outgoing::Publish(packet_id)) => Step::Sent(packet_id),
        Event::Incoming(Packet::ConnAck(_)) => Step::Connected,
        Event::Incoming(Packet::SubAck(_)) => Step::Subscribed,
        Event::Incoming(Packet::PubAck(ack)) => {
            let fine = matches!(
                ack.reason,
                PubAckReason::Success | PubAckReason::NoMatchingSubscribers
            );
            let words = ack
                .properties
                .and_then(|properties| properties.reason_string);
            let refusal = (!fine).then(|| match words {
                Some(words) => format!("{:?}: {words}", ack.reason),
                None => format!("{:?}", ack.reason),
            });
            Step::Acknowledged {
                packet_id: ack.pkid,
                refusal,
            }
        }
        Event::Incoming(Packet::Publish(publish)) => Step::Received(publish.payload.to_vec()),
        _ => Step::Other,
    }
}

/// `?seq=17&content-type=application%2Ffhir%2Bjson`.
fn property_bag(options: &Options, message: &Message) -> String {
    encode_query(&[
        ("seq", message.seq.map(|seq| seq.to_string())),
        ("content-type", Some(options.content_type.clone())),
    ])
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{UnixListener, UnixStream},
        time::interval,
    };

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);
    /// The broker says something without meaning this often, as it answers pings.
    const CHATTER: Duration = Duration::from_millis(50);
    /// Far longer than the patience: whoever waits until then waits for ever.
    const EVER: Duration = Duration::from_secs(20);

    /// A packet's first byte and its body.
    async fn packet(socket: &mut UnixStream) -> std::io::Result<(u8, Vec<u8>)> {
        let first = socket.read_u8().await?;
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = socket.read_u8().await?;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        socket.read_exact(&mut body).await?;
        Ok((first, body))
    }

    /// A broker of MQTT 5 that acknowledges everything, and publishes `receipt` after the first
    /// message if there is one. Then it keeps talking without saying anything.
    async fn broker(listener: UnixListener, receipt: Option<String>) -> std::io::Result<()> {
        let (mut socket, _) = listener.accept().await?;
        let published = loop {
            let (first, body) = packet(&mut socket).await?;
            let answer = match first >> 4 {
                // CONNECT and SUBSCRIBE.
                1 => vec![0x20, 3, 0, 0, 0],
                8 => vec![0x90, 4, body[0], body[1], 0, 1],
                // PUBLISH: the packet's number follows the topic.
                3 => {
                    let at = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
                    break vec![0x40, 2, body[at], body[at + 1]];
                }
                _ => continue,
            };
            socket.write_all(&answer).await?;
        };
        socket.write_all(&published).await?;
        if let Some(receipt) = receipt {
            let topic = "v1/devices/hr-1/receipts";
            // From 128 to 16383 bytes have a length of two bytes, seven bits each.
            let length = u16::try_from(2 + topic.len() + 1 + receipt.len()).unwrap();
            let [low, high] = [length & 0x7f | 0x80, length >> 7].map(|half| half as u8);
            let mut publish = vec![0x30, low, high, 0, topic.len() as u8];
            publish.extend(topic.as_bytes());
            // No properties.
            publish.push(0);
            publish.extend(receipt.as_bytes());
            socket.write_all(&publish).await?;
        }
        let mut chatter = interval(CHATTER);
        loop {
            chatter.tick().await;
            // PINGRESP.
            socket.write_all(&[0xd0, 0]).await?;
        }
    }

    /// Publishes a compact reading that says its own number, and waits for the receipt.
    async fn publish(receipt: Option<String>) -> Result<Published, PublishError> {
        let folder = TempDir::new().unwrap();
        let socket = folder.path().join("s");
        let task = tokio::spawn(broker(UnixListener::bind(&socket).unwrap(), receipt));
        let options = Options {
            host: "localhost".to_owned(),
            port: 8883,
            ca_file: "ca.crt".into(),
            certificate_file: "client.crt".into(),
            key_file: "client.key".into(),
            device_id: "hr-1".parse().unwrap(),
            version: MqttVersion::V5,
            content_type: "application/json".to_owned(),
            wait_for_receipts: true,
            patience: PATIENCE,
        };
        let messages = [Message {
            seq: None,
            payload: r#"{"code":"8867-4","seq":901,"unit":"/min","value":72}"#.into(),
        }];
        let ended = timeout(EVER, run(&options, socket, &messages)).await;
        task.abort();
        let _ = task.await;
        ended.expect("publishing ends")
    }

    #[tokio::test]
    async fn a_receipt_by_the_readings_own_number_is_its_receipt() {
        let receipt = format!(
            r#"{{"record_id":"{}","transaction_id":"t","block_number":3,"readings":[{{"seq":901}}]}}"#,
            "ab".repeat(16)
        );
        let published = publish(Some(receipt)).await.unwrap();
        assert_eq!((published.acknowledged, published.receipts.len()), (1, 1));
    }

    #[tokio::test]
    async fn a_broker_that_only_answers_pings_does_not_prolong_the_patience() {
        let error = publish(None).await.unwrap_err();
        assert!(
            matches!(
                error,
                PublishError::TimedOut {
                    receipted: 0,
                    messages: 1,
                    ..
                }
            ),
            "{error}"
        );
    }
}
