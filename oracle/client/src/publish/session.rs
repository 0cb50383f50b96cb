//! One MQTT session: subscribe to receipts if they are wanted, publish, wait.

use std::{collections::HashMap, path::Path, time::Duration};

use rumqttc::{Transport, v5};
use tokio::time::timeout;

use super::{
    INFLIGHT_MAX, Message, MqttVersion, Options, PACKET_BYTES_MAX, PublishError, Published,
    receipts::Awaited,
};
use crate::http::encode_query;

const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Room in the client's queue of requests: all messages in flight, and a subscription.
const REQUESTS_MAX: usize = INFLIGHT_MAX as usize + 8;

/// What happened on the connection, whatever the protocol version.
enum Step {
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
        awaited: Awaited::new(messages),
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
        while !self.is_done() {
            if may_publish {
                self.fill()?;
            }
            let step = timeout(self.options.patience, self.connection.poll())
                .await
                .map_err(|_| self.timed_out())?
                .map_err(|source| self.connection_error(source))?;
            match step {
                Step::Connected if self.options.wait_for_receipts => {
                    // Receipts first, so that none is missed.
                    let topic = format!("v1/devices/{}/receipts", self.options.device_id);
                    self.connection
                        .subscribe(&topic)
                        .map_err(|e| self.connection_error(e))?;
                }
                Step::Connected | Step::Subscribed => may_publish = true,
                Step::Sent(packet_id) => {
                    self.in_flight.insert(packet_id, self.sent);
                    self.sent += 1;
                }
                Step::Acknowledged { packet_id, refusal } => {
                    let index = self.in_flight.remove(&packet_id);
                    if let (Some(reason), Some(index)) = (refusal, index) {
                        return Err(PublishError::Refused { index, reason });
                    }
                    self.acknowledged += usize::from(index.is_some());
                }
                Step::Received(payload) => self.awaited.take(&payload),
                Step::Other => {}
            }
        }
        Ok(())
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

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// rumqttc's client of either version. What each message's topic carries differs: MQTT 5 has
/// properties, 3.1.1 gets Eclipse Hono's property bag behind the topic.
enum Connection {
    V3(rumqttc::AsyncClient, Box<rumqttc::EventLoop>),
    V5(v5::AsyncClient, Box<v5::EventLoop>),
}

impl Connection {
    fn new(options: &Options, socket: &Path) -> Self {
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

    fn subscribe(&self, topic: &str) -> Result<(), BoxError> {
        match self {
            Self::V3(client, _) => client.try_subscribe(topic, rumqttc::QoS::AtLeastOnce)?,
            Self::V5(client, _) => client.try_subscribe(topic, v5::mqttbytes::QoS::AtLeastOnce)?,
        }
        Ok(())
    }

    fn publish(&self, options: &Options, message: &Message) -> Result<(), BoxError> {
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

    async fn poll(&mut self) -> Result<Step, BoxError> {
        match self {
            Self::V3(_, events) => Ok(step_v3(events.poll().await?)),
            Self::V5(_, events) => Ok(step_v5(events.poll().await?)),
        }
    }

    /// Says goodbye; what matters has been acknowledged.
    async fn disconnect(mut self) {
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
